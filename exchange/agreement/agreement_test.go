package agreement

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/view"
)

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// terms are of an agreement that allows use, unless a change spoils it.
func terms(change func(*entry.Terms)) entry.Terms {
	t := entry.Terms{Requester: "GOV/benefits", Holder: "GOV/tax", Policy: "aged", PolicyVersion: 2, PolicyIndex: 7, Purpose: "p", LegalBasis: "l",
		Disclose: []string{"age", "town"}, Expires: entry.FormatTime(now)}
	if change != nil {
		change(&t)
	}
	return t
}

func ranged(t *entry.Terms) { t.AsOfFrom, t.AsOfTo = "2026-03-01", "2026-03-09" }

func wanted() Use {
	return Use{Requester: "GOV/benefits", Holder: "GOV/tax", Policy: "aged", PolicyVersion: 2, PolicyIndex: 7, Purpose: "p", LegalBasis: "l", At: now}
}

// logOf is a log of acceptances; the one at index i accepts the offer at index 100+i.
func logOf(all ...entry.Terms) *view.Log {
	l := view.NewLog()
	for i, t := range all {
		l.Add(entry.AgreementAccept{Offer: entry.Ref{Origin: "o", Index: uint64(100 + i)}, Terms: t})
	}
	return l
}

func TestFindAllowsExactlyTheTerms(t *testing.T) {
	for name, c := range map[string]struct {
		terms func(*entry.Terms)
		use   func(*Use)
		why   string
	}{
		"as agreed":              {nil, nil, ""},
		"at its last second":     {nil, func(u *Use) { u.At = now }, ""},
		"a second later":         {nil, func(u *Use) { u.At = now.Add(time.Second) }, Expired},
		"one column":             {nil, func(u *Use) { u.Disclose = []string{"town"} }, ""},
		"a column more":          {nil, func(u *Use) { u.Disclose = []string{"age", "income"} }, OtherDisclosures},
		"none agreed":            {func(t *entry.Terms) { t.Disclose = nil }, func(u *Use) { u.Disclose = []string{"age"} }, OtherDisclosures},
		"another purpose":        {func(t *entry.Terms) { t.Purpose = "q" }, nil, OtherPurpose},
		"another basis":          {func(t *entry.Terms) { t.LegalBasis = "q" }, nil, OtherPurpose},
		"purpose in other case":  {func(t *entry.Terms) { t.Purpose = "P" }, nil, OtherPurpose},
		"another requester":      {func(t *entry.Terms) { t.Requester = "GOV/health" }, nil, NoAgreement},
		"another holder":         {func(t *entry.Terms) { t.Holder = "GOV/health" }, nil, NoAgreement},
		"another policy":         {func(t *entry.Terms) { t.Policy = "rich" }, nil, NoAgreement},
		"another version":        {func(t *entry.Terms) { t.PolicyVersion = 1 }, nil, NoAgreement},
		"another policy's entry": {func(t *entry.Terms) { t.PolicyIndex = 8 }, nil, NoAgreement},
		"expiry unreadable":      {func(t *entry.Terms) { t.Expires = "never" }, nil, Expired},
		"a day, none agreed":     {nil, func(u *Use) { u.AsOf = "2026-03-01" }, OtherDates},
		"a day of the range":     {ranged, func(u *Use) { u.AsOf = "2026-03-01" }, ""},
		"the current day":        {ranged, nil, ""},
		"a day before the range": {ranged, func(u *Use) { u.AsOf = "2026-02-28" }, OtherDates},
		"a day after the range":  {ranged, func(u *Use) { u.AsOf = "2026-03-10" }, OtherDates},
		"withdrawn":              {nil, func(u *Use) { u.Withdrawn = func(entry.Ref) bool { return true } }, NoAgreement},
	} {
		u := wanted()
		if c.use != nil {
			c.use(&u)
		}
		if _, why := Find(logOf(terms(c.terms)).At(1), u); why != c.why {
			t.Errorf("%s: %q, want %q", name, why, c.why)
		}
	}
}

