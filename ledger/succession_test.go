package ledger

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
)

// propose lets the proposer sign a change.
func (c *cluster) propose(change network.Change) (network.Proposal, *network.Configuration) {
	c.tb.Helper()
	next, err := network.Succeed(c.cfg, change)
	if err != nil {
		c.tb.Fatal(err)
	}
	p, err := network.NewProposal(c.cfg, next, testKey("log "+c.cfg.Proposer))
	if err != nil {
		c.tb.Fatal(err)
	}
	return p, next
}

// tell carries what each store knows of the succession to the others, until nothing changes.
func (c *cluster) tell(names ...string) {
	c.tb.Helper()
	for range 4 {
		for _, from := range names {
			data := c.stores[from].Succession().Bytes()
			for _, to := range names {
				known, err := network.ParseSuccession(data)
				if err == nil && from != to {
					err = c.stores[to].AddSuccession(known)
				}
				if err != nil && !errors.Is(err, ErrSuperseded) {
					c.tb.Fatalf("%s tells %s: %v", from, to, err)
				}
			}
		}
	}
}

// supersede opens the stores again with the chains in their folders.
func (c *cluster) supersede(names ...string) {
	c.tb.Helper()
	for _, name := range names {
		s := c.stores[name]
		if err := s.Failure(); !errors.Is(err, ErrSuperseded) {
			c.tb.Fatalf("%s goes on: %v", name, err)
		}
		if err := s.Close(); err != nil {
			c.tb.Fatal(err)
		}
		pinned := s.Chain().Pinned()
		c.cfg = s.Config()
		before := c.options(name)
		before.Config, before.Chain = s.Config(), s.Chain()
		if _, err := Open(before); !errors.Is(err, ErrSuperseded) {
			c.tb.Fatalf("%s opens by the version before: %v", name, err)
		}
		chain, err := LoadChain(c.path(name), pinned)
		if err != nil {
			c.tb.Fatal(err)
		}
		c.chains[name] = chain
		c.cfg = chain.Newest()
		c.open(name)
	}
}

func (c *cluster) vote(next *network.Configuration, names ...string) {
	c.tb.Helper()
	for _, name := range names {
		if err := c.stores[name].Vote(next.Digest()); err != nil && !errors.Is(err, ErrSuperseded) {
			c.tb.Fatalf("%s votes: %v", name, err)
		}
	}
}

// TestMemberJoinsAndBecomesAMirror takes a network of four to five members and then to five mirrors.
func TestMemberJoinsAndBecomesAMirror(t *testing.T) {
	c := newCluster(t)
	c.append("GOV/tax", batchEntry(1), batchEntry(2))
	c.pushAll("GOV/tax", testNames...)
	c.append("GOV/tax", batchEntry(3)) // beyond what is final: one mirror cosigned it
	c.push("GOV/tax", "GOV/civil")
	p, next := c.propose(network.Change{Add: []network.Card{testCard(t, "GOV/labour", 4440, false)}})
	if err := c.stores["GOV/tax"].Vote(next.Digest()); !errors.Is(err, ErrProposal) {
		t.Fatalf("votes for what it does not know: %v", err)
	}
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(testNames...)
	c.vote(next, "GOV/benefits", "GOV/civil")
	c.tell(testNames...)
	if k := c.stores["GOV/tax"].Succession(); len(k.Votes) != 2 || len(k.Handovers) != 0 {
		t.Fatalf("with two votes: %d votes, %d handovers", len(k.Votes), len(k.Handovers))
	}
	c.append("GOV/health", batchEntry(1)) // until it is decided, the network goes on
	c.pushAll("GOV/health", testNames...)
	c.vote(next, "GOV/health")
	c.tell(testNames...)
	for _, name := range testNames {
		if _, err := c.stores[name].Append(context.Background(), batchEntry(9)); !errors.Is(err, ErrSuperseded) {
			t.Errorf("%s appends by the version before: %v", name, err)
		}
	}
	c.supersede(testNames...)
	labour := c.open("GOV/labour")
	c.append("GOV/labour", batchEntry(1))
	c.pushAll("GOV/labour", testNames...)
	if h, ok := labour.Final(c.cfg.Origin("GOV/labour")); !ok || h.Size != 1 {
		t.Fatal("the new member's log is not final")
	}
	c.pushAll("GOV/tax", testNames...)
	if h, _ := c.stores["GOV/tax"].Final(c.cfg.Origin("GOV/tax")); h.Size != 3 {
		t.Fatalf("final size %d after the change", h.Size)
	}
	if tree, _, err := note.VerifyHead(c.cfg, c.cfg.Origin("GOV/tax"), c.final("GOV/tax", "GOV/tax").Checkpoint, 3); err != nil || tree.N != 3 {
		t.Fatal(err)
	}
	c.spread("GOV/tax", "GOV/labour", "GOV/civil") // a member copies first
	five := append([]string{"GOV/labour"}, testNames...)
	p, next = c.propose(network.Change{Mirrors: map[string]bool{"GOV/labour": true}})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(five...)
	if err := labour.Vote(next.Digest()); !errors.Is(err, ErrNotMirror) {
		t.Fatalf("a member that is no mirror votes: %v", err)
	}
	c.vote(next, "GOV/benefits", "GOV/civil", "GOV/tax")
	c.tell(five...)
	c.supersede(five...)
	if q := c.cfg.Quorum(); q != 4 {
		t.Fatalf("quorum %d of five", q)
	}
	c.append("GOV/tax", batchEntry(4))
	c.pushAll("GOV/tax", "GOV/labour", "GOV/civil", "GOV/health")
	if h := c.final("GOV/tax", "GOV/tax"); h.Size != 4 {
		t.Fatalf("final size %d with the new mirror", h.Size)
	}
	c.reopen("GOV/labour")
}

