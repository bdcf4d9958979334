package note

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/network"
)

func example(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// TestSpecificationExamples reads the examples of C2SP tlog-witness and writes them again, byte for byte.
func TestSpecificationExamples(t *testing.T) {
	data := example(t, "c2sp-add-checkpoint.txt")
	a, c, err := ParseAddCheckpoint(data)
	if err != nil {
		t.Fatal(err)
	}
	if a.Old != 20852014 || len(a.Proof) != 4 || c.Origin != "example.com/behind-the-sofa" || c.Tree.N != 20852163 || len(c.Sigs) != 2 {
		t.Errorf("read %+v, %+v", a, c)
	}
	if got := a.Encode(); !bytes.Equal(got, data) {
		t.Errorf("written as\n%s", got)
	}
	lines := example(t, "c2sp-cosignatures.txt")
	sigs, err := ParseLines(lines)
	if err != nil || len(sigs) != 3 || sigs[2].Name != "witness.example/w2" || len(sigs[0].Body) != 72 {
		t.Fatalf("read %+v, %v", sigs, err)
	}
	var again string
	for _, s := range sigs {
		again += s.Line()
	}
	if again != string(lines) {
		t.Errorf("written as\n%s", again)
	}
}

func TestSizeBody(t *testing.T) {
	for _, n := range []int64{0, 1, 20852014, MaxTreeSize} {
		got, err := ParseSize(EncodeSize(n))
		if err != nil || got != n {
			t.Errorf("%d is read as %d, %v", n, got, err)
		}
	}
	if got := string(EncodeSize(20852014)); got != "20852014\n" {
		t.Errorf("written as %q", got)
	}
	for _, bad := range []string{"", "\n", "1", "01\n", "-1\n", "+1\n", "1\n\n", " 1\n", "1 \n", "0x1\n", "1e3\n", "1\r\n",
		"1125899906842625\n", "99999999999999999999\n"} {
		if n, err := ParseSize([]byte(bad)); !errors.Is(err, ErrRequest) {
			t.Errorf("%q is read as %d, %v", bad, n, err)
		}
	}
}

func TestParseAddCheckpointRefuses(t *testing.T) {
	good := string(example(t, "c2sp-add-checkpoint.txt"))
	hash := "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw="
	checkpoint := good[strings.Index(good, "\n\n")+2:]
	for _, tc := range []struct {
		name, body string
		want       error
	}{
		{"empty", "", ErrRequest},
		{"checkpoint alone", checkpoint, ErrRequest},
		{"no empty line", strings.Replace(good, "\n\n", "\n", 1), ErrRequest},
		{"no old line", good[strings.Index(good, "\n")+1:], ErrRequest},
		{"another word", "Old" + good[3:], ErrRequest},
		{"two spaces", "old  1\n\n" + checkpoint, ErrRequest},
		{"tab", "old\t1\n\n" + checkpoint, ErrRequest},
		{"leading zero", "old 01\n\n" + checkpoint, ErrRequest},
		{"two zeros", "old 00\n\n" + checkpoint, ErrRequest},
		{"negative", "old -1\n\n" + checkpoint, ErrRequest},
		{"sign", "old +1\n\n" + checkpoint, ErrRequest},
		{"no size", "old \n\n" + checkpoint, ErrRequest},
		{"size out of range", "old 1125899906842625\n\n" + checkpoint, ErrRequest},
		{"size beyond 64 bits", "old 18446744073709551617\n\n" + checkpoint, ErrRequest},
		{"carriage return", strings.Replace(good, "\n", "\r\n", 1), ErrRequest},
		{"64 hashes", "old 1\n" + strings.Repeat(hash+"\n", 64) + "\n" + checkpoint, ErrRequest},
		{"short hash", "old 1\n" + hash[:40] + "\n\n" + checkpoint, ErrRequest},
		{"long hash", "old 1\nAAAA" + hash + "\n\n" + checkpoint, ErrRequest},
		{"hash in hex", "old 1\n" + strings.Repeat("ab", 32) + "\n\n" + checkpoint, ErrRequest},
		{"URL base64", "old 1\n" + strings.Replace("/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=", "/", "_", 1) + "\n\n" + checkpoint, ErrRequest},
		{"another spelling of a hash", "old 1\n" + hash[:42] + "x=\n\n" + checkpoint, ErrRequest},
		{"space after a hash", "old 1\n" + hash + " \n\n" + checkpoint, ErrRequest},
		{"no checkpoint", "old 1\n\n", ErrNote},
		{"checkpoint without signatures", "old 1\n\nexample.com\n1\n" + hash + "\n", ErrNote},
		{"extension line", strings.Replace(good, "q2I=\n", "q2I=\nextension\n", 1), ErrNote},
		{"65 signatures", good + strings.Repeat(good[strings.LastIndex(good, "— "):], 63), ErrNote},
		{"too long", good + strings.Repeat("x", MaxAddCheckpoint), ErrRequest},
		{"not UTF-8", good + "\xff", ErrNote},
	} {
		if a, _, err := ParseAddCheckpoint([]byte(tc.body)); !errors.Is(err, tc.want) {
			t.Errorf("%s: read as %+v, %v", tc.name, a, err)
		}
	}
	if _, _, err := ParseAddCheckpoint([]byte("old 1\n" + strings.Repeat(hash+"\n", 63) + "\n" + checkpoint)); err != nil {
		t.Errorf("63 hashes: %v", err)
	}
}

func TestParseLinesRefuses(t *testing.T) {
	good := string(example(t, "c2sp-cosignatures.txt"))
	first := good[:strings.Index(good, "\n")+1]
	for name, body := range map[string]string{
		"empty": "", "empty line": "\n", "line without end": good[:len(good)-1], "line before": "witness says\n" + good,
		"empty line between": first + "\n" + first, "dash": strings.Replace(first, "—", "-", 1), "no base64": "— w ???\n",
		"hash alone": "— w AAAAAA==\n", "65 lines": strings.Repeat(first, 65), "too long": strings.Repeat("x", MaxSize+1),
		"a whole note": "a\n\n" + first, "plus in the name": strings.Replace(first, "/w1", "+w1", 1),
	} {
		if sigs, err := ParseLines([]byte(body)); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: read as %+v, %v", name, sigs, err)
		}
	}
}

