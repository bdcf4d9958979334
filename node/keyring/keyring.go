// Package keyring decides which circuits' keys a gateway relies on. Keys come from a folder that anybody may have filled; what counts is
// what the network's configuration pins and, of keys from a ceremony, what this gateway verified itself.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// Why keys are not relied on.
const (
	CodeProgram      = "circuit_program"      // the network names no circuit that this program compiles
	CodeKey          = "circuit_key"          // the keys here are others than the network pins
	CodeUnverified   = "circuit_unverified"   // this gateway did not verify the ceremony's transcript
	CodeTranscript   = "circuit_transcript"   // it verified another one, or other keys
	CodeContributors = "circuit_contributors" // too few members contributed in one phase
	CodeContribution = "circuit_contribution" // this member contributed, and the ceremony's keys do not rest on it
	CodeMissing      = "circuit_missing"      // there is no key of the circuit here
)

// A Refusal says which keys are not relied on, why, and what to do.
type Refusal struct {
	Code    string
	Circuit string // id, hex
	Why     string
	Next    string // the next command or step
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("the keys of circuit %.16s... are not relied on (%s): %s; %s", r.Circuit, r.Code, r.Why, r.Next)
}

// Options say whose keys, where, and what for.
type Options struct {
	Dir      string                 // the key folder, prover.keys
	Own      string                 // file of this member's contributions to ceremonies
	Member   string                 // this one
	Config   *network.Configuration // in force
	Keys     []*prover.Keys         // loaded already, for several gateways of one process or for a gateway that opens again
	Progress func(stage string)     // may be nil
}

// A Ring holds the keys that a gateway relies on.
type Ring struct {
	Keys    []*prover.Keys       // to prove with, each of a circuit that the configuration names
	Proofs  bundle.VerifyingKeys // to verify with: those of Keys, and of circuits that this program cannot prove
	Missing []*Refusal           // circuits that the configuration names and that answers under cannot be verified here
}

