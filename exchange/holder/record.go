package holder

import (
	"fmt"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// recordAnswer writes the receipt with the whole reply and the charge as one journal frame, and returns the reply.
func (h *Holder) recordAnswer(j *job) ([]byte, error) {
	entries, err := bundle.IncludeAll(h.opts.Ledger, &j.header)
	if err != nil {
		return nil, err
	}
	b := &bundle.Bundle{
		Version: 1, Instance: h.opts.Config.Instance,
		Configuration: bundle.Configuration{Version: h.opts.Config.Version, Digest: h.opts.Config.Digest()},
		Query:         j.request.Query, Header: j.signed, Verdict: j.pub.Verdict.String(), Proof: j.proof[:],
		Checkpoint: j.head, Entries: entries,
	}
	if j.reserved {
		b.Nullifier = j.nullifier.String()
	}
	_, positions, err := bundle.Mask(j.schema, j.query.Disclose)
	if err != nil {
		return nil, err
	}
	for i, column := range j.query.Disclose {
		d := bundle.Disclosed{Column: column, Value: bundle.FormatElement(j.pub.Disclosed[positions[i]])}
		if _, at, ok := j.schema.Column(column); ok && j.row != nil {
			d.Text = j.row[at].Text // empty but for a text column
		}
		b.Disclosed = append(b.Disclosed, d)
	}
	return h.record(j, b.Verdict, bundle.AnswerDigest(&j.signed, j.pub), func(promise bundle.Signed, salt receipt.Hash) *bundle.Reply {
		b.Promise, b.Salt = promise, salt
		return &bundle.Reply{Answer: b}
	})
}

// recordRefusal signs a no and records it like an answer. What is still charged stays so.
func (h *Holder) recordRefusal(j *job, code string) ([]byte, error) {
	h.mu.Lock()
	now := h.now
	h.mu.Unlock()
	signed, err := bundle.Sign(h.opts.Key, bundle.LabelRefusal, &bundle.Refusal{Version: 1, Query: j.digest, Code: code,
		Message: remedies[code], Time: entry.FormatTime(now)})
	if err != nil {
		return nil, err
	}
	j.code = code
	answer := signed.Digest(bundle.LabelRefusal)
	return h.record(j, receipt.OutcomeRefused, answer, func(promise bundle.Signed, salt receipt.Hash) *bundle.Reply {
		return &bundle.Reply{Refusal: &bundle.SignedRefusal{Refusal: signed, Promise: promise, Salt: salt}}
	})
}

// record writes the receipt before the reply exists anywhere else.
func (h *Holder) record(j *job, outcome string, answer receipt.Hash, finish func(bundle.Signed, receipt.Hash) *bundle.Reply) ([]byte, error) {
	r := &answerRecord{ID: j.query.ID, Query: j.digest, Expires: entry.FormatTime(j.expires), Policy: j.query.Policy,
		Requester: j.query.Requester, Outcome: outcome}
	r.traceRecord = h.traceOf(j, answer)
	h.mu.Lock()
	now := h.now
	h.mu.Unlock()
	r.Time = entry.FormatTime(now)
	if j.charged {
		r.Agreement, r.Subject = &j.right.Index, j.key[:]
	}
	if j.reserved {
		r.Claim = &claimRecord{Scope: j.scope.KeyCommitment, Nullifier: j.nullifier}
	}
	_, _, err := h.opts.Book.Record(receipt.Draft{Kind: KindAnswer, Query: j.digest, Outcome: outcome, Answer: answer,
		Payload: func(p receipt.Promise, salt receipt.Hash) (any, error) {
			promise, err := bundle.Sign(h.opts.Key, bundle.LabelPromise, &p)
			if err != nil {
				return nil, err
			}
			r.Reply, err = bundle.Encode(finish(promise, salt))
			return r, err
		}})
	if err != nil {
		j.reserved = false // the frame may be on disk: the next start frees the nullifier or makes it a claim
		return nil, fmt.Errorf("recording an answer: %w", err)
	}
	if err := h.commitClaim(j); err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.keep(r, j.expires, now)
	h.mu.Unlock()
	if h.opts.Observe != nil {
		label := outcome
		if j.code != "" {
			label = j.code
		}
		h.opts.Observe(j.policy.Policy, label, j.proving) // "" for a policy that is not ours: a label must not be the peer's text
	}
	return r.Reply, nil
}