func TestVerifyOutside(t *testing.T) {
	tree, _ := buildTree(t, 5)
	text := Text(testOrigin, tree)
	key := testKeys.Key("witness")
	v, err := torchwood.NewCosignatureVerifier(network.MirrorVKey("witness.example/w1", key.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	line := func(name string, text string, at int64) Signature {
		l, err := Cosign(text, name, key, time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		s, err := ParseSignature(l)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	good, later := line(v.Name(), text, 1000), line(v.Name(), text, 2000)
	stranger := line("witness.example/w2", text, 3000)
	got, err := VerifyOutside(v, text, []Signature{stranger, later, good})
	if err != nil || got.Time.Unix() != 2000 || got.Line != later.Line() || got.Witness != v.Name() {
		t.Errorf("got %+v, %v", got, err)
	}
	bad := good
	bad.Body = bytes.Clone(good.Body)
	bad.Body[40] ^= 1
	early := good
	early.Body = binary.BigEndian.AppendUint64(nil, 999)
	early.Body = append(early.Body, good.Body[8:]...)
	for name, sigs := range map[string][]Signature{
		"none": nil, "a stranger's": {stranger}, "a flipped bit": {bad}, "a flipped bit after a good one": {good, bad},
		"another time": {early}, "of another tree": {line(v.Name(), Text(testOrigin, tlog.Tree{N: 5}), 1000)},
		"at time zero": {line(v.Name(), text, 0)}, "cut off": {{Name: good.Name, Hash: good.Hash, Body: good.Body[:71]}},
	} {
		if got, err := VerifyOutside(v, text, sigs); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func FuzzParseAddCheckpoint(f *testing.F) {
	f.Add(example(f, "c2sp-add-checkpoint.txt"))
	tree, _ := buildTree(f, 5)
	owner, _ := testHead(f, tree)
	f.Add(AddCheckpoint{Note: owner}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		a, c, err := ParseAddCheckpoint(data)
		if err != nil {
			return
		}
		if !bytes.Equal(a.Encode(), data) {
			t.Fatalf("%q is written again as %q", data, a.Encode())
		}
		if want, err := Parse(a.Note); err != nil || want.Text != c.Text {
			t.Fatalf("the checkpoint is read otherwise alone: %v", err)
		}
	})
}

func FuzzParseLines(f *testing.F) {
	f.Add(example(f, "c2sp-cosignatures.txt"))
	f.Fuzz(func(t *testing.T, data []byte) {
		sigs, err := ParseLines(data)
		var again string
		for _, s := range sigs {
			again += s.Line()
		}
		if err == nil && again != string(data) {
			t.Fatalf("%q is written again as %q", data, again)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	f.Add([]byte("20852014\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if n, err := ParseSize(data); err == nil && fmt.Sprintf("%d\n", n) != string(data) {
			t.Fatalf("%q is read as %d", data, n)
		}
	})
}
