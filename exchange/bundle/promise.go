package bundle

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

func (c *check) promise() error {
	key, err := c.holderKey()
	if err != nil {
		return &Refused{Reason: ReasonPromise, Err: err}
	}
	c.report.Answer = AnswerDigest(&c.b.Header, c.pub)
	digest := receipt.Digest(c.b.Salt, c.h.Query, c.pub.Verdict.String(), c.report.Answer)
	answered, _ := entry.ParseTime(c.h.Time) // checkTimes read both
	_, expires, _ := c.q.Times()
	if _, err := OpenPromise(&c.b.Promise, key, c.Config, c.q.Holder, c.h.Query, digest, answered, expires); err != nil {
		return &Refused{Reason: ReasonPromise, Err: err}
	}
	c.report.Receipt = "promised"
	return nil
}

// BeatLength is how long a beat of the instance lasts.
func BeatLength(c *network.Configuration) time.Duration {
	return time.Duration(c.BeatSeconds) * time.Second
}

// OpenPromise checks a member's signed promise that the receipt with this digest will be logged for that query. Its deadline must not
// be over before the reply's time from, and its beat must begin by until, give or take what clocks may differ and one beat:
// a promise for next year is none.
func OpenPromise(s *Signed, key ed25519.PublicKey, c *network.Configuration, member string, query, digest receipt.Hash, from, until time.Time) (*receipt.Promise, error) {
	var p receipt.Promise
	if err := s.Open(key, LabelPromise, &p); err != nil {
		return nil, err
	}
	if err := p.Check(BeatLength(c)); err != nil {
		return nil, err
	}
	if p.Member != member || p.Query != query || p.Receipt != digest {
		return nil, fmt.Errorf("checking a promise: it is for another answer: %w", ErrEncoding)
	}
	length := BeatLength(c)
	if receipt.Deadline(p.Beat, length).Before(from.Add(-clockAllowance)) || receipt.BeatStart(p.Beat, length).After(until.Add(Window(c)+length)) {
		return nil, fmt.Errorf("checking a promise: its beat is not of the reply's time: %w", ErrEncoding)
	}
	return &p, nil
}

// receipt checks a kept promise, where the bundle has one.
func (c *check) receipt() error {
	if c.b.Receipt == nil {
		return nil
	}
	var p receipt.Promise
	if err := c.b.Promise.Peek(&p); err != nil {
		return &Refused{Reason: ReasonReceipt, Err: err}
	}
	if err := CheckReceipt(c.Configurations(), &p, c.h.Origin, c.b.Receipt); err != nil {
		return &Refused{Reason: ReasonReceipt, Err: err}
	}
	if c.Replica != nil {
		log := c.Replica.View(c.h.Origin, ^uint64(0))
		if _, index, ok := log.Batch(p.Beat); !ok || index != c.b.Receipt.Batch.Index {
			return refuse(ReasonReceipt, "the replica does not know this batch as the one of its beat; sync it and verify again, or the log holds two")
		}
	}
	c.report.Receipt = "logged"
	return nil
}

// CheckReceipt checks that a promise was kept: the batch of its beat is final on the log by one of the configurations, and the
// receipt is under its root.
func CheckReceipt(configurations []*network.Configuration, p *receipt.Promise, origin string, r *ReceiptInclude) error {
	tree, _, err := CheckHead(configurations, origin, r.Checkpoint)
	if err != nil {
		return err
	}
	if err := included(&r.Batch, tree); err != nil {
		return err
	}
	e, err := entry.Decode([]byte(r.Batch.Body))
	if err != nil {
		return err
	}
	batch, ok := e.(entry.ReceiptsBatch)
	if !ok || batch.Beat != p.Beat {
		return fmt.Errorf("checking a receipt: the entry is not the batch of its beat: %w", receipt.ErrBroken)
	}
	var root receipt.Hash
	if err := root.UnmarshalText([]byte(batch.Root)); err != nil {
		return err
	}
	return receipt.VerifyPath(root, p.Receipt, p.Place, r.Proof.Path)
}

func (c *check) opening() error {
	if c.b.Opening == nil {
		return nil
	}
	if _, _, err := c.b.Opening.CheckOpening(&c.q, c.dataset.Scheme); err != nil {
		return &Refused{Reason: ReasonOpening, Err: err}
	}
	scheme, ok := c.Config.Scheme(c.dataset.Scheme)
	if !ok {
		return refuse(ReasonOpening, "the dataset's identifier scheme is not in the configuration")
	}
	// Another spelling has another key: whoever shows it shows an answer about nobody.
	if id, err := schema.NormaliseID(scheme, c.b.Opening.Subject); err != nil || id != c.b.Opening.Subject {
		return refuse(ReasonOpening, "the subject id is not in the form of its scheme")
	}
	c.report.OpeningSeen = true
	return nil
}

// verifyHead verifies a final head in its one form: the owner's signature and exactly a quorum of cosignatures, by mirror. More would
// let whoever passes the bundle on choose the times, and strangers' signatures are bytes that nothing authenticates.
func verifyHead(cfg *network.Configuration, origin, head string) (tlog.Tree, []time.Time, error) {
	c, cosignatures, err := note.Cosignatures(cfg, origin, []byte(head))
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	if n, q := len(cosignatures), cfg.Quorum(); n != q {
		return tlog.Tree{}, nil, fmt.Errorf("%w: %d mirrors cosigned, want exactly %d", note.ErrSignature, n, q)
	}
	if string(note.Assemble(c, cosignatures)) != head {
		return tlog.Tree{}, nil, fmt.Errorf("%w: other signatures, or in another order", note.ErrNote)
	}
	times := make([]time.Time, len(cosignatures))
	for i, s := range cosignatures {
		times[i] = s.Time
	}
	slices.SortFunc(times, time.Time.Compare)
	return c.Tree, times, nil
}
