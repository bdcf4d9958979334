package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/buntdb"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// A patient is a copy of GOV/civil's folder, to which one thing is done.
type patient struct {
	*town
	dir   string
	chain Chain
}

const sick = "GOV/civil" // the log that things are done to

func (p *patient) file(elem ...string) string {
	return filepath.Join(append([]string{folder{dir: p.dir}.log(originOf(sick))}, elem...)...)
}

func (p *patient) edit(path string, f func([]byte) []byte) {
	p.tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		p.tb.Fatal(err)
	}
	if err := os.WriteFile(path, f(bytes.Clone(data)), 0o600); err != nil {
		p.tb.Fatal(err)
	}
}

func (p *patient) put(path, data string) {
	p.tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.tb.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		p.tb.Fatal(err)
	}
}

func (p *patient) remove(path string) {
	p.tb.Helper()
	if err := os.Remove(path); err != nil {
		p.tb.Fatal(err)
	}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
}

// entries reads all entries of the log from its tiles.
func (p *patient) entries() (out [][]byte) {
	p.tb.Helper()
	r := &replay{folder: folder{tiles.OS(), p.dir}, dir: p.file(), size: 600, visit: func(_ uint64, raw []byte) error {
		out = append(out, bytes.Clone(raw))
		return nil
	}}
	if err := r.run(context.Background()); err != nil {
		p.tb.Fatal(err)
	}
	return out
}

// tree returns the tree of the first n entries.
func (p *patient) tree(n int) tlog.Tree {
	p.tb.Helper()
	r := &replay{folder: folder{tiles.OS(), p.dir}, dir: p.file(), size: int64(n), marks: []int64{int64(n)}, visit: func(uint64, []byte) error { return nil }}
	if err := r.run(context.Background()); err != nil {
		p.tb.Fatal(err)
	}
	return tlog.Tree{N: int64(n), Hash: r.roots[int64(n)]}
}

// rewrite writes the log's files anew, with every tile right for these entries.
func (p *patient) rewrite(entries [][]byte) {
	p.tb.Helper()
	if err := os.RemoveAll(p.file("tile")); err != nil {
		p.tb.Fatal(err)
	}
	disk, err := tiles.NewDisk(p.dir)
	if err != nil {
		p.tb.Fatal(err)
	}
	log, err := tiles.Open(disk, p.file(), 0, nil)
	if err == nil {
		_, err = log.Append(entries)
	}
	if err != nil {
		p.tb.Fatal(err)
	}
}

// head writes the final head of a tree, cosigned by mirrors.
func (p *patient) head(tree tlog.Tree, at time.Time, mirrors ...string) {
	p.tb.Helper()
	data := string(p.signed(tree))
	for _, m := range mirrors {
		line, err := note.Cosign(note.Text(originOf(sick), tree), network.MirrorName(testInstance, m, 1), testKeys.Key("mirror "+m), at)
		if err != nil {
			p.tb.Fatal(err)
		}
		data += line
	}
	p.put(p.file("checkpoint"), data)
}

func (p *patient) signed(tree tlog.Tree) []byte {
	p.tb.Helper()
	data, err := note.Sign(originOf(sick), tree, testKeys.Key("log "+sick))
	if err != nil {
		p.tb.Fatal(err)
	}
	return data
}

// lines edits the signature lines of the final head; the first is the owner's.
func (p *patient) lines(f func([]string) []string) {
	p.edit(p.file("checkpoint"), func(b []byte) []byte {
		text, sigs, _ := strings.Cut(string(b), "\n\n")
		return []byte(text + "\n\n" + strings.Join(f(strings.Split(strings.TrimSuffix(sigs, "\n"), "\n")), "\n") + "\n")
	})
}

// spoil flips a bit in the signature of a line.
func spoil(line string) string {
	s, err := note.ParseSignature(line + "\n")
	if err != nil {
		panic(err)
	}
	s.Body[len(s.Body)-1] ^= 1
	return strings.TrimSuffix(s.Line(), "\n")
}

// state replaces a signer state's tree.
func (p *patient) state(path, role, origin string, tree tlog.Tree, signed string) {
	p.tb.Helper()
	rec := signer.Record{Role: role, Origin: origin, State: signer.State{Tree: tree, Note: []byte(signed)}}
	out, err := rec.Encode()
	if err != nil {
		p.tb.Fatal(err)
	}
	p.put(filepath.Join(p.dir, path), string(out))
}

