package ceremony

import (
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/prover"
)

// A ceremony of four, all there: everybody contributes to both phases by one command, and each verifies the whole by itself.
func TestCeremony(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.ModeProduction)
	w.start(benefits, civil, health, tax)
	id := w.open(civil, api.CeremonyOpening{TurnSeconds: 60})
	w.contribute(id, tax, civil, benefits, health) // in any order
	w.eventually("the ceremony is done", func() bool { return w.status(civil, id).State == stateDone })
	if sealed := w.result(civil); sealed == nil || !sealed.Whole { // it verified each contribution as it came
		t.Errorf("the coordinator has %+v", sealed)
	}
	for _, name := range []string{benefits, civil, health, tax} {
		c := w.status(name, id)
		if c.State != stateDone || c.Kind != prover.KindCeremony || c.VerifyingKey == "" || c.Contributors != 3 {
			t.Errorf("%s: %+v", name, c)
		}
		for _, m := range c.Members {
			if m.Phases != [2]string{didContribute, didContribute} || len(m.Turns) != 2 {
				t.Errorf("%s: %+v", name, m)
			}
		}
		_, err := w.at(name).VerifyCeremony(t.Context(), "", false)
		w.check(err)
		w.eventually(name+" has verified", func() bool { return w.status(name, id).Here.Task == "" })
		if c := w.status(name, id); c.Here.Fault != "" {
			t.Errorf("%s: %s", name, c.Here.Fault)
		}
		result := w.result(name)
		if result == nil || result.VerifyingKey != c.VerifyingKey || result.Transcript != c.Transcript {
			t.Errorf("%s: %+v", name, result)
		}
		own, err := prover.OwnContributions(w.at(name).o.Own)
		if err != nil || len(own) != 2 || !result.Includes(own[0]) || !result.Includes(own[1]) {
			t.Errorf("%s: own contributions %v, %v", name, own, err)
		}
	}
	if got := w.verifies(tax, id); got.VerifyingKey != w.status(civil, id).VerifyingKey {
		t.Error("another process finds another key")
	}
}