func TestFindTakesTheNewestAndNamesTheNearest(t *testing.T) {
	purpose := func(t *entry.Terms) { t.Purpose = "q" }
	expired := func(t *entry.Terms) { t.Expires = "2001-01-01T00:00:00Z" }
	closed := func(t *entry.Terms) { t.Disclose = nil }
	u := wanted()
	u.Disclose = []string{"age"}
	for name, c := range map[string]struct {
		log  *view.Log
		want uint64
		why  string
	}{
		"nothing":                          {logOf(), 0, NoAgreement},
		"newest of two":                    {logOf(terms(nil), terms(nil)), 1, ""},
		"older one, newer does not allow":  {logOf(terms(nil), terms(closed), terms(purpose)), 0, ""},
		"purpose before expiry":            {logOf(terms(purpose), terms(expired)), 0, Expired},
		"expiry before disclosure":         {logOf(terms(closed), terms(expired)), 0, OtherDisclosures},
		"the order does not matter":        {logOf(terms(expired), terms(closed), terms(purpose)), 0, OtherDisclosures},
		"purpose, where nothing is nearer": {logOf(terms(purpose), terms(func(t *entry.Terms) { t.Policy = "rich" })), 0, OtherPurpose},
	} {
		right, why := Find(c.log.At(c.log.Size()), u)
		if why != c.why || why == "" && (right.Index != c.want || right.Offer.Index != 100+c.want) {
			t.Errorf("%s: %d %q, want %d %q", name, right.Index, why, c.want, c.why)
		}
	}
}

func TestFindReadsTheLogAsOfItsSize(t *testing.T) {
	l := logOf(terms(nil), terms(nil))
	l.Add(entry.AgreementRevoke{Accept: 1})
	for size, want := range map[uint64]uint64{1: 0, 2: 1, 3: 0} {
		if right, why := Find(l.At(size), wanted()); why != "" || right.Index != want {
			t.Errorf("below %d: %d %q, want %d", size, right.Index, why, want)
		}
	}
	if _, why := Find(l.At(0), wanted()); why != NoAgreement {
		t.Errorf("below 0: %q", why)
	}
	u := wanted()
	u.Withdrawn = func(offer entry.Ref) bool { return offer.Index == 101 }
	if right, why := Find(l.At(2), u); why != "" || right.Index != 0 {
		t.Errorf("the newer offer is withdrawn: %d %q", right.Index, why)
	}
}

func TestBudgetCommitmentBindsAndHides(t *testing.T) {
	b, err := NewBudget(2, 50)
	if err != nil {
		t.Fatal(err)
	}
	again := b
	if again.Commitment() != b.Commitment() || len(b.Commitment()) != 64 {
		t.Fatal("a commitment is not a function of its budget")
	}
	for name, other := range map[string]Budget{
		"per subject": {PerSubject: 3, Total: 50, Salt: b.Salt}, "total": {PerSubject: 2, Total: 51, Salt: b.Salt},
		"swapped": {PerSubject: 50, Total: 2, Salt: b.Salt}, "salt": {PerSubject: 2, Total: 50, Salt: receipt.Sum("other")},
	} {
		if other.Commitment() == b.Commitment() {
			t.Errorf("%s: two budgets have one commitment", name)
		}
	}
	if c, err := NewBudget(2, 50); err != nil || c.Commitment() == b.Commitment() {
		t.Errorf("equal numbers show: %v", err)
	}
	for _, bad := range []Budget{{}, {PerSubject: 1}, {Total: 1}, {PerSubject: 2, Total: 1}, {PerSubject: -1, Total: 5}} {
		if err := bad.Check(); !errors.Is(err, ErrTerms) {
			t.Errorf("%+v: %v", bad, err)
		}
		if _, err := NewBudget(bad.PerSubject, bad.Total); !errors.Is(err, ErrTerms) {
			t.Errorf("%+v was made", bad)
		}
	}
}

