package entry

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

func approver(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, ed25519.SeedSize))
}

const approvedLog = "test.example/GOV/tax/log/1"

// approvedEntries are the entries that may need approvals.
func approvedEntries() []Approved {
	var out []Approved
	for _, e := range examples() {
		if a, ok := e.(Approved); ok {
			out = append(out, a.with(nil))
		}
	}
	return out
}

// TestApprovalBindsEntryAndLog signs each kind, takes it through its encoding, and changes one thing at a time.
func TestApprovalBindsEntryAndLog(t *testing.T) {
	all := approvedEntries()
	if len(all) != 3 {
		t.Fatalf("%d kinds are approved", len(all))
	}
	for i, e := range all {
		var err error
		for _, seed := range []byte{2, 1, 2} { // the second of one key takes the first's place
			if e, err = Approve(approvedLog, e, approver(seed)); err != nil {
				t.Fatal(err)
			}
		}
		raw, err := Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		count := func(origin string, e Entry) int {
			keys, err := Approvers(origin, e.(Approved))
			if err != nil {
				t.Fatal(err)
			}
			return len(keys)
		}
		if n := count(approvedLog, back); n != 2 {
			t.Errorf("%s: %d approvals, want 2", e.Kind(), n)
		}
		for _, other := range []string{"test.example/GOV/tax/log/2", "test.example/GOV/civil/log/1", "other.example/GOV/tax/log/1", ""} {
			if n := count(other, back); n != 0 {
				t.Errorf("%s: %d approvals count on %q", e.Kind(), n, other)
			}
		}
		later := strings.ReplaceAll(string(raw), testTime, "2026-03-01T12:00:01Z")
		moved, err := Decode([]byte(later))
		if err != nil || count(approvedLog, moved) != 0 {
			t.Errorf("%s: an approval counts at another time (%v)", e.Kind(), err)
		}
		if n := count(approvedLog, all[(i+1)%len(all)].with(ApprovalsOf(e))); n != 0 {
			t.Errorf("%s: %d approvals count on another entry", e.Kind(), n)
		}
		swapped := slices.Clone(ApprovalsOf(e))
		swapped[0].Signature, swapped[1].Signature = swapped[1].Signature, swapped[0].Signature
		if n := count(approvedLog, e.with(swapped)); n != 0 {
			t.Errorf("%s: %d approvals of another key count", e.Kind(), n)
		}
	}
}

func TestDraft(t *testing.T) {
	for _, e := range approvedEntries() {
		d, err := NewDraft(approvedLog, e)
		if err != nil {
			t.Fatal(err)
		}
		file, err := json.MarshalIndent(d, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if got, back, err := ParseDraft(append(file, '\n')); err != nil || got != d || back.Kind() != e.Kind() {
			t.Errorf("%s reads back as %+v, %v", e.Kind(), got, err)
		}
	}
	revoke, err := Encode(AgreementRevoke{Accept: 1, Time: testTime})
	if err != nil {
		t.Fatal(err)
	}
	d, err := NewDraft(approvedLog, approvedEntries()[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]Draft{
		"nothing":            {},
		"no entry":           {Origin: approvedLog, Body: "{}"},
		"another kind":       {Origin: approvedLog, Body: string(revoke)},
		"unknown kind":       {Origin: approvedLog, Body: `{"kind":"disposal","v":1}`},
		"edited":             {Origin: approvedLog, Body: strings.Replace(d.Body, `,"version"`, `, "version"`, 1)},
		"cut off":            {Origin: approvedLog, Body: d.Body[:len(d.Body)-1]},
		"approvals in vain":  {Origin: approvedLog, Body: strings.TrimSuffix(d.Body, "}") + `,"approvals":[]}`},
		"approvals not well": {Origin: approvedLog, Body: strings.TrimSuffix(d.Body, "}") + `,"approvals":[{"key":"","signature":""}]}`},
	} {
		file, err := json.Marshal(bad)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := ParseDraft(file); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := ParseDraft([]byte(strings.Repeat(" ", MaxDraft) + `{"origin":1}`)); !errors.Is(err, ErrEntry) {
		t.Error(err)
	}
}

func FuzzParseDraft(f *testing.F) {
	for _, e := range approvedEntries() {
		d, err := NewDraft(approvedLog, e)
		if err != nil {
			f.Fatal(err)
		}
		file, err := json.Marshal(d)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Add([]byte(`{"origin":"o","entry":"{}"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, e, err := ParseDraft(data)
		if err != nil {
			return
		}
		again, err := NewDraft(d.Origin, e)
		if again.Declared = d.Declared; err != nil || again != d {
			t.Fatalf("reads back as another draft: %v", err)
		}
		if _, err := Approvers(d.Origin, e); err != nil {
			t.Fatal(err)
		}
	})
}
