package exchange_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"slices"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// asGroup makes health ask as one of a group, by the group's agreement.
func asGroup(s *stage) {
	group := atGroup
	s.query.Requester, s.query.Purpose = health, "Care planning"
	s.header.Group, s.header.Agreement = &group, atGroupAgreement
}

// badReferences are bundles whose entries do not belong together.
var badReferences = []vector{
	{name: "reference-missing", about: "an entry that the header names is not there", alter: bundled(func(b *bundle.Bundle) { b.Entries = b.Entries[1:] })},
	{name: "reference-beyond", about: "the header names an entry beyond its size", alter: func(s *stage) { s.header.Agreement = 13 }},
	{name: "reference-extra", about: "an entry that the header does not name", alter: func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) { b.Entries = slices.Insert(b.Entries, 0, s.log.include(s.t, atKeys, s.size)) }
	}},
	{name: "reference-kind", about: "the header's policy is an epoch", alter: func(s *stage) { s.header.Policy = atEpoch1 }},
	{name: "reference-batch-kind", about: "the header's batch is an entry about keys", alter: func(s *stage) {
		keys := atKeys
		s.header.Batch = &keys
	}},
	{name: "reference-one-for-two", about: "the header names one entry as policy and as agreement", alter: func(s *stage) { s.header.Policy = atAgreement }},
	{name: "reference-unknown-version", about: "an epoch of version 2 of its kind", alter: func(s *stage) {
		s.entries[atEpoch] = s.replace(s.body(s.entries[atEpoch]), `"v":1`, `"v":2`)
	}},
	{name: "reference-malformed", about: "an epoch with a name that epochs do not have", alter: func(s *stage) {
		s.entries[atEpoch] = s.replace(s.body(s.entries[atEpoch]), `"v":1,`, `"v":1,"note":"",`)
	}},
	{name: "reference-name-twice", about: "an epoch with two numbers", alter: func(s *stage) {
		s.entries[atEpoch] = s.replace(s.body(s.entries[atEpoch]), `"epoch":2`, `"epoch":2,"epoch":2`)
	}},
	{name: "reference-head-spelling", about: "an entry that does not begin with its kind and version", alter: func(s *stage) {
		s.entries[atEpoch] = s.replace(s.body(s.entries[atEpoch]), `{"kind"`, `{ "kind"`)
	}},
	{name: "reference-time", about: "an epoch whose time is none", alter: func(s *stage) {
		s.entries[atEpoch] = s.replace(s.body(s.entries[atEpoch]), `2026-02-10T08:00:00Z`, `2026-02-10T08:00:60Z`)
	}},
	{name: "reference-epoch-dataset", about: "the epoch is of another dataset", alter: func(s *stage) {
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Dataset = "others" })
	}},
	{name: "reference-epoch-declaration", about: "the epoch is of another declaration", alter: func(s *stage) {
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Declare = atOther })
	}},
	{name: "reference-next-dataset", about: "the next epoch is of another dataset", alter: func(s *stage) {
		onDay(s)
		alter(s, atEpoch, func(e *entry.DatasetEpoch) { e.Dataset = "others" })
	}},
	{name: "reference-next-is-epoch", about: "the header names one entry as the epoch and as the next", alter: func(s *stage) {
		onDay(s)
		next := atEpoch1
		s.header.Next = &next
	}},
	{name: "reference-policy-dataset", about: "the policy is for another dataset", alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Dataset = "others" })
	}},
	{name: "reference-policy-declaration", about: "the policy is for another declaration", alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Declare = atOther })
	}},
	{name: "reference-policy", about: "the policy is another than the query asks", alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Policy = "old" })
	}},
	{name: "reference-policy-version", about: "the policy is another version than the query asks", alter: func(s *stage) {
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Version = 2 })
	}},
	{name: "reference-agreement-index", about: "the agreement is about another entry of that policy", alter: func(s *stage) {
		alter(s, atAgreement, func(e *entry.AgreementAccept) { e.Terms.PolicyIndex = atKeys })
	}},
	{name: "reference-agreement-policy", about: "the agreement is about another policy", alter: func(s *stage) {
		alter(s, atAgreement, func(e *entry.AgreementAccept) { e.Terms.Policy = "old" })
	}},
	{name: "reference-agreement-version", about: "the agreement is about another version", alter: func(s *stage) {
		alter(s, atAgreement, func(e *entry.AgreementAccept) { e.Terms.PolicyVersion = 2 })
	}},
	{name: "reference-scope-unasked", about: "a scope that was not asked for", alter: func(s *stage) {
		scope := atScope
		s.header.Scope = &scope
	}},
	{name: "reference-scope-missing", about: "the header has no scope, and the query does", alter: func(s *stage) {
		s.query.Scope = &bundle.Scope{Program: vectorProgram, Period: vectorPeriod}
	}},
	{name: "reference-scope-kind", about: "the header's scope is a group", alter: func(s *stage) {
		claims(s)
		group := atGroup
		s.header.Scope = &group
	}},
	{name: "reference-scope-other", about: "the scope of another period", alter: func(s *stage) {
		claims(s)
		alter(s, atScope, func(e *entry.ScopeOpen) { e.Period = "2025" })
	}},
	{name: "reference-holder", about: "the agreement is with another holder", alter: func(s *stage) {
		alter(s, atAgreement, func(e *entry.AgreementAccept) { e.Terms.Holder = tax })
	}},
	{name: "reference-requester", about: "the agreement is another requester's", alter: func(s *stage) { s.query.Requester = tax }},
	{name: "reference-group-unasked", about: "the header names a group, the agreement none", alter: func(s *stage) {
		group := atGroup
		s.header.Group = &group
	}},
	{name: "reference-group-missing", about: "the agreement is with a group, the header names none", alter: func(s *stage) {
		asGroup(s)
		s.header.Group = nil
	}},
	{name: "reference-group-other", about: "the group is not the agreement's", alter: func(s *stage) {
		asGroup(s)
		alter(s, atGroup, func(e *entry.GroupDefine) { e.Group = "others" })
	}},
	{name: "reference-group-member", about: "the requester does not belong to the group", alter: func(s *stage) {
		asGroup(s)
		s.query.Requester = tax
	}},
	{name: "reference-schema", about: "a declaration with 13 numeric columns, which the ledger lets stand", alter: func(s *stage) {
		alter(s, atDeclare, func(e *entry.DatasetDeclare) {
			e.Columns = slices.Clone(e.Columns)
			for i := range 7 {
				e.Columns = append(e.Columns, entry.Column{Name: "n" + string(rune('a'+i)), Type: "int"})
			}
		})
	}},
	{name: "reference-schema-word", about: "a column named like a word of the policy language", alter: func(s *stage) {
		alter(s, atDeclare, func(e *entry.DatasetDeclare) {
			e.Columns = append(slices.Clone(e.Columns), entry.Column{Name: "in", Type: "int"})
		})
	}},
}

