// Package view answers what holds below a size N of one log: which declaration, epoch, policy and agreement were newest
// and in force there. A Log gathers facts as entries arrive; a View is a Log read as of one size, and costs nothing to
// make. Facts are indexes in ascending order, so a view finds its answer by binary search.
//
// What an owner writes counts only where it is approved as the network configuration asks, and coherent: an epoch that names a declaration of its own dataset and grows,
// the first publication of a policy version, the first acceptance of an offer, a revocation of an acceptance, the first scope
// of a name and of a key. Everything else is kept and void.
package view

import (
	"slices"
	"sync"

	"github.com/grille-gateway/grille/ledger/entry"
)

type policyKey struct {
	name    string
	version int
}

// A Log holds the facts of one log. It is safe for concurrent use; Add is called in the order of entries.
type Log struct {
	mu       sync.RWMutex
	size     uint64
	declares map[string]*facts[entry.DatasetDeclare]
	epochs   map[string]*facts[epoch]
	policies map[policyKey]fact[entry.PolicyPublish]
	order    facts[policyKey]
	retired  map[policyKey]uint64
	offers   facts[entry.AgreementOffer]
	accepts  facts[entry.AgreementAccept]
	rejects  facts[entry.AgreementReject]
	groups   map[string]*facts[entry.GroupDefine]
	accepted map[entry.Ref]uint64 // offer -> its acceptance
	granted  map[uint64][]uint64  // policy.publish -> acceptances that are about it
	revoked  map[uint64]uint64    // accept -> index of its first revoke
	withdrew map[uint64]uint64    // offer -> index of its first withdraw
	batches  facts[batch]
	keys     map[string]*facts[entry.CircuitKeys] // by circuit
	scopes   scopes
	programs programs
	void     []uint64
	approved Approval
}

// An Approval reports whether an entry at an index carries the approvals that the network configuration asks for there.
type Approval func(index uint64, e entry.Entry) bool

// NewLog returns the facts of an empty log on which nothing needs approvals.
func NewLog() *Log { return NewApprovedLog(func(uint64, entry.Entry) bool { return true }) }

// NewApprovedLog returns the facts of an empty log on which an entry that is not approved is void.
func NewApprovedLog(approved Approval) *Log {
	return &Log{
		approved: approved,
		groups:   make(map[string]*facts[entry.GroupDefine]),
		keys:     make(map[string]*facts[entry.CircuitKeys]),
		declares: make(map[string]*facts[entry.DatasetDeclare]),
		epochs:   make(map[string]*facts[epoch]),
		policies: make(map[policyKey]fact[entry.PolicyPublish]),
		retired:  make(map[policyKey]uint64),
		accepted: make(map[entry.Ref]uint64),
		granted:  make(map[uint64][]uint64),
		revoked:  make(map[uint64]uint64),
		withdrew: make(map[uint64]uint64),
		scopes:   newScopes(),
		programs: newPrograms(),
	}
}

// Size returns the number of entries added.
func (l *Log) Size() uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.size
}

// Add takes the next entry of the log.
func (l *Log) Add(e entry.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.add(l.size, e) {
		l.void = append(l.void, l.size)
	}
	l.size++
}

