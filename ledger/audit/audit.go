// Package audit replays the logs in a store's folder from their tiles and checks everything that whoever holds the
// folder can check: that entries, hash tiles, roots, signatures, signer states and index agree, and that what each owner
// wrote is coherent. It shares no code with what wrote the files beyond the formats: roots and hash tiles are computed
// anew from the entries.
//
// It only reads. A gateway may be running on the folder: heads and states are read first and entries up to them after,
// so that what is written meanwhile is not looked at. Memory is bounded by what entries refer to, not by how many there
// are; only the index is held whole, as a gateway holds it.
//
// An audit of one folder shows that this copy is whole and was signed by a quorum. It cannot show that others hold the same
// (evidence of forks does) or that what owners wrote is true.
package audit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/tiles"
	"github.com/grille-gateway/grille/ledger/view"
)

// ErrNoLedger says that a folder holds no logs. Name the folder with logs/ in it: a gateway's is DIR/ledger.
var ErrNoLedger = errors.New("no ledger in this folder")

// A Chain is the configurations that led to the one in force, and what they fix.
type Chain interface {
	// Versions returns them, oldest first.
	Versions() []*network.Configuration
	// Pins returns the trees that a log must contain, as the newest configuration's quorum handed them over.
	Pins(origin string) []tlog.Tree
	// Rules returns a log's approval rules, as the newest configuration in which it was a member's log has them.
	Rules(origin string) []network.Approvers
}

// Options says what to audit.
type Options struct {
	Dir    string                 // folder of one store, or a copy of it
	Config *network.Configuration // trusted; not used if there is a chain
	Chain  Chain                  // trusted; may be nil. Links that the folder keeps lead on from either.

	Origins  []string                // logs to audit; nil: all
	Now      func() time.Time        // nil: time.Now
	FS       tiles.FS                // nil: the machine's. Of another one the index is not looked at.
	Workers  int                     // logs at once; 0: as many as processors
	Progress func(done, total int64) // entries read, of all there are; may be nil. Calls do not overlap.
}

// Run audits a folder. An error says that the audit could not be done; what it found is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	a, err := newAuditor(o, nil)
	if err == nil {
		err = a.run(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("auditing %s: %w", o.Dir, err)
	}
	return a.report, nil
}

// LoadChain extends a trusted chain by the links that a store's folder keeps, each verified. A folder without any gives
// the chain as it is. With an error, the chain that comes with it ends before the link that is none.
func LoadChain(dir string, chain *network.Chain) (*network.Chain, error) {
	longer, err := folder{tiles.OS(), dir}.links(chain)
	if err != nil {
		return longer, fmt.Errorf("reading the links in %s: %w", dir, err)
	}
	return longer, nil
}

// An auditor is one audit.
type auditor struct {
	folder
	o      Options
	cfgs   []*network.Configuration // newest first
	now    time.Time
	plans  map[string]*plan // by origin; fixed once entries are read
	order  []string
	report *Report
	facts  func(origin string) *view.Log // where the facts of a log go; may be nil
	index  *index.Index                  // nil if there is none

	total int64 // entries of all plans
	mu    sync.Mutex
	done  int64
}

// A plan is what is to be checked of one log, and what was read of it before its entries.
type plan struct {
	*Log
	final  tlog.Tree // zero if there is no readable head
	newest time.Time // of the final head's cosignatures
	known  []known   // trees that the entries must hash to
	maybe  []known   // trees that they must hash to if they reach so far
	size   int64     // entries to read: the largest of the known ones
	fence  *network.Fence
}

// A known tree is one that somebody signed or fixed.
type known struct {
	tree tlog.Tree
	code Code   // what it is if the entries have another root
	what string // who vouches for it
}

func newAuditor(o Options, facts func(string) *view.Log) (*auditor, error) {
	a := &auditor{folder: folder{o.FS, o.Dir}, o: o, plans: make(map[string]*plan), facts: facts}
	if a.fs == nil {
		a.fs = tiles.OS()
	}
	if o.Chain == nil && o.Config == nil {
		return nil, errors.New("no network configuration")
	}
	if ok, err := a.fs.Exists(a.path("logs")); err != nil || !ok {
		return nil, errors.Join(ErrNoLedger, err)
	}
	var broken error
	switch chain := o.Chain.(type) {
	case nil:
		a.o.Chain, broken = a.links(network.NewChain(o.Config))
	case *network.Chain:
		a.o.Chain, broken = a.links(chain)
	}
	a.cfgs = slices.Clone(a.o.Chain.Versions())
	slices.Reverse(a.cfgs)
	if a.o.Now == nil {
		a.o.Now = time.Now
	}
	a.now = a.o.Now()
	a.report = &Report{Instance: a.cfgs[0].Instance, Version: a.cfgs[0].Version, Digest: a.cfgs[0].Digest(), Began: a.now.UTC(), Problems: []Problem{}}
	if broken != nil {
		a.report.found(LinkInvalid, "", "%v", broken)
	}
	return a, nil
}

