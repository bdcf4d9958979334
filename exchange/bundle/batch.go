package bundle

import (
	"runtime"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// A BatchVerifier is a ProofVerifier that checks many proofs together, each with the outcome of Verify.
type BatchVerifier interface {
	ProofVerifier
	VerifyAll([]prover.Statement) []error
}

// A Result is what Verify returns for one bundle: exactly one of the two is set.
type Result struct {
	Report *Report
	Err    error // a *Refused
}

// VerifyAll checks many bundles and returns for each what Verify would: the same report, or the same first reason to refuse it. What
// several bundles share, such as entries and configuration, is read once, and the proofs under one key are checked together if it
// is a BatchVerifier. All processors work on it. It holds all bundles in memory: some 50 KB each beside their bytes.
func (v *Verifier) VerifyAll(bundles [][]byte) []Result {
	out := make([]Result, len(bundles))
	open := make([]*check, len(bundles)) // nil: something is wrong already
	inParts(len(bundles), func(from, to int) {
		shared := newShared() // of this part alone, here and below
		for i := from; i < to; i++ {
			c, err := v.begin(bundles[i], shared)
			if err == nil {
				err = c.run(c.beforeProof())
			}
			if err != nil {
				out[i].Err = err
				continue
			}
			open[i] = c
		}
	})
	errs := proofs(open)
	inParts(len(bundles), func(from, to int) {
		for i := from; i < to; i++ {
			if open[i] != nil {
				out[i] = open[i].end(errs[i])
			}
		}
	})
	return out
}

// end makes the steps after the proof.
func (c *check) end(proof error) Result {
	if proof != nil {
		return Result{Err: &Refused{Reason: ReasonProof, Err: proof}}
	}
	if err := c.run(c.afterProof()); err != nil {
		return Result{Err: err}
	}
	return Result{Report: &c.report}
}

// leastPart is how many bundles are worth a goroutine.
const leastPart = 16

// inParts calls do for parts of [0, n), one for each processor, and returns when all are done. The parts are the same for the same n.
func inParts(n int, do func(from, to int)) {
	size := max(leastPart, (n+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	var parts sync.WaitGroup
	for from := 0; from < n; from += size {
		parts.Go(func() { do(from, min(n, from+size)) })
	}
	parts.Wait()
}

// proofs checks the proofs of many bundles, but for those that are nil: those under one key together, if it can.
func proofs(open []*check) []error {
	errs := make([]error, len(open))
	byKey := map[string][]int{}
	for i, c := range open {
		if c != nil {
			byKey[c.key.SHA256()] = append(byKey[c.key.SHA256()], i)
		}
	}
	for _, of := range byKey {
		key := open[of[0]].key
		batch, ok := key.(BatchVerifier)
		if !ok {
			for _, i := range of {
				errs[i] = key.Verify(open[i].pub, open[i].b.Proof)
			}
			continue
		}
		statements := make([]prover.Statement, len(of))
		for j, i := range of {
			statements[j] = prover.Statement{Public: open[i].pub, Proof: open[i].b.Proof}
		}
		for j, err := range batch.VerifyAll(statements) {
			errs[of[j]] = err
		}
	}
	return errs
}

// shared remembers what was read for one bundle and is the same for others, by all the bytes that it was read from. Its zero value
// remembers nothing. What it gives out is not changed by anybody.
type shared struct {
	digests   map[*network.Configuration]string
	heads     map[headOf]verifiedHead
	entries   map[string]entry.Entry
	templates map[string]*policy.Template
	programs  map[programOf]*circuits.Program
}

type headOf struct {
	config       *network.Configuration
	origin, note string
}

type verifiedHead struct {
	tree  tlog.Tree
	times []time.Time
}

type programOf struct {
	template *policy.Template
	asOf     string
}

func newShared() *shared {
	return &shared{map[*network.Configuration]string{}, map[headOf]verifiedHead{}, map[string]entry.Entry{}, map[string]*policy.Template{},
		map[programOf]*circuits.Program{}}
}

// once returns what is remembered under the key, or makes and remembers it. Errors are not remembered.
func once[K comparable, V any](remembered map[K]V, key K, make func() (V, error)) (V, error) {
	if v, ok := remembered[key]; ok {
		return v, nil
	}
	v, err := make()
	if err == nil && remembered != nil {
		remembered[key] = v
	}
	return v, err
}

func (s *shared) digest(cfg *network.Configuration) string {
	d, _ := once(s.digests, cfg, func() (string, error) { return cfg.Digest(), nil })
	return d
}

func (s *shared) head(cfg *network.Configuration, origin, note string) (tlog.Tree, []time.Time, error) {
	h, err := once(s.heads, headOf{cfg, origin, note}, func() (verifiedHead, error) {
		tree, times, err := verifyHead(cfg, origin, note)
		return verifiedHead{tree, times}, err
	})
	return h.tree, h.times, err
}

func (s *shared) entry(body string) (entry.Entry, error) {
	return once(s.entries, body, func() (entry.Entry, error) { return entry.Decode([]byte(body)) })
}

// program is the program that a template, as it stands in its entry, means on a day.
func (s *shared) program(text []byte, asOf string) (*circuits.Program, error) {
	template, err := once(s.templates, string(text), func() (*policy.Template, error) { return policy.ParseTemplate(text) })
	if err != nil {
		return nil, err
	}
	return once(s.programs, programOf{template, asOf}, func() (*circuits.Program, error) { return template.ProgramAt(asOf) })
}
