package holder

import (
	"context"
	"errors"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// ReceiptPath shows that a promise of this member was kept. Before its batch is final it returns a RequestError to retry.
func (h *Holder) ReceiptPath(_ context.Context, from string, request []byte) ([]byte, error) {
	var r bundle.ReceiptRequest
	if err := entry.DecodeStrict(request, bundle.MaxReceiptRequest, &r); err != nil {
		return nil, requestError(CodeMalformed, false, "reading a receipt request: %w", err)
	}
	key, err := bundle.Key(h.opts.Config, h.opts.Member)
	if err != nil {
		return nil, err
	}
	var p receipt.Promise
	if err := r.Promise.Open(key, bundle.LabelPromise, &p); err != nil {
		return nil, requestError(CodeSignature, false, "this member did not sign that promise: %w", err)
	}
	if r.Broken != nil {
		if err := h.complain(from, &p, r.Broken); err != nil {
			return nil, err
		}
	}
	head, ok := h.opts.Ledger.Final(h.origin())
	if !ok {
		return nil, requestError(CodeNotYet, true, "no final checkpoint yet")
	}
	_, index, ok := h.opts.Ledger.View(h.origin(), head.Size).Batch(p.Beat)
	if !ok {
		return nil, requestError(CodeNotYet, true, "the batch of that beat is not final yet")
	}
	proof, _, err := h.opts.Book.Prove(p.Beat, p.Place)
	if errors.Is(err, receipt.ErrOpenBeat) {
		return nil, requestError(CodeNotYet, true, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	batch, err := bundle.Include(h.opts.Ledger, h.origin(), index, head.Size)
	if err != nil {
		return nil, err
	}
	return bundle.Encode(&bundle.ReceiptInclude{Checkpoint: string(head.Checkpoint), Batch: batch, Proof: proof})
}
