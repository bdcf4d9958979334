package field

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/field/relay"
)

// TestPartitions takes a network of seven, whose quorum is five, apart with cables that are really out. Five go on and two do not;
// with every cable out nobody does; and each time, when the cables are in again, all that was begun becomes final everywhere.
func TestPartitions(t *testing.T) {
	if !wanted(t) {
		return
	}
	s := newSite(t, plan{members: 7})
	if q := s.Config.Quorum(); q != 5 {
		t.Fatalf("the quorum is %d", q)
	}
	all := []int{0, 1, 2, 3, 4, 5, 6}
	majority, minority := all[:5], all[5:]
	for _, i := range all {
		s.mustDeclare(i, fmt.Sprintf("whole-%d", i))
	}
	s.agree()

	s.fallApart(majority, minority)
	for _, i := range all {
		s.ground.cut(i, true)
	}
	before := s.sizes(all...)
	stuck := s.begin("cut", all...)
	s.stands(before, all, *cutFor)
	for _, i := range all {
		s.ground.cut(i, false)
	}
	stuck()
	s.agree()
	s.audit(s.Config.Bytes())
}

// fallApart puts a majority and a minority on bridges of their own for a while, and joins them again.
func (s *site) fallApart(majority, minority []int) {
	s.t.Helper()
	s.ground.split(majority, minority)
	before := s.sizes(minority...)
	stuck := s.begin("split", minority...)
	for k := range 2 {
		for _, i := range majority {
			s.mustDeclare(i, fmt.Sprintf("majority-%d-%d", i, k))
		}
	}
	s.stands(before, minority, *cutFor)
	for _, i := range majority {
		for _, m := range minority {
			if h := s.mustHeads(i)[s.Nodes[m].Name]; h.Size > before[h.Member] {
				s.t.Errorf("%s shows %d entries of %s, which is cut off", s.Nodes[i].Name, h.Size, h.Member)
			}
		}
	}
	s.ground.split(slices.Concat(majority, minority))
	stuck()
	grown := s.agree()
	for _, n := range s.Nodes {
		if grown[n.Name].Size <= before[n.Name] {
			s.t.Errorf("the log of %s has not grown", n.Name)
		}
	}
}

// TestOneWayCut has a member hear everybody while nobody hears it: it makes nothing final, the others go on without it, and when it is
// heard again everything is final everywhere.
func TestOneWayCut(t *testing.T) {
	if !wanted(t) {
		return
	}
	s := newSite(t, plan{members: 4, weather: &relay.Weather{Delay: time.Millisecond}, seed: *seed})
	const mute = 3
	for i := range s.Nodes {
		s.mustDeclare(i, fmt.Sprintf("whole-%d", i))
	}
	s.agree()
	others := []int{0, 1, 2}
	for _, i := range others {
		s.relay.Cut(relay.Direction{From: s.Nodes[mute].Name, To: s.Nodes[i].Name}, true)
	}
	time.Sleep(500 * time.Millisecond) // what was under way has come
	name := s.Nodes[mute].Name
	before := s.mustHeads(mute)[name].Size
	stuck := s.begin("mute", mute)
	for k := range 3 {
		for _, i := range others {
			s.mustDeclare(i, fmt.Sprintf("others-%d-%d", i, k))
		}
	}
	for end := time.Now().Add(*cutFor); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		for i := range s.Nodes {
			if h := s.mustHeads(i)[name]; h.Size > before {
				t.Fatalf("%s shows entry %d of %s, which nobody hears", s.Nodes[i].Name, h.Size-1, name)
			}
		}
	}
	for _, i := range others {
		s.relay.Cut(relay.Direction{From: name, To: s.Nodes[i].Name}, false)
	}
	stuck()
	s.agree()
}

// begin sends an entry to each of some members that cannot be final now. The function it returns waits until each is final at every
// member, whatever the one who sent it was told meanwhile.
func (s *site) begin(name string, members ...int) (end func()) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	var senders sync.WaitGroup
	for _, i := range members {
		senders.Go(func() { _, _ = s.declare(ctx, i, fmt.Sprintf("%s-%d", name, i), "Made by a test") }) // what became of it is looked up
	}
	return func() {
		s.t.Helper()
		for _, i := range members {
			s.eventually(fmt.Sprintf("what %s began", s.Nodes[i].Name), func() error {
				for k := range s.Nodes {
					if err := s.has(k, fmt.Sprintf("%s-%d", name, i)); err != nil {
						return err
					}
				}
				return nil
			})
		}
		cancel()
		senders.Wait()
	}
}

// has looks a declaration up among the final entries at a member.
func (s *site) has(i int, dataset string) error {
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	var page api.EntryPage
	if err := s.clients[i].Get(ctx, "/v1/ledger/entries?kind=dataset.declare&dataset="+url.QueryEscape(dataset), &page); err != nil {
		return err
	}
	if len(page.Entries) != 1 {
		return fmt.Errorf("%s has %d entries about %s", s.Nodes[i].Name, len(page.Entries), dataset)
	}
	return nil
}

// sizes are the largest final sizes that members show, by owner, a moment after a cut: what a member had received by then counts.
func (s *site) sizes(members ...int) map[string]uint64 {
	s.t.Helper()
	time.Sleep(500 * time.Millisecond)
	all := map[string]uint64{}
	for _, i := range members {
		for owner, h := range s.mustHeads(i) {
			all[owner] = max(all[owner], h.Size)
		}
	}
	return all
}

// stands looks at the members' heads for a while, at least once: none may grow.
func (s *site) stands(before map[string]uint64, members []int, while time.Duration) {
	s.t.Helper()
	for end := time.Now().Add(while); ; time.Sleep(200 * time.Millisecond) {
		for owner, size := range s.sizes(members...) {
			if size > before[owner] {
				s.t.Fatalf("entry %d of %s became final without a quorum", size-1, owner)
			}
		}
		if time.Now().After(end) {
			return
		}
	}
}
