package exchange_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/agreement"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/holder"
	"github.com/grille-gateway/grille/exchange/requester"
	"github.com/grille-gateway/grille/ledger/entry"
)

const fuel = "winter-fuel"

// scoped gives civil a dataset and benefits the right to claim under a program with it, and opens the scope of a period.
func (w *world) scoped(perSubject, total int, period string) {
	w.t.Helper()
	w.furnish(peopleCSV, 1, 1) // the policy
	w.accept(w.offer(perSubject, total, func(t *entry.Terms) { t.Purpose, t.Scope = "claiming", fuel }))
	w.openScope(period)
}

func (w *world) openScope(period string) uint64 {
	w.t.Helper()
	index, err := w.members[civil].register.OpenScope(w.t.Context(), fuel, period, w.now().Add(-time.Hour), w.scopeEnd())
	w.check(err)
	return index
}

func (w *world) scopeEnd() time.Time { return time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) }

func (w *world) claiming(subject, period string) requester.Question {
	q := w.question(subject)
	q.Purpose, q.Scope = "claiming", &bundle.Scope{Program: fuel, Period: period}
	return q
}

// placed waits until a query's claim is final and returns it.
func (w *world) placed(id string) *requester.Claim {
	w.t.Helper()
	var c *requester.Claim
	w.eventually("the claim is final", func() bool {
		var err error
		c, err = w.members[benefits].requester.Claim(id)
		w.check(err)
		return c.State != bundle.ClaimPending
	})
	return c
}

// TestClaimIsMadeOnce follows a claim from the question to its place, and refuses a second one.
func TestClaimIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(3, 100, "2026")
	first := w.ask(w.claiming("P-0001", "2026"))
	if first.Verdict != "satisfied" || first.Claim != bundle.ClaimPending || first.Report.Claim != bundle.ClaimPending {
		t.Fatalf("%+v", first)
	}
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(first.ID, false), &b))
	if b.Claim != nil || b.Nullifier == "" {
		t.Fatal("a bundle shows a place before there is one, or no nullifier")
	}
	if c := w.placed(first.ID); c.State != bundle.ClaimFirst {
		t.Fatalf("the claim is %+v", c)
	}
	report, err := w.verify.Verify(w.bundle(first.ID, false))
	w.check(err)
	if report.Claim != bundle.ClaimFinal || report.Program != fuel || report.Period != "2026" || report.Nullifier != b.Nullifier {
		t.Fatalf("offline: %+v", report)
	}
	replica := *w.verify
	replica.Replica = w.members[health].ledger
	w.eventually("another member's replica shows that it is first", func() bool {
		report, err := replica.Verify(w.bundle(first.ID, false))
		return err == nil && report.Claim == bundle.ClaimFirst
	})
	used := w.members[civil].holder.Used(w.agreement())
	again := w.ask(w.claiming("P-0001", "2026"))
	if again.Refusal != holder.CodeClaimed || again.Claim != "" {
		t.Fatalf("a second claim: %+v", again)
	}
	if n := w.members[civil].holder.Used(w.agreement()); n != used+1 {
		t.Errorf("the refusal of a second claim was not charged: %d after %d", n, used)
	}
	if strings.Contains(again.Message, "P-0001") || strings.Contains(again.Message, b.Nullifier) {
		t.Error("the refusal names the person")
	}
	for subject, verdict := range map[string]string{"P-0002": "not_satisfied", "P-0003": "indeterminate", "P-9999": "no_record"} {
		for range 2 {
			result := w.ask(w.claiming(subject, "2026"))
			if result.Verdict != verdict || result.Claim != "" || result.Report.Nullifier != "" {
				t.Fatalf("%s: %+v", subject, result)
			}
			report, err := w.verify.Verify(w.bundle(result.ID, true))
			w.check(err)
			if report.Claim != "" {
				t.Fatalf("%s claims with %s", subject, verdict)
			}
		}
	}
	if result := w.ask(w.claiming("P-0004", "2026")); result.Verdict != "satisfied" {
		t.Fatalf("another person: %+v", result)
	}
}

