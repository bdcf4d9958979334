package ceremony

import (
	"slices"
	"strings"
	"testing"
)

func TestWhoseTurn(t *testing.T) {
	for _, c := range []struct {
		name, next, done string
		passed           map[string]int
		enough           bool
		there            string
		want             decision
		late             string
	}{
		{"the first begins, there or not", "a", "", nil, false, "", decision{Wait: "a"}, ""},
		{"the order holds whoever is there", "b", "a", nil, false, "d", decision{Wait: "b"}, ""},
		{"who was passed over waits for the end of the round", "d", "ac", map[string]int{"b": 1}, false, "b", decision{Wait: "d"}, "b"},
		{"then it comes", "b", "acd", map[string]int{"b": 1}, true, "b", decision{Wait: "b"}, "b"},
		{"or the phase closes without it", "b", "acd", map[string]int{"b": 1}, true, "", decision{Close: true}, "b"},
		{"not with too few", "b", "ac", map[string]int{"b": 1, "d": 1}, false, "", decision{}, "bd"},
		{"not with too few, until one comes back", "b", "ac", map[string]int{"b": 1, "d": 1}, false, "d", decision{Pass: "b"}, "bd"},
		{"and has its time", "d", "ac", map[string]int{"b": 2, "d": 1}, false, "d", decision{Wait: "d"}, "bd"},
		{"who was refused three times does not come back", "b", "ac", map[string]int{"b": 3, "d": 1}, false, "b", decision{}, "d"},
		{"nor keeps the phase open", "b", "acd", map[string]int{"b": 3}, true, "b", decision{Close: true}, ""},
		{"nobody is left who could come", "b", "a", map[string]int{"b": 3, "c": 3, "d": 3}, false, "bcd", decision{}, ""},
		{"who was absent often does not, either", "b", "acd", map[string]int{"b": 16}, true, "b", decision{Close: true}, ""},
		{"everybody contributed", "", "abcd", nil, true, "abcd", decision{Close: true}, ""},
	} {
		s := standing{order: strings.Split("abcd", ""), next: c.next, done: strings.Split(c.done, ""), passed: c.passed, failed: c.passed, enough: c.enough}
		if got := s.decide(func(m string) bool { return strings.Contains(c.there, m) }); got != c.want {
			t.Errorf("%s: %+v", c.name, got)
		}
		if got := s.late(); !slices.Equal(got, strings.Split(c.late, "")) && len(got)+len(c.late) > 0 {
			t.Errorf("%s: %v may still come", c.name, got)
		}
	}
}
