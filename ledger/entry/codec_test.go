package entry

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files anew")

const testTime = "2026-03-01T12:00:00Z"

var testHex = strings.Repeat("0123456789abcdef", 4)

func testTerms() Terms {
	return Terms{Requester: "GOV/benefits", Holder: "GOV/tax", Policy: "low-income", PolicyVersion: 2, PolicyIndex: 7,
		Purpose: "winter fuel <payment> & more", LegalBasis: "Act 12 s. 3", OnBehalfOf: "Fuel Unit", Disclose: []string{"band"},
		BudgetCommitment: testHex, Expires: "2027-03-01T00:00:00Z"}
}

// examples holds one entry of each kind.
func examples() []Entry {
	ref := Ref{Origin: "test.example/GOV/benefits/log/1", Index: 3, Hash: testHex}
	return []Entry{
		DatasetDeclare{Dataset: "income", Title: "Income of households", Scheme: "nid", Time: testTime, Columns: []Column{
			{Name: "amount", Type: "decimal", Scale: 2, Unit: "EUR"}, {Name: "band", Type: "enum", Codes: []string{"low", "high"}},
			{Name: "region", Type: "text", Title: "Region (é)"}}},
		DatasetEpoch{Dataset: "income", Declare: 0, Epoch: 4, Root: testHex, Time: testTime},
		PolicyPublish{Policy: "low-income", Version: 2, Dataset: "income", Title: "Low income", Question: "Is income low?",
			Source: Source{"cel", "amount < 1000"}, Template: []byte(`{"atoms":[{"constant":"-9007199254740993"}]}`), Time: testTime},
		PolicyRetire{Policy: "low-income", Version: 1, Reason: "replaced", Time: testTime},
		AgreementOffer{Terms: testTerms(), Time: testTime},
		AgreementAccept{Offer: ref, Terms: testTerms(), Time: testTime},
		AgreementReject{Offer: ref, Reason: "no basis", Time: testTime},
		AgreementRevoke{Accept: 9, Reason: "ended", Time: testTime},
		AgreementWithdraw{Offer: 3, Reason: "not needed", Time: testTime},
		ReceiptsBatch{Beat: 29000000, Root: testHex, Epochs: map[string]uint64{"income": 1, "births": 5}, Time: testTime},
		CircuitKeys{Circuit: testHex, VerifyingKey: testHex, KeyKind: "development", Time: testTime},
		CircuitKeys{Circuit: testHex, VerifyingKey: testHex, KeyKind: "ceremony", Transcript: testHex, Time: testTime},
		testScope(),
		ScopeClose{Scope: 12, Reason: "the year is over", Time: testTime},
		testClaims(),
		ProgramPublish{Program: "winter-fuel", Version: 3, Title: "Winter fuel payment", Source: Source{"grille-program/1", "program: winter-fuel\n"}, Time: testTime},
		ProgramRetire{Program: "winter-fuel", Version: 2, Reason: "replaced", Time: testTime},
		CaseDecision{Digest: testHex, Time: testTime},
		GroupDefine{Group: "care-desks", Version: 2, Members: []string{"GOV/benefits", "GOV/health"}, Time: testTime, Approvals: testApprovals()},
	}
}

func testApprovals() []Approval {
	return []Approval{{Key: strings.Repeat("A", 43) + "=", Signature: strings.Repeat("A", 86) + "=="},
		{Key: strings.Repeat("B", 42) + "A=", Signature: strings.Repeat("A", 86) + "=="}}
}

func testScope() ScopeOpen {
	return ScopeOpen{Program: "winter-fuel", Period: "2026", KeyCommitment: testHex, Opens: testTime, Closes: "2027-01-01T00:00:00Z", Time: testTime}
}

func testClaims() ClaimsBatch {
	b := ClaimsBatch{Beat: 29000000, Time: testTime}
	for i := range Claims {
		b.Nullifiers = append(b.Nullifiers, fmt.Sprintf("%064x", 1<<40+i))
	}
	return b
}

