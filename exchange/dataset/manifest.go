package dataset

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/entry"
)

const (
	manifestName    = "manifest"
	recordsName     = "records"
	purposeManifest = "dataset manifest"
	manifestVersion = 1
)

// A manifest says what an epoch is: it is written last, sealed, and the epoch's other files are only what it says they are.
type manifest struct {
	V       int                  `json:"v"`
	Dataset string               `json:"dataset"`
	Epoch   uint64               `json:"epoch,string"`
	Files   string               `json:"files"` // 16 random bytes that name this set of files, in hex
	Schema  entry.DatasetDeclare `json:"schema"`
	Rows    int                  `json:"rows"`
	Depth   int                  `json:"depth"`
	Root    string               `json:"root"`
	Filler  manifestFiller       `json:"filler"`
	Records fileSum              `json:"records"`
	Index   fileSum              `json:"index"`
	Tree    fileSum              `json:"tree"`
}

type manifestFiller struct {
	Place      uint64 `json:"place,string"`
	Key        string `json:"key"`
	Commitment string `json:"commitment"`
}

func encodeElement(e fr.Element) string {
	b := e.Bytes()
	return hex.EncodeToString(b[:])
}

func decodeElement(s string) (e fr.Element, err error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != fr.Bytes {
		err = fmt.Errorf("%d bytes", len(b))
	}
	if err == nil {
		err = e.SetBytesCanonical(b)
	}
	if err != nil {
		return fr.Element{}, fmt.Errorf("%w: not a field element", ErrCorrupt)
	}
	return e, nil
}

func manifestContext(dataset string, epoch uint64) []byte {
	return fmt.Appendf(nil, "%s/%d", dataset, epoch) // a dataset's name holds no slash
}

// write seals the manifest into a folder, durably but for the folder itself.
func (m *manifest) write(v *vault.Vault, folder string, step stepper) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	sealed, err := v.Seal(purposeManifest, manifestContext(m.Dataset, m.Epoch), b)
	if err != nil {
		return err
	}
	w, err := createSummed(filepath.Join(folder, manifestName), step)
	if err != nil {
		return err
	}
	if _, err := w.Write(sealed); err != nil {
		w.f.Close()
		return err
	}
	_, err = w.close()
	return err
}

// readManifest opens the manifest of an epoch's folder and checks that its parts fit one another.
func readManifest(v *vault.Vault, folder, dataset string, epoch uint64) (*manifest, error) {
	sealed, err := readBounded(filepath.Join(folder, manifestName), maxManifest)
	if err != nil {
		return nil, err
	}
	b, err := v.Open(purposeManifest, manifestContext(dataset, epoch), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	m := new(manifest)
	if err := entry.DecodeStrict(b, maxManifest, m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", ErrCorrupt, err)
	}
	if m.V != manifestVersion || m.Dataset != dataset || m.Epoch != epoch || m.Rows < 0 || m.Rows > MaxRows ||
		m.Depth < 1 || m.Depth > maxDepth {
		return nil, fmt.Errorf("%w: the manifest is of another kind or epoch", ErrCorrupt)
	}
	return m, nil
}

func readBounded(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: file %s is larger than %d bytes", ErrCorrupt, filepath.Base(path), limit)
	}
	return os.ReadFile(path)
}

func (m *manifest) setFiller(f filler) {
	m.Filler = manifestFiller{Place: f.place, Key: encodeElement(f.slot.Key), Commitment: encodeElement(f.slot.Commitment)}
}

func (m *manifest) filler() (f filler, err error) {
	if m.Filler.Place >= circuits.Places {
		return f, fmt.Errorf("%w: the filler lies outside the tree", ErrCorrupt)
	}
	f.place = m.Filler.Place
	if f.slot.Key, err = decodeElement(m.Filler.Key); err != nil {
		return f, err
	}
	f.slot.Commitment, err = decodeElement(m.Filler.Commitment)
	return f, err
}

func (m *manifest) schema() (*schema.Schema, error) {
	s, err := schema.FromDeclare(m.Schema)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return s, nil
}

func (m *manifest) setSchema(s *schema.Schema) { m.Schema = s.Declare(time.Unix(0, 0)) }

func (m *manifest) files() (id [16]byte, err error) {
	b, err := hex.DecodeString(m.Files)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("%w: the manifest does not name its files", ErrCorrupt)
	}
	copy(id[:], b)
	return id, nil
}
