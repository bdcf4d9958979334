package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/view"
)

// replayLog reads one log's entries and compares them with all that is known of it.
func (a *auditor) replayLog(ctx context.Context, p *plan) error {
	r := &replay{folder: a.folder, dir: a.log(p.Origin), size: p.size}
	a.pins(p)
	p.maybe = slices.DeleteFunc(p.maybe, func(k known) bool { return k.tree.N > p.size })
	for _, k := range append(p.known, p.maybe...) {
		r.marks = append(r.marks, k.tree.N)
	}
	s := a.newScan(p)
	r.begin, r.visit = s.decode, s.visit
	last := int64(0)
	r.step = func() {
		a.progress(r.n - last)
		last = r.n
	}
	err := r.run(ctx)
	p.Entries, p.Bytes, p.First, p.Last = r.n, r.bytes, stamp(s.first), stamp(s.last)
	p.Beats, p.Missed, p.Late = s.rules.beat.logged, s.rules.beat.missed, s.rules.beat.late
	var d *damaged
	if errors.As(err, &d) {
		a.unreadable(p, d)
	} else if err != nil {
		return fmt.Errorf("log %s: %w", p.Origin, err)
	}
	whole := true
	for _, k := range append(p.known, p.maybe...) {
		root, ok := r.roots[k.tree.N]
		if ok && root != k.tree.Hash {
			whole = false
			p.found(k.code, -1, "the first %d entries do not hash to %s", k.tree.N, k.what)
		}
		whole = whole && ok
	}
	a.blame(p, r, whole)
	if whole && d == nil && p.head().N <= p.size {
		p.verified = p.Version > 0 || p.fence != nil
		a.prove(p, s)
	}
	return nil
}

// pins adds the trees that quorums handed over. Of a log that ended, the fence alone says which history stands.
func (a *auditor) pins(p *plan) {
	if p.Fenced {
		return
	}
	for _, tree := range a.o.Chain.Pins(p.Origin) {
		p.maybe = append(p.maybe, known{tree, HistoryMismatch, "a tree that was handed over to a later configuration"})
	}
}

// shorten makes do with what is here of a log that ended, if its last entries are still being fetched.
func (a *auditor) shorten(p *plan) {
	if p.fence == nil || p.fence.Size == 0 {
		return
	}
	last := (p.fence.Size - 1) / width
	t := tlog.Tile{H: height, L: -1, N: last, W: int(p.fence.Size - last*width)}
	if _, _, err := a.tile(a.log(p.Origin), t); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	p.found(FencePending, -1, "the log ended at %d entries, and this folder does not have them all yet", p.fence.Size)
	p.fence, p.known, p.size = nil, nil, 0 // what is here may be another history than the one that stands
}

// unreadable reports where a replay ended.
func (a *auditor) unreadable(p *plan, d *damaged) {
	if d.missing {
		p.found(BundleMissing, d.index, "%d entries should be here; the file with this one is missing", p.size)
	} else {
		p.found(BundleDamaged, d.index, "the file that begins with this entry: %v", d.err)
	}
}

// blame reports the hash tiles that differ from the entries. If all roots are right, the tiles are wrong. If not, tiles
// that lead to the signed root show which entries are.
func (a *auditor) blame(p *plan, r *replay, whole bool) {
	p.More += r.more
	p.unclean = p.unclean || r.more > 0
	for _, s := range r.suspects {
		switch {
		case s.missing():
			p.found(TileMissing, -1, "%s is missing", s.name())
		case s.tile.L < 0:
			p.found(BundleDamaged, s.tile.N*width, "%s: %v", s.name(), s.err)
		case len(s.at) == 0 || whole || !a.vouched(p, r.dir, s):
			p.found(TileDamaged, -1, "%s: %v", s.name(), s.err)
		case s.tile.L == 0: // those of higher levels differ because of these
			for _, at := range s.at {
				p.found(EntryChanged, s.tile.N*width+int64(at), "it is not the entry that was signed: its hash tile leads to the signed root, its bytes do not")
			}
		}
	}
}

// vouched tells whether a hash tile leads to the final head where it differs from the entries.
func (a *auditor) vouched(p *plan, dir string, s suspect) bool {
	at := s.tile.N*width + int64(s.at[0])
	if (at+1)<<(height*s.tile.L) > p.final.N {
		return false
	}
	_, err := a.hashes(dir, p.final).ReadHashes([]int64{tlog.StoredHashIndex(height*s.tile.L, at)})
	return err == nil
}

// prove proves the sampled entries from the hash tiles, as a reader of the log does.
func (a *auditor) prove(p *plan, s *scan) {
	tree := p.head()
	hashes := a.hashes(a.log(p.Origin), tree)
	for _, i := range slices.Sorted(maps.Keys(s.sampled)) {
		path, err := tlog.ProveRecord(tree.N, i, hashes)
		if err == nil {
			err = tlog.CheckRecord(path, tree.N, tree.Hash, i, s.sampled[i])
		}
		if err != nil {
			p.found(Inclusion, i, "it is not proved from the hash tiles: %v", err)
			return // the tiles are reported one by one
		}
		p.Proved++
	}
}

