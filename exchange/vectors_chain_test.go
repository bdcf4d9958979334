package exchange_test

import (
	"crypto/ed25519"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// secondLog moves the holder to the second generation of its log. The first one ended with some entries; the verifier has both.
func secondLog(s *stage, ended []any) {
	var bodies []string
	for _, e := range ended {
		bodies = append(bodies, s.body(e))
	}
	old := s.config.Origin(civil)
	end := newMemoryLog(s.t, bodies).tree(s.t, uint64(len(bodies)))
	m, _ := s.config.Member(civil)
	origin := network.LogName(vectorInstance, civil, 2)
	m.LogKey = network.LogVKey(origin, logKeyOf(origin).Public().(ed25519.PublicKey))
	card, err := network.NewCard(vectorInstance, m, logKeyOf(origin))
	s.must(err)
	stand := network.NewStand(old, end)
	s.succeed(network.Change{Replace: []network.Card{card}, Fences: []network.Fence{{Origin: old, Size: stand.Size, Root: stand.Root}}}, end)
	s.header.Origin = origin
	s.onLog = func(l *logFile) { l.Logs = append(l.Logs, vectorLog{old, bodies}) }
}

// succeed makes the next version of the configuration, with its link; the holder's log is handed over at a tree.
func (s *stage) succeed(change network.Change, at tlog.Tree) {
	prev := s.config
	next, err := network.Succeed(prev, change)
	s.must(err)
	proposal, err := network.NewProposal(prev, next, vectorKeys.Key("log "+prev.Proposer))
	s.must(err)
	link := &network.Link{Proposal: proposal}
	origin := prev.Origin(civil)
	for _, m := range prev.Mirrors()[:prev.Quorum()] {
		key := vectorKeys.Key("mirror " + m.Name)
		vote, err := network.NewVote(prev, next, m.Name, key)
		s.must(err)
		handover, err := network.NewHandover(prev, next, m.Name, []network.Stand{network.NewStand(origin, at)}, key)
		s.must(err)
		link.Votes, link.Handovers = append(link.Votes, vote), append(link.Handovers, handover)
	}
	checkpoint, err := note.Sign(origin, at, logKeyOf(origin))
	s.must(err)
	link.Checkpoints = []string{string(checkpoint)}
	if s.chain == nil {
		s.chain = network.NewChain(prev)
	}
	s.must(s.chain.Extend(link))
	s.config = next
}

// ended is the tree of the holder's log with the entries up to an index.
func (s *stage) ended(last uint64) tlog.Tree {
	return newMemoryLog(s.t, s.bodies()[:last+1]).tree(s.t, last+1)
}