// approver is the nth approver's key.
func approver(n int) ed25519.PrivateKey { return vectorKeys.Key("approver " + string(rune('1'+n))) }

// approving makes a configuration in which two of three people approve what stands on civil's log from an entry on.
func approving(s *stage, rules ...network.Approvers) {
	if len(rules) == 0 {
		rules = []network.Approvers{approvalRule(0)}
	}
	s.config = s.configure(func(m *network.Member) {
		if m.Name == civil {
			m.Approvers = rules
		}
	})
}

func approvalRule(from uint64) network.Approvers {
	r := network.Approvers{From: from, Number: 2}
	for n := range 3 {
		r.Keys = append(r.Keys, base64.StdEncoding.EncodeToString(approver(n).Public().(ed25519.PublicKey)))
	}
	slices.Sort(r.Keys)
	return r
}

// approve adds approvals to an entry.
func approve(s *stage, index uint64, origin string, approvers ...int) {
	e := s.entries[index].(entry.Approved)
	for _, n := range approvers {
		var err error
		e, err = entry.Approve(origin, e, approver(n))
		s.must(err)
	}
	s.entries[index] = e
}

// approveAll adds approvals to all that needs them.
func approveAll(s *stage, but uint64) {
	for _, index := range []uint64{atPolicy, atAgreement, atGroup, atGroupAgreement} {
		if index != but {
			approve(s, index, s.header.Origin, 0, 2)
		}
	}
}

