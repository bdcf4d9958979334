package api

import (
	"context"
	"io"
	"strings"
	"testing"
)

const oneCeremony = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (f *fake) Ceremonies(context.Context) ([]Ceremony, error) {
	return []Ceremony{{ID: oneCeremony}}, nil
}
func (f *fake) Ceremony(_ context.Context, id string) (*Ceremony, error) {
	return &Ceremony{ID: id}, nil
}
func (f *fake) OpenCeremony(_ context.Context, o CeremonyOpening) (*Ceremony, error) {
	return &Ceremony{ID: oneCeremony, Contributors: o.Contributors}, nil
}
func (f *fake) Contribute(_ context.Context, id string, phase int) (*Ceremony, error) {
	if id == "" {
		return nil, NewProblem(409, "several_ceremonies", "name one")
	}
	return &Ceremony{ID: id, Phase: phase}, nil
}
func (f *fake) SealCeremony(_ context.Context, id string) (*Ceremony, error) {
	return &Ceremony{ID: id}, nil
}
func (f *fake) VerifyCeremony(_ context.Context, id string, adopt bool) (*Ceremony, error) {
	if adopt {
		return nil, NewProblem(409, "ceremony_adopt", "demo only")
	}
	return &Ceremony{ID: id}, nil
}
func (f *fake) FetchCeremony(_ context.Context, id string) (*Ceremony, error) {
	return &Ceremony{ID: id}, nil
}
func (f *fake) SubmitContribution(_ context.Context, r io.Reader) (*Ceremony, error) {
	data, err := io.ReadAll(r)
	if err != nil || !strings.HasPrefix(string(data), "grille") {
		return nil, NewProblem(422, "ceremony_refused", "not a contribution")
	}
	return &Ceremony{ID: oneCeremony}, nil
}

func TestCeremony(t *testing.T) {
	r := newRig(t, &fake{}, nil)
	one := `{"ceremony":"` + oneCeremony + `"}`
	for _, c := range []struct {
		method, path, kind, body string
		status                   int
		want                     string
	}{
		{"GET", "/v1/ceremony", "", "", 200, oneCeremony},
		{"GET", "/v1/ceremony/" + oneCeremony, "", "", 200, oneCeremony},
		{"GET", "/v1/ceremony/" + secret, "", "", 422, "path.ceremony"},
		{"POST", "/v1/ceremony/open", "application/json", `{"contributors":3}`, 200, `"contributors":3`},
		{"POST", "/v1/ceremony/open", "application/json", `{"contributors":65}`, 422, "body.contributors"},
		{"POST", "/v1/ceremony/open", "application/json", `{"turn_seconds":2592001}`, 422, "body.turn_seconds"},
		{"POST", "/v1/ceremony/contribute", "application/json", `{}`, 409, "several_ceremonies"},
		{"POST", "/v1/ceremony/contribute", "application/json", one, 200, oneCeremony},
		{"POST", "/v1/ceremony/contribute", "application/json", `{"phase":3}`, 422, "body.phase"},
		{"POST", "/v1/ceremony/contribute", "application/json", `{"ceremony":"` + secret + `"}`, 422, "body.ceremony"},
		{"POST", "/v1/ceremony/seal", "application/json", one, 200, oneCeremony},
		{"POST", "/v1/ceremony/verify", "application/json", one, 200, oneCeremony},
		{"POST", "/v1/ceremony/verify", "application/json", `{"adopt":true}`, 409, "ceremony_adopt"},
		{"POST", "/v1/ceremony/fetch", "application/json", one, 200, oneCeremony},
		{"POST", "/v1/ceremony/submit", "application/octet-stream", "grille-ceremony-contribution/1\n", 200, oneCeremony},
		{"POST", "/v1/ceremony/submit", "application/octet-stream", secret, 422, "ceremony_refused"},
		{"POST", "/v1/ceremony/submit", "application/octet-stream", "grille" + strings.Repeat("x", maxContribution), 413, "too_large"},
	} {
		w := r.do(t, c.method, c.path, c.kind, c.body)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || strings.Contains(w.Body.String(), secret) {
			t.Errorf("%s %s %.80s: %d %s, want %d with %s", c.method, c.path, c.body, w.Code, w.Body, c.status, c.want)
		}
	}
	if strings.Contains(r.log.String(), secret) {
		t.Error("the log holds what a caller sent")
	}
}
