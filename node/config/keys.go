package config

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/network"
)

// Role names what a signing key is for. Each role has a key of its own, so that no signature of one can pass for
// another's and one can be replaced alone.
type Role string

const (
	RoleLog       Role = "log"       // signs this member's checkpoints and its card
	RoleMirror    Role = "mirror"    // cosigns the members' checkpoints
	RoleTransport Role = "transport" // proves who is at the other end of a connection
	RoleQuery     Role = "query"     // signs queries and answer headers
	// RoleWitness cosigns checkpoints for strangers. It is in no card and no configuration.
	RoleWitness Role = "witness"
)

// Roles lists the roles whose keys a card names.
func Roles() []Role { return []Role{RoleLog, RoleMirror, RoleTransport, RoleQuery} }

// Keys are a gateway's signing keys.
type Keys struct {
	Log, Mirror, Transport, Query ed25519.PrivateKey
	// Next holds by role the keys that Rotate made. None is used before the network's configuration names it: see For.
	Next map[Role]ed25519.PrivateKey
}

func (k *Keys) of(r Role) *ed25519.PrivateKey {
	switch r {
	case RoleLog:
		return &k.Log
	case RoleMirror:
		return &k.Mirror
	case RoleTransport:
		return &k.Transport
	case RoleQuery:
		return &k.Query
	}
	panic("config: unknown key role " + string(r))
}

// EnsureKeys makes the signing keys that are missing from the folder and returns all of them. made lists the new ones.
func EnsureKeys(f Folder) (keys Keys, made []Role, err error) {
	for _, r := range Roles() {
		if _, err := os.Lstat(f.Key(r)); err == nil {
			continue
		}
		if err := makeKey(f.Key(r), r); err != nil {
			return Keys{}, nil, err
		}
		made = append(made, r)
	}
	keys, err = LoadKeys(f)
	return keys, made, err
}

// makeKey makes a signing key and writes it to a file, which must not be there.
func makeKey(path string, r Role) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("making the %s key: %w", r, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("making the %s key: %w", r, err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := WriteNew(path, block, 0o600); err != nil {
		return fmt.Errorf("writing the %s key: %w", r, err)
	}
	return nil
}

// MakeApprover makes the key of an approver in a file, which must not be there, and returns its public half as cards name it.
func MakeApprover(path string) (string, error) {
	if err := makeKey(path, "approver's"); err != nil {
		return "", err
	}
	key, err := LoadApprover(path)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)), nil
}

// LoadApprover reads the key of an approver.
func LoadApprover(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if err != nil {
		return nil, fmt.Errorf("reading the approver's key: %w", err)
	}
	return key, nil
}

// LoadQuery reads a query key from a file, on a machine that has nothing else of its gateway.
func LoadQuery(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if err != nil {
		return nil, fmt.Errorf("reading the query key: %w", err)
	}
	return key, nil
}

// EnsureWitness returns the witness key, which it makes if there is none: gateways older than it have none.
func EnsureWitness(f Folder) (key ed25519.PrivateKey, made bool, err error) {
	if err := CheckPrivate(f.Keys()); err != nil {
		return nil, false, err
	}
	if _, err := os.Lstat(f.Key(RoleWitness)); errors.Is(err, os.ErrNotExist) {
		if err := makeKey(f.Key(RoleWitness), RoleWitness); err != nil {
			return nil, false, err
		}
		made = true
	}
	key, err = LoadWitness(f)
	return key, made, err
}

// LoadWitness reads the witness key.
func LoadWitness(f Folder) (ed25519.PrivateKey, error) {
	key, err := loadKey(f.Key(RoleWitness))
	if err != nil {
		return nil, fmt.Errorf("reading the witness key: %w", err)
	}
	return key, nil
}

