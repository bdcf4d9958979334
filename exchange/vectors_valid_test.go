package exchange_test

import (
	"crypto/ed25519"
	"math/big"
	"strings"
	"time"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// validAnswers verify.
var validAnswers = []vector{
	{name: sampleVector, about: "satisfied; no receipt, opening or disclosed values", alter: rich},
	{name: "valid-not-satisfied", about: "not satisfied: 64 until the next day", alter: func(s *stage) { rich(s); s.subject = "P-0003" }},
	{name: "valid-satisfied-on-birthday", about: "satisfied: 65 that very day", alter: func(s *stage) { rich(s); s.subject = "P-0002" }},
	{name: "valid-indeterminate", about: "a value that the policy reads is missing", alter: func(s *stage) { rich(s); s.subject = "P-0004" }},
	{name: "valid-beyond-table", about: "not satisfied: an income a cent above the table's default", alter: func(s *stage) { rich(s); s.subject = "P-0005" }},
	{name: "valid-guarded", about: "not satisfied: an exempt column has the value that is asked about", alter: func(s *stage) { rich(s); s.subject = "P-0006" }},
	{name: "valid-no-record", about: "the dataset proves that it has no such subject", alter: func(s *stage) { s.subject = "P-9999" }},
	{name: "valid-folded", about: "no record, by a policy that says not satisfied then", alter: func(s *stage) {
		s.subject = "P-9999"
		templated(`"on_absent":"no_record","on_missing":"indeterminate"`, `"on_absent":"not_satisfied","on_missing":"not_satisfied"`)(s)
	}},
	{name: "valid-disclosed", about: "numeric columns of every type and texts are disclosed", alter: discloseAll},
	{name: "valid-disclosed-missing", about: "columns are disclosed, and some are missing", alter: func(s *stage) { s.subject = "P-0004"; discloseAll(s) }},
	{name: "valid-disclosed-negative", about: "numbers below 0, one of them above -1", alter: func(s *stage) { s.subject = "P-0007"; discloseAll(s) }},
	{name: "valid-disclosed-largest", about: "the largest and the smallest number of 64 bits", alter: func(s *stage) { s.subject = "P-0008"; discloseAll(s) }},
	{name: "valid-disclosed-no-record", about: "columns are to be disclosed, and there is no record", alter: func(s *stage) { s.subject = "P-9999"; discloseAll(s) }},
	{name: "valid-full-program", about: "a program that has all of its parts, near their limits", alter: func(s *stage) { programmed(fullProgram)(s); discloseAll(s) }},
	{name: "valid-logged-and-opened", about: "with the receipt's path, and the opening of the tag", alter: func(s *stage) { s.logged, s.opening = true, true }},
	{name: "valid-opening-letters", about: "a subject whose letters have no capital of one character (identifiers go to upper case letter by letter)", alter: func(s *stage) {
		letters(s, "STRAßE-ŉ-Ǆ-É")
	}},
	{name: "valid-opening-new-capital", about: "a subject with U+019B, which has no capital in Unicode 15.0", alter: func(s *stage) { letters(s, "\u019b") }},
	{name: "valid-disclosed-unassigned", about: "a disclosed text with a character that Unicode 15.0 does not assign, before a mark that later editions compose with it",
		alter: func(s *stage) {
			const town = "\U000105d2\u0307"
			disclosing(0, func(d *bundle.Disclosed) { d.Text = town }, "town")(s)
			s.people = newPeople(s.t, s.schema, "2", map[string][]string{s.subject: {"1950-02-28", "west", "1500.50", "1", "true", "limited", "A12", town}})
			alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Root = bundle.FormatElement(s.people.root) })
		}},
	{name: "valid-no-batch", about: "no receipts batch yet: that the entries were the newest is the holder's word", alter: func(s *stage) { s.header.Batch = nil }},
	{name: "valid-old-batch", about: "the batch is older than the last one can be: it shows nothing", alter: func(s *stage) {
		alter(s, atBatch, func(e *entry.ReceiptsBatch) { e.Beat -= 2 })
	}},
	{name: "valid-batch-of-others", about: "the batch does not name the dataset", alter: func(s *stage) {
		alter(s, atBatch, func(e *entry.ReceiptsBatch) { e.Epochs = map[string]uint64{"others": atEpoch} })
	}},
	{name: "valid-replica", about: "with the log: all is the newest and in force", log: true},
	{name: "valid-as-of-today", about: "today is asked about by its date", alter: func(s *stage) { s.query.AsOf = "2026-03-01" }},
	{name: "valid-as-of-day", about: "a day of the epoch before", log: true, alter: onDay},
	{name: "valid-as-of-day-offline", about: "the same without the log: a next epoch makes no statement about the newest", alter: onDay},
	{name: "valid-as-of-epoch", about: "an epoch by its number", log: true, alter: byNumber},
	{name: "valid-leap-day", about: "65 years before 29 February 2024 is 28 February 1959", alter: func(s *stage) {
		rich(s)
		s.subject = "P-0009"
		onDay(s)
		s.query.AsOf, s.header.AsOf, s.query.MaxAgeSeconds = "2024-02-29", "2024-02-29", 0
		alter(s, atEpoch1, func(e *entry.DatasetEpoch) { e.Time = "2024-02-29T23:59:59Z" })
		granting(func(t *entry.Terms) { t.AsOfFrom = "2024-02-29" })(s)
	}},
	{name: "valid-group-again", about: "a second entry of the group's version is void", log: true, alter: func(s *stage) {
		asGroup(s)
		append1(s, entry.GroupDefine{Group: "partners", Version: 1, Members: []string{benefits}, Time: vectorTime(vectorNow)})
	}},
	{name: "valid-group", about: "asked as one of a group", log: true, alter: asGroup},
	{name: "valid-rerandomised", about: "another proof of the same statement, made from the first one's points by anybody", alter: func(s *stage) {
		s.onProof = func(p []byte) []byte { return rerandomised(p) }
	}},
}

