package exchange_test

import (
	"github.com/grille-gateway/grille/exchange/bundle"
)

// validVectors verify.
var validVectors = []vector{
	{name: sampleVector, about: "satisfied; the requester is 76, everything is there but receipt, opening and disclosed values"},
	{name: "valid-not-satisfied", about: "not satisfied: 64 until the next day", alter: func(s *stage) { s.subject = "P-0003" }},
	{name: "valid-indeterminate", about: "a value that the policy reads is missing", alter: func(s *stage) { s.subject = "P-0004" }},
	{name: "valid-no-record", about: "the dataset proves that it has no such subject", alter: func(s *stage) { s.subject = "P-9999" }},
	{name: "valid-disclosed", about: "numeric columns of every type and texts are disclosed", alter: func(s *stage) {
		s.query.Disclose = []string{"birth_date", "code", "household", "income", "level", "married", "region", "town"}
	}},
	{name: "valid-logged-and-opened", about: "with the receipt's path, and the opening of the tag", alter: func(s *stage) { s.logged, s.opening = true, true }},
	{name: "valid-claim-first", about: "a claim that is logged, with the logs: it is the first", log: true, alter: func(s *stage) {
		claims(s)
		s.claimed, s.logged = true, true
	}},
}

// claims makes the query one for a claim.
func claims(s *stage) {
	scope := atScope
	s.query.Scope, s.header.Scope = &bundle.Scope{Program: vectorProgram, Period: vectorPeriod}, &scope
}
