package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/evidence"
	"github.com/grille-gateway/grille/ledger/index"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/signer"
	"github.com/grille-gateway/grille/ledger/tiles"
	"github.com/grille-gateway/grille/ledger/tiles/simfs"
)

// A damaged is a store's folder, in memory, with all that it holds when nothing is damaged.
type damaged struct {
	*cluster
	name  string
	fs    *simfs.FS
	files map[string][]byte // by path
	truth state
	said  bytes.Buffer // the log
}

// A state is what a store serves and what its keys have signed.
type state struct {
	entries    map[string][]string // by origin
	finals     map[string]string   // checkpoint of the final head
	trees      map[string][]tlog.Hash
	found      []Found
	states     map[string]signer.State // by role and origin
	notes      map[int64]string        // text of what the owner's key signs again
	evidence   [][]byte
	succession []byte
	voted      string
}

const damageRoot = "/store"

func (c *cluster) openIn(name string, files *simfs.FS, said io.Writer) (*Store, error) {
	return c.openWith(name, files, said, index.Memory)
}

func (c *cluster) openWith(name string, files *simfs.FS, said io.Writer, index string) (*Store, error) {
	disk, err := tiles.NewDiskOn(files, damageRoot)
	if err != nil {
		return nil, err
	}
	o := c.options(name)
	o.index = index
	o.Logger = slog.New(slog.NewTextHandler(said, nil))
	return openOn(disk, o)
}

// stateOf reads everything that a store serves.
func stateOf(s *Store) (state, error) {
	st := state{entries: make(map[string][]string), finals: make(map[string]string), trees: make(map[string][]tlog.Hash),
		states: make(map[string]signer.State), notes: make(map[int64]string), evidence: s.Evidence(), succession: s.Succession().Bytes()}
	for _, origin := range s.Origins() {
		r := s.replicas[origin]
		raws, err := s.Read(origin, 0, s.Size(origin))
		if err != nil {
			return st, err
		}
		for _, raw := range raws {
			st.entries[origin] = append(st.entries[origin], string(raw))
		}
		for n := range s.Size(origin) + 1 {
			if n > 8 && n%61 != 0 && s.Size(origin)-n > 8 {
				continue
			}
			tree, err := r.files.Tree(int64(n))
			if err != nil {
				return st, err
			}
			st.trees[origin] = append(st.trees[origin], tree.Hash)
		}
		if h, ok := s.Final(origin); ok {
			st.finals[origin] = string(h.Checkpoint)
		}
		if r.mirror != nil {
			st.states["mirror "+origin] = r.mirror.State()
		}
		if w, ok := s.witness[origin]; ok {
			st.states["witness "+origin] = w.State()
		}
	}
	st.states["owner"] = s.owner.State()
	for n, c := range s.notes {
		st.notes[n] = c.Text
	}
	if s.ballot != nil && s.ballot.Voted() != nil {
		st.voted = s.ballot.Voted().Digest
	}
	var err error
	st.found, err = s.Search(Query{Limit: MaxFound})
	return st, err
}

func rawOf(s string) entry.Entry { return entry.Unknown{Raw: []byte(s)} }