func (a *auditor) run(ctx context.Context) error {
	began := time.Now()
	for _, step := range []func() error{a.openIndex, a.readHeads, a.readStates, a.readEvidence} {
		if err := step(); err != nil {
			return errors.Join(err, a.closeIndex())
		}
	}
	for _, origin := range a.order {
		p := a.plans[origin]
		a.planIndex(p)
		for _, k := range p.known {
			p.size = max(p.size, k.tree.N)
		}
		a.shorten(p)
		a.total += p.size
	}
	if err := errors.Join(a.replayAll(ctx), a.closeIndex()); err != nil {
		return err
	}
	for _, origin := range a.order {
		a.report.Logs = append(a.report.Logs, a.plans[origin].Log)
	}
	a.report.Took = time.Since(began).Seconds()
	return nil
}

// origins lists the logs of all configurations, those of the newest first.
func (a *auditor) origins() []string {
	var out []string
	for _, cfg := range a.cfgs {
		for _, origin := range cfg.Logs() {
			if !slices.Contains(out, origin) && (a.o.Origins == nil || slices.Contains(a.o.Origins, origin)) {
				out = append(out, origin)
			}
		}
	}
	return out
}

// readHeads makes a plan of each log from its final head, its fence and its pins.
func (a *auditor) readHeads() error {
	for _, origin := range a.origins() {
		p := &plan{Log: &Log{Origin: origin, Kinds: make(map[string]int64), Heads: []Cosigned{}, Problems: []Problem{}}}
		for _, cfg := range a.cfgs {
			if _, owner, ok := cfg.LogKey(origin); ok {
				p.Owner = owner
				break
			}
		}
		a.plans[origin], a.order = p, append(a.order, origin)
		a.readHead(p)
		if f, ok := a.cfgs[0].Fence(origin); ok {
			p.fence, p.Fenced = &f, true
			p.known = append(p.known, known{f.Tree(), HistoryMismatch, "the fence in the network configuration"})
			if p.final.N > f.Size {
				p.found(FenceExceeded, -1, "the log ended at %d entries, and a final head has %d", f.Size, p.final.N)
			}
		}
	}
	return a.unknownLogs()
}

// unknownLogs remarks on folders of logs that no configuration names.
func (a *auditor) unknownLogs() error {
	names, err := a.folder.origins()
	if err != nil {
		return err
	}
	for _, origin := range names {
		if _, ok := a.plans[origin]; !ok && a.o.Origins == nil {
			a.report.found(LogUnknown, origin, "no configuration names the log %s; it was not looked at", origin)
		}
	}
	return nil
}

// readEvidence takes note of forks that were shown.
func (a *auditor) readEvidence() error {
	names, err := a.list(a.path("evidence"))
	if err != nil {
		return fmt.Errorf("listing evidence: %w", err)
	}
	keys := make([]evidence.Keys, len(a.cfgs))
	for i, cfg := range a.cfgs {
		keys[i] = cfg
	}
	for _, file := range names[:min(len(names), maxEvidence)] {
		data, err := a.fs.Read(a.path("evidence", file.Name()), evidence.MaxSize)
		var e evidence.Evidence
		if err == nil {
			e, err = evidence.Parse(data)
		}
		var f evidence.Finding
		if err == nil {
			f, err = e.Verify(keys...)
		}
		if err != nil {
			a.report.found(EvidenceUnproven, "", "evidence/%s: %v", file.Name(), err)
		} else if p, ok := a.plans[f.Origin]; ok {
			p.found(Forked, -1, "%s signed two histories, which part before entry %d (evidence/%s)%s", f.Owner, f.First.N, file.Name(), alike(f))
		}
	}
	return nil
}

func alike(f evidence.Finding) string {
	if len(f.Mirrors) == 0 {
		return ""
	}
	return fmt.Sprintf("; both were cosigned by %v", f.Mirrors)
}

// replayAll reads the entries of all logs, some logs at once.
func (a *auditor) replayAll(ctx context.Context) error {
	workers := a.o.Workers
	if workers < 1 {
		workers = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(a.order))
	slots := make(chan struct{}, workers)
	var wg sync.WaitGroup
	for i, origin := range a.order {
		slots <- struct{}{}
		wg.Go(func() {
			if errs[i] = a.replayLog(ctx, a.plans[origin]); errs[i] != nil {
				cancel()
			}
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs { // the first that was not only told to stop
		if err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return errors.Join(errs...)
}

// progress counts entries that were read.
func (a *auditor) progress(n int64) {
	if a.o.Progress == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done += n
	a.o.Progress(a.done, a.total)
}