// A mirror votes once for each version, whatever happens to it between.
func TestOneVoteForEachVersion(t *testing.T) {
	c := newCluster(t)
	beat := 30
	p, next := c.propose(network.Change{Beat: &beat})
	beat = 20
	rival, other := c.propose(network.Change{Beat: &beat})
	s := c.stores["GOV/civil"]
	if err := s.Propose(p); err != nil {
		t.Fatal(err)
	}
	c.vote(next, "GOV/civil")
	if err := s.Propose(rival); !errors.Is(err, network.ErrEquivocation) {
		t.Fatalf("a second proposal: %v", err)
	}
	for range 2 {
		if err := s.Vote(other.Digest()); !errors.Is(err, signer.ErrVoted) && !errors.Is(err, ErrProposal) {
			t.Fatalf("a second vote: %v", err)
		}
		c.vote(next, "GOV/civil") // the same again
		s = c.reopen("GOV/civil")
		if k := s.Succession(); k.Rival == nil || len(k.Votes) != 1 {
			t.Fatalf("after a start: %d votes", len(k.Votes))
		}
	}
	if _, err := s.ballot.Vote(other); !errors.Is(err, signer.ErrVoted) {
		t.Fatalf("the ballot: %v", err)
	}
}

// A mirror that lost its ballot takes up its vote from what others hold.
func TestLostVoteIsRemembered(t *testing.T) {
	c := newCluster(t)
	beat := 30
	p, next := c.propose(network.Change{Beat: &beat})
	if err := c.stores["GOV/civil"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.vote(next, "GOV/civil")
	c.tell("GOV/civil", "GOV/tax")
	s := c.stores["GOV/civil"]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{s.disk.Path("signer", "ballot-2.json"), s.successionPath()} {
		if err := s.disk.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	s = c.open("GOV/civil")
	if s.ballot.Voted() != nil {
		t.Fatal("the ballot is still there")
	}
	c.tell("GOV/civil", "GOV/tax")
	if v := s.ballot.Voted(); v == nil || v.Digest != next.Digest() {
		t.Fatalf("vote %+v", v)
	}
}

// A mirror that handed over cosigns nothing more by the version before, also after a start.
func TestHandedOverMirrorCosignsNothing(t *testing.T) {
	c := newCluster(t)
	beat := 30
	p, next := c.propose(network.Change{Beat: &beat})
	if err := c.stores["GOV/benefits"].Propose(p); err != nil {
		t.Fatal(err)
	}
	c.tell(testNames...)
	three := []string{"GOV/benefits", "GOV/civil", "GOV/health"}
	c.vote(next, three...)
	// civil learns of all votes, and nobody of its handover
	for _, from := range three {
		if err := c.stores["GOV/civil"].AddSuccession(c.stores[from].Succession()); err != nil {
			t.Fatal(err)
		}
	}
	s := c.stores["GOV/civil"]
	if k := s.Succession(); len(k.Handovers) != 1 {
		t.Fatalf("%d handovers", len(k.Handovers))
	}
	c.append("GOV/tax", batchEntry(1))
	push, _ := c.stores["GOV/tax"].Outgoing("GOV/civil")
	for range 2 {
		if reply, err := s.AddCheckpoint(push); !errors.Is(err, ErrHandedOver) || len(reply.Cosignature) > 0 {
			t.Fatalf("cosigns after it handed over: %v", err)
		}
		s = c.reopen("GOV/civil")
	}
	c.tell(testNames...)
	c.supersede(testNames...)
	c.pushAll("GOV/tax", testNames...)
	if h := c.final("GOV/tax", "GOV/tax"); h.Size != 1 {
		t.Fatalf("final size %d", h.Size)
	}
}

// A mirror that voted goes on cosigning when the proposer signs another proposal, which members may then know as the first:
// else one lying proposer would stop the network. (Found by the simulator.)
func TestEquivocatingProposerStopsNoMirrorThatVoted(t *testing.T) {
	c := newCluster(t)
	var proposals []network.Proposal
	for _, beat := range []int{8, 9, 11} {
		p, _ := c.propose(network.Change{Heartbeat: &beat})
		proposals = append(proposals, p)
	}
	slices.SortFunc(proposals, func(a, b network.Proposal) int { return strings.Compare(a.Digest(), b.Digest()) })
	voters := []string{"GOV/benefits", "GOV/civil"}
	for _, name := range voters { // for the one that will be the rival
		if err := c.stores[name].Propose(proposals[2]); err != nil {
			t.Fatal(err)
		}
		if err := c.stores[name].Vote(proposals[2].Digest()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range testNames {
		for _, p := range proposals {
			if err := c.stores[name].Propose(p); err != nil && !errors.Is(err, network.ErrEquivocation) {
				t.Fatal(err)
			}
		}
	}
	for _, when := range []string{"", " after a restart"} {
		c.append("GOV/tax", batchEntry(1))
		c.pushAll("GOV/tax", voters...)
		if a, b := c.finalSize("GOV/tax", "GOV/tax"), c.stores["GOV/tax"].Size(c.cfg.Origin("GOV/tax")); a != b {
			t.Fatalf("final size %d of %d%s", a, b, when)
		}
		for _, name := range voters {
			c.reopen(name)
		}
	}
}
