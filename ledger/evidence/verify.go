package evidence

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"filippo.io/torchwood"
	sumnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// Keys says whose keys sign what: one configuration. Trusted.
type Keys interface {
	// LogKey returns the verifier key of the log with that origin and the member who owns it.
	LogKey(origin string) (vkey, member string, ok bool)
	// Mirrors returns the members that cosign.
	Mirrors() []network.Member
}

// A Finding is what evidence shows.
type Finding struct {
	Origin        string
	Owner         string    // the member who signed both
	First, Second tlog.Tree // as signed
	Mirrors       []string  // members whose one key cosigned both, ascending
}

// ID returns 64 hexadecimal digits that are the same for the same origin and the same accused, whatever two checkpoints
// show it.
func (f Finding) ID() string {
	h := sha256.New()
	for _, s := range append([]string{"grille/v1/evidence", f.Origin, f.Owner}, f.Mirrors...) {
		io.WriteString(h, s+"\n") // names and origins have no line feeds; a hash takes every write
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Covers tells whether f accuses everybody whom other accuses, of the same log: who has f learns nothing new from other.
func (f Finding) Covers(other Finding) bool {
	return f.Origin == other.Origin && f.Owner == other.Owner &&
		!slices.ContainsFunc(other.Mirrors, func(m string) bool { return !slices.Contains(f.Mirrors, m) })
}

// Verify verifies both signatures of the owner and the proof, and names who is accused. keys are the configurations that
// may have been in force, the newest first: both notes must be signed by the log key that one of them gives for the
// origin. Cosignatures count for mirrors of any of them; one that does not verify accuses nobody and spoils nothing.
//
// An error wraps ErrMalformed or ErrUnproven: nobody is accused.
func (e Evidence) Verify(keys ...Keys) (Finding, error) {
	first, second, err := e.notes()
	if err != nil {
		return Finding{}, fmt.Errorf("verifying evidence: %w", err)
	}
	if !ordered(first.Tree, second.Tree) || len(e.Proof) > MaxProof {
		return Finding{}, fmt.Errorf("verifying evidence: %w: order of the checkpoints or length of the proof", ErrMalformed)
	}
	f := Finding{Origin: first.Origin, First: first.Tree, Second: second.Tree}
	if f.Owner, err = owner(first, second, keys); err != nil {
		return Finding{}, fmt.Errorf("verifying evidence: %w", err)
	}
	if err := check(first.Tree, second.Tree, e.Root, e.Proof); err != nil {
		if errors.Is(err, ErrConsistent) {
			err = fmt.Errorf("%w: %w", ErrUnproven, err)
		}
		return Finding{}, fmt.Errorf("verifying evidence: %w", err)
	}
	f.Mirrors = accused(first, second, keys)
	return f, nil
}

// owner returns the member whose one log key signed both notes.
func owner(first, second note.Checkpoint, keys []Keys) (string, error) {
	err := fmt.Errorf("%w: nobody known owns the log %q", ErrUnproven, first.Origin)
	for _, k := range keys {
		vkey, member, ok := k.LogKey(first.Origin)
		if !ok {
			continue
		}
		v, verr := sumnote.NewVerifier(vkey)
		if verr != nil {
			return "", fmt.Errorf("reading log key of %s: %w", member, verr)
		}
		if signed(first, v) && signed(second, v) {
			return member, nil
		}
		err = fmt.Errorf("%w: %s did not sign both checkpoints", ErrUnproven, member)
	}
	return "", err
}

// signed tells whether any line of a note is a good signature of v's key.
func signed(c note.Checkpoint, v sumnote.Verifier) bool {
	return slices.ContainsFunc(c.Sigs, func(s note.Signature) bool {
		return s.Name == v.Name() && s.Hash == v.KeyHash() && v.Verify([]byte(c.Text), s.Body)
	})
}

// accused returns the mirrors with a key that cosigned both notes. Two keys of one member do not make a pair: one that
// lost its disk takes a new key because it cannot know what the old one signed.
func accused(first, second note.Checkpoint, keys []Keys) []string {
	names := make(map[string]bool) // names of keys that stand in both notes
	for _, s := range first.Sigs {
		if slices.ContainsFunc(second.Sigs, func(t note.Signature) bool { return s.Name == t.Name && s.Hash == t.Hash }) {
			names[s.Name] = true
		}
	}
	out := make(map[string]bool)
	tried := make(map[string]bool)
	for _, k := range keys {
		for _, m := range k.Mirrors() {
			if tried[m.MirrorKey] {
				continue
			}
			tried[m.MirrorKey] = true
			v, err := torchwood.NewCosignatureVerifier(m.MirrorKey)
			if err == nil && names[v.Name()] && signed(first, v) && signed(second, v) {
				out[m.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}
