package evidence

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	sumnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

var update = flag.Bool("update", false, "write golden files anew")

const (
	testOrigin = "test.example/GOV/tax/log/1"
	testOwner  = "GOV/tax"
)

var testTime = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func testKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("evidence test key " + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testPub(label string) ed25519.PublicKey { return testKey(label).Public().(ed25519.PublicKey) }

// testKeys is one configuration: who owns the log, and its mirrors.
type testKeys struct {
	log     string // label of the log key
	mirrors []network.Member
}

func (k testKeys) LogKey(origin string) (string, string, bool) {
	return network.LogVKey(testOrigin, testPub(k.log)), testOwner, origin == testOrigin
}

func (k testKeys) Mirrors() []network.Member { return k.mirrors }

func mirrorName(member string, generation int) string {
	return fmt.Sprintf("test.example/%s/mirror/%d", member, generation)
}

func testMirror(member string, generation int) network.Member {
	name := mirrorName(member, generation)
	return network.Member{Name: member, Mirror: true, MirrorKey: network.MirrorVKey(name, testPub(name))}
}

func keysOf(members ...string) testKeys {
	k := testKeys{log: "log"}
	for _, m := range members {
		k.mirrors = append(k.mirrors, testMirror(m, 1))
	}
	return k
}

// history is a tree's stored hashes.
type history []tlog.Hash

func (h history) ReadHashes(idx []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(idx))
	for i, x := range idx {
		if x >= int64(len(h)) {
			return nil, errors.New("beyond the tree")
		}
		out[i] = h[x]
	}
	return out, nil
}

// grow returns the hashes of n records. Those from fork on are those of the named history.
func grow(tb testing.TB, n, fork int, name string) history {
	tb.Helper()
	var m history
	for i := range n {
		raw := fmt.Appendf(nil, "record %d", i)
		if i >= fork {
			raw = fmt.Appendf(nil, "record %d of %s", i, name)
		}
		h, err := tlog.StoredHashes(int64(i), raw, m)
		if err != nil {
			tb.Fatal(err)
		}
		m = append(m, h...)
	}
	return m
}

func (h history) tree(tb testing.TB, n int) tlog.Tree {
	tb.Helper()
	root, err := tlog.TreeHash(int64(n), h)
	if err != nil {
		tb.Fatal(err)
	}
	return tlog.Tree{N: int64(n), Hash: root}
}

func sign(tb testing.TB, tree tlog.Tree, lines ...string) []byte {
	tb.Helper()
	data, err := note.Sign(testOrigin, tree, testKey("log"))
	if err != nil {
		tb.Fatal(err)
	}
	return append(data, strings.Join(lines, "")...)
}

func cosign(tb testing.TB, tree tlog.Tree, name string) string {
	tb.Helper()
	line, err := note.Cosign(note.Text(testOrigin, tree), name, testKey(name), testTime)
	if err != nil {
		tb.Fatal(err)
	}
	return line
}

// TestForkGraphs tries every pair of sizes up to 8 and every point at which two histories part: the two checkpoints are
// evidence exactly if they part before the smaller size, whichever side is which and in whichever order they come.
func TestForkGraphs(t *testing.T) {
	keys, evidences := keysOf("GOV/civil"), 0
	for n := 0; n <= 8; n++ {
		for m := 0; m <= n; m++ {
			for fork := 0; fork <= n; fork++ {
				left, right := grow(t, m, fork, "left"), grow(t, n, fork, "right")
				a, b := left.tree(t, m), right.tree(t, n)
				e, err := New(sign(t, a), sign(t, b), right)
				swapped, serr := New(sign(t, b), sign(t, a), right)
				if fork >= m {
					if !errors.Is(err, ErrConsistent) || !errors.Is(serr, ErrConsistent) {
						t.Fatalf("size %d of %d, parting at %d: %v, %v", m, n, fork, err, serr)
					}
					neverEvidence(t, keys, a, b, right)
					continue
				}
				if err != nil || serr != nil || !bytes.Equal(e.Encode(), swapped.Encode()) {
					t.Fatalf("size %d of %d, parting at %d: %v, %v", m, n, fork, err, serr)
				}
				evidences++
				holds(t, e, keys, a, b)
			}
		}
	}
	if evidences != 120 { // the sum over n, m of m
		t.Errorf("%d pairs are evidence", evidences)
	}
}

