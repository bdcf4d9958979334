// Package officer shows what a gateway recorded to those who oversee it: its privacy officer, without naming anybody, and a person,
// about that person alone.
package officer

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/exchange/trace"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// Options says what an Officer works with.
type Options struct {
	Config    *network.Configuration
	Member    string
	Key       ed25519.PrivateKey // the member's query key: signs files
	Ledger    *ledger.Store
	Book      *receipt.Book
	Holder    *holder.Holder
	Requester *requester.Requester
	Now       func() time.Time
	Logger    *slog.Logger
}

// An Officer makes lists and files. It is safe for concurrent use. What it must remember (tokens) is in the journal; Replay takes
// it back.
type Officer struct {
	opts   Options
	making sync.Mutex // one file or list at a time: each reads the whole journal

	mu     sync.Mutex // guards what follows
	tokens map[receipt.Hash]token
}

// New makes an officer with nothing remembered.
func New(opts Options) *Officer {
	return &Officer{opts: opts, tokens: map[receipt.Hash]token{}}
}

// A Filter says which queries are wanted. Empty fields match everything.
type Filter struct {
	Role, Peer, Policy, Purpose, Case string
	Outcome                           string // a verdict, refused, rejected or asked; or a refusal's code
	Since, Until                      string // of issue, RFC 3339 in UTC: Since or later, before Until
	Broken                            bool   // only those whose promise was not kept in time
}

// matches compares times as texts: they have one form.
func (f *Filter) matches(r *trace.Record) bool {
	q := r.Asks()
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Role, r.Role) && is(f.Peer, r.Peer()) && is(f.Policy, q.Policy) && is(f.Purpose, q.Purpose) && is(f.Case, q.Case) &&
		(is(f.Outcome, r.Outcome) || f.Outcome == r.Code) && q.Issued >= f.Since && (f.Until == "" || q.Issued < f.Until) &&
		(!f.Broken || r.Broken != "")
}

// List returns the newest records that match, at most limit, newest first. They have no paths.
func (o *Officer) List(f Filter, limit int) ([]*trace.Record, error) {
	o.making.Lock()
	defer o.making.Unlock()
	var found []*trace.Record
	collect := func(r *trace.Record) error {
		if !f.matches(r) {
			return nil
		}
		if found = append(found, r); len(found) >= 2*limit {
			found = newest(found, limit)
		}
		return nil
	}
	if err := o.each(collect); err != nil {
		return nil, err
	}
	found = newest(found, limit)
	slices.Reverse(found)
	return found, nil
}

// newest keeps the last records in order.
func newest(records []*trace.Record, limit int) []*trace.Record {
	slices.SortFunc(records, trace.Order)
	return slices.Clone(records[max(0, len(records)-limit):])
}

// each hands over what was answered and what was asked.
func (o *Officer) each(use func(*trace.Record) error) error {
	answered := func(r *trace.Record) error { r.Nonce = ""; return use(r) }
	if err := o.opts.Holder.Traces(nil, answered); err != nil {
		return fmt.Errorf("reading what was answered: %w", err)
	}
	if err := o.opts.Requester.Traces(nil, use); err != nil {
		return fmt.Errorf("reading what was asked: %w", err)
	}
	return nil
}