// validApprovals verify where people approve entries.
var validApprovals = []vector{
	{name: "valid-approvals", about: "two of three approved policy, agreement and group", log: true, alter: func(s *stage) { asGroup(s); approving(s); approveAll(s, 0) }},
	{name: "valid-approvals-later", about: "a rule that begins behind the entries", alter: func(s *stage) { approving(s, approvalRule(logSize)) }},
	{name: "valid-approvals-ended", about: "a rule that ended before the entries", alter: func(s *stage) {
		approving(s, approvalRule(0), network.Approvers{From: atPolicy, Keys: []string{}})
	}},
	{name: "valid-approvals-more", about: "three approvals where two are asked for, one of them of a stranger", alter: func(s *stage) {
		approving(s)
		approveAll(s, atPolicy)
		approve(s, atPolicy, s.header.Origin, 0, 1, 5)
	}},
	{name: "valid-unapproved-before", about: "a first entry of the policy version lacks approvals, is void, and does not stand in the way", log: true, alter: func(s *stage) {
		s.entries[atOther] = s.entries[atPolicy]
		approving(s)
		approveAll(s, 0)
	}},
}

// validClaims verify, with a scope.
var validClaims = []vector{
	{name: "valid-claim-pending", about: "a claim without a place", alter: claims},
	{name: "valid-claim-final", about: "a claim with its place: that it is the first, the log would show", alter: func(s *stage) { claims(s); s.claimed, s.logged = true, true }},
	{name: "valid-claim-first", about: "the same with the log: it is the first", log: true, alter: func(s *stage) { claims(s); s.claimed, s.logged = true, true }},
	{name: "valid-claim-not-satisfied", about: "a scope was asked for, and the verdict claims nothing", alter: func(s *stage) { claims(s); s.subject = "P-0003" }},
	{name: "valid-claim-first-and-last-second", about: "a scope that opens and closes at the time of the answer", alter: func(s *stage) {
		claims(s)
		alter(s, atScope, func(e *entry.ScopeOpen) {
			e.Opens, e.Closes = vectorTime(vectorNow), vectorTime(vectorNow.Add(time.Second))
		})
	}},
}

