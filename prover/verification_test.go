package prover

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func testVerification() Verification {
	hex := func(s string) string { return strings.Repeat(s, 32) }
	return Verification{Ceremony: hex("01"), Transcript: hex("02"), Circuit: hex("03"), VerifyingKey: hex("04"), ProvingKey: hex("05"),
		Kind: "ceremony", Contributors: 2, Verified: "2026-03-01T12:00:00Z", Phases: [2][]Contribution{
			{{"GOV/a", hex("0a")}, {"GOV/b", hex("0b")}}, {{"GOV/b", hex("1b")}, {"GOV/b", hex("2b")}}}}
}

func TestVerificationIsKept(t *testing.T) {
	dir, v := t.TempDir(), testVerification()
	if _, err := ReadVerification(dir, v.Circuit); !errors.Is(err, ErrNotVerified) {
		t.Errorf("without a note: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, v.Circuit), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteVerification(dir, v); err != nil {
		t.Fatal(err)
	}
	got, err := ReadVerification(dir, v.Circuit)
	if err != nil || !reflect.DeepEqual(got, v) {
		t.Errorf("%+v, %v", got, err)
	}
	if v.Members(1) != 2 || v.Members(2) != 1 {
		t.Errorf("%d and %d members", v.Members(1), v.Members(2))
	}
	own := OwnContribution{Ceremony: v.Ceremony, Member: "GOV/a", Phase: 1, SHA256: strings.Repeat("0a", 32)}
	if !v.Includes(own) {
		t.Error("a contribution is not found")
	}
	for name, edit := range map[string]func(*OwnContribution){
		"ceremony": func(c *OwnContribution) { c.Ceremony = v.Circuit }, "member": func(c *OwnContribution) { c.Member = "GOV/b" },
		"phase": func(c *OwnContribution) { c.Phase = 2 }, "payload": func(c *OwnContribution) { c.SHA256 = v.Circuit },
	} {
		other := own
		if edit(&other); v.Includes(other) {
			t.Errorf("another %s is found", name)
		}
	}
}

func TestVerificationRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Verification){
		"ceremony": func(v *Verification) { v.Ceremony = "" }, "transcript": func(v *Verification) { v.Transcript = "x" },
		"circuit": func(v *Verification) { v.Circuit = "../03" }, "verifying key": func(v *Verification) { v.VerifyingKey = "AB" },
		"proving key": func(v *Verification) { v.ProvingKey = "" }, "kind": func(v *Verification) { v.Kind = "" },
		"contributors": func(v *Verification) { v.Contributors = 0 }, "time": func(v *Verification) { v.Verified = "today" },
		"member": func(v *Verification) { v.Phases[0][0].Member = "" }, "payload": func(v *Verification) { v.Phases[1][0].SHA256 = "" },
		"size": func(v *Verification) { v.Kind = strings.Repeat("x", maxNote) },
	} {
		v := testVerification()
		edit(&v)
		if err := WriteVerification(t.TempDir(), v); !errors.Is(err, ErrNote) {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir, v := t.TempDir(), testVerification()
	if err := os.Mkdir(filepath.Join(dir, v.Circuit), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := WriteVerification(dir, v); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, v.Circuit, verificationFile)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string]string{
		"empty": "", "null": "null", "cut": string(good[:len(good)/2]), "twice": string(good) + "{}", "long": strings.Repeat(" ", maxNote+1),
		"unknown field":   strings.Replace(string(good), `"kind"`, `"sort"`, 1),
		"another circuit": strings.Replace(string(good), v.Circuit, v.Transcript, 1),
	} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadVerification(dir, v.Circuit); !errors.Is(err, ErrNote) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOwnContributions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ceremony", "own.json")
	if list, err := OwnContributions(path); err != nil || list != nil {
		t.Errorf("without a file: %v, %v", list, err)
	}
	hex := func(s string) string { return strings.Repeat(s, 32) }
	first := OwnContribution{hex("01"), "GOV/a", 1, hex("0a")}
	second := OwnContribution{hex("01"), "GOV/a", 2, hex("0b")}
	for _, c := range []OwnContribution{first, second, first} {
		if err := NoteContribution(path, c); err != nil {
			t.Fatal(err)
		}
	}
	if list, err := OwnContributions(path); err != nil || !reflect.DeepEqual(list, []OwnContribution{first, second}) {
		t.Errorf("%v, %v", list, err)
	}
	for name, c := range map[string]OwnContribution{
		"ceremony": {"", "GOV/a", 1, hex("0a")}, "member": {hex("01"), "", 1, hex("0a")}, "phase 0": {hex("01"), "GOV/a", 0, hex("0a")},
		"phase 3": {hex("01"), "GOV/a", 3, hex("0a")}, "payload": {hex("01"), "GOV/a", 1, "0A"},
	} {
		if err := NoteContribution(path, c); !errors.Is(err, ErrNote) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := NoteContribution(path, first); !errors.Is(err, ErrNote) {
		t.Errorf("a damaged list was written over: %v", err)
	}
}

// Whatever stands in the files, reading ends in a note whose methods can be called, or in ErrNote.
func FuzzNotes(f *testing.F) {
	good, err := json.Marshal(testVerification())
	if err != nil {
		f.Fatal(err)
	}
	own := `{"ceremony":"` + strings.Repeat("01", 32) + `","member":"GOV/a","phase":1,"sha256":"` + strings.Repeat("0a", 32) + `"}`
	for _, seed := range []string{string(good), "[" + own + "]", "[]", "null", "{}", strings.Replace("["+own+"]", `"phase":1`, `"phase":3`, 1),
		strings.Replace(string(good), `"phases":[`, `"phases":[null,`, 1), `{"phases":[[{"member":"a"}]]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := parseVerification(data)
		if err != nil && !errors.Is(err, ErrNote) {
			t.Fatal(err)
		}
		list, ownErr := parseOwn(data)
		if ownErr != nil && !errors.Is(ownErr, ErrNote) {
			t.Fatal(ownErr)
		}
		if err == nil && v.Members(1)+v.Members(2) > len(v.Phases[0])+len(v.Phases[1]) {
			t.Error("more members than contributions")
		}
		if ownErr == nil {
			for _, c := range list {
				v.Includes(c)
			}
		}
	})
}
