package prover

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/grille-gateway/grille/circuits"
)

// ErrBusy means that the pool's queue is full: ask again later.
var ErrBusy = errors.New("too many proofs are queued")

// ErrClosed means that the pool no longer takes work.
var ErrClosed = errors.New("the prover pool is closed")

// Pool makes proofs, a bounded number at once, and refuses work beyond a bounded queue.
//
// A job is queued, then run by a worker, then done; a job whose context ends while it is queued is done without being run.
type Pool struct {
	prove   func(*circuits.Public, *circuits.Secret) (Proof, error)
	jobs    chan *job
	done    chan struct{} // closed by Close
	workers sync.WaitGroup
	queued  atomic.Int64
	running atomic.Int64

	mu     sync.Mutex // orders Prove's sends and Close
	closed bool
}

type job struct {
	ctx    context.Context
	pub    *circuits.Public
	sec    *circuits.Secret
	result chan result // holds one
}

type result struct {
	proof Proof
	err   error
}

// NewPool starts a pool of at least one worker and a queue of at least one place. A proof by itself uses two cores well, so on two
// cores more workers share rather than add.
func NewPool(k *Keys, workers, queue int) *Pool { return newPool(k.Prove, workers, queue) }

func newPool(prove func(*circuits.Public, *circuits.Secret) (Proof, error), workers, queue int) *Pool {
	p := &Pool{prove: prove, jobs: make(chan *job, max(queue, 1)), done: make(chan struct{})}
	for range max(workers, 1) {
		p.workers.Go(p.work)
	}
	return p
}

// Prove queues a job and waits for its proof. The error is ErrBusy when the queue is full, ErrClosed after Close, the context's when
// it ends first (a proof already under way is then finished and dropped), and otherwise that of Keys.Prove. pub and sec must not
// change until it returns, nor after a context's error.
func (p *Pool) Prove(ctx context.Context, pub *circuits.Public, sec *circuits.Secret) (Proof, error) {
	if err := ctx.Err(); err != nil {
		return Proof{}, err
	}
	j := &job{ctx: ctx, pub: pub, sec: sec, result: make(chan result, 1)}
	if err := p.enqueue(j); err != nil {
		return Proof{}, err
	}
	select {
	case r := <-j.result:
		return r.proof, r.err
	case <-ctx.Done():
		return Proof{}, ctx.Err()
	}
}

func (p *Pool) enqueue(j *job) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	select {
	case p.jobs <- j:
		p.queued.Add(1)
		return nil
	default:
		return ErrBusy
	}
}

// Depth returns how many jobs wait and how many run, for a metric.
func (p *Pool) Depth() (queued, running int) {
	return int(max(p.queued.Load(), 0)), int(p.running.Load())
}

// Close refuses new work, fails what is queued with ErrClosed and waits for what runs.
func (p *Pool) Close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.done)
		close(p.jobs)
	}
	p.mu.Unlock()
	p.workers.Wait()
}

func (p *Pool) work() {
	for j := range p.jobs {
		p.queued.Add(-1)
		p.running.Add(1)
		j.result <- p.run(j)
		p.running.Add(-1)
	}
}

func (p *Pool) run(j *job) result {
	select {
	case <-p.done:
		return result{err: ErrClosed}
	default:
	}
	if err := j.ctx.Err(); err != nil {
		return result{err: err}
	}
	proof, err := p.prove(j.pub, j.sec)
	return result{proof, err}
}
