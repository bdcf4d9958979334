package audit

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/grille-gateway/grille/ledger/entry"
)

// rules follow one log from entry to entry and say which of them do not count, and why. They are those of ledger/view,
// with a reason, and with what only other logs and the configuration can tell. They keep what entries name, not the
// entries: epochs and batches, of which a log has most, take one place for each dataset.
type rules struct {
	owner string
	beats []time.Duration                                    // the lengths that a beat had or has
	offer func(ref entry.Ref) (entry.Entry, error)           // the entry that a reference names
	party func(member string) bool                           // whether a member is or was one
	found func(c Code, index int64, format string, a ...any) // reports
	epoch map[string]epochs                                  // by dataset
	decl  map[string][]uint64                                // declarations by dataset, ascending

	policies map[policyKey]uint64
	retired  map[policyKey]bool
	offers   []uint64
	accepts  []uint64
	accepted map[entry.Ref]bool
	revoked  map[uint64]bool
	withdrew map[uint64]bool
	beat     beats
	scopes   scopes
	programs programs
	groups   map[string]int                          // newest version
	approved func(index uint64, e entry.Entry) error // nil: nothing needs approvals
}

type policyKey struct {
	name    string
	version int
}

// epochs is the newest epoch of a dataset that counts.
type epochs struct{ number, index uint64 }

// beats counts the receipts batches of a log.
type beats struct {
	last         uint64
	logged       int64
	missed, late int64
}

// Errors of a reference into another log.
var (
	errElsewhere = errors.New("this folder has less of that log")
	errAnother   = errors.New("another entry stands there")
)

func newRules(owner string) *rules {
	return &rules{owner: owner, epoch: make(map[string]epochs), decl: make(map[string][]uint64),
		policies: make(map[policyKey]uint64), retired: make(map[policyKey]bool),
		accepted: make(map[entry.Ref]bool), revoked: make(map[uint64]bool), withdrew: make(map[uint64]bool), scopes: newScopes(),
		programs: newPrograms(), groups: make(map[string]int)}
}

// add takes the next entry and reports whether it counts (ledger/view).
func (r *rules) add(i uint64, e entry.Entry) bool {
	if r.approved != nil {
		if err := r.approved(i, e); err != nil {
			return r.void(ApprovalMissing, i, "%v", err)
		}
	}
	switch e := e.(type) {
	case entry.DatasetDeclare:
		r.decl[e.Dataset] = append(r.decl[e.Dataset], i)
	case entry.DatasetEpoch:
		return r.addEpoch(i, e)
	case entry.PolicyPublish:
		return r.addPolicy(i, e)
	case entry.PolicyRetire:
		return r.retire(i, e)
	case entry.AgreementOffer:
		r.offers = append(r.offers, i)
		if e.Terms.Requester != r.owner || !r.party(e.Terms.Holder) {
			r.found(OfferParty, int64(i), "offers terms between %s and %s", e.Terms.Requester, e.Terms.Holder)
		}
	case entry.AgreementAccept:
		if !first(r, r.accepted, e.Offer, AcceptAgain, i) {
			return false
		}
		r.accepts = append(r.accepts, i)
		r.checkAccept(i, e)
	case entry.AgreementReject:
		if _, err := r.offer(e.Offer); err != nil {
			r.foreign(RejectOffer, i, e.Offer, err)
		}
	case entry.AgreementRevoke:
		if _, ok := slices.BinarySearch(r.accepts, e.Accept); !ok {
			return r.void(RevokeUnknown, i, "revokes entry %d, which is no acceptance before it", e.Accept)
		}
		return first(r, r.revoked, e.Accept, RevokeAgain, i)
	case entry.AgreementWithdraw:
		if _, ok := slices.BinarySearch(r.offers, e.Offer); !ok {
			return r.void(WithdrawUnknown, i, "withdraws entry %d, which is no offer before it", e.Offer)
		}
		return first(r, r.withdrew, e.Offer, WithdrawAgain, i)
	case entry.GroupDefine:
		if last, ok := r.groups[e.Group]; ok && e.Version <= last {
			return r.void(GroupOrder, i, "version %d of group %q follows version %d", e.Version, e.Group, last)
		}
		r.groups[e.Group] = e.Version
	case entry.ReceiptsBatch:
		return r.addBatch(i, e)
	case entry.CircuitKeys:
	case entry.ScopeOpen:
		return r.openScope(i, e)
	case entry.ScopeClose:
		return r.closeScope(i, e)
	case entry.ClaimsBatch:
		return r.addClaims(i, e)
	case entry.ProgramPublish:
		return first(r, r.programs.published, policyKey{e.Program, e.Version}, ProgramAgain, i)
	case entry.ProgramRetire:
		return r.retireProgram(i, e)
	case entry.CaseDecision:
		return first(r, r.programs.decided, e.Digest, DecisionAgain, i)
	default:
		return false
	}
	return true
}

func (r *rules) retire(i uint64, e entry.PolicyRetire) bool {
	k := policyKey{e.Policy, e.Version}
	if _, ok := r.policies[k]; !ok {
		return r.void(RetireUnknown, i, "retires %s version %d, which is not published before it", e.Policy, e.Version)
	}
	return first(r, r.retired, k, RetireAgain, i)
}

func (r *rules) void(c Code, i uint64, format string, a ...any) bool {
	r.found(c, int64(i), format, a...)
	return false
}

