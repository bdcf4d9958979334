package audit

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

// TestLies has GOV/tax write, between coherent entries, each thing that an owner can write and should not.
func TestLies(t *testing.T) {
	c := newTown(t, t.TempDir())
	type lie struct {
		e    entry.Entry
		want Code // "": nothing is wrong with it
	}
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(2), Time: c.stamp()})
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(9), Time: c.stamp()}, c.batch(c.beat(), nil))
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(2), Time: c.stamp()}, entry.AgreementOffer{Terms: terms(2), Time: c.stamp()})
	third, fourth := c.ref("GOV/benefits", 3), c.ref("GOV/benefits", 4)
	offer, second, none := c.ref("GOV/benefits", 0), c.ref("GOV/benefits", 1), c.ref("GOV/benefits", 2)
	forged, beyond, stranger := offer, offer, offer
	forged.Hash, beyond.Index, stranger.Origin = hash64, 99, "test.example/GOV/none/log/1"
	accept := func(ref entry.Ref, change func(*entry.Terms)) entry.Entry {
		e := entry.AgreementAccept{Offer: ref, Terms: terms(2), Time: c.stamp()}
		if change != nil {
			change(&e.Terms)
		}
		return e
	}
	beat := c.beat()
	epochs := map[string]uint64{"income": 1}
	late := c.now.Add(time.Hour)
	lies := []lie{
		0:  {c.declare("income"), ""},
		1:  {c.epoch("income", 0, 3), ""},
		2:  {c.policy("low", 1, "income", 0), ""},
		3:  {c.epoch("births", 0, 1), EpochUndeclared},
		4:  {c.epoch("income", 7, 4), EpochUndeclared},
		5:  {c.epoch("income", 0, 3), EpochOrder},
		6:  {c.policy("odd", 1, "births", 0), PolicyUndeclared},
		7:  {c.policy("odd", 1, "income", 1), PolicyUndeclared},
		8:  {c.policy("low", 1, "income", 0), PolicyAgain},
		9:  {entry.PolicyRetire{Policy: "low", Version: 2, Time: c.stamp()}, RetireUnknown},
		10: {entry.PolicyRetire{Policy: "low", Version: 1, Time: c.stamp()}, ""},
		11: {entry.PolicyRetire{Policy: "low", Version: 1, Time: c.stamp()}, RetireAgain},
		12: {entry.AgreementOffer{Terms: terms(2), Time: c.stamp()}, OfferParty}, // of another requester
		13: {accept(offer, nil), ""},
		14: {accept(forged, nil), AcceptOffer},
		15: {accept(none, nil), AcceptOffer}, // a batch
		16: {accept(stranger, nil), AcceptOffer},
		17: {accept(beyond, nil), OfferElsewhere},
		18: {accept(third, func(t *entry.Terms) { t.Purpose = "other" }), AcceptTerms},
		19: {accept(fourth, func(t *entry.Terms) { t.Disclose = []string{"amount"} }), AcceptTerms},
		20: {accept(second, func(t *entry.Terms) { t.PolicyIndex = 9 }), AcceptPolicy},
		21: {entry.AgreementReject{Offer: offer, Time: c.stamp()}, ""},
		22: {entry.AgreementReject{Offer: forged, Time: c.stamp()}, RejectOffer},
		23: {entry.AgreementRevoke{Accept: 12, Time: c.stamp()}, RevokeUnknown},
		24: {entry.AgreementRevoke{Accept: 24, Time: c.stamp()}, RevokeUnknown},
		25: {entry.AgreementRevoke{Accept: 13, Time: c.stamp()}, ""},
		26: {entry.AgreementRevoke{Accept: 13, Time: c.stamp()}, RevokeAgain},
		27: {entry.AgreementWithdraw{Offer: 13, Time: c.stamp()}, WithdrawUnknown},
		28: {entry.AgreementWithdraw{Offer: 12, Time: c.stamp()}, ""},
		29: {entry.AgreementWithdraw{Offer: 12, Time: c.stamp()}, WithdrawAgain},
		30: {c.batch(beat, epochs), ""},
		31: {c.batch(beat, epochs), BeatOrder},
		32: {c.batch(beat-1, epochs), BeatOrder},
		33: {c.batch(beat+1, epochs), BeatGrid},
		34: {entry.ReceiptsBatch{Beat: beat + 2, Root: hash64, Epochs: nil, Time: entry.FormatTime(late)}, BeatEpochs},
		35: {entry.ReceiptsBatch{Beat: beat + 3, Root: hash64, Epochs: map[string]uint64{"income": 5}, Time: entry.FormatTime(late)}, BeatEpochs},
		36: {entry.ReceiptsBatch{Beat: beat + 9, Root: hash64, Epochs: map[string]uint64{"income": 1, "births": 3}, Time: entry.FormatTime(late)}, BeatEpochs},
		37: {entry.Unknown{Raw: []byte(`{"kind":"scope.merge","v":1,"x":1}`)}, KindUnknown},
		38: {entry.Unknown{Raw: []byte(`{"kind":"receipts.batch","v":1,"beat":1}`)}, EntryMalformed},
		39: {entry.Unknown{Raw: []byte("\x00")}, EntryMalformed},
		40: {accept(offer, nil), AcceptAgain},
		41: {entry.ProgramRetire{Program: "fuel", Version: 1, Time: c.stamp()}, RetireUnknown},
		42: {program(c.stamp()), ""},
		43: {program(c.stamp()), ProgramAgain},
		44: {entry.ProgramRetire{Program: "fuel", Version: 1, Time: c.stamp()}, ""},
		45: {entry.ProgramRetire{Program: "fuel", Version: 1, Time: c.stamp()}, RetireAgain},
		46: {entry.CaseDecision{Digest: hash64, Time: c.stamp()}, ""},
		47: {entry.CaseDecision{Digest: hash64, Time: c.stamp()}, DecisionAgain},
		48: {entry.DatasetDeclare{Dataset: "late", Title: "x", Scheme: "nid", Time: entry.FormatTime(late.Add(6 * time.Second)),
			Columns: []entry.Column{{Name: "a", Type: "int"}}}, EntryTime},
	}
	for _, l := range lies[:48] {
		c.write("GOV/tax", l.e)
	}
	c.now = late
	c.write("GOV/tax", lies[48].e)
	c.close()
	r := c.audit(c.path("GOV/health"))
	got := make(map[int64][]Code)
	for _, p := range r.log("GOV/tax").Problems {
		got[p.Index] = append(got[p.Index], p.Code)
	}
	for i, l := range lies {
		var want []Code
		if l.want != "" {
			want = []Code{l.want}
		}
		if !slices.Equal(got[int64(i)], want) {
			t.Errorf("entry %d %s: found %v, want %v", i, l.e.Kind(), got[int64(i)], want)
		}
	}
	tax := r.log("GOV/tax")
	if r.Clean() || tax.Void == 0 || tax.Missed != 5 || tax.Late != 3 || tax.Beats != 5 || tax.Kinds[""] != 2 || tax.Kinds["scope.merge"] != 1 {
		t.Errorf("clean %v; %+v", r.Clean(), tax)
	}
	if !r.log("GOV/benefits").Clean() {
		t.Errorf("benefits: %v", r.log("GOV/benefits").Problems)
	}
}