// LoadKeys reads the four signing keys of a card, and those that are to follow them. Files that others may read are refused.
func LoadKeys(f Folder) (Keys, error) {
	if err := CheckPrivate(f.Keys()); err != nil {
		return Keys{}, err
	}
	var keys Keys
	for _, r := range Roles() {
		key, err := loadKey(f.Key(r))
		if err != nil {
			return Keys{}, fmt.Errorf("reading the %s key: %w", r, err)
		}
		*keys.of(r) = key
		if _, err := os.Lstat(f.NextKey(r)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if key, err = loadKey(f.NextKey(r)); err != nil {
			return Keys{}, fmt.Errorf("reading the next %s key: %w", r, err)
		}
		if keys.Next == nil {
			keys.Next = make(map[Role]ed25519.PrivateKey)
		}
		keys.Next[r] = key
	}
	return keys, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	data, err := ReadSecret(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(data)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) != 0 {
		return nil, fmt.Errorf("%s is not one PEM block of type PRIVATE KEY", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is not a PKCS #8 key", path) // the parser's message is about secret bytes
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is not an Ed25519 key", path)
	}
	return key, nil
}

// EnsureSecret returns the content of a small secret file, which make fills if it does not exist yet.
func EnsureSecret(path string, make func() string) (string, error) {
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		if err := WriteNew(path, []byte(make()+"\n"), 0o600); err != nil {
			return "", fmt.Errorf("writing %s: %w", path, err)
		}
	}
	data, err := ReadSecret(path)
	return strings.TrimSuffix(string(data), "\n"), err
}

// ReadSecret reads a small file that only its owner may read.
func ReadSecret(path string) ([]byte, error) {
	if err := CheckPrivate(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("%s has %d bytes, the limit is %d", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// Member describes this gateway for the others, from its public keys, as the first generation of its log and mirror keys.
func (k Keys) Member(instance, name, title, endpoint string, mirror bool) network.Member {
	public := func(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }
	return network.Member{
		Name: name, Title: title, Endpoint: endpoint, Mirror: mirror,
		LogKey:       network.LogVKey(network.LogName(instance, name, 1), public(k.Log)),
		MirrorKey:    network.MirrorVKey(network.MirrorName(instance, name, 1), public(k.Mirror)),
		TransportKey: base64.StdEncoding.EncodeToString(public(k.Transport)),
		QueryKey:     base64.StdEncoding.EncodeToString(public(k.Query)),
	}
}

// ErrNotAdopted says that no network configuration has been adopted, or another one than is there.
var ErrNotAdopted = errors.New("network configuration not adopted")

// LoadNetwork reads the version of the network configuration that is in force (LoadChain), and compares this gateway's name
// and keys with what it says about them.
func LoadNetwork(f Folder, c Config, k Keys) (*network.Configuration, error) {
	chain, err := LoadChain(f, c)
	if err != nil {
		return nil, err
	}
	return chain.Newest(), CheckMember(chain.Newest(), c, k)
}

// LoadChain reads the adopted network configuration, and the links in the ledger's folder that lead on from it. The adopted
// file holds one version or a chain of them, of which one must have the adopted digest: a version names the one before by
// its digest, and links prove those that follow, so all are as good as that one.
func LoadChain(f Folder, c Config) (*network.Chain, error) {
	chain, err := adoptedChain(f, c)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(f.Ledger()); errors.Is(err, os.ErrNotExist) {
		return chain, nil
	}
	later, err := ledger.LoadChain(f.Ledger(), chain.Newest())
	if err != nil {
		return nil, err
	}
	for _, l := range later.Links() {
		if err := chain.Extend(l); err != nil {
			return nil, err
		}
	}
	return chain, nil
}

func adoptedChain(f Folder, c Config) (*network.Chain, error) {
	path := f.Path(c.Network.File)
	remedy := fmt.Sprintf("run `grille network adopt %s FILE --fingerprint X`", f)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || c.Network.Digest == "" {
		return nil, fmt.Errorf("%w: %s", ErrNotAdopted, remedy)
	}
	if err != nil {
		return nil, fmt.Errorf("reading network configuration: %w", err)
	}
	chain, err := network.ReadChain(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, ok := chain.ByDigest(c.Network.Digest); !ok {
		return nil, fmt.Errorf("%w: %s has digest %s, adopted was %s; %s", ErrNotAdopted, path, chain.Newest().Digest(),
			c.Network.Digest, remedy)
	}
	return chain, nil
}

// CheckMember compares this gateway's name and keys with what a network configuration says about them. Which generation
// a key is of, the configuration says: the name stands there, not in the key's file.
func CheckMember(cfg *network.Configuration, c Config, k Keys) error {
	if cfg.Instance != c.Instance {
		return refuse("instance", c.Instance, "the network configuration is for "+cfg.Instance)
	}
	_, err := k.For(cfg, c.Member)
	return err
}

// For returns the keys that a network configuration names for a member, of each role the present or the next one.
func (k Keys) For(cfg *network.Configuration, member string) (Keys, error) {
	theirs, ok := cfg.Member(member)
	if !ok {
		return Keys{}, refuse("member", member, "the network configuration does not name this member; have its card added")
	}
	var out Keys
	for _, r := range Roles() {
		switch now, next := *k.of(r), k.Next[r]; {
		case names(theirs, r, now):
			*out.of(r) = now
		case len(next) != 0 && names(theirs, r, next):
			*out.of(r) = next
		default:
			return Keys{}, fmt.Errorf("%w: the network configuration names another %s key for %s than keys/ holds; have the present "+
				"card.json put into its next version", ErrConfig, r, member)
		}
	}
	return out, nil
}

// names says whether a member's public key of a role belongs to a private one.
func names(m network.Member, r Role, key ed25519.PrivateKey) bool {
	pub := key.Public().(ed25519.PublicKey)
	switch r {
	case RoleLog:
		return m.LogKey == network.LogVKey(m.Origin(), pub)
	case RoleMirror:
		return m.MirrorKey == network.MirrorVKey(m.MirrorName(), pub)
	case RoleTransport:
		return m.TransportKey == base64.StdEncoding.EncodeToString(pub)
	case RoleQuery:
		return m.QueryKey == base64.StdEncoding.EncodeToString(pub)
	}
	panic("config: unknown key role " + string(r))
}