// holds verifies e as a reader of its file does.
func holds(t *testing.T, e Evidence, keys testKeys, a, b tlog.Tree) {
	t.Helper()
	read, err := Parse(e.Encode())
	if err != nil {
		t.Fatalf("sizes %d, %d: %v", a.N, b.N, err)
	}
	f, err := read.Verify(keys)
	if err != nil || f.Origin != testOrigin || f.Owner != testOwner || len(f.Mirrors) != 0 {
		t.Fatalf("sizes %d, %d: %+v, %v", a.N, b.N, f, err)
	}
	if ordered(a, b) && (f.First != a || f.Second != b) || !ordered(a, b) && (f.First != b || f.Second != a) {
		t.Fatalf("sizes %d, %d: finding %+v", a.N, b.N, f)
	}
	for i := range read.Proof { // one more, one fewer, one changed
		for bit := range 256 {
			read.Proof[i][bit/8] ^= 1 << (bit % 8)
			if err := check(f.First, f.Second, read.Root, read.Proof); !errors.Is(err, ErrUnproven) {
				t.Fatalf("sizes %d, %d: hash %d with bit %d flipped: %v", a.N, b.N, i, bit, err)
			}
			read.Proof[i][bit/8] ^= 1 << (bit % 8)
		}
	}
	for _, proof := range [][]tlog.Hash{append(slices.Clone(read.Proof), b.Hash), read.Proof[:max(0, len(read.Proof)-1)]} {
		changed := read
		if changed.Proof = proof; len(proof) == len(read.Proof) {
			continue
		}
		if _, err := changed.Verify(keys); !errors.Is(err, ErrUnproven) {
			t.Fatalf("sizes %d, %d: proof of another length: %v", a.N, b.N, err)
		}
	}
}

// neverEvidence tries to accuse an owner whose two checkpoints are of one history, with every root and proof that another
// history would give.
func neverEvidence(t *testing.T, keys testKeys, a, b tlog.Tree, honest history) {
	t.Helper()
	m, n := int(a.N), int(b.N)
	first, second := sign(t, a), sign(t, b)
	if f, err := (Evidence{First: first, Second: second, Root: b.Hash}).Verify(keys); !errors.Is(err, ErrUnproven) {
		t.Fatalf("honest sizes %d and %d are evidence: %+v, %v", m, n, f, err)
	}
	for fork := 0; fork <= n; fork++ {
		for _, h := range []history{honest, grow(t, n, fork, "forger")} {
			root, proof, err := prove(a.N, h.tree(t, n), h)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range []tlog.Hash{root, a.Hash, b.Hash, {}} {
				if err := check(a, b, r, proof); !errors.Is(err, ErrUnproven) && !errors.Is(err, ErrConsistent) {
					t.Fatalf("honest sizes %d and %d are evidence: %v", m, n, err)
				}
			}
		}
	}
}