// agreement is the newest one.
func (w *world) agreement() uint64 {
	all := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Agreements()
	return all[len(all)-1].Index
}

// TestClaimsAtTheSameTime has many queries claim for one person at once: one gets it.
func TestClaimsAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(20, 100, "2026")
	results := make([]*requester.Result, 8)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() { results[i], _ = w.members[benefits].requester.Ask(t.Context(), w.claiming("P-0001", "2026")) })
	}
	all.Wait()
	claims := 0
	for _, r := range results {
		if r == nil || r.Verdict != "satisfied" && r.Refusal != holder.CodeClaimed {
			t.Fatalf("%+v", r)
		}
		if r.Verdict == "satisfied" {
			claims++
		}
	}
	if claims != 1 {
		t.Fatalf("%d claims of one person", claims)
	}
}

// TestAnotherRequesterIsRefused has two departments claim for one person under rights of their own.
func TestAnotherRequesterIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(3, 100, "2026")
	budget, err := agreement.NewBudget(3, 100)
	w.check(err)
	var offer entry.Ref
	w.eventually("the other department offers", func() bool {
		offer, err = w.members[health].requester.Offer(t.Context(), entry.Terms{Holder: civil, Policy: "aged", PolicyVersion: 1,
			Purpose: "claiming", LegalBasis: basis, Scope: fuel, Expires: "2099-01-01T00:00:00Z"}, budget)
		return err == nil
	})
	w.eventually("its offer is accepted", func() bool {
		_, err := w.members[civil].holder.Accept(t.Context(), offer)
		return err == nil
	})
	first, err := w.members[health].requester.Ask(t.Context(), w.claiming("P-0001", "2026"))
	w.check(err)
	if first.Verdict != "satisfied" {
		t.Fatalf("%+v", first)
	}
	if second := w.ask(w.claiming("P-0001", "2026")); second.Refusal != holder.CodeClaimed {
		t.Fatalf("another department claimed, too: %+v", second)
	}
	if third := w.ask(w.claiming("P-0004", "2026")); third.Verdict != "satisfied" {
		t.Fatalf("%+v", third)
	}
	third, err := w.members[health].requester.Ask(t.Context(), w.claiming("P-0004", "2026"))
	w.check(err)
	if third.Refusal != holder.CodeClaimed {
		t.Fatalf("the first department claimed what the second has: %+v", third)
	}
}