// TestMeterUnderLoad has many queries reserve at once, some of which release again. Neither bound is ever passed, and no charge is lost.
func TestMeterUnderLoad(t *testing.T) {
	m, b := NewMeter(), Budget{PerSubject: 3, Total: 40}
	subjects := make([]circuits.Key, 20)
	for i := range subjects {
		subjects[i][0] = byte(i + 1)
	}
	var mu sync.Mutex
	kept := map[circuits.Key]int{}
	var all sync.WaitGroup
	for seed := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 1))
			for range 300 {
				s := subjects[rng.IntN(len(subjects))]
				if err := m.Reserve(9, s, b); err != nil {
					if !errors.Is(err, ErrBudget) {
						t.Error(err)
					}
					continue
				}
				if rng.IntN(10) > 0 {
					m.Release(9, s)
					continue
				}
				mu.Lock()
				kept[s]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	sum := 0
	for s, n := range kept {
		if sum += n; n > b.PerSubject {
			t.Errorf("subject %d was charged %d times", s[0], n)
		}
	}
	if sum != b.Total || m.Used(9) != sum {
		t.Errorf("%d answers kept, %d counted, %d allowed", sum, m.Used(9), b.Total)
	}
	if err := m.Reserve(9, subjects[0], b); !errors.Is(err, ErrBudget) {
		t.Error("beyond the total")
	}
	if err := m.Reserve(10, subjects[0], b); err != nil {
		t.Errorf("another agreement's budget: %v", err)
	}
}

func TestChargesFromBeforeARestartCount(t *testing.T) {
	m, b := NewMeter(), Budget{PerSubject: 2, Total: 3}
	var one, two circuits.Key
	two[0] = 1
	m.Charge(1, one)
	m.Charge(1, one)
	if err := m.Reserve(1, one, b); !errors.Is(err, ErrBudget) {
		t.Error("per subject")
	}
	if err := m.Reserve(1, two, b); err != nil {
		t.Error(err)
	}
	if err := m.Reserve(1, two, b); !errors.Is(err, ErrBudget) {
		t.Error("in all")
	}
}

// TestMeterForgetsTheUncharged: subjects that were asked about without an answer would otherwise fill the memory.
func TestMeterForgetsTheUncharged(t *testing.T) {
	m := NewMeter()
	for i := range 1000 {
		var s circuits.Key
		s[0], s[1] = byte(i), byte(i>>8)
		if err := m.Reserve(1, s, Budget{PerSubject: 1, Total: 1}); err != nil {
			t.Fatal(err)
		}
		m.Release(1, s)
	}
	if len(m.each) != 0 || m.Used(1) != 0 {
		t.Fatalf("%d subjects are remembered", len(m.each))
	}
}

// TestFindGroups: terms with a group are for its members as the newest version lists them, and for nobody else.
func TestFindGroups(t *testing.T) {
	grouped := terms(func(t *entry.Terms) { t.Group = "desks" })
	define := func(version int, members ...string) entry.Entry {
		return entry.GroupDefine{Group: "desks", Version: version, Members: members}
	}
	l := logOf(grouped)
	l.Add(define(1, "GOV/health", "GOV/police"))
	l.Add(define(2, "GOV/benefits", "GOV/health"))
	l.Add(entry.GroupDefine{Group: "other", Version: 9, Members: []string{"GOV/land"}})
	for _, c := range []struct {
		size   uint64
		member string
		group  uint64
		ok     bool
	}{
		{1, "GOV/benefits", 0, false}, {2, "GOV/benefits", 0, false}, {2, "GOV/health", 1, true}, {2, "GOV/police", 1, true},
		{4, "GOV/benefits", 2, true}, {4, "GOV/health", 2, true}, {4, "GOV/police", 0, false}, {4, "GOV/land", 0, false},
	} {
		u := wanted()
		u.Requester = c.member
		right, why := Find(l.At(c.size), u)
		if c.ok != (why == "") || c.ok && (right.Group == nil || *right.Group != c.group) || !c.ok && why != NoAgreement {
			t.Errorf("%s below %d: %+v, %q", c.member, c.size, right, why)
		}
	}
	u := wanted()
	u.Requester = "GOV/police"
	right, why := Find(l.At(2), u)
	if why != "" || !right.Stands(l.At(2), "GOV/police") || right.Stands(l.At(4), "GOV/police") || !right.Stands(l.At(4), "GOV/health") {
		t.Errorf("%q: a right stands by the newest version", why)
	}
	l.Add(entry.AgreementRevoke{Accept: 0})
	if right.Stands(l.At(5), "GOV/health") {
		t.Error("a revoked right stands")
	}
	if right, why := Find(logOf(terms(nil)).At(1), wanted()); why != "" || right.Group != nil {
		t.Errorf("%q: a group where none is named", why)
	}
}
