package gateway

import (
	"errors"
	"net/http"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
)

// Codes of what cannot be done on the way to the next configuration.
const (
	codeNotProposer = "not_proposer" // another member proposes the next version
	codeProposal    = "proposal"     // not a configuration that can follow, or no such proposal
	codeVoted       = "voted"        // this mirror's one vote was for another
	codeNotMirror   = "not_mirror"   // only mirrors vote
	codeStarting    = "starting"     // too few members were heard from
	codeSuperseded  = "superseded"   // the next version is in force
	codeNoEnd       = "log_ended"    // a log is fenced, or its owner signed two histories and people must decide where it ends
)

// Succession implements api.Gateway.
func (g *Gateway) Succession() (*api.Succession, error) {
	cfg, known := g.network, g.ledger.Succession()
	s := &api.Succession{Version: cfg.Version, Digest: cfg.Digest(), Proposer: cfg.Proposer, Quorum: cfg.Quorum(), Contested: known.Rival != nil}
	if known.Proposal != nil {
		next, err := known.Proposal.Verify(cfg)
		if err != nil {
			return nil, err // the store verified it
		}
		s.Proposal = &api.ProposedVersion{Version: next.Version, Digest: next.Digest(), Decided: known.Decided(cfg),
			Document: known.Proposal.Document}
		for _, d := range network.Differences(cfg, next) {
			s.Proposal.Changes = append(s.Proposal.Changes, api.Difference(d))
		}
	}
	for _, m := range cfg.Mirrors() {
		item := api.SuccessionMirror{Member: m.Name}
		for _, v := range known.Votes {
			item.Voted = item.Voted || v.Mirror == m.Name
		}
		for _, h := range known.Handovers {
			item.HandedOver = item.HandedOver || h.Mirror == m.Name
		}
		s.Mirrors = append(s.Mirrors, item)
	}
	return s, nil
}

// Propose implements api.Gateway.
func (g *Gateway) Propose(document []byte) (*api.Succession, error) {
	if g.network.Proposer != g.member.Name {
		return nil, api.NewProblem(http.StatusConflict, codeNotProposer, "the configuration in force names "+g.network.Proposer+" to propose the next; send the document to its operator")
	}
	next, err := network.Parse(document)
	if err != nil {
		return nil, api.NewProblem(http.StatusUnprocessableEntity, codeProposal, err.Error())
	}
	if err := g.checkCircuits(next); err != nil {
		return nil, err
	}
	if err := g.mayAppend(); err != nil { // others may know of a proposal that this folder lost
		return nil, err
	}
	g.proposing.Lock()
	defer g.proposing.Unlock()
	p, err := network.NewProposal(g.network, next, g.keys.Log)
	if err == nil && g.proposedOther(p) {
		return nil, api.NewProblem(http.StatusConflict, codeProposal, "another proposal was signed for this version already; signing a second one would leave the network without a successor")
	}
	if err == nil {
		err = g.ledger.Propose(p)
	}
	if err != nil {
		return nil, g.successionProblem(err)
	}
	return g.Succession()
}

// proposedOther says whether a proposal of this version is known that is not p.
func (g *Gateway) proposedOther(p network.Proposal) bool {
	known := g.ledger.Succession().Proposal
	return known != nil && known.Digest() != p.Digest()
}

// Vote implements api.Gateway.
func (g *Gateway) Vote(digest string) (*api.Succession, error) {
	if known := g.ledger.Succession().Proposal; known != nil && known.Digest() == digest {
		next, err := known.Verify(g.network)
		if err != nil {
			return nil, err // the store verified it
		}
		if err := g.checkCircuits(next); err != nil {
			return nil, err
		}
	}
	if err := g.ledger.Vote(digest); err != nil && !errors.Is(err, ledger.ErrSuperseded) {
		return nil, g.successionProblem(err)
	}
	return g.Succession()
}

