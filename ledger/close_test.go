package ledger

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/tiles"
)

// files lists a folder with what is in it.
func folder(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[path] = string(data)
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

// Close waits for whoever writes: a store that is opened in the same folder afterwards is the only one that signs there.
func TestCloseWaitsForHandovers(t *testing.T) {
	for _, file := range []string{"ballot-2.json", filepath.Join("succession", "2.json"), filepath.Join("chain", "2.json")} {
		c := newCluster(t)
		beat := 30
		p, next := c.propose(network.Change{Beat: &beat})
		if err := c.stores["GOV/benefits"].Propose(p); err != nil {
			t.Fatal(err)
		}
		three := []string{"GOV/benefits", "GOV/civil", "GOV/health"}
		c.tell(three...)
		c.vote(next, three...)
		c.tell(three...)
		s := c.stores["GOV/tax"]
		reached, leave := make(chan struct{}), make(chan struct{})
		var once sync.Once
		s.disk.Before = func(step tiles.Step, path string) error {
			if step == tiles.StepCreate && strings.HasSuffix(path, file+".tmp") {
				once.Do(func() {
					close(reached)
					<-leave
				})
			}
			return nil
		}
		done := make(chan error, 1)
		go func() { done <- s.AddSuccession(c.stores["GOV/civil"].Succession()) }()
		<-reached
		closed := make(chan struct{})
		go func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			close(closed)
		}()
		select {
		case <-closed:
			t.Errorf("closed while %s is being written", file)
		case <-time.After(50 * time.Millisecond):
		}
		close(leave)
		<-done
		<-closed
	}
}

// Nothing in the folder changes after Close, whatever was being called.
func TestNothingIsWrittenAfterClose(t *testing.T) {
	for round := range 6 {
		c := newCluster(t)
		const name = "GOV/civil"
		s := c.stores[name]
		beat := 30
		p, next := c.propose(network.Change{Beat: &beat})
		if err := c.stores["GOV/benefits"].Propose(p); err != nil {
			t.Fatal(err)
		}
		three := []string{"GOV/benefits", "GOV/health", "GOV/tax"}
		c.tell(three...)
		c.vote(next, three...)
		tax := c.cfg.Origin("GOV/tax")
		good := rawEntries(t, 1, 30)
		c.append(name, batchEntry(1))
		mine, _ := s.Outgoing("GOV/health")
		reply, err := c.stores["GOV/health"].AddCheckpoint(mine)
		if err != nil {
			t.Fatal(err)
		}
		reply2, err := c.stores["GOV/tax"].AddCheckpoint(mine)
		if err != nil {
			t.Fatal(err)
		}
		fork := append(append([][]byte{}, good[:6]...), rawEntries(t, 100, 8)...)
		pushes := make([]Push, 30)
		for i := range pushes {
			pushes[i] = Push{tax, forge(t, tax, "GOV/tax", good[:i+1]), uint64(i), good[i : i+1]}
		}
		forked := forge(t, tax, "GOV/tax", fork)
		health := c.stores["GOV/health"].Succession()
		calls := []func(){
			func() { s.Propose(p); s.Vote(next.Digest()) },
			func() { s.AddSuccession(health) },
			func() {
				for _, p := range pushes {
					s.AddCheckpoint(p)
				}
			},
			func() { s.Cosigned("GOV/health", reply); s.Cosigned("GOV/tax", reply2) },
			func() {
				for range 5 {
					s.Append(context.Background(), batchEntry(2))
				}
			},
			func() { s.Hear("GOV/benefits", nil, [][]byte{forked}) },
			func() { s.AddOutside(tax, 0, nil, pushes[0].Checkpoint) },
			func() { s.Outgoing("GOV/health"); s.Standing(); s.Wants(); s.Heads() },
		}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, f := range calls {
			wg.Go(func() { <-start; f() })
		}
		close(start)
		time.Sleep(time.Duration(round) * 3 * time.Millisecond)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		before := folder(t, c.path(name))
		wg.Wait()
		for path, data := range folder(t, c.path(name)) {
			if was, ok := before[path]; !ok || was != data {
				t.Errorf("round %d: %s was written after Close", round, strings.TrimPrefix(path, c.path(name)))
			}
		}
	}
}
