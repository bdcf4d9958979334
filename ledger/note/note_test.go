package note

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
)

var update = flag.Bool("update", false, "write golden files anew")

const testInstance = "test.example"

var (
	testNames  = []string{"GOV/benefits", "GOV/civil", "GOV/health", "GOV/tax"}
	testOrigin = network.LogName(testInstance, "GOV/tax", 1)
	testTime   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

const testKeys = networktest.Keys("note test key ")

func testConfig(tb testing.TB) *network.Configuration {
	tb.Helper()
	var cards []network.Card
	for i, name := range append([]string{"GOV/audit"}, testNames...) {
		m := testKeys.Member(testInstance, name, fmt.Sprintf("127.0.0.1:%d", 4433+i), i > 0)
		cards = append(cards, testKeys.Card(tb, testInstance, m))
	}
	return networktest.Build(tb, testInstance, network.Params{Expires: "2030-01-01T00:00:00Z"}, cards...)
}

// memory is a tree's stored hashes.
type memory []tlog.Hash

func (m memory) ReadHashes(idx []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(idx))
	for i, x := range idx {
		out[i] = m[x]
	}
	return out, nil
}

func record(i int) []byte { return fmt.Appendf(nil, "record %d", i) }

func buildTree(tb testing.TB, n int) (tlog.Tree, memory) {
	tb.Helper()
	var m memory
	for i := range n {
		h, err := tlog.StoredHashes(int64(i), record(i), m)
		if err != nil {
			tb.Fatal(err)
		}
		m = append(m, h...)
	}
	root, err := tlog.TreeHash(int64(n), m)
	if err != nil {
		tb.Fatal(err)
	}
	return tlog.Tree{N: int64(n), Hash: root}, m
}

func testCosign(tb testing.TB, text, mirror string, at time.Time) string {
	tb.Helper()
	line, err := Cosign(text, network.MirrorName(testInstance, mirror, 1), testKeys.Key("mirror "+mirror), at)
	if err != nil {
		tb.Fatal(err)
	}
	return line
}

// testHead returns the owner's note of a tree and the lines of all four mirrors at times a second apart.
func testHead(tb testing.TB, tree tlog.Tree) (owner []byte, lines []string) {
	tb.Helper()
	owner, err := Sign(testOrigin, tree, testKeys.Key("log GOV/tax"))
	if err != nil {
		tb.Fatal(err)
	}
	for i, m := range testNames {
		lines = append(lines, testCosign(tb, Text(testOrigin, tree), m, testTime.Add(time.Duration(i)*time.Second)))
	}
	return owner, lines
}

func join(owner []byte, lines ...string) []byte {
	return []byte(string(owner) + strings.Join(lines, ""))
}

func TestGolden(t *testing.T) {
	tree, hashes := buildTree(t, 5)
	owner, lines := testHead(t, tree)
	head := join(owner, lines[:3]...)
	path, err := tlog.ProveRecord(5, 2, hashes)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{
		"checkpoint.golden": owner, "cosignature.golden": []byte(lines[0]), "head.golden": head,
		"proof.golden": EncodeProof(2, path, head),
	} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("differs from %s (%v); got\n%s", file, err, got)
		}
	}
}

// TestOtherReaders lets the libraries' own readers verify what this package writes.
func TestOtherReaders(t *testing.T) {
	cfg := testConfig(t)
	tree, hashes := buildTree(t, 7)
	owner, lines := testHead(t, tree)
	m, _ := cfg.Member("GOV/tax")
	logKey, err := note.NewVerifier(m.LogKey)
	if err != nil {
		t.Fatal(err)
	}
	policies := []torchwood.Policy{}
	verifiers := []note.Verifier{logKey}
	for _, mirror := range cfg.Mirrors() {
		v, err := torchwood.NewCosignatureVerifier(mirror.MirrorKey)
		if err != nil {
			t.Fatal(err)
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(v))
		verifiers = append(verifiers, v)
	}
	head := join(owner, lines...)
	n, err := note.Open(head, note.VerifierList(verifiers...))
	if err != nil || len(n.Sigs) != 5 || len(n.UnverifiedSigs) != 0 {
		t.Fatalf("sumdb/note reads %+v, %v", n, err)
	}
	if at, err := torchwood.CosignatureTimestamp(n.Sigs[1]); err != nil || at != testTime.Unix() {
		t.Errorf("torchwood reads time %d, %v", at, err)
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(testOrigin), torchwood.SingleVerifierPolicy(logKey),
		torchwood.ThresholdPolicy(3, policies...))
	for i := range 7 {
		path, err := tlog.ProveRecord(7, int64(i), hashes)
		if err != nil {
			t.Fatal(err)
		}
		proof := EncodeProof(uint64(i), path, join(owner, lines[:3]...))
		if err := torchwood.VerifyProof(policy, tlog.RecordHash(record(i)), proof); err != nil {
			t.Errorf("torchwood refuses the proof of %d: %v", i, err)
		}
	}
}