// TestClaimWithoutReplyIsPending loses the reply to a claim. The register has made it; whoever asked must not take it for none.
func TestClaimWithoutReplyIsPending(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(3, 100, "2026")
	c, b := w.members[civil], w.members[benefits]
	c.intercept = func([]byte, error) ([]byte, error) { return nil, errors.New("the line is cut") }
	lost, err := b.requester.Ask(t.Context(), w.claiming("P-0001", "2026"))
	if !errors.Is(err, requester.ErrNoReply) || lost == nil || lost.Claim != bundle.ClaimPending {
		t.Fatalf("%+v, %v", lost, err)
	}
	time.Sleep(1500 * time.Millisecond) // the register logs it meanwhile
	claim, err := b.requester.Claim(lost.ID)
	w.check(err)
	if claim.State != bundle.ClaimPending {
		t.Fatalf("a claim without a reply is %+v", claim)
	}
	c.intercept = nil
	if again := w.ask(w.claiming("P-0001", "2026")); again.Refusal != holder.CodeClaimed {
		t.Fatalf("a new query claims again: %+v", again)
	}
	found, err := b.requester.Resend(t.Context(), lost.ID)
	w.check(err)
	if found.Verdict != "satisfied" {
		t.Fatalf("%+v", found)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	if claim, err = b.requester.WaitClaim(ctx, lost.ID); err != nil || claim.State != bundle.ClaimFirst {
		t.Fatalf("%+v, %v", claim, err)
	}
	b.halt()
	b.start()
	w.eventually("the register's log is known again", func() bool { _, ok := b.ledger.Final(w.config.Origin(civil)); return ok })
	if claim, err = b.requester.Claim(lost.ID); err != nil || claim.State != bundle.ClaimFirst {
		t.Fatalf("after a restart: %+v, %v", claim, err)
	}
	if _, err := b.requester.Claim("unknown"); !errors.Is(err, requester.ErrUnknownQuery) {
		t.Error(err)
	}
	plain := w.ask(w.claiming("P-0002", "2026"))
	if _, err := b.requester.Claim(plain.ID); !errors.Is(err, requester.ErrNoClaim) {
		t.Errorf("an answer that is not satisfied has a claim: %v", err)
	}
}

// TestClaimThatStoodBefore has a register answer with a nullifier that stands on its log already, as one does that forgot it.
func TestClaimThatStoodBefore(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, setting{beat: 60}) // so that the register does not look at its log meanwhile
	w.scoped(3, 100, "2026")
	c, origin := w.members[civil], w.config.Origin(civil)
	s, _ := c.ledger.View(origin, ^uint64(0)).Scope(fuel, "2026")
	k, err := c.register.Key(s.Open.KeyCommitment)
	w.check(err)
	scope := bundle.Scope{Program: fuel, Period: "2026"}
	n := circuits.Nullifier(k, circuits.SubjectKey(w.config.Instance, "person", "P-0001"), scope.Element(w.config.Instance, civil))
	batch := entry.ClaimsBatch{Beat: 1, Time: entry.FormatTime(w.now()), Nullifiers: []string{bundle.FormatElement(n)}}
	for i := range uint64(entry.Claims - 1) {
		batch.Nullifiers = append(batch.Nullifiers, bundle.FormatElement(fr.NewElement(i+1)))
	}
	at, err := c.ledger.Append(t.Context(), batch)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[0]))
	result := w.ask(w.claiming("P-0001", "2026"))
	if result.Verdict != "satisfied" || result.Report.Nullifier != bundle.FormatElement(n) {
		t.Fatalf("%+v", result)
	}
	if claim := w.placed(result.ID); claim.State != bundle.ClaimLater || claim.Index != at[0] {
		t.Fatalf("%+v", claim)
	}
	var b bundle.Bundle
	w.check(json.Unmarshal(w.bundle(result.ID, false), &b))
	if b.Claim != nil {
		t.Fatal("the bundle shows another answer's place as its own")
	}
	head, _ := c.ledger.Final(origin)
	include, err := bundle.Include(c.ledger, origin, at[0], head.Size)
	w.check(err)
	b.Claim = &bundle.ClaimInclude{Checkpoint: string(head.Checkpoint), Batch: include}
	if _, err := w.verify.Verify(w.encode(&b)); reason(err) != bundle.ReasonClaim {
		t.Fatalf("a place from before the answer: %v", err)
	}
	batch.Time = entry.FormatTime(w.now().Add(time.Second)) // once more, behind the answer: the first place counts
	at, err = c.ledger.Append(t.Context(), batch)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[0]))
	head, _ = c.ledger.Final(origin)
	b.Claim.Checkpoint = string(head.Checkpoint)
	b.Claim.Batch, err = bundle.Include(c.ledger, origin, at[0], head.Size)
	w.check(err)
	report, err := w.verify.Verify(w.encode(&b))
	w.check(err)
	if report.Claim != bundle.ClaimFinal {
		t.Fatalf("offline, a later place is %q", report.Claim)
	}
	replica := *w.verify
	replica.Replica = c.ledger
	if _, err := replica.Verify(w.encode(&b)); reason(err) != bundle.ReasonClaim {
		t.Fatalf("with the log, a later place: %v", err)
	}
}

