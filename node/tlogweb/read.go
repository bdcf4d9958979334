package tlogweb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger"
)

// Media types of tlog-tiles.
const (
	textType = "text/plain; charset=utf-8"
	tileType = "application/octet-stream"
)

// index lists the logs with their keys, for people. Whoever trusts a key because it stands here trusts this server.
func (h *Handler) index(w http.ResponseWriter, _ *http.Request) {
	cfg := h.o.Store.Config()
	var b strings.Builder
	fmt.Fprintf(&b, "Logs of the network %s, in the formats of C2SP: tlog-tiles below each origin, tlog-witness and tlog-mirror here.\n"+
		"Compare keys with somebody whom you trust.\n", cfg.Instance)
	for _, origin := range h.o.Store.Origins() {
		key, member, _ := cfg.LogKey(origin)
		fmt.Fprintf(&b, "\n%s\n  member  %s\n  key     %s\n  mirror  /mirror/%s\n", origin, member, key, OriginHash(origin))
	}
	send(w, http.StatusOK, textType, []byte(b.String()))
}

// checkpoint serves the newest final head of a log, with what outside witnesses signed of it.
func (h *Handler) checkpoint(origin string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		head, ok := h.o.Store.Final(origin)
		if !ok {
			plain(w, http.StatusNotFound, "the log has no final checkpoint yet")
			return
		}
		send(w, http.StatusOK, textType, append(bytes.Clone(head.Checkpoint), h.o.Outside(head)...))
	}
}

// cosigned serves a checkpoint that a key of this member cosigned.
func (h *Handler) cosigned(last func(origin string) ([]byte, error), origin string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		data, err := last(origin)
		switch {
		case err != nil:
			h.fail(w, "serving a cosigned checkpoint", err)
		case data == nil:
			plain(w, http.StatusNotFound, "this key has cosigned nothing of the log")
		default:
			send(w, http.StatusOK, textType, data)
		}
	}
}

// tile serves a tile or an entry bundle of exactly the width asked for. What it holds never changes.
func (h *Handler) tile(origin, path string) (route, bool) {
	t, err := torchwood.ParseTilePath(path)
	if err != nil || torchwood.TilePath(t) != path { // it takes tile/data for entries, too
		return route{}, false
	}
	resource := "tile"
	if t.L < 0 {
		resource = "entries"
	}
	return route{resource, false, func(w http.ResponseWriter, r *http.Request) {
		data, err := h.read(r.Context(), origin, t)
		switch {
		case errors.Is(err, ledger.ErrRange), errors.Is(err, ledger.ErrOrigin):
			plain(w, http.StatusNotFound, "the log does not reach as far")
		case err != nil:
			h.fail(w, "serving a tile", err)
		case !h.sending.TryAcquire(int64(len(data))):
			busy(w, http.StatusServiceUnavailable, time.Second, "too much is being read")
		default:
			defer h.sending.Release(int64(len(data)))
			w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
			send(w, http.StatusOK, tileType, data)
		}
	}}, true
}

// read reads a tile; of entry bundles, which may be large, only a few at once.
func (h *Handler) read(ctx context.Context, origin string, t tlog.Tile) ([]byte, error) {
	if t.L < 0 {
		select {
		case h.reading <- struct{}{}:
			defer func() { <-h.reading }()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return h.o.Store.Tile(origin, t)
}
