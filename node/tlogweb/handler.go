// Package tlogweb lets anybody read the logs, have checkpoints witnessed and bring entries to this member's mirror, with
// tools nobody here wrote: C2SP tlog-tiles, tlog-witness and tlog-mirror over HTTPS.
//
//	GET  /ORIGIN/checkpoint               newest final head, with cosignatures of outside witnesses (tlog-tiles)
//	GET  /ORIGIN/tile/L/N[.p/W]           hash tiles; L is `entries` for entry bundles
//	GET  /mirror/HASH/checkpoint, /tile/  the same log as this member's mirror key cosigned it last (tlog-mirror)
//	GET  /witness/HASH/checkpoint         the checkpoint that the witness key cosigned last (tlog-witness)
//	POST /add-checkpoint                  consistency proof and checkpoint in, the witness key's cosignature out
//	POST /add-entries                     entries in, the mirror key's cosignature out once they are durable
//
// HASH is the lower-case hex SHA-256 of the origin. The last two stand below /ORIGIN too, for that log alone.
//
// Nobody is authenticated, so nothing is told but the logs, and everything is bounded: bodies, time, requests of one
// client and of all. What is signed is signed by package ledger, under its rules.
package tlogweb

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/node/logkey"
)

// Bounds of what strangers may ask at once.
const (
	maxPath     = 512              // bytes; the longest origin and tile path have 200
	maxRequests = 512              // at once
	maxUploads  = 4                // at once; each holds one package of up to 16 MiB
	maxReading  = 8                // entry bundles at once, of up to 16 MiB, from the disk
	maxSending  = 256 << 20        // bytes of tiles and bundles on their way out
	readTime    = 10 * time.Second // for a request to arrive, other than an upload
	replyTime   = 60 * time.Second // for a reply to leave
)

// Options are what the handler needs.
type Options struct {
	Store *ledger.Store
	// Outside returns the signature lines of outside witnesses for a final head of this member's own log; nil: none.
	Outside func(head ledger.Head) []byte
	// RequestsPerSecond is what one client address may ask, sustained.
	RequestsPerSecond float64
	// Observe is told the resource and the status of each reply; nil: nobody is.
	Observe func(resource string, status int)
	Logger  *slog.Logger // nil: none
}

// A Handler serves the logs of one store. It is safe for concurrent use.
type Handler struct {
	o       Options
	origins map[string]bool
	hashes  map[string]string // origin by its hash
	clients *clients
	busy    chan struct{}
	uploads chan struct{}
	reading chan struct{}
	sending *semaphore.Weighted
	tickets [sha256.Size]byte // key of the tickets of uploads
}

// New returns a handler.
func New(o Options) *Handler {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Outside == nil {
		o.Outside = func(ledger.Head) []byte { return nil }
	}
	if o.Observe == nil {
		o.Observe = func(string, int) {}
	}
	h := &Handler{o: o, origins: make(map[string]bool), hashes: make(map[string]string), clients: newClients(o.RequestsPerSecond),
		busy: make(chan struct{}, maxRequests), uploads: make(chan struct{}, maxUploads),
		reading: make(chan struct{}, maxReading), sending: semaphore.NewWeighted(maxSending)}
	for _, origin := range o.Store.Origins() {
		h.origins[origin] = true
		h.hashes[OriginHash(origin)] = origin
	}
	_, _ = rand.Read(h.tickets[:]) // never fails
	return h
}

// OriginHash is how tlog-witness and tlog-mirror name a log in a URL.
func OriginHash(origin string) string {
	sum := sha256.Sum256([]byte(origin))
	return hex.EncodeToString(sum[:])
}

// A route is what a path names.
type route struct {
	resource string // constant, for metrics
	post     bool
	serve    func(w http.ResponseWriter, r *http.Request)
}

// find returns the route of a path.
func (h *Handler) find(path string) (route, bool) {
	if path == "/" {
		return route{"index", false, h.index}, true
	}
	whole, ok := strings.CutPrefix(path, "/")
	if !ok {
		return route{}, false
	}
	if found, ok := h.submission(whole, ""); ok {
		return found, true
	}
	if found, ok := h.hashed(path); ok {
		return found, true
	}
	origin, rest, ok := h.cut(path)
	if !ok {
		return route{}, false
	}
	if rest == "checkpoint" {
		return route{"checkpoint", false, h.checkpoint(origin)}, true
	}
	if found, ok := h.submission(rest, origin); ok {
		return found, true
	}
	return h.tile(origin, rest)
}