// A fixed chain is configurations and pins.
type fixed struct {
	versions []*network.Configuration
	pins     map[string][]tlog.Tree
}

func (f fixed) Versions() []*network.Configuration { return f.versions }
func (f fixed) Pins(origin string) []tlog.Tree     { return f.pins[origin] }
func (f fixed) Rules(string) []network.Approvers   { return nil }

// fenced is a chain whose newest configuration ends the sick log.
func (p *patient) fenced(tree tlog.Tree) {
	next := *p.cfg
	next.Version, next.Members = 2, slices.Clone(p.cfg.Members)
	for i, m := range next.Members {
		if m.Name == sick {
			next.Members[i].LogKey = network.LogVKey(network.LogName(testInstance, sick, 2), testKeys.Public("log 2 "+sick))
		}
	}
	next.Fences = []network.Fence{{Origin: originOf(sick), Member: sick, LogKey: network.LogVKey(originOf(sick), testKeys.Public("log "+sick)),
		Size: tree.N, Root: hex.EncodeToString(tree.Hash[:])}}
	p.chain = fixed{versions: []*network.Configuration{p.cfg, &next}}
}

// tampers is one thing done to a folder at a time, and what the audit must find: the codes of the sick log and of the
// folder, and no others.
var tampers = []struct {
	name string
	do   func(p *patient)
	want map[Code]int64 // with the index of the first; -1 for none
}{
	{"nothing", func(*patient) {}, nil},
	{"a bit of a hash tile", func(p *patient) { p.edit(p.file("tile", "0", "000"), flip(1000)) },
		map[Code]int64{TileDamaged: -1, Inclusion: 0}},
	{"a bit of the edge tile", func(p *patient) { p.edit(p.file("tile", "0", "002.p", "88"), flip(0)) },
		map[Code]int64{TileDamaged: -1, Inclusion: 0}},
	{"a bit of an upper tile", func(p *patient) { p.edit(p.file("tile", "1", "000.p", "2"), flip(0)) },
		map[Code]int64{TileDamaged: -1, Inclusion: 0}},
	{"an earlier partial tile", func(p *patient) {
		p.edit(p.file("tile", "0", "002.p", "88"), func(b []byte) []byte { return b })
		p.older("0", 32)
	},
		map[Code]int64{TileDamaged: -1}},
	{"an earlier partial bundle", func(p *patient) { p.older("entries", 3) }, map[Code]int64{BundleDamaged: 512}},
	{"hash tile cut", func(p *patient) { p.edit(p.file("tile", "0", "001"), func(b []byte) []byte { return b[:8000] }) },
		map[Code]int64{TileDamaged: -1, Inclusion: 256}},
	{"hash tile gone", func(p *patient) { p.remove(p.file("tile", "0", "001")) }, map[Code]int64{TileMissing: -1, Inclusion: 256}},
	{"edge tile gone", func(p *patient) { p.remove(p.file("tile", "0", "002.p", "88")) }, map[Code]int64{TileMissing: -1, Inclusion: 0}},
	{"a byte of an entry", func(p *patient) { p.edit(p.file("tile", "entries", "000"), flip(2+150)) },
		map[Code]int64{IndexRow: 0, IndexTree: -1, EntryChanged: 0, RootMismatch: -1, HistoryMismatch: -1, EntryMalformed: 0}},
	{"two entries swapped", func(p *patient) { p.edit(p.file("tile", "entries", "001"), swap(44, 45)) },
		map[Code]int64{IndexRow: 300, IndexTree: -1, EntryChanged: 300, RootMismatch: -1, HistoryMismatch: -1, BeatOrder: 301}},
	{"swapped, with all tiles right", func(p *patient) {
		all := p.entries()
		all[300], all[301] = all[301], all[300]
		p.rewrite(all)
	}, map[Code]int64{IndexRow: 300, IndexTree: -1, RootMismatch: -1, HistoryMismatch: -1, BeatOrder: 301}},
	{"bundle cut", func(p *patient) {
		p.edit(p.file("tile", "entries", "001"), func(b []byte) []byte { return b[:len(b)-1] })
	},
		map[Code]int64{BundleDamaged: 256}},
	{"bundle with more", func(p *patient) {
		p.edit(p.file("tile", "entries", "001"), func(b []byte) []byte { return append(b, 0, 1, 'x') })
	},
		map[Code]int64{BundleDamaged: 256}},
	{"bundle with an empty entry", func(p *patient) {
		p.edit(p.file("tile", "entries", "001"), func(b []byte) []byte { return append([]byte{0, 0}, b...) })
	},
		map[Code]int64{BundleDamaged: 256}},
	{"bundle gone", func(p *patient) { p.remove(p.file("tile", "entries", "001")) }, map[Code]int64{BundleMissing: 256}},
	{"edge bundle gone", func(p *patient) { p.remove(p.file("tile", "entries", "002.p", "88")) }, map[Code]int64{BundleMissing: 512}},

	{"checkpoint garbage", func(p *patient) { p.put(p.file("checkpoint"), "x") }, map[Code]int64{IndexTree: -1, CheckpointMalformed: -1}},
	{"checkpoint of another log", func(p *patient) {
		other, err := os.ReadFile(filepath.Join(folder{dir: p.dir}.log(originOf("GOV/tax")), "checkpoint"))
		if err != nil {
			p.tb.Fatal(err)
		}
		p.put(p.file("checkpoint"), string(other))
	}, map[Code]int64{IndexTree: -1, CheckpointMalformed: -1}},
	{"checkpoint gone", func(p *patient) { p.remove(p.file("checkpoint")) }, map[Code]int64{IndexTree: -1, NoHead: -1}},
	{"an older head", func(p *patient) { p.head(p.tree(555), p.now, testNames[:3]...) }, map[Code]int64{IndexTree: -1}},
	{"an older head, without the index", func(p *patient) {
		p.head(p.tree(555), p.now, testNames[:3]...)
		p.remove(filepath.Join(p.dir, "index.db"))
	}, nil},
	{"owner's signature forged", func(p *patient) { p.lines(func(l []string) []string { l[0] = spoil(l[0]); return l }) },
		map[Code]int64{OwnerSignature: -1}},
	{"owner's signature missing", func(p *patient) { p.lines(func(l []string) []string { return l[1:] }) }, map[Code]int64{OwnerSignature: -1}},
	{"cosignature forged", func(p *patient) { p.lines(func(l []string) []string { l[2] = spoil(l[2]); return l }) },
		map[Code]int64{CosignatureInvalid: -1, CosignatureMissing: -1}},
	{"cosignature missing", func(p *patient) { p.lines(func(l []string) []string { return append(l[:2], l[3]) }) },
		map[Code]int64{CosignatureMissing: -1}},
	{"cosignature twice", func(p *patient) { p.lines(func(l []string) []string { return append(l[:3], l[2]) }) },
		map[Code]int64{CosignatureInvalid: -1, CosignatureMissing: -1}},
	{"a stranger's line more", func(p *patient) {
		p.lines(func(l []string) []string {
			return append(l, strings.TrimSuffix(note.Signature{Name: "w.example", Hash: 1, Body: make([]byte, 72)}.Line(), "\n"))
		})
	}, nil},
	{"cosigned in the future", func(p *patient) { p.head(p.tree(600), p.now.Add(time.Minute), testNames[:3]...) }, map[Code]int64{CosignatureTime: -1}},
	{"cosigned within the allowance", func(p *patient) { p.head(p.tree(600), p.now.Add(allowance), testNames[:3]...) }, nil},
	{"cosigned before the entries", func(p *patient) { p.head(p.tree(600), p.now.Add(-90*time.Second), testNames[:3]...) }, map[Code]int64{EntryTime: 599}},
	{"all sign another root", func(p *patient) { p.head(tlog.Tree{N: 600, Hash: tlog.Hash{7}}, p.now, testNames...) }, map[Code]int64{RootMismatch: -1}},

	{"mirror's state of another tree", func(p *patient) {
		p.state("signer/mirror/"+escaped(sick)+".json", "mirror", originOf(sick), tlog.Tree{N: 600, Hash: tlog.Hash{1}}, "")
	}, map[Code]int64{HistoryMismatch: -1}},
	{"owner's state of another tree", func(p *patient) {
		p.state("signer/owner.json", "owner", originOf(sick), tlog.Tree{N: 600, Hash: tlog.Hash{1}}, "")
	}, map[Code]int64{HistoryMismatch: -1}},
	{"an old owner's state", func(p *patient) { p.state("signer/owner.json", "owner", originOf(sick), p.tree(300), "") }, map[Code]int64{StateBehind: -1}},
	{"owner's state garbage", func(p *patient) { p.put(filepath.Join(p.dir, "signer/owner.json"), "{") }, map[Code]int64{StateDamaged: -1}},
	{"owner's state gone", func(p *patient) { p.remove(filepath.Join(p.dir, "signer/owner.json")) }, map[Code]int64{StateMissing: -1}},
	{"no signer states at all", func(p *patient) {
		if err := os.RemoveAll(filepath.Join(p.dir, "signer")); err != nil {
			p.tb.Fatal(err)
		}
	}, nil},
	{"mirror's state garbage", func(p *patient) { p.put(filepath.Join(p.dir, "signer/mirror/"+escaped(sick)+".json"), "") }, map[Code]int64{StateDamaged: -1}},
	{"mirror's state under another name", func(p *patient) {
		if err := os.Rename(filepath.Join(p.dir, "signer/mirror/"+escaped("GOV/tax")+".json"), filepath.Join(p.dir, "signer/mirror/"+escaped(sick)+".json")); err != nil {
			p.tb.Fatal(err)
		}
	}, map[Code]int64{StateDamaged: -1}},
	{"mirror's state gone", func(p *patient) { p.remove(filepath.Join(p.dir, "signer/mirror/"+escaped(sick)+".json")) }, map[Code]int64{StateMissing: -1}},
	{"mirror's state with a forged checkpoint", func(p *patient) {
		tree := p.tree(600)
		forged, err := note.Sign(originOf(sick), tree, testKeys.Key("another"))
		if err != nil {
			p.tb.Fatal(err)
		}
		p.state("signer/mirror/"+escaped(sick)+".json", "mirror", originOf(sick), tree, string(forged))
	}, map[Code]int64{StateDamaged: -1}},

	{"a row of the index removed", func(p *patient) { p.unindex(300) }, map[Code]int64{IndexDamaged: -1, IndexRow: 300}},
	{"index cut", func(p *patient) {
		p.edit(filepath.Join(p.dir, "index.db"), func(b []byte) []byte { return b[:len(b)-3] })
	}, map[Code]int64{IndexDamaged: -1}},
	{"index gone", func(p *patient) { p.remove(filepath.Join(p.dir, "index.db")) }, nil},
	{"index of other entries", func(p *patient) { p.reindex() }, map[Code]int64{IndexTree: -1, IndexRow: 599}},

	{"evidence of a fork", func(p *patient) {
		e, err := evidence.New(p.signed(p.tree(600)), p.signed(tlog.Tree{N: 600, Hash: tlog.Hash{9}}), nil)
		if err != nil {
			p.tb.Fatal(err)
		}
		p.put(filepath.Join(p.dir, "evidence", "x.txt"), string(e.Encode()))
	}, map[Code]int64{Forked: -1}},
	{"no evidence", func(p *patient) { p.put(filepath.Join(p.dir, "evidence", "x.txt"), "grille.evidence/v1\n") }, map[Code]int64{EvidenceUnproven: -1}},
	{"a log too many", func(p *patient) { p.put(filepath.Join(p.dir, "logs", "other%2Flog", "checkpoint"), "x") }, map[Code]int64{LogUnknown: -1}},

	{"no link", func(p *patient) { p.put(filepath.Join(p.dir, "chain", "2.json"), "{}") }, map[Code]int64{LinkInvalid: -1}},
	{"a witness's state", func(p *patient) {
		p.state("signer/witness/"+escaped(sick)+".json", "witness", originOf(sick), p.tree(7), "")
	}, nil},
	{"a witness's state of another tree", func(p *patient) {
		p.state("signer/witness/"+escaped(sick)+".json", "witness", originOf(sick), tlog.Tree{N: 7, Hash: tlog.Hash{1}}, "")
	}, map[Code]int64{HistoryMismatch: -1}},
	{"a witness's state beyond what is here", func(p *patient) {
		p.state("signer/witness/"+escaped(sick)+".json", "witness", originOf(sick), tlog.Tree{N: 700, Hash: tlog.Hash{1}}, "")
	}, nil},
	{"fenced at its end", func(p *patient) { p.fenced(p.tree(600)) }, nil},
	{"fenced below its head", func(p *patient) { p.fenced(p.tree(599)) }, map[Code]int64{IndexTree: -1, FenceExceeded: -1}},
	{"fenced in another history", func(p *patient) { p.fenced(tlog.Tree{N: 600, Hash: tlog.Hash{1}}) }, map[Code]int64{HistoryMismatch: -1}},
	{"fenced beyond what is here", func(p *patient) { p.fenced(tlog.Tree{N: 700, Hash: tlog.Hash{1}}) }, map[Code]int64{FencePending: -1}},
	{"pinned", func(p *patient) {
		p.chain = fixed{[]*network.Configuration{p.cfg}, map[string][]tlog.Tree{originOf(sick): {p.tree(7), {N: 700}}}}
	}, nil},
	{"pinned in another history", func(p *patient) {
		p.chain = fixed{[]*network.Configuration{p.cfg}, map[string][]tlog.Tree{originOf(sick): {{N: 7, Hash: tlog.Hash{1}}}}}
	}, map[Code]int64{HistoryMismatch: -1}},
}