// validEdges are within a bound, where one of the bad ones is beyond it, or are spelled as few would.
var validEdges = []vector{
	{name: "valid-texts", about: "a case reference of characters that JSON writes in several ways", alter: asking(func(q *bundle.Query) {
		q.Case = "<a href=\"x\">&amp;</a> \\ / \t\n\r\b\f\x1b\x7f \u00e9e\u0301 \u2028\u2029 \ufeff 漢字 \U0001f600"
	})},
	{name: "valid-body-spelling", about: "query, header and promise in other spellings than the canonical one: they are signed as they stand", alter: func(s *stage) {
		s.onQuery = func(body string) string {
			return spelled(s.replace(s.replace(body, `"v":1,`, ``), `B-2026/17`, `B-2026\/17 \ud83d\uDE00`), `"v":1`)
		}
		s.headerBody = func(body string) string {
			return spelled(s.replace(body, `"v":1,`, ``), `"next":null,"group":null,"v":1`)
		}
		s.promiseBody = func(body string) string { return spelled(s.replace(body, `"v":1,`, ``), `"v":1`) }
	}},
	{name: "valid-entry-spelling", about: "an epoch's entry in another spelling than the canonical one", alter: func(s *stage) {
		body := s.body(s.entries[atEpoch])
		s.entries[atEpoch] = s.replace(s.replace(body, `"dataset":"people"`, ` "dataset" : "\u0070eople"`), `"epoch":2,`, "\n\t\"epoch\":2 ,\r\n")
	}},
	{name: "valid-weak-key", about: "the requester's key is the neutral point in another encoding, under which anybody can sign: it is the network's to know", alter: func(s *stage) {
		weak := append([]byte{1}, make([]byte, 31)...)
		weak[31] = 0x80
		s.config = s.configure(func(m *network.Member) {
			if m.Name == benefits {
				m.QueryKey = b64(weak)
			}
		})
		ephemeral := vectorKeys.Key("ephemeral")
		signedBy(func(*stage, []byte, []byte) string {
			return b64(append(append([]byte(nil), ephemeral.Public().(ed25519.PublicKey)...), littleEndian(new(big.Int).Mod(scalar(ephemeral), order))...))
		})(s)
	}},
	{name: "valid-times", about: "header time, cosignatures and expiry at the last second that is allowed", alter: func(s *stage) {
		s.times[benefits], s.times[health] = vectorNow.Add(-5*time.Second), vectorNow.Add(30*time.Second)
		s.header.Time = vectorTime(vectorNow.Add(35 * time.Second))
		s.query.Expires = vectorTime(vectorNow.Add(30 * time.Second))
		granting(func(t *entry.Terms) { t.Expires = vectorTime(vectorNow.Add(35 * time.Second)) })(s)
	}},
	{name: "valid-times-early", about: "the checkpoint is of 35 s before the query", alter: func(s *stage) {
		s.query.Issued, s.query.Expires = vectorTime(vectorNow.Add(35*time.Second)), vectorTime(vectorNow.Add(time.Hour))
	}},
	{name: "valid-age", about: "an epoch just as old as the query accepts", alter: func(s *stage) {
		s.query.MaxAgeSeconds = int64(vectorNow.Sub(time.Date(2026, 2, 10, 8, 0, 0, 0, time.UTC)) / time.Second)
	}},
	{name: "valid-age-largest", about: "the largest maximum age", alter: asking(func(q *bundle.Query) { q.MaxAgeSeconds = 9223372036 })},
	{name: "valid-expiry", about: "the configuration expires at the time of the answer", alter: func(s *stage) {
		s.config = s.configure(nil, func(p *network.Params) { p.Expires = vectorTime(vectorNow) })
	}},
	{name: "valid-promise-past", about: "a promise whose deadline was over 5 s before the answer", alter: func(s *stage) {
		answeredAt(s, vectorNow.Add(4*time.Second)) // 12:00:05
		atBeat(-2)(s)
	}},
	{name: "valid-promise-future", about: "a promise for the last beat that is allowed", alter: atBeat(31)},
}

