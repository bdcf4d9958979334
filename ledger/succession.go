package ledger

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// Errors on the way to the next version of the configuration.
var (
	// ErrSuperseded says that the next version of the configuration is in force. Nothing is signed any more: close the
	// store and open it with the chain that LoadChain returns.
	ErrSuperseded = errors.New("a newer network configuration is in force")
	// ErrHandedOver says that this mirror has handed its logs over to the next version and cosigns nothing by this one.
	ErrHandedOver = errors.New("this mirror has handed over to the next network configuration")
	// ErrProposal says that there is no such proposal to vote for, or that this member cannot vote for it.
	ErrProposal = errors.New("cannot vote for this configuration")
)

// The way from version N to N+1, with what is on the disk before each step:
//
//	proposer signs a document -> gossip -> operators vote: ballot fsynced -> vote leaves
//	q votes seen -> each mirror stops cosigning -> ballot with the handover fsynced -> handover leaves
//	q handovers seen -> link fsynced -> ErrSuperseded; the gateway opens again with the longer chain
//
// Store.changeMu is held for each step of this way. It is taken before any replica's lock.

// LoadChain returns the chain that begins with the pinned configuration and goes on with the links kept in a store's folder.
func LoadChain(dir string, pinned *network.Configuration) (*network.Chain, error) {
	disk, err := tiles.NewDisk(dir)
	if err != nil {
		return nil, fmt.Errorf("reading the chain of configurations: %w", err)
	}
	return loadChain(disk, pinned)
}

func loadChain(disk *tiles.Disk, pinned *network.Configuration) (*network.Chain, error) {
	chain := network.NewChain(pinned)
	for {
		data, err := disk.Read(linkPath(disk, chain.Newest().Version+1), network.MaxLinkSize)
		if errors.Is(err, fs.ErrNotExist) {
			return chain, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the chain of configurations: %w", err)
		}
		link, err := network.ParseLink(data)
		if err == nil {
			err = chain.Extend(link)
		}
		if err != nil {
			version := chain.Newest().Version + 1
			return nil, fmt.Errorf("reading the chain of configurations: version %d: %w; remove %s, and the other members send it again",
				version, err, linkPath(disk, version))
		}
	}
}

func linkPath(disk *tiles.Disk, version int) string {
	return disk.Path("chain", fmt.Sprintf("%d.json", version))
}

// loadSuccession reads what is known on the way to the next version.
func (s *Store) loadSuccession(o Options, me network.Member) error {
	s.succession = &network.Succession{}
	next := s.cfg.Version + 1
	if me.Mirror {
		path := s.disk.Path("signer", fmt.Sprintf("ballot%s-%d.json", generation(me.MirrorName()), next))
		ballot, err := signer.LoadBallot(s.disk, path, s.cfg, me.Name, o.MirrorKey)
		if err != nil {
			return err
		}
		s.ballot = ballot
		s.frozen = ballot.HandedOver() != nil
	}
	data, err := s.disk.Read(s.successionPath(), network.MaxLinkSize)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the succession: %w", err)
	}
	known, err := network.ParseSuccession(data)
	if err == nil {
		_, err = s.succession.Merge(s.cfg, known)
	}
	if err != nil { // the others tell it again; what this mirror signed is in its ballot
		s.log.Warn("part of the succession not used", "error", err)
	}
	s.limitFenced()
	s.noteFences()
	return nil
}

func (s *Store) successionPath() string {
	return s.disk.Path("succession", fmt.Sprintf("%d.json", s.cfg.Version+1))
}

// Config returns the configuration in force when the store was opened, and Chain the versions that led to it.
func (s *Store) Config() *network.Configuration { return s.cfg }

// Chain returns the versions up to the one in force when the store was opened.
func (s *Store) Chain() *network.Chain { return s.chain }

// Succession returns what is known on the way to the next version: proposal, votes, handovers.
func (s *Store) Succession() *network.Succession {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.succession // what it refers to is never changed
	return &known
}

// Propose takes a proposal for the next version, which its proposer signed, here or elsewhere.
func (s *Store) Propose(p network.Proposal) error {
	if err := s.AddSuccession(&network.Succession{Proposal: &p}); err != nil {
		return fmt.Errorf("proposing a configuration: %w", err)
	}
	return nil
}

