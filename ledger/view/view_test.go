package view

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
)

func declare(name string) entry.DatasetDeclare { return entry.DatasetDeclare{Dataset: name} }

func epochOf(name string, decl, n uint64) entry.DatasetEpoch {
	return entry.DatasetEpoch{Dataset: name, Declare: decl, Epoch: n, Root: root(n), Time: stamp}
}

const stamp = "2026-03-01T12:00:00Z"

func root(n uint64) string { return fmt.Sprintf("%064x", n) }

func batchOf(beat uint64) entry.ReceiptsBatch {
	return entry.ReceiptsBatch{Beat: beat, Root: root(beat), Time: stamp, Epochs: map[string]uint64{"income": beat / 2}}
}

func publish(name string, version int, dataset string, decl uint64) entry.PolicyPublish {
	return entry.PolicyPublish{Policy: name, Version: version, Dataset: dataset, Declare: decl, Title: fmt.Sprint(decl)}
}

// story is one log; void marks the entries without effect.
var story = []struct {
	e    entry.Entry
	void bool
}{
	0:  {declare("income"), false},
	1:  {epochOf("income", 0, 1), false},
	2:  {epochOf("income", 5, 2), true}, // names a later entry
	3:  {epochOf("births", 0, 1), true}, // names another dataset's declaration
	4:  {epochOf("income", 0, 1), true}, // does not grow
	5:  {declare("income"), false},
	6:  {epochOf("income", 5, 7), false},
	7:  {publish("low", 1, "income", 0), false},
	8:  {publish("low", 1, "income", 5), true}, // the first publication counts
	9:  {publish("low", 2, "income", 5), false},
	10: {publish("odd", 1, "births", 0), true}, // of a dataset that is not declared there
	11: {entry.PolicyRetire{Policy: "low", Version: 1}, false},
	12: {entry.PolicyRetire{Policy: "low", Version: 1}, true}, // again
	13: {entry.PolicyRetire{Policy: "none", Version: 1}, true},
	14: {entry.AgreementAccept{Terms: entry.Terms{Policy: "low"}}, false},
	15: {entry.AgreementRevoke{Accept: 13}, true}, // no acceptance
	16: {entry.AgreementRevoke{Accept: 14}, false},
	17: {entry.AgreementRevoke{Accept: 14}, true},
	18: {entry.AgreementOffer{Terms: entry.Terms{Policy: "x"}}, false},
	19: {entry.AgreementWithdraw{Offer: 18}, false},
	20: {entry.AgreementWithdraw{Offer: 14}, true},
	21: {entry.AgreementReject{Reason: "no"}, false},
	22: {batchOf(100), false},
	23: {batchOf(100), true}, // one beat, one root
	24: {batchOf(99), true},
	25: {batchOf(102), false},
	26: {entry.CircuitKeys{Circuit: "c1"}, false},
	27: {entry.Unknown{Name: "scope.merge"}, true},
	28: {entry.CircuitKeys{Circuit: "c2"}, false},
	29: {declare("births"), false},
	30: {entry.AgreementRevoke{Accept: 30}, true}, // itself
	31: {claims(5), true},                         // no scope is open
	32: {scope("fuel", "2026", "k1"), false},
	33: {scope("fuel", "2026", "k2"), true},  // declared twice
	34: {scope("fuel", "2027", "k1"), true},  // the key of another scope
	35: {scope("fuel", "2027", "k3"), false}, // a key that did not count before
	36: {claims(7), false},
	37: {claims(7), false}, // the beat filled more than one
	38: {claims(6), true},
	39: {entry.ScopeClose{Scope: 33}, true}, // void itself
	40: {entry.ScopeClose{Scope: 32}, false},
	41: {entry.ScopeClose{Scope: 32}, true},
	42: {claims(8), false},                  // of the other scope
	43: {scope("fuel", "2026", "k4"), true}, // not even after it closed
	44: {entry.ScopeClose{Scope: 45}, true}, // not there yet
	45: {entry.ScopeClose{Scope: 35}, false},
	46: {claims(9), true},
	47: {entry.AgreementAccept{Terms: entry.Terms{Policy: "low"}}, true},        // an offer is accepted once, revoked or not
	48: {entry.AgreementAccept{Offer: entry.Ref{Origin: "o", Index: 1}}, false}, // another offer
	49: {entry.AgreementReject{Offer: entry.Ref{Origin: "o", Index: 2}}, false}, // and one that is rejected
	50: {entry.AgreementReject{Offer: entry.Ref{Origin: "o", Index: 2}}, false}, // twice
	51: {entry.ProgramPublish{Program: "fuel", Version: 1}, false},
	52: {entry.ProgramPublish{Program: "fuel", Version: 1, Title: "again"}, true},
	53: {entry.ProgramPublish{Program: "fuel", Version: 2}, false},
	54: {entry.ProgramRetire{Program: "fuel", Version: 1}, false},
	55: {entry.ProgramRetire{Program: "fuel", Version: 1}, true}, // again
	56: {entry.ProgramRetire{Program: "fuel", Version: 9}, true},
	57: {entry.ProgramRetire{Program: "low", Version: 2}, true}, // a policy is no program
	58: {entry.CaseDecision{Digest: root(7)}, false},
	59: {entry.CaseDecision{Digest: root(7)}, true},
	60: {entry.CaseDecision{Digest: "7"}, true},
	61: {entry.CircuitKeys{Circuit: "c1", VerifyingKey: "k2"}, false},
}