// Load finds the keys of the circuits that the configuration names. There may be none, in the configuration or in the folder: the gateway
// then keeps the ledger and answers nothing. Keys that are there and must not be used are a *Refusal; damaged ones are prover.ErrKeys.
func Load(ctx context.Context, o Options) (*Ring, error) {
	ring := new(Ring)
	if len(o.Config.Circuits) == 0 {
		return ring, nil
	}
	keys, err := o.keys(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range o.Config.Circuits {
		i := slices.IndexFunc(keys, func(k *prover.Keys) bool { return k.Metadata().CircuitID == c.ID })
		if i < 0 {
			v, err := o.verifier(c)
			if missing := (*Refusal)(nil); errors.As(err, &missing) {
				ring.Missing = append(ring.Missing, missing)
			} else if err != nil {
				return nil, err
			} else {
				ring.Proofs = append(ring.Proofs, v)
			}
			continue
		}
		if err := o.check(c, keys[i].Metadata()); err != nil {
			return nil, err
		}
		v, err := prover.NewVerifier(keys[i].VerifyingKey())
		if err != nil {
			return nil, err
		}
		ring.Keys, ring.Proofs = append(ring.Keys, keys[i]), append(ring.Proofs, v)
	}
	if len(ring.Keys) == 0 {
		return ring, o.otherProgram(keys)
	}
	return ring, nil
}

// keys returns those that are loaded, and those in the folder unless the former are all that the configuration names.
func (o Options) keys(ctx context.Context) ([]*prover.Keys, error) {
	loaded := func(c network.Circuit) bool {
		return slices.ContainsFunc(o.Keys, func(k *prover.Keys) bool {
			m := k.Metadata()
			return m.CircuitID == c.ID && m.VerifyingKeySHA256 == c.VerifyingKey && m.Transcript == c.Transcript
		})
	}
	var dirs []string
	for _, c := range o.Config.Circuits {
		if dir := o.folder(c); !loaded(c) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	// One of them at most has what this program compiles and is named: in the others are circuits of other programs.
	slices.SortFunc(dirs, func(a, b string) int { return len(b) - len(a) }) // o.Dir is the last
	for _, dir := range dirs {
		found, err := prover.Load(ctx, dir, o.Progress)
		if errors.Is(err, prover.ErrNoKeys) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("loading the circuit's keys from %s: %w", dir, err)
		}
		others := slices.DeleteFunc(slices.Clone(o.Keys), func(k *prover.Keys) bool {
			return k.Metadata().CircuitID == found.Metadata().CircuitID
		})
		return append(others, found), nil
	}
	return o.Keys, nil
}

// folder is the key folder that has the keys of a circuit as the configuration names it.
func (o Options) folder(c network.Circuit) string { return prover.KeyFolder(o.Dir, c.ID, c.Transcript) }

// otherProgram refuses to go on without proving where there are keys: then the network names circuits of another version of this program.
func (o Options) otherProgram(keys []*prover.Keys) error {
	refusal := &Refusal{Code: CodeProgram, Circuit: o.Config.Circuits[0].ID, Why: "this program compiles none of the circuits that the network names",
		Next: "run the version of grille that the members agreed on"}
	if len(keys) > 0 {
		refusal.Circuit = keys[0].Metadata().CircuitID
		return refusal
	}
	for _, c := range o.Config.Circuits {
		_, err := os.Stat(filepath.Join(o.folder(c), c.ID, "metadata.json"))
		if err == nil {
			refusal.Circuit = c.ID
			return refusal
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("looking for the circuit's keys: %w", err)
		}
	}
	return nil
}

// check compares keys to prove with with what the configuration says of their circuit.
func (o Options) check(c network.Circuit, m prover.Metadata) error {
	switch {
	case m.VerifyingKeySHA256 != c.VerifyingKey:
		return o.refuse(CodeKey, c, fmt.Sprintf("their verifying key is %.16s..., the network pins %.16s...", m.VerifyingKeySHA256, c.VerifyingKey))
	case m.Kind != c.Kind:
		return o.refuse(CodeKey, c, fmt.Sprintf("their kind is %s, the network says %s", m.Kind, c.Kind))
	case m.Transcript != c.Transcript:
		return o.refuse(CodeTranscript, c, "they are of another ceremony than the network names")
	case c.Kind == network.KindCeremony:
		return o.verified(c, m.ProvingKeySHA256)
	}
	return nil
}

// verifier returns the verifying key of a circuit that this program cannot prove: an earlier one, or the next.
func (o Options) verifier(c network.Circuit) (*prover.Verifier, error) {
	path := filepath.Join(o.folder(c), c.ID, "verifying.key")
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, o.refuse(CodeMissing, c, "there is no "+path)
	}
	if err != nil || info.Size() > maxVerifyingKey {
		return nil, errors.Join(fmt.Errorf("reading %s: it is no verifying key", path), err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the verifying key: %w", err)
	}
	v, err := prover.NewVerifier(data)
	if err != nil {
		return nil, o.refuse(CodeKey, c, path+" is no verifying key of this program's format")
	}
	if v.SHA256() != c.VerifyingKey || v.CircuitID() != c.ID {
		return nil, o.refuse(CodeKey, c, path+" is not the verifying key that the network pins")
	}
	if c.Kind == network.KindCeremony {
		return v, o.verified(c, "")
	}
	return v, nil
}

// maxVerifyingKey bounds a verifying key file in bytes: one point for each of some 600 public inputs.
const maxVerifyingKey = 1 << 20

// Verified checks that this gateway may stand behind a circuit with keys from a ceremony: it verified the whole transcript itself, enough
// members contributed in each phase, and its own contributions are among theirs. Of other kinds there is nothing to check.
func (o Options) Verified(c network.Circuit) error {
	if c.Kind != network.KindCeremony {
		return nil
	}
	return o.verified(c, "")
}

// verified is Verified for the proving key with that SHA-256; "" for any.
func (o Options) verified(c network.Circuit, provingKey string) error {
	v, err := prover.ReadVerification(o.folder(c), c.ID)
	if errors.Is(err, prover.ErrNotVerified) {
		return o.refuse(CodeUnverified, c, "this gateway did not verify the ceremony's transcript")
	}
	if err != nil {
		return o.refuse(CodeUnverified, c, err.Error())
	}
	switch {
	case v.Transcript != c.Transcript:
		return o.refuse(CodeTranscript, c, "this gateway verified another transcript than the network names")
	case v.VerifyingKey != c.VerifyingKey || provingKey != "" && v.ProvingKey != provingKey || v.Kind != c.Kind:
		return o.refuse(CodeTranscript, c, "this gateway verified other keys than those here")
	}
	for phase := 1; phase <= len(v.Phases); phase++ {
		if n := v.Members(phase); n < c.Contributors {
			return o.refuse(CodeContributors, c, fmt.Sprintf("%d members contributed in phase %d, the network asks for %d", n, phase, c.Contributors))
		}
	}
	own, err := prover.OwnContributions(o.Own)
	if err != nil {
		return o.refuse(CodeContribution, c, err.Error())
	}
	for _, mine := range own {
		if mine.Ceremony == v.Ceremony && mine.Member == o.Member && !v.Includes(mine) {
			return o.refuse(CodeContribution, c, fmt.Sprintf("this member's contribution in phase %d is not among those they rest on", mine.Phase))
		}
	}
	return nil
}

func (o Options) refuse(code string, c network.Circuit, why string) error {
	next := "get the ceremony's transcript and run `grille ceremony verify`"
	switch {
	case c.Kind == network.KindDevelopment:
		next = "copy the folder that `grille keys prepare` filled for this network to " + o.Dir + ", or point prover.keys at it"
	case code == CodeContributors || code == CodeContribution:
		next = "do not use them: tell the other members, end the circuit with `grille network change --until`, and hold another ceremony"
	}
	return &Refusal{Code: code, Circuit: c.ID, Why: why, Next: next}
}

// Files tells states of the key folder apart, as far as the circuits go that the configuration names: a gateway that lacks keys looks now
// and then whether some have come.
func (o Options) Files() string {
	var b strings.Builder
	for _, c := range o.Config.Circuits {
		dir := filepath.Join(o.folder(c), c.ID)
		for _, name := range []string{"metadata.json", "verifying.key", "verified.json"} {
			if info, err := os.Stat(filepath.Join(dir, name)); err == nil {
				fmt.Fprintf(&b, "%s/%s %d %d\n", dir, name, info.Size(), info.ModTime().UnixNano())
			}
		}
	}
	return b.String()
}

// Noted returns what this gateway verified, or relies on in a demo: the circuits that it can publish the keys of, whether the configuration
// names them already or not; of one circuit there may be several ceremonies. With an error for each note that cannot be read it returns
// the others.
func Noted(dir string) ([]prover.Verification, error) {
	dirs, err := prover.KeyFolders(dir)
	if err != nil {
		return nil, err
	}
	var out []prover.Verification
	var errs []error
	for _, dir := range dirs {
		found, err := notedIn(dir)
		out, errs = append(out, found...), append(errs, err)
	}
	return out, errors.Join(errs...)
}

func notedIn(dir string) ([]prover.Verification, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for verified keys: %w", err)
	}
	var out []prover.Verification
	var errs []error
	for _, e := range found {
		v, err := prover.ReadVerification(dir, e.Name())
		if errors.Is(err, prover.ErrNotVerified) {
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, v)
	}
	return out, errors.Join(errs...)
}

// CircuitOf is what a configuration says of a verified circuit.
func CircuitOf(v prover.Verification) network.Circuit {
	return network.Circuit{ID: v.Circuit, VerifyingKey: v.VerifyingKey, Kind: v.Kind, Transcript: v.Transcript, Contributors: v.Contributors}
}
