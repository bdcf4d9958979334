package field

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/demo"
	"github.com/grille-gateway/grille/node/field/relay"
)

// TestLatencyAndLoss runs four members 30 ms apart, give or take ten, with 2% of all datagrams lost and some doubled and overtaken:
// entries become final everywhere, and questions are answered and verified.
func TestLatencyAndLoss(t *testing.T) {
	if !wanted(t) {
		return
	}
	s := newSite(t, plan{members: 4, data: true, seed: *seed, weather: &relay.Weather{Delay: 30 * time.Millisecond, Jitter: 10 * time.Millisecond,
		Loss: 0.02, Duplicate: 0.01, Reorder: 0.01, HoldBack: 20 * time.Millisecond}})
	for k := range 20 {
		i := k % len(s.Nodes)
		s.mustDeclare(i, fmt.Sprintf("weather-%d", k))
	}
	heads := s.agree()
	for _, n := range s.Nodes {
		if heads[n.Name].Size < 5+3 { // its share of the entries above, and those that furnishing made
			t.Errorf("the log of %s has %d entries", n.Name, heads[n.Name].Size)
		}
	}
	for row := range 4 {
		s.ask(row)
	}
	s.verify(s.ask(4))
	lost := uint64(0)
	for d, c := range s.relay.Counts() {
		lost += c.Lost
		if c.Carried < 100 {
			t.Errorf("%s to %s: only %d datagrams went through the relay", d.From, d.To, c.Carried)
		}
	}
	if lost < 20 {
		t.Errorf("only %d datagrams were lost: that is no weather", lost)
	}
	t.Logf("%d datagrams lost", lost)
}

// ask asks a question about a person of the survey, over each right in turn, and wants a verified answer.
func (s *site) ask(k int) (asker int, id string) {
	s.t.Helper()
	right := demo.Rights[k%len(demo.Rights)]
	for i, n := range s.Nodes {
		if n.Name == right.Requester {
			asker = i
		}
	}
	var a api.Answer
	err := s.clients[asker].Post(s.t.Context(), "/v1/queries", api.Question{Holder: right.Holder, Policy: s.Node(right.Holder).Policy,
		Subject: fmt.Sprintf("NMES-%06d", 1+k), Purpose: demo.Purpose, LegalBasis: demo.LegalBasis, Wait: 60}, &a)
	if err != nil {
		s.t.Fatalf("%s asking %s: %v", right.Requester, right.Holder, err)
	}
	if !a.Verified || a.Verdict == "" {
		s.t.Fatalf("%s asking %s: verdict %q, verified %v", right.Requester, right.Holder, a.Verdict, a.Verified)
	}
	return asker, a.ID
}

// verify has an answer's bundle verified by a process that knows the network configuration and nothing else.
func (s *site) verify(asker int, id string) {
	s.t.Helper()
	var bundle []byte
	if err := s.clients[asker].Get(s.t.Context(), "/v1/answers/"+id, &bundle); err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	for name, data := range map[string][]byte{"bundle.json": bundle, "network.json": s.Config.Bytes(), "verifying.key": s.VerifyingKey()} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := s.grille(asker, "verify", filepath.Join(dir, "bundle.json"), "--network", filepath.Join(dir, "network.json"),
		"--key", filepath.Join(dir, "verifying.key")); err != nil {
		s.t.Fatal(err)
	}
}