// TestScopesAreRefused asks in scopes that cannot be claimed in. Each refusal is receipted.
func TestScopesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(50, 100, "2026")
	r, now := w.members[civil].register, w.now()
	_, err := r.OpenScope(t.Context(), fuel, "2098", now.Add(time.Hour), w.scopeEnd())
	w.check(err)
	_, err = r.OpenScope(t.Context(), "heating", "2026", now.Add(-time.Hour), w.scopeEnd())
	w.check(err)
	w.openScope("2025")
	_, err = r.CloseScope(t.Context(), fuel, "2025", "over")
	w.check(err)
	s, _ := w.members[civil].ledger.View(w.config.Origin(civil), ^uint64(0)).Scope(fuel, "2026")
	double := s.Open
	double.Period = "2024" // a key that is another scope's: void
	at, err := w.members[civil].ledger.Append(t.Context(), double)
	w.check(err)
	w.check(w.members[civil].ledger.WaitFinal(t.Context(), at[0]))
	for name, c := range map[string]struct {
		scope bundle.Scope
		want  string
	}{
		"no such period":         {bundle.Scope{Program: fuel, Period: "1999"}, holder.CodeScope},
		"closed":                 {bundle.Scope{Program: fuel, Period: "2025"}, holder.CodeScopeClosed},
		"not open yet":           {bundle.Scope{Program: fuel, Period: "2098"}, holder.CodeScopeEarly},
		"the key of another":     {bundle.Scope{Program: fuel, Period: "2024"}, holder.CodeScope},
		"of another's agreement": {bundle.Scope{Program: "heating", Period: "2026"}, "scope_not_allowed"},
	} {
		q := w.claiming("P-0001", "2026")
		q.Scope = &c.scope
		result := w.ask(q) // which checks the signed promise of its receipt, or calls it rejected
		if result.Refusal != c.want || result.State != requester.StateRefused || result.Message == "" || result.Rejected != "" {
			t.Errorf("%s: %+v, want %s", name, result, c.want)
		}
	}
	plain := w.question("P-0001")
	plain.Scope = &bundle.Scope{Program: fuel, Period: "2026"}
	if result := w.ask(plain); result.Refusal != "scope_not_allowed" {
		t.Errorf("an agreement without a scope: %+v", result)
	}
	bad := w.claiming("P-0001", "2026 ")
	if _, err := w.members[benefits].requester.Ask(t.Context(), bad); err == nil {
		t.Error("a period that is no name was asked in")
	}
}

// TestScopesAreUnlinkable: of one person, two scopes show nothing that is equal, and once they are closed nobody can tell any more.
func TestScopesAreUnlinkable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(10, 100, "2026")
	w.openScope("2027")
	var nullifiers [2]string
	var elements [2]map[string]bool
	for i, period := range []string{"2026", "2027"} {
		id := w.ask(w.claiming("P-0001", period)).ID
		w.placed(id)
		data := w.bundle(id, false)
		var b bundle.Bundle
		w.check(json.Unmarshal(data, &b))
		nullifiers[i], elements[i] = b.Nullifier, map[string]bool{}
		if strings.Contains(string(data), "P-0001") {
			t.Error("the bundle names the person")
		}
		var q bundle.Query
		w.check(b.Query.Peek(&q))
		for _, text := range []string{b.Nullifier, q.Tag, q.ID, string(b.Proof), b.Salt.String()} {
			elements[i][text] = true
		}
	}
	for text := range elements[0] {
		if elements[1][text] {
			t.Errorf("two scopes share %q", text)
		}
	}
	c := w.members[civil]
	key := circuits.SubjectKey(w.config.Instance, "person", "P-0001")
	for i, period := range []string{"2026", "2027"} {
		s, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).Scope(fuel, period)
		k, err := c.register.Key(s.Open.KeyCommitment)
		w.check(err)
		scope := bundle.Scope{Program: fuel, Period: period}
		if bundle.FormatElement(circuits.Nullifier(k, key, scope.Element(w.config.Instance, civil))) != nullifiers[i] {
			t.Fatal("the nullifier is not made with the scope's key")
		}
		path := filepath.Join(c.dir, "claims", "scope-"+s.Open.KeyCommitment+".key")
		if _, err := os.Stat(path); err != nil {
			t.Fatal("an open scope has no key on disk", err)
		}
		index, err := c.register.CloseScope(t.Context(), fuel, period, "over")
		w.check(err)
		again, err := c.register.CloseScope(t.Context(), fuel, period, "over")
		w.check(err)
		if again != index {
			t.Error("a scope was closed twice")
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("the key is on disk after its scope closed")
		}
		if _, err := c.register.Key(s.Open.KeyCommitment); err == nil {
			t.Error("the key is in memory after its scope closed")
		}
	}
}