// Vote casts this mirror's vote for the proposal with that digest. It is the operator's decision and cannot be taken back.
// Errors: ErrNotMirror, ErrProposal (no such proposal, or a fence contradicts what this mirror cosigned or lacks here),
// signer.ErrVoted, ErrStarting, ErrStopped.
func (s *Store) Vote(digest string) error {
	if err := s.vote(digest); err != nil {
		return fmt.Errorf("voting: %w", err)
	}
	return nil
}

func (s *Store) vote(digest string) error {
	if s.ballot == nil {
		return ErrNotMirror
	}
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if err := s.maySign(); err != nil {
		return err
	}
	next, ok := s.proposed()
	if !ok || next.Digest() != digest {
		return fmt.Errorf("%w: the proposal that is known has another digest, or there is none", ErrProposal)
	}
	v, err := s.castVote(next)
	if err != nil {
		return s.stopping(err)
	}
	return s.mergeVote(v)
}

// castVote writes the ballot while nothing that the vote's fences limit can be cosigned.
func (s *Store) castVote(next *network.Configuration) (network.Vote, error) {
	release, err := s.holdFences(next)
	defer release()
	if err != nil {
		return network.Vote{}, err
	}
	if s.ballot.Voted() == nil { // the logs that will be limited are held: others need not wait until they are
		s.mu.Lock()
		s.limited = true
		s.mu.Unlock()
	}
	v, err := s.ballot.Vote(next)
	if err == nil {
		s.limitFenced()
	}
	return v, err
}

// mergeVote adds this mirror's vote to what is known. Call with changeMu held.
func (s *Store) mergeVote(v network.Vote) error {
	p, ok := s.document(v.Digest)
	if !ok {
		return nil // voted for before the proposal was lost: it will be told again
	}
	return s.merge(&network.Succession{Proposal: p, Votes: []network.Vote{v}})
}

// document returns the proposal with a digest, be it the one that is preferred now or its rival.
func (s *Store) document(digest string) (*network.Proposal, bool) {
	known := s.Succession()
	for _, p := range []*network.Proposal{known.Proposal, known.Rival} {
		if p != nil && p.Digest() == digest {
			return p, true
		}
	}
	return nil, false
}

// proposed returns the document of the proposal that is known.
func (s *Store) proposed() (*network.Configuration, bool) {
	s.mu.Lock()
	p := s.succession.Proposal
	s.mu.Unlock()
	if p == nil {
		return nil, false
	}
	next, err := p.Verify(s.cfg)
	return next, err == nil
}

// holdFences sees to it that this mirror can vote for the fences of next: what it cosigned of each log is part of what
// the fence keeps, and all that the fence keeps is here. The logs stay locked until release.
func (s *Store) holdFences(next *network.Configuration) (release func(), err error) {
	var held []sync.Locker
	release = func() {
		for _, l := range slices.Backward(held) {
			l.Unlock()
		}
	}
	hold := func(l sync.Locker) {
		l.Lock()
		held = append(held, l)
	}
	for _, origin := range s.order { // locks are taken in this order only
		r := s.replicas[origin]
		if _, ok := next.Fence(origin); ok && r.fence.Origin == "" {
			hold(&r.write)
		}
	}
	hold(&s.sendMu)
	for _, origin := range s.order {
		r := s.replicas[origin]
		f, ok := next.Fence(origin)
		if !ok || r.fence.Origin != "" {
			continue
		}
		if err := r.within(f); err != nil {
			return release, err
		}
	}
	return release, nil
}

// within says whether a fence keeps all that this mirror cosigned with any of its keys or knows to be final, which an earlier
// committee may have made so, what was handed over of it as far as it is here, and nothing that is not here. Call with write held.
func (r *replica) within(f network.Fence) error {
	end := f.Tree()
	cosigned := r.before.N
	if r.mirror != nil {
		cosigned = max(cosigned, r.mirror.State().Tree.N)
	}
	if cosigned > end.N {
		return fmt.Errorf("%w: this mirror cosigned size %d of %q, the fence ends it at %d", ErrProposal, cosigned, f.Origin, end.N)
	}
	r.mu.RLock()
	final := max(r.final.N, r.wanted.c.Tree.N)
	r.mu.RUnlock()
	if final > end.N {
		return fmt.Errorf("%w: size %d of %q is final, the fence ends it at %d", ErrProposal, final, f.Origin, end.N)
	}
	for _, pin := range r.pins { // one that is not here may be a liar's, and its entries nowhere
		if have, err := r.files.Tree(min(pin.N, r.verified.N)); err == nil && have == pin && pin.N > end.N {
			return fmt.Errorf("%w: size %d of %q was handed over, the fence ends it at %d", ErrProposal, pin.N, f.Origin, end.N)
		}
	}
	if r.verified.N < end.N {
		return fmt.Errorf("%w: the fence of %q keeps %d entries, here are %d; try again when they have arrived", ErrProposal, f.Origin, end.N, r.verified.N)
	}
	have, err := r.files.Tree(end.N)
	if err == nil && have.Hash != end.Hash {
		err = fmt.Errorf("%w: the fence of %q keeps another history than the one here", ErrProposal, f.Origin)
	}
	return err
}