func escaped(name string) string { return filepath.Base(folder{}.log(originOf(name))) }

// unindex deletes the row of one entry from the index.
func (p *patient) unindex(i int) {
	p.tb.Helper()
	path := filepath.Join(p.dir, "index.db")
	db, err := buntdb.Open(path)
	if err != nil {
		p.tb.Fatal(err)
	}
	row := index.RowOf(originOf(sick), sick, uint64(i), p.entries()[i])
	gone := 0
	err = db.Update(func(tx *buntdb.Tx) error {
		var keys []string
		if err := tx.Ascend("", func(key, _ string) bool {
			// a row's key ends in time and index, five bytes each
			want := binary.BigEndian.AppendUint64(nil, uint64(row.Time.Unix())<<24)
			if key[0] == 'r' && key[5:10] == string(want[:5]) && key[13:] == string([]byte{byte(i >> 8), byte(i)}) {
				keys = append(keys, key)
			}
			return true
		}); err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := tx.Delete(k); err != nil {
				return err
			}
			gone++
		}
		return nil
	})
	if err = errors.Join(err, db.Close()); err != nil || gone != 1 {
		p.tb.Fatalf("%d rows removed, %v", gone, err)
	}
}

// reindex makes an index of a log whose last entry is another.
func (p *patient) reindex() {
	p.tb.Helper()
	path := filepath.Join(p.dir, "index.db")
	p.remove(path)
	x, err := index.Open(path)
	if err != nil {
		p.tb.Fatal(err)
	}
	all := p.entries()
	all[599] = []byte("x")
	if err := errors.Join(x.Add(originOf(sick), sick, all, tlog.Tree{N: 600, Hash: tlog.Hash{1}}), x.Close()); err != nil {
		p.tb.Fatal(err)
	}
}