// TestScopeLies has GOV/civil keep a register as an owner should not.
func TestScopeLies(t *testing.T) {
	c := newTown(t, t.TempDir())
	scope := func(period string, key int) entry.Entry {
		return entry.ScopeOpen{Program: "fuel", Period: period, KeyCommitment: fmt.Sprintf("%064x", key), Opens: c.stamp(),
			Closes: "2027-01-01T00:00:00Z", Time: c.stamp()}
	}
	claims := func(beat uint64, from int) entry.ClaimsBatch {
		b := entry.ClaimsBatch{Beat: beat, Time: c.stamp()}
		for i := range entry.Claims {
			b.Nullifiers = append(b.Nullifiers, fmt.Sprintf("%016x%048x", from+i, 0))
		}
		return b
	}
	end := func(scope uint64) entry.Entry { return entry.ScopeClose{Scope: scope, Time: c.stamp()} }
	lies := []struct {
		e    entry.Entry
		want Code // "": nothing is wrong with it
	}{
		0:  {claims(1, 1), ClaimsNoScope},
		1:  {scope("2026", 1), ""},
		2:  {scope("2026", 2), ScopeAgain},
		3:  {scope("2027", 1), ScopeKeyAgain},
		4:  {scope("2027", 3), ""},
		5:  {claims(5, 1), ""}, // those of a void batch were never claimed
		6:  {claims(5, 100), ""},
		7:  {claims(4, 200), ClaimsOrder},
		8:  {claims(6, 63), ClaimTwice}, // 63 and 64 of entry 5, 100 to 126 of entry 6
		9:  {end(2), ScopeUnknown},
		10: {end(1), ""},
		11: {end(1), ScopeCloseAgain},
		12: {end(4), ""},
		13: {claims(9, 1000), ClaimsNoScope},
	}
	for _, l := range lies {
		c.write("GOV/civil", l.e)
	}
	c.close()
	got := make(map[int64][]Code)
	for _, p := range c.audit(c.path("GOV/health")).log("GOV/civil").Problems {
		got[p.Index] = append(got[p.Index], p.Code)
	}
	for i, l := range lies {
		var want []Code
		if l.want != "" {
			want = []Code{l.want}
		}
		if !slices.Equal(slices.Compact(got[int64(i)]), want) {
			t.Errorf("entry %d %s: found %v, want %v", i, l.e.Kind(), got[int64(i)], want)
		}
	}
	if n := len(got[8]); n != 29 {
		t.Errorf("%d claims are reported to stand twice, want 29", n)
	}
}

