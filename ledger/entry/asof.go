package entry

import (
	"fmt"
	"time"
)

// ParseDate reads a day of the years 0001 to 9999 in its one form, YYYY-MM-DD, as its first instant in UTC. Days in this form compare
// like their texts.
func ParseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil || t.Format(time.DateOnly) != s || t.Year() < 1 {
		return time.Time{}, fmt.Errorf("%w: a date must be written like 2026-03-01", ErrEntry)
	}
	return t, nil
}

// AllowsAsOf reports whether the terms let a day be asked about that is not the current one. The day is one that ParseDate reads.
func (t *Terms) AllowsAsOf(day string) bool {
	return t.AsOfFrom != "" && day >= t.AsOfFrom && (t.AsOfTo == "" || day <= t.AsOfTo)
}

// asOf checks the days that terms let be asked about.
func (c *checker) asOf(t Terms) {
	for field, day := range map[string]string{"terms.as_of_from": t.AsOfFrom, "terms.as_of_to": t.AsOfTo} {
		if _, err := ParseDate(day); day != "" && err != nil {
			c.fail(field, "must be a date like 2026-03-01")
		}
	}
	switch {
	case t.AsOfTo != "" && t.AsOfFrom == "":
		c.fail("terms.as_of_to", "must stand beside terms.as_of_from")
	case t.AsOfTo != "" && t.AsOfTo < t.AsOfFrom:
		c.fail("terms.as_of_to", "must not be before terms.as_of_from")
	}
}
