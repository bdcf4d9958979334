package prover

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/consensys/gnark/constraint"
	r1cs "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// ErrKeys means that the key folder does not hold what its metadata pins. The message says which folder to delete. Those of a
// ceremony come back from its transcript; new development keys have another verifying key, which the other members must then pin.
var ErrKeys = errors.New("the cached keys are damaged")

// ErrNoKeys means that there are no keys for the statement. The message names the commands that get some.
var ErrNoKeys = errors.New("there are no keys")

// Metadata pins a set of keys.
type Metadata struct {
	CircuitID          string `json:"circuit_id"` // hex
	ProvingKeySHA256   string `json:"proving_key_sha256"`
	VerifyingKeySHA256 string `json:"verifying_key_sha256"`
	Kind               string `json:"kind"`                 // KindDevelopment, KindCeremony or KindDemo
	Transcript         string `json:"transcript,omitempty"` // SHA-256 of the ceremony's transcript; empty for development keys
	Constraints        int    `json:"constraints"`
	PublicInputs       int    `json:"public_inputs"`
}

// Keys are what a prover needs: the compiled statement, its proving key and the matching verifying key. Safe for concurrent use.
type Keys struct {
	metadata Metadata
	system   *r1cs.R1CS
	proving  *groth16.ProvingKey
	encoded  []byte // the verifying key
	verifier *Verifier
}

// Metadata returns what pins the keys.
func (k *Keys) Metadata() Metadata { return k.metadata }

// VerifyingKey returns the encoded verifying key, for NewVerifier and for publication.
func (k *Keys) VerifyingKey() []byte { return append([]byte(nil), k.encoded...) }

// Load compiles the statement and reads its keys from dir/<circuit id>. It makes none. progress, which may be nil, is told each stage
// in a few words. The error is ErrNoKeys when there are none, ErrKeys when the folder holds other keys than its metadata pins, and the
// context's when it ends while another process has the folder.
func Load(ctx context.Context, dir string, progress func(stage string)) (*Keys, error) {
	k, err := compile(progress)
	if err != nil {
		return nil, err
	}
	c := &keyCache{dir: filepath.Join(dir, k.metadata.CircuitID)}
	found, err := c.exists()
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("%w: none for circuit %s in %s; `grille ceremony verify` puts those of a ceremony there, and for trying "+
			"things out `grille keys prepare %s` makes development keys", ErrNoKeys, k.metadata.CircuitID, dir, dir)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	tell(progress, "reading the keys")
	if err := c.read(k); err != nil {
		return nil, err
	}
	return k, nil
}

