package schema

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/grille-gateway/grille/ledger/network"
)

// ErrIdentifier means that a text is no identifier of its scheme. The error says what is, and does not contain the text.
var ErrIdentifier = errors.New("not an identifier of this scheme")

// MaxIdentifier bounds a subject's identifier in bytes.
const MaxIdentifier = 128

// An Identifier reads the identifiers of one scheme. It is safe for concurrent use.
type Identifier struct {
	scheme  network.Scheme
	pattern *regexp.Regexp
}

// NewIdentifier compiles a scheme's pattern, an RE2 expression that has to match a whole normalised identifier.
func NewIdentifier(scheme network.Scheme) (*Identifier, error) {
	if len(scheme.Pattern) > network.MaxPattern {
		return nil, fmt.Errorf("identifier scheme %s: pattern beyond %d bytes", scheme.Name, network.MaxPattern)
	}
	if _, err := regexp.Compile(scheme.Pattern); err != nil { // alone first: "a)|(b" would escape the anchors
		return nil, fmt.Errorf("identifier scheme %s: %w", scheme.Name, err)
	}
	re, err := regexp.Compile(`\A(?:` + scheme.Pattern + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("identifier scheme %s: %w", scheme.Name, err)
	}
	if scheme.Normalise != "upper" && scheme.Normalise != "none" {
		return nil, fmt.Errorf(`identifier scheme %s: normalise must be "upper" or "none"`, scheme.Name)
	}
	return &Identifier{scheme: scheme, pattern: re}, nil
}

// Normalise returns the one form of an identifier that subject keys are made from: Unicode NFC, in upper case where the scheme
// says so. Any error wraps ErrIdentifier.
func (n *Identifier) Normalise(id string) (string, error) {
	if id == "" || len(id) > MaxIdentifier || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return "", n.refuse()
	}
	id = norm.NFC.String(id)
	if n.scheme.Normalise == "upper" {
		id = norm.NFC.String(strings.ToUpper(id))
	}
	if len(id) > MaxIdentifier || !n.pattern.MatchString(id) {
		return "", n.refuse()
	}
	return id, nil
}

func (n *Identifier) refuse() error {
	return fmt.Errorf("%w: %s identifiers look like %s", ErrIdentifier, n.scheme.Name, n.scheme.Example)
}

// NormaliseID is NewIdentifier and Normalise for a single identifier.
func NormaliseID(scheme network.Scheme, id string) (string, error) {
	n, err := NewIdentifier(scheme)
	if err != nil {
		return "", err
	}
	return n.Normalise(id)
}
