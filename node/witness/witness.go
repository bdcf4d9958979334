// Package witness has this member's log cosigned by witnesses outside the network, over C2SP tlog-witness.
//
// Such a witness checks consistency only and stores no entries, so its cosignatures are kept apart from the quorum's: they
// are shown, and served with the checkpoint that they are of, and they never make anything final. What they add: whoever
// trusts the witness, and none of the members, knows that the log has not been forked since the witness first saw it.
package witness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"filippo.io/torchwood"
	"github.com/cenkalti/backoff/v5"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/logkey"
)

const (
	// settle is how long a grown log may grow on before its witnesses are asked.
	settle = 300 * time.Millisecond
	// look is how often the clock is looked at for a heartbeat that is due.
	look = time.Second
	// firstDelay and maxDelay bound the pauses after a failure, with jitter.
	firstDelay = time.Second
	maxDelay   = 5 * time.Minute
)

// Options are what the client needs.
type Options struct {
	Store     *ledger.Store
	Origin    string                     // of this member's own log
	Witnesses []config.Witness           // certificates with absolute paths
	Dir       string                     // where cosignatures are kept; created if missing
	Heartbeat time.Duration              // a tree is cosigned again this long after the last time
	Now       func() time.Time           // nil: time.Now
	Logger    *slog.Logger               // nil: none
	Observe   func(name string, ok bool) // told the outcome of each attempt; nil: nobody is
}

// A Client asks the outside witnesses of one log. It is safe for concurrent use.
type Client struct {
	o    Options
	list []*outside
}

// An outside is one witness and what it cosigned last.
type outside struct {
	prefix string
	key    *torchwood.CosignatureVerifier
	file   string
	http   *poster

	mu    sync.Mutex
	kept  note.Checkpoint // zero before the first
	out   note.Outside
	fresh time.Time // by this process's clock, of the last success; zero before
	fault string    // why the last attempt failed; empty after a success
}

// New reads the cosignatures that were kept. Those that do not verify any more are left out.
func New(o Options) (*Client, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Observe == nil {
		o.Observe = func(string, bool) {}
	}
	c := &Client{o: o}
	if len(o.Witnesses) == 0 {
		return c, nil
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening outside witnesses: %w", err)
	}
	for _, w := range o.Witnesses {
		out, err := c.open(w)
		if err != nil {
			return nil, fmt.Errorf("opening outside witness %s: %w", w.URL, err)
		}
		c.list = append(c.list, out)
	}
	return c, nil
}

// ErrMirror says that a witness is one of the network's own mirrors, whose cosignatures count already.
var ErrMirror = errors.New("the witness is a mirror of this network; remove it from the settings")

func (c *Client) open(w config.Witness) (*outside, error) {
	key, err := torchwood.NewCosignatureVerifier(w.Key)
	if err != nil {
		return nil, err
	}
	for _, m := range c.o.Store.Config().Mirrors() {
		if m.MirrorKey == w.Key {
			return nil, ErrMirror
		}
	}
	post, err := newPoster(w.URL, w.Certificate)
	if err != nil {
		return nil, err
	}
	out := &outside{prefix: w.URL, key: key, http: post, file: filepath.Join(c.o.Dir, url.PathEscape(key.Name()))}
	if err := c.load(out); err != nil {
		c.o.Logger.Warn("kept cosignature of an outside witness is of no use", logkey.Witness, key.Name(), logkey.Error, err)
	}
	return out, nil
}

// load reads what a witness cosigned last: a checkpoint with the owner's signature and the witness's.
func (c *Client) load(out *outside) error {
	file, err := os.Open(out.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(file, note.MaxSize+1)) // one byte more is refused below
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	kept, err := note.VerifyOwner(c.o.Store.Config(), c.o.Origin, data)
	if err != nil {
		return err
	}
	out.out, err = note.VerifyOutside(out.key, kept.Text, kept.Sigs)
	if err == nil {
		out.kept = kept
	}
	return err
}

