package note

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// testUpload is an upload of the entries [254, 259) of a tree of 259: two packages.
func testUpload(tb testing.TB) (AddEntries, []Package, tlog.Tree, memory) {
	tb.Helper()
	tree, hashes := buildTree(tb, 259)
	head := AddEntries{Origin: testOrigin, Start: 254, End: 259, Ticket: []byte("ticket")}
	var packages []Package
	for at := head.Start; at < head.End; {
		p := head.Next(at)
		for i := p.Start; i < p.End; i++ {
			p.Entries = append(p.Entries, record(int(i)))
		}
		var err error
		if p.Proof, err = ProveSubtree(p.Base(), p.End, head.End, hashes); err != nil {
			tb.Fatal(err)
		}
		packages, at = append(packages, p), p.End
	}
	return head, packages, tree, hashes
}

func encodeUpload(head AddEntries, packages []Package) []byte {
	b := head.Append(nil)
	for _, p := range packages {
		b = p.Append(b)
	}
	return b
}

func TestUploadGolden(t *testing.T) {
	head, packages, tree, hashes := testUpload(t)
	data := encodeUpload(head, packages)
	info := MirrorInfo{Size: 259, Next: 256, Ticket: []byte("ticket")}.Encode()
	for name, got := range map[string][]byte{"add-entries.golden": []byte(hex.Dump(data)), "mirror-info.golden": info} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("differs from %s (%v); got\n%s", file, err, got)
		}
	}
	r := bytes.NewReader(data)
	again, err := ReadAddEntries(r)
	if err != nil || again.Origin != head.Origin || again.Start != 254 || again.End != 259 || string(again.Ticket) != "ticket" {
		t.Fatalf("read %+v, %v", again, err)
	}
	at := again.Start
	for i, want := range packages {
		p := again.Next(at)
		if err := p.Read(r); err != nil {
			t.Fatal(err)
		}
		if p.Start != want.Start || p.End != want.End || !bytes.Equal(p.Append(nil), want.Append(nil)) {
			t.Errorf("package %d is read as %+v", i, p)
		}
		hash, err := SubtreeHash(p.Base(), p.End, hashes)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckSubtree(p.Proof, p.Base(), p.End, hash, tree); err != nil {
			t.Error(err)
		}
		at = p.End
	}
	if r.Len() != 0 || at != again.End {
		t.Errorf("%d bytes are left at entry %d", r.Len(), at)
	}
}

