package note

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"github.com/transparency-dev/formats/log"
	formats "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// The readers of x/mod, torchwood and transparency-dev/formats are a second opinion on everything that is read here. What
// this package accepts, they accept with the same meaning. What it refuses although all of them accept it is refused for a
// reason in this list.
var stricter = []struct {
	reason string
	holds  func(data []byte, n *note.Note, c torchwood.Checkpoint) bool
}{
	{"more than 16 KiB", func(data []byte, _ *note.Note, _ torchwood.Checkpoint) bool { return len(data) > MaxSize }},
	{"extension lines, which no log of ours has and nobody could audit", func(_ []byte, _ *note.Note, c torchwood.Checkpoint) bool { return c.Extension != "" }},
	{"a size beyond 2^50, where indexes leave JSON's integers", func(_ []byte, _ *note.Note, c torchwood.Checkpoint) bool { return c.N > MaxTreeSize }},
	{"more than 64 signatures", func(_ []byte, n *note.Note, _ torchwood.Checkpoint) bool { return len(lines(n)) > MaxSignatures }},
	{"a signature line of more than 1,024 bytes", func(data []byte, _ *note.Note, _ torchwood.Checkpoint) bool {
		return slices.ContainsFunc(strings.SplitAfter(string(data), "\n"), func(l string) bool { return strings.HasPrefix(l, sigPrefix) && len(l) > 1024 })
	}},
	{"base64 of a root in another than its one spelling", func(_ []byte, n *note.Note, c torchwood.Checkpoint) bool { return c.String() != n.Text }},
	{"base64 of a signature in another than its one spelling", func(_ []byte, n *note.Note, _ torchwood.Checkpoint) bool {
		return slices.ContainsFunc(lines(n), func(s note.Signature) bool {
			raw, err := base64.StdEncoding.Strict().DecodeString(s.Base64)
			return err != nil || base64.StdEncoding.EncodeToString(raw) != s.Base64
		})
	}},
	{"a replacement character in a key name: a sign of bytes that were not UTF-8 once", func(_ []byte, n *note.Note, _ torchwood.Checkpoint) bool {
		return slices.ContainsFunc(lines(n), func(s note.Signature) bool { return strings.ContainsRune(s.Name, '\uFFFD') })
	}},
}

// lines returns all signatures of a note. x/mod leaves out repetitions of a line, which more than 64 signatures may be.
func lines(n *note.Note) []note.Signature { return append(slices.Clone(n.Sigs), n.UnverifiedSigs...) }

// others reads a note as the libraries do, without keys. ok says that all of them accept it.
func others(t *testing.T, data []byte) (n *note.Note, c torchwood.Checkpoint, ok bool) {
	t.Helper()
	_, err := note.Open(data, note.VerifierList())
	var unverified *note.UnverifiedNoteError
	if !errors.As(err, &unverified) {
		return nil, c, false
	}
	n = unverified.Note
	if c, err = torchwood.ParseCheckpoint(n.Text); err != nil {
		return nil, c, false
	}
	var f log.Checkpoint
	rest, err := f.Unmarshal([]byte(n.Text))
	if err != nil {
		return nil, c, false
	}
	if f.Origin != c.Origin || f.Size != uint64(c.N) || !bytes.Equal(f.Hash, c.Hash[:]) || string(rest) != c.Extension {
		t.Fatalf("torchwood and formats disagree on %q", data)
	}
	return n, c, true
}

// compareNote reads bytes here and there and returns why they are refused here alone, if they are.
func compareNote(t *testing.T, data []byte) string {
	t.Helper()
	ours, err := Parse(data)
	n, c, ok := others(t, data)
	switch {
	case err == nil && !ok:
		t.Fatalf("accepted here alone: %q", data)
	case err == nil:
		var sigs []Signature
		for _, s := range ours.Sigs {
			if !slices.ContainsFunc(sigs, func(o Signature) bool { return o.Line() == s.Line() }) {
				sigs = append(sigs, s)
			}
		}
		if ours.Origin != c.Origin || ours.Tree != c.Tree || ours.Text != n.Text || len(sigs) != len(n.UnverifiedSigs) {
			t.Fatalf("%q is read as %+v, there as %+v", data, ours, n)
		}
		for i, s := range n.UnverifiedSigs {
			if fmt.Sprintf("%s%s %s\n", sigPrefix, s.Name, s.Base64) != sigs[i].Line() || s.Hash != sigs[i].Hash {
				t.Fatalf("%q: signature %d is read as %+v, there as %+v", data, i, sigs[i], s)
			}
		}
	case ok:
		for _, rule := range stricter {
			if rule.holds(data, n, c) {
				return rule.reason
			}
		}
		if strings.Count(string(data), sigPrefix) > MaxSignatures {
			return "more than 64 signatures" // repetitions
		}
		t.Fatalf("refused here alone, for no reason of the list: %q: %v", data, err)
	}
	return ""
}