func program(at string) entry.Entry {
	return entry.ProgramPublish{Program: "fuel", Version: 1, Title: "x", Source: entry.Source{Language: "x", Text: "x"}, Time: at}
}

// TestProblemsAreBounded lists no more than maxProblems of a log and counts the others.
func TestProblemsAreBounded(t *testing.T) {
	c := newTown(t, t.TempDir())
	entries := make([]entry.Entry, maxProblems+50)
	for i := range entries {
		entries[i] = entry.Unknown{Raw: []byte("x")}
	}
	c.write("GOV/tax", append(entries, c.epoch("none", 0, 1))...)
	c.close()
	r := c.audit(c.path("GOV/tax"))
	tax := r.log("GOV/tax")
	if len(tax.Problems) != maxProblems || tax.More != 51 || tax.Void != maxProblems+51 {
		t.Errorf("%d listed, %d more, %d void", len(tax.Problems), tax.More, tax.Void)
	}
	if tax.Clean() || r.Clean() {
		t.Error("a problem behind the last one listed leaves the log clean")
	}
}

// TestRulesAreTheViews writes random stories and compares, entry by entry, what counts for the rules and for a view.
func TestRulesAreTheViews(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		log, rules := view.NewLog(), newRules("GOV/tax")
		rules.found = func(Code, int64, string, ...any) {}
		rules.offer = func(entry.Ref) (entry.Entry, error) { return nil, errElsewhere }
		rules.party = func(string) bool { return true }
		for i := range uint64(60) {
			e := randomEntry(r, i)
			counts := rules.add(i, e)
			log.Add(e)
			if void := log.At(i + 1).Void(i); void == counts {
				t.Fatalf("seed %d, entry %d %+v: counts for the rules: %v, void for the view: %v", seed, i, e, counts, void)
			}
		}
		v := log.At(60)
		for name, newest := range rules.epoch {
			if _, at, ok := v.Epoch(name); !ok || at != newest.index {
				t.Fatalf("seed %d: newest epoch of %s is %d, the view says %d", seed, name, newest.index, at)
			}
		}
	}
}

func randomEntry(r *rand.Rand, i uint64) entry.Entry {
	name, ref := string(rune('a'+r.IntN(2))), r.Uint64N(i+2)
	if ref > 0 && r.IntN(3) > 0 {
		ref = r.Uint64N(min(ref, 8))
	}
	switch r.IntN(19) {
	case 18:
		return entry.GroupDefine{Group: name, Version: 1 + r.IntN(6)}
	case 11:
		return entry.ScopeOpen{Program: name, Period: string(rune('x' + r.IntN(2))), KeyCommitment: string(rune('k' + r.IntN(9)))}
	case 12:
		return entry.ScopeClose{Scope: ref}
	case 13:
		return entry.ClaimsBatch{Beat: r.Uint64N(40)}
	case 0:
		return entry.DatasetDeclare{Dataset: name}
	case 1, 2:
		return entry.DatasetEpoch{Dataset: name, Declare: ref, Epoch: r.Uint64N(20), Root: hash64, Time: "2026-03-01T12:00:00Z"}
	case 3:
		return entry.PolicyPublish{Policy: name, Version: 1 + r.IntN(2), Dataset: name, Declare: ref}
	case 4:
		return entry.PolicyRetire{Policy: name, Version: 1 + r.IntN(2)}
	case 5:
		return entry.AgreementOffer{}
	case 6:
		return entry.AgreementAccept{}
	case 7:
		return entry.AgreementRevoke{Accept: ref}
	case 8:
		return entry.AgreementWithdraw{Offer: ref}
	case 9:
		return entry.ReceiptsBatch{Beat: r.Uint64N(40), Root: hash64, Time: "2026-03-01T12:00:00Z"}
	case 14:
		return entry.ProgramPublish{Program: name, Version: 1 + r.IntN(2)}
	case 15:
		return entry.ProgramRetire{Program: name, Version: 1 + r.IntN(2)}
	case 16:
		return entry.CaseDecision{Digest: hash64[:63] + string("abcdef"[r.IntN(6)])}
	}
	return []entry.Entry{entry.CircuitKeys{}, entry.Unknown{Name: "x"}, entry.AgreementReject{}}[r.IntN(3)]
}

