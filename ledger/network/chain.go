package network

import (
	"bytes"
	"fmt"
	"slices"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
)

// A Chain is a configuration that was pinned out of band and the links that lead from it to the newest version. All of it
// is verified. It is not safe for use while Extend runs.
type Chain struct {
	versions []*Configuration // from the pinned one on
	digests  []string
	links    []*Link
	pins     map[string][]tlog.Tree // by origin, of all links
}

// NewChain begins a chain with a configuration that is trusted.
func NewChain(pinned *Configuration) *Chain {
	return &Chain{versions: []*Configuration{pinned}, digests: []string{pinned.Digest()}, pins: make(map[string][]tlog.Tree)}
}

// Extend verifies a link from the newest version and appends it.
func (c *Chain) Extend(l *Link) error {
	next, err := l.Verify(c.Newest())
	if err != nil {
		return err
	}
	c.versions = append(c.versions, next)
	c.digests = append(c.digests, l.Proposal.Digest())
	c.links = append(c.links, l)
	for origin, pins := range l.pins() {
		c.pins[origin] = distinct(slices.Concat(c.pins[origin], pins))
	}
	return nil
}

// Clone returns a chain that can be extended apart from this one.
func (c *Chain) Clone() *Chain {
	out := &Chain{versions: slices.Clone(c.versions), digests: slices.Clone(c.digests), links: slices.Clone(c.links),
		pins: make(map[string][]tlog.Tree, len(c.pins))}
	for origin, pins := range c.pins {
		out.pins[origin] = slices.Clone(pins)
	}
	return out
}

// Newest returns the version in force.
func (c *Chain) Newest() *Configuration { return c.versions[len(c.versions)-1] }

// Pinned returns the version that was trusted from the start.
func (c *Chain) Pinned() *Configuration { return c.versions[0] }

// At returns a version by number.
func (c *Chain) At(version int) (*Configuration, bool) {
	i := version - c.versions[0].Version
	if i < 0 || i >= len(c.versions) {
		return nil, false
	}
	return c.versions[i], true
}

// ByDigest returns the version with a digest of 64 hexadecimal digits.
func (c *Chain) ByDigest(digest string) (*Configuration, bool) {
	i := slices.Index(c.digests, digest)
	if i < 0 {
		return nil, false
	}
	return c.versions[i], true
}

// Versions returns all versions, the pinned one first.
func (c *Chain) Versions() []*Configuration { return slices.Clone(c.versions) }

// Links returns the links, the one from the pinned version first.
func (c *Chain) Links() []*Link { return slices.Clone(c.links) }

// Pins returns the distinct trees that the handovers of all links name in a log, ascending by size, then by root. What was
// final in that log under any version of the chain before the newest is contained in one of them. Those of earlier links
// count on: where a log lay idle, the newest handovers may be of mirrors that never cosigned it.
//
// A mirror of the newest version cosigns the log only with trees that contain them all. If no tree can, the owner signed
// two histories, and the log halts until a fence ends it.
func (c *Chain) Pins(origin string) []tlog.Tree { return slices.Clone(c.pins[origin]) }

// chainFile is a chain on the disk.
type chainFile struct {
	Configuration *Configuration `json:"configuration"`
	Links         []*Link        `json:"links,omitempty"`
}

// Bytes returns the canonical document: JSON in one line, ending in a newline.
func (c *Chain) Bytes() []byte { return compact(chainFile{c.versions[0], c.links}) }

// ParseChain reads a chain exactly as Bytes writes it and verifies all links. Whether its first version is to be trusted
// is for the caller to know: compare Pinned's digest.
func ParseChain(data []byte) (*Chain, error) {
	var f chainFile
	if err := entry.DecodeStrict(data, MaxChainSize, &f); err != nil {
		return nil, fmt.Errorf("parsing configuration chain: %w: %w", ErrConfiguration, err)
	}
	if f.Configuration == nil {
		return nil, refuse("configuration", "", "the pinned version of the configuration")
	}
	if err := f.Configuration.validate(); err != nil {
		return nil, fmt.Errorf("parsing configuration chain: %w", err)
	}
	c := NewChain(f.Configuration)
	for i, l := range f.Links {
		if l == nil {
			return nil, step("links", "null", "a link")
		}
		if err := c.Extend(l); err != nil {
			return nil, fmt.Errorf("parsing configuration chain: link %d: %w", i+1, err)
		}
	}
	if !bytes.Equal(c.Bytes(), data) {
		return nil, fmt.Errorf("parsing configuration chain: %w: not in canonical form", ErrConfiguration)
	}
	return c, nil
}

// ReadChain reads a file that holds a chain, or a configuration alone: a chain without links.
func ReadChain(data []byte) (*Chain, error) {
	if bytes.HasPrefix(data, []byte(`{"configuration":`)) {
		return ParseChain(data)
	}
	c, err := Parse(data)
	if err != nil {
		return nil, err
	}
	return NewChain(c), nil
}

// File returns what ReadChain reads: Bytes, or the pinned configuration alone if there are no links.
func (c *Chain) File() []byte {
	if len(c.links) == 0 {
		return c.versions[0].Bytes()
	}
	return c.Bytes()
}