// TestStricterThanOthers has an example for each reason.
func TestStricterThanOthers(t *testing.T) {
	tree, _ := buildTree(t, 5)
	owner, sigs := testHead(t, tree)
	good := string(owner)
	at := strings.LastIndex(good, "=\n")
	var many strings.Builder
	for i := range 65 {
		many.WriteString(Signature{Name: "w", Hash: uint32(i), Body: []byte{1}}.Line())
	}
	root := "\n" + tree.Hash.String() + "\n"
	spelt := strings.Replace(good, root, root[:43]+string(root[43]+1)+root[44:], 1)
	for _, data := range []string{
		strings.Replace(good, "\n\n", "\nextension\n\n", 1),
		good + many.String(),
		good + strings.Repeat(sigs[0], 70),
		good + Signature{Name: strings.Repeat("w", 1020), Body: []byte{1}}.Line(),
		good + sigPrefix + "w AAAAAAB=\n",
		good + Signature{Name: "w\uFFFD", Body: []byte{1}}.Line(),
		strings.Replace(good, "\n5\n", "\n1125899906842625\n", 1),
		spelt,
		good[:at] + good[at:] + strings.Repeat(Signature{Name: "w", Body: make([]byte, 700)}.Line(), 20),
	} {
		if compareNote(t, []byte(data)) == "" {
			t.Errorf("not refused here alone: %q", data)
		}
	}
	for _, data := range []string{good, good + sigs[0] + sigs[1], good + sigs[0] + sigs[0]} {
		if why := compareNote(t, []byte(data)); why != "" {
			t.Errorf("refused, because of %s: %q", why, data)
		}
	}
}

