package prover

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	groth16 "github.com/consensys/gnark/backend/groth16/bls12-381"
	"github.com/consensys/gnark/constraint"
	r1cs "github.com/consensys/gnark/constraint/bls12-381"
	"github.com/grille-gateway/grille/circuits"
)

// ErrKeys means that the key folder does not hold what its metadata pins. The message says which folder to delete; new keys have
// another verifying key, which the other members must then pin.
var ErrKeys = errors.New("the cached keys are damaged")

// Metadata pins a set of keys.
type Metadata struct {
	CircuitID          string `json:"circuit_id"` // hex
	ProvingKeySHA256   string `json:"proving_key_sha256"`
	VerifyingKeySHA256 string `json:"verifying_key_sha256"`
	Kind               string `json:"kind"` // KindDevelopment
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

// Load compiles the statement and returns its keys from dir/<circuit id>. If there are none it generates development keys there from
// crypto/rand, which takes some seconds. Several processes may load from one dir at once: the first generates, the others wait.
// progress, which may be nil, is told each stage in a few words. The error is ErrKeys when the folder holds keys other than its
// metadata pins, and the context's when it ends between stages.
func Load(ctx context.Context, dir string, progress func(stage string)) (*Keys, error) {
	if progress == nil {
		progress = func(string) {}
	}
	progress("compiling the statement")
	k, err := compile()
	if err != nil {
		return nil, err
	}
	c := &keyCache{dir: filepath.Join(dir, k.metadata.CircuitID)}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the key folder: %w", err)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	found, err := c.exists()
	if err != nil {
		return nil, err
	}
	if found {
		progress("reading the keys")
		err = c.read(k)
	} else {
		err = k.create(ctx, c, progress)
	}
	if err != nil {
		return nil, err
	}
	return k, nil
}

// create generates keys and stores them.
func (k *Keys) create(ctx context.Context, c *keyCache, progress func(string)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	progress("generating development keys")
	if err := k.generate(); err != nil {
		return err
	}
	progress("writing the keys")
	return c.write(k)
}

// compile returns keys that have the statement only.
func compile() (*Keys, error) {
	cs, err := circuits.Compile()
	if err != nil {
		return nil, err
	}
	return keysFor(cs)
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
	var circuit [32]byte
	if _, err := hex.Decode(circuit[:], []byte(k.metadata.CircuitID)); err != nil {
		return fmt.Errorf("decoding the circuit id: %w", err)
	}
	encoded, err := encodeVerifyingKey(KindDevelopment, circuit, &vk)
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
	sum := sha256.Sum256(encoded)
	k.encoded, k.verifier = encoded, v
	k.metadata.Kind, k.metadata.VerifyingKeySHA256 = v.Kind(), hex.EncodeToString(sum[:])
	return nil
}