func TestVerifyHead(t *testing.T) {
	cfg := testConfig(t)
	tree, _ := buildTree(t, 5)
	owner, lines := testHead(t, tree)
	text := Text(testOrigin, tree)
	got, times, err := VerifyHead(cfg, testOrigin, join(owner, lines[3], lines[0], lines[2]), 3)
	if err != nil || got != tree || len(times) != 3 || !times[0].Equal(testTime) || !times[2].Equal(testTime.Add(3*time.Second)) {
		t.Fatalf("honest head: %v %v %v", got, times, err)
	}
	witness := Signature{Name: "witness.example", Hash: 7, Body: make([]byte, 72)}.Line()
	if _, times, err = VerifyHead(cfg, testOrigin, join(owner, append(lines, witness)...), 3); err != nil || len(times) != 4 {
		t.Fatalf("head with a stranger's signature: %v, %v", times, err)
	}
	flip := func(line string, at int) string {
		s, err := ParseSignature(line)
		if err != nil {
			t.Fatal(err)
		}
		s.Body[at] ^= 1
		return s.Line()
	}
	ownerFlipped, err := Parse(owner)
	if err != nil {
		t.Fatal(err)
	}
	ownerFlipped.Sigs[0].Body[10] ^= 1
	foreign, err := Sign(testOrigin, tree, testKeys.Key("log GOV/civil"))
	if err != nil {
		t.Fatal(err)
	}
	bigger, _ := buildTree(t, 6)
	notMirror := testCosign(t, text, "GOV/audit", testTime)
	wrongKey, err := Cosign(text, network.MirrorName(testInstance, "GOV/civil", 1), testKeys.Key("mirror GOV/tax"), testTime)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"two mirrors":                   join(owner, lines[:2]...),
		"no mirror":                     owner,
		"one mirror twice":              join(owner, lines[0], lines[1], lines[1]),
		"one mirror twice, other times": join(owner, lines[0], lines[1], testCosign(t, text, testNames[1], testTime.Add(time.Hour))),
		"enough, and one twice":         join(owner, append(lines, lines[0])...),
		"two mirrors and a member":      join(owner, lines[0], lines[1], notMirror),
		"two mirrors and a false key":   join(owner, lines[0], lines[1], wrongKey),
		"signature flipped":             join(owner, lines[0], lines[1], lines[2], flip(lines[3], 20)),
		"time flipped":                  join(owner, lines[0], lines[1], flip(lines[2], 7)),
		"cosignature of another tree":   join(owner, lines[0], lines[1], testCosign(t, Text(testOrigin, bigger), testNames[2], testTime)),
		"owner's signature flipped":     join(Assemble(ownerFlipped, nil), lines...),
		"owner's signature missing":     []byte(text + "\n" + strings.Join(lines, "")),
		"another owner's signature":     join(foreign, lines...),
	} {
		if _, _, err := VerifyHead(cfg, testOrigin, data, 3); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := VerifyHead(cfg, network.LogName(testInstance, "GOV/civil", 1), join(owner, lines...), 3); !errors.Is(err, ErrSignature) {
		t.Errorf("another origin: %v", err)
	}
	if _, _, err := VerifyHead(cfg, testOrigin, join(owner, lines...), 0); !errors.Is(err, ErrSignature) {
		t.Errorf("quorum of none: %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	tree, _ := buildTree(t, 5)
	owner, lines := testHead(t, tree)
	good := string(join(owner, lines...))
	text := Text(testOrigin, tree)
	for name, doc := range map[string]string{
		"empty":                 "",
		"no signature":          text + "\n",
		"text only":             text,
		"no blank line":         strings.Replace(good, "\n\n", "\n", 1),
		"invalid UTF-8":         "\xff" + good,
		"extension line":        strings.Replace(good, "\n\n", "\nextension\n\n", 1),
		"size with zero":        strings.Replace(good, "\n5\n", "\n05\n", 1),
		"negative size":         strings.Replace(good, "\n5\n", "\n-5\n", 1),
		"size out of range":     strings.Replace(good, "\n5\n", "\n1125899906842625\n", 1),
		"empty origin":          strings.Replace(good, testOrigin+"\n5", "\n5", 1),
		"short root":            testOrigin + "\n5\nAAAA\n\n" + lines[0],
		"root not canonical":    testOrigin + "\n5\n" + strings.Repeat("A", 42) + "B=\n\n" + lines[0],
		"no dash":               strings.Replace(good, "— ", "- ", 1),
		"no final newline":      strings.TrimSuffix(good, "\n"),
		"blank signature line":  good + "\n",
		"signature without key": text + "\n— name AAAA\n",
		"signature spaces":      text + "\n— name  AAAAAAAA\n",
		"name with plus":        text + "\n— na+me AAAAAAAA\n",
		"too many signatures":   text + "\n" + strings.Repeat(lines[0], MaxSignatures+1),
		"too long":              good + strings.Repeat("x", MaxSize),
		"carriage return":       strings.Replace(good, "\n", "\r\n", 1),
	} {
		if c, err := Parse([]byte(doc)); !errors.Is(err, ErrNote) {
			t.Errorf("%s: read as %v, %v", name, c, err)
		}
	}
}

func TestVerifyCosignature(t *testing.T) {
	cfg := testConfig(t)
	tree, _ := buildTree(t, 5)
	text := Text(testOrigin, tree)
	civil, _ := cfg.Member("GOV/civil")
	line := testCosign(t, text, "GOV/civil", testTime)
	c, err := VerifyCosignature(civil, text, line)
	if err != nil || c.Mirror != "GOV/civil" || !c.Time.Equal(testTime) || c.Line != line {
		t.Fatalf("%+v, %v", c, err)
	}
	for name, bad := range map[string]string{
		"another mirror's": testCosign(t, text, "GOV/tax", testTime),
		"far future":       testCosign(t, text, "GOV/civil", time.Unix(1<<45, 0)),
		"another text":     testCosign(t, Text("other", tree), "GOV/civil", testTime),
	} {
		if _, err := VerifyCosignature(civil, text, bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{"empty": "", "cut": line[:len(line)-1], "two": line + line} {
		if _, err := VerifyCosignature(civil, text, bad); !errors.Is(err, ErrNote) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Cosign("no checkpoint\n", "x", testKeys.Key("x"), testTime); !errors.Is(err, ErrNote) {
		t.Errorf("cosigned what is no checkpoint: %v", err)
	}
	if _, err := Cosign(text, "x", testKeys.Key("x"), time.Unix(-1, 0)); err == nil {
		t.Error("cosigned before 1970")
	}
}

// TestInclusionExhaustive verifies every proof in every tree up to 20 entries, and refuses each with any one bit flipped,
// and for any other index, entry or root.
func TestInclusionExhaustive(t *testing.T) {
	for n := 1; n <= 20; n++ {
		tree, hashes := buildTree(t, n)
		for i := range n {
			path, err := tlog.ProveRecord(int64(n), int64(i), hashes)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckInclusion(path, tree, uint64(i), record(i)); err != nil {
				t.Fatalf("entry %d of %d: %v", i, n, err)
			}
			for k := range path {
				for bit := range 256 {
					path[k][bit/8] ^= 1 << (bit % 8)
					if CheckInclusion(path, tree, uint64(i), record(i)) == nil {
						t.Fatalf("entry %d of %d: hash %d with bit %d flipped verifies", i, n, k, bit)
					}
					path[k][bit/8] ^= 1 << (bit % 8)
				}
			}
			if CheckInclusion(append(path, tree.Hash), tree, uint64(i), record(i)) == nil ||
				len(path) > 0 && CheckInclusion(path[:len(path)-1], tree, uint64(i), record(i)) == nil {
				t.Fatalf("entry %d of %d: path of another length verifies", i, n)
			}
			for j := range n + 2 {
				if j != i && (CheckInclusion(path, tree, uint64(j), record(i)) == nil || CheckInclusion(path, tree, uint64(i), record(j)) == nil) {
					t.Fatalf("entry %d of %d verifies as %d", i, n, j)
				}
			}
			if CheckInclusion(path, tlog.Tree{N: tree.N}, uint64(i), record(i)) == nil {
				t.Fatalf("entry %d of %d verifies under another root", i, n)
			}
		}
	}
	if err := CheckInclusion(nil, tlog.Tree{N: 1}, 1<<63, nil); !errors.Is(err, ErrProof) {
		t.Errorf("huge index: %v", err)
	}
}

func TestVerifyProof(t *testing.T) {
	cfg := testConfig(t)
	tree, hashes := buildTree(t, 9)
	owner, lines := testHead(t, tree)
	path, err := tlog.ProveRecord(9, 4, hashes)
	if err != nil {
		t.Fatal(err)
	}
	head := join(owner, lines[:3]...)
	good := EncodeProof(4, path, head)
	index, got, times, err := VerifyProof(cfg, testOrigin, record(4), good, 3)
	if err != nil || index != 4 || got != tree || len(times) != 3 {
		t.Fatalf("%d %v %v %v", index, got, times, err)
	}
	s := string(good)
	first := path[0].String()
	for name, doc := range map[string]string{
		"empty":              "",
		"other header":       strings.Replace(s, "@v1", "@v2", 1),
		"extra data":         strings.Replace(s, "index", "extra AAAA\nindex", 1),
		"index with zero":    strings.Replace(s, "index 4", "index 04", 1),
		"negative index":     strings.Replace(s, "index 4", "index -4", 1),
		"other index":        strings.Replace(s, "index 4", "index 5", 1),
		"index out of range": strings.Replace(s, "index 4", "index 99999999999999999999", 1),
		"index beyond tree":  strings.Replace(s, "index 4", "index 9", 1),
		"hash missing":       strings.Replace(s, first+"\n", "", 1),
		"hash twice":         strings.Replace(s, first+"\n", first+"\n"+first+"\n", 1),
		"hash cut":           strings.Replace(s, first, first[:40], 1),
		"hash with return":   strings.Replace(s, first, first+"\r", 1),
		"too many hashes":    strings.Replace(s, first+"\n", strings.Repeat(first+"\n", 51), 1),
		"no head":            s[:strings.Index(s, "\n\n")+1],
		"too long":           s + strings.Repeat("x", MaxProofSize),
	} {
		if _, _, _, err := VerifyProof(cfg, testOrigin, record(4), []byte(doc), 3); !errors.Is(err, ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, _, err := VerifyProof(cfg, testOrigin, record(5), good, 3); !errors.Is(err, ErrProof) {
		t.Errorf("another entry: %v", err)
	}
	if _, _, _, err := VerifyProof(cfg, testOrigin, record(4), EncodeProof(4, path, join(owner, lines[:2]...)), 3); !errors.Is(err, ErrSignature) {
		t.Errorf("two mirrors: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	tree, _ := buildTree(f, 5)
	owner, lines := testHead(f, tree)
	f.Add(owner)
	f.Add(join(owner, lines...))
	f.Add([]byte("a\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— a AAAAAAA=\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		again := c.Text + "\n"
		for _, s := range c.Sigs {
			again += s.Line()
		}
		if again != string(data) {
			t.Fatalf("%q is written again as %q", data, again)
		}
	})
}

func FuzzParseProof(f *testing.F) {
	tree, hashes := buildTree(f, 9)
	owner, _ := testHead(f, tree)
	path, err := tlog.ProveRecord(9, 4, hashes)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(EncodeProof(4, path, owner))
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := ParseProof(data)
		if err == nil && !bytes.Equal(EncodeProof(p.Index, p.Path, p.Head), data) {
			t.Fatalf("%q is written again otherwise", data)
		}
	})
}

// A relay may put a line under the owner's name, by another key, before the owner's own. What is assembled from such a
// head must still verify: it is what a member stores.
func TestStrangeOwnerLineIsNotAssembled(t *testing.T) {
	cfg := testConfig(t)
	tree, _ := buildTree(t, 5)
	owner, lines := testHead(t, tree)
	text, rest, _ := strings.Cut(string(owner), "\n\n")
	strange := Signature{Name: testOrigin, Hash: 7, Body: make([]byte, 64)}.Line()
	head := join([]byte(text+"\n\n"+strange+rest), lines...)
	c, cosigs, err := Cosignatures(cfg, testOrigin, head)
	if err != nil || len(cosigs) != 4 {
		t.Fatalf("%d cosignatures, %v", len(cosigs), err)
	}
	if got := Assemble(c, cosigs); string(got) != string(join(owner, lines...)) {
		t.Fatalf("assembled:\n%s", got)
	}
}
