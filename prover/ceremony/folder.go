package ceremony

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/grille-gateway/grille/prover/internal/folder"
)

// A ceremony's folder holds transcript.json and payloads/<sha256>.bin. Payloads are written before the transcript that names them,
// each aside, fsynced and renamed, so that a crash leaves at most a payload that no step names.
const (
	transcriptFile = "transcript.json"
	payloadsDir    = "payloads"
)

// ErrNoTranscript means that a folder holds no ceremony.
var ErrNoTranscript = errors.New("the folder holds no ceremony")

// ErrNoPayload means that a payload is not in the folder: fetch it by its digest.
var ErrNoPayload = errors.New("the payload is not here")

// A Folder keeps a transcript with its payloads: the coordinator's, or a copy that a member fetches to verify. Reading is safe while
// another process writes.
type Folder struct{ dir folder.Folder }

// MakeFolder makes the folder where there is none.
func MakeFolder(dir string) (*Folder, error) {
	f := &Folder{folder.Folder(dir)}
	if err := os.MkdirAll(string(f.payloads()), 0o700); err != nil {
		return nil, fmt.Errorf("making a ceremony's folder: %w", err)
	}
	return f, errors.Join(f.dir.Sync(), folder.Folder(filepath.Dir(dir)).Sync())
}

// OpenFolder returns a folder to read; nothing is made.
func OpenFolder(dir string) *Folder { return &Folder{folder.Folder(dir)} }

func (f *Folder) payloads() folder.Folder { return folder.Folder(f.dir.Path(payloadsDir)) }

// lock takes the folder for this process and clears what a crash left.
func (f *Folder) lock(ctx context.Context) (func(), error) {
	unlock, err := f.dir.Lock(ctx)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.dir.Clear(), f.payloads().Clear()); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// Transcript reads and checks the transcript. The error is ErrNoTranscript, a *Refused, or the disk's.
func (f *Folder) Transcript() (*Transcript, error) {
	data, err := f.dir.Read(transcriptFile, MaxTranscript)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNoTranscript, f.dir)
	case errors.Is(err, folder.ErrTooLong):
		return nil, refuse(ReasonEncoding, "%w", err)
	case err != nil:
		return nil, err
	}
	return DecodeTranscript(data)
}

// PutTranscript stores a transcript in place of the one that is there.
func (f *Folder) PutTranscript(t *Transcript) error { return f.dir.Write(transcriptFile, t.Encode()) }

// Payload reads the payload of a digest and compares it with that. limit is the most bytes it may have, as Circuit.PayloadSize gives
// for its phase. The error is ErrNoPayload, a *Refused (ReasonLength, ReasonPayload), or the disk's.
func (f *Folder) Payload(digest string, limit int64) ([]byte, error) {
	if !isDigest(digest) { // it becomes a file's name
		return nil, refuse(ReasonEncoding, "a payload's digest is 32 bytes in hex")
	}
	data, err := f.payloads().Read(digest+".bin", limit)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s", ErrNoPayload, digest)
	case errors.Is(err, folder.ErrTooLong):
		return nil, refuse(ReasonLength, "%w", err)
	case err != nil:
		return nil, err
	}
	if sum(data) != digest {
		return nil, refuse(ReasonPayload, "the file of payload %s has other bytes", digest)
	}
	return data, nil
}

// PutPayload stores a payload under its digest, which it returns.
func (f *Folder) PutPayload(payload []byte) (string, error) {
	digest := sum(payload)
	return digest, f.payloads().Write(digest+".bin", payload)
}

// A PayloadRef names a payload that a transcript needs for its verification.
type PayloadRef struct {
	Digest string // hex SHA-256
	Size   int64  // bytes
	Phase  int
}

// Payloads are those that verification needs, in the order of their steps.
func (t *Transcript) Payloads() []PayloadRef {
	var out []PayloadRef
	for i := range t.steps {
		if s := &t.steps[i]; s.Kind == StepContribution {
			out = append(out, PayloadRef{Digest: s.Payload, Size: s.Size, Phase: s.Phase})
		}
	}
	return out
}

// Missing are the payloads of the transcript that are not in the folder.
func (f *Folder) Missing(t *Transcript) ([]PayloadRef, error) {
	var out []PayloadRef
	for _, p := range t.Payloads() {
		_, err := os.Stat(f.payloads().Path(p.Digest + ".bin"))
		if errors.Is(err, fs.ErrNotExist) {
			out = append(out, p)
		} else if err != nil {
			return nil, fmt.Errorf("looking for a payload: %w", err)
		}
	}
	return out, nil
}
