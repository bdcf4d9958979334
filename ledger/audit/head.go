package audit

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// signatures is what a final head looks like under one configuration.
type signatures struct {
	cfg   *network.Configuration
	owner error // nil: the owner's signature is good
	good  []Cosigned
	bad   []string
}

// final tells whether a configuration accepts the head.
func (s signatures) final() bool {
	return s.owner == nil && len(s.bad) == 0 && len(s.good) >= s.cfg.Quorum()
}

// readHead reads and verifies a log's final head, under the newest configuration that accepts it.
func (a *auditor) readHead(p *plan) {
	data, err := a.checkpoint(p.Origin)
	if errors.Is(err, fs.ErrNotExist) {
		return // whether something should be final, the signer states tell
	}
	var c note.Checkpoint
	if err == nil {
		c, err = note.Parse(data)
	}
	if err != nil || c.Origin != p.Origin {
		p.found(CheckpointMalformed, -1, "the file checkpoint is no signed checkpoint of this log: %v", err)
		return
	}
	p.final, p.Size, p.Root = c.Tree, c.Tree.N, c.Tree.Hash.String()
	p.known = append(p.known, known{c.Tree, RootMismatch, "the final head"})
	var best *signatures
	for _, cfg := range a.cfgs {
		if _, _, ok := cfg.LogKey(p.Origin); !ok {
			continue
		}
		s := judge(cfg, p.Origin, c, data)
		if best == nil || s.final() && !best.final() {
			best = &s
		}
		if s.final() {
			break
		}
	}
	a.judged(p, *best) // some configuration names this log: its origin came from there
}

// judge verifies each signature line of a head by itself.
func judge(cfg *network.Configuration, origin string, c note.Checkpoint, data []byte) signatures {
	s := signatures{cfg: cfg, good: []Cosigned{}}
	_, s.owner = note.VerifyOwner(cfg, origin, data)
	for _, m := range cfg.Mirrors() {
		v, err := torchwood.NewCosignatureVerifier(m.MirrorKey)
		if err != nil {
			s.bad = append(s.bad, m.Name+": its key in the configuration: "+err.Error())
			continue
		}
		lines := 0
		for _, sig := range c.Sigs {
			if sig.Name != v.Name() || sig.Hash != v.KeyHash() {
				continue
			}
			if lines++; lines > 1 {
				s.bad = append(s.bad, m.Name+": a second cosignature")
				continue
			}
			cosig, err := note.VerifyCosignature(m, c.Text, sig.Line())
			if err != nil {
				s.bad = append(s.bad, m.Name+": "+err.Error())
				continue
			}
			s.good = append(s.good, Cosigned{m.Name, cosig.Time})
		}
	}
	return s
}

// judged reports what is wrong with a head's signatures.
func (a *auditor) judged(p *plan, s signatures) {
	p.Heads = s.good
	if s.final() {
		p.Version = s.cfg.Version
	}
	if s.owner != nil {
		p.found(OwnerSignature, -1, "the final head: %v", s.owner)
	}
	for _, bad := range s.bad {
		p.found(CosignatureInvalid, -1, "the final head: %s", bad)
	}
	if q := s.cfg.Quorum(); len(s.good) < q {
		p.found(CosignatureMissing, -1, "the final head has %d valid cosignatures, the quorum is %d", len(s.good), q)
	}
	for _, g := range s.good {
		if g.Time.After(p.newest) {
			p.newest = g.Time
		}
		if g.Time.After(a.now.Add(allowance)) {
			p.found(CosignatureTime, -1, "%s cosigned at %s, which is %s ahead of this machine's clock", g.Mirror,
				g.Time.Format(time.RFC3339), g.Time.Sub(a.now).Round(time.Second))
		}
	}
}

// readStates reads the signer states, adds what they vouch for to the plans, and notes whose folder it is.
func (a *auditor) readStates() error {
	states, err := a.states()
	if err != nil {
		return err
	}
	a.report.Member = memberOf(states, a.cfgs[0])
	for _, s := range states {
		p := a.plans[s.Origin]
		if s.err != nil {
			a.damagedState(s, p)
		} else if p != nil {
			a.readState(s, p)
		}
	}
	if len(states) > 0 && !slices.ContainsFunc(states, func(s state) bool { return s.role == "owner" }) {
		a.report.found(StateMissing, "", "signer/ holds states of a mirror's key and none of the owner's")
	}
	a.missingStates(states)
	return nil
}

