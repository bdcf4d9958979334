package client

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/node/api"
)

// gateway answers as a test wants and keeps what it was sent.
func gateway(t *testing.T, status int, body string) (*Client, *http.Request) {
	t.Helper()
	var seen http.Request
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = *r.Clone(context.Background())
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return New(s.URL, "secret", nil), &seen
}

func TestRepliesAreReadAsAsked(t *testing.T) {
	c, seen := gateway(t, http.StatusCreated, `{"index":7}`)
	var p api.Published
	if err := c.Post(t.Context(), "/v1/policies", struct{}{}, &p); err != nil || p.Index != 7 {
		t.Fatalf("%+v %v", p, err)
	}
	if seen.Header.Get("Authorization") != "Bearer secret" || seen.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("sent %v", seen.Header)
	}
	var raw []byte
	if err := c.Get(t.Context(), "/v1/x", &raw); err != nil || string(raw) != `{"index":7}` {
		t.Fatalf("%s %v", raw, err)
	}
}

func TestProblemsKeepTheirCode(t *testing.T) {
	c, _ := gateway(t, http.StatusForbidden, `{"status":403,"code":"no_agreement","detail":"offer one"}`)
	var p *api.Problem
	if err := c.Get(t.Context(), "/v1/x", nil); !errors.As(err, &p) || p.Code != "no_agreement" || p.Detail != "offer one" {
		t.Fatalf("%v", err)
	}
}

func TestWhatIsNoGatewaysReply(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"a proxy's page": {http.StatusBadGateway, "<html>"},
		"not JSON":       {http.StatusOK, "hello"},
		"too long":       {http.StatusOK, strings.Repeat(" ", MaxReply+1)},
	} {
		client, _ := gateway(t, c.status, c.body)
		var v map[string]any
		if err := client.Get(t.Context(), "/v1/x", &v); !errors.Is(err, ErrReply) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNobodyThere(t *testing.T) {
	c, _ := gateway(t, http.StatusOK, "{}")
	c.Base = "http://127.0.0.1:1"
	if err := c.Get(t.Context(), "/v1/x", nil); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("%v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	if err := c.Get(ctx, "/v1/x", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
}