// A beat may have the length that any configuration of the chain gives it.
func TestBeatGrid(t *testing.T) {
	for _, tc := range []struct {
		beat    uint64
		time    string
		lengths []time.Duration
		early   bool
		late    bool
	}{
		{29_538_720, "2026-03-01T00:01:00Z", []time.Duration{time.Minute}, false, false}, // 00:00 to 00:01
		{29_538_720, "2026-03-01T00:00:55Z", []time.Duration{time.Minute}, false, false},
		{29_538_720, "2026-03-01T00:00:54Z", []time.Duration{time.Minute}, true, false},
		{29_538_720, "2026-03-01T00:02:00Z", []time.Duration{time.Minute}, false, false},
		{29_538_720, "2026-03-01T00:02:01Z", []time.Duration{time.Minute}, false, true},
		{177_232_320, "2026-03-01T00:00:10Z", []time.Duration{time.Minute, 10 * time.Second}, false, false},
		{177_232_320, "2026-03-01T00:00:10Z", []time.Duration{time.Minute}, true, false},
		{1<<53 - 1, "2026-03-01T00:00:10Z", []time.Duration{time.Minute}, true, false},
		{0, "2026-03-01T00:00:10Z", []time.Duration{time.Minute}, false, true},
	} {
		r := newRules("GOV/tax")
		r.beats = tc.lengths
		early := false
		r.found = func(c Code, _ int64, _ string, _ ...any) { early = early || c == BeatGrid }
		r.add(0, entry.ReceiptsBatch{Beat: tc.beat, Time: tc.time})
		if early != tc.early || (r.beat.late == 1) != tc.late {
			t.Errorf("beat %d at %s: early %v, late %d", tc.beat, tc.time, early, r.beat.late)
		}
	}
}

// Every code is planted by a test here, named in its source, and explained to operators.
func TestCodesAreKnown(t *testing.T) {
	source := read(t, "code.go")
	docs := read(t, "../../docs/operations.md")
	tests := ""
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		tests += read(t, f)
	}
	codes := regexp.MustCompile(`(?m)^\t(\w+) +Code = "(\w+)"`).FindAllStringSubmatch(source, -1)
	if len(codes) < 40 {
		t.Fatalf("%d codes", len(codes))
	}
	for _, m := range codes {
		if !regexp.MustCompile(`\b` + m[1] + `\b`).MatchString(tests) {
			t.Errorf("%s is in no test", m[1])
		}
		if !strings.Contains(docs, "`"+m[2]+"`") {
			t.Errorf("%s is not in docs/operations.md", m[2])
		}
	}
	if Forked.Remark() || !NoHead.Remark() {
		t.Error("remarks")
	}
	p := Problem{Code: EntryChanged, Index: 4, Text: "x"}
	if p.String() != "entry_changed: entry 4: x" || !strings.HasPrefix(fmt.Sprint(Problem{Index: -1, Code: Forked}), "forked: ") {
		t.Error(p)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRunRefuses(t *testing.T) {
	c := baseTown(t)
	if _, err := Run(context.Background(), Options{Dir: t.TempDir(), Config: c.cfg}); err == nil || !strings.Contains(err.Error(), ErrNoLedger.Error()) {
		t.Errorf("empty folder: %v", err)
	}
	if _, err := Run(context.Background(), Options{Dir: c.path("GOV/tax")}); err == nil {
		t.Error("no configuration")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, c.options(c.path("GOV/tax"))); err == nil {
		t.Error("went on after it was cancelled")
	}
}