func scope(program, period, key string) entry.ScopeOpen {
	return entry.ScopeOpen{Program: program, Period: period, KeyCommitment: key}
}

func claims(beat uint64) entry.ClaimsBatch { return entry.ClaimsBatch{Beat: beat} }

func told() *Log {
	l := NewLog()
	for _, s := range story {
		l.Add(s.e)
	}
	return l
}

func TestVoid(t *testing.T) {
	v := told().At(1 << 40)
	if v.Size() != uint64(len(story)) {
		t.Fatalf("size %d", v.Size())
	}
	for i, s := range story {
		if v.Void(uint64(i)) != s.void {
			t.Errorf("entry %d %s: void %v", i, s.e.Kind(), v.Void(uint64(i)))
		}
	}
}

func TestAsOf(t *testing.T) {
	l := told()
	// index of the answer at each size, -1 for none
	type probe func(v *View) int
	num := func(i uint64, ok bool) int {
		if !ok {
			return -1
		}
		return int(i)
	}
	steps := func(pairs ...int) func(size int) int { // size from which on, answer
		return func(size int) int {
			at := -1
			for i := 0; i < len(pairs); i += 2 {
				if size >= pairs[i] {
					at = pairs[i+1]
				}
			}
			return at
		}
	}
	for name, tc := range map[string]struct {
		got  probe
		want func(int) int
	}{
		"dataset":  {func(v *View) int { _, i, ok := v.Dataset("income"); return num(i, ok) }, steps(1, 0, 6, 5)},
		"epoch":    {func(v *View) int { _, i, ok := v.Epoch("income"); return num(i, ok) }, steps(2, 1, 7, 6)},
		"births":   {func(v *View) int { _, i, ok := v.Epoch("births"); return num(i, ok) }, steps()},
		"low 1":    {func(v *View) int { _, i, ok := v.Policy("low", 1); return num(i, ok) }, steps(8, 7, 12, -1)},
		"low 2":    {func(v *View) int { _, i, ok := v.Policy("low", 2); return num(i, ok) }, steps(10, 9)},
		"odd":      {func(v *View) int { _, i, ok := v.Policy("odd", 1); return num(i, ok) }, steps()},
		"right":    {func(v *View) int { _, ok := v.Agreement(14); return num(14, ok) }, steps(15, 14, 17, -1)},
		"no right": {func(v *View) int { _, ok := v.Agreement(13); return num(13, ok) }, steps()},
		"offer":    {func(v *View) int { _, ok := v.Offer(18); return num(18, ok) }, steps(19, 18, 20, -1)},
		"beat":     {func(v *View) int { _, i, ok := v.Batch(100); return num(i, ok) }, steps(23, 22)},
		"beat 99":  {func(v *View) int { _, i, ok := v.Batch(99); return num(i, ok) }, steps()},
		"beats":    {func(v *View) int { _, i, ok := v.NewestBatch(); return num(i, ok) }, steps(23, 22, 26, 25)},
		"keys":     {func(v *View) int { _, i, ok := v.CircuitKeys("c1"); return num(i, ok) }, steps(27, 26, 62, 61)},
		"keys 2":   {func(v *View) int { _, i, ok := v.CircuitKeys("c2"); return num(i, ok) }, steps(29, 28)},
		"no keys":  {func(v *View) int { _, i, ok := v.CircuitKeys("c3"); return num(i, ok) }, steps()},
		"declare":  {func(v *View) int { _, ok := v.Declare(5); return num(5, ok) }, steps(6, 5)},
		"offers":   {func(v *View) int { return len(v.Offers()) - 1 }, steps(19, 0)},
		"rejects":  {func(v *View) int { return len(v.Rejects()) - 1 }, steps(22, 0, 50, 1, 51, 2)},
		"rights":   {func(v *View) int { return len(v.Agreements()) - 1 }, steps(15, 0, 49, 1)},
		"revoked":  {func(v *View) int { i, ok := v.Revoked(14); return num(i, ok) }, steps(17, 16)},
		"withdrew": {func(v *View) int { i, ok := v.Withdrawn(18); return num(i, ok) }, steps(20, 19)},
		"accepted": {func(v *View) int { a, ok := v.Accepted(entry.Ref{Origin: "o", Index: 1}); return num(a.Index, ok) }, steps(49, 48)},
		"ended":    {func(v *View) int { a, ok := v.Accepted(entry.Ref{}); return num(a.Index, ok && !a.Revoked) }, steps(15, 14, 17, -1)},
		"rejected": {func(v *View) int { i, ok := v.Rejected(entry.Ref{Origin: "o", Index: 2}); return num(i, ok) }, steps(50, 49)},
		"policies": {func(v *View) int { return len(v.Policies()) - 1 }, steps(8, 0, 10, 1)},
		"scope":    {func(v *View) int { s, ok := v.Scope("fuel", "2026"); return num(s.Index, ok) }, steps(33, 32)},
		"scope 2":  {func(v *View) int { s, ok := v.Scope("fuel", "2027"); return num(s.Index, ok) }, steps(36, 35)},
		"no scope": {func(v *View) int { s, ok := v.Scope("heat", "2026"); return num(s.Index, ok) }, steps()},
		"closed":   {func(v *View) int { s, _ := v.Scope("fuel", "2026"); return num(s.End, s.Closed) }, steps(41, 40)},
		"scopes":   {func(v *View) int { return len(v.Scopes()) - 1 }, steps(33, 0, 36, 1)},
		"claims":   {func(v *View) int { return len(v.Claims(0)) - 1 }, steps(37, 0, 38, 1, 43, 2)},
		"claims 2": {func(v *View) int { return len(v.Claims(37)) - 1 }, steps(38, 0, 43, 1)},
		"newest":   {func(v *View) int { b, _, ok := v.NewestClaims(); return num(b, ok) }, steps(37, 7, 43, 8)},
		"fuel 1":   {func(v *View) int { _, i, ok := v.Program("fuel", 1); return num(i, ok) }, steps(52, 51, 55, -1)},
		"fuel 2":   {func(v *View) int { _, i, ok := v.Program("fuel", 2); return num(i, ok) }, steps(54, 53)},
		"programs": {func(v *View) int { return len(v.Programs()) - 1 }, steps(52, 0, 54, 1)},
		"decision": {func(v *View) int { i, ok := v.Decision(root(7)); return num(i, ok) }, steps(59, 58)},
		"none":     {func(v *View) int { i, ok := v.Decision(root(8)); return num(i, ok) }, steps()},
		"no hex":   {func(v *View) int { i, ok := v.Decision("7"); return num(i, ok) }, steps()},
		"datasets": {func(v *View) int { return len(v.Datasets()) - 1 }, steps(1, 0, 30, 1)},
	} {
		for size := range len(story) + 2 {
			if got, want := tc.got(l.At(uint64(size))), tc.want(size); got != want {
				t.Errorf("%s at size %d: %d, want %d", name, size, got, want)
			}
		}
	}
}

