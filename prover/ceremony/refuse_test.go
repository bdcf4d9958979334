package ceremony

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

// forgery is a contribution of names[1] that must be refused in its turn.
type forgery struct {
	name   string
	phases []int // empty: both
	forge  func(t *testing.T, r *run, phase int) *Contribution
	want   Reason
}

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// changed is a true contribution with another payload, signed.
func changed(change func([]byte) []byte) func(*testing.T, *run, int) *Contribution {
	return func(t *testing.T, r *run, phase int) *Contribution {
		con := r.make(names[1])
		con.Payload = change(con.Payload)
		resign(t, con, names[1], nil)
		return con
	}
}

// atPoint is changed at a point.
func atPoint(where func(layout) int64, data func(t testing.TB) []byte) func(*testing.T, *run, int) *Contribution {
	return func(t *testing.T, r *run, phase int) *Contribution {
		return changed(put(phase, where, data(t)))(t, r, phase)
	}
}

// stepped is a true contribution with another step, signed by somebody.
func stepped(by string, change func(*Step)) func(*testing.T, *run, int) *Contribution {
	return func(t *testing.T, r *run, phase int) *Contribution {
		con := r.make(names[1])
		resign(t, con, by, change)
		return con
	}
}

func generator1(testing.TB) []byte { g, _ := generatorsBytes(); return g }
func generator2(testing.TB) []byte { _, g := generatorsBytes(); return g }

