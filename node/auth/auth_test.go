package auth

import (
	"net/http"
	"testing"
)

func TestGuard(t *testing.T) {
	token := NewToken()
	if token == NewToken() {
		t.Fatal("two tokens are alike")
	}
	g, err := NewGuard(token + "\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		headers []string
		want    bool
	}{
		{"right", []string{"Bearer " + token}, true},
		{"scheme in lower case", []string{"bearer " + token}, true},
		{"none", nil, false},
		{"empty", []string{""}, false},
		{"no scheme", []string{token}, false},
		{"basic", []string{"Basic " + token}, false},
		{"another", []string{"Bearer " + NewToken()}, false},
		{"prefix", []string{"Bearer " + token[:42]}, false},
		{"longer", []string{"Bearer " + token + "A"}, false},
		{"two spaces", []string{"Bearer  " + token}, false},
		{"twice", []string{"Bearer " + token, "Bearer " + token}, false},
		{"second is right", []string{"Bearer x", "Bearer " + token}, false},
	} {
		r := &http.Request{Header: http.Header{"Authorization": c.headers}}
		if got := g.Allows(r); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestGuardRefusesWeakTokens(t *testing.T) {
	for _, s := range []string{"", "secret", NewToken()[:42], NewToken() + "A", " " + NewToken(), NewToken() + "\n\n"} {
		if _, err := NewGuard(s); err == nil {
			t.Errorf("%q was accepted", s)
		}
	}
}
