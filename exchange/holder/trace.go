package holder

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// Kinds of journal payloads about promises of this member: one that was not kept in time, and up to which beat all were looked after.
const (
	KindBroken  = "holder.broken"
	KindChecked = "holder.checked"
)

// traceRecord is what an answerRecord keeps for officers and for the person.
type traceRecord struct {
	Asked  bundle.Signed `json:"asked"`
	Answer receipt.Hash  `json:"answer"`          // digest of the answer or refusal
	About  []byte        `json:"about,omitempty"` // subject key of the person that the request named; empty if it named nobody
	Nonce  string        `json:"nonce,omitempty"` // opens the tag for that person; empty if the tag is of another
}

type checkedRecord struct {
	Beat uint64 `json:"beat"`
}

type brokenRecord struct {
	Receipt receipt.Hash `json:"receipt"`
	Peer    string       `json:"peer"`
	How     string       `json:"how"`
}

func (h *Holder) traceOf(j *job, answer receipt.Hash) traceRecord {
	t := traceRecord{Asked: j.request.Query, Answer: answer}
	t.About, t.Nonce = h.about(j)
	return t
}

// about finds out whom a request is about, refused or not: the person whose tag it is, by any of the schemes, else the person that it
// names, where there is but one scheme in which it can. One id may be two persons' in two schemes.
func (h *Holder) about(j *job) (key []byte, nonce string) {
	schemes := h.opts.Config.Schemes
	if j.schema != nil {
		if its, ok := h.opts.Config.Scheme(j.schema.Scheme); ok {
			schemes = []network.Scheme{its}
		}
	}
	fitting := 0
	o := j.request.Opening
	if len(o.Subject) > bundle.MaxSubject {
		return nil, ""
	}
	for _, s := range schemes {
		id, err := schema.NormaliseID(s, o.Subject)
		if err != nil {
			continue
		}
		exact := bundle.Opening{Subject: id, Nonce: o.Nonce}
		if found, _, err := exact.CheckOpening(j.query, s.Name); err == nil {
			return found[:], o.Nonce
		}
		named := circuits.SubjectKey(j.query.Instance, s.Name, id)
		key, fitting = named[:], fitting+1
	}
	if fitting != 1 {
		return nil, ""
	}
	return key, ""
}

// Traces hands every query that this member answered or refused to use, oldest first, with the subject key of the person that it is
// about (empty where it names nobody). wanted, if set, is asked by that key before a record is read in full.
func (h *Holder) Traces(wanted func(about []byte) bool, use func(r *trace.Record) error) error {
	return h.opts.Book.Scan(func(kind string, payload []byte) error {
		if kind != KindAnswer {
			return nil
		}
		var a answerRecord
		if err := json.Unmarshal(payload, &a); err != nil {
			return fmt.Errorf("reading an answer back: %w", errReplay)
		}
		if a.Asked.Body == "" || wanted != nil && !wanted(a.About) { // before receipts files, refusals kept no query
			return nil
		}
		r, err := h.trace(&a)
		if err != nil {
			return err
		}
		return use(r)
	})
}

func (h *Holder) trace(a *answerRecord) (*trace.Record, error) {
	var reply bundle.Reply
	if err := json.Unmarshal(a.Reply, &reply); err != nil {
		return nil, fmt.Errorf("reading an answer back: %w", errReplay)
	}
	r := &trace.Record{Role: trace.RoleAnswered, Query: a.Asked, Outcome: a.Outcome, Answer: a.Answer, Nonce: a.Nonce}
	switch {
	case reply.Answer != nil:
		r.Promise, r.Salt = &reply.Answer.Promise, reply.Answer.Salt
	case reply.Refusal != nil:
		var no bundle.Refusal
		if err := reply.Refusal.Refusal.Peek(&no); err != nil {
			return nil, fmt.Errorf("reading a refusal back: %w", errReplay)
		}
		r.Promise, r.Salt, r.Refusal, r.Code = &reply.Refusal.Promise, reply.Refusal.Salt, &reply.Refusal.Refusal, no.Code
	default:
		return nil, fmt.Errorf("reading an answer back: %w", errReplay)
	}
	if err := r.Read(); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Broken = h.broken[r.Promised().Receipt]
	return r, nil
}

// Broken returns how many promises of this member were not kept in time.
func (h *Holder) Broken() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.broken)
}