// forgeries are what a member may hand in. Those of the payload are signed by the member itself.
var forgeries = []forgery{
	{"cut", nil, changed(func(p []byte) []byte { return p[:len(p)-1] }), ReasonLength},
	{"cut in half", nil, changed(func(p []byte) []byte { return p[:len(p)/2] }), ReasonLength},
	{"empty", nil, changed(func([]byte) []byte { return []byte{1} }), ReasonLength},
	{"grown", nil, changed(func(p []byte) []byte { return append(p, 0) }), ReasonLength},
	{"cut on the way", nil, func(t *testing.T, r *run, _ int) *Contribution {
		con := r.make(names[1])
		con.Payload = con.Payload[:len(con.Payload)-1]
		return con
	}, ReasonPayload},
	{"a byte changed on the way", nil, func(t *testing.T, r *run, _ int) *Contribution {
		con := r.make(names[1])
		con.Payload[len(con.Payload)/2] ^= 1
		return con
	}, ReasonPayload},
	{"phase 1 of twice the domain", []int{1}, func(t *testing.T, r *run, _ int) *Contribution {
		con := r.make(names[1])
		s, err := large().beginning()
		r.must(err)
		con.Payload, err = large().contribute(context.Background(), s)
		r.must(err)
		resign(t, con, names[1], nil)
		return con
	}, ReasonLength},
	{"another N", []int{1}, changed(func(p []byte) []byte { p[3*proofSize+7]++; return p }), ReasonDomain},
	{"a huge N", []int{1}, changed(func(p []byte) []byte { p[3*proofSize] = 0xff; return p }), ReasonDomain},
	{"a huge number of wires", []int{2}, changed(func(p []byte) []byte { p[2+g1Size] = 0xff; return p }), ReasonDomain},
	{"commitments", []int{2}, changed(func(p []byte) []byte { p[0] = 0xff; return p }), ReasonDomain},
	{"an empty challenge", nil, changed(func(p []byte) []byte { p[len(p)-33] = 0; return p }), ReasonBase},
	{"a long challenge", nil, changed(func(p []byte) []byte { p[len(p)-33] = 255; return p }), ReasonBase},
	{"not based on the last", nil, onOlder, ReasonBase},
	{"replayed", nil, func(t *testing.T, r *run, phase int) *Contribution { return r.earlier(phase) }, ReasonChain},
	{"another's payload", nil, func(t *testing.T, r *run, phase int) *Contribution {
		con := r.make(names[1])
		con.Payload = r.earlier(phase).Payload
		resign(t, con, names[1], nil)
		return con
	}, ReasonChain},
	{"made for a transcript that went on", nil, func(t *testing.T, r *run, phase int) *Contribution {
		con := r.make(names[1])
		r.must(r.Pass(names[1], ReasonAbsent, clock))
		r.must(r.Pass(names[2], ReasonAbsent, clock))
		r.must(r.Pass(names[3], ReasonAbsent, clock))
		return con
	}, ReasonChain},
	{"uncompressed", nil, changed(func(p []byte) []byte { p[3*proofSize+8+g2Size] &^= 0x80; p[2] &^= 0x80; return p }), ReasonPoints},
	{"delta at infinity", []int{2}, changed(func(p []byte) []byte { p[2] = 0xc0; clear(p[3:50]); return p }), ReasonPoints},
	{"a power at infinity", []int{1}, atPoint(somePower, func(testing.TB) []byte { return append([]byte{0xc0}, make([]byte, 47)...) }), ReasonPoints},
	{"off the curve", nil, atPoint(somePower, offCurve), ReasonPoints},
	{"outside the subgroup", nil, atPoint(somePower, outside), ReasonPoints},
	{"coordinate beyond the modulus", nil, atPoint(somePower, func(testing.TB) []byte { return bytes.Repeat([]byte{0x9f}, 48) }), ReasonPoints},
	{"a wrong proof of knowledge", nil, atPoint(lastProof, generator2), ReasonProof},
	{"a wrong commitment", nil, atPoint(func(l layout) int64 { return lastProof(l) - g1Size }, generator1), ReasonProof},
	{"a power that is another's", nil, atPoint(somePower, generator1), ReasonProof},
	{"delta is the generator", []int{2}, atPoint(func(l layout) int64 { return l.marks[0].at }, generator1), ReasonUnchanged},
	{"tau is the generator", []int{1}, atPoint(func(l layout) int64 { return l.marks[1].at }, generator1), ReasonUnchanged},
	{"a contribution of one", nil, func(t *testing.T, r *run, phase int) *Contribution {
		con := r.make(names[1])
		con.Payload = ofOne(t, phase, r.base())
		if !gnarkAccepts(t, phase, r.base(), con.Payload) {
			t.Fatal("the forgery is no test: gnark refuses it")
		}
		resign(t, con, names[1], nil)
		return con
	}, ReasonUnchanged},
	{"not a member", nil, stepped("GOV/other", func(s *Step) { s.Member = "GOV/other" }), ReasonMember},
	{"signed by another", nil, stepped(names[2], nil), ReasonSignature},
	{"out of turn", nil, stepped(names[2], func(s *Step) { s.Member = names[2] }), ReasonTurn},
	{"a second time", nil, stepped(names[0], func(s *Step) { s.Member = names[0] }), ReasonTurn},
	{"of another ceremony", nil, stepped(names[1], func(s *Step) { s.Ceremony = sum(nil) }), ReasonChain},
	{"of another place", nil, stepped(names[1], func(s *Step) { s.Index++ }), ReasonChain},
	{"after another step", nil, stepped(names[1], func(s *Step) { s.Previous = sum(nil) }), ReasonChain},
	{"of another phase", nil, stepped(names[1], func(s *Step) { s.Phase = 3 - s.Phase }), ReasonTurn},
	{"of no phase", nil, stepped(names[1], func(s *Step) { s.Phase = 3 }), ReasonEncoding},
	{"of another size", nil, stepped(names[1], func(s *Step) { s.Size++ }), ReasonPayload},
	{"a step of no kind", nil, stepped(names[1], func(s *Step) { s.Kind = "gift" }), ReasonEncoding},
	{"with a beacon", nil, stepped(names[1], func(s *Step) { s.Beacon = sum(nil) }), ReasonEncoding},
	{"of a time with a fraction", nil, stepped(names[1], func(s *Step) { s.Time = strings.TrimSuffix(s.Time, "Z") + ".5Z" }), ReasonEncoding},
	{"of an hour with one digit", nil, stepped(names[1], func(s *Step) { s.Time = "2026-03-01T5:00:00Z" }), ReasonEncoding},
	{"of no time", nil, stepped(names[1], func(s *Step) { s.Time = "today" }), ReasonEncoding},
	{"a seal", nil, stepped(names[0], func(s *Step) {
		*s = Step{Version: 1, Kind: StepPass, Ceremony: s.Ceremony, Index: s.Index, Previous: s.Previous, Phase: s.Phase, Member: names[1],
			Time: s.Time, Reason: ReasonAbsent}
	}), ReasonTurn},
	{"another spelling", nil, func(t *testing.T, r *run, _ int) *Contribution {
		con := r.make(names[1])
		con.Step.Body += " "
		return con
	}, ReasonEncoding},
	{"another spelling of the signature", nil, func(t *testing.T, r *run, _ int) *Contribution {
		con := r.make(names[1])
		con.Step.Signature += "\n"
		return con
	}, ReasonSignature},
}

// onOlder builds on the state before the last, and says that it builds on the last.
func onOlder(t *testing.T, r *run, phase int) *Contribution {
	con := r.make(names[1])
	old, err := r.circuit.beginning()
	r.must(err)
	if phase == 2 {
		payload, err := r.Payload(r.Transcript().phases[0].seal.Opens)
		r.must(err)
		old, err = r.circuit.read(context.Background(), 2, payload)
		r.must(err)
	}
	con.Payload, err = r.circuit.contribute(context.Background(), old)
	r.must(err)
	resign(t, con, names[1], nil)
	return con
}