// A view stays what it is while the log grows, and equals that of a log that never grew further.
func TestViewIsFixed(t *testing.T) {
	grown := NewLog()
	var views []*View
	for _, s := range story {
		grown.Add(s.e)
		views = append(views, grown.At(grown.Size()))
	}
	short := NewLog()
	for i, s := range story {
		short.Add(s.e)
		a, b := facts1(views[i]), facts1(short.At(short.Size()))
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("view at %d changed:\n%v\n%v", i+1, a, b)
		}
	}
}

func facts1(v *View) []string {
	var out []string
	for _, p := range v.Policies() {
		out = append(out, fmt.Sprint("policy", p.Index, p.Policy.Title, p.Retired))
	}
	for _, a := range v.Agreements() {
		out = append(out, fmt.Sprint("right", a.Index, a.Revoked))
	}
	for _, o := range v.Offers() {
		out = append(out, fmt.Sprint("offer", o.Index, o.Withdrawn))
	}
	for _, d := range v.Datasets() {
		e, i, ok := v.Epoch(d)
		out = append(out, fmt.Sprint("epoch", d, e.Epoch, i, ok))
	}
	return slices.Clip(out)
}

// TestLongLog asks a log of several blocks, whose batches share and change their epochs, for every batch and epoch.
func TestLongLog(t *testing.T) {
	l := NewLog()
	l.Add(declare("income"))
	var entries []entry.Entry
	var named map[string]uint64
	for i := range uint64(3*block + 5) {
		switch {
		case i%100 == 50:
			named = map[string]uint64{"income": i}
		case i%100 == 80:
			named = nil
		case i%100 == 90:
			named = map[string]uint64{}
		}
		entries = append(entries, entry.ReceiptsBatch{Beat: 10 * i, Root: root(i), Time: stamp, Epochs: named}, epochOf("income", 0, i+1))
	}
	for _, e := range entries {
		l.Add(e)
	}
	for i, e := range entries {
		v := l.At(uint64(i + 2))
		switch e := e.(type) {
		case entry.ReceiptsBatch:
			for name, get := range map[string]func() (entry.ReceiptsBatch, uint64, bool){
				"newest": v.NewestBatch, "of its beat": func() (entry.ReceiptsBatch, uint64, bool) { return l.At(1 << 40).Batch(e.Beat) }} {
				if got, at, ok := get(); !ok || at != uint64(i+1) || !reflect.DeepEqual(got, e) {
					t.Fatalf("%s batch at size %d: %v at %d, %v", name, i+2, got, at, ok)
				}
			}
			if _, _, ok := v.Batch(e.Beat + 1); ok {
				t.Fatal("a batch of no beat")
			}
		case entry.DatasetEpoch:
			if got, at, ok := v.Epoch("income"); !ok || at != uint64(i+1) || got != e {
				t.Fatalf("epoch at size %d: %v at %d, %v", i+2, got, at, ok)
			}
		}
	}
	if n := len(l.void); n != 0 {
		t.Fatalf("%d entries are void", n)
	}
}

