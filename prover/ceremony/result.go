package ceremony

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/grille-gateway/grille/prover"
	"github.com/grille-gateway/grille/prover/internal/folder"
)

// A Record says what a ceremony gave. It stands beside the keys, as ceremony.json, and is the mark of the process that verified.
type Record struct {
	Version      int         `json:"v"` // 1
	Kind         string      `json:"kind"`
	Ceremony     string      `json:"ceremony"`      // digest of the opening
	Transcript   string      `json:"transcript"`    // SHA-256 of transcript.json
	Circuit      string      `json:"circuit"`       // circuit id
	VerifyingKey string      `json:"verifying_key"` // SHA-256 of the encoded verifying key
	ProvingKey   string      `json:"proving_key"`   // SHA-256 of the proving key
	Contributors [2][]string `json:"contributors"`  // distinct members, by phase, in their order
	Whole        bool        `json:"whole"`         // the process that wrote this verified every contribution of the transcript
}

// A Result is what a sealed ceremony gives.
type Result struct {
	Record
	circuit *Circuit
	keys    *keyPair
}

func (c *Circuit) result(t *Transcript, k *keyPair, whole bool) *Result {
	return &Result{circuit: c, keys: k, Record: Record{Version: 1, Kind: t.opening.Kind, Ceremony: t.Ceremony(),
		Transcript: t.Digest(), Circuit: c.id, VerifyingKey: k.verifyingDigest, ProvingKey: k.provingDigest,
		Contributors: [2][]string{t.Contributors(1), t.Contributors(2)}, Whole: whole}}
}

// Keys returns the keys for package prover. The error is prover.ErrVerifyingKey for another circuit than the statement.
func (r *Result) Keys() (*prover.Keys, error) {
	return prover.NewKeys(r.circuit.system, r.Kind, r.Transcript, r.keys.proving, r.keys.verifying)
}

// recordFile stands beside the keys.
const recordFile = "ceremony.json"

// maxRecord bounds a record: 128 names.
const maxRecord = 1 << 17

// Store writes the keys to dir/<circuit id>, where prover.Load finds them, and the record beside them.
func (r *Result) Store(ctx context.Context, dir string) (*prover.Keys, error) {
	k, err := r.Keys()
	if err != nil {
		return nil, err
	}
	if err := k.Store(ctx, dir); err != nil {
		return nil, err
	}
	data, err := encode(r.Record)
	if err != nil {
		return nil, err
	}
	return k, folder.Folder(filepath.Join(dir, r.Circuit)).Write(recordFile, data)
}

// ErrNoRecord means that no ceremony was verified into the key folder: run `grille ceremony verify`.
var ErrNoRecord = errors.New("no ceremony was verified here")

// ReadRecord reads the record beside the keys of a circuit id below dir. Compare its VerifyingKey and Transcript with those of the
// keys. The error is ErrNoRecord, a *Refused, or the disk's.
func ReadRecord(dir, circuit string) (*Record, error) {
	data, err := folder.Folder(filepath.Join(dir, circuit)).Read(recordFile, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: no %s in %s", ErrNoRecord, recordFile, filepath.Join(dir, circuit))
	}
	if err != nil {
		return nil, err
	}
	var r Record
	if err := decode(data, maxRecord, &r); err != nil {
		return nil, refuse(ReasonEncoding, "reading %s: %w", recordFile, err)
	}
	if r.Version != 1 || r.Circuit != circuit || !isDigest(r.Transcript) || !isDigest(r.VerifyingKey) {
		return nil, refuse(ReasonEncoding, "%s is malformed or of another circuit", recordFile)
	}
	return &r, nil
}