// older plants a damaged partial tile that was published before the newest one.
func (p *patient) older(level string, each int) {
	p.put(p.file("tile", level, "002.p", "5"), strings.Repeat("x", 5*each))
}

// swap exchanges two entries of a bundle.
func swap(i, j int) func([]byte) []byte {
	return func(b []byte) []byte {
		entries, _, err := split(b, width)
		if err != nil {
			panic(err)
		}
		entries[i], entries[j] = entries[j], entries[i]
		var out []byte
		for _, e := range entries {
			out = append(append(out, byte(len(e)>>8), byte(len(e))), e...)
		}
		return out
	}
}

func TestTamperedFolders(t *testing.T) {
	c := baseTown(t)
	for _, tc := range tampers {
		t.Run(tc.name, func(t *testing.T) {
			p := &patient{town: &town{tb: t, cfg: c.cfg, dir: c.dir, now: c.now}}
			p.dir = p.copyOf(sick)
			tc.do(p)
			o := p.options(p.dir)
			o.Chain = p.chain
			r, err := Run(context.Background(), o)
			if err != nil {
				t.Fatal(err)
			}
			p.compare(r, tc.want)
		})
	}
}

// compare wants exactly these codes in the sick log and the folder, and the report clean unless one of them is no remark.
func (p *patient) compare(r *Report, want map[Code]int64) {
	p.tb.Helper()
	got, clean := make(map[Code]int64), true
	for _, f := range append(slices.Clone(r.Problems), r.log(sick).Problems...) {
		if _, ok := got[f.Code]; !ok {
			got[f.Code] = f.Index
		}
		clean = clean && f.Remark
	}
	for code, index := range want {
		if at, ok := got[code]; !ok || at != index {
			p.tb.Errorf("%s not found at %d: %v", code, index, r.All())
		}
	}
	for code := range got {
		if _, ok := want[code]; !ok {
			p.tb.Errorf("found %s: %v", code, r.All())
		}
	}
	others := slices.ContainsFunc(r.Logs, func(l *Log) bool { return l.Origin != originOf(sick) && !l.Clean() })
	if r.Clean() != (clean && !others) {
		p.tb.Errorf("clean is %v: %v", r.Clean(), r.All())
	}
}