// validChains verify under one of several versions of the configuration.
var validChains = []vector{
	{name: "valid-circuit-times", about: "the circuit is in force from the time of the answer to a second later", alter: func(s *stage) {
		withCircuits(s, func(c *network.Circuit) {
			c.Since, c.Until = vectorTime(vectorNow), vectorTime(vectorNow.Add(time.Second))
		})
	}},
	{name: "valid-demo-keys", about: "the circuit's keys are of a ceremony that one process verified", alter: func(s *stage) {
		withCircuits(s, func(c *network.Circuit) { ofCeremony(c, network.KindDemo) })
	}},
	{name: "valid-production", about: "a network in production, with keys of a ceremony", alter: func(s *stage) {
		s.config = s.configure(nil, func(p *network.Params) {
			p.Mode = network.ModeProduction
			ofCeremony(&p.Circuits[0], network.KindCeremony)
		})
	}},
	{name: "valid-two-circuits", about: "the configuration has two circuits, and both keys are given", alter: twoCircuits,
		keys: func(_ *stage, key []byte) [][]byte { return [][]byte{otherCircuit(key), key} }},
	{name: "valid-two-keys", about: "two keys of one circuit are given, one of them the configuration's",
		keys: func(_ *stage, key []byte) [][]byte { return [][]byte{negatedAlpha(key), key} }},
	{name: "valid-earlier-configuration", about: "made under the first of two versions; its receipt was logged under the second", alter: func(s *stage) {
		s.logged = true
		rotated(s)
	}},
	{name: "valid-later-configuration", about: "made under the second of two versions", alter: func(s *stage) {
		rotated(s)
		s.config = s.chain.Newest()
		s.header.Batch = nil
	}},
	{name: "valid-circuit-ended", about: "the circuit was ended by a later version, after the answer", alter: func(s *stage) {
		made := s.config
		all := append([]network.Circuit(nil), s.config.Circuits...)
		all[0].Until = vectorTime(vectorNow.Add(time.Second))
		s.succeed(network.Change{Circuits: &all}, s.ended(atBatch))
		s.config = made
	}},
	{name: "valid-log-that-ended", about: "the holder's log ended with the receipt's batch, by a later version", alter: func(s *stage) {
		s.logged = true
		s.onBundle = func(*bundle.Bundle) {
			made, origin := s.config, s.header.Origin
			ended := s.entries
			secondLog(s, ended)
			s.config, s.header.Origin = made, origin
		}
	}},
	{name: "valid-second-log", about: "the holder's log is the second generation; the first one is fenced", log: true, alter: func(s *stage) {
		secondLog(s, s.entries[:atPolicy])
	}},
	{name: "valid-claim-second-log", about: "a claim on a second log: the scope was not open on the first", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed = true
		secondLog(s, s.entries[:atScope])
	}},
}

// claims makes the query one for a claim.
func claims(s *stage) {
	scope := atScope
	s.query.Scope, s.header.Scope = &bundle.Scope{Program: vectorProgram, Period: vectorPeriod}, &scope
}

func discloseAll(s *stage) {
	s.query.Disclose = []string{"birth_date", "code", "household", "income", "level", "married", "region", "town"}
}

// ofCeremony says that a circuit's keys come from a ceremony: what a bundle is verified with is the key's digest.
func ofCeremony(c *network.Circuit, kind string) {
	c.Kind, c.Transcript, c.Contributors = kind, vectorSalt("transcript").String(), 2
}

// letters is about a subject by a scheme that takes all letters.
func letters(s *stage, subject string) {
	s.config = s.configure(nil, func(p *network.Params) {
		p.Schemes = append(p.Schemes, network.Scheme{Name: "name", Pattern: `[\p{L}-]+`, Normalise: "upper", Example: "A"})
	})
	alter(s, atDeclare, func(e *entry.DatasetDeclare) { e.Scheme = "name" })
	s.opening, s.scheme, s.subject = true, "name", subject
}

