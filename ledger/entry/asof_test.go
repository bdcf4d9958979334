package entry

import (
	"errors"
	"testing"
)

func TestTermsNameDaysInOneForm(t *testing.T) {
	terms := Terms{Requester: "GOV/benefits", Holder: "GOV/land", Policy: "owner", PolicyVersion: 1, Purpose: "p", LegalBasis: "l",
		BudgetCommitment: "0000000000000000000000000000000000000000000000000000000000000000", Expires: "2030-01-01T00:00:00Z"}
	for name, c := range map[string]struct {
		from, to string
		ok       bool
	}{
		"none":              {"", "", true},
		"both":              {"2020-02-29", "2026-12-31", true},
		"one day":           {"2026-03-01", "2026-03-01", true},
		"no end":            {"0001-01-01", "", true},
		"no beginning":      {"", "2026-03-01", false},
		"turned round":      {"2026-03-02", "2026-03-01", false},
		"no such day":       {"2026-02-29", "", false},
		"year 0":            {"0000-01-01", "", false},
		"without zeroes":    {"2026-3-1", "", false},
		"a time":            {"2026-03-01T00:00:00Z", "", false},
		"space":             {" 2026-03-01", "", false},
		"end is not a date": {"2026-03-01", "today", false},
	} {
		terms.AsOfFrom, terms.AsOfTo = c.from, c.to
		raw, err := Encode(AgreementOffer{Terms: terms, Time: "2026-03-01T12:00:00Z"})
		if c.ok != (err == nil) || err != nil && !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			if e, err := Decode(raw); err != nil || e.(AgreementOffer).Terms.AsOfTo != c.to {
				t.Errorf("%s: read back as %+v, %v", name, e, err)
			}
		}
	}
}

func TestTermsAllowDays(t *testing.T) {
	for name, c := range map[string]struct {
		from, to, day string
		want          bool
	}{
		"no range":    {"", "", "2026-03-01", false},
		"first day":   {"2026-03-01", "2026-03-09", "2026-03-01", true},
		"last day":    {"2026-03-01", "2026-03-09", "2026-03-09", true},
		"before":      {"2026-03-01", "2026-03-09", "2026-02-28", false},
		"after":       {"2026-03-01", "2026-03-09", "2026-03-10", false},
		"open end":    {"2026-03-01", "", "2999-01-01", true},
		"before open": {"2026-03-01", "", "1999-12-31", false},
	} {
		terms := Terms{AsOfFrom: c.from, AsOfTo: c.to}
		if got := terms.AllowsAsOf(c.day); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