// TestGroupsAsOf reads a group as of each size: a version counts if it is above the last that counts.
func TestGroupsAsOf(t *testing.T) {
	define := func(name string, version int, members ...string) entry.Entry {
		return entry.GroupDefine{Group: name, Version: version, Members: members}
	}
	l := NewLog()
	for _, e := range []entry.Entry{define("b", 1, "GOV/x"), define("b", 1), define("a", 5), define("b", 3, "GOV/x", "GOV/y"), define("b", 2)} {
		l.Add(e)
	}
	for size, want := range map[uint64]struct {
		version int
		index   uint64
		groups  string
	}{1: {1, 0, "b"}, 2: {1, 0, "b"}, 3: {1, 0, "a b"}, 4: {3, 3, "a b"}, 5: {3, 3, "a b"}} {
		v := l.At(size)
		g, index, ok := v.Group("b")
		if !ok || g.Version != want.version || index != want.index || strings.Join(v.Groups(), " ") != want.groups {
			t.Errorf("below %d: version %d at %d, groups %v", size, g.Version, index, v.Groups())
		}
	}
	if _, _, ok := l.At(0).Group("b"); ok || len(l.At(0).Groups()) != 0 {
		t.Error("a group below 0")
	}
	if _, _, ok := l.At(5).Group("none"); ok {
		t.Error("a group that nobody defined")
	}
	if g, _, _ := l.At(5).Group("b"); !g.Has("GOV/y") || g.Has("GOV/z") {
		t.Errorf("members %v", g.Members)
	}
}

// TestAgreementsOn compares the acceptances on each policy with all of them, as of each size.
func TestAgreementsOn(t *testing.T) {
	l := NewLog()
	for i := range uint64(40) {
		l.Add(entry.AgreementAccept{Offer: entry.Ref{Index: i / 2}, Terms: entry.Terms{PolicyIndex: i % 3}}) // every second is void
		l.Add(entry.AgreementRevoke{Accept: i})
	}
	for size := range uint64(81) {
		v := l.At(size)
		for policy := range uint64(4) {
			var want []Agreement
			for _, a := range v.Agreements() {
				if a.Accept.Terms.PolicyIndex == policy {
					want = append(want, a)
				}
			}
			if got := v.AgreementsOn(policy); !reflect.DeepEqual(got, want) {
				t.Fatalf("below %d, policy %d: %+v, want %+v", size, policy, got, want)
			}
		}
	}
}
