package field

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/tiles"
	"github.com/grille-gateway/grille/node/api"
)

// TestKilledMembersForgetNothing kills members with SIGKILL, one, two or all at once, again and again, while entries are appended at
// every member all the time. Whatever any member ever showed as final is at the end at the same place with the same hash at every
// member, and every head that was ever shown is that of a part of the log.
func TestKilledMembersForgetNothing(t *testing.T) {
	if !wanted(t) {
		return
	}
	s := newSite(t, plan{members: 4})
	w := &witness{site: s, entries: map[place]string{}, heads: map[place]string{}}
	ctx, stop := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	for i := range s.Nodes {
		for k := range 2 {
			tasks.Go(func() { w.load(ctx, i, k) })
		}
		tasks.Go(func() { w.watch(ctx, i) })
	}
	rng := rand.New(rand.NewPCG(*seed, 4))
	kills := 0
	for end := time.Now().Add(*killFor); time.Now().Before(end); {
		time.Sleep(time.Duration(rng.IntN(1200)) * time.Millisecond)
		victims := rng.Perm(len(s.Nodes))[:[]int{1, 1, 1, 1, 1, 1, 2, 2, 4}[rng.IntN(9)]]
		kills += len(victims)
		s.killAndRestart(victims, time.Duration(rng.IntN(400))*time.Millisecond)
	}
	time.Sleep(time.Second)
	stop()
	tasks.Wait()
	end := s.agree()
	w.look(rng)
	s.audit(s.Config.Bytes())
	w.compare(end)
	t.Logf("%d killed; %d entries and %d heads were shown as final; %d calls answered, %d cut off", kills, len(w.entries), len(w.heads), w.answered, w.cut)
	if w.answered < 5*kills {
		t.Errorf("only %d entries made: there was no load", w.answered)
	}
}

func (s *site) killAndRestart(victims []int, pause time.Duration) {
	s.t.Helper()
	for _, i := range victims {
		if err := s.Nodes[i].Kill(); err != nil {
			s.t.Fatal(err)
		}
	}
	time.Sleep(pause)
	for _, i := range victims {
		if err := s.StartNode(s.Nodes[i]); err != nil {
			s.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	for _, i := range victims {
		if err := s.Nodes[i].WaitReady(ctx); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A witness remembers whatever it was shown as final.
type witness struct {
	*site
	mu       sync.Mutex       // guards what follows
	entries  map[place]string // hash by place
	heads    map[place]string // root by origin and size
	answered int
	cut      int
}

// load appends entries at a member all the time.
func (w *witness) load(ctx context.Context, i, k int) {
	for n := 0; ctx.Err() == nil; n++ {
		index, err := w.declare(ctx, i, fmt.Sprintf("load-%d", k), fmt.Sprintf("Number %d", n))
		var p *api.Problem
		switch {
		case err == nil:
			w.note(&w.answered)
			w.sawEntry(ctx, i, place{w.Config.Origin(w.Nodes[i].Name), index})
		case errors.As(err, &p) && p.Status != http.StatusServiceUnavailable && p.Status != http.StatusGatewayTimeout && p.Status != http.StatusInternalServerError:
			w.t.Errorf("an entry at %s: %v", w.Nodes[i].Name, err)
		default:
			w.note(&w.cut)
			time.Sleep(20 * time.Millisecond)
		}
	}
}

func (w *witness) note(count *int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	*count++
}

// watch looks at a member's heads all the time, and at the newest entry of each log.
func (w *witness) watch(ctx context.Context, i int) {
	for ctx.Err() == nil {
		heads, err := w.site.heads(i)
		if err == nil {
			for _, h := range heads {
				w.saw(w.heads, place{h.Origin, h.Size}, h.Root, i)
				w.sawEntry(ctx, i, place{h.Origin, h.Size - 1})
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// sawEntry remembers a final entry's hash, if the member is still there to tell it.
func (w *witness) sawEntry(ctx context.Context, i int, at place) {
	if hash, err := w.hash(ctx, i, at); err == nil {
		w.saw(w.entries, at, hash, i)
	}
}

func (w *witness) saw(table map[place]string, at place, hash string, i int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := table[at]; ok && old != hash {
		w.t.Errorf("%s shows %s at %d of %s, and %s was shown before", w.Nodes[i].Name, hash, at.index, at.origin, old)
	}
	table[at] = hash
}

// look asks every member for some of the entries over its interface.
func (w *witness) look(rng *rand.Rand) {
	w.t.Helper()
	var places []place
	for at := range w.entries {
		places = append(places, at)
	}
	for range min(50, len(places)) {
		at := places[rng.IntN(len(places))]
		for i := range w.Nodes {
			if hash, err := w.hash(w.t.Context(), i, at); err != nil || hash != w.entries[at] {
				w.t.Errorf("%s shows %s at %d of %s, want %s: %v", w.Nodes[i].Name, hash, at.index, at.origin, w.entries[at], err)
			}
		}
	}
}

// compare reads every member's files up to the final heads, with the gateways stopped, and compares all that was seen with them.
func (w *witness) compare(final map[string]api.Head) {
	w.t.Helper()
	for _, n := range w.Nodes {
		disk, err := tiles.NewDisk(n.Folder.Ledger())
		if err != nil {
			w.t.Fatal(err)
		}
		for _, h := range final {
			var hashes []string
			log, err := tiles.Open(disk, disk.Path("logs", url.PathEscape(h.Origin)), int64(h.Size), func(_ uint64, raw []byte) error {
				hashes = append(hashes, entry.Hash(raw))
				return nil
			})
			if err != nil {
				w.t.Errorf("%s lacks entries of %s: %v", n.Name, h.Origin, err)
				continue
			}
			w.compareLog(n.Name, h.Origin, hashes, log)
		}
	}
}

func (w *witness) compareLog(member, origin string, hashes []string, log *tiles.Log) {
	w.t.Helper()
	for at, hash := range w.entries {
		if at.origin == origin && (at.index >= uint64(len(hashes)) || hashes[at.index] != hash) {
			w.t.Errorf("%s has not the entry at %d of %s that was final", member, at.index, origin)
		}
	}
	for at, root := range w.heads {
		if at.origin != origin {
			continue
		}
		tree, err := log.Tree(int64(at.index))
		if err != nil || tree.Hash != must(tlog.ParseHash(root)) {
			w.t.Errorf("%s has another log of %s below %d than was final: %v", member, origin, at.index, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
