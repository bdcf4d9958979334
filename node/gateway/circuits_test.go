package gateway

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/keyring"
	"github.com/grille-gateway/grille/prover"
)

const health, tax = "GOV/health", "GOV/tax"

// ceremonial is a folder of the statement's keys that say of themselves that a ceremony made them; what the notes beside them say is what
// is tested here. They are the development keys with another kind: setting others up takes long under the race detector.
func ceremonial(t *testing.T) (dir string, m prover.Metadata) {
	t.Helper()
	keys, err := circuit()
	if err != nil {
		t.Fatal(err)
	}
	m = keys.Metadata()
	encoded := keys.VerifyingKey()
	copy(encoded[16:32], append([]byte(prover.KindCeremony), make([]byte, 16)...)) // where the format has the kind
	sum := sha256.Sum256(encoded)
	m.Kind, m.Transcript, m.VerifyingKeySHA256 = prover.KindCeremony, hex64("7c"), hex.EncodeToString(sum[:])
	dir = t.TempDir()
	metadata, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	proving, err := os.ReadFile(filepath.Join(keysDir(), m.CircuitID, "proving.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"metadata.json": metadata, "verifying.key": encoded, "proving.key": proving} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, m
}

func hex64(s string) string { return strings.Repeat(s, 32) }

// newCeremonyWorld makes a production network of four whose members share no keys, and the note of the ceremony that made some.
func newCeremonyWorld(t *testing.T, change func(*network.Params, network.Circuit)) (*world, prover.Verification) {
	t.Helper()
	dir, m := ceremonial(t)
	v := prover.Verification{Ceremony: hex64("01"), Transcript: m.Transcript, Circuit: m.CircuitID, VerifyingKey: m.VerifyingKeySHA256,
		ProvingKey: m.ProvingKeySHA256, Kind: m.Kind, Contributors: 2, Verified: "2026-03-01T12:00:00Z"}
	for i := range v.Phases {
		v.Phases[i] = []prover.Contribution{{Member: civil, SHA256: hex64("0a")}, {Member: benefits, SHA256: hex64("0b")}}
	}
	w := newWorldWith(t, func(p *network.Params) {
		p.Mode, p.Circuits = network.ModeProduction, nil
		change(p, keyring.CircuitOf(v))
	}, civil, benefits, health, tax)
	w.keys, w.made = nil, dir
	return w, v
}

// verified puts the ceremony's keys into a member's folder, and the note that it verified them.
func (w *world) verified(member string, v prover.Verification) {
	w.t.Helper()
	dir := w.folder(member).Path("prover")
	w.check(os.CopyFS(filepath.Join(dir, v.Circuit), os.DirFS(w.made)))
	w.check(prover.WriteVerification(dir, v))
}

// A production network begins without a circuit, its members verify a ceremony one by one, and once a quorum of them stands behind its
// keys, the next version names them and the gateways go on with them. What is asked before is refused.
func TestCeremonysCircuitComesIntoForce(t *testing.T) {
	w, v := newCeremonyWorld(t, func(*network.Params, network.Circuit) {})
	all := []string{civil, benefits, health, tax}
	w.start(all...)
	w.furnish(5)
	if _, err := w.running[benefits].Ask(t.Context(), question("P-0001")); problemCode(err) != codeNoCircuit {
		t.Errorf("asked without a circuit: %v", err)
	}
	if s := w.running[benefits].Status(); s.Circuit != "" || len(s.Circuits) != 0 || !s.Ready {
		t.Errorf("%+v", s)
	}
	g := map[string]*served{}
	for _, m := range all {
		w.halt(m)
		g[m] = w.serve(m)
	}
	for _, m := range all {
		w.eventually(m+" is ready", func() bool { return g[m].version(t) == 1 })
	}
	k := keyring.CircuitOf(v)
	next, err := network.Succeed(w.config, network.Change{Circuits: &[]network.Circuit{k}})
	w.check(err)
	proposer := g[w.config.Proposer]
	propose := func() string {
		err := proposer.Send(t.Context(), "/v1/network/proposal", "application/json", bytes.NewReader(next.Bytes()), new(api.Succession))
		if err == nil {
			return ""
		}
		return problemCode(err)
	}
	if code := propose(); code != keyring.CodeUnverified {
		t.Errorf("proposed without having verified: %q", code)
	}
	w.verified(w.config.Proposer, v)
	if code := propose(); code != codeCircuitSupport {
		t.Errorf("proposed alone: %q", code)
	}
	w.verified(health, v)
	w.verified(civil, v)
	w.eventually("a quorum stands behind the keys", func() bool { return propose() == "" })
	vote := func(m string) string {
		err := g[m].Post(t.Context(), "/v1/network/vote", map[string]string{"digest": next.Digest()}, new(api.Succession))
		if err == nil {
			return ""
		}
		return problemCode(err)
	}
	w.eventually("the proposal arrives", func() bool { return vote(tax) != codeProposal })
	if code := vote(tax); code != keyring.CodeUnverified {
		t.Errorf("voted without having verified: %q", code)
	}
	for _, m := range []string{civil, benefits, health} {
		w.eventually(m+" votes", func() bool { return vote(m) == "" })
	}
	for _, m := range all {
		w.eventually(m+" goes on", func() bool { return g[m].version(t) == 2 })
	}
	w.answersUnder(g, k)
	w.verified(tax, v) // later than the others
	w.eventually("the keys are taken up", func() bool {
		var s api.Status
		return g[tax].Get(t.Context(), "/v1/status", &s) == nil && s.Ready && s.Circuit == k.ID
	})
}

// answersUnder checks that the requester is answered under a circuit from a ceremony, and that a member without its keys says so.
func (w *world) answersUnder(g map[string]*served, k network.Circuit) {
	w.t.Helper()
	ctx := w.t.Context()
	var answer api.Answer
	w.check(g[benefits].Post(ctx, "/v1/queries", question("P-0001"), &answer))
	if answer.Verdict != "satisfied" || !answer.Verified {
		w.t.Errorf("%+v", answer)
	}
	var s api.Status
	w.check(g[benefits].Get(ctx, "/v1/status", &s))
	if len(s.Circuits) != 1 || !s.Circuits[0].Answers || !s.Circuits[0].Verifies || s.Circuit != k.ID || s.KeyKind != network.KindCeremony {
		w.t.Errorf("%+v", s)
	}
	var without api.Status
	w.check(g[tax].Get(ctx, "/v1/status", &without))
	if len(without.Circuits) != 1 || without.Circuits[0].Answers || without.Circuits[0].Problem == "" || without.Circuit != "" {
		w.t.Errorf("%+v", without)
	}
}

// One row for each reason for which a production gateway does not start. Without any keys it starts, and keeps the ledger.
func TestProductionStart(t *testing.T) {
	other := hex64("0e")
	own := prover.OwnContribution{Ceremony: hex64("01"), Member: civil, Phase: 2, SHA256: hex64("0a")}
	for name, tc := range map[string]struct {
		circuit func(*network.Circuit)                // as the network names it
		folder  func(w *world, v prover.Verification) // what is in civil's
		want    string                                // code
		keys    int                                   // that it starts with
	}{
		"no keys": {folder: func(*world, prover.Verification) {}},
		"verified": {folder: func(w *world, v prover.Verification) {
			w.verified(civil, v)
			w.check(prover.NoteContribution(w.folder(civil).Contributions(), own))
		}, keys: 1},
		"another compiled id": {circuit: func(k *network.Circuit) { k.ID = other },
			folder: func(w *world, v prover.Verification) { w.verified(civil, v) }, want: keyring.CodeProgram},
		"not verified": {folder: func(w *world, v prover.Verification) {
			w.verified(civil, v)
			w.check(os.Remove(filepath.Join(w.folder(civil).Path("prover"), v.Circuit, "verified.json")))
		}, want: keyring.CodeUnverified},
		"another transcript": {circuit: func(k *network.Circuit) { k.Transcript = other },
			folder: func(w *world, v prover.Verification) { w.verified(civil, v) }, want: keyring.CodeTranscript},
		"another transcript verified": {folder: func(w *world, v prover.Verification) {
			v.Transcript = other
			w.verified(civil, v)
		}, want: keyring.CodeTranscript},
		"another verifying key": {circuit: func(k *network.Circuit) { k.VerifyingKey = other },
			folder: func(w *world, v prover.Verification) { w.verified(civil, v) }, want: keyring.CodeKey},
		"fewer contributors than the network asks for": {circuit: func(k *network.Circuit) { k.Contributors = 3 },
			folder: func(w *world, v prover.Verification) { w.verified(civil, v) }, want: keyring.CodeContributors},
		"too few in phase 1": {folder: func(w *world, v prover.Verification) {
			v.Phases[0] = v.Phases[0][1:]
			w.verified(civil, v)
		}, want: keyring.CodeContributors},
		"too few in phase 2": {folder: func(w *world, v prover.Verification) {
			v.Phases[1] = nil
			w.verified(civil, v)
		}, want: keyring.CodeContributors},
		"own contribution missing": {folder: func(w *world, v prover.Verification) {
			w.check(prover.NoteContribution(w.folder(civil).Contributions(), own))
			v.Phases[1] = []prover.Contribution{{Member: health, SHA256: hex64("0c")}, v.Phases[1][1]}
			w.verified(civil, v)
		}, want: keyring.CodeContribution},
	} {
		w, v := newCeremonyWorld(t, func(p *network.Params, k network.Circuit) {
			if tc.circuit != nil {
				tc.circuit(&k)
			}
			p.Circuits = []network.Circuit{k}
		})
		tc.folder(w, v)
		g, err := w.open(civil)
		if tc.want == "" {
			if err != nil || len(g.ring.Keys) != tc.keys {
				t.Errorf("%s: %v", name, err)
			}
		} else if refusal := (*keyring.Refusal)(nil); !errors.As(err, &refusal) || refusal.Code != tc.want || refusal.Next == "" {
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
		if g != nil {
			w.check(g.Close())
		}
	}
}

// A holder that lacks keys of the circuit in force keeps its log and says so to who asks it. Once it has them, the same question is
// answered.
func TestHolderWithoutKeys(t *testing.T) {
	w := newWorldWith(t, slowBeats, civil, benefits)
	w.bare = civil
	w.start(civil, benefits)
	w.furnish(5)
	_, err := w.running[benefits].Ask(t.Context(), question("P-0001"))
	var p *api.Problem
	if !errors.As(err, &p) || p.Code != codeNoCircuit || p.Query == "" || !strings.Contains(p.Detail, "the holder") {
		t.Fatalf("%v", err)
	}
	if s := w.running[civil].Status(); !s.Ready || s.Circuit != "" || len(s.Circuits) != 1 || s.Circuits[0].Verifies || s.Circuits[0].Problem == "" {
		t.Errorf("%+v", s)
	}
	w.halt(civil)
	w.bare = ""
	w.start(civil)
	var answer *api.Answer
	w.eventually("the holder answers", func() bool {
		answer, err = w.running[benefits].Resend(t.Context(), p.Query)
		return err == nil
	})
	if answer.Verdict != "satisfied" || !answer.Verified {
		t.Errorf("%+v", answer)
	}
}

// What a member's log says of several ceremonies for one circuit.
func TestSayable(t *testing.T) {
	k := network.Circuit{ID: hex64("1a"), VerifyingKey: hex64("2b"), Kind: network.KindCeremony, Transcript: hex64("3c"), Contributors: 2}
	note := func(key, transcript, at string) prover.Verification {
		return prover.Verification{Circuit: k.ID, VerifyingKey: key, Transcript: transcript, Kind: k.Kind, Verified: "2026-03-0" + at + "T12:00:00Z"}
	}
	named, older, newer := note(k.VerifyingKey, k.Transcript, "9"), note(hex64("0a"), hex64("0b"), "1"), note(k.VerifyingKey, hex64("0c"), "2")
	ending, developed := k, network.Circuit{ID: k.ID, VerifyingKey: k.VerifyingKey, Kind: network.KindDevelopment}
	ending.Until = "2026-04-01T00:00:00Z"
	for name, tc := range map[string]struct {
		circuits []network.Circuit
		noted    []prover.Verification
		first    string // transcript
		n        int
	}{
		"nothing verified":                {circuits: []network.Circuit{k}},
		"named":                           {[]network.Circuit{k}, []prover.Verification{older, named, newer}, named.Transcript, 1},
		"named, and another was verified": {[]network.Circuit{k}, []prover.Verification{newer}, "", 0},
		"ending":                          {[]network.Circuit{ending}, []prover.Verification{older, named, newer}, newer.Transcript, 3},
		"ending, and nothing follows":     {[]network.Circuit{ending}, []prover.Verification{named}, named.Transcript, 1},
		"not named":                       {nil, []prover.Verification{older, newer}, newer.Transcript, 2},
		"in place of development keys":    {[]network.Circuit{developed}, []prover.Verification{older, newer}, newer.Transcript, 2},
	} {
		out := sayable(&network.Configuration{Circuits: tc.circuits}, tc.noted)
		if len(out) != tc.n || tc.n > 0 && out[0].Transcript != tc.first {
			t.Errorf("%s: %+v", name, out)
		}
	}
}

// anotherCeremony stores keys of a second ceremony for the circuit in a member's folder, as `grille ceremony verify` does in a demo: the same
// ones again, of kind demo, and so with another verifying key.
func (w *world) anotherCeremony(member string, v prover.Verification) network.Circuit {
	w.t.Helper()
	var keys [2][]byte
	for i, name := range []string{"verifying.key", "proving.key"} {
		data, err := os.ReadFile(filepath.Join(w.made, name))
		w.check(err)
		keys[i] = data
	}
	copy(keys[0][16:32], append([]byte(prover.KindDemo), make([]byte, 16)...))
	sum := sha256.Sum256(keys[0])
	v.Ceremony, v.Transcript, v.VerifyingKey, v.Kind, v.Verified = hex64("02"), hex64("8d"), hex.EncodeToString(sum[:]), prover.KindDemo, "2026-03-02T12:00:00Z"
	w.check(prover.Adopt(w.t.Context(), w.folder(member).Path("prover"), v, keys[0], keys[1]))
	return keyring.CircuitOf(v)
}

// Whoever verifies another ceremony for the circuit in force keeps the keys in force: it starts with them, and says nothing of the others.
// When an end is set the others can follow, and the gateways go on with them.
func TestSecondCeremonyOfTheCircuitInForce(t *testing.T) {
	w, v := newCeremonyWorld(t, func(p *network.Params, k network.Circuit) {
		p.Mode, p.Circuits = network.ModeDemo, []network.Circuit{k}
	})
	all := []string{civil, benefits, health, tax}
	var other network.Circuit
	for _, m := range all {
		w.verified(m, v)
		other = w.anotherCeremony(m, v)
	}
	w.start(all...)
	w.furnish(5)
	answer, err := w.running[benefits].Ask(t.Context(), question("P-0001"))
	if err != nil || !answer.Verified {
		t.Errorf("under the keys in force: %+v, %v", answer, err)
	}
	says := func(k network.Circuit) bool {
		s := w.running[civil].ledger.CircuitSupport(k)
		return len(s.Members) == len(all)
	}
	first := keyring.CircuitOf(v)
	w.eventually("all say that they rely on the keys in force", func() bool { return says(first) })
	for _, m := range all {
		w.check(w.running[m].PublishCircuits(t.Context()))
	}
	if !says(first) {
		t.Error("the other ceremony's keys were published")
	}
	for _, m := range all {
		w.halt(m)
	}
	g := map[string]*served{}
	for _, m := range all {
		g[m] = w.serve(m)
	}
	cfg := w.config
	agree := func(k network.Circuit) {
		t.Helper()
		next, err := network.Succeed(cfg, network.Change{Circuits: &[]network.Circuit{k}})
		w.check(err)
		w.eventually("the proposal is made", func() bool {
			return g[cfg.Proposer].Send(t.Context(), "/v1/network/proposal", "application/json", bytes.NewReader(next.Bytes()), new(api.Succession)) == nil
		})
		for _, m := range all[:3] {
			w.eventually(m+" votes", func() bool {
				return g[m].Post(t.Context(), "/v1/network/vote", map[string]string{"digest": next.Digest()}, new(api.Succession)) == nil
			})
		}
		for _, m := range all {
			w.eventually(m+" goes on", func() bool { return g[m].version(t) == next.Version })
		}
		cfg = next
	}
	if _, err := network.Succeed(cfg, network.Change{Circuits: &[]network.Circuit{other}}); err == nil {
		t.Error("keys without an end were followed by others")
	}
	ending := first
	ending.Until = time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	agree(ending)
	agree(other)
	var s api.Status
	w.check(g[benefits].Get(t.Context(), "/v1/status", &s))
	var under api.Answer
	w.check(g[benefits].Post(t.Context(), "/v1/queries", question("P-0002"), &under))
	if !under.Verified || s.VerifyingKey != other.VerifyingKey {
		t.Errorf("under the other keys: %+v, %+v", under, s)
	}
}