// limitFenced notes up to where the logs that the proposal voted for would fence may still be cosigned. If the proposer made
// another, the one voted for may be the rival.
func (s *Store) limitFenced() {
	if s.ballot == nil || s.ballot.Voted() == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := s.ballot.Voted().Digest
	for _, p := range []*network.Proposal{s.succession.Proposal, s.succession.Rival} {
		if s.limitedBy == digest || p == nil || p.Digest() != digest {
			continue
		}
		next, err := p.Verify(s.cfg)
		if err != nil {
			continue
		}
		for _, f := range next.Fences {
			s.limits[f.Origin] = f.Size
		}
		s.limited, s.limitedBy = true, digest
	}
}

// mayCosign says whether this mirror may cosign a tree of a log now. What the tree must contain is above's to check. Call
// with the lock held under which the log is cosigned.
func (s *Store) mayCosign(r *replica, tree tlog.Tree) error {
	if err := s.maySign(); err != nil {
		return err
	}
	if s.Halted(r.origin) {
		return ErrHalted
	}
	if err := s.onTime(); err != nil {
		return err
	}
	voted := s.ballot != nil && s.ballot.Voted() != nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen {
		return ErrHandedOver
	}
	if voted && !s.limited {
		return fmt.Errorf("%w: this mirror voted for a configuration that it has lost, and waits to be told of it again", ErrFenced)
	}
	if limit, ok := s.limits[r.origin]; ok && tree.N > limit {
		return fmt.Errorf("%w: this mirror voted to end it at size %d", ErrFenced, limit)
	}
	return nil
}

// AddSuccession takes what another member knows on the way to the next version. When it completes the votes, this mirror
// hands over; when it completes the handovers, the next version is in force and the store fails with ErrSuperseded.
func (s *Store) AddSuccession(other *network.Succession) error {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if err := s.Failure(); err != nil {
		return err
	}
	return s.merge(other)
}

// merge takes what is new and does what follows from it. Call with changeMu held.
func (s *Store) merge(other *network.Succession) error {
	next := s.Succession()
	changed, problem := next.Merge(s.cfg, other)
	if changed {
		if err := s.saveSuccession(next); err != nil {
			return err
		}
		s.noteFences()
		s.wake()
	}
	return errors.Join(problem, s.proceed(next))
}

// proceed does what follows from what is known. Call with changeMu held.
func (s *Store) proceed(known *network.Succession) error {
	if err := s.rememberVote(known); err != nil {
		return s.stopping(err)
	}
	s.limitFenced()
	if s.ballot != nil && handedOver(known, s.member) { // though the ballot that says so may be lost
		s.mu.Lock()
		s.frozen = true
		s.mu.Unlock()
	}
	if s.ballot != nil && !handedOver(known, s.member) && known.Decided(s.cfg) && s.maySign() == nil {
		if err := s.handOver(known); err != nil {
			return err
		}
		s.wake()
	}
	if link, ok := known.Link(s.cfg); ok {
		return s.supersede(link)
	}
	return nil
}

// resumeSuccession goes on, after the start, where a mirror stopped on the way to the next version.
func (s *Store) resumeSuccession() error {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if err := s.Failure(); err != nil {
		return err
	}
	if s.ballot != nil && s.ballot.Voted() != nil {
		if err := s.mergeVote(*s.ballot.Voted()); err != nil {
			return err
		}
	}
	return s.merge(&network.Succession{})
}

