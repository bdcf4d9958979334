package keyring

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// development are the statement's keys, made once and shared by all tests of the module.
var development = sync.OnceValues(func() (*prover.Keys, error) {
	return prover.Develop(context.Background(), sharedKeys(), nil)
})

func sharedKeys() string {
	if dir := os.Getenv("GRILLE_TEST_KEYS"); dir != "" {
		return dir
	}
	return filepath.Join(os.TempDir(), "grille-test-keys")
}

const member = "GOV/tax"

func hex(s string) string { return strings.Repeat(s, 32) }

// verifiedHere makes the options of a gateway that verified the ceremony of a circuit, with the network's description of it.
func verifiedHere(t *testing.T) (Options, network.Circuit, prover.Verification) {
	t.Helper()
	o := Options{Dir: t.TempDir(), Own: filepath.Join(t.TempDir(), "ceremony", "own.json"), Member: member}
	v := prover.Verification{Ceremony: hex("01"), Transcript: hex("02"), Circuit: hex("03"), VerifyingKey: hex("04"), ProvingKey: hex("05"),
		Kind: network.KindCeremony, Contributors: 2, Verified: "2026-03-01T12:00:00Z", Phases: [2][]prover.Contribution{
			{{Member: member, SHA256: hex("0a")}, {Member: "GOV/b", SHA256: hex("0b")}},
			{{Member: "GOV/b", SHA256: hex("1b")}, {Member: "GOV/c", SHA256: hex("1c")}}}}
	if err := os.Mkdir(filepath.Join(o.Dir, v.Circuit), 0o700); err != nil {
		t.Fatal(err)
	}
	note(t, o, v)
	for _, own := range []prover.OwnContribution{{Ceremony: v.Ceremony, Member: member, Phase: 1, SHA256: hex("0a")},
		{Ceremony: hex("ff"), Member: member, Phase: 1, SHA256: hex("0c")}} { // the other to an earlier ceremony
		if err := prover.NoteContribution(o.Own, own); err != nil {
			t.Fatal(err)
		}
	}
	return o, CircuitOf(v), v
}

func note(t *testing.T, o Options, v prover.Verification) {
	t.Helper()
	if err := prover.WriteVerification(o.Dir, v); err != nil {
		t.Fatal(err)
	}
}

func code(err error) string {
	var r *Refusal
	if !errors.As(err, &r) || r.Why == "" || r.Next == "" || r.Circuit == "" {
		return ""
	}
	return r.Code
}