// Export writes a receipts file of every query issued in a time, with one member if peer is set. Since and until may be empty. It
// returns trace.ErrTooMuch when one file does not hold them.
func (o *Officer) Export(since, until, peer string) ([]byte, error) {
	o.making.Lock()
	defer o.making.Unlock()
	f := o.file(trace.KindReceipts)
	f.Since, f.Until, f.Peer = since, until, peer
	want := Filter{Since: since, Until: until, Peer: peer}
	err := o.each(func(r *trace.Record) error {
		if !want.matches(r) {
			return nil
		}
		if len(f.Records) == trace.MaxRecords {
			return trace.ErrTooMuch
		}
		f.Records = append(f.Records, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return o.finish(f)
}

func (o *Officer) file(kind string) *trace.File {
	return &trace.File{Version: 1, Kind: kind, Instance: o.opts.Config.Instance, Member: o.opts.Member,
		Made: entry.FormatTime(o.opts.Now()), Records: []*trace.Record{}}
}

// finish adds the paths of all receipts whose batches are final, and signs.
func (o *Officer) finish(f *trace.File) ([]byte, error) {
	slices.SortFunc(f.Records, trace.Order)
	logs := &logs{o: o, of: map[string]*log{}}
	if err := logs.open(o.opts.Member); err != nil { // an empty file, too, shows a head
		return nil, err
	}
	for _, r := range f.Records {
		if err := o.paths(logs, r); err != nil {
			return nil, err
		}
	}
	var err error
	if f.Logs, err = logs.all(); err != nil {
		return nil, err
	}
	data, err := f.Sign(o.opts.Key)
	if err != nil {
		return nil, fmt.Errorf("writing a file of receipts: %w", err)
	}
	return data, nil
}

// paths fills in where a record's receipts stand.
func (o *Officer) paths(logs *logs, r *trace.Record) error {
	var err error
	if r.Role == trace.RoleAnswered {
		p := r.Promised()
		r.Path, err = o.own(logs, p.Beat, p.Place)
		return err
	}
	if r.Asked.Path, err = o.own(logs, r.Asked.Beat, r.Asked.Place); err != nil || r.Path == nil {
		return err
	}
	p := r.Promised()
	known, err := logs.uses(p.Member, p.Beat)
	if !known { // under an earlier name of the log, which this replica does not head any more
		r.Path = nil
	}
	return err
}

// own is the path of one of this member's receipts, or nil while its batch is not final.
func (o *Officer) own(logs *logs, beat uint64, place uint32) ([]receipt.Hash, error) {
	known, err := logs.uses(o.opts.Member, beat)
	if !known || err != nil {
		return nil, err
	}
	proof, _, err := o.opts.Book.Prove(beat, place)
	if err != nil {
		return nil, fmt.Errorf("proving a receipt: %w", err)
	}
	return proof.Path, nil
}

// logs collects the heads and batches of one file.
type logs struct {
	o  *Officer
	of map[string]*log // by member; nil for one without a final head here
}

type log struct {
	head    ledger.Head
	batches map[uint64]bool // indexes
}

func (l *logs) open(member string) error {
	origin := l.o.opts.Config.Origin(member)
	head, ok := l.o.opts.Ledger.Final(origin)
	if !ok && member == l.o.opts.Member {
		return fmt.Errorf("reading the head of this member's log: %w", ErrNotFinal)
	}
	if l.of[member] = nil; ok {
		l.of[member] = &log{head, map[uint64]bool{}}
	}
	return nil
}

// uses notes that a record leads to the batch of a beat, and says whether that batch is final.
func (l *logs) uses(member string, beat uint64) (bool, error) {
	if _, opened := l.of[member]; !opened {
		if err := l.open(member); err != nil {
			return false, err
		}
	}
	at := l.of[member]
	if at == nil {
		return false, nil
	}
	_, index, ok := l.o.opts.Ledger.View(l.o.opts.Config.Origin(member), at.head.Size).Batch(beat)
	if ok {
		at.batches[index] = true
	}
	return ok, nil
}

// all reads the batches with their places under the heads.
func (l *logs) all() ([]trace.Log, error) {
	var list []trace.Log
	for member, at := range l.of {
		if at == nil {
			continue
		}
		origin := l.o.opts.Config.Origin(member)
		one := trace.Log{Origin: origin, Checkpoint: string(at.head.Checkpoint), Batches: []bundle.Entry{}}
		for index := range at.batches {
			e, err := bundle.Include(l.o.opts.Ledger, origin, index, at.head.Size)
			if err != nil {
				return nil, err
			}
			one.Batches = append(one.Batches, e)
		}
		slices.SortFunc(one.Batches, func(a, b bundle.Entry) int {
			if a.Index < b.Index {
				return -1
			}
			return 1
		})
		list = append(list, one)
	}
	slices.SortFunc(list, func(a, b trace.Log) int { return slices.Compare([]string{a.Origin}, []string{b.Origin}) })
	return list, nil
}