// spelled is a JSON object with white space, and more at its end.
func spelled(body, more string) string {
	return "{ \n" + strings.TrimSuffix(body[1:], "}") + " ,\t" + more + "\r\n} "
}

// fullProgram has every part of a program: P-0001 is satisfied by it.
func fullProgram(t *policy.Template) {
	p := &t.Program
	for len(p.Lookups) < circuits.Lookups {
		n := len(p.Lookups)
		l := circuits.Lookup{Column: n, Default: -1 << 63, MissIsMissing: n == 2}
		for i := range circuits.LookupPairs {
			l.Pairs = append(l.Pairs, circuits.Pair{Key: int64(i) - 3, Value: 1<<63 - 1 - int64(n*i)})
		}
		p.Lookups = append(p.Lookups, l)
	}
	p.Lookups[2].Pairs[0].Key = 1<<63 - 1
	for len(p.Atoms) < circuits.Atoms {
		n := len(p.Atoms)
		a := circuits.Atom{Constant: -1 << 63, Test: circuits.AtLeastZero}
		if n%3 == 0 {
			a.Test, a.Constant = circuits.EqualsZero, 1<<63-1
		}
		for c := range 5 {
			a.Columns = append(a.Columns, circuits.Term{Column: c, Coefficient: -1 << 31})
		}
		a.Lookups = []circuits.LookupTerm{{Lookup: 0, Coefficient: 1<<31 - 1}, {Lookup: n % 4, Coefficient: -7}}
		if n%4 == 0 {
			a.Lookups = a.Lookups[:1]
		}
		p.Atoms = append(p.Atoms, a)
	}
	for len(p.TextTests) < circuits.TextTests {
		p.TextTests = append(p.TextTests, circuits.TextTest{Column: 1, Value: circuits.TextElement("Köln")})
	}
	weights := []int{1, -2, 3, -4, 5, -6, 7, -8, 9, -10, 11, -12}
	for len(p.Gates) < circuits.Gates-1 {
		n := len(p.Gates)
		p.Gates = append(p.Gates, circuits.Gate{Atoms: weights, Texts: []int{-40, 30, -20, 10}, Gates: []int{-1, 1, -1, 1, -1, 1, -1}[:n], Threshold: -512 + n})
	}
	p.Gates = append(p.Gates, circuits.Gate{Texts: []int{100, 100, 100, -100}, Gates: []int{0, 0, 0, 0, 0, -100, 11}, Threshold: -200})
	p.Exempt = []int{0, 4}
	t.Dates = append(t.Dates, policy.DateSlot{Atom: 5, Years: 200, Sign: -1})
}

// rerandomised is r A, B / r, C.
func rerandomised(p []byte) []byte {
	return movePoints(p, func(a, _ *bls.G1Affine, b *bls.G2Affine) {
		r := vectorElement("r")
		var inverse fr.Element
		inverse.Inverse(&r)
		a.ScalarMultiplication(a, r.BigInt(new(big.Int)))
		b.ScalarMultiplication(b, inverse.BigInt(new(big.Int)))
	})
}

// twoCircuits names a second circuit, with the key of otherCircuit.
func twoCircuits(s *stage) {
	s.config = s.configure(nil, func(p *network.Params) {
		other := p.Circuits[0]
		key := otherCircuit(s.keys.VerifyingKey())
		other.ID, other.VerifyingKey = fromBytes(key[32:64]), digestOf(key)
		p.Circuits = append(p.Circuits, other)
	})
}

// rotated makes a second version, by which health mirrors with a second key. The bundle is made under the first.
func rotated(s *stage) {
	made := s.config
	m, _ := made.Member(health)
	m.MirrorKey = network.MirrorVKey(network.MirrorName(vectorInstance, health, 2), vectorKeys.Key("mirror 2 "+health).Public().(ed25519.PublicKey))
	card, err := network.NewCard(vectorInstance, m, vectorKeys.Key("log "+health))
	s.must(err)
	s.succeed(network.Change{Replace: []network.Card{card}}, s.ended(atBatch))
	s.config = made
}