// One row for each reason not to stand behind a ceremony's keys.
func TestVerified(t *testing.T) {
	for name, tc := range map[string]struct {
		edit func(t *testing.T, o *Options, c *network.Circuit, v prover.Verification)
		want string
	}{
		"verified here": {func(*testing.T, *Options, *network.Circuit, prover.Verification) {}, ""},
		"not verified": {func(t *testing.T, o *Options, _ *network.Circuit, _ prover.Verification) {
			o.Dir = t.TempDir()
		}, CodeUnverified},
		"a damaged note": {func(t *testing.T, o *Options, c *network.Circuit, _ prover.Verification) {
			if err := os.WriteFile(filepath.Join(o.Dir, c.ID, "verified.json"), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, CodeUnverified},
		"another transcript": {func(_ *testing.T, _ *Options, c *network.Circuit, _ prover.Verification) { c.Transcript = hex("ee") }, CodeTranscript},
		"another verifying key": {func(_ *testing.T, _ *Options, c *network.Circuit, _ prover.Verification) {
			c.VerifyingKey = hex("ee")
		}, CodeTranscript},
		"adopted as in a demo": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Kind = network.KindDemo
			note(t, *o, v)
		}, CodeTranscript},
		"too few in phase 1": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Phases[0] = v.Phases[0][:1]
			note(t, *o, v)
		}, CodeContributors},
		"one member twice in phase 2": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Phases[1][1].Member = v.Phases[1][0].Member
			note(t, *o, v)
		}, CodeContributors},
		"nobody in phase 2": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Phases[1] = nil
			note(t, *o, v)
		}, CodeContributors},
		"fewer than the network asks for": {func(_ *testing.T, _ *Options, c *network.Circuit, _ prover.Verification) {
			c.Contributors = 3
		}, CodeContributors},
		"own contribution dropped": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Phases[0][0] = prover.Contribution{Member: "GOV/d", SHA256: hex("0d")}
			note(t, *o, v)
		}, CodeContribution},
		"own contribution exchanged": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			v.Phases[0][0].SHA256 = hex("0d")
			note(t, *o, v)
		}, CodeContribution},
		"own list damaged": {func(t *testing.T, o *Options, _ *network.Circuit, _ prover.Verification) {
			if err := os.WriteFile(o.Own, []byte("["), 0o600); err != nil {
				t.Fatal(err)
			}
		}, CodeContribution},
		"another member's contribution": {func(t *testing.T, o *Options, _ *network.Circuit, v prover.Verification) {
			o.Member = "GOV/z"
			v.Phases[0][0].Member = "GOV/d"
			note(t, *o, v)
		}, ""},
		"never contributed": {func(t *testing.T, o *Options, _ *network.Circuit, _ prover.Verification) {
			o.Own = filepath.Join(t.TempDir(), "none.json")
		}, ""},
		"a demo": {func(t *testing.T, o *Options, c *network.Circuit, _ prover.Verification) {
			o.Dir, c.Kind = t.TempDir(), network.KindDemo
		}, ""},
	} {
		o, c, v := verifiedHere(t)
		tc.edit(t, &o, &c, v)
		if err := o.Verified(c); (err != nil) != (tc.want != "") || code(err) != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// What Load makes of the statement's own keys, loaded or in the folder.
func TestLoad(t *testing.T) {
	keys, err := development()
	if err != nil {
		t.Fatal(err)
	}
	m := keys.Metadata()
	own := network.Circuit{ID: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256, Kind: m.Kind}
	other := network.Circuit{ID: hex("0e"), VerifyingKey: hex("0f"), Kind: network.KindDevelopment}
	empty := t.TempDir()
	for name, tc := range map[string]struct {
		dir      string
		loaded   []*prover.Keys
		circuits []network.Circuit
		keys     int
		missing  string // code, of the one that is
		want     string
	}{
		"no circuit":            {dir: empty},
		"in the folder":         {dir: sharedKeys(), circuits: []network.Circuit{own}, keys: 1},
		"loaded":                {dir: empty, loaded: []*prover.Keys{keys}, circuits: []network.Circuit{own}, keys: 1},
		"no keys":               {dir: empty, circuits: []network.Circuit{own}, missing: CodeMissing},
		"one more circuit":      {dir: empty, loaded: []*prover.Keys{keys}, circuits: []network.Circuit{own, other}, keys: 1, missing: CodeMissing},
		"another program":       {dir: sharedKeys(), circuits: []network.Circuit{other}, want: CodeProgram},
		"another verifying key": {dir: sharedKeys(), circuits: []network.Circuit{{ID: own.ID, VerifyingKey: hex("0f"), Kind: own.Kind}}, want: CodeKey},
		"another kind": {dir: sharedKeys(), circuits: []network.Circuit{{ID: own.ID, VerifyingKey: own.VerifyingKey, Kind: network.KindDemo,
			Transcript: hex("aa"), Contributors: 1}}, want: CodeKey},
	} {
		cfg := &network.Configuration{Circuits: tc.circuits}
		ring, err := Load(t.Context(), Options{Dir: tc.dir, Member: member, Config: cfg, Keys: tc.loaded})
		if tc.want != "" {
			if code(err) != tc.want {
				t.Errorf("%s: %v, want %s", name, err, tc.want)
			}
			continue
		}
		if err != nil || len(ring.Keys) != tc.keys || len(ring.Proofs) != tc.keys {
			t.Errorf("%s: %+v, %v", name, ring, err)
			continue
		}
		if tc.missing == "" && len(ring.Missing) != 0 || tc.missing != "" && (len(ring.Missing) != 1 || ring.Missing[0].Code != tc.missing) {
			t.Errorf("%s: missing %v", name, ring.Missing)
		}
	}
}

// A program that compiles another circuit than the folder has keys of does not go on as if there were none.
func TestLoadOfAnotherProgramsKeys(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, hex("0e")), os.DirFS(keyFolder(t))); err != nil {
		t.Fatal(err)
	}
	cfg := &network.Configuration{Circuits: []network.Circuit{{ID: hex("0e"), VerifyingKey: hex("0f"), Kind: network.KindDevelopment}}}
	_, err := Load(t.Context(), Options{Dir: dir, Member: member, Config: cfg})
	if code(err) != CodeProgram {
		t.Errorf("%v", err)
	}
}

