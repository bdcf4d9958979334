package gateway

import (
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/peer"
)

// The transport's bounds must let through what the parts below may send.
func TestBoundsFitTheMessages(t *testing.T) {
	b := peer.DefaultBounds()
	for _, c := range []struct {
		name         string
		have, needed int
	}{
		{"push", b[peer.KindPush].Request, ledger.MaxMessage},
		{"push reply", b[peer.KindPush].Reply, ledger.MaxLine + 64},
		{"fresh head", b[peer.KindFresh].Reply, note.MaxSize},
		{"entries", b[peer.KindEntries].Reply, ledger.MaxMessage},
		{"query", b[peer.KindQuery].Request, bundle.MaxQuery},
		{"answer", b[peer.KindQuery].Reply, bundle.MaxBundle + bundle.MaxRefusal},
		{"receipt request", b[peer.KindReceiptPath].Request, bundle.MaxQuery},
	} {
		if c.have < c.needed {
			t.Errorf("%s: the transport carries %d bytes, a message has up to %d", c.name, c.have, c.needed)
		}
	}
}
