package ceremony

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// turnsOf are what the transcript says of a member in a phase.
func turnsOf(c api.Ceremony, member string, phase int) (out []string) {
	for _, m := range c.Members {
		for _, turn := range m.Turns {
			if m.Member == member && turn.Phase == phase {
				out = append(out, turn.Reason)
			}
		}
	}
	return out
}

// A member that is away is passed over when its time is up, its log has no head for the beacon, and the ceremony ends without it.
func TestAbsentMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.silent = map[string]bool{benefits: true}
	w.start(civil, health, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 2})
	w.contribute(id, civil, health, tax)
	w.eventually("the ceremony is done", func() bool { return w.status(civil, id).State == stateDone })
	c := w.status(tax, id)
	for phase := 1; phase <= 2; phase++ {
		if got := slices.Compact(turnsOf(c, benefits, phase)); !slices.Equal(got, []string{"absent"}) {
			t.Errorf("phase %d: %q", phase, got)
		}
	}
	_, err := w.at(health).VerifyCeremony(t.Context(), id, false)
	w.check(err)
	w.eventually("verified", func() bool { return w.result(health) != nil })
	w.verifies(health, id)
	// It comes when all is over: it cannot contribute any more, and verifies like everybody.
	w.start(benefits)
	if _, err := w.at(benefits).Contribute(t.Context(), id, 0); codeOf(err) != codeState {
		t.Errorf("contributes to what is over: %v", err)
	}
	_, err = w.at(benefits).VerifyCeremony(t.Context(), "", false)
	w.check(err)
	w.eventually("verified", func() bool { return w.result(benefits) != nil })
}

func codeOf(err error) string {
	var p *api.Problem
	if errors.As(err, &p) {
		return p.Code
	}
	return ""
}

// Who was passed over comes at the end, while the phase waits for more.
func TestLateMember(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 1, Contributors: 3, Members: []string{civil, health, tax}})
	w.contribute(id, civil, tax)
	w.eventually("the phase waits", func() bool { return w.status(tax, id).State == stateOpen })
	if _, err := w.at(civil).SealCeremony(t.Context(), id); codeOf(err) != codeEarly {
		t.Errorf("sealed with too few: %v", err)
	}
	if _, err := w.at(tax).SealCeremony(t.Context(), id); codeOf(err) != codeElse {
		t.Errorf("sealed by another: %v", err)
	}
	if _, err := w.at(civil).VerifyCeremony(t.Context(), id, false); codeOf(err) != codeState {
		t.Errorf("verified before it is sealed: %v", err)
	}
	w.start(health)
	w.contribute(id, health)
	w.eventually("the ceremony is done", func() bool { return w.status(civil, id).State == stateDone })
	c := w.status(health, id)
	if got := turnsOf(c, health, 1); got[0] != "absent" || got[len(got)-1] != "" {
		t.Errorf("%q", got)
	}
	if c.Members[1].Phases != [2]string{didContribute, didContribute} {
		t.Errorf("%+v", c.Members)
	}
}

// The coordinator restarts again and again: between contributions, while one arrives, before a phase is sealed. The members go on by
// themselves, and what was accepted stays.
func TestCoordinatorRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, health, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Members: []string{tax, civil, health}, Contributors: 2})
	w.contribute(id, tax, health)
	again := func() {
		w.halt(civil)
		time.Sleep(20 * time.Millisecond)
		w.start(civil)
	}
	w.eventually("the first contributed", func() bool { return w.status(civil, id).Steps >= 1 })
	again()
	w.contribute(id, civil)
	// While a contribution arrives: its bytes are there, and nobody was told yet that they are handed in.
	stopped := false
	w.mu.Lock()
	w.lose = func(from, to string, kind peer.Kind) bool {
		if from == health && kind == peer.KindOffer {
			stopped = true
			return true
		}
		return false
	}
	w.mu.Unlock()
	w.eventually("it is about to arrive", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return stopped })
	before := w.status(civil, id)
	again()
	w.mu.Lock()
	w.lose = nil
	w.mu.Unlock()
	w.contribute(id, civil)
	if now := w.status(civil, id); now.Steps < before.Steps {
		t.Errorf("%d steps after the restart, %d before", now.Steps, before.Steps)
	}
	w.eventually("phase 1 is sealed", func() bool { return w.status(civil, id).Phase == 2 })
	again()
	w.contribute(id, civil)
	w.eventually("phase 2 is closed", func() bool {
		s := w.status(civil, id)
		return s.State == stateBeacon && s.Phase == 2 || s.State == stateSealing && s.Phase == 2 || s.State == stateDone
	})
	again()
	w.eventually("the ceremony is done", func() bool { return w.status(civil, id).State == stateDone })
	_, err := w.at(tax).VerifyCeremony(t.Context(), id, false)
	w.check(err)
	w.eventually("verified", func() bool { return w.result(tax) != nil })
	if result := w.verifies(tax, id); result.Members(1) != 3 || result.Members(2) != 3 {
		t.Errorf("%+v", result.Phases)
	}
	// The process that sealed did not verify all of it.
	if sealed := w.result(civil); sealed != nil && sealed.Whole {
		t.Error("a process that was restarted says that it verified everything")
	}
}