func FuzzNoteDifferential(f *testing.F) {
	tree, _ := buildTree(f, 5)
	owner, sigs := testHead(f, tree)
	f.Add(owner)
	f.Add(join(owner, sigs...))
	f.Add([]byte(strings.Replace(string(owner), "\n\n", "\nextension\n\n", 1)))
	f.Add([]byte("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) { compareNote(t, data) })
}

// A pool of signature lines over one checkpoint, to make heads of: the owner's, mirrors' at two times, spoilt and strange
// ones.
func linePool(tb testing.TB, text string, owner []byte) []string {
	pool := []string{string(owner[len(text)+1:])}
	for _, m := range testNames {
		for _, at := range []time.Duration{0, time.Hour} {
			line := testCosign(tb, text, m, testTime.Add(at))
			pool = append(pool, line)
			s, err := ParseSignature(line)
			if err != nil {
				tb.Fatal(err)
			}
			s.Body[20] ^= 1
			pool = append(pool, s.Line())
			s.Hash++
			pool = append(pool, s.Line())
		}
	}
	return append(pool, Signature{Name: "stranger.example/w", Hash: 7, Body: make([]byte, 72)}.Line(),
		Signature{Name: testOrigin, Hash: 7, Body: make([]byte, 64)}.Line())
}

// FuzzHeadDifferential verifies heads made of any lines of the pool here, and with the verifiers of torchwood and formats
// through x/mod's note.
func FuzzHeadDifferential(f *testing.F) {
	cfg := testConfig(f)
	tree, _ := buildTree(f, 5)
	owner, _ := testHead(f, tree)
	text := Text(testOrigin, tree)
	pool := linePool(f, text, owner)
	m, _ := cfg.Member("GOV/tax")
	logKey, err := note.NewVerifier(m.LogKey)
	if err != nil {
		f.Fatal(err)
	}
	tw, fm := []note.Verifier{logKey}, []note.Verifier{}
	for _, mirror := range cfg.Mirrors() {
		a, err := torchwood.NewCosignatureVerifier(mirror.MirrorKey)
		if err != nil {
			f.Fatal(err)
		}
		b, err := formats.NewVerifierForCosignatureV1(mirror.MirrorKey)
		if err != nil {
			f.Fatal(err)
		}
		tw, fm = append(tw, a), append(fm, b)
	}
	f.Add([]byte{0, 1, 7, 13})
	f.Add([]byte{0, 1, 4})
	f.Add([]byte{0, 2, 7})
	f.Add([]byte{25, 0, 3, 26, 7})
	f.Add([]byte{1, 7, 13, 19})
	f.Fuzz(func(t *testing.T, picks []byte) {
		data := text + "\n"
		mirrors := make(map[string]int)
		for _, p := range picks {
			line := pool[int(p)%len(pool)]
			data += line
			if i := (int(p)%len(pool) - 1) / 3; int(p)%len(pool) > 0 && i < 8 && (int(p)%len(pool)-1)%3 != 2 {
				mirrors[testNames[i/2]]++
			}
		}
		c, cosigs, err := Cosignatures(cfg, testOrigin, []byte(data))
		n, terr := note.Open([]byte(data), note.VerifierList(tw...))
		_, _, fn, ferr := log.ParseCheckpoint([]byte(data), testOrigin, logKey, fm...)
		theirs := terr == nil && ferr == nil
		if err == nil && !theirs {
			t.Fatalf("accepted here alone: %q: %v, %v", data, terr, ferr)
		}
		if err != nil && theirs && !slices.ContainsFunc(testNames, func(m string) bool { return mirrors[m] > 1 }) && len(picks) <= MaxSignatures {
			t.Fatalf("refused here alone, though no mirror signed twice: %q: %v", data, err)
		}
		if err != nil {
			return
		}
		if c.Tree != tree || len(n.Sigs) != len(cosigs)+1 || len(fn.Sigs) != len(n.Sigs) {
			t.Fatalf("%q: %d cosignatures here, %d and %d signatures there", data, len(cosigs), len(n.Sigs), len(fn.Sigs))
		}
		for _, s := range n.Sigs {
			if s.Name == testOrigin {
				continue
			}
			at, err := formats.CoSigV1Timestamp(s)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(cosigs, func(o Cosignature) bool {
				return strings.HasSuffix(o.Line, s.Name+" "+s.Base64+"\n") && o.Time.Equal(at)
			}) {
				t.Fatalf("%q: %s's cosignature at %v is not among %+v", data, s.Name, at, cosigs)
			}
		}
	})
}

// FuzzProofDifferential compares what a proof says with formats' reader, and verdicts with torchwood's.
func FuzzProofDifferential(f *testing.F) {
	cfg := testConfig(f)
	tree, hashes := buildTree(f, 9)
	owner, sigs := testHead(f, tree)
	path, err := tlog.ProveRecord(9, 4, hashes)
	if err != nil {
		f.Fatal(err)
	}
	m, _ := cfg.Member("GOV/tax")
	logKey, err := note.NewVerifier(m.LogKey)
	if err != nil {
		f.Fatal(err)
	}
	policies := []torchwood.Policy{}
	for _, mirror := range cfg.Mirrors() {
		v, err := torchwood.NewCosignatureVerifier(mirror.MirrorKey)
		if err != nil {
			f.Fatal(err)
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(v))
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(testOrigin), torchwood.SingleVerifierPolicy(logKey),
		torchwood.ThresholdPolicy(3, policies...))
	head := join(owner, sigs[:3]...)
	f.Add(EncodeProof(4, path, head))
	f.Add(EncodeProof(5, path, head))
	f.Add(EncodeProof(4, path[1:], head))
	f.Add(torchwood.FormatProofWithExtraData(4, []byte("extra"), path, head))
	f.Add(EncodeProof(4, path, join(owner, sigs[:2]...)))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProof(data)
		var theirs proof.TLogProof
		ferr := theirs.Unmarshal(data)
		if err == nil {
			if ferr != nil || theirs.Index != p.Index || len(theirs.Hashes) != len(p.Path) || theirs.ExtraData != nil {
				t.Fatalf("%q is read as %+v, by formats as %+v, %v", data, p, theirs, ferr)
			}
			for i, h := range theirs.Hashes {
				if tlog.Hash(h) != p.Path[i] {
					t.Fatalf("%q: hash %d differs", data, i)
				}
			}
		}
		_, _, _, verr := VerifyProof(cfg, testOrigin, record(4), data, 3)
		terr := torchwood.VerifyProof(policy, tlog.RecordHash(record(4)), data)
		if verr == nil && (terr != nil || !bytes.Equal(theirs.Checkpoint, p.Head)) {
			t.Fatalf("%q verifies here alone: %v", data, terr)
		}
		extra := bytes.HasPrefix(data, []byte(proofHeader+"extra ")) // nothing would authenticate it
		if verr != nil && terr == nil && !extra && ferr == nil && bytes.Equal(theirs.Marshal(), data) && compareNote(t, theirs.Checkpoint) == "" && !twice(theirs.Checkpoint) {
			t.Fatalf("%q verifies at torchwood alone: %v", data, verr)
		}
	})
}

// twice tells whether a note has two signatures under one name, which a head here must not have from a mirror.
func twice(data []byte) bool {
	seen := make(map[string]bool)
	for l := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(l, sigPrefix); ok {
			name, _, _ := strings.Cut(rest, " ")
			if seen[name] {
				return true
			}
			seen[name] = true
		}
	}
	return false
}