// memberOf is whose folder it is: who owns the log that an owner's state is of, in a configuration if there is one.
func memberOf(states []state, cfg *network.Configuration) string {
	for _, s := range states {
		if s.role != "owner" || s.err != nil || cfg == nil {
			continue
		}
		if _, member, ok := cfg.LogKey(s.Origin); ok {
			return member
		}
	}
	return ""
}

// vouches tells whether a store holds the entries that a state speaks of: those of a key that it no longer signs with too,
// for others rely on them. Of a log that ended, the fence alone says what stands.
func (s state) vouches(cfg *network.Configuration) bool {
	if s.err != nil || s.role == "witness" { // a witness stores no entries
		return false
	}
	if cfg == nil {
		return true
	}
	_, ok := cfg.Owner(s.Origin)
	return ok
}

// mirrorDir is the folder of a mirror key's states: signer/mirror, and from the second generation on signer/mirror-2.
func mirrorDir(name string) string {
	dir := filepath.Join("signer", "mirror")
	if g := name[strings.LastIndexByte(name, '/')+1:]; g != "1" {
		dir += "-" + g
	}
	return dir
}

func (a *auditor) damagedState(s state, p *plan) {
	if p != nil {
		p.found(StateDamaged, -1, "%s: %v", filepath.ToSlash(s.path), s.err)
	} else if a.o.Origins == nil {
		a.report.found(StateDamaged, s.Origin, "%s: %v", filepath.ToSlash(s.path), s.err)
	}
}

func (a *auditor) readState(s state, p *plan) {
	name := filepath.ToSlash(s.path)
	vouches := s.vouches(a.cfgs[0])
	if s.Role == "owner" && s.State.Tree.N < p.final.N {
		p.found(StateBehind, -1, "%s says that %d entries were signed, and the final head has %d: the folder is an old copy", name,
			s.State.Tree.N, p.final.N)
	}
	if vouches && s.State.Tree.N > 0 && p.final.N == 0 && len(p.Problems) == 0 {
		p.found(NoHead, -1, "%d entries are signed for and none of them is final here", s.State.Tree.N)
	}
	if s.State.Time.After(a.now.Add(allowance)) {
		p.found(CosignatureTime, -1, "%s: cosigned at %s, ahead of this machine's clock", name, s.State.Time.Format(time.RFC3339))
	}
	if s.State.Note != nil && !slices.ContainsFunc(a.cfgs, func(cfg *network.Configuration) bool {
		_, err := note.VerifyOwner(cfg, s.Origin, s.State.Note)
		return err == nil
	}) {
		p.found(StateDamaged, -1, "%s: the checkpoint in it is not signed by %s", name, p.Owner)
		return
	}
	k := known{s.State.Tree, HistoryMismatch, "the tree in " + name}
	switch {
	case vouches:
		p.known = append(p.known, k)
	case !p.Fenced: // of a log that ended, the fence alone says which history stands
		p.maybe = append(p.maybe, k)
	}
}

// missingStates reports logs that this member's mirror key must have a state for: they have entries here.
func (a *auditor) missingStates(states []state) {
	m, ok := a.cfgs[0].Member(a.report.Member)
	if !ok || !m.Mirror {
		return
	}
	dir := mirrorDir(m.MirrorName())
	has := make(map[string]bool)
	for _, s := range states {
		has[s.Origin] = has[s.Origin] || filepath.Dir(s.path) == dir
	}
	for _, origin := range a.cfgs[0].Origins() {
		p := a.plans[origin]
		if p == nil || has[origin] {
			continue
		}
		if ok, err := a.fs.Exists(filepath.Join(a.log(origin), "tile")); err == nil && ok {
			p.found(StateMissing, -1, "%s has no state of this log: the mirror's key may have signed anything", filepath.ToSlash(dir))
		}
	}
}
