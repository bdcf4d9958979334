package note

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

// Assemble returns a note that holds the owner's signature of a signed checkpoint and exactly the given cosignatures,
// ordered by mirror.
func Assemble(owner Checkpoint, cosigs []Cosignature) []byte {
	cosigs = slices.Clone(cosigs)
	slices.SortFunc(cosigs, func(a, b Cosignature) int { return strings.Compare(a.Mirror, b.Mirror) })
	var b strings.Builder
	b.WriteString(owner.Text + "\n")
	for _, s := range owner.Sigs {
		if s.Name == owner.Origin {
			b.WriteString(s.Line())
			break
		}
	}
	for _, c := range cosigs {
		b.WriteString(c.Line)
	}
	return []byte(b.String())
}

// VerifyHead verifies a final head: the owner's signature and valid cosignatures of at least q distinct mirrors of the
// configuration, q being at least 1. It returns the tree and the cosignature times, ascending, one for each mirror that
// signed.
//
// Signatures of unknown keys are ignored. A bad or a second signature of a mirror refuses the whole head.
func VerifyHead(cfg *network.Configuration, origin string, data []byte, q int) (tlog.Tree, []time.Time, error) {
	c, cosigs, err := Cosignatures(cfg, origin, data)
	if err != nil {
		return tlog.Tree{}, nil, err
	}
	if q < 1 || len(cosigs) < q {
		return tlog.Tree{}, nil, fmt.Errorf("%w: %d mirrors cosigned, the quorum is %d", ErrSignature, len(cosigs), q)
	}
	times := make([]time.Time, len(cosigs))
	for i, s := range cosigs {
		times[i] = s.Time
	}
	slices.SortFunc(times, time.Time.Compare)
	return c.Tree, times, nil
}

// Cosignatures verifies the owner's signature and all mirrors' cosignatures in a note, however many there are.
func Cosignatures(cfg *network.Configuration, origin string, data []byte) (Checkpoint, []Cosignature, error) {
	c, err := VerifyOwner(cfg, origin, data)
	if err != nil {
		return Checkpoint{}, nil, err
	}
	byName := make(map[string]network.Member)
	for _, m := range cfg.Mirrors() {
		byName[m.MirrorName()] = m
	}
	var out []Cosignature
	seen := make(map[string]bool)
	for _, s := range c.Sigs {
		m, ok := byName[s.Name]
		if !ok {
			continue
		}
		v, err := torchwood.NewCosignatureVerifier(m.MirrorKey)
		if err != nil {
			return Checkpoint{}, nil, fmt.Errorf("reading mirror key of %s: %w", m.Name, err)
		}
		if s.Hash != v.KeyHash() {
			continue // an unknown key under a known name
		}
		if seen[m.Name] {
			return Checkpoint{}, nil, fmt.Errorf("%w: %s cosigned twice", ErrSignature, m.Name)
		}
		seen[m.Name] = true
		cs, err := verify(m, v, c.Text, s)
		if err != nil {
			return Checkpoint{}, nil, err
		}
		out = append(out, cs)
	}
	return c, out, nil
}