// Run asks each witness after each new final head, and for heartbeats, until ctx ends.
func (c *Client) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, out := range c.list {
		all.Go(func() { c.follow(ctx, out) })
	}
	all.Wait()
}

// follow keeps one witness up with the log.
func (c *Client) follow(ctx context.Context, out *outside) {
	delays := backoff.NewExponentialBackOff()
	delays.InitialInterval, delays.MaxInterval = firstDelay, maxDelay
	for ctx.Err() == nil {
		changed := c.o.Store.Changed()
		head, ok := c.o.Store.Final(c.o.Origin)
		if !ok || !out.due(head, c.o.Heartbeat) {
			wait(ctx, look, changed)
			continue
		}
		wait(ctx, settle, nil)
		if head, ok = c.o.Store.Final(c.o.Origin); !ok || ctx.Err() != nil {
			continue
		}
		err := c.ask(ctx, out, head)
		if ctx.Err() != nil {
			return
		}
		c.o.Observe(out.key.Name(), err == nil)
		out.tried(err)
		if err == nil {
			delays.Reset()
			continue
		}
		pause := delays.NextBackOff()
		var later *laterError
		if errors.As(err, &later) && later.after > pause {
			pause = min(later.after, maxDelay)
		}
		c.o.Logger.Warn("outside witness did not cosign", logkey.Witness, out.key.Name(), logkey.Duration, pause.Seconds(), logkey.Error, err)
		wait(ctx, pause, nil)
	}
}

// wait returns after a while, when ctx ends, or when changed is closed.
func wait(ctx context.Context, d time.Duration, changed <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	case <-changed:
	}
}

// due tells whether a witness should be asked about a head.
func (w *outside) due(head ledger.Head, heartbeat time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	same := w.kept.Tree.N == int64(head.Size) && w.kept.Tree.Hash == head.Root
	return !same || w.fresh.IsZero() || time.Since(w.fresh) >= heartbeat
}

// tried remembers how an attempt ended.
func (w *outside) tried(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fault = ""; err != nil {
		w.fault = err.Error()
		return
	}
	w.fresh = time.Now()
}

// keep makes a cosignature durable and then the one that is shown.
func (w *outside) keep(c note.Checkpoint, signed []byte, out note.Outside) error {
	if err := config.Replace(w.file, append(signed, out.Line...), 0o600); err != nil {
		return fmt.Errorf("keeping the cosignature: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kept, w.out = c, out
	return nil
}

// Of returns the cosignatures of those witnesses that cosigned this very head.
func (c *Client) Of(head ledger.Head) (list []note.Outside) {
	if head.Origin != c.o.Origin {
		return nil
	}
	for _, w := range c.list {
		w.mu.Lock()
		if w.kept.Tree.N == int64(head.Size) && w.kept.Tree.Hash == head.Root && w.out.Line != "" {
			list = append(list, w.out)
		}
		w.mu.Unlock()
	}
	return list
}

// Lines returns their signature lines, to be appended to the head.
func (c *Client) Lines(head ledger.Head) (lines []byte) {
	for _, out := range c.Of(head) {
		lines = append(lines, out.Line...)
	}
	return lines
}

// A Status is how one witness is.
type Status struct {
	Name  string
	URL   string
	Size  uint64    // of the tree that it cosigned last; 0: none
	Time  time.Time // of that cosignature, by its clock
	Fault string    // why the last attempt failed; empty after a success
}

// Status returns how the witnesses are, in the order of the settings.
func (c *Client) Status() []Status {
	list := make([]Status, len(c.list))
	for i, w := range c.list {
		w.mu.Lock()
		list[i] = Status{Name: w.key.Name(), URL: w.prefix, Size: uint64(w.kept.Tree.N), Time: w.out.Time, Fault: w.fault}
		w.mu.Unlock()
	}
	return list
}
