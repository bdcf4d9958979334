package program

import (
	"fmt"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

// LabelDecision precedes a decision in what the deciding member's query key signs.
const LabelDecision = "grille/v1/decision"

// A Decision is what the deciding member signs. It holds no subject id: whom it is about, the member's case file knows.
type Decision struct {
	Version   int           `json:"v"` // 1
	Instance  string        `json:"instance"`
	Member    string        `json:"member"`  // who decides
	Program   entry.Ref     `json:"program"` // its publication
	Case      string        `json:"case"`
	Round     int           `json:"round"` // 0: the first decision
	Opened    string        `json:"opened"`
	Decided   string        `json:"decided"`
	Effective string        `json:"effective"` // Decided and the program's notice
	Granted   bool          `json:"granted"`
	By        string        `json:"by"`                // rule or person
	Officer   string        `json:"officer,omitempty"` // the person's reference
	Reason    string        `json:"reason,omitempty"`  // the person's
	Checks    []Finding     `json:"checks"`            // in the order of the program
	Before    *receipt.Hash `json:"before,omitempty"`  // digest of the decision that was contested
	Contest   *Objection    `json:"contest,omitempty"` // the contest that led to this decision
	Salt      receipt.Hash  `json:"salt"`              // keeps what stands on the ledger from being guessed
}

// An Objection is a contest inside a decision.
type Objection struct {
	Time   string `json:"time"`
	Reason string `json:"reason"`
}

// digestOf is what the ledger holds of a signed decision.
func digestOf(s *bundle.Signed) receipt.Hash { return s.Digest(LabelDecision) }

// A Document shows a decision to anyone: the signed decision, its program and its own entry under one head of the member's log, and the
// evidence of each answer and refusal. No record, no subject id and no opening is in it.
type Document struct {
	Version       int                  `json:"v"` // 1
	Configuration bundle.Configuration `json:"configuration"`
	Decision      bundle.Signed        `json:"decision"`
	Program       bundle.Entry         `json:"program"`
	Logged        bundle.Entry         `json:"logged"`
	Checkpoint    string               `json:"checkpoint"` // signed note: the member's signature and exactly q cosignatures
	Evidence      []Evidence           `json:"evidence"`   // of the checks with an answer or a refusal, in the order of the program
}

// Evidence is the answer to one check, without opening, or its refusal: exactly one of the two.
type Evidence struct {
	Check   string         `json:"check"`
	Answer  *bundle.Bundle `json:"answer,omitempty"`
	Refusal *Refusal       `json:"refusal,omitempty"`
}

// A Refusal is the signed query of a check and the holder's signed no to it. Like a bundle, it names nobody: the tag in the query needs
// the opening, which is not here.
type Refusal struct {
	Query bundle.Signed        `json:"query"`
	Reply bundle.SignedRefusal `json:"reply"`
}

// DecodeDocument reads a decision document of at most MaxDecision bytes in its one spelling, or returns bundle.ErrEncoding.
func DecodeDocument(data []byte) (*Document, error) {
	var d Document
	if err := bundle.DecodeCanonical(data, MaxDecision, &d); err != nil {
		return nil, fmt.Errorf("reading a decision: %w: %w", bundle.ErrEncoding, err)
	}
	if d.Version != 1 || len(d.Evidence) > MaxChecks {
		return nil, fmt.Errorf("reading a decision: want version 1 and evidence of at most %d checks: %w", MaxChecks, bundle.ErrEncoding)
	}
	for _, e := range d.Evidence {
		if (e.Answer == nil) == (e.Refusal == nil) {
			return nil, fmt.Errorf("reading a decision: evidence is either an answer or a refusal: %w", bundle.ErrEncoding)
		}
	}
	return &d, nil
}

// check reports the first field of a decision that is not well formed.
func (d *Decision) check() error {
	bad := func(field string) error {
		return fmt.Errorf("checking decision field %s: %w", field, bundle.ErrEncoding)
	}
	_, opened, decided, effective, err := d.times()
	switch {
	case d.Version != 1:
		return bad("v")
	case err != nil || decided.Before(opened) || effective.Before(decided):
		return bad("opened, decided or effective")
	case d.Round < 0 || d.Round >= MaxRounds || (d.Round == 0) != (d.Before == nil) || (d.Round == 0) != (d.Contest == nil):
		return bad("round, before or contest")
	case !caseID(d.Case):
		return bad("case")
	case d.By != RuleDecided && d.By != PersonDecided:
		return bad("by")
	case d.By == RuleDecided && (d.Officer != "" || d.Reason != "" || d.Round > 0):
		return bad("by, with officer, reason or a contest")
	case d.By == PersonDecided && (!line(d.Officer, MaxOfficer) || !line(d.Reason, MaxReason)):
		return bad("officer or reason")
	case d.Contest != nil && !line(d.Contest.Reason, MaxReason):
		return bad("contest.reason")
	}
	return nil
}

// times are those of the decision: of its contest, if there was one, of the application, of the decision and of its effect.
func (d *Decision) times() (contested, opened, decided, effective time.Time, err error) {
	if d.Contest != nil {
		if contested, err = entry.ParseTime(d.Contest.Time); err != nil {
			return
		}
	}
	if opened, err = entry.ParseTime(d.Opened); err != nil {
		return
	}
	if decided, err = entry.ParseTime(d.Decided); err != nil {
		return
	}
	effective, err = entry.ParseTime(d.Effective)
	return
}

func caseID(s string) bool {
	if len(s) != 32 {
		return false
	}
	for _, c := range s {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