// fork returns evidence of sizes 5 and 7 parting at 3, with cosignatures: civil and tax cosigned both sides, health the
// first, police (whom nobody knows) both.
func fork(tb testing.TB) Evidence {
	tb.Helper()
	left, right := grow(tb, 5, 3, "left"), grow(tb, 7, 3, "right")
	a, b := left.tree(tb, 5), right.tree(tb, 7)
	lines := func(tree tlog.Tree, members ...string) (out []string) {
		for _, m := range members {
			out = append(out, cosign(tb, tree, mirrorName(m, 1)))
		}
		return out
	}
	e, err := New(sign(tb, a, lines(a, "GOV/civil", "GOV/health", "GOV/tax", "GOV/police")...),
		sign(tb, b, lines(b, "GOV/civil", "GOV/tax", "GOV/police")...), right)
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

var forkKeys = keysOf("GOV/benefits", "GOV/civil", "GOV/health", "GOV/tax")

func TestGolden(t *testing.T) {
	data := fork(t).Encode()
	path := filepath.Join("testdata", "evidence.golden")
	if *update {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(golden, data) {
		t.Fatalf("differs from %s (%v); got\n%s", path, err, data)
	}
	e, err := Parse(golden)
	if err != nil || !bytes.Equal(e.Encode(), golden) {
		t.Fatalf("written again otherwise: %v", err)
	}
	f, err := e.Verify(forkKeys)
	if err != nil || f.First.N != 5 || f.Second.N != 7 || !slices.Equal(f.Mirrors, []string{"GOV/civil", "GOV/tax"}) {
		t.Fatalf("%+v, %v", f, err)
	}
	// Others' tools read both notes.
	for _, n := range [][]byte{e.First, e.Second} {
		v, err := sumnote.NewVerifier(network.LogVKey(testOrigin, testPub("log")))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sumnote.Open(n, sumnote.VerifierList(v)); err != nil {
			t.Errorf("sumdb/note: %v", err)
		}
	}
}

// TestAnyChangedByte flips two bits of each byte of a file, one at a time. It is refused, or what it shows is the same (the line of a key that nobody
// knows), or it accuses fewer: the mirror whose line was hit, and nobody else, is let off.
func TestAnyChangedByte(t *testing.T) {
	data := fork(t).Encode()
	whole, err := fork(t).Verify(forkKeys)
	if err != nil {
		t.Fatal(err)
	}
	refused, same, fewer := 0, 0, 0
	for at := range data {
		for _, bit := range []int{at % 8, (at + 3) % 8} {
			changed := bytes.Clone(data)
			changed[at] ^= 1 << bit
			e, err := Parse(changed)
			if err != nil {
				if !errors.Is(err, ErrMalformed) {
					t.Fatalf("byte %d: %v", at, err)
				}
				refused++
				continue
			}
			f, err := e.Verify(forkKeys)
			line := lineAt(data, at)
			switch {
			case err != nil:
				refused++
			case f.ID() == whole.ID() && (strings.Contains(line, "GOV/police/mirror") || strings.Contains(line, "GOV/health/mirror")):
				same++
			case strings.Contains(line, "/mirror/1 ") && strings.HasPrefix(line, "— "):
				hit := slices.DeleteFunc(slices.Clone(whole.Mirrors), func(m string) bool { return strings.Contains(line, m) })
				if !slices.Equal(f.Mirrors, hit) {
					t.Fatalf("byte %d of %q: accused %v", at, line, f.Mirrors)
				}
				fewer++
			default:
				t.Fatalf("byte %d with bit %d flipped, in %q: holds and shows %+v", at, bit, line, f)
			}
			if err == nil && (f.First != whole.First || f.Second != whole.Second || f.Owner != whole.Owner || !whole.Covers(f)) {
				t.Fatalf("byte %d: shows %+v", at, f)
			}
		}
	}
	if refused == 0 || same == 0 || fewer == 0 {
		t.Errorf("%d refused, %d the same, %d accuse fewer", refused, same, fewer)
	}
}

func lineAt(data []byte, at int) string {
	start := bytes.LastIndexByte(data[:at], '\n') + 1
	return string(data[start : at+bytes.IndexByte(data[at:], '\n')+1])
}

func TestTruncated(t *testing.T) {
	data := fork(t).Encode()
	whole, err := fork(t).Verify(forkKeys)
	if err != nil {
		t.Fatal(err)
	}
	for n := range data {
		e, err := Parse(data[:n])
		if err != nil {
			continue
		}
		// Whole lines of mirrors can be missing at the end: it accuses fewer.
		if f, err := e.Verify(forkKeys); err == nil && (!whole.Covers(f) || data[n-1] != '\n') {
			t.Fatalf("%d bytes show %+v", n, f)
		}
	}
}

func TestVerifyRefuses(t *testing.T) {
	good := fork(t)
	left := grow(t, 5, 3, "left").tree(t, 5)
	stolen := func(n []byte, name string, key ed25519.PrivateKey) []byte {
		c, err := note.Parse(n)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := note.Sign(name, c.Tree, key)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	for name, tc := range map[string]struct {
		e    Evidence
		keys []Keys
		want error
	}{
		"no keys":             {good, nil, ErrUnproven},
		"another owner's key": {good, []Keys{testKeys{log: "other"}}, ErrUnproven},
		"first not the owner's": {Evidence{stolen(good.First, testOrigin, testKey("other")), good.Second, good.Root, good.Proof},
			[]Keys{forkKeys}, ErrUnproven},
		"second not the owner's": {Evidence{good.First, stolen(good.Second, testOrigin, testKey("other")), good.Root, good.Proof},
			[]Keys{forkKeys}, ErrUnproven},
		"one side each key": {Evidence{good.First, stolen(good.Second, testOrigin, testKey("other")), good.Root, good.Proof},
			[]Keys{forkKeys, testKeys{log: "other"}}, ErrUnproven},
		"two logs": {Evidence{good.First, stolen(good.Second, "test.example/GOV/tax/log/2", testKey("log")), good.Root, good.Proof},
			[]Keys{forkKeys}, ErrMalformed},
		"swapped":      {Evidence{good.Second, good.First, good.Root, good.Proof}, []Keys{forkKeys}, ErrMalformed},
		"same twice":   {Evidence{sign(t, left), sign(t, left), left.Hash, nil}, []Keys{forkKeys}, ErrUnproven},
		"first's root": {Evidence{good.First, good.Second, left.Hash, good.Proof}, []Keys{forkKeys}, ErrUnproven},
		"no proof":     {Evidence{good.First, good.Second, good.Root, nil}, []Keys{forkKeys}, ErrUnproven},
		"long proof":   {Evidence{good.First, good.Second, good.Root, make([]tlog.Hash, MaxProof+1)}, []Keys{forkKeys}, ErrMalformed},
		"empty":        {Evidence{}, []Keys{forkKeys}, ErrMalformed},
	} {
		if f, err := tc.e.Verify(tc.keys...); !errors.Is(err, tc.want) || f.Owner != "" {
			t.Errorf("%s: %+v, %v", name, f, err)
		}
	}
}

// A chain of configurations: the log's key is in an older one, a mirror's key changed in between.
func TestOlderKeys(t *testing.T) {
	e := fork(t)
	newer := testKeys{log: "other", mirrors: []network.Member{testMirror("GOV/civil", 2), testMirror("GOV/tax", 1)}}
	f, err := e.Verify(newer, forkKeys)
	if err != nil || !slices.Equal(f.Mirrors, []string{"GOV/civil", "GOV/tax"}) {
		t.Fatalf("%+v, %v", f, err)
	}
	// One member's two keys on the two sides accuse nobody.
	left, right := grow(t, 5, 3, "left").tree(t, 5), grow(t, 7, 3, "right")
	e, err = New(sign(t, left, cosign(t, left, mirrorName("GOV/civil", 1))),
		sign(t, right.tree(t, 7), cosign(t, right.tree(t, 7), mirrorName("GOV/civil", 2))), right)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := e.Verify(newer, forkKeys); err != nil || len(f.Mirrors) != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// A forged line beside a mirror's good one, before or behind it, changes nothing, and forged lines accuse nobody.
func TestForgedCosignatures(t *testing.T) {
	left, right := grow(t, 5, 3, "left").tree(t, 5), grow(t, 7, 3, "right")
	b := right.tree(t, 7)
	name := mirrorName("GOV/civil", 1)
	forge := func(line string) string {
		s, err := note.ParseSignature(line)
		if err != nil {
			t.Fatal(err)
		}
		s.Body[20] ^= 1
		return s.Line()
	}
	good, other := cosign(t, left, name), cosign(t, b, name)
	for label, tc := range map[string]struct {
		first, second []string
		want          int
	}{
		"good":                      {[]string{good}, []string{other}, 1},
		"forged before":             {[]string{forge(good), good}, []string{other}, 1},
		"forged behind":             {[]string{good, forge(good)}, []string{forge(other), other}, 1},
		"first forged":              {[]string{forge(good)}, []string{other}, 0},
		"second forged":             {[]string{good}, []string{forge(other)}, 0},
		"cosignature of the other":  {[]string{other}, []string{other}, 0},
		"owner's line forged first": {[]string{forge(ownerLine(t, left))}, []string{other}, 0},
	} {
		e, err := New(sign(t, left, tc.first...), sign(t, b, tc.second...), right)
		if err != nil {
			t.Fatal(err)
		}
		if f, err := e.Verify(forkKeys); err != nil || len(f.Mirrors) != tc.want {
			t.Errorf("%s: %+v, %v", label, f, err)
		}
	}
	// The owner's own line may stand behind a forged one.
	text, _, _ := strings.Cut(string(sign(t, left)), "\n\n")
	e, err := New([]byte(text+"\n\n"+forge(ownerLine(t, left))+ownerLine(t, left)), sign(t, b), right)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Verify(forkKeys); err != nil {
		t.Error(err)
	}
}

func ownerLine(t *testing.T, tree tlog.Tree) string {
	_, sigs, _ := strings.Cut(string(sign(t, tree)), "\n\n")
	return sigs
}

// Notes with many signatures are read up to the ledger's limit of 64, and refused beyond it: 200 are as bad as 65.
func TestManySignatures(t *testing.T) {
	left, right := grow(t, 5, 3, "left").tree(t, 5), grow(t, 7, 3, "right")
	b := right.tree(t, 7)
	for _, n := range []int{1, 2, 16, 63, 64, 65, 99, 100, 101, 200} {
		lines := make([]string, n-1)
		for i := range lines {
			lines[i] = note.Signature{Name: fmt.Sprintf("witness-%d.example", i), Hash: uint32(i), Body: make([]byte, 72)}.Line()
		}
		e, err := New(sign(t, left, lines...), sign(t, b, lines...), right)
		if n > note.MaxSignatures {
			forced := Evidence{First: sign(t, left, lines...), Second: sign(t, b, lines...), Root: b.Hash}
			_, perr := Parse(forced.Encode())
			_, verr := forced.Verify(forkKeys)
			if !errors.Is(err, ErrMalformed) || !errors.Is(perr, ErrMalformed) || !errors.Is(verr, ErrMalformed) {
				t.Errorf("%d signatures: %v, %v, %v", n, err, perr, verr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%d signatures: %v", n, err)
			continue
		}
		if f, err := e.Verify(forkKeys); err != nil || len(f.Mirrors) != 0 {
			t.Errorf("%d signatures: %+v, %v", n, f, err)
		}
	}
	// The largest file there can be is within the limit.
	long := strings.Repeat("w", 240)
	var lines []string
	for i := range 40 {
		lines = append(lines, note.Signature{Name: long, Hash: uint32(i), Body: make([]byte, 72)}.Line())
	}
	e := Evidence{First: sign(t, left, lines...), Second: sign(t, b, lines...), Proof: make([]tlog.Hash, MaxProof)}
	if len(e.First) > note.MaxSize || len(e.Encode())-len(e.First)-len(e.Second)+2*note.MaxSize > MaxSize {
		t.Errorf("notes of %d bytes, file of %d", len(e.First), len(e.Encode()))
	}
	if _, err := Parse(e.Encode()); err != nil {
		t.Error(err)
	}
}

// ID is the same whatever checkpoints show a fork, and another for other accused.
func TestID(t *testing.T) {
	ids := make(map[string]string)
	for _, accused := range [][]string{nil, {"GOV/civil"}, {"GOV/civil", "GOV/tax"}, {"GOV/tax"}} {
		for _, n := range []int{4, 5, 6, 7} {
			left, right := grow(t, 4, 3, "left").tree(t, 4), grow(t, n, 3, "right")
			b := right.tree(t, n)
			var first, second []string
			for _, m := range accused {
				first, second = append(first, cosign(t, left, mirrorName(m, 1))), append(second, cosign(t, b, mirrorName(m, 1)))
			}
			slices.Reverse(second)
			e, err := New(sign(t, left, first...), sign(t, b, second...), right)
			if err != nil {
				t.Fatal(err)
			}
			f, err := e.Verify(forkKeys)
			if err != nil {
				t.Fatal(err)
			}
			label := strings.Join(accused, " ")
			if old, ok := ids[label]; ok && old != f.ID() || len(f.ID()) != 64 {
				t.Errorf("%q with size %d: %s, before %s", label, n, f.ID(), old)
			}
			ids[label] = f.ID()
		}
	}
	seen := make(map[string]bool)
	for _, id := range ids {
		seen[id] = true
	}
	if len(seen) != 4 {
		t.Errorf("ids %v", ids)
	}
	one, two := Finding{Origin: "o", Mirrors: []string{"a"}}, Finding{Origin: "o", Mirrors: []string{"a", "b"}}
	if !two.Covers(one) || one.Covers(two) || !one.Covers(one) || two.Covers(Finding{Origin: "p"}) {
		t.Error("covers")
	}
}