// head is the tree that stands: the fence, or the final head.
func (p *plan) head() tlog.Tree {
	if p.fence != nil {
		return p.fence.Tree()
	}
	return p.final
}

// A scan looks at the entries of one log as they come by.
type scan struct {
	a       *auditor
	p       *plan
	rules   *rules
	facts   *view.Log // may be nil
	sampled map[int64]tlog.Hash
	tree    tlog.Tree
	cached  cached
	decoded []result // of the bundle that is being visited
	first   time.Time
	last    time.Time
}

// A result is what decoding an entry gave.
type result struct {
	entry entry.Entry
	err   error
}

// decode decodes the entries of a bundle on all processors: that is most of the work of an audit.
func (s *scan) decode(entries [][]byte) {
	s.decoded = make([]result, len(entries))
	n := min(runtime.GOMAXPROCS(0), 1+len(entries)/64)
	var wg sync.WaitGroup
	for k := range n {
		wg.Go(func() {
			for i := k * len(entries) / n; i < (k+1)*len(entries)/n; i++ {
				s.decoded[i].entry, s.decoded[i].err = entry.Decode(entries[i])
			}
		})
	}
	wg.Wait()
}

// stamp writes a time, and none as the empty string.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return entry.FormatTime(t)
}

// cached is the bundle of another log that was read last.
type cached struct {
	origin  string
	n       int64
	entries [][]byte
}

func (a *auditor) newScan(p *plan) *scan {
	s := &scan{a: a, p: p, rules: newRules(p.Owner), sampled: make(map[int64]tlog.Hash), tree: p.head()}
	for k := range int64(sample) {
		if s.tree.N > 0 {
			s.sampled[k*(s.tree.N-1)/(sample-1)] = tlog.Hash{}
		}
	}
	if a.facts != nil {
		s.facts = a.facts(p.Origin)
	}
	for _, cfg := range a.cfgs {
		s.rules.beats = append(s.rules.beats, time.Duration(cfg.BeatSeconds)*time.Second)
	}
	chain := a.o.Chain.Rules(p.Origin)
	s.rules.approved = func(i uint64, e entry.Entry) error { return network.CheckApprovals(chain, p.Origin, i, e) }
	s.rules.found, s.rules.offer = p.found, s.named
	s.rules.party = func(name string) bool {
		for _, cfg := range a.cfgs {
			if _, ok := cfg.Member(name); ok {
				return true
			}
		}
		return false
	}
	return s
}

func (s *scan) visit(at uint64, raw []byte) error {
	i, p := int64(at), s.p
	if _, ok := s.sampled[i]; ok {
		s.sampled[i] = tlog.RecordHash(raw)
	}
	e, err := s.decoded[at%width].entry, s.decoded[at%width].err
	if err != nil {
		p.Kinds[""]++
		p.found(EntryMalformed, i, "%v", err)
	} else {
		p.Kinds[e.Kind()]++
		if _, ok := e.(entry.Unknown); ok {
			p.found(KindUnknown, i, "of a kind or version that this software does not know: %q", e.Kind())
		}
	}
	if !s.rules.add(at, e) {
		p.Void++
	}
	if s.facts != nil && i < s.tree.N {
		s.facts.Add(e)
	}
	row := index.RowFor(p.Origin, p.Owner, at, e)
	s.indexed(row)
	s.checkTime(i, row.Time)
	return nil
}

// checkTime keeps the first and the last time, and remarks on entries from the future of their cosignatures.
func (s *scan) checkTime(i int64, at time.Time) {
	if at.Unix() == 0 {
		return // none
	}
	s.last = at
	if s.first.IsZero() {
		s.first = at
	}
	if i < s.p.final.N && !s.p.newest.IsZero() && at.After(s.p.newest.Add(allowance)) {
		s.p.found(EntryTime, i, "dated %s, and it was cosigned by %s", stamp(at), s.p.newest.Format(time.RFC3339))
	}
}

// named reads the entry that a reference names.
func (s *scan) named(ref entry.Ref) (entry.Entry, error) {
	other, ok := s.a.plans[ref.Origin]
	if !ok {
		if s.a.o.Origins != nil {
			return nil, errElsewhere
		}
		return nil, fmt.Errorf("%w: no configuration names that log", errAnother)
	}
	if ref.Index >= uint64(other.size) {
		return nil, errElsewhere
	}
	n, at := int64(ref.Index/width), int(ref.Index%width)
	if s.cached.entries == nil || s.cached.origin != ref.Origin || s.cached.n != n {
		t := tlog.Tile{H: height, L: -1, N: n, W: int(min(other.size-n*width, width))}
		data, w, err := s.a.tile(s.a.log(ref.Origin), t)
		if err != nil {
			return nil, errElsewhere
		}
		entries, _, err := split(data, w)
		if err != nil {
			return nil, errElsewhere
		}
		s.cached = cached{ref.Origin, n, entries}
	}
	raw := s.cached.entries[at]
	if entry.Hash(raw) != ref.Hash {
		return nil, errAnother
	}
	e, err := entry.Decode(raw)
	if err != nil {
		return nil, errAnother
	}
	return e, nil
}
