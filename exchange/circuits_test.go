package exchange_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	r1csbls "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// nextStatement is the statement with one constraint more that forbids nothing: another circuit with the same inputs.
type nextStatement struct{ circuits.Statement }

func (s *nextStatement) Define(api frontend.API) error {
	api.AssertIsEqual(api.Mul(s.Context, s.Context), api.Mul(s.Context, s.Context))
	return s.Statement.Define(api)
}

// nextKeys are keys of another circuit than the statement's, as of a demo's ceremony.
var nextKeys = sync.OnceValues(func() (*prover.Keys, error) {
	cs, err := frontend.Compile(circuits.Curve.ScalarField(), r1cs.NewBuilder, new(nextStatement))
	if err != nil {
		return nil, err
	}
	var pk groth16.ProvingKey
	var vk groth16.VerifyingKey
	if err := groth16.Setup(cs.(*r1csbls.R1CS), &pk, &vk); err != nil {
		return nil, err
	}
	return prover.NewKeys(cs, prover.KindDemo, strings.Repeat("7c", 32), &pk, &vk)
})

// upgrade is a world between two circuits.
type upgrade struct {
	*world
	old, next    *prover.Keys
	since, until time.Time // of the next circuit, and of the old one
}

// newUpgrade makes a world in which the statement's circuit ends two hours from now, and another one begins in one.
func newUpgrade(t *testing.T) *upgrade {
	t.Helper()
	u := &upgrade{}
	var err error
	if u.old, err = keys(); err != nil {
		t.Fatal(err)
	}
	if u.next, err = nextKeys(); err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	u.since, u.until = now.Add(time.Hour), now.Add(2*time.Hour)
	old, next := u.old.Metadata(), u.next.Metadata()
	if old.CircuitID == next.CircuitID || old.PublicInputs != next.PublicInputs {
		t.Fatalf("circuits %s with %d inputs and %s with %d", old.CircuitID, old.PublicInputs, next.CircuitID, next.PublicInputs)
	}
	u.world = newWorldWith(t, setting{proving: []*prover.Keys{u.old, u.next}, circuits: []network.Circuit{
		{ID: old.CircuitID, VerifyingKey: old.VerifyingKeySHA256, Kind: old.Kind, Until: entry.FormatTime(u.until)},
		{ID: next.CircuitID, VerifyingKey: next.VerifyingKeySHA256, Kind: next.Kind, Transcript: next.Transcript, Contributors: 1,
			Since: entry.FormatTime(u.since)}}})
	return u
}

// pass sets the clock and waits until the holder answers at that time, as it does once its head is cosigned again.
func (u *upgrade) pass(to time.Time) *requester.Result {
	u.t.Helper()
	u.mu.Lock()
	u.offset = time.Until(to)
	u.mu.Unlock()
	var result *requester.Result
	u.eventually("the holder answers", func() bool {
		q := u.question("P-0001")
		q.Life = 5 * time.Second
		var err error
		result, err = u.members[benefits].requester.Ask(u.t.Context(), q)
		return err == nil
	})
	if result.Verdict != "satisfied" {
		u.t.Fatalf("%+v", result)
	}
	return result
}

// with verifies as a stranger who has these keys.
func (u *upgrade) with(list ...*prover.Keys) *bundle.Verifier {
	u.t.Helper()
	proofs, err := verifyingKeys(list)
	u.check(err)
	return &bundle.Verifier{Config: u.config, Proofs: proofs}
}

// A network goes over from one circuit to another: the holder answers under the newest in force that it has keys of, both sides of a
// query verify what either gives, and what was answered under the first stays verifiable when it has ended.
func TestCircuitUpgrade(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	u.furnish(peopleCSV, 100, 1000)
	old, next := u.old.Metadata().CircuitID, u.next.Metadata().CircuitID
	var bundles [][]byte
	expect := func(when, circuit string, r *requester.Result) {
		t.Helper()
		if r.Report.Circuit != circuit {
			t.Errorf("%s: answered under %s", when, r.Report.Circuit)
		}
		bundles = append(bundles, u.bundle(r.ID, false))
	}
	expect("before", old, u.ask(u.question("P-0001")))
	expect("with both in force", next, u.pass(u.since.Add(time.Minute)))
	civil := u.members[civil]
	civil.halt()
	u.proving = []*prover.Keys{u.old} // civil has not gone over yet
	civil.start()
	expect("with both in force, the holder with the first", old, u.pass(u.since.Add(2*time.Minute)))
	civil.halt()
	u.proving = []*prover.Keys{u.old, u.next}
	civil.start()
	expect("afterwards", next, u.pass(u.until.Add(time.Minute)))
	want := []string{old, next, old, next}
	for i, data := range bundles {
		report, err := u.with(u.next, u.old).Verify(data)
		if err != nil || report.Circuit != want[i] || report.Verdict != circuits.Satisfied {
			t.Errorf("bundle %d with both keys: %+v, %v", i, report, err)
		}
		for _, one := range []*prover.Keys{u.old, u.next} {
			_, err := u.with(one).Verify(data)
			if fits := one.Metadata().CircuitID == want[i]; fits && err != nil || !fits && reason(err) != bundle.ReasonCircuit {
				t.Errorf("bundle %d with the key of %.8s alone: %v", i, one.Metadata().CircuitID, err)
			}
		}
	}
	if kind := u.reportOf(bundles[1]).KeyKind; kind != network.KindDemo {
		t.Errorf("keys of kind %s", kind)
	}
}

