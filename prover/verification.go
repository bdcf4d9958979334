package prover

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/grille-gateway/grille/prover/internal/folder"
)

// ErrNotVerified means that nobody here verified the ceremony that keys came from.
var ErrNotVerified = errors.New("the ceremony's transcript was not verified here")

// ErrNote means that a note of this machine's about a ceremony is not one that it wrote. Delete the file that the message names, and
// verify the ceremony again.
var ErrNote = errors.New("malformed note about a ceremony")

// Bounds of the notes: two phases of 64 members at some 120 bytes each, and as many contributions to some hundred ceremonies.
const (
	maxNote    = 64 << 10
	maxOwn     = 1 << 20
	maxOwnList = 4096
)

const verificationFile = "verified.json"

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// A Contribution names what a member contributed in one phase.
type Contribution struct {
	Member string `json:"member"`
	SHA256 string `json:"sha256"` // of the payload, hex
}

// A Verification is a gateway's own note that it verified a ceremony's whole transcript with the circuit that it compiled itself, or, of
// kind "demo", that it relies on who did. It stands beside the keys, and is worth what the machine is: it is trusted like the keys.
type Verification struct {
	Ceremony     string            `json:"ceremony"`      // SHA-256 of the opening, hex
	Transcript   string            `json:"transcript"`    // SHA-256, hex
	Circuit      string            `json:"circuit"`       // id that this program compiled, hex
	VerifyingKey string            `json:"verifying_key"` // SHA-256, hex
	ProvingKey   string            `json:"proving_key"`   // SHA-256, hex
	Kind         string            `json:"kind"`
	Contributors int               `json:"contributors"` // fewest distinct members in each phase, as the opening asks
	Phases       [2][]Contribution `json:"phases"`       // accepted ones, in order
	Verified     string            `json:"verified"`     // RFC 3339, whole seconds, UTC
}

// Members returns how many distinct members contributed in phase 1 or 2.
func (v Verification) Members(phase int) int {
	names := make(map[string]bool)
	for _, c := range v.Phases[phase-1] {
		names[c.Member] = true
	}
	return len(names)
}

// Includes says whether a contribution is among those that the ceremony rests on.
func (v Verification) Includes(c OwnContribution) bool {
	return c.Ceremony == v.Ceremony && slices.Contains(v.Phases[c.Phase-1], Contribution{c.Member, c.SHA256})
}

func (v Verification) check() error {
	_, err := time.Parse("2006-01-02T15:04:05Z", v.Verified)
	for _, digest := range []string{v.Ceremony, v.Transcript, v.Circuit, v.VerifyingKey, v.ProvingKey} {
		if !digestForm.MatchString(digest) {
			return fmt.Errorf("%w: a digest is not 64 lower-case hexadecimal digits", ErrNote)
		}
	}
	if err != nil || v.Kind == "" || v.Contributors < 1 {
		return fmt.Errorf("%w: kind, contributors or time", ErrNote)
	}
	for _, phase := range v.Phases {
		for _, c := range phase {
			if c.Member == "" || !digestForm.MatchString(c.SHA256) {
				return fmt.Errorf("%w: a contribution", ErrNote)
			}
		}
	}
	return nil
}

// WriteVerification writes the note beside the circuit's keys in the key folder dir, durably. Call it after the whole transcript was
// verified and the keys are stored.
func WriteVerification(dir string, v Verification) error {
	if err := v.check(); err != nil {
		return fmt.Errorf("noting a verification: %w", err)
	}
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("noting a verification: %w", err)
	}
	if len(data) > maxNote {
		return fmt.Errorf("noting a verification: %w: more than %d bytes", ErrNote, maxNote)
	}
	c := &keyCache{dir: filepath.Join(dir, v.Circuit)}
	return c.folder().Write(verificationFile, append(data, '\n'))
}

// ReadVerification reads the note about a circuit's keys in the key folder dir. The error is ErrNotVerified if there is none, and ErrNote
// for one that WriteVerification did not write.
func ReadVerification(dir, circuit string) (Verification, error) {
	path := filepath.Join(dir, circuit, verificationFile)
	data, err := readNote(path, maxNote)
	if errors.Is(err, fs.ErrNotExist) {
		return Verification{}, fmt.Errorf("%w: there is no %s", ErrNotVerified, path)
	}
	var v Verification
	if err == nil {
		v, err = parseVerification(data)
	}
	if err == nil && v.Circuit != circuit {
		err = fmt.Errorf("%w: it is about another circuit", ErrNote)
	}
	if err != nil {
		return v, fmt.Errorf("reading %s: %w", path, err)
	}
	return v, nil
}

func parseVerification(data []byte) (Verification, error) {
	var v Verification
	if err := decodeNote(data, &v); err != nil {
		return v, err
	}
	return v, v.check()
}

// An OwnContribution is one that this member made and that the coordinator took. Keys from a ceremony that lacks it are not relied on:
// the member would have to trust the others instead of itself.
type OwnContribution struct {
	Ceremony string `json:"ceremony"` // SHA-256 of the opening, hex
	Member   string `json:"member"`
	Phase    int    `json:"phase"`  // 1 or 2
	SHA256   string `json:"sha256"` // of the payload, hex
}

// NoteContribution adds to the list of this member's contributions in a file, durably. One that is there already is no error. One caller
// at a time.
func NoteContribution(path string, c OwnContribution) error {
	list, err := OwnContributions(path)
	if err != nil || slices.Contains(list, c) {
		return err
	}
	list = append(list, c)
	if err := checkOwn(list); err != nil {
		return fmt.Errorf("noting a contribution: %w", err)
	}
	data, err := json.MarshalIndent(list, "", "  ")
	if err != nil {
		return fmt.Errorf("noting a contribution: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("noting a contribution: %w", err)
	}
	if err := folder.Folder(filepath.Dir(filepath.Dir(path))).Sync(); err != nil {
		return err
	}
	return folder.Folder(filepath.Dir(path)).Write(filepath.Base(path), append(data, '\n'))
}

// OwnContributions reads the list of this member's contributions; there may be none. The error is ErrNote for a file that
// NoteContribution did not write.
func OwnContributions(path string) ([]OwnContribution, error) {
	data, err := readNote(path, maxOwn)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []OwnContribution
	if err == nil {
		list, err = parseOwn(data)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return list, nil
}

func parseOwn(data []byte) ([]OwnContribution, error) {
	var list []OwnContribution
	if err := decodeNote(data, &list); err != nil {
		return nil, err
	}
	return list, checkOwn(list)
}

func checkOwn(list []OwnContribution) error {
	if len(list) > maxOwnList {
		return fmt.Errorf("%w: more than %d contributions", ErrNote, maxOwnList)
	}
	for _, c := range list {
		if !digestForm.MatchString(c.Ceremony) || !digestForm.MatchString(c.SHA256) || c.Member == "" || c.Phase != 1 && c.Phase != 2 {
			return fmt.Errorf("%w: a contribution", ErrNote)
		}
	}
	return nil
}

// readNote reads a file of at most limit bytes.
func readNote(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", ErrNote, limit)
	}
	return data, err
}

// decodeNote reads one JSON value without unknown fields into v.
func decodeNote(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrNote, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows", ErrNote)
	}
	return nil
}
