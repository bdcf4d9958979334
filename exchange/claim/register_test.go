package claim

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/entry"
)

// TestReservationsEnd follows a nullifier through each end that a reservation can have, with a crash at each step.
func TestReservationsEnd(t *testing.T) {
	b := newBench(t)
	s := b.scope("2026")
	free, answered, unanswered, claimed := nullifier(1), nullifier(2), nullifier(3), nullifier(4)
	b.check(b.reserve(s, free))
	b.check(b.Release(s, free, receipt.Sum("query", free[:])))
	b.check(b.reserve(s, free))
	b.check(b.Release(s, free, receipt.Sum("query", free[:])))
	b.check(b.reserve(s, unanswered))
	b.check(b.Reserve(t.Context(), s, answered, answered))
	b.claim(s, claimed)
	b.crash()
	b.check(b.Answered(s, answered, answered)) // the book has its frame
	b.check(b.Answered(s, claimed, claimed))
	b.Settle()
	for name, c := range map[string]struct {
		n    receipt.Hash
		want error
	}{"released": {free, nil}, "not answered": {unanswered, nil}, "answered": {answered, ErrClaimed}, "claimed": {claimed, ErrClaimed}} {
		if err := b.reserve(s, c.n); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	b.crash()
	b.Settle()
	b.beat()
	logged := b.logged()
	if logged[answered] != 1 || logged[claimed] != 1 || logged[free] != 0 || logged[unanswered] != 0 {
		t.Error("only claims are logged, each once")
	}
	if err := b.reserve(s, answered); !errors.Is(err, ErrClaimed) {
		t.Errorf("a claim that is logged is free: %v", err)
	}
}

// TestReserveWaits has a second query ask for what a first one has reserved: it gets what the first one leaves.
func TestReserveWaits(t *testing.T) {
	b := newBench(t)
	s, n := b.scope("2026"), nullifier(1)
	for _, end := range []struct {
		do   func(string, receipt.Hash, receipt.Hash) error
		want error
	}{{b.Release, nil}, {b.Commit, ErrClaimed}} {
		first, second := receipt.Sum("first"), receipt.Sum("second")
		b.check(b.Reserve(t.Context(), s, n, first))
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := b.Reserve(short, s, n, second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("did not wait: %v", err)
		}
		cancel()
		got := make(chan error)
		go func() { got <- b.Reserve(t.Context(), s, n, second) }()
		b.check(end.do(s, n, first))
		if err := <-got; !errors.Is(err, end.want) {
			t.Fatalf("%v, want %v", err, end.want)
		}
		if end.want == nil {
			b.check(b.Release(s, n, second))
		}
	}
}

// TestManyAtOnce has each of many nullifiers reserved by several queries at once, while beats pass: each becomes one claim.
func TestManyAtOnce(t *testing.T) {
	b := newBench(t)
	s := b.scope("2026")
	const people, tries = 120, 4
	var claims, refusals atomic.Int32
	var all sync.WaitGroup
	for i := range people {
		for try := range tries {
			all.Go(func() {
				n, query := nullifier(i), receipt.Sum("query", fmt.Append(nil, i, try))
				switch err := b.Reserve(context.Background(), s, n, query); {
				case errors.Is(err, ErrClaimed):
					refusals.Add(1)
				case err != nil:
					t.Error(err)
				case b.Commit(s, n, query) != nil:
					t.Error("not committed")
				default:
					claims.Add(1)
				}
			})
		}
	}
	for range 2 { // while they come
		b.check(b.publishNow())
	}
	all.Wait()
	if claims.Load() != people || refusals.Load() != people*(tries-1) {
		t.Fatalf("%d claims, %d refusals", claims.Load(), refusals.Load())
	}
	for range 3 {
		b.beat()
	}
	logged := b.logged()
	for i := range people {
		if logged[nullifier(i)] != 1 {
			t.Errorf("claim %d stands %d times on the log", i, logged[nullifier(i)])
		}
	}
}

func (b *bench) publishNow() error {
	b.publishing.Lock()
	defer b.publishing.Unlock()
	return b.publish(context.Background(), 1)
}

// TestBatchesShowNothing: one batch of 64 in each beat, however many claims there are, and no batch while no scope is open.
func TestBatchesShowNothing(t *testing.T) {
	b := newBench(t)
	b.beat()
	if len(b.log.raw) != 0 {
		t.Fatal("a batch without a scope")
	}
	s := b.scope("2026")
	claims := []int{0, 1, 64, 100, 0, 0}
	n := 0
	for beat, count := range claims {
		for range count {
			b.claim(s, nullifier(n))
			n++
		}
		b.beat()
		b.check(b.CloseBeat(t.Context())) // again, in the same beat
		if got := len(b.all().Claims(0)); got != beat+1 {
			t.Fatalf("%d batches after %d beats", got, beat+1)
		}
	}
	if w := b.Waiting(s); w != 0 {
		t.Errorf("%d claims wait", w)
	}
	for x, times := range b.logged() {
		if times != 1 {
			t.Errorf("%s stands %d times", x, times)
		}
	}
	if b.Claims() != n {
		t.Errorf("%d claims are known, want %d: padding is none", b.Claims(), n)
	}
}

// TestAppendFailures has the log refuse a batch, or take it and say that it did not, with and without a crash behind it.
func TestAppendFailures(t *testing.T) {
	for _, crash := range []bool{false, true} {
		b := newBench(t)
		s := b.scope("2026")
		b.claim(s, nullifier(1))
		b.now = b.now.Add(time.Minute)
		b.log.refuse = true
		if err := b.CloseBeat(t.Context()); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		b.log.refuse, b.log.pretend = false, true
		if err := b.CloseBeat(t.Context()); !errors.Is(err, errDisk) {
			t.Fatal(err)
		}
		if crash {
			b.crash()
			b.Settle()
		}
		b.claim(s, nullifier(2))
		b.beat()
		if logged := b.logged(); logged[nullifier(1)] != 1 || logged[nullifier(2)] != 1 || b.Waiting(s) != 0 {
			t.Errorf("crash %v: claims stand %d and %d times", crash, logged[nullifier(1)], logged[nullifier(2)])
		}
		for i := 1; i <= 2; i++ {
			if err := b.reserve(s, nullifier(i)); !errors.Is(err, ErrClaimed) {
				t.Errorf("crash %v: claim %d: %v", crash, i, err)
			}
		}
	}
}

// TestLostFiles sets the register back: to an older copy of itself, to no index, to nothing but the keys. The log knows what was claimed.
func TestLostFiles(t *testing.T) {
	for name, lose := range map[string]func(dir, old string) error{
		"an older copy": func(dir, old string) error { return errors.Join(os.RemoveAll(dir), os.Rename(old, dir)) },
		"no state":      func(dir, _ string) error { return os.Remove(filepath.Join(dir, stateName)) },
		"only keys": func(dir, _ string) error {
			files, err := os.ReadDir(dir)
			for _, f := range files {
				if !strings.HasSuffix(f.Name(), keySuffix) {
					err = errors.Join(err, os.Remove(filepath.Join(dir, f.Name())))
				}
			}
			return err
		},
	} {
		b := newBench(t)
		s := b.scope("2026")
		b.claim(s, nullifier(0))
		b.beat()
		b.check(b.index.Flush(b.through, b.number)) // so that there is a state
		old := filepath.Join(t.TempDir(), "old")
		b.check(os.CopyFS(old, os.DirFS(b.dir)))
		for i := range 100 {
			b.claim(s, nullifier(i+1))
		}
		b.beat()
		b.beat()
		b.check(b.Close())
		b.check(lose(b.dir, old))
		b.open()
		b.Settle()
		for i := range 101 {
			if err := b.reserve(s, nullifier(i)); !errors.Is(err, ErrClaimed) {
				t.Fatalf("%s: claim %d: %v", name, i, err)
			}
		}
		b.check(b.reserve(s, nullifier(1000)))
		b.beat() // whose frame says how far the log was read
		b.crash()
		b.Settle()
		for i := range 101 {
			if err := b.reserve(s, nullifier(i)); !errors.Is(err, ErrClaimed) {
				t.Fatalf("%s: claim %d after another crash: %v", name, i, err)
			}
		}
	}
}

// TestJournalTurns fills the register until its journal is replaced, with claims and reservations under way.
func TestJournalTurns(t *testing.T) {
	b := newBench(t)
	s := b.scope("2026")
	b.claim(s, nullifier(1))
	b.beat()
	for i := range recentFull {
		n := receipt.Sum("old", fmt.Append(nil, i))
		b.index.Add(n, 1)
	}
	b.claim(s, nullifier(2))
	b.check(b.Reserve(t.Context(), s, nullifier(3), nullifier(3)))
	b.check(b.turn())
	if b.number != 1 {
		t.Fatal("the journal was not replaced")
	}
	b.crash()
	b.check(b.Answered(s, nullifier(3), nullifier(3)))
	b.Settle()
	for i := 1; i <= 3; i++ {
		if err := b.reserve(s, nullifier(i)); !errors.Is(err, ErrClaimed) {
			t.Errorf("claim %d: %v", i, err)
		}
	}
	if _, err := os.Stat(b.journalPath(0)); err == nil {
		t.Error("the old journal is still there")
	}
	b.beat()
	if logged := b.logged(); logged[nullifier(2)] != 1 || logged[nullifier(3)] != 1 || logged[nullifier(1)] != 1 {
		t.Error("what the journal carried is not logged once")
	}
}

// TestScopeErrors opens and closes scopes as nobody may.
func TestScopeErrors(t *testing.T) {
	b := newBench(t)
	year := b.now.AddDate(1, 0, 0)
	open := func(program, period string, opens, closes time.Time) error {
		_, err := b.OpenScope(t.Context(), program, period, opens, closes)
		return err
	}
	s := b.scope("2026")
	b.check(open("fuel", "2026", b.now, year)) // again
	for name, err := range map[string]error{
		"other times":      open("fuel", "2026", b.now, year.AddDate(1, 0, 0)),
		"no name":          open("Fuel", "2026", b.now, year),
		"no period":        open("fuel", "", b.now, year),
		"closes first":     open("fuel", "2027", year, b.now),
		"closes at once":   open("fuel", "2027", year, year),
		"is over":          open("fuel", "2025", b.now.AddDate(-2, 0, 0), b.now.AddDate(-1, 0, 0)),
		"closing no scope": func() error { _, err := b.CloseScope(t.Context(), "fuel", "2030", ""); return err }(),
	} {
		if !errors.Is(err, ErrScope) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(b.all().Scopes()); n != 1 {
		t.Fatalf("%d scopes on the log", n)
	}
	if err := b.reserve("unknown", nullifier(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("a scope that nobody opened: %v", err)
	}
	b.claim(s, nullifier(1))
	b.now = year.Add(time.Minute)
	b.check(b.CloseBeat(t.Context())) // its time is over
	end, _ := b.all().Scope("fuel", "2026")
	if !end.Closed || b.logged()[nullifier(1)] != 1 || b.Waiting(s) != 0 {
		t.Error("a scope closed without its last claims, or not at all")
	}
	if err := b.reserve(s, nullifier(2)); !errors.Is(err, ErrClosed) {
		t.Errorf("a claim in a closed scope: %v", err)
	}
	if err := open("fuel", "2026", b.now, b.now.AddDate(1, 0, 0)); !errors.Is(err, ErrScope) {
		t.Errorf("a period was opened twice: %v", err)
	}
}

// TestKeysFollowTheLog crashes between the steps of opening and closing a scope.
func TestKeysFollowTheLog(t *testing.T) {
	b := newBench(t)
	keysOnDisk := func() int {
		files, err := filepath.Glob(filepath.Join(b.dir, keyPrefix+"*"))
		b.check(err)
		return len(files)
	}
	b.log.refuse = true
	if _, err := b.OpenScope(t.Context(), "fuel", "2026", b.now, b.now.AddDate(1, 0, 0)); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	if keysOnDisk() != 1 {
		t.Fatal("an entry was appended before its key was kept")
	}
	b.log.refuse = false
	b.crash()
	if keysOnDisk() != 0 {
		t.Error("a key without a scope is kept")
	}
	b.log.pretend = true
	if _, err := b.OpenScope(t.Context(), "fuel", "2026", b.now, b.now.AddDate(1, 0, 0)); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	b.crash()
	s := b.scope("2026")
	b.claim(s, nullifier(1))
	b.log.refuse = true
	if _, err := b.CloseScope(t.Context(), "fuel", "2026", ""); !errors.Is(err, errDisk) {
		t.Fatal(err)
	}
	b.log.refuse = false
	b.claim(s, nullifier(2)) // it is open still
	scope, _ := b.all().Scope("fuel", "2026")
	b.check(b.publishNow())
	if _, err := b.log.Append(t.Context(), entry.ScopeClose{Scope: scope.Index, Time: entry.FormatTime(b.now)}); err != nil {
		t.Fatal(err)
	}
	b.crash() // before the key was destroyed
	if keysOnDisk() != 0 {
		t.Error("the key of a closed scope is kept")
	}
	if _, err := b.Key(s); !errors.Is(err, ErrKey) {
		t.Error(err)
	}
}

// TestKeyFiles swaps, spoils and reads a key file: it is sealed, and for one scope of one register.
func TestKeyFiles(t *testing.T) {
	b := newBench(t)
	one, two := b.scope("2026"), b.scope("2027")
	key, err := b.Key(one)
	b.check(err)
	raw := key.Bytes()
	data, err := os.ReadFile(b.keyPath(one))
	b.check(err)
	if strings.Contains(string(data), string(raw[:])) {
		t.Error("the key lies open on the disk")
	}
	if info, err := os.Stat(b.keyPath(one)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	other, err := os.ReadFile(b.keyPath(two))
	b.check(err)
	b.check(b.Close())
	for name, content := range map[string][]byte{"another scope's": other, "cut": data[:10], "empty": nil} {
		b.check(os.WriteFile(b.keyPath(one), content, 0o600))
		if r, err := Open(b.options()); err == nil {
			t.Errorf("%s: opened", name)
			r.Close()
		}
	}
	b.check(os.WriteFile(b.keyPath(one), data, 0o600))
	b.open()
	b.check(b.Close())
	b.check(os.Remove(b.keyPath(one)))
	b.open()
	if _, err := b.Key(one); !errors.Is(err, ErrKey) {
		t.Errorf("a key that is lost: %v", err)
	}
	if _, err := b.OpenScope(t.Context(), "fuel", "2026", b.now, b.now.AddDate(1, 0, 0)); !errors.Is(err, ErrKey) {
		t.Errorf("a scope without its key was opened again: %v", err)
	}
}

// TestKilled kills a process that claims as fast as it can, several times, and reserves everything that it said was claimed.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("CLAIM_TEST_KILLED"); dir != "" {
		claimUntilKilled(t, dir)
		return
	}
	b := newBench(t)
	s := b.scope("2026")
	b.check(b.Close())
	said := map[int]bool{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
		cmd.Env = append(os.Environ(), "CLAIM_TEST_KILLED="+b.dir, "CLAIM_TEST_SCOPE="+s, fmt.Sprint("CLAIM_TEST_FROM=", round*100_000))
		out, err := cmd.StdoutPipe()
		b.check(err)
		b.check(cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; n < 40+round && lines.Scan(); {
			var i int
			if _, err := fmt.Sscanf(lines.Text(), "claimed %d", &i); err == nil {
				said[i] = true
				n++
			}
		}
		b.check(cmd.Process.Signal(syscall.SIGKILL))
		for lines.Scan() { // what it still said
			var i int
			if _, err := fmt.Sscanf(lines.Text(), "claimed %d", &i); err == nil {
				said[i] = true
			}
		}
		_ = cmd.Wait()
	}
	if len(said) < 160 {
		t.Fatalf("%d claims were made", len(said))
	}
	b.open()
	b.Settle()
	for i := range said {
		if err := b.reserve(s, nullifier(i)); !errors.Is(err, ErrClaimed) {
			t.Fatalf("claim %d is forgotten: %v", i, err)
		}
	}
	for b.Waiting(s) > 0 {
		b.beat()
	}
	logged := b.logged()
	for i := range said {
		if logged[nullifier(i)] != 1 {
			t.Fatalf("claim %d stands %d times on the log", i, logged[nullifier(i)])
		}
	}
}

// claimUntilKilled runs in a process of its own. Its log is the same as the parent's: one open scope.
func claimUntilKilled(t *testing.T, dir string) {
	b := newBench(t)
	scope, from := os.Getenv("CLAIM_TEST_SCOPE"), 0
	if _, err := fmt.Sscan(os.Getenv("CLAIM_TEST_FROM"), &from); err != nil {
		t.Fatal(err)
	}
	b.check(b.Close())
	v, err := vault.Open(filepath.Join(filepath.Dir(dir), "vault"))
	b.check(err)
	b.dir, b.seal = dir, v
	if _, err := b.log.Append(t.Context(), entry.ScopeOpen{Program: "fuel", Period: "2026", KeyCommitment: scope,
		Opens: entry.FormatTime(b.now), Closes: entry.FormatTime(b.now.AddDate(1, 0, 0)), Time: entry.FormatTime(b.now)}); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.Settle()
	for worker := range 4 {
		go func() {
			for i := from + worker; ; i += 4 {
				n := nullifier(i)
				if b.Reserve(context.Background(), scope, n, n) == nil && i%7 != 0 && b.Commit(scope, n, n) == nil {
					fmt.Printf("claimed %d\n", i)
				}
			}
		}()
	}
	time.Sleep(time.Minute)
}