// newDamaged makes the folder of one member of a busy network: a full tile and some of its own, others' logs, partly not
// final, a witnessed checkpoint, evidence of a fork, and a vote.
func newDamaged(t *testing.T, name string) *damaged {
	t.Helper()
	c := &cluster{tb: t, cfg: testConfig(t, "GOV/audit"), clock: newClock(), stores: make(map[string]*Store)}
	disks := make(map[string]*simfs.FS)
	for _, m := range c.cfg.Members {
		disks[m.Name] = simfs.New()
		s, err := c.openIn(m.Name, disks[m.Name], io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		c.stores[m.Name] = s
		hear(t, s)
	}
	var own []entry.Entry
	for i := range 260 {
		own = append(own, rawOf(fmt.Sprintf(`{"kind":"x%d","v":1}`, i%10)))
	}
	c.append("GOV/tax", own...)
	c.append("GOV/civil", batchEntry(1), rawOf("no entry"), batchEntry(2))
	c.append("GOV/health", batchEntry(1))
	for _, owner := range []string{"GOV/tax", "GOV/civil", "GOV/health"} {
		c.pushAll(owner, testNames...)
		for _, m := range c.cfg.Members {
			c.spread(owner, m.Name, owner)
		}
	}
	c.append("GOV/tax", batchEntry(1), batchEntry(2)) // signed, not final
	c.append("GOV/civil", batchEntry(3))              // cosigned here, not final
	c.push("GOV/civil", "GOV/tax")
	h := c.final("GOV/civil", "GOV/civil")
	if _, _, err := c.stores["GOV/tax"].AddOutside(h.Origin, 0, nil, h.Checkpoint); err != nil {
		t.Fatal(err)
	}
	if fresh, err := c.stores[name].AddEvidence(forkOf(t, c, "GOV/benefits")); err != nil || !fresh {
		t.Fatalf("evidence: %v", err)
	}
	p, next := c.propose(network.Change{Add: []network.Card{testCard(t, "GOV/labour", 4440, false)}})
	if err := c.stores[name].Propose(p); err != nil {
		t.Fatal(err)
	}
	if m, _ := c.cfg.Member(name); m.Mirror {
		c.vote(next, name)
	}
	for _, s := range c.stores {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return newDamagedOf(t, c, name, disks[name])
}

// newDamagedOf reads what a folder has, opening it once more.
func newDamagedOf(t *testing.T, c *cluster, name string, disk *simfs.FS) *damaged {
	t.Helper()
	d := &damaged{cluster: c, name: name, fs: disk, files: make(map[string][]byte)}
	s, err := c.openIn(name, disk, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if d.truth, err = stateOf(s); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	d.read(t, damageRoot)
	return d
}

func (d *damaged) read(t *testing.T, dir string) {
	t.Helper()
	list, err := d.fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			d.read(t, path)
			continue
		}
		if d.files[path], err = d.fs.Read(path, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
}

// forkOf is evidence that an owner signed two trees of size 1.
func forkOf(t *testing.T, c *cluster, owner string) []byte {
	t.Helper()
	var notes [2][]byte
	for i := range notes {
		tree := tlog.Tree{N: 1, Hash: tlog.Hash{byte(i)}}
		data, err := note.Sign(c.cfg.Origin(owner), tree, testKey("log "+owner))
		if err != nil {
			t.Fatal(err)
		}
		notes[i] = data
	}
	e, err := evidence.New(notes[0], notes[1], nil)
	if err != nil {
		t.Fatal(err)
	}
	return e.Encode()
}

// refusals are the errors with which a store may refuse to open a damaged folder.
var refusals = []error{ErrCorrupt, ErrRolledBack, signer.ErrState, network.ErrConfiguration}

// check opens the folder with one file replaced, or without it if data is nil, and compares all it serves with the truth.
// It returns a complaint, and whether the store refused to open.
func (d *damaged) check(path string, data []byte) (complaint string, refused bool) {
	files := d.fs.Copy()
	if data == nil {
		if err := files.Remove(path); err != nil {
			return err.Error(), false
		}
	} else if _, err := files.Create(path, data); err != nil {
		return err.Error(), false
	}
	d.said.Reset()
	s, err := d.openIn(d.name, files, &d.said)
	if err != nil {
		for _, typed := range refusals {
			if errors.Is(err, typed) {
				return d.intact(files, path), true
			}
		}
		return fmt.Sprintf("refused without saying what to do: %v", err), true
	}
	defer s.Close()
	got, err := stateOf(s)
	if err != nil {
		return fmt.Sprintf("opened, then: %v", err), false
	}
	return d.compare(got, path, data == nil), false
}

// intact checks that a refusal left every other file as it was, so that what is damaged can be brought back.
func (d *damaged) intact(files *simfs.FS, damaged string) string {
	for path, want := range d.files {
		if got, err := files.Read(path, 1<<20); path != damaged && (err != nil || !bytes.Equal(got, want)) {
			return fmt.Sprintf("refused, and %s is no longer what it was: %v", strings.TrimPrefix(path, damageRoot), err)
		}
	}
	return ""
}

// compare checks a state against the truth. What a lost file may take with it: a final head the heads, and on a member
// that is no mirror all that only this head vouched for; both are heard again from the others. A lost ballot takes its vote.
func (d *damaged) compare(got state, path string, deleted bool) string {
	want := d.truth
	rel := strings.TrimPrefix(path, damageRoot+"/")
	if deleted && filepath.Base(rel) == "checkpoint" {
		for origin := range want.finals {
			if strings.Contains(rel, escape(origin)) {
				return d.compareHeadless(got, origin)
			}
		}
	}
	for name, of := range map[string]func(state) any{
		"entries": func(s state) any { return s.entries }, "finals": func(s state) any { return s.finals },
		"trees": func(s state) any { return s.trees }, "found": func(s state) any { return s.found },
		"states": func(s state) any { return s.states }, "notes": func(s state) any { return s.notes },
		"evidence": func(s state) any { return s.evidence }, "succession": func(s state) any { return s.succession },
		"voted": func(s state) any { return s.voted },
	} {
		if reflect.DeepEqual(of(got), of(want)) {
			continue
		}
		if !heardAgain(rel, name, deleted) {
			return fmt.Sprintf("served with other %s: %s", name, short(of(got), of(want)))
		}
		if !deleted && d.said.Len() == 0 {
			return "lost " + name + " without a word in the log"
		}
	}
	return ""
}

// heardAgain says which files may be damaged or lost with what they alone say: the others tell it again. A lost ballot is
// remembered when the others tell its vote.
func heardAgain(rel, field string, deleted bool) bool {
	dir, _, _ := strings.Cut(rel, "/")
	return dir == "evidence" && field == "evidence" || dir == "succession" && field == "succession" ||
		deleted && strings.HasPrefix(rel, "signer/ballot") && field == "voted"
}

func short(a, b any) string {
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	i := 0
	for i < min(len(x), len(y)) && x[i] == y[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, i-40):min(len(s), i+60)] }
	return fmt.Sprintf("%q, not %q", cut(x), cut(y))
}

// compareHeadless allows the loss of one log's final head.
func (d *damaged) compareHeadless(got state, origin string) string {
	if _, ok := got.finals[origin]; ok {
		return "a head without its file"
	}
	m, _ := d.cfg.Member(d.name)
	kept := m.Mirror || origin == d.cfg.Origin(d.name)
	if n := len(got.entries[origin]); kept && n != len(d.truth.entries[origin]) || !kept && n != 0 {
		return fmt.Sprintf("%d entries without the head", n)
	}
	for at, list := range got.entries {
		for i, raw := range list {
			if d.truth.entries[at][i] != raw {
				return "another entry"
			}
		}
	}
	if !reflect.DeepEqual(got.states, d.truth.states) {
		return "other signer states"
	}
	return ""
}

// step says how far apart the damaged offsets of a file are: 1 with GRILLE_EXHAUSTIVE=1, which takes some minutes.
func step(size int) int {
	switch {
	case os.Getenv("GRILLE_EXHAUSTIVE") != "":
		return 1
	case size < 2000:
		return 7
	}
	return 61
}

// TestEveryDamagedByte changes one bit of each byte of every file of a store, cuts every file at each length, and removes
// it. Opened after that, the store refuses and leaves everything else as it was, or it serves exactly the truth.
func TestEveryDamagedByte(t *testing.T) {
	for _, name := range []string{"GOV/tax", "GOV/audit"} {
		t.Run(strings.TrimPrefix(name, "GOV/"), func(t *testing.T) {
			d := newDamaged(t, name)
			opened, refused := 0, 0
			for path, good := range d.files {
				bad := make(map[string]int)
				try := func(what string, data []byte) {
					complaint, no := d.check(path, data)
					if no {
						refused++
					} else {
						opened++
					}
					if complaint != "" {
						if bad[complaint]++; bad[complaint] == 1 && len(bad) < 4 {
							t.Errorf("%s with %s: %s", strings.TrimPrefix(path, damageRoot), what, complaint)
						}
					}
				}
				for i := 0; i < len(good); i += step(len(good)) {
					data := bytes.Clone(good)
					data[i] ^= 1 << (i % 8)
					try(fmt.Sprintf("a bit of byte %d changed", i), data)
					try(fmt.Sprintf("%d of %d bytes", i, len(good)), good[:i:i])
				}
				try("more at its end", append(bytes.Clone(good), 'x'))
				try("nothing", nil)
			}
			t.Logf("%d files: refused %d times, opened %d times", len(d.files), refused, opened)
			if opened < 300 || refused < 300 {
				t.Error("the damage does not reach the store")
			}
		})
	}
}