// Develop is Load for trying things out: if there are no keys it generates development keys in dir/<circuit id> from crypto/rand,
// which takes some seconds. Several processes may call it on one dir at once: the first generates, the others wait.
func Develop(ctx context.Context, dir string, progress func(stage string)) (*Keys, error) {
	k, err := compile(progress)
	if err != nil {
		return nil, err
	}
	c, unlock, err := k.open(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := c.exists()
	if err != nil {
		return nil, err
	}
	if found {
		tell(progress, "reading the keys")
		err = c.read(k)
	} else {
		err = k.create(ctx, c, progress)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// open makes the folder of the circuit's keys below dir and takes its lock.
func (k *Keys) open(ctx context.Context, dir string) (*keyCache, func(), error) {
	c := &keyCache{dir: filepath.Join(dir, k.metadata.CircuitID)}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("making the key folder: %w", err)
	}
	unlock, err := c.lock(ctx)
	return c, unlock, err
}

// NewKeys returns keys that a ceremony gave for a constraint system. kind is KindCeremony or KindDemo, transcript the hex SHA-256 of
// the ceremony's transcript. The error is circuits.ErrSystem for a system of another curve or form and ErrVerifyingKey for another kind,
// no transcript, or a verifying key that is not for the statement.
func NewKeys(cs constraint.ConstraintSystem, kind, transcript string, pk *groth16.ProvingKey, vk *groth16.VerifyingKey) (*Keys, error) {
	k, err := keysFor(cs)
	if err != nil {
		return nil, err
	}
	if kind != KindCeremony && kind != KindDemo || !digestForm.MatchString(transcript) {
		return nil, fmt.Errorf("%w: keys of a ceremony are of kind %s or %s, with a transcript", ErrVerifyingKey, KindCeremony, KindDemo)
	}
	k.proving = pk
	encoded, err := EncodeVerifyingKey(kind, k.metadata.CircuitID, vk)
	if err != nil {
		return nil, err
	}
	if err := k.setVerifyingKey(encoded); err != nil {
		return nil, err
	}
	k.metadata.Transcript = transcript
	k.metadata.ProvingKeySHA256, err = ProvingKeyDigest(pk)
	return k, err
}

// Store writes the keys to dir/<circuit id>, where Load finds them, in place of those that are there.
func (k *Keys) Store(ctx context.Context, dir string) error {
	c, unlock, err := k.open(ctx, dir)
	if err != nil {
		return err
	}
	defer unlock()
	return c.write(k)
}

// ProvingKeyDigest is the hex SHA-256 of a proving key in gnark's raw encoding, as Metadata has it.
func ProvingKeyDigest(pk *groth16.ProvingKey) (string, error) {
	raw, err := encodeProvingKey(pk)
	return digest(raw), err
}

func encodeProvingKey(pk *groth16.ProvingKey) ([]byte, error) {
	var buf bytes.Buffer
	if _, err := pk.WriteRawTo(&buf); err != nil {
		return nil, fmt.Errorf("encoding the proving key: %w", err)
	}
	return buf.Bytes(), nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func tell(progress func(string), stage string) {
	if progress != nil {
		progress(stage)
	}
}

// create generates keys and stores them.
func (k *Keys) create(ctx context.Context, c *keyCache, progress func(string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	tell(progress, "generating development keys")
	if err := k.generate(); err != nil {
		return err
	}
	tell(progress, "writing the keys")
	return c.write(k)
}

// statement is what keys have before they have keys, compiled once in a process. It is never changed, so that all keys share it.
var statement = sync.OnceValues(func() (*Keys, error) {
	cs, err := circuits.Compile()
	if err != nil {
		return nil, err
	}
	return keysFor(cs)
})

// compile returns keys that have the statement only.
func compile(progress func(string)) (*Keys, error) {
	tell(progress, "compiling the statement")
	k, err := statement()
	if err != nil {
		return nil, err
	}
	own := *k
	return &own, nil
}

func keysFor(cs constraint.ConstraintSystem) (*Keys, error) {
	id, err := circuits.ID(cs)
	if err != nil {
		return nil, fmt.Errorf("deriving the circuit id: %w", err)
	}
	system, ok := cs.(*r1cs.R1CS)
	if !ok {
		return nil, circuits.ErrSystem
	}
	return &Keys{system: system, metadata: Metadata{CircuitID: id, Constraints: cs.GetNbConstraints(),
		PublicInputs: cs.GetNbPublicVariables() - 1}}, nil // less the constant 1
}

// generate sets the keys up in this process: development keys.
func (k *Keys) generate() error {
	k.proving = new(groth16.ProvingKey)
	var vk groth16.VerifyingKey
	if err := groth16.Setup(k.system, k.proving, &vk); err != nil {
		return fmt.Errorf("generating keys: %w", err)
	}
	encoded, err := EncodeVerifyingKey(KindDevelopment, k.metadata.CircuitID, &vk)
	if err != nil {
		return err
	}
	return k.setVerifyingKey(encoded)
}

func (k *Keys) setVerifyingKey(encoded []byte) error {
	v, err := NewVerifier(encoded)
	if err != nil {
		return err
	}
	k.encoded, k.verifier = encoded, v
	k.metadata.Kind, k.metadata.VerifyingKeySHA256 = v.Kind(), digest(encoded)
	return nil
}