// earlier is the contribution of names[0] in the phase, as it stands in the transcript.
func (r *run) earlier(phase int) *Contribution {
	r.t.Helper()
	tr := r.Transcript()
	for i, s := range tr.steps {
		if s.Kind == StepContribution && s.Phase == phase {
			payload, err := r.Payload(s.Payload)
			r.must(err)
			return &Contribution{Step: tr.signed.Steps[i], Payload: payload}
		}
	}
	r.t.Fatal("no contribution")
	return nil
}

// Each forgery is refused for its reason, the ceremony stays as it was, and goes on with a good contribution.
func TestForgedContributions(t *testing.T) {
	for phase := 1; phase <= 2; phase++ {
		r := begin(t, nil)
		if phase == 2 {
			r.contribute(names...)
			r.endPhase()
		}
		r.contribute(names[0])
		for _, f := range forgeries {
			if len(f.phases) != 0 && f.phases[0] != phase {
				continue
			}
			con := f.forge(t, r, phase)
			before := r.Transcript().Digest()
			wantReason(t, f.name, r.Add(context.Background(), con, nil), f.want)
			if r.Transcript().Digest() != before {
				t.Errorf("%s: the transcript changed", f.name)
			}
			if r.Transcript().Turn().Member != names[1] {
				t.Fatalf("%s: the turn is %+v", f.name, r.Transcript().Turn())
			}
		}
		r.must(r.Pass(names[1], ReasonProof, clock))
		r.contribute(names[2], names[3], names[1])
		if got := len(r.Transcript().Contributors(phase)); got != len(names) {
			t.Errorf("%d contributed", got)
		}
	}
}

func TestEndsOfPhases(t *testing.T) {
	r := begin(t, nil)
	later := clock.Add(time.Minute)
	seal := func() error {
		_, err := r.Seal(context.Background(), heads(later), later, ledgerBeacon, nil)
		return err
	}
	for phase := 1; phase <= 2; phase++ {
		wantReason(t, "closed without a contribution", r.ClosePhase(clock, later), ReasonContributors)
		wantReason(t, "sealed open", seal(), ReasonTurn)
		r.contribute(names[0])
		wantReason(t, "closed with one", r.ClosePhase(clock, later), ReasonContributors)
		wantReason(t, "another passed over", r.Pass(names[2], ReasonAbsent, clock), ReasonTurn)
		wantReason(t, "a reason that is none", r.Pass(names[1], "boredom", clock), ReasonEncoding)
		r.contribute(names[1])
		wantReason(t, "closed before all had a turn", r.ClosePhase(clock, later), ReasonTurn)
		r.must(r.Pass(names[2], ReasonAbsent, clock))
		r.must(r.Pass(names[3], ReasonAbsent, clock))
		if turn := r.Transcript().Turn(); turn.Action != ActClose || turn.Member != names[2] || turn.Missing != 0 {
			t.Errorf("%+v", turn)
		}
		r.contribute(names[2]) // late, but the phase is open
		wantReason(t, "a beacon of the past", r.ClosePhase(later, clock), ReasonTime)
		late := r.make(names[3])
		r.must(r.ClosePhase(clock, later))
		wantReason(t, "closed twice", r.ClosePhase(clock, later), ReasonTurn)
		wantReason(t, "passed over after the end", r.Pass(names[3], ReasonAbsent, clock), ReasonTurn)
		wantReason(t, "too late", r.Add(context.Background(), late, nil), ReasonChain)
		_, err := r.Task()
		wantReason(t, "a task after the end", err, ReasonTurn)
		_, err = r.Seal(context.Background(), heads(later), clock, ledgerBeacon, nil)
		wantReason(t, "sealed before the beacon", err, ReasonTime)
		_, err = r.Seal(context.Background(), heads(clock), later, ledgerBeacon, nil)
		wantReason(t, "heads of before", err, ReasonBeacon)
		_, err = r.Seal(context.Background(), []byte("dice"), later, ledgerBeacon, nil)
		wantReason(t, "a beacon from elsewhere", err, ReasonBeacon)
		_, err = r.Seal(context.Background(), make([]byte, MaxEvidence+1), later, ledgerBeacon, nil)
		wantReason(t, "too much evidence", err, ReasonBeacon)
		short := func([]byte, time.Time) ([]byte, error) { return []byte{1}, nil }
		_, err = r.Seal(context.Background(), heads(later), later, short, nil)
		wantReason(t, "a short beacon", err, ReasonBeacon)
		r.must(seal())
	}
	wantReason(t, "sealed again", seal(), ReasonTurn)
	if r.Transcript().Turn().Action != ActDone || !r.Transcript().Complete() {
		t.Errorf("%+v", r.Transcript().Turn())
	}
}