// add reports whether the entry counts.
func (l *Log) add(i uint64, e entry.Entry) bool {
	if !l.approved(i, e) {
		return false
	}
	switch e := e.(type) {
	case entry.DatasetDeclare:
		add(l.declares, e.Dataset, i, e)
	case entry.DatasetEpoch:
		return l.addEpoch(i, e)
	case entry.PolicyPublish:
		k := policyKey{e.Policy, e.Version}
		_, again := l.policies[k]
		if _, ok := l.declares[e.Dataset].at(e.Declare, i); again || !ok {
			return false
		}
		l.policies[k] = fact[entry.PolicyPublish]{i, e}
		l.order.add(i, k)
	case entry.PolicyRetire:
		k := policyKey{e.Policy, e.Version}
		_, ok := l.policies[k]
		return ok && first(l.retired, k, i)
	case entry.AgreementOffer:
		l.offers.add(i, e)
	case entry.AgreementAccept:
		if !first(l.accepted, e.Offer, i) { // a second right would be a second budget
			return false
		}
		l.accepts.add(i, e)
		l.granted[e.Terms.PolicyIndex] = append(l.granted[e.Terms.PolicyIndex], i)
	case entry.AgreementReject:
		l.rejects.add(i, e)
	case entry.AgreementRevoke:
		_, ok := l.accepts.at(e.Accept, i)
		return ok && first(l.revoked, e.Accept, i)
	case entry.AgreementWithdraw:
		_, ok := l.offers.at(e.Offer, i)
		return ok && first(l.withdrew, e.Offer, i)
	case entry.GroupDefine:
		if last, _, some := l.groups[e.Group].newest(i); some && e.Version <= last.Version {
			return false
		}
		add(l.groups, e.Group, i, e)
	case entry.ReceiptsBatch:
		return l.addBatch(i, e)
	case entry.CircuitKeys:
		add(l.keys, e.Circuit, i, e)
	case entry.ScopeOpen:
		return l.scopes.open(i, e)
	case entry.ScopeClose:
		return l.scopes.close(i, e)
	case entry.ClaimsBatch:
		return l.scopes.claims(i, e)
	case entry.ProgramPublish:
		return l.programs.publish(i, e)
	case entry.ProgramRetire:
		return l.programs.retire(i, e)
	case entry.CaseDecision:
		return l.programs.decide(i, e)
	default:
		return false
	}
	return true
}

func first[K comparable](m map[K]uint64, k K, i uint64) bool {
	if _, ok := m[k]; ok {
		return false
	}
	m[k] = i
	return true
}

func (l *Log) addEpoch(i uint64, e entry.DatasetEpoch) bool {
	if _, ok := l.declares[e.Dataset].at(e.Declare, i); !ok {
		return false
	}
	next, ok := newEpoch(e)
	if last, _, some := l.epochs[e.Dataset].newest(i); !ok || some && e.Epoch <= last.epoch {
		return false
	}
	add(l.epochs, e.Dataset, i, next)
	return true
}

// add appends to the list of a name.
func add[T any](m map[string]*facts[T], name string, i uint64, value T) {
	f := m[name]
	if f == nil {
		f = new(facts[T])
		m[name] = f
	}
	f.add(i, value)
}

// addBatch takes a batch if its beat is after all earlier ones: one beat has one root.
func (l *Log) addBatch(i uint64, e entry.ReceiptsBatch) bool {
	last, _, some := l.batches.newest(i)
	next, ok := newBatch(e, last.epochs)
	if !ok || some && e.Beat <= last.beat {
		return false
	}
	l.batches.add(i, next)
	return true
}

// At returns the log as of a size; a size beyond the entries added is cut to them.
func (l *Log) At(size uint64) *View {
	return &View{log: l, size: min(size, l.Size())}
}

// A View is one log as of one size. It stays what it is while the log grows.
type View struct {
	log  *Log
	size uint64
}

// Size returns the size it is as of.
func (v *View) Size() uint64 { return v.size }

// Dataset returns the newest declaration of a dataset and its index.
func (v *View) Dataset(name string) (entry.DatasetDeclare, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	return v.log.declares[name].newest(v.size)
}

// Declare returns the declaration at exactly that index.
func (v *View) Declare(index uint64) (entry.DatasetDeclare, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	for _, f := range v.log.declares {
		if d, ok := f.at(index, v.size); ok {
			return d, true
		}
	}
	return entry.DatasetDeclare{}, false
}

// Datasets returns the names of all datasets declared, ascending.
func (v *View) Datasets() []string {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	var out []string
	for name, f := range v.log.declares {
		if f.below(v.size) > 0 {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// Epoch returns the newest epoch of a dataset and its index.
func (v *View) Epoch(dataset string) (entry.DatasetEpoch, uint64, bool) {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	e, i, ok := v.log.epochs[dataset].newest(v.size)
	if !ok {
		return entry.DatasetEpoch{}, 0, false
	}
	return e.entry(dataset), i, true
}

// Void reports whether the entry at index is without effect: malformed, of an unknown kind, or incoherent.
func (v *View) Void(index uint64) bool {
	v.log.mu.RLock()
	defer v.log.mu.RUnlock()
	_, found := slices.BinarySearch(v.log.void, index)
	return found && index < v.size
}