// Keys of a ceremony are loaded with their verification, and a circuit that the program cannot prove is verified with its key alone.
func TestLoadOfACeremony(t *testing.T) {
	keys, err := development()
	if err != nil {
		t.Fatal(err)
	}
	m := keys.Metadata()
	v := prover.Verification{Ceremony: hex("01"), Transcript: hex("02"), Circuit: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256,
		ProvingKey: m.ProvingKeySHA256, Kind: network.KindCeremony, Contributors: 2, Verified: "2026-03-01T12:00:00Z"}
	for i := range v.Phases {
		v.Phases[i] = []prover.Contribution{{Member: "GOV/a", SHA256: hex("0a")}, {Member: "GOV/b", SHA256: hex("0b")}}
	}
	c := CircuitOf(v)
	o := Options{Dir: t.TempDir(), Own: filepath.Join(t.TempDir(), "own.json"), Member: member, Config: &network.Configuration{Circuits: []network.Circuit{c}}}
	if err := os.CopyFS(filepath.Join(o.Dir, c.ID), os.DirFS(keyFolder(t))); err != nil {
		t.Fatal(err)
	}
	if err := o.check(c, prover.Metadata{VerifyingKeySHA256: c.VerifyingKey, Kind: c.Kind, Transcript: c.Transcript, ProvingKeySHA256: v.ProvingKey}); code(err) != CodeUnverified {
		t.Errorf("not verified: %v", err)
	}
	note(t, o, v)
	for name, tc := range map[string]struct {
		edit func(m *prover.Metadata)
		want string
	}{
		"as verified":           {func(*prover.Metadata) {}, ""},
		"another proving key":   {func(m *prover.Metadata) { m.ProvingKeySHA256 = hex("ee") }, CodeTranscript},
		"another transcript":    {func(m *prover.Metadata) { m.Transcript = hex("ee") }, CodeTranscript},
		"another verifying key": {func(m *prover.Metadata) { m.VerifyingKeySHA256 = hex("ee") }, CodeKey},
		"development keys":      {func(m *prover.Metadata) { m.Kind = prover.KindDevelopment }, CodeKey},
	} {
		m := prover.Metadata{VerifyingKeySHA256: c.VerifyingKey, Kind: c.Kind, Transcript: c.Transcript, ProvingKeySHA256: v.ProvingKey}
		tc.edit(&m)
		if err := o.check(c, m); (err != nil) != (tc.want != "") || code(err) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if proofs, err := o.verifier(c); err != nil || proofs.SHA256() != c.VerifyingKey {
		t.Errorf("verifying key alone: %v", err)
	}
	c.VerifyingKey = hex("ee")
	if _, err := o.verifier(c); code(err) != CodeKey {
		t.Errorf("another verifying key: %v", err)
	}
	noted, err := Noted(o.Dir)
	if err != nil || len(noted) != 1 || noted[0].Transcript != v.Transcript {
		t.Errorf("noted %v, %v", noted, err)
	}
	if err := os.Mkdir(filepath.Join(o.Dir, hex("0d")), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(o.Dir, hex("0d"), "verified.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if noted, err := Noted(o.Dir); !errors.Is(err, prover.ErrNote) || len(noted) != 1 {
		t.Errorf("beside a damaged note: %v, %v", noted, err)
	}
	if none, err := Noted(filepath.Join(o.Dir, "none")); err != nil || none != nil {
		t.Errorf("noted %v, %v", none, err)
	}
}

func keyFolder(t *testing.T) string {
	t.Helper()
	keys, err := development()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(sharedKeys(), keys.Metadata().CircuitID)
}

// Of several ceremonies for one circuit the one counts that the configuration names, wherever its keys stand in the folder.
func TestLoadAmongSeveralCeremonies(t *testing.T) {
	keys, err := development()
	if err != nil {
		t.Fatal(err)
	}
	m := keys.Metadata()
	proving, err := os.ReadFile(filepath.Join(keyFolder(t), "proving.key"))
	if err != nil {
		t.Fatal(err)
	}
	verifying := keys.VerifyingKey()
	copy(verifying[16:32], append([]byte(prover.KindDemo), make([]byte, 16)...)) // where the format has the kind
	sum := sha256.Sum256(verifying)
	v := prover.Verification{Ceremony: hex("01"), Circuit: m.CircuitID, VerifyingKey: fmt.Sprintf("%x", sum), ProvingKey: m.ProvingKeySHA256,
		Kind: prover.KindDemo, Contributors: 1, Verified: "2026-03-01T12:00:00Z"}
	dir := t.TempDir()
	var circuits []network.Circuit
	for _, transcript := range []string{hex("0a"), hex("0b")} { // two ceremonies that give one verifying key
		v.Transcript = transcript
		c := CircuitOf(v)
		o := Options{Dir: dir, Member: member, Config: &network.Configuration{Circuits: []network.Circuit{c}}}
		before := o.Files()
		if err := prover.Adopt(t.Context(), dir, v, verifying, proving); err != nil {
			t.Fatal(err)
		}
		if o.Files() == before {
			t.Error("nobody sees that keys have come")
		}
		circuits = append(circuits, c)
	}
	for _, c := range circuits {
		ring, err := Load(t.Context(), Options{Dir: dir, Member: member, Config: &network.Configuration{Circuits: []network.Circuit{c}}})
		if err != nil || len(ring.Keys) != 1 || ring.Keys[0].Metadata().Transcript != c.Transcript {
			t.Errorf("%.4s: %+v, %v", c.Transcript, ring, err)
			continue
		}
		if again, err := Load(t.Context(), Options{Dir: dir, Member: member, Keys: ring.Keys, Config: &network.Configuration{Circuits: circuits[:1]}}); err != nil || again.Keys[0].Metadata().Transcript != circuits[0].Transcript {
			t.Errorf("with keys of %.4s loaded: %v", c.Transcript, err)
		}
	}
	if noted, err := Noted(dir); err != nil || len(noted) != 2 {
		t.Errorf("noted %v, %v", noted, err)
	}
	o := Options{Dir: dir, Member: member, Config: &network.Configuration{}}
	for _, c := range circuits {
		if proofs, err := o.verifier(c); err != nil || proofs.SHA256() != c.VerifyingKey {
			t.Errorf("verifying key alone: %v", err)
		}
	}
}