func TestReadAddEntriesRefuses(t *testing.T) {
	head, packages, _, _ := testUpload(t)
	data := encodeUpload(head, packages)
	length := len(head.Append(nil))
	for n := range length {
		if _, err := ReadAddEntries(bytes.NewReader(data[:n])); !errors.Is(err, ErrRequest) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
	for name, bad := range map[string]AddEntries{
		"no origin": {Start: 0, End: 1}, "long origin": {Origin: strings.Repeat("x", 256), End: 1},
		"not UTF-8": {Origin: "\xff", End: 1}, "start beyond end": {Origin: "x", Start: 2, End: 1},
		"end out of range": {Origin: "x", End: MaxTreeSize + 1}, "negative": {Origin: "x", Start: -1, End: -1},
	} {
		if _, err := ReadAddEntries(bytes.NewReader(bad.Append(nil))); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := length; n < len(data); n++ {
		r := bytes.NewReader(data[length:n])
		var err error
		for at := head.Start; at < head.End && err == nil; {
			p := head.Next(at)
			err = p.Read(r)
			at = p.End
		}
		if !errors.Is(err, ErrCutOff) {
			t.Errorf("packages cut off after %d bytes: %v", n, err)
		}
	}
	many := Package{Start: 0, End: 1, Entries: [][]byte{{1}}, Proof: make([]tlog.Hash, 64)}
	p := Package{Start: 0, End: 1}
	if err := p.Read(bytes.NewReader(many.Append(nil))); !errors.Is(err, ErrRequest) {
		t.Errorf("64 hashes: %v", err)
	}
}

func TestParseMirrorInfoRefuses(t *testing.T) {
	for _, bad := range []string{"", "1\n2\n", "1\n2\n\n\n", "1\n2\nx", "1\n2\n\nx", "01\n2\n\n", "1\n-2\n\n", "1\n2\n???\n", "1\n2\nAB==\n", "1\n2\nAA==",
		"1125899906842625\n0\n\n", "1\n1125899906842625\n\n", "1\r\n2\r\n\r\n", "1\n2\n" + strings.Repeat("AAAA", 1<<16) + "\n"} {
		if m, err := ParseMirrorInfo([]byte(bad)); !errors.Is(err, ErrRequest) {
			t.Errorf("%.40q is read as %+v, %v", bad, m, err)
		}
	}
	m, err := ParseMirrorInfo([]byte("259\n256\n\n"))
	if err != nil || m.Size != 259 || m.Next != 256 || len(m.Ticket) != 0 {
		t.Errorf("empty ticket: %+v, %v", m, err)
	}
}

// TestSubtrees proves each package of each size, and refuses each proof with a hash changed, missing or too many. Whole
// packages are proved by torchwood, too, which knows them as stored hashes; parts by what RFC 6962 says of their root.
func TestSubtrees(t *testing.T) {
	_, hashes := buildTree(t, 1100)
	for _, size := range []int64{1, 2, 255, 256, 257, 300, 511, 512, 513, 700, 768, 769, 1023, 1024, 1025, 1100} {
		root, err := tlog.TreeHash(size, hashes)
		if err != nil {
			t.Fatal(err)
		}
		tree := tlog.Tree{N: size, Hash: root}
		for start := int64(0); start < size; start += PackageEntries {
			end := min(start+PackageEntries, size)
			name := fmt.Sprintf("[%d, %d) of %d", start, end, size)
			hash, err := SubtreeHash(start, end, hashes)
			if err != nil {
				t.Fatal(err)
			}
			if got := bruteRoot(start, end, hashes); got != hash {
				t.Errorf("%s: root differs", name)
			}
			proof, err := ProveSubtree(start, end, size, hashes)
			if err != nil {
				t.Fatal(err)
			}
			if err := CheckSubtree(proof, start, end, hash, tree); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			checkTorchwood(t, name, start, end, tree, hash, proof, hashes)
			for i := range proof {
				bad := append([]tlog.Hash{}, proof...)
				bad[i][i%32] ^= 1
				if CheckSubtree(bad, start, end, hash, tree) == nil || CheckSubtree(append(bad[:i:i], proof[i+1:]...), start, end, hash, tree) == nil {
					t.Errorf("%s: hash %d may be wrong or missing", name, i)
				}
			}
			if CheckSubtree(append(proof[:len(proof):len(proof)], hash), start, end, hash, tree) == nil {
				t.Errorf("%s: a hash too many", name)
			}
			hash[0] ^= 1
			if CheckSubtree(proof, start, end, hash, tree) == nil {
				t.Errorf("%s: another subtree", name)
			}
		}
	}
	tree, _ := buildTree(t, 300)
	for _, tc := range [][2]int64{{1, 256}, {0, 255}, {0, 300}, {256, 299}, {256, 301}, {512, 600}, {256, 256}, {-256, 0}} {
		if err := CheckSubtree(nil, tc[0], tc[1], tree.Hash, tree); !errors.Is(err, ErrProof) {
			t.Errorf("%v is no package: %v", tc, err)
		}
		if _, err := ProveSubtree(tc[0], tc[1], 300, hashes); !errors.Is(err, ErrRequest) {
			t.Errorf("%v is no package: %v", tc, err)
		}
	}
}

// checkTorchwood compares the proof of a package of 256 entries with torchwood's for the same node.
func checkTorchwood(t *testing.T, name string, start, end int64, tree tlog.Tree, hash tlog.Hash, proof []tlog.Hash, hashes memory) {
	t.Helper()
	if end-start < PackageEntries {
		return
	}
	node := tlog.StoredHashIndex(8, start/PackageEntries)
	want, err := torchwood.ProveHash(tree.N, node, hashes)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint([]tlog.Hash(want)) != fmt.Sprint(proof) && len(want)+len(proof) > 0 {
		t.Errorf("%s: torchwood proves it otherwise", name)
	}
	if err := torchwood.CheckHash(proof, tree.N, tree.Hash, node, hash); err != nil {
		t.Errorf("%s: torchwood refuses: %v", name, err)
	}
}

// bruteRoot is RFC 6962 section 2.1, as it stands there.
func bruteRoot(start, end int64, hashes memory) tlog.Hash {
	if end-start == 1 {
		return hashes[tlog.StoredHashIndex(0, start)]
	}
	k := int64(1)
	for k*2 < end-start {
		k *= 2
	}
	return tlog.NodeHash(bruteRoot(start, start+k, hashes), bruteRoot(start+k, end, hashes))
}

func FuzzReadAddEntries(f *testing.F) {
	head, packages, _, _ := testUpload(f)
	f.Add(encodeUpload(head, packages))
	f.Add(AddEntries{Origin: "x"}.Append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		a, err := ReadAddEntries(r)
		if err != nil {
			return
		}
		again := a.Append(nil)
		for at := a.Start; at < a.End; {
			p := a.Next(at)
			if p.End <= at || p.End-p.Base() > PackageEntries {
				t.Fatalf("package %+v after %d", p, at)
			}
			if p.Read(r) != nil {
				break
			}
			again, at = p.Append(again), p.End
		}
		if !bytes.HasPrefix(data, again) {
			t.Fatalf("%x is written again as %x", data, again)
		}
	})
}

func FuzzParseMirrorInfo(f *testing.F) {
	f.Add([]byte("259\n256\ndGlja2V0\n"))
	f.Add([]byte("0\n0\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := ParseMirrorInfo(data); err == nil && !bytes.Equal(m.Encode(), data) {
			t.Fatalf("%q is written again as %q", data, m.Encode())
		}
	})
}
