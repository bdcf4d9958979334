package ceremony

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/peer"
	"github.com/grille-gateway/grille/prover"
	rules "github.com/grille-gateway/grille/prover/ceremony"
)

// A member that tells of ceremonies and never sends them, another's by name among them, holds up no command and no contribution.
func TestWhoSendsNothingHoldsUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60, Contributors: 2, Members: []string{tax, civil, health}})
	waits := make(chan struct{}, 100)
	answer := mustEncode(answer{Version: 1, Ceremonies: []position{{Ceremony: id, Mark: 1, Transcript: digest{9}.String(), Size: 100, State: stateTurn}}})
	s := w.at(tax)
	call := s.o.Call
	s.o.Call = func(ctx context.Context, to string, kind peer.Kind, body []byte) ([]byte, error) {
		switch {
		case to != health:
			return call(ctx, to, kind, body)
		case kind == peer.KindCeremony:
			return answer, nil
		}
		select {
		case waits <- struct{}{}:
		default:
		}
		return nil, &peer.RemoteError{Code: peer.CodeBusy}
	}
	asked := make(chan []api.Ceremony)
	go func() {
		found, err := s.Ceremonies(t.Context())
		if err != nil {
			t.Error(err)
		}
		asked <- found
	}()
	<-waits // it is being waited for
	p, err := s.askFor(t.Context(), civil, question{Version: 1, Ceremony: id})
	w.check(err)
	within, cancel := context.WithTimeout(t.Context(), syncTimeout/3)
	defer cancel()
	if _, err := s.sync(within, civil, p); err != nil {
		t.Errorf("the honest coordinator's transcript: %v", err)
	}
	select {
	case found := <-asked:
		if len(found) != 1 || found[0].Coordinator != civil || found[0].Turn != tax {
			t.Errorf("%+v", found)
		}
	case <-time.After(syncTimeout + 15*time.Second):
		t.Error("asking for all ceremonies does not end")
	}
}

// A coordinator whose disk fails while it verifies decides when the disk is back, and its member goes on.
func TestDiskOfTheCoordinatorFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 600, Contributors: 2, Members: []string{tax, civil}})
	payloads := filepath.Join(w.at(civil).dir(id), "payloads")
	w.check(os.Rename(payloads, payloads+".away"))
	w.check(os.WriteFile(payloads, nil, 0o600))
	w.contribute(id, tax)
	c := w.at(civil).running[id]
	w.eventually("the fault shows", func() bool { return w.status(civil, id).Fault != "" })
	w.check(os.Remove(payloads))
	w.check(os.Rename(payloads+".away", payloads))
	c.nudge()
	w.eventually("the contribution is accepted", func() bool {
		return slices.Contains(c.ceremony.Transcript().Contributors(1), tax)
	})
	w.contribute(id, civil)
	w.eventually("the ceremony is done", func() bool { return w.status(tax, id).State == stateDone })
	if s := w.status(tax, id); s.Members[0].Phases != [2]string{didContribute, didContribute} {
		t.Errorf("%+v", s.Members)
	}
}

// What a member contributed is noted before the transcript that shows it is kept: after a crash nobody would look at that again.
func TestOwnContributionIsNotedFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(civil, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 600, Contributors: 2, Members: []string{tax, civil}})
	s := w.at(tax)
	s.o.Own = filepath.Join(w.path(tax, "ceremony"), "a file", "own.json")
	w.check(os.MkdirAll(w.path(tax, "ceremony"), 0o700))
	w.check(os.WriteFile(filepath.Dir(s.o.Own), nil, 0o600)) // nothing can be noted
	w.contribute(id, tax)
	w.eventually("contributed", func() bool { return w.status(civil, id).Steps == 1 })
	w.eventually("the task ends", func() bool { return w.status(tax, id).Here.Task == "" })
	if kept, err := rules.OpenFolder(s.dir(id)).Transcript(); err == nil && len(kept.Steps()) != 0 {
		t.Error("the transcript is kept, and the contribution not noted")
	}
	w.check(os.Remove(filepath.Dir(s.o.Own)))
	w.status(tax, id)
	if own, err := prover.OwnContributions(s.o.Own); err != nil || len(own) != 1 {
		t.Errorf("noted %v: %v", own, err)
	}
}