func first[K comparable](r *rules, m map[K]bool, k K, again Code, i uint64) bool {
	if m[k] {
		return r.void(again, i, "was done before")
	}
	m[k] = true
	return true
}

// declared tells whether entry index declares the dataset. It stands below the entry that names it: later ones are not
// known yet.
func (r *rules) declared(dataset string, index uint64) bool {
	_, ok := slices.BinarySearch(r.decl[dataset], index)
	return ok
}

func (r *rules) addEpoch(i uint64, e entry.DatasetEpoch) bool {
	if !r.declared(e.Dataset, e.Declare) {
		return r.void(EpochUndeclared, i, "epoch %d of %q names entry %d, which does not declare it", e.Epoch, e.Dataset, e.Declare)
	}
	if last, ok := r.epoch[e.Dataset]; ok && e.Epoch <= last.number {
		return r.void(EpochOrder, i, "epoch %d of %q follows epoch %d", e.Epoch, e.Dataset, last.number)
	}
	r.epoch[e.Dataset] = epochs{e.Epoch, i}
	return true
}

func (r *rules) addPolicy(i uint64, e entry.PolicyPublish) bool {
	k := policyKey{e.Policy, e.Version}
	if _, ok := r.policies[k]; ok {
		return r.void(PolicyAgain, i, "%s version %d was published before", e.Policy, e.Version)
	}
	if !r.declared(e.Dataset, e.Declare) {
		return r.void(PolicyUndeclared, i, "policy %s names entry %d, which does not declare %q", e.Policy, e.Declare, e.Dataset)
	}
	r.policies[k] = i
	return true
}

// checkAccept compares an acceptance with its offer and policy. It counts all the same: the holder's log alone decides.
func (r *rules) checkAccept(i uint64, e entry.AgreementAccept) {
	t := e.Terms
	if at, ok := r.policies[policyKey{t.Policy, t.PolicyVersion}]; !ok || at != t.PolicyIndex {
		r.found(AcceptPolicy, int64(i), "entry %d is not %s version %d", t.PolicyIndex, t.Policy, t.PolicyVersion)
	}
	named, err := r.offer(e.Offer)
	if err != nil {
		r.foreign(AcceptOffer, i, e.Offer, err)
		return
	}
	offer, ok := named.(entry.AgreementOffer)
	switch {
	case !ok:
		r.found(AcceptOffer, int64(i), "entry %d of %s is no offer", e.Offer.Index, e.Offer.Origin)
	case !offer.Terms.Equal(&t) || t.Holder != r.owner:
		r.found(AcceptTerms, int64(i), "the terms are not those of the offer, or of another holder")
	}
}

// foreign reports a reference that leads nowhere.
func (r *rules) foreign(c Code, i uint64, ref entry.Ref, err error) {
	if errors.Is(err, errElsewhere) {
		c = OfferElsewhere
	}
	r.found(c, int64(i), "names entry %d of %s: %v", ref.Index, ref.Origin, err)
}

func (r *rules) addBatch(i uint64, e entry.ReceiptsBatch) bool {
	if r.beat.logged > 0 && e.Beat <= r.beat.last {
		return r.void(BeatOrder, i, "beat %d follows beat %d", e.Beat, r.beat.last)
	}
	if r.beat.logged > 0 {
		r.beat.missed += int64(min(e.Beat-r.beat.last-1, 1<<40))
	}
	r.beat.last = e.Beat
	r.beat.logged++
	r.checkGrid(i, e)
	if !r.newest(e.Epochs) {
		r.found(BeatEpochs, int64(i), "beat %d: %s", e.Beat, r.difference(e.Epochs))
	}
	return true
}

// newest tells whether a batch names exactly the newest epochs.
func (r *rules) newest(got map[string]uint64) bool {
	for name, at := range got {
		if e, ok := r.epoch[name]; !ok || e.index != at {
			return false
		}
	}
	return len(got) == len(r.epoch)
}

// difference names one dataset whose epoch a batch does not give as the log does.
func (r *rules) difference(got map[string]uint64) string {
	for _, name := range slices.Sorted(maps.Keys(r.epoch)) {
		want := r.epoch[name].index
		if at, ok := got[name]; !ok {
			return fmt.Sprintf("leaves out %q, whose newest epoch is entry %d", name, want)
		} else if at != want {
			return fmt.Sprintf("says that the newest epoch of %q is entry %d; it is entry %d", name, at, want)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := r.epoch[name]; !ok {
			return fmt.Sprintf("names an epoch of %q, which has none", name)
		}
	}
	return "" // they are the same
}

// checkGrid compares a batch's time with its beat: it is logged after the beat ended, and in time for the promises made
// in it before the second beat after it begins. A beat is Unix time divided by its length, which a configuration sets.
func (r *rules) checkGrid(i uint64, e entry.ReceiptsBatch) {
	logged, err := entry.ParseTime(e.Time)
	if err != nil || len(r.beats) == 0 {
		return // Decode refuses other times
	}
	late, early := true, true
	for _, length := range r.beats {
		s := uint64(length / time.Second)
		at := uint64(max(0, logged.Unix()))
		early = early && (at+uint64(allowance/time.Second))/s < e.Beat+1
		late = late && (at/s > e.Beat+2 || at/s == e.Beat+2 && at%s > 0)
	}
	if early {
		r.found(BeatGrid, int64(i), "beat %d was not over at %s", e.Beat, e.Time)
	}
	if late {
		r.beat.late++
	}
}