// A member that is interrupted while it contributes does it anew, with other secrets.
func TestMemberRestarts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Members: []string{tax, civil}})
	var offered []digest
	w.mu.Lock()
	w.lose = func(from, _ string, kind peer.Kind) bool { return from == tax && kind == peer.KindOffer }
	w.mu.Unlock()
	w.contribute(id, tax)
	w.eventually("it sends", func() bool {
		return w.status(tax, id).Here.Stage == "phase 1: contributing to phase 1" || len(w.members) == 2
	})
	time.Sleep(100 * time.Millisecond)
	w.halt(tax)
	for _, file := range w.files(tax, "ceremony/"+id+"/*/*") {
		t.Errorf("%s was kept", file) // nothing was contributed to yet, so there is nothing to keep
	}
	w.mu.Lock()
	w.lose = nil
	w.mu.Unlock()
	w.start(tax)
	w.contribute(id, tax, civil)
	w.eventually("the ceremony is done", func() bool { return w.status(civil, id).State == stateDone })
	for _, step := range w.at(civil).running[id].ceremony.Transcript().Steps() {
		if step.Kind == rules.StepContribution {
			d, err := parseDigest(step.Payload)
			w.check(err)
			if slices.Contains(offered, d) {
				t.Error("a contribution was made twice of the same secrets")
			}
			offered = append(offered, d)
		}
	}
	own, err := prover.OwnContributions(w.at(tax).o.Own)
	if err != nil || len(own) != 2 {
		t.Errorf("%v, %v", own, err)
	}
}

// Nobody may come any more, and too few have contributed: the ceremony says so, for ever.
func TestTooFew(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Members: []string{tax, civil}})
	r := rogue{w, tax, civil, id}
	for range maxRefused {
		task := r.turn()
		bad := r.honest(task)
		bad.Step.Signature = bad.Step.Signature[:10]
		w.check(r.upload(bad.Payload))
		_, err := r.ask(question{Step: &bad.Step})
		w.check(err)
		w.eventually("refused", func() bool {
			p, err := r.ask(question{})
			return err == nil && p.Yours != nil && p.Yours.State == handedRefused
		})
		w.contribute(id, civil)
	}
	w.eventually("it cannot go on", func() bool { c := w.status(civil, id); return c.State == stateOpen && c.Fault != "" })
	if got := turnsOf(w.status(civil, id), tax, 1); !slices.Equal(got, []string{"signature", "signature", "signature"}) {
		t.Errorf("%q", got)
	}
}

// A coordinator that shows another history than before is not followed.
func TestFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, health, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Members: []string{tax, civil, health}, Contributors: 2})
	opening := w.at(civil).running[id].ceremony.Transcript()
	w.contribute(id, tax)
	w.eventually("one contributed", func() bool { return w.status(health, id).Steps == 1 })
	known, err := rules.OpenFolder(w.at(health).dir(id)).Transcript()
	w.check(err)
	// It signed a pass in the place of the contribution: the other history.
	made := rogue{w, civil, civil, id}
	pass := resign(&rules.Contribution{Step: signedStep(known, 0)}, made.signer().Key, func(s *rules.Step) {
		s.Kind, s.Reason, s.Payload, s.Size = rules.StepPass, rules.ReasonAbsent, "", 0
	})
	other, err := opening.With(pass.Step)
	w.check(err)
	for name, c := range map[string]struct {
		known, shown *rules.Transcript
		coordinator  string
		want         error
	}{
		"goes on":              {opening, known, civil, nil},
		"as before":            {known, known, civil, nil},
		"another step":         {known, other, civil, ErrFork},
		"shorter":              {known, opening, civil, ErrFork},
		"of another member":    {nil, known, tax, ErrOpening},
		"seen the first time":  {nil, other, civil, nil},
		"goes on from nothing": {nil, opening, civil, nil},
	} {
		if err := w.at(health).checkCopy(c.known, c.shown, c.coordinator, id); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.at(health).checkCopy(nil, known, civil, digest{}.String()); !errors.Is(err, ErrOpening) {
		t.Errorf("another ceremony: %v", err)
	}
	// Through the wire: the coordinator's files are replaced while it is down.
	w.halt(civil)
	w.check(rules.OpenFolder(w.path(civil, "ceremony/"+id)).PutTranscript(other))
	w.start(civil)
	if c := w.status(health, id); c.Fault == "" || c.Steps != 1 {
		t.Errorf("%+v", c)
	}
	told, _ := w.at(civil).running[id].look(health, false)
	if _, err := w.at(health).sync(context.Background(), civil, told); !errors.Is(err, ErrFork) {
		t.Error(err)
	}
}