// TestForgedNullifiers has the holder claim with another key than the scope's, with another scope, or show another place.
func TestForgedNullifiers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(10, 100, "2026")
	one := w.ask(w.claiming("P-0001", "2026"))
	two := w.ask(w.claiming("P-0004", "2026"))
	w.placed(one.ID)
	w.placed(two.ID)
	whole, other := w.bundle(one.ID, false), w.bundle(two.ID, false)
	var next bundle.Bundle
	w.check(json.Unmarshal(other, &next))
	var random fr.Element
	random.SetUint64(12345)
	for name, c := range map[string]struct {
		change func(*bundle.Bundle)
		want   bundle.Reason
	}{
		"another person's nullifier": {func(b *bundle.Bundle) { b.Nullifier = next.Nullifier }, bundle.ReasonProof},
		"a nullifier of another key": {func(b *bundle.Bundle) { b.Nullifier = bundle.FormatElement(random) }, bundle.ReasonProof},
		"no nullifier":               {func(b *bundle.Bundle) { b.Nullifier = "" }, bundle.ReasonPublic},
		"zero":                       {func(b *bundle.Bundle) { b.Nullifier = strings.Repeat("0", 64) }, bundle.ReasonPublic},
		"beyond the modulus":         {func(b *bundle.Bundle) { b.Nullifier = strings.Repeat("f", 64) }, bundle.ReasonPublic},
		"capitals":                   {func(b *bundle.Bundle) { b.Nullifier = strings.ToUpper(b.Nullifier) }, bundle.ReasonPublic},
		"another verdict":            {func(b *bundle.Bundle) { b.Verdict = "not_satisfied" }, bundle.ReasonPublic},
		"another slot":               {func(b *bundle.Bundle) { b.Claim.Slot = (b.Claim.Slot + 1) % 64 }, bundle.ReasonClaim},
		"a slot below":               {func(b *bundle.Bundle) { b.Claim.Slot = -1 }, bundle.ReasonClaim},
		"a slot beyond":              {func(b *bundle.Bundle) { b.Claim.Slot = 64 }, bundle.ReasonClaim},
		"another head":               {func(b *bundle.Bundle) { b.Claim.Checkpoint = b.Checkpoint }, bundle.ReasonClaim},
		"no head":                    {func(b *bundle.Bundle) { b.Claim.Checkpoint = "" }, bundle.ReasonClaim},
		"an entry of another kind":   {func(b *bundle.Bundle) { b.Claim.Checkpoint = b.Checkpoint; b.Claim.Batch = b.Entries[0] }, bundle.ReasonClaim},
		"a batch that was not logged": {func(b *bundle.Bundle) {
			b.Claim.Batch.Body = strings.Replace(b.Claim.Batch.Body, b.Nullifier, next.Nullifier, 1)
		}, bundle.ReasonClaim},
	} {
		var b bundle.Bundle
		w.check(json.Unmarshal(whole, &b))
		c.change(&b)
		if _, err := w.verify.Verify(w.encode(&b)); reason(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestScopeHeadersThatLie has the holder name a scope that is not the one asked for, not open, or not the agreement's.
func TestScopeHeadersThatLie(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	plain := w.furnish(peopleCSV, 10, 100)
	granted := w.accept(w.offer(10, 100, func(t *entry.Terms) { t.Scope = fuel }))
	r, c := w.members[civil].register, w.members[civil]
	right, other := w.openScope("2026"), w.openScope("2027")
	early, err := r.OpenScope(t.Context(), fuel, "2098", w.now().Add(time.Hour), w.scopeEnd())
	w.check(err)
	closed := w.openScope("2025")
	_, err = r.CloseScope(t.Context(), fuel, "2025", "over")
	w.check(err)
	s, _ := c.ledger.View(w.config.Origin(civil), ^uint64(0)).Scope(fuel, "2026")
	twice := s.Open
	twice.Period = "2024"
	at, err := c.ledger.Append(t.Context(), twice)
	w.check(err)
	w.check(c.ledger.WaitFinal(t.Context(), at[0]))
	replica := *w.verify
	replica.Replica = c.ledger
	for name, l := range map[string]struct {
		period    string
		header    *uint64
		agreement uint64
		want      bundle.Reason
		offline   bundle.Reason // where it takes the log to see it: these lies have no nullifier, which is seen next
	}{
		"another period":           {"2026", &other, granted, bundle.ReasonReference, ""},
		"no scope":                 {"2026", nil, granted, bundle.ReasonReference, ""},
		"a scope that nobody asks": {"", &right, granted, bundle.ReasonReference, ""},
		"another kind of entry":    {"2026", &plain, granted, bundle.ReasonReference, ""},
		"not the agreement's":      {"2026", &right, plain, bundle.ReasonQueryTerms, ""},
		"not open yet":             {"2098", &early, granted, bundle.ReasonNotInForce, ""},
		"closed":                   {"2025", &closed, granted, bundle.ReasonNotInForce, bundle.ReasonPublic},
		"the key of another":       {"2024", &at[0], granted, bundle.ReasonNotInForce, bundle.ReasonPublic},
	} {
		w.asking = func(q *requester.Question) {
			if q.Scope = nil; l.period != "" {
				q.Scope = &bundle.Scope{Program: fuel, Period: l.period}
			}
		}
		data := w.encode(w.claim(func(h *bundle.Header) {
			h.Scope, h.Agreement = l.header, l.agreement
			if _, batch, ok := c.ledger.View(h.Origin, h.Size).NewestBatch(); ok {
				h.Batch = &batch
			}
		}))
		if _, err := replica.Verify(data); reason(err) != l.want {
			t.Errorf("%s: %v, want %s", name, err, l.want)
		}
		if l.offline == "" {
			l.offline = l.want
		}
		if _, err := w.verify.Verify(data); reason(err) != l.offline {
			t.Errorf("%s, offline: %v, want %s", name, err, l.offline)
		}
	}
}

// TestRestartKeepsClaims stops the register between claims, and opens it again: what was claimed stays so, and the rest is free.
func TestRestartKeepsClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.scoped(10, 100, "2026")
	if r := w.ask(w.claiming("P-0001", "2026")); r.Verdict != "satisfied" {
		t.Fatalf("%+v", r)
	}
	c := w.members[civil]
	c.halt()
	c.start()
	w.eventually("the holder has a fresh head", func() bool {
		_, ok := c.ledger.Final(w.config.Origin(civil))
		return ok
	})
	if r := w.ask(w.claiming("P-0001", "2026")); r.Refusal != holder.CodeClaimed {
		t.Fatalf("%+v", r)
	}
	c.halt()
	w.check(os.RemoveAll(filepath.Join(c.dir, "claims", "journal-0")))
	c.start()
	if r := w.ask(w.claiming("P-0001", "2026")); r.Refusal != holder.CodeClaimed {
		t.Fatalf("without the register's journal: %+v", r)
	}
	if r := w.ask(w.claiming("P-0004", "2026")); r.Verdict != "satisfied" {
		t.Fatalf("another person: %+v", r)
	}
}