// CheckPromises notes the promises of this member whose batch was not final by their deadline. Downtime excuses nothing: what a restart
// finds overdue is broken. A beat is judged once: a later generation of the log has its batches late. Call it a few times each beat.
func (h *Holder) CheckPromises() error {
	h.mu.Lock()
	after := h.checked
	h.mu.Unlock()
	missed := map[uint64]bool{}
	judged := after
	for _, beat := range h.opts.Book.Promised(after) {
		kept, known := h.inTime(beat)
		if !known {
			break // nor is any later one
		}
		missed[beat], judged = !kept, beat
	}
	if judged == after {
		return nil
	}
	if err := h.noteMissed(missed); err != nil {
		return err
	}
	if err := h.opts.Book.Keep(KindChecked, checkedRecord{judged}); err != nil {
		return fmt.Errorf("checking promises: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checked = max(h.checked, judged)
	return nil
}

// inTime says whether the batch of a beat is final, and says itself that it was made by the deadline. That there is none is known after
// that, from a head cosigned after the deadline, or by the clock when there is no such head, as requesters judge it.
func (h *Holder) inTime(beat uint64) (kept, known bool) {
	deadline := receipt.Deadline(beat, bundle.BeatLength(h.opts.Config))
	found := false
	for _, cfg := range h.opts.Ledger.Chain().Versions() { // a log that a fence ended keeps its batches; its successor repeats them, late
		origin := cfg.Origin(h.opts.Member)
		head, ok := h.opts.Ledger.Final(origin)
		if !ok {
			continue
		}
		if batch, _, ok := h.opts.Ledger.View(origin, head.Size).Batch(beat); ok {
			found = true
			if made, err := entry.ParseTime(batch.Time); err == nil && !made.After(deadline) {
				return true, true
			}
		}
	}
	if !h.opts.Now().After(deadline) {
		return false, false
	}
	if found || h.opts.Now().After(deadline.Add(bundle.Window(h.opts.Config))) {
		return false, true
	}
	head, ok := h.opts.Ledger.Final(h.origin())
	median, err := bundle.Median(head.Times)
	return false, ok && err == nil && median.After(deadline)
}

// noteMissed journals every promise under beats that were missed.
func (h *Holder) noteMissed(missed map[uint64]bool) error {
	late := false
	for _, m := range missed {
		late = late || m
	}
	if !late {
		return nil
	}
	var found []brokenRecord
	err := h.Traces(nil, func(r *trace.Record) error {
		if p := r.Promised(); missed[p.Beat] {
			found = append(found, brokenRecord{p.Receipt, r.Peer(), trace.BrokenMissed})
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, b := range found {
		if err := h.noteBroken(b, "receipt promise broken by this member: no final batch by its deadline"); err != nil {
			return err
		}
	}
	return nil
}

// noteBroken journals one broken promise, once, and then tells the operator.
func (h *Holder) noteBroken(b brokenRecord, message string) error {
	h.noting.Lock()
	defer h.noting.Unlock()
	h.mu.Lock()
	_, known := h.broken[b.Receipt]
	h.mu.Unlock()
	if known {
		return nil
	}
	if err := h.opts.Book.Keep(KindBroken, b); err != nil {
		return fmt.Errorf("noting a broken promise: %w", err)
	}
	h.mu.Lock()
	h.broken[b.Receipt] = b.How
	h.mu.Unlock()
	h.opts.Logger.Error(message, slog.String("peer", b.Peer))
	if h.opts.Broken != nil {
		h.opts.Broken(b.Peer)
	}
	return nil
}

func (h *Holder) replayChecked(payload []byte) error {
	var c checkedRecord
	if err := json.Unmarshal(payload, &c); err != nil {
		return fmt.Errorf("replaying how far promises were checked: %w", errReplay)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checked = max(h.checked, c.Beat)
	return nil
}

func (h *Holder) replayBroken(payload []byte) error {
	var b brokenRecord
	if err := json.Unmarshal(payload, &b); err != nil {
		return fmt.Errorf("replaying a broken promise: %w", errReplay)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.broken[b.Receipt] = b.How
	return nil
}

// complain takes a requester's word that a promise of this member was not kept in time: this member signed the promise, it is for a query
// of that requester, its deadline is over. Each promise is noted once. Before the deadline there is nothing to note, by this clock.
func (h *Holder) complain(from string, p *receipt.Promise, query *bundle.Signed) error {
	var q bundle.Query
	if bundle.QueryDigest(query) != p.Query || query.Peek(&q) != nil || q.Requester != from { // whose signature was checked when it was answered
		return requestError(CodeNotYours, false, "the promise is for another member's query")
	}
	if !h.opts.Now().After(receipt.Deadline(p.Beat, bundle.BeatLength(h.opts.Config))) {
		return nil
	}
	return h.noteBroken(brokenRecord{p.Receipt, from, trace.BrokenReported}, "receipt promise broken by this member, says another")
}
