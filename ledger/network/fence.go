package network

import (
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"
)

// A Fence ends the history of one log: the first Size entries with this root stand for ever, and nothing follows them.
// Its member continues with the next generation of its log, under a new key, or has left.
type Fence struct {
	Origin string `json:"origin"`
	Member string `json:"member"`      // who owned it
	LogKey string `json:"log_key"`     // its verifier key, so that old checkpoints can still be verified
	Size   int64  `json:"size,string"` // entries
	Root   string `json:"root"`        // of the tree of that size, 64 hexadecimal digits
}

// Tree returns the tree that a valid fence ends at.
func (f Fence) Tree() tlog.Tree { return tree(f.Size, f.Root) }

// tree makes a tree of a size and a root that were validated.
func tree(size int64, root string) tlog.Tree {
	t := tlog.Tree{N: size}
	raw, err := hex.DecodeString(root)
	if err != nil || len(raw) != tlog.HashSize {
		panic("network: a root that was not validated")
	}
	copy(t.Hash[:], raw)
	return t
}

// emptyRoot is the root of the tree without entries, in hexadecimal digits: SHA-256 of nothing (RFC 6962, section 2.1).
const emptyRoot = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// checkTree checks the size and the root of a tree; field is where it stands.
func checkTree(field string, size int64, root string) error {
	switch {
	case size < 0 || size > MaxTreeSize:
		return refuse(field+".size", strconv.FormatInt(size, 10), fmt.Sprintf("0 to %d entries", int64(MaxTreeSize)))
	case !hexForm.MatchString(root):
		return refuse(field+".root", root, "64 lower-case hexadecimal digits")
	case size == 0 && root != emptyRoot:
		return refuse(field+".root", root, "the root of an empty tree, "+emptyRoot)
	}
	return nil
}

// validate checks one fence and returns its raw log key.
func (f Fence) validate(instance string) ([]byte, error) {
	member, _, ok := parseName(f.Origin, instance, "log")
	switch {
	case !ok:
		return nil, refuse("fences.origin", f.Origin, "the origin of a log, like "+LogName(instance, "GOV/tax", 1))
	case f.Member != member:
		return nil, refuse("fences.member", f.Member, member+", whom the origin names")
	}
	if err := checkTree("fences", f.Size, f.Root); err != nil {
		return nil, err
	}
	return parseLogVKey("fences.log_key", f.LogKey, f.Origin)
}

// validateFences checks the list of fences against the members; keys holds the raw keys in use, with their holders.
func (c *Configuration) validateFences(keys map[string]string) error {
	if len(c.Fences) > MaxFences {
		return refuse("fences", strconv.Itoa(len(c.Fences)), fmt.Sprintf("at most %d", MaxFences))
	}
	for i, f := range c.Fences {
		if i > 0 && c.Fences[i-1].Origin >= f.Origin {
			return refuse("fences.origin", f.Origin, "distinct origins in ascending order")
		}
		raw, err := f.validate(c.Instance)
		if err != nil {
			return err
		}
		if other, ok := keys[string(raw)]; ok {
			return refuse("fences.log_key", f.Origin, "a key of its own; "+other+" holds the same one")
		}
		keys[string(raw)] = "the fenced log " + f.Origin
		if m, ok := c.Member(f.Member); ok && generation(m.Origin(), c.Instance, "log") <= generation(f.Origin, c.Instance, "log") {
			return refuse("fences.origin", f.Origin, "a generation before "+m.Origin()+", which is "+m.Name+"'s log now")
		}
	}
	return nil
}