// badApprovals lack people's approvals.
var badApprovals = []vector{
	{name: "approvals-policy", about: "nobody approved the policy", alter: func(s *stage) { approving(s); approveAll(s, atPolicy) }},
	{name: "approvals-agreement", about: "one of two approved the agreement", alter: func(s *stage) {
		approving(s)
		approveAll(s, atAgreement)
		approve(s, atAgreement, s.header.Origin, 1)
	}},
	{name: "approvals-group", about: "nobody approved the group", alter: func(s *stage) { asGroup(s); approving(s); approveAll(s, atGroup) }},
	{name: "approvals-stranger", about: "one of two approvals is of somebody whom the configuration does not name", alter: func(s *stage) {
		approving(s)
		approveAll(s, atPolicy)
		approve(s, atPolicy, s.header.Origin, 1, 5)
	}},
	{name: "approvals-other-log", about: "approvals for another log", alter: func(s *stage) {
		approving(s)
		approveAll(s, atPolicy)
		approve(s, atPolicy, s.config.Origin(tax), 0, 1)
	}},
	{name: "approvals-other-text", about: "approvals of a policy with another question", alter: func(s *stage) {
		approving(s)
		approveAll(s, 0)
		alter(s, atPolicy, func(e *entry.PolicyPublish) { e.Question += " Or so?" })
	}},
	{name: "approvals-bit", about: "an approval with a bit flipped", alter: func(s *stage) {
		approving(s)
		approveAll(s, 0)
		alter(s, atPolicy, func(e *entry.PolicyPublish) {
			raw, err := base64.StdEncoding.DecodeString(e.Approvals[0].Signature)
			s.must(err)
			raw[3] ^= 1
			e.Approvals = slices.Clone(e.Approvals)
			e.Approvals[0].Signature = b64(raw)
		})
	}},
	{name: "approvals-later-rule", about: "a later rule asks for one more than an earlier one", alter: func(s *stage) {
		more := approvalRule(atAgreement)
		more.Number = 3
		approving(s, approvalRule(0), more)
		approveAll(s, 0)
	}},
}

// signedBy replaces the query's signature.
func signedBy(f func(s *stage, signature, message []byte) string) func(s *stage) {
	return func(s *stage) {
		s.onBundle = func(b *bundle.Bundle) {
			raw, err := base64.StdEncoding.DecodeString(b.Query.Signature)
			s.must(err)
			b.Query.Signature = f(s, raw, []byte(bundle.LabelQuery+"\n"+b.Query.Body))
		}
	}
}

// badQuerySignatures are queries that the requester did not sign.
var badQuerySignatures = []vector{
	{name: "query-signature-other", about: "another member signed the query", alter: func(s *stage) { s.queryKey = queryKey(health) }},
	{name: "query-signature-log-key", about: "the requester's log key signed the query", alter: func(s *stage) { s.queryKey = vectorKeys.Key("log " + benefits) }},
	{name: "query-signature-label", about: "the query's text was signed as a header", alter: signedBy(func(_ *stage, _, message []byte) string {
		return b64(ed25519.Sign(queryKey(benefits), bytes.Replace(message, []byte(bundle.LabelQuery), []byte(bundle.LabelHeader), 1)))
	})},
	{name: "query-signature-no-label", about: "the query's text was signed without label", alter: signedBy(func(_ *stage, _, message []byte) string {
		return b64(ed25519.Sign(queryKey(benefits), message[len(bundle.LabelQuery)+1:]))
	})},
	{name: "query-signature-bit", about: "a bit of R is flipped", alter: signedBy(func(_ *stage, sig, _ []byte) string { sig[0] ^= 1; return b64(sig) })},
	{name: "query-signature-large-s", about: "S is not below the group's order", alter: signedBy(func(_ *stage, sig, _ []byte) string { return b64(largeS(sig)) })},
	{name: "query-signature-torsion", about: "R has a part of small order: only the equation times the cofactor holds", alter: signedBy(func(_ *stage, _, message []byte) string {
		return b64(torsioned(queryKey(benefits), vectorKeys.Key("ephemeral"), message))
	})},
	{name: "query-signature-short", about: "a signature of 63 bytes", alter: signedBy(func(_ *stage, sig, _ []byte) string { return b64(sig[:63]) })},
	{name: "query-signature-empty", about: "no signature", alter: signedBy(func(*stage, []byte, []byte) string { return "" })},
	{name: "query-signature-line", about: "a line feed in the signature's base64", alter: signedBy(func(_ *stage, sig, _ []byte) string {
		return b64(sig)[:40] + "\n" + b64(sig)[40:]
	})},
	{name: "query-signature-bits", about: "bits behind the last byte of the signature's base64", alter: signedBy(func(_ *stage, sig, _ []byte) string {
		text := []byte(b64(sig)) // 85 digits and two bits, then ==
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		text[85] = digits[bytes.IndexByte([]byte(digits), text[85])|1]
		return string(text)
	})},
	{name: "query-signature-no-member", about: "the requester is no member", alter: func(s *stage) {
		s.query.Requester = "GOV/nobody"
		alter(s, atAgreement, func(e *entry.AgreementAccept) { e.Terms.Requester = "GOV/nobody" })
	}},
}
