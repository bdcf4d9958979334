package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/grille-gateway/grille/node/logkey"
)

// observe logs a request by its operation. The URL is never logged: a caller may have put anything there.
func (s *Server) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_ = http.NewResponseController(w).SetWriteDeadline(start.Add(replyTime)) // unsupported only by test recorders
		next.ServeHTTP(seen, r)
		level := s.o.Logger.Debug
		if seen.status >= http.StatusInternalServerError {
			level = s.o.Logger.Warn
		}
		level("request served", logkey.Operation, r.Pattern, logkey.Status, seen.status, logkey.Duration, time.Since(start).Seconds())
	})
}

// statusWriter remembers the status. http.ResponseController finds the rest through Unwrap.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// withoutEcho replaces the mux's own plain answers (no such path, no such method) by problems, and its redirects to a
// cleaned path, which would echo the URL, by not found.
func withoutEcho(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &discard{header: http.Header{}}
		mux.ServeHTTP(probe, r)
		if probe.status == http.StatusMethodNotAllowed {
			w.Header().Set("Allow", probe.header.Get("Allow"))
			writeProblem(w, NewProblem(probe.status, "method_not_allowed", "this path has other methods; see /openapi.json"))
			return
		}
		writeProblem(w, NewProblem(http.StatusNotFound, CodeNotFound, "no such path; see /openapi.json"))
	})
}

// discard takes an answer that is only looked at.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }

func writeProblem(w http.ResponseWriter, p *Problem) {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(p); err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(body.Bytes()) // the client is gone if this fails
}

// fail turns a gateway's error into an answer. Only a *Problem is told; anything else is logged here, and only here.
func (s *Server) fail(operation string, err error) error {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	s.o.Logger.Error("operation failed", logkey.Operation, operation, logkey.Error, err)
	return NewProblem(http.StatusInternalServerError, CodeInternal, "internal error; the gateway's log says more")
}
