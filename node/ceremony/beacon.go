package ceremony

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/network"
)

// ErrBeacon says that what a seal gives for its beacon does not come from the ledger after the announced time.
var ErrBeacon = errors.New("beacon not from the ledger")

const (
	// beaconLabel begins what a beacon is the hash of.
	beaconLabel = "grille/v1/ceremony-beacon"
	// maxEvidence bounds the evidence of a beacon: the heads of 64 logs with a quorum of 31 mirrors have 600 KB.
	maxEvidence = 1 << 20
)

// evidence is what a beacon was made from: the first final head of each log that the coordinator saw after the announced time.
type evidence struct {
	Version       int            `json:"v"`             // 1
	Configuration string         `json:"configuration"` // digest of the network configuration whose mirrors cosigned
	Heads         []evidenceHead `json:"heads"`         // ascending by origin, at least a quorum
}

type evidenceHead struct {
	Origin     string `json:"origin"`
	Checkpoint string `json:"checkpoint"` // a C2SP checkpoint with exactly a quorum of cosignatures
}

// Beacon checks the evidence of a beacon and returns the beacon: SHA-256 over the label and origin, size and root of each head, strings
// with their lengths before them. A log whose owner is absent has no head, so a quorum of the logs of one configuration is enough; the
// ledger's time of each must be after the announced one. Nobody can show that no earlier head was left out, and the keys do not rest on
// it: they are sound if one contribution was honest.
func Beacon(configurations []*network.Configuration, data []byte, after time.Time) ([]byte, error) {
	var e evidence
	if err := bundle.DecodeCanonical(data, maxEvidence, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBeacon, err)
	}
	i := slices.IndexFunc(configurations, func(c *network.Configuration) bool { return c.Digest() == e.Configuration })
	if e.Version != 1 || i < 0 {
		return nil, fmt.Errorf("%w: version %d, of an unknown configuration", ErrBeacon, e.Version)
	}
	cfg := configurations[i]
	origins := cfg.Origins()
	if len(e.Heads) < cfg.Quorum() {
		return nil, fmt.Errorf("%w: %d heads, at least %d are needed", ErrBeacon, len(e.Heads), cfg.Quorum())
	}
	sum := sha256.New()
	add := func(b []byte) {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(b))))
		sum.Write(b)
	}
	add([]byte(beaconLabel))
	for n, h := range e.Heads {
		if n > 0 && h.Origin <= e.Heads[n-1].Origin || !slices.Contains(origins, h.Origin) {
			return nil, fmt.Errorf("%w: head %d is of no log of the configuration, or not in order", ErrBeacon, n)
		}
		tree, median, err := bundle.CheckHead([]*network.Configuration{cfg}, h.Origin, h.Checkpoint)
		if err != nil {
			return nil, fmt.Errorf("%w: head of %s: %w", ErrBeacon, h.Origin, err)
		}
		if !median.After(after) {
			return nil, fmt.Errorf("%w: head of %s is of %s, the announced time was %s", ErrBeacon, h.Origin,
				median.UTC().Format(time.RFC3339), after.UTC().Format(time.RFC3339))
		}
		add([]byte(h.Origin))
		add(binary.BigEndian.AppendUint64(nil, uint64(tree.N)))
		add(tree.Hash[:])
	}
	return sum.Sum(nil), nil
}

// gathering collects the heads of a beacon.
type gathering struct {
	cfg   *network.Configuration
	after time.Time
	heads map[string]string // by origin
}

func newGathering(cfg *network.Configuration, after time.Time) *gathering {
	return &gathering{cfg: cfg, after: after, heads: make(map[string]string)}
}

// missing are the members whose log has no head after the announced time yet.
func (g *gathering) missing() []string {
	var out []string
	for _, m := range g.cfg.Members {
		if _, ok := g.heads[m.Origin()]; !ok {
			out = append(out, m.Name)
		}
	}
	return out
}

// ask asks for the heads that are missing, each member for its own, and keeps the first that is late enough.
func (g *gathering) ask(ctx context.Context, head func(ctx context.Context, member string) ([]byte, error)) {
	type found struct {
		origin string
		head   []byte
	}
	missing := g.missing()
	results := make(chan found, len(missing))
	for _, member := range missing {
		go func() {
			data, err := head(ctx, member)
			if err != nil {
				data = nil // an absent member has no head
			}
			results <- found{g.cfg.Origin(member), data}
		}()
	}
	for range missing {
		r := <-results
		if r.head == nil {
			continue
		}
		if _, median, err := bundle.CheckHead([]*network.Configuration{g.cfg}, r.origin, string(r.head)); err == nil && median.After(g.after) {
			g.heads[r.origin] = string(r.head)
		}
	}
}

// enough tells whether there are as many heads as a beacon needs.
func (g *gathering) enough() bool { return len(g.heads) >= g.cfg.Quorum() }

// evidence is the heads in the form that Beacon reads.
func (g *gathering) evidence() ([]byte, error) {
	e := evidence{Version: 1, Configuration: g.cfg.Digest()}
	for origin, head := range g.heads {
		e.Heads = append(e.Heads, evidenceHead{origin, head})
	}
	slices.SortFunc(e.Heads, func(a, b evidenceHead) int { return cmp.Compare(a.Origin, b.Origin) })
	return bundle.Encode(e)
}