// successionProblem tells the operator what cannot be done. Nothing in a configuration is secret.
func (g *Gateway) successionProblem(err error) error {
	for _, c := range []struct {
		is     error
		status int
		code   string
	}{
		{ledger.ErrSuperseded, http.StatusConflict, codeSuperseded}, {ledger.ErrStarting, http.StatusServiceUnavailable, codeStarting},
		{ledger.ErrNotMirror, http.StatusConflict, codeNotMirror}, {signer.ErrVoted, http.StatusConflict, codeVoted},
		{ledger.ErrProposal, http.StatusConflict, codeProposal}, {network.ErrEquivocation, http.StatusConflict, codeProposal},
		{network.ErrSuccession, http.StatusUnprocessableEntity, codeProposal}, {network.ErrConfiguration, http.StatusUnprocessableEntity, codeProposal},
	} {
		if errors.Is(err, c.is) {
			return api.NewProblem(c.status, c.code, err.Error())
		}
	}
	return err
}

// Chain implements api.Gateway.
func (g *Gateway) Chain() []byte { return g.ledger.Chain().Bytes() }

// Evidence implements api.Gateway.
func (g *Gateway) Evidence() []api.Evidence {
	var list []api.Evidence
	for _, data := range g.ledger.Evidence() {
		e, err := evidence.Parse(data)
		if err != nil {
			continue // the store parsed it
		}
		var keys []evidence.Keys
		for _, c := range g.ledger.Chain().Versions() {
			keys = append(keys, c)
		}
		found, err := e.Verify(keys...)
		if err != nil {
			continue // the store verified it
		}
		_, fenced := g.network.Fence(found.Origin)
		list = append(list, api.Evidence{ID: found.ID(), Origin: found.Origin, Owner: found.Owner, Mirrors: found.Mirrors,
			Sizes: []int64{found.First.N, found.Second.N}, Fenced: fenced, File: string(data)})
	}
	return list
}

// loadChain reads the configurations from the pinned one to the one in force, and this gateway's keys by the latter.
func (g *Gateway) loadChain(f config.Folder) (*network.Chain, error) {
	keys, err := config.LoadKeys(f)
	if err != nil {
		return nil, err
	}
	chain, err := config.LoadChain(f, g.settings)
	if err != nil {
		return nil, err
	}
	g.network = chain.Newest()
	if err := config.CheckMember(g.network, g.settings, keys); err != nil {
		return nil, err
	}
	if g.keys, err = keys.For(g.network, g.settings.Member); err != nil {
		return nil, err
	}
	g.member, _ = g.network.Member(g.settings.Member) // CheckMember saw it
	return chain, nil
}

// versions is the chain of configurations as gossip carries it. It is a gossip.Versions.
type versions struct{ store *ledger.Store }

// Succession returns what is known on the way to the next version.
func (v versions) Succession() []byte {
	known := v.store.Succession()
	if known.Proposal == nil {
		return nil
	}
	return known.Bytes()
}

// AddSuccession takes what a neighbour knows. That this completes a version is no error of the neighbour's, and neither is a
// proposer's second proposal, which is shown to the operators.
func (v versions) AddSuccession(data []byte) error {
	known, err := network.ParseSuccession(data)
	if err == nil {
		err = v.store.AddSuccession(known)
	}
	if errors.Is(err, ledger.ErrSuperseded) || errors.Is(err, network.ErrEquivocation) {
		return nil
	}
	return err
}

// Link returns the link that leads to a version.
func (v versions) Link(version int) ([]byte, bool) {
	chain := v.store.Chain()
	i := version - chain.Pinned().Version - 1
	if links := chain.Links(); i >= 0 && i < len(links) {
		return links[i].Bytes(), true
	}
	return nil, false
}

// AddLink takes the link to the next version.
func (v versions) AddLink(data []byte) error {
	link, err := network.ParseLink(data)
	if err == nil {
		err = v.store.AddLink(link)
	}
	if errors.Is(err, ledger.ErrSuperseded) {
		return nil
	}
	return err
}
