package witness

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	xnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/config"
)

// buildLitewitness builds torchwood's witness at the version that go.mod pins.
func buildLitewitness(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "litewitness")
	if said, err := exec.Command("go", "build", "-o", out, "filippo.io/torchwood/cmd/litewitness").CombinedOutput(); err != nil {
		t.Fatalf("building litewitness: %v: %s", err, said)
	}
	return out
}

// A litewitness is a running process of torchwood's witness.
type litewitness struct {
	t       *testing.T
	url     string
	key     *torchwood.CosignatureVerifier
	db      string
	log     *bytes.Buffer
	process *exec.Cmd
	args    []string
}

// newLitewitness starts one. It asks an SSH agent for its signatures, which is the one of golang.org/x/crypto here.
func newLitewitness(t *testing.T, name string) *litewitness {
	t.Helper()
	program := buildLitewitness(t)
	key := testKeys.Key("litewitness " + name)
	dir, err := os.MkdirTemp("", "lw") // t.TempDir is too long for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	serveAgent(t, filepath.Join(dir, "agent"), key)
	public, err := ssh.NewPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := torchwood.NewCosignatureVerifier(network.MirrorVKey(name, key.Public().(ed25519.PublicKey)))
	if err != nil {
		t.Fatal(err)
	}
	w := &litewitness{t: t, url: "http://" + address, key: v, db: filepath.Join(dir, "db"), log: &bytes.Buffer{},
		args: []string{program, "-name", name, "-db", filepath.Join(dir, "db"), "-ssh-agent", filepath.Join(dir, "agent"),
			"-key", ssh.FingerprintSHA256(public), "-listen", address}}
	w.start()
	t.Cleanup(w.stop)
	return w
}

// serveAgent serves an SSH agent that holds a key, on a socket.
func serveAgent(t *testing.T, path string, key ed25519.PrivateKey) {
	t.Helper()
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: &key}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_ = agent.ServeAgent(ring, conn) // ends with the connection
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
}

func (w *litewitness) start() {
	w.t.Helper()
	w.process = exec.Command(w.args[0], w.args[1:]...)
	w.process.Stderr = w.log
	if err := w.process.Start(); err != nil {
		w.t.Fatal(err)
	}
	eventually(w.t, "litewitness does not listen", func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func (w *litewitness) stop() {
	if w.process == nil {
		return
	}
	_ = w.process.Process.Signal(syscall.SIGINT)
	_ = w.process.Wait()
	w.process = nil
	if w.t.Failed() {
		w.t.Logf("litewitness said:\n%.4000s", w.log)
	}
}

// exec changes litewitness's database as its operator's tool does.
func (w *litewitness) exec(query string, args ...any) {
	w.t.Helper()
	db, err := sqlite.OpenConn(w.db, sqlite.OpenReadWrite)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := sqlitex.Execute(db, query, &sqlitex.ExecOptions{Args: args}); err != nil {
		w.t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		w.t.Fatal(err)
	}
}

// take makes it witness a log (witnessctl add-log and add-key).
func (w *litewitness) take(vkey string) {
	w.t.Helper()
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.exec("INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)", origin, empty.String())
	w.exec("INSERT INTO key (origin, key) VALUES (?, ?)", origin, vkey)
}

// TestLitewitness has torchwood's witness, in a process of its own, cosign a log: from nothing, as the log grows, when
// nothing happens, after this side forgot what it had, and after either restarts.
func TestLitewitness(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir)
	lw := newLitewitness(t, "witness.example/lite")
	setting := config.Witness{URL: lw.url, Key: lw.key.String()}
	c := newClient(t, s, filepath.Join(dir, "outside"), setting)
	head := grow(t, s, 3)
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrUnknown) {
		t.Errorf("a log that it does not know: %v", err)
	}
	logKey, _, _ := s.Config().LogKey(origin)
	lw.take(network.LogVKey(origin, testKeys.Public("another")))
	if err := c.ask(t.Context(), c.list[0], head); !errors.Is(err, ErrUnknown) {
		t.Errorf("a key that it does not know: %v", err)
	}
	lw.exec("UPDATE key SET key = ?", logKey)

	stop := run(t, c)
	lw.cosigned(c, head)
	for _, n := range []int{252, 1, 1, 300} {
		head = grow(t, s, n)
		lw.cosigned(c, head)
	}
	first := c.Of(head)[0]
	eventually(t, "not cosigned again for a heartbeat", func() bool { return len(c.Of(head)) == 1 && c.Of(head)[0].Time.After(first.Time) })
	if now, _ := s.Final(origin); bytes.Contains(now.Checkpoint, []byte(lw.key.Name())) || len(now.Times) != s.Config().Quorum() {
		t.Errorf("it was counted to the quorum: %s", now.Checkpoint)
	}

	stop() // what it cosigned is forgotten here: it tells the size, and is proven the growth from there
	if err := os.RemoveAll(filepath.Join(dir, "outside")); err != nil {
		t.Fatal(err)
	}
	head = grow(t, s, 40)
	c = newClient(t, s, filepath.Join(dir, "outside"), setting)
	if err := c.ask(t.Context(), c.list[0], head); err != nil {
		t.Errorf("after a conflict of sizes: %v", err)
	}
	lw.cosigned(c, head)

	lw.stop()
	if err := c.ask(t.Context(), c.list[0], head); err == nil {
		t.Error("cosigned by a process that ended")
	}
	lw.start()
	head = grow(t, s, 1)
	run(t, c)
	lw.cosigned(c, head)

	// The same key signs another history: it is proven nothing, and says so.
	other := openStore(t, t.TempDir())
	if _, err := other.Append(t.Context(), entry.ReceiptsBatch{Beat: 1, Root: strings.Repeat("ab", 32), Time: "2026-03-01T12:00:00Z"}); err != nil {
		t.Fatal(err)
	}
	fork := grow(t, other, 699)
	forked := newClient(t, other, t.TempDir(), setting)
	if err := forked.ask(t.Context(), forked.list[0], fork); !errors.Is(err, ErrDiverged) || len(forked.Of(fork)) != 0 {
		t.Errorf("another history: %v", err)
	}
}

// cosigned waits until a head is cosigned, and lets torchwood verify the head with the cosignature.
func (w *litewitness) cosigned(c *Client, head ledger.Head) {
	w.t.Helper()
	eventually(w.t, fmt.Sprintf("no cosignature of size %d", head.Size), func() bool { return len(c.Of(head)) == 1 })
	logKey, _, _ := c.o.Store.Config().LogKey(origin)
	v, err := xnote.NewVerifier(logKey)
	if err != nil {
		w.t.Fatal(err)
	}
	policy := torchwood.ThresholdPolicy(3, torchwood.OriginPolicy(origin), torchwood.SingleVerifierPolicy(v), torchwood.SingleVerifierPolicy(w.key))
	cp, n, err := torchwood.VerifyCheckpoint(append(bytes.Clone(head.Checkpoint), c.Lines(head)...), policy)
	if err != nil || cp.N != int64(head.Size) || cp.Hash != head.Root {
		w.t.Fatalf("torchwood reads %+v, %v", cp, err)
	}
	for _, sig := range n.Sigs {
		if sig.Name != w.key.Name() {
			continue
		}
		if at, err := torchwood.CosignatureTimestamp(sig); err != nil || time.Since(time.Unix(at, 0)) > time.Minute {
			w.t.Errorf("cosigned at %d, %v", at, err)
		}
	}
}