func (u *upgrade) reportOf(data []byte) *bundle.Report {
	u.t.Helper()
	r, err := u.verify.Verify(data)
	u.check(err)
	return r
}

// A holder that goes on under the ended circuit, or begins with the next too early, is not believed by the requester or by anybody later.
// One that has no keys of a circuit in force says so, and a requester does not ask when there is none.
func TestAnswersOutsideACircuitsTime(t *testing.T) {
	t.Parallel()
	u := newUpgrade(t)
	u.furnish(peopleCSV, 100, 1000)
	old, next := u.old.Metadata().CircuitID, u.next.Metadata().CircuitID
	check := func(when, under string, want bundle.Reason) {
		t.Helper()
		lie := u.encode(u.lie("P-0001", func(h *bundle.Header) {
			h.Circuit = under
			if _, index, ok := u.members[civil].ledger.View(h.Origin, h.Size).NewestBatch(); ok {
				h.Batch = &index
			}
		}))
		if _, err := u.verify.Verify(lie); reason(err) != want {
			t.Errorf("%s, under %.8s: %v, want %q", when, under, err, want)
		}
		replica := *u.verify
		replica.Replica = u.members[benefits].ledger
		if _, err := replica.Verify(lie); reason(err) != want {
			t.Errorf("%s, under %.8s, by the requester: %v, want %q", when, under, err, want)
		}
	}
	u.ask(u.question("P-0001"))
	check("before", old, "")
	check("before", next, bundle.ReasonCircuit)
	u.pass(u.since.Add(time.Minute))
	check("with both in force", old, "")
	check("with both in force", next, "")
	u.pass(u.until.Add(time.Minute))
	check("afterwards", old, bundle.ReasonCircuit)
	check("afterwards", next, "")
	m := u.members[civil]
	m.halt()
	u.proving = []*prover.Keys{u.old}
	m.start()
	u.eventually("the holder says that it has no keys", func() bool {
		q := u.question("P-0001")
		q.Life = time.Second
		result, err := u.members[benefits].requester.Ask(t.Context(), q)
		var no *holder.RequestError
		return errors.As(err, &no) && no.Code() == holder.CodeNoCircuit && errors.Is(err, requester.ErrNoReply) && result.State == requester.StateSent
	})
}

func TestNothingIsAskedWithoutACircuit(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{proving: []*prover.Keys{}})
	if _, err := w.members[benefits].requester.Ask(t.Context(), w.question("P-0001")); !errors.Is(err, requester.ErrNoCircuit) {
		t.Errorf("%v", err)
	}
}

// A version of the configuration that ends a circuit binds those who name an earlier version, as far as the verifier knows it.
func TestLaterVersionEndsACircuit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.furnish(peopleCSV, 10, 100)
	data := w.bundle(w.ask(w.question("P-0001")).ID, false)
	report, err := w.verify.Verify(data)
	w.check(err)
	answered, err := entry.ParseTime(report.AnsweredAt)
	w.check(err)
	for name, tc := range map[string]struct {
		until time.Time
		key   string // "": the same
		want  bundle.Reason
	}{
		"after the answer":               {until: answered.Add(time.Second)},
		"before it":                      {until: answered.Add(-time.Second), want: bundle.ReasonCircuit},
		"at its time":                    {until: answered, want: bundle.ReasonCircuit},
		"before it, of another key":      {until: answered.Add(-time.Second), key: strings.Repeat("0c", 32)},
		"a beginning later than it says": {until: answered.Add(48 * time.Hour)},
	} {
		k := w.config.Circuits[0]
		k.Until = entry.FormatTime(tc.until)
		if tc.key != "" {
			k.VerifyingKey = tc.key
		}
		if tc.until.After(answered.Add(time.Hour)) {
			k.Since = entry.FormatTime(answered.Add(24 * time.Hour))
		}
		later := *w.verify
		later.Chain = w.chain(network.Change{Circuits: &[]network.Circuit{k}})
		later.Config = later.Chain.Newest()
		if _, err := later.Verify(data); reason(err) != tc.want {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// chain returns the configuration with a version after it that all mirrors voted for. No log is handed over.
func (w *world) chain(change network.Change) *network.Chain {
	w.t.Helper()
	next, err := network.Succeed(w.config, change)
	w.check(err)
	p, err := network.NewProposal(w.config, next, w.members[w.config.Proposer].log)
	w.check(err)
	known := &network.Succession{}
	merge := func(part network.Succession) {
		w.t.Helper()
		part.Proposal = &p
		_, err := known.Merge(w.config, &part)
		w.check(err)
	}
	for _, name := range names {
		v, err := network.NewVote(w.config, next, name, w.members[name].mirror)
		w.check(err)
		merge(network.Succession{Votes: []network.Vote{v}})
	}
	for _, name := range names {
		h, err := network.NewHandover(w.config, next, name, nil, w.members[name].mirror)
		w.check(err)
		merge(network.Succession{Votes: known.Votes, Handovers: []network.Handover{h}})
	}
	link, ok := known.Link(w.config)
	if !ok {
		w.t.Fatal("no link")
	}
	chain := network.NewChain(w.config)
	w.check(chain.Extend(link))
	return chain
}
