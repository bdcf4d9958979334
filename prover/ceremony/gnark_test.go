package ceremony

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"io"
	"reflect"
	"testing"

	groth16mpc "github.com/consensys/gnark/backend/groth16/bls12-381/mpcsetup"
	"github.com/consensys/gnark/frontend"
	"github.com/consensys/gnark/std/math/bits"
	"github.com/grille-gateway/grille/prover"
)

// These tests hold the package against gnark's Phase1 and Phase2: each takes what the other makes.

var statement = flag.Bool("statement", false, "compare with gnark at the size of the statement, too, which takes two minutes")

// theirs is a state of a phase, gnark's.
type theirs interface {
	io.WriterTo
	io.ReaderFrom
	Contribute()
}

// readTheirs has gnark read a payload.
func readTheirs(phase int, payload []byte) (theirs, error) {
	var s theirs = new(groth16mpc.Phase2)
	if phase == 1 {
		s = new(groth16mpc.Phase1)
	}
	n, err := s.ReadFrom(bytes.NewReader(payload))
	if err == nil && n != int64(len(payload)) {
		err = errors.New("bytes are left")
	}
	return s, err
}

func spelled(t testing.TB, s io.WriterTo) []byte {
	t.Helper()
	var buf bytes.Buffer
	if _, err := s.WriteTo(&buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// gnarkAccepts says whether gnark's own reader and verifier take a payload after another.
func gnarkAccepts(t testing.TB, phase int, base, payload []byte) bool {
	t.Helper()
	before, err := readTheirs(phase, base)
	if err != nil {
		t.Fatal(err)
	}
	after, err := readTheirs(phase, payload)
	if err != nil {
		return false
	}
	if phase == 1 {
		return before.(*groth16mpc.Phase1).Verify(after.(*groth16mpc.Phase1)) == nil
	}
	return before.(*groth16mpc.Phase2).Verify(after.(*groth16mpc.Phase2)) == nil
}

// In both phases, one after another: gnark takes our contributions and we take gnark's. The phases begin as gnark's do.
func TestContributionsAreGnarks(t *testing.T) {
	c := small()
	before, err := c.beginning()
	if err != nil {
		t.Fatal(err)
	}
	if p, err := before.encode(); err != nil || !bytes.Equal(p, spelled(t, groth16mpc.NewPhase1(c.domain))) {
		t.Fatal("phase 1 begins with another state than gnark's", err)
	}
	for phase := 1; phase <= 2; phase++ {
		for range 2 {
			base, err := before.encode()
			if err != nil {
				t.Fatal(err)
			}
			payload := contributeTo(t, c, phase, base)
			if !gnarkAccepts(t, phase, base, payload) {
				t.Fatalf("phase %d: gnark refuses our contribution", phase)
			}
			if again := contributeTo(t, c, phase, base); bytes.Equal(again, payload) {
				t.Error("two contributions to one state are the same")
			}
			if before, err = c.accept(context.Background(), before, payload); err != nil {
				t.Fatalf("phase %d: ours: %v", phase, err)
			}
			their, err := readTheirs(phase, payload)
			if err != nil {
				t.Fatal(err)
			}
			their.Contribute()
			if before, err = c.accept(context.Background(), before, spelled(t, their)); err != nil {
				t.Fatalf("phase %d: gnark's: %v", phase, err)
			}
		}
		if phase == 1 {
			srs, err := c.sealFirst(context.Background(), before, bytes.Repeat([]byte{7}, 32), nil)
			if err != nil {
				t.Fatal(err)
			}
			before = srs.begin
		}
	}
}

// contributeTo contributes to what a payload says.
func contributeTo(t testing.TB, c *Circuit, phase int, base []byte) []byte {
	t.Helper()
	s, err := c.read(context.Background(), phase, base)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := c.contribute(context.Background(), s)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// mixed is a circuit with coefficients of all sorts, long rows, and wires that stand nowhere.
type mixed struct {
	X, Unused frontend.Variable
	Y         frontend.Variable `gnark:",public"`
	Z         frontend.Variable `gnark:",public"`
}

func (c *mixed) Define(api frontend.API) error {
	digits := bits.ToBinary(api, c.X, bits.WithNbDigits(40))
	sum := frontend.Variable(0)
	for i, d := range digits {
		sum = api.Add(sum, api.Mul(d, digits[(7*i+3)%40], -2), api.Mul(d, 2), api.Mul(-1, d))
	}
	api.AssertIsEqual(c.Y, api.Add(sum, "52435875175126190479447740508185965837690552500527637822603658699938581184000"))
	api.AssertIsBoolean(api.Sub(1, digits[0]))
	api.AssertIsDifferent(c.X, api.Inverse(api.Add(c.X, 3)))
	return nil
}

// Sealing phase 1 and opening phase 2 give what gnark's Seal and Initialize give, and the keys are gnark's.
func TestSealedStatesAreGnarks(t *testing.T) {
	circuits := map[string]func() (*Circuit, error){
		"small": func() (*Circuit, error) { return small(), nil },
		"large": func() (*Circuit, error) { return large(), nil },
		"mixed": func() (*Circuit, error) { return compileTest(new(mixed)), nil },
	}
	if *statement {
		circuits["statement"] = Statement
	}
	for name, make := range circuits {
		t.Run(name, func(t *testing.T) {
			c, err := make()
			if err != nil {
				t.Fatal(err)
			}
			before, err := c.beginning()
			if err != nil {
				t.Fatal(err)
			}
			beacon := []byte("a beacon of thirty-two bytes, now")[:32]
			commons := groth16mpc.NewPhase1(c.domain).Seal(beacon)
			srs, err := c.sealFirst(context.Background(), before, beacon, func(stage string) { t.Log(stage) })
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(spelled(t, srs.commons), spelled(t, &commons)) {
				t.Error("the sealed powers are not gnark's")
			}
			t.Log("gnark opens phase 2")
			var second groth16mpc.Phase2
			evals := second.Initialize(c.system, &commons)
			if !bytes.Equal(srs.payload, spelled(t, &second)) {
				t.Error("phase 2 begins with another state than gnark's")
			}
			if !reflect.DeepEqual(srs.evals, &evals) {
				t.Error("the evaluations are not gnark's")
			}
			k, err := c.sealSecond(prover.KindCeremony, srs.begin, srs.commons, srs.evals, beacon)
			if err != nil {
				t.Fatal(err)
			}
			_, vk := second.Seal(&commons, &evals, beacon)
			if !reflect.DeepEqual(k.verifying, vk) {
				t.Error("the verifying key is not gnark's")
			}
		})
	}
}

// gnark's own VerifyPhase1 and VerifyPhase2 take the payloads of a whole ceremony, and give its keys.
func TestGnarkVerifiesTheTranscript(t *testing.T) {
	folder := OpenFolder(finished())
	tr, err := folder.Transcript()
	if err != nil {
		t.Fatal(err)
	}
	var first []*groth16mpc.Phase1
	var second []*groth16mpc.Phase2
	for _, p := range tr.Payloads() {
		if p.Digest == tr.phases[0].seal.Opens {
			continue
		}
		payload, err := folder.Payload(p.Digest, p.Size)
		if err != nil {
			t.Fatal(err)
		}
		s, err := readTheirs(p.Phase, payload)
		if err != nil {
			t.Fatal(err)
		}
		if p.Phase == 1 {
			first = append(first, s.(*groth16mpc.Phase1))
		} else {
			second = append(second, s.(*groth16mpc.Phase2))
		}
	}
	if len(first) < 2 || len(second) < 2 {
		t.Fatal(len(first), len(second))
	}
	beacon := func(phase int) []byte {
		b, err := hex.DecodeString(tr.phases[phase-1].seal.Beacon)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	commons, err := groth16mpc.VerifyPhase1(small().domain, beacon(1), first...)
	if err != nil {
		t.Fatal(err)
	}
	_, vk, err := groth16mpc.VerifyPhase2(small().system, &commons, beacon(2), second...)
	if err != nil {
		t.Fatal(err)
	}
	res, err := verify(finished())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(res.keys.verifying, vk) {
		t.Error("gnark gives another verifying key")
	}
}

// What is wrong with one part of a phase 1 contribution, gnark refuses and so do we.
func TestPowersAreVerified(t *testing.T) {
	c := small()
	begin, err := c.beginning()
	if err != nil {
		t.Fatal(err)
	}
	first, err := begin.encode()
	if err != nil {
		t.Fatal(err)
	}
	base := contributeTo(t, c, 1, first)
	good, other := contributeTo(t, c, 1, base), contributeTo(t, c, 1, base)
	before, err := c.read(context.Background(), 1, base)
	if err != nil {
		t.Fatal(err)
	}
	l := c.layout(1)
	forged := map[string]points{}
	for i, part := range []string{"commitment to tau", "proof of tau", "commitment to alpha", "proof of alpha", "commitment to beta", "proof of beta"} {
		p := l.points[len(l.points)-l.proofs+i]
		forged[part] = p
	}
	n := int64(c.domain)
	for part, at := range map[string][2]int64{"beta in G2": {0, 0}, "first tau": {1, 0}, "some tau": {1, 5}, "last tau": {1, 2*n - 3},
		"first tau in G2": {2, 0}, "some tau in G2": {2, 3}, "last tau in G2": {2, n - 2}, "beta": {3, 0}, "first beta tau": {3, 1},
		"last beta tau": {3, n - 1}, "alpha": {3, n}, "first alpha tau": {3, n + 1}, "last alpha tau": {3, 2*n - 1}} {
		p := l.points[at[0]]
		forged[part] = points{at: p.at + at[1]*p.size, size: p.size}
	}
	for part, p := range forged {
		bad := bytes.Clone(good)
		copy(bad[p.at:p.at+p.size], other[p.at:])
		if bytes.Equal(bad, good) {
			t.Errorf("%s: nothing is forged", part)
		}
		if gnarkAccepts(t, 1, base, bad) {
			t.Errorf("%s: gnark takes it: the forgery is none", part)
		}
		_, err := c.accept(context.Background(), before, bad)
		wantReason(t, part, err, ReasonProof)
	}
	if _, err := c.accept(context.Background(), before, good); err != nil || !gnarkAccepts(t, 1, base, good) {
		t.Error("the good one is refused", err)
	}
}

func TestReadingRefuses(t *testing.T) {
	c := small()
	begin, err := c.beginning()
	if err != nil {
		t.Fatal(err)
	}
	base, err := begin.encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.layout(1).points {
		for _, at := range []int64{p.at, p.at + (p.n-1)*p.size} {
			bad := bytes.Clone(base)
			copy(bad[at:], bytes.Repeat([]byte{0x9f}, int(p.size))) // x is no element of the field
			_, err := c.read(context.Background(), 1, bad)
			wantReason(t, "a point that is none", err, ReasonPoints)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.read(ctx, 1, base); !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the context ended: %v", err)
	}
	if _, err := c.contribute(ctx, begin); !errors.Is(err, context.Canceled) {
		t.Errorf("contributing after the context ended: %v", err)
	}
}
