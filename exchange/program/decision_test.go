package program

import (
	"errors"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
)

func testDecision() Decision {
	evidence := receipt.Sum("test")
	return Decision{Version: 1, Instance: "demo", Member: "GOV/benefits", Program: entry.Ref{Origin: "demo/GOV/benefits/log/1", Index: 7,
		Hash: strings.Repeat("0", 64)}, Case: strings.Repeat("a", 32), Opened: "2026-03-01T12:00:00Z", Decided: "2026-03-01T12:00:01Z",
		Effective: "2026-03-15T12:00:01Z", Granted: true, By: RuleDecided, Checks: []Finding{{Check: "aged", Outcome: OutcomeAnswered,
			Verdict: "satisfied", Query: strings.Repeat("b", 32), Evidence: &evidence}}}
}

func testDocument(tb testing.TB) []byte {
	tb.Helper()
	body, err := bundle.Encode(testDecision())
	if err != nil {
		tb.Fatal(err)
	}
	d := Document{Version: 1, Decision: bundle.Signed{Body: string(body)}, Checkpoint: "x", Evidence: []Evidence{{Check: "aged", Answer: &bundle.Bundle{}}, {Check: "poor", Refusal: &Refusal{}}}}
	data, err := bundle.Encode(&d)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func TestDecodeDocumentRefuses(t *testing.T) {
	good := string(testDocument(t))
	if _, err := DecodeDocument([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":         "",
		"a list":        "[]",
		"not UTF-8":     strings.Replace(good, `"x"`, "\"\xff\"", 1),
		"unknown field": strings.Replace(good, `{"v":1`, `{"v":1,"w":1`, 1),
		"name twice":    strings.Replace(good, `{"v":1`, `{"v":1,"v":1`, 1),
		"version":       strings.Replace(good, `{"v":1`, `{"v":2`, 1),
		"space":         good + " ",
		"both":          strings.Replace(good, `"refusal":{`, `"answer":`+good[strings.Index(good, `"answer":`)+9:strings.Index(good, `},{"check":"poor"`)]+`,"refusal":{`, 1),
		"neither":       good[:strings.Index(good, `,"refusal":`)] + `}]}`,
		"no answer":     good[:strings.Index(good, `"answer":`)] + `"answer":null}]}`,
		"thirteen":      good[:strings.Index(good, `"evidence":`)] + `"evidence":[` + strings.Repeat(`{"check":"a","answer":null},`, 12) + `{"check":"a","answer":null}]}`,
		"too long":      good + strings.Repeat(" ", MaxDecision),
	} {
		if d, err := DecodeDocument([]byte(text)); !errors.Is(err, bundle.ErrEncoding) {
			t.Errorf("%s: %+v, %v", name, d, err)
		}
	}
}

func TestDecisionFields(t *testing.T) {
	d := testDecision()
	if err := d.check(); err != nil {
		t.Fatal(err)
	}
	before := receipt.Sum("test")
	person := func(d *Decision) { d.By, d.Officer, d.Reason = PersonDecided, "17", "seen" }
	for name, change := range map[string]func(*Decision){
		"version":          func(d *Decision) { d.Version = 2 },
		"time":             func(d *Decision) { d.Decided = "yesterday" },
		"decided early":    func(d *Decision) { d.Decided = "2026-03-01T11:59:59Z" },
		"effective early":  func(d *Decision) { d.Effective = d.Opened },
		"round":            func(d *Decision) { d.Round = -1 },
		"round, no before": func(d *Decision) { person(d); d.Round = 1 },
		"too many rounds": func(d *Decision) {
			person(d)
			d.Round, d.Before, d.Contest = MaxRounds, &before, &Objection{d.Opened, "x"}
		},
		"rule after contest": func(d *Decision) { d.Round, d.Before, d.Contest = 1, &before, &Objection{d.Opened, "x"} },
		"contest, no reason": func(d *Decision) { person(d); d.Round, d.Before, d.Contest = 1, &before, &Objection{d.Opened, ""} },
		"case":               func(d *Decision) { d.Case = "A" + d.Case[1:] },
		"by":                 func(d *Decision) { d.By = "" },
		"rule with reason":   func(d *Decision) { d.Reason = "x" },
		"person, no reason":  func(d *Decision) { person(d); d.Reason = "" },
		"two lines":          func(d *Decision) { person(d); d.Officer = "1\n7" },
		"officer too long":   func(d *Decision) { person(d); d.Officer = strings.Repeat("x", MaxOfficer+1) },
	} {
		d := testDecision()
		change(&d)
		if err := d.check(); !errors.Is(err, bundle.ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The longest decision still fits what a signature's body may have.
func TestLongestDecision(t *testing.T) {
	d := testDecision()
	one := d.Checks[0]
	one.Check, one.Code, one.Claim = strings.Repeat("c", 32), strings.Repeat("d", 32), bundle.ClaimFirst
	one.Verdict = "not_satisfied"
	d.Checks = nil
	for range MaxChecks {
		d.Checks = append(d.Checks, one)
	}
	quotes := strings.Repeat(`"`, MaxReason)
	before := receipt.Sum("test")
	d.By, d.Officer, d.Reason, d.Round, d.Before, d.Contest = PersonDecided, quotes[:MaxOfficer], quotes, 15, &before, &Objection{d.Opened, quotes}
	d.Program.Origin, d.Member, d.Instance = strings.Repeat("o", 128), strings.Repeat("m", 64), strings.Repeat("i", 64)
	body, err := bundle.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	s, again := bundle.Signed{Body: string(body)}, Decision{}
	if err := s.Peek(&again); err != nil {
		t.Errorf("%d bytes: %v", len(body), err)
	}
}

// FuzzDocument reads decision documents from strangers: one spelling each, and none panics the verifier.
func FuzzDocument(f *testing.F) {
	f.Add(testDocument(f))
	f.Add([]byte(`{"v":1}`))
	f.Add([]byte(strings.Replace(string(testDocument(f)), `"evidence":[`, `"evidence":[{"check":"","answer":null},`, 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := DecodeDocument(data)
		if err != nil {
			if !errors.Is(err, bundle.ErrEncoding) {
				t.Fatal(err)
			}
			return
		}
		if again, err := bundle.Encode(d); err != nil || string(again) != string(data) {
			t.Fatalf("read back as %s", again)
		}
		var said Decision
		if d.Decision.Peek(&said) == nil {
			_ = said.check()
			_, _, _, _, _ = said.times()
		}
		for _, e := range d.Evidence {
			if e.Refusal != nil {
				var q bundle.Query
				var no bundle.Refusal
				_, _ = e.Refusal.Query.Peek(&q), e.Refusal.Reply.Refusal.Peek(&no)
				continue
			}
			if _, err := e.Answer.EvidenceDigest(); err != nil {
				t.Fatal(err)
			}
		}
	})
}