// hashed returns the route of a path that names a log by its hash: the monitoring prefixes of mirror and witness, which
// the specification wants distinct.
func (h *Handler) hashed(path string) (route, bool) {
	parts := strings.SplitN(path, "/", 4)
	if len(parts) != 4 || h.hashes[parts[2]] == "" {
		return route{}, false
	}
	origin, rest := h.hashes[parts[2]], parts[3]
	switch {
	case parts[1] == "mirror" && rest == "checkpoint":
		return route{"mirror", false, h.cosigned(h.o.Store.Mirrored, origin)}, true
	case parts[1] == "mirror":
		return h.tile(origin, rest)
	case parts[1] == "witness" && rest == "checkpoint":
		return route{"witness", false, h.cosigned(h.o.Store.Witnessed, origin)}, true
	}
	return route{}, false
}

// cut takes a known origin off a path.
func (h *Handler) cut(path string) (origin, rest string, ok bool) {
	for i := 1; i < len(path); i++ {
		if path[i] == '/' && h.origins[path[1:i]] {
			return path[1:i], path[i+1:], true
		}
	}
	return "", "", false
}

// submission returns the route of a request to sign; with an origin, for that log alone.
func (h *Handler) submission(name, origin string) (route, bool) {
	switch name {
	case "add-checkpoint":
		return route{name, true, h.addCheckpoint(origin)}, true
	case "add-entries":
		return route{name, true, h.addEntries(origin)}, true
	}
	return route{}, false
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	resource := h.serve(seen, r)
	h.o.Observe(resource, seen.status)
	h.o.Logger.Debug("log request served", logkey.Kind, resource, logkey.Status, seen.status)
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (resource string) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-cache")
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(readTime)) // unsupported only by test recorders
	_ = rc.SetWriteDeadline(time.Now().Add(replyTime))
	release, wait, ok := h.clients.admit(r.Context(), r.RemoteAddr)
	if !ok {
		busy(w, http.StatusTooManyRequests, wait, "too many requests from this address")
		return "limited"
	}
	defer release()
	select {
	case h.busy <- struct{}{}:
		defer func() { <-h.busy }()
	default:
		busy(w, http.StatusServiceUnavailable, time.Second, "too many requests at once")
		return "limited"
	}
	var found route
	if len(r.URL.Path) <= maxPath {
		found, _ = h.find(r.URL.Path)
	}
	if found.serve == nil {
		plain(w, http.StatusNotFound, "no such log, tile or path; GET / lists the logs")
		return "none"
	}
	switch {
	case found.post && r.Method != http.MethodPost:
		w.Header().Set("Allow", "POST")
		plain(w, http.StatusMethodNotAllowed, "send this with POST")
	case !found.post && r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		plain(w, http.StatusMethodNotAllowed, "read this with GET")
	default:
		found.serve(w, r)
	}
	return found.resource
}

// fail answers with what an error of the store means in tlog-witness and tlog-mirror. Only what is about the request is
// told.
func (h *Handler) fail(w http.ResponseWriter, what string, err error) {
	for _, c := range []struct {
		is     error
		status int
		text   string
	}{
		{ledger.ErrOrigin, http.StatusNotFound, "this member takes no such log here"},
		{ledger.ErrNotWitness, http.StatusNotFound, "this member is no witness"},
		{ledger.ErrNotMirror, http.StatusNotFound, "this member is no mirror"},
		{ledger.ErrFenced, http.StatusNotFound, "the network ended this log"},
		{note.ErrSignature, http.StatusForbidden, "the checkpoint has no valid signature of the log's key"},
		{ledger.ErrHalted, http.StatusForbidden, "the log's owner signed two histories"},
		{ledger.ErrTwoRoots, http.StatusConflict, "the log has another root at this size"},
		{ledger.ErrBadProof, http.StatusUnprocessableEntity, "the proof does not verify"},
		{ledger.ErrInconsistent, http.StatusUnprocessableEntity, "the checkpoint contradicts the log here"},
		{note.ErrRequest, http.StatusBadRequest, "malformed request"},
		{note.ErrNote, http.StatusBadRequest, "malformed checkpoint"},
	} {
		if errors.Is(err, c.is) {
			plain(w, c.status, c.text)
			return
		}
	}
	if errors.Is(err, ledger.ErrStarting) || errors.Is(err, signer.ErrClock) || h.o.Store.Failure() != nil {
		busy(w, http.StatusServiceUnavailable, 5*time.Second, "this member signs nothing now; try again")
		return
	}
	if errors.Is(err, context.Canceled) {
		return // nobody waits for an answer
	}
	h.o.Logger.Error(what, logkey.Error, err)
	plain(w, http.StatusInternalServerError, "internal error")
}

// plain writes a reply of one line of text.
func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // the client is gone if this fails
}

// busy asks the client to come again.
func busy(w http.ResponseWriter, status int, wait time.Duration, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	plain(w, status, text)
}

// send writes a whole body.
func send(w http.ResponseWriter, status int, kind string, body []byte) {
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if this fails
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