func (s *Store) saveSuccession(next *network.Succession) error {
	if err := s.disk.Write(tiles.File{Path: s.successionPath(), Data: next.Bytes()}); err != nil {
		return s.stopping(err)
	}
	kept := *next // the caller's goes on growing; what others read does not change
	s.mu.Lock()
	s.succession = &kept
	s.mu.Unlock()
	return nil
}

// rememberVote takes up a vote of this mirror that others hold and this folder has lost.
func (s *Store) rememberVote(known *network.Succession) error {
	if s.ballot == nil {
		return nil
	}
	for _, v := range known.Votes {
		if v.Mirror == s.member {
			return s.ballot.Remember(v)
		}
	}
	return nil
}

// handOver stops cosigning for good, signs where this mirror stands in each log, and adds that to what is known. Call with
// changeMu held and the votes complete.
func (s *Store) handOver(known *network.Succession) error {
	next, ok := s.proposed()
	if !ok {
		return nil
	}
	if s.ballot.HandedOver() == nil {
		s.mu.Lock()
		s.frozen = true
		s.mu.Unlock()
	}
	stands, notes, err := s.stands()
	if err != nil {
		return err
	}
	h, err := s.ballot.HandOver(next, stands)
	if err != nil {
		return s.stopping(err)
	}
	more := *known
	more.Handovers = append(slices.Clone(known.Handovers), h)
	more.Checkpoints = append(slices.Clone(known.Checkpoints), notes...)
	if _, err := known.Merge(s.cfg, &more); err != nil {
		return fmt.Errorf("handing over: %w", err)
	}
	return s.saveSuccession(known)
}

// handedOver says whether a mirror's handover is known.
func handedOver(known *network.Succession, mirror string) bool {
	return slices.ContainsFunc(known.Handovers, func(h network.Handover) bool { return h.Mirror == mirror })
}

// stands lists the tree that this mirror cosigned last in each log, or one that it is bound to contain, if that is larger,
// with the owners' checkpoints. Taking each lock once after frozen is set waits for whatever was being cosigned.
func (s *Store) stands() ([]network.Stand, []string, error) {
	var out []network.Stand
	var notes []string
	for _, origin := range s.cfg.Origins() {
		r := s.replicas[origin]
		if r.mirror == nil {
			continue
		}
		r.write.Lock()
		s.sendMu.Lock()
		state := r.mirror.State()
		s.sendMu.Unlock()
		r.write.Unlock()
		tree, data := state.Tree, state.Note
		if n := len(r.pins); n > 0 && r.pins[n-1].N > tree.N {
			if pinned, ok := s.pinned(origin, r.pins[n-1]); ok {
				tree, data = r.pins[n-1], pinned
			}
		}
		if tree.N == 0 {
			continue
		}
		if _, err := note.VerifyOwner(s.cfg, origin, data); err != nil {
			return nil, nil, fmt.Errorf("handing over %q: %w", origin, err)
		}
		out = append(out, network.NewStand(origin, tree))
		notes = append(notes, string(data))
	}
	slices.Sort(notes)
	return out, notes, nil
}

// pinned returns the owner's checkpoint of a tree that an earlier change handed over.
func (s *Store) pinned(origin string, tree tlog.Tree) ([]byte, bool) {
	for _, link := range s.chain.Links() {
		for _, data := range link.Checkpoints {
			if c, err := note.Parse([]byte(data)); err == nil && c.Origin == origin && c.Tree == tree {
				return []byte(data), true
			}
		}
	}
	return nil, false
}

// AddLink takes the link to the next version from a member that is ahead.
func (s *Store) AddLink(link *network.Link) error {
	s.changeMu.Lock()
	defer s.changeMu.Unlock()
	if err := s.Failure(); err != nil {
		return err
	}
	return s.supersede(link)
}

// supersede makes the next version's link durable. From then on nothing is signed here.
func (s *Store) supersede(link *network.Link) error {
	next, err := link.Verify(s.cfg)
	if err != nil {
		return fmt.Errorf("taking the next configuration: %w", err)
	}
	s.mu.Lock()
	s.frozen = true // a mirror that did not hand over stops too
	s.mu.Unlock()
	if err := s.disk.Write(tiles.File{Path: linkPath(s.disk, next.Version), Data: link.Bytes()}); err != nil {
		return s.stopping(err)
	}
	s.log.Info("network configuration superseded", "version", next.Version)
	return s.stopping(ErrSuperseded)
}