// TestGolden pins the bytes of every kind, and that they read back as the same value.
func TestGolden(t *testing.T) {
	seen := make(map[string]bool)
	var all []byte
	for _, e := range examples() {
		raw, err := Encode(e)
		if err != nil {
			t.Fatalf("%s: %v", e.Kind(), err)
		}
		got, err := Decode(raw)
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s reads back as %+v, %v", e.Kind(), got, err)
		}
		if p, err := Encode(reflectPointer(e)); err != nil || !bytes.Equal(p, raw) {
			t.Errorf("%s: a pointer encodes as %s, %v", e.Kind(), p, err)
		}
		seen[e.Kind()] = true
		all = append(append(all, raw...), '\n')
	}
	if len(seen) != len(decoders) {
		t.Errorf("examples of %d kinds, there are %d", len(seen), len(decoders))
	}
	path := filepath.Join("testdata", "entries.golden")
	if *update {
		if err := os.WriteFile(path, all, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(all, want) {
		t.Errorf("entries differ from %s (%v); got\n%s", path, err, all)
	}
}

func reflectPointer(e Entry) Entry {
	p := reflect.New(reflect.TypeOf(e))
	p.Elem().Set(reflect.ValueOf(e))
	return p.Interface().(Entry)
}

func TestUnknownIsKept(t *testing.T) {
	for raw, want := range map[string]Unknown{
		`{"kind":"scope.merge","v":1,"x":[1]}`:   {Name: "scope.merge", V: 1},
		`{"kind":"dataset.epoch","v":2,"new":1}`: {Name: "dataset.epoch", V: 2},
		`{"kind":"disposal","v":1}`:              {Name: "disposal", V: 1},
	} {
		e, err := Decode([]byte(raw))
		u, ok := e.(Unknown)
		if err != nil || !ok || u.Name != want.Name || u.V != want.V || string(u.Raw) != raw || u.Kind() != want.Name {
			t.Errorf("%s: %+v, %v", raw, e, err)
		}
		if back, err := Encode(e); err != nil || string(back) != raw {
			t.Errorf("%s encodes as %s, %v", raw, back, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, raw := range map[string]string{
		"empty":               ``,
		"not an object":       `[]`,
		"no kind":             `{"v":1}`,
		"kind not first":      `{"v":1,"kind":"disposal"}`,
		"space":               `{ "kind":"disposal","v":1}`,
		"empty kind":          `{"kind":"","v":1}`,
		"kind in capitals":    `{"kind":"Disposal","v":1}`,
		"kind escaped":        `{"kind":"dis\u0070osal","v":1}`,
		"kind too long":       `{"kind":"` + strings.Repeat("x", 65) + `","v":1}`,
		"no version":          `{"kind":"disposal"}`,
		"version 0":           `{"kind":"disposal","v":0}`,
		"version 01":          `{"kind":"disposal","v":01}`,
		"negative version":    `{"kind":"disposal","v":-1}`,
		"version too long":    `{"kind":"disposal","v":1000000}`,
		"version a string":    `{"kind":"disposal","v":"1"}`,
		"kind twice":          `{"kind":"disposal","v":1,"kind":"x"}`,
		"cut off":             `{"kind":"disposal","v":1`,
		"cut off after comma": `{"kind":"disposal","v":1,`,
		"unknown, name twice": `{"kind":"disposal","v":1,"a":1,"a":2}`,
		"known, kind twice":   `{"kind":"agreement.revoke","v":1,"accept":1,"reason":"","time":"` + testTime + `","kind":"x"}`,
		"known, no fields":    `{"kind":"agreement.revoke","v":1}`,
		"known, extra field":  `{"kind":"agreement.revoke","v":1,"accept":1,"reason":"","time":"` + testTime + `","x":1}`,
		"time with zone":      `{"kind":"agreement.revoke","v":1,"accept":1,"reason":"","time":"2026-03-01T12:00:00+01:00"}`,
		"time with fraction":  `{"kind":"agreement.revoke","v":1,"accept":1,"reason":"","time":"2026-03-01T12:00:00.5Z"}`,
		"too long":            `{"kind":"disposal","v":1,"x":"` + strings.Repeat("x", MaxSize) + `"}`,
	} {
		e, err := Decode([]byte(raw))
		u, ok := e.(Unknown)
		if !errors.Is(err, ErrEntry) || !ok || string(u.Raw) != raw {
			t.Errorf("%s: %T, %v", name, e, err)
		}
	}
}

// TestEncodeRefuses breaks one field at a time of otherwise good entries.
func TestEncodeRefuses(t *testing.T) {
	terms := func(edit func(*Terms)) Entry {
		v := testTerms()
		edit(&v)
		return AgreementOffer{Terms: v, Time: testTime}
	}
	declare := func(edit func(*DatasetDeclare)) Entry {
		v := examples()[0].(DatasetDeclare)
		v.Columns = append([]Column{}, v.Columns...)
		edit(&v)
		return v
	}
	publish := func(edit func(*PolicyPublish)) Entry {
		v := examples()[2].(PolicyPublish)
		edit(&v)
		return v
	}
	scope := func(edit func(*ScopeOpen)) Entry {
		v := testScope()
		edit(&v)
		return v
	}
	group := func(edit func(*GroupDefine)) Entry {
		v := GroupDefine{Group: "desks", Version: 1, Members: []string{"GOV/benefits", "GOV/health"}, Time: testTime, Approvals: testApprovals()}
		edit(&v)
		return v
	}
	claims := func(edit func(*ClaimsBatch)) Entry {
		v := testClaims()
		edit(&v)
		return v
	}
	program := func(edit func(*ProgramPublish)) Entry {
		v := ProgramPublish{Program: "fuel", Version: 1, Title: "Fuel", Source: Source{"x", "x"}, Time: testTime}
		edit(&v)
		return v
	}
	var nilPointer *DatasetEpoch
	for name, e := range map[string]Entry{
		"nil":                   nil,
		"nil pointer":           nilPointer,
		"group name":            group(func(g *GroupDefine) { g.Group = "The desks" }),
		"group version":         group(func(g *GroupDefine) { g.Version = 0 }),
		"group without list":    group(func(g *GroupDefine) { g.Members = nil }),
		"group order":           group(func(g *GroupDefine) { g.Members = []string{"GOV/health", "GOV/benefits"} }),
		"group member twice":    group(func(g *GroupDefine) { g.Members = []string{"GOV/health", "GOV/health"} }),
		"group member's name":   group(func(g *GroupDefine) { g.Members = []string{"health"} }),
		"group too large":       group(func(g *GroupDefine) { g.Members = make([]string, MaxGroup+1) }),
		"group's time":          group(func(g *GroupDefine) { g.Time = "" }),
		"terms' group":          terms(func(t *Terms) { t.Group = "The desks" }),
		"approvals twice":       group(func(g *GroupDefine) { g.Approvals[1] = g.Approvals[0] }),
		"approvals' order":      group(func(g *GroupDefine) { slices.Reverse(g.Approvals) }),
		"approval's key":        group(func(g *GroupDefine) { g.Approvals[0].Key = "AAAA" }),
		"approval's key bits":   group(func(g *GroupDefine) { g.Approvals[0].Key = strings.Repeat("A", 42) + "B=" }),
		"approval's signature":  group(func(g *GroupDefine) { g.Approvals[0].Signature = strings.Repeat("A", 87) + "=" }),
		"approval with newline": group(func(g *GroupDefine) { g.Approvals[0].Key = strings.Repeat("A", 42) + "\n=" }),
		"too many approvals":    group(func(g *GroupDefine) { g.Approvals = make([]Approval, MaxApprovals+1) }),
		"policy's approvals":    publish(func(p *PolicyPublish) { p.Approvals = make([]Approval, 1) }),
		"acceptance's approvals": AgreementAccept{Offer: Ref{Origin: "o", Hash: testHex}, Terms: testTerms(), Time: testTime,
			Approvals: make([]Approval, 1)},
		"dataset name":          declare(func(d *DatasetDeclare) { d.Dataset = "In come" }),
		"title missing":         declare(func(d *DatasetDeclare) { d.Title = "" }),
		"title too long":        declare(func(d *DatasetDeclare) { d.Title = strings.Repeat("x", MaxTitle+1) }),
		"title control":         declare(func(d *DatasetDeclare) { d.Title = "a\x00b" }),
		"title invalid UTF-8":   declare(func(d *DatasetDeclare) { d.Title = "\xff" }),
		"scheme":                declare(func(d *DatasetDeclare) { d.Scheme = "" }),
		"no columns":            declare(func(d *DatasetDeclare) { d.Columns = nil }),
		"17 columns":            declare(func(d *DatasetDeclare) { d.Columns = make([]Column, 17) }),
		"column name":           declare(func(d *DatasetDeclare) { d.Columns[0].Name = "1st" }),
		"column twice":          declare(func(d *DatasetDeclare) { d.Columns[1].Name = "amount" }),
		"column type":           declare(func(d *DatasetDeclare) { d.Columns[0].Type = "float" }),
		"scale 10":              declare(func(d *DatasetDeclare) { d.Columns[0].Scale = 10 }),
		"scale of text":         declare(func(d *DatasetDeclare) { d.Columns[2].Scale = 1 }),
		"enum without codes":    declare(func(d *DatasetDeclare) { d.Columns[1].Codes = nil }),
		"codes of text":         declare(func(d *DatasetDeclare) { d.Columns[2].Codes = []string{"a"} }),
		"code twice":            declare(func(d *DatasetDeclare) { d.Columns[1].Codes = []string{"a", "a"} }),
		"declare time":          declare(func(d *DatasetDeclare) { d.Time = "today" }),
		"epoch root":            DatasetEpoch{Dataset: "income", Root: "00", Time: testTime},
		"epoch root capitals":   DatasetEpoch{Dataset: "income", Root: strings.ToUpper(testHex), Time: testTime},
		"epoch beyond 2^53":     DatasetEpoch{Dataset: "income", Epoch: 1 << 53, Root: testHex, Time: testTime},
		"policy version 0":      publish(func(p *PolicyPublish) { p.Version = 0 }),
		"policy question":       publish(func(p *PolicyPublish) { p.Question = "" }),
		"source too long":       publish(func(p *PolicyPublish) { p.Source.Text = strings.Repeat("x", MaxSource+1) }),
		"template missing":      publish(func(p *PolicyPublish) { p.Template = nil }),
		"template no object":    publish(func(p *PolicyPublish) { p.Template = []byte(`[]`) }),
		"template syntax":       publish(func(p *PolicyPublish) { p.Template = []byte(`{"a"}`) }),
		"template name twice":   publish(func(p *PolicyPublish) { p.Template = []byte(`{"a":1,"a":2}`) }),
		"template big integer":  publish(func(p *PolicyPublish) { p.Template = []byte(`{"a":9007199254740993}`) }),
		"template too large":    publish(func(p *PolicyPublish) { p.Template = []byte(`{"a":"` + strings.Repeat("x", MaxSize) + `"}`) }),
		"requester":             terms(func(t *Terms) { t.Requester = "benefits" }),
		"holder is requester":   terms(func(t *Terms) { t.Holder = t.Requester }),
		"purpose":               terms(func(t *Terms) { t.Purpose = "" }),
		"legal basis":           terms(func(t *Terms) { t.LegalBasis = "" }),
		"disclose twice":        terms(func(t *Terms) { t.Disclose = []string{"a", "a"} }),
		"disclose 17":           terms(func(t *Terms) { t.Disclose = strings.Split(strings.Repeat("a,", 17), ",") }),
		"budget":                terms(func(t *Terms) { t.BudgetCommitment = "" }),
		"expires":               terms(func(t *Terms) { t.Expires = "2027-03-01" }),
		"offer hash":            AgreementReject{Offer: Ref{Origin: "o", Hash: "x"}, Time: testTime},
		"offer origin":          AgreementReject{Offer: Ref{Hash: testHex}, Time: testTime},
		"batch dataset":         ReceiptsBatch{Root: testHex, Epochs: map[string]uint64{"A": 1}, Time: testTime},
		"circuit":               CircuitKeys{VerifyingKey: testHex, KeyKind: "development", Time: testTime},
		"transcript":            CircuitKeys{Circuit: testHex, VerifyingKey: testHex, KeyKind: "ceremony", Transcript: "X", Time: testTime},
		"key kind":              CircuitKeys{Circuit: testHex, VerifyingKey: testHex, Time: testTime},
		"terms scope":           terms(func(t *Terms) { t.Scope = "Winter fuel" }),
		"scope program":         scope(func(s *ScopeOpen) { s.Program = "" }),
		"scope period":          scope(func(s *ScopeOpen) { s.Period = "2026 " }),
		"scope key missing":     scope(func(s *ScopeOpen) { s.KeyCommitment = "" }),
		"scope key zero":        scope(func(s *ScopeOpen) { s.KeyCommitment = strings.Repeat("0", 64) }),
		"scope key modulus":     scope(func(s *ScopeOpen) { s.KeyCommitment = modulus }),
		"scope key capitals":    scope(func(s *ScopeOpen) { s.KeyCommitment = strings.ToUpper(testHex) }),
		"scope opens":           scope(func(s *ScopeOpen) { s.Opens = "2026-03-01" }),
		"scope closes at once":  scope(func(s *ScopeOpen) { s.Closes = s.Opens }),
		"scope time":            scope(func(s *ScopeOpen) { s.Time = "" }),
		"scope close time":      ScopeClose{Scope: 1},
		"scope close index":     ScopeClose{Scope: 1 << 53, Time: testTime},
		"claims too few":        claims(func(b *ClaimsBatch) { b.Nullifiers = b.Nullifiers[1:] }),
		"claims too many":       claims(func(b *ClaimsBatch) { b.Nullifiers = append(b.Nullifiers, testHex) }),
		"claims none":           claims(func(b *ClaimsBatch) { b.Nullifiers = nil }),
		"claim zero":            claims(func(b *ClaimsBatch) { b.Nullifiers[3] = strings.Repeat("0", 64) }),
		"claim beyond modulus":  claims(func(b *ClaimsBatch) { b.Nullifiers[3] = strings.Repeat("f", 64) }),
		"claim twice":           claims(func(b *ClaimsBatch) { b.Nullifiers[3] = b.Nullifiers[60] }),
		"claims time":           claims(func(b *ClaimsBatch) { b.Time = "now" }),
		"claims beat":           claims(func(b *ClaimsBatch) { b.Beat = 1 << 53 }),
		"program name":          program(func(p *ProgramPublish) { p.Program = "Fuel" }),
		"program version":       program(func(p *ProgramPublish) { p.Version = 0 }),
		"program title":         program(func(p *ProgramPublish) { p.Title = "" }),
		"program language":      program(func(p *ProgramPublish) { p.Source.Language = "" }),
		"program source":        program(func(p *ProgramPublish) { p.Source.Text = "" }),
		"program too long":      program(func(p *ProgramPublish) { p.Source.Text = strings.Repeat("x", MaxSource+1) }),
		"program time":          program(func(p *ProgramPublish) { p.Time = "" }),
		"retired program":       ProgramRetire{Program: "", Version: 1, Time: testTime},
		"retired reason":        ProgramRetire{Program: "fuel", Version: 1, Reason: "\x00", Time: testTime},
		"decision digest":       CaseDecision{Digest: testHex[1:], Time: testTime},
		"decision time":         CaseDecision{Digest: testHex},
		"unknown without bytes": Unknown{Name: "x"},
		"unknown with too many": Unknown{Name: "x", Raw: make([]byte, MaxSize+1)},
	} {
		if raw, err := Encode(e); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: encoded as %s, %v", name, raw, err)
		}
	}
}

// A claims.batch has one spelling, so that a nullifier is found in its bytes or is not in it.
func TestClaimsAreCanonical(t *testing.T) {
	raw, err := Encode(testClaims())
	if err != nil {
		t.Fatal(err)
	}
	first := testClaims().Nullifiers[0]
	for name, other := range map[string]string{
		"escaped digit": strings.Replace(string(raw), `"`+first, `"\u0030`+first[1:], 1),
		"space":         strings.Replace(string(raw), `","`, `", "`, 1),
		"other order":   strings.Replace(strings.Replace(string(raw), `"beat":29000000,`, "", 1), `"}`, `","beat":29000000}`, 1),
	} {
		if other == string(raw) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if e, err := Decode([]byte(other)); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: read as a %T, %v", name, e, err)
		}
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 3, 1, 13, 0, 0, 999, time.FixedZone("", 3600))
	if s := FormatTime(at); s != testTime {
		t.Errorf("formatted %s", s)
	}
	if got, err := ParseTime(testTime); err != nil || !got.Equal(at.Truncate(time.Second)) {
		t.Errorf("parsed %v, %v", got, err)
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range examples() {
		raw, err := Encode(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Add([]byte(`{"kind":"x","v":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := Decode(raw)
		if err != nil {
			return
		}
		again, err := Encode(e)
		if err != nil {
			t.Fatalf("accepted %q, cannot encode: %v", raw, err)
		}
		if back, err := Decode(again); err != nil || back.Kind() != e.Kind() {
			t.Fatalf("%q encodes as %q, which reads as %v", raw, again, err)
		}
	})
}