// An opening has to be one of this network's.
func TestCheckOpening(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil)
	id := w.open(civil, api.CeremonyOpening{Members: []string{civil, tax}})
	good := w.at(civil).running[id].opening()
	w.check(CheckOpening(w.chain, good))
	for name, change := range map[string]func(*rules.Opening){
		"another configuration": func(o *rules.Opening) { o.Configuration = digest{}.String() },
		"another instance":      func(o *rules.Opening) { o.Instance = "other" },
		"demo keys":             func(o *rules.Opening) { o.Kind = prover.KindDemo },
		"no member": func(o *rules.Opening) {
			o.Members = append(o.Members, rules.Member{Name: health, Key: o.Members[0].Key})
		},
		"another key": func(o *rules.Opening) { o.Members = slices.Clone(o.Members); o.Members[0].Key = o.Members[1].Key },
	} {
		o := good
		change(&o)
		if err := CheckOpening(w.chain, o); !errors.Is(err, ErrOpening) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Openings that no ceremony may have, and commands about what is not there.
func TestCommandsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	if _, err := w.at(tax).Contribute(t.Context(), "", 0); codeOf(err) != codeNone {
		t.Errorf("to nothing: %v", err)
	}
	for name, o := range map[string]api.CeremonyOpening{
		"one contributor":      {Contributors: 1},
		"more than there are":  {Contributors: 5},
		"a member alone":       {Members: []string{civil}},
		"without coordinator":  {Members: []string{health, tax}},
		"a member twice":       {Members: []string{civil, tax, tax}},
		"of no member":         {Members: []string{civil, "GOV/none"}},
		"a turn of two months": {TurnSeconds: 60 * 24 * 60 * 60},
	} {
		if _, err := w.at(civil).OpenCeremony(t.Context(), o); codeOf(err) != codeShape && codeOf(err) != api.CodeInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if left := w.files(civil, "ceremony/*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	first := w.open(civil, api.CeremonyOpening{Members: []string{civil, health}})
	if again := w.open(civil, api.CeremonyOpening{Members: []string{civil, health}}); again != first {
		t.Error("a repeated command opened another ceremony")
	}
	w.open(civil, api.CeremonyOpening{Members: []string{civil, health}, TurnSeconds: 7})
	if _, err := w.at(tax).FetchCeremony(t.Context(), ""); codeOf(err) != codeSeveral {
		t.Errorf("which: %v", err)
	}
	if _, err := w.at(tax).Contribute(t.Context(), first, 0); codeOf(err) != codeState {
		t.Errorf("without taking part: %v", err)
	}
	if _, err := w.at(tax).VerifyCeremony(t.Context(), first, true); codeOf(err) != codeState {
		t.Errorf("adopts what is not there: %v", err)
	}
	if _, err := w.at(tax).Ceremony(t.Context(), digest{}.String()); codeOf(err) != codeNone {
		t.Errorf("an unknown one: %v", err)
	}
	if _, err := w.at(tax).Ceremony(t.Context(), "../x"); codeOf(err) != codeNone {
		t.Errorf("no name: %v", err)
	}
}

// A coordinator cannot fill the others' disks with ceremonies.
func TestManyCeremonies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	var last string
	for i := range maxCopies + 1 {
		last = w.open(civil, api.CeremonyOpening{TurnSeconds: 60 + i})
		c, err := w.at(civil).coordinator(last)
		w.check(err)
		p, _ := c.look(tax, false)
		if _, err := w.at(tax).sync(t.Context(), civil, p); (i < maxCopies) != (err == nil) || err != nil && !errors.Is(err, ErrOpening) {
			t.Errorf("ceremony %d: %v", i, err)
		}
	}
	if found := w.files(tax, "ceremony/[0-9a-f]*"); len(found) != maxCopies {
		t.Errorf("%d ceremonies are kept", len(found))
	}
	if left := w.files(tax, "ceremony/incoming/*/*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if _, err := w.at(tax).Ceremony(t.Context(), last); codeOf(err) != codeNone {
		t.Errorf("one too many: %v", err)
	}
	found, err := w.at(civil).Ceremonies(t.Context())
	if w.check(err); len(found) != maxCopies+1 {
		t.Errorf("its coordinator knows %d", len(found))
	}
}
