package audit

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/grille-gateway/grille/ledger/entry"
)

// TestChangedBytesAreFound flips a bit in every few bytes of every file that is signed or follows from what is signed. None
// passes. (Of lock and signer/mirror/created-1 only the name counts; the index has tests of its own.)
func TestChangedBytesAreFound(t *testing.T) {
	c := newTown(t, t.TempDir())
	c.write("GOV/tax", c.declare("income"), c.epoch("income", 0, 1))
	c.write("GOV/tax", c.policy("low", 1, "income", 0))
	c.write("GOV/benefits", entry.AgreementOffer{Terms: terms(2), Time: c.stamp()})
	c.close()
	dir, flipped := c.path("GOV/tax"), 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains([]string{"lock", "index.db", "created-1"}, d.Name()) {
			return err
		}
		good, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for at := len(good) % 7; at < len(good); at += 7 {
			bad := append([]byte(nil), good...)
			bad[at] ^= 1 << (at % 8)
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				return err
			}
			if r := c.audit(dir); r.Clean() {
				t.Errorf("%s: byte %d changed from %q to %q: clean", path, at, good[at], bad[at])
			}
			flipped++
		}
		return os.WriteFile(path, good, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Run(context.Background(), c.options(dir)); err != nil || !r.Clean() || flipped < 500 {
		t.Errorf("%d bytes changed, and put back: %v, %v", flipped, err, r)
	}
}
