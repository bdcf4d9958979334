package ceremony

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/frontend/cs/r1cs"
	"github.com/grille-gateway/grille/prover"
)

// chain is a small circuit: y is x after some rounds of y*y + x. Some 14 constraints, domain 16.
type chain struct {
	X frontend.Variable
	Y frontend.Variable `gnark:",public"`
	Z frontend.Variable `gnark:",public"`
}

const chainRounds = 11

func (c *chain) Define(api frontend.API) error {
	y := c.X
	for range chainRounds {
		y = api.Add(api.Mul(y, y), c.X)
	}
	api.AssertIsEqual(c.Y, y)
	api.AssertIsEqual(c.Z, api.Mul(c.X, c.Y))
	return nil
}

// longer is a circuit with another domain.
type longer struct{ chain }

func (c *longer) Define(api frontend.API) error {
	y := c.X
	for range 40 {
		y = api.Mul(y, y)
	}
	api.AssertIsDifferent(y, 0)
	return c.chain.Define(api)
}

func compileTest(c frontend.Circuit) *Circuit {
	cs, err := frontend.Compile(ecc.BLS12_381.ScalarField(), r1cs.NewBuilder, c)
	if err != nil {
		panic(err)
	}
	out, err := NewCircuit(cs)
	if err != nil {
		panic(err)
	}
	return out
}

var (
	small = sync.OnceValue(func() *Circuit { return compileTest(new(chain)) })
	large = sync.OnceValue(func() *Circuit { return compileTest(new(longer)) })
)

// names are the members in the order of their turns; the first coordinates.
var names = []string{"GOV/identity", "GOV/tax", "GOV/benefits", "GOV/housing"}

func signer(name string) Signer {
	seed := sha256.Sum256([]byte(name))
	return Signer{Member: name, Key: ed25519.NewKeyFromSeed(seed[:])}
}

func publicKey(name string) string {
	return base64.StdEncoding.EncodeToString(signer(name).Key.Public().(ed25519.PublicKey))
}

// clock is the time of the tests' steps.
var clock = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func testOpening(c *Circuit) Opening {
	o := NewOpening(c, clock)
	o.Kind, o.Instance, o.Configuration = prover.KindCeremony, "test", strings.Repeat("ab", 32)
	o.Coordinator, o.Contributors, o.TurnSeconds = names[0], 2, 60
	for _, n := range names {
		o.Members = append(o.Members, Member{Name: n, Key: publicKey(n)})
	}
	return o
}

// ledgerBeacon is a beacon as a ledger gives it: heads with a time, hashed.
func ledgerBeacon(evidence []byte, after time.Time) ([]byte, error) {
	stamp, ok := bytes.CutPrefix(evidence, []byte("heads at "))
	if !ok {
		return nil, errors.New("no heads")
	}
	if at, err := time.Parse(time.RFC3339, string(stamp)); err != nil || at.Before(after) {
		return nil, errors.New("the heads are older than the announced time")
	}
	sum := sha256.Sum256(evidence)
	return sum[:], nil
}

func heads(at time.Time) []byte { return []byte("heads at " + at.Format(time.RFC3339)) }

// run is a ceremony under test.
type run struct {
	*Ceremony
	t   testing.TB
	dir string
}

func begin(t testing.TB, change func(*Opening)) *run {
	t.Helper()
	o := testOpening(small())
	if change != nil {
		change(&o)
	}
	dir := t.TempDir()
	c, err := Create(context.Background(), dir, small(), o, signer(o.Coordinator))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &run{Ceremony: c, t: t, dir: dir}
}

// make has a member make a contribution to the present task.
func (r *run) make(name string) *Contribution {
	r.t.Helper()
	task, err := r.Task()
	if err != nil {
		r.t.Fatal(err)
	}
	con, err := Contribute(context.Background(), r.circuit, task, signer(name), clock, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return con
}

// contribute has members contribute.
func (r *run) contribute(members ...string) {
	r.t.Helper()
	for _, m := range members {
		if err := r.Add(context.Background(), r.make(m), nil); err != nil {
			r.t.Fatalf("contribution of %s: %v", m, err)
		}
	}
}

func (r *run) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// endPhase closes and seals the phase.
func (r *run) endPhase() *Result {
	r.t.Helper()
	r.must(r.ClosePhase(clock, clock.Add(time.Minute)))
	res, err := r.Seal(context.Background(), heads(clock.Add(2*time.Minute)), clock.Add(3*time.Minute), ledgerBeacon, nil)
	r.must(err)
	return res
}

// wholePhase is a phase with as few contributions as may be.
func (r *run) wholePhase() {
	r.t.Helper()
	r.contribute(names[:2]...)
	r.must(r.Pass(names[2], ReasonAbsent, clock))
	r.must(r.Pass(names[3], ReasonAbsent, clock))
	r.endPhase()
}

// wantReason fails unless err is a refusal for the reason.
func wantReason(t testing.TB, what string, err error, want Reason) {
	t.Helper()
	var r *Refused
	if !errors.As(err, &r) || r.Reason != want {
		t.Errorf("%s: %v, want a refusal for %q", what, err, want)
	}
}

// sign is a member's signature under a step's text.
func sign(name, body string) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(signer(name).Key, signedBytes(LabelStep, body)))
}
