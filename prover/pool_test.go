package prover

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/grille-gateway/grille/circuits"
)

// gate is a prover whose proofs wait to be let through.
type gate struct {
	open chan struct{}
	mu   sync.Mutex
	runs []*circuits.Public
}

func newGate() *gate { return &gate{open: make(chan struct{})} }

var errGate = errors.New("no proof")

func (g *gate) prove(pub *circuits.Public, sec *circuits.Secret) (Proof, error) {
	g.mu.Lock()
	g.runs = append(g.runs, pub)
	g.mu.Unlock()
	<-g.open
	if sec == nil {
		return Proof{}, errGate
	}
	return Proof{1}, nil
}

// start asks the pool in the background and waits until everything that can happen has.
func start(ctx context.Context, p *Pool, pub *circuits.Public, sec *circuits.Secret) chan result {
	c := make(chan result, 1)
	go func() {
		proof, err := p.Prove(ctx, pub, sec)
		c <- result{proof, err}
	}()
	synctest.Wait()
	return c
}

func wantDepth(t *testing.T, p *Pool, queued, running int) {
	t.Helper()
	if q, r := p.Depth(); q != queued || r != running {
		t.Errorf("%d queued, %d running, want %d and %d", q, r, queued, running)
	}
}

func TestPoolBoundsWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := newPool(g.prove, 2, 3)
		ctx := context.Background()
		var waiting []chan result
		for range 5 {
			waiting = append(waiting, start(ctx, p, new(circuits.Public), new(circuits.Secret)))
		}
		wantDepth(t, p, 3, 2)
		if _, err := p.Prove(ctx, nil, nil); !errors.Is(err, ErrBusy) {
			t.Error(err)
		}
		close(g.open)
		for _, c := range waiting {
			if r := <-c; r.err != nil || r.proof != (Proof{1}) {
				t.Error(r.err)
			}
		}
		synctest.Wait()
		wantDepth(t, p, 0, 0)
		if _, err := p.Prove(ctx, nil, nil); !errors.Is(err, errGate) {
			t.Error(err)
		}
		p.Close()
	})
}

func TestPoolSkipsWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := newPool(g.prove, 1, 2)
		first := start(context.Background(), p, new(circuits.Public), new(circuits.Secret))
		ctx, cancel := context.WithCancel(context.Background())
		dropped := new(circuits.Public)
		second := start(ctx, p, dropped, new(circuits.Secret))
		cancel()
		if r := <-second; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		if _, err := p.Prove(ctx, nil, nil); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(g.open)
		if r := <-first; r.err != nil {
			t.Error(r.err)
		}
		p.Close()
		for _, pub := range g.runs {
			if pub == dropped {
				t.Error("a proof was made for nobody")
			}
		}
	})
}

func TestPoolGivesUpOnARunningProof(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := newPool(g.prove, 1, 1)
		ctx, cancel := context.WithCancel(context.Background())
		c := start(ctx, p, new(circuits.Public), new(circuits.Secret))
		wantDepth(t, p, 0, 1)
		cancel()
		if r := <-c; !errors.Is(r.err, context.Canceled) {
			t.Error(r.err)
		}
		wantDepth(t, p, 0, 1) // it still runs
		close(g.open)
		p.Close()
		wantDepth(t, p, 0, 0)
	})
}

func TestPoolCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		p := newPool(g.prove, 1, 2)
		running := start(context.Background(), p, new(circuits.Public), new(circuits.Secret))
		queued := start(context.Background(), p, new(circuits.Public), new(circuits.Secret))
		closed := make(chan struct{})
		go func() { p.Close(); close(closed) }()
		synctest.Wait()
		if _, err := p.Prove(context.Background(), nil, nil); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		close(g.open)
		if r := <-running; r.err != nil {
			t.Error(r.err)
		}
		if r := <-queued; !errors.Is(r.err, ErrClosed) {
			t.Error(r.err)
		}
		<-closed
		p.Close()
		wantDepth(t, p, 0, 0)
	})
}

func TestPoolProves(t *testing.T) {
	e := example()
	p := NewPool(testKeys(), 0, 0) // one of each at least
	defer p.Close()
	proof, err := p.Prove(context.Background(), e.pub, e.sec)
	if err != nil {
		t.Fatal(err)
	}
	if err := testKeys().verifier.Verify(e.pub, proof[:]); err != nil {
		t.Fatal(err)
	}
}
