package metrics

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestScrape(t *testing.T) {
	m := New("v1")
	m.Watch(Gauges{
		ProverQueued: func() int { return 3 }, ProverRunning: func() int { return 1 }, PeersUp: func() int { return 2 },
		LogSizes: func() map[string]uint64 { return map[string]uint64{"GOV/tax": 7} },
		HeadAge:  func() time.Duration { return -time.Hour }, BrokenOwn: func() int { return 5 }, BrokenToUs: func() int { return 4 },
	})
	m.Answered("age-75/1", "satisfied", false, 250*time.Millisecond)
	m.Answered("age-75/1", "satisfied", false, 250*time.Millisecond)
	m.Answered("whatever the query named", "no_agreement", true, 0)
	m.Asked("GOV/health", "age-75/1", "satisfied", time.Second)
	m.Final(3 * time.Millisecond)
	m.PromiseBroken(SideHolder, "GOV/health")
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	body := w.Body.String()
	for _, line := range []string{
		`grille_answers_total{outcome="satisfied",policy="age-75/1"} 2`,
		`grille_refusals_total{code="no_agreement"} 1`,
		`grille_asked_total{holder="GOV/health",outcome="satisfied",policy="age-75/1"} 1`,
		`grille_proof_seconds_count 2`, `grille_finality_seconds_count 1`, `grille_prover_queued 3`, `grille_peers_up 2`,
		`grille_promises_broken_total{member="GOV/health",side="holder"} 1`, `grille_broken_promises_own 5`, `grille_broken_promises_to_us 4`,
		`grille_log_entries{member="GOV/tax"} 7`, `grille_head_age_seconds -1`, `grille_info{version="v1"} 1`,
	} {
		if !strings.Contains(body, line+"\n") {
			t.Errorf("missing: %s", line)
		}
	}
	if strings.Contains(body, "whatever") {
		t.Error("a refused query's own words became a label")
	}
}
