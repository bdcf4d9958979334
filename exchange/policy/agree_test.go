package policy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark/constraint"
	"github.com/consensys/gnark/frontend"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// asOfs are days on which ages and years go wrong.
var asOfs = []time.Time{day0(2024, 2, 28), day0(2024, 2, 29), day0(2024, 3, 1), day0(2025, 2, 28), day0(2025, 3, 1), day0(2026, 12, 31)}

func day0(y, m, d int) time.Time { return time.Date(y, time.Month(m), d, 0, 0, 0, 0, time.UTC) }

// coverage counts what random policies had and met.
type coverage struct {
	verdicts                    map[circuits.Verdict]int
	operators, reached, refused map[string]int
	policies, pairs             int
}

func newCoverage() *coverage {
	return &coverage{verdicts: map[circuits.Verdict]int{}, operators: map[string]int{}, reached: map[string]int{}, refused: map[string]int{}}
}

// program notes the limits that a compiled program reaches.
func (c *coverage) program(t *Template) {
	p := &t.Program
	full := func(name string, n, limit int) {
		if n == limit {
			c.reached[fmt.Sprintf("%d %s", limit, name)]++
		}
	}
	full("atoms", len(p.Atoms), circuits.Atoms)
	full("text tests", len(p.TextTests), circuits.TextTests)
	full("gates", len(p.Gates), circuits.Gates)
	full("tables", len(p.Lookups), circuits.Lookups)
	for _, l := range p.Lookups {
		full("rows", len(l.Pairs), circuits.LookupPairs)
	}
	for _, a := range p.Atoms {
		for _, term := range a.Columns {
			full("coefficients of 32 bits", int(max(term.Coefficient, -term.Coefficient)), 1<<31-1)
		}
		if a.Constant > 1<<62 && a.Constant != 1<<63-1 || a.Constant < -1<<62 {
			c.reached["64 bits"]++
		}
	}
	if len(t.Dates) > 0 {
		c.reached["1 as-of date"]++
	}
	if len(p.Exempt) > 0 {
		c.reached["exempt columns"]++
	}
}

// limits are those that a random text has to be refused for; the ones with a size have to be reached by others.
var limits = []string{"12 atoms", "4 text tests", "8 gates", "4 tables", "16 rows", "4 tables of 16 rows", "16 conditions", "64 bits",
	"coefficients of 32 bits", "1 as-of date"}

var allOperators = strings.Fields("== != < <= > >= && || ! at_least in between has age days_since date dates table form + - * negation bool" +
	" record_exists on_absent on_missing") // further ones are counted too

func (c *coverage) check(t *testing.T) {
	t.Helper()
	t.Logf("%d policies, %d pairs of a policy and a record", c.policies, c.pairs)
	for v := circuits.NotSatisfied; v <= circuits.NoRecord; v++ {
		t.Logf("%-16s %6d pairs, %4.1f %%", v, c.verdicts[v], 100*float64(c.verdicts[v])/float64(c.pairs))
		if 10*c.verdicts[v] < c.pairs {
			t.Errorf("verdict %v in less than 10 %% of the pairs", v)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.operators)) {
		t.Logf("%-24s in %6d policies", name, c.operators[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.reached)) {
		t.Logf("limit %-26s reached by %6d", name, c.reached[name])
	}
	for _, name := range slices.Sorted(maps.Keys(c.refused)) {
		t.Logf("limit %-26s refused    %6d", name, c.refused[name])
	}
}

func (c *coverage) complete(t *testing.T) {
	t.Helper()
	for _, name := range allOperators {
		if c.operators[name] == 0 {
			t.Errorf("no policy with %s", name)
		}
	}
	for _, limit := range limits {
		if c.refused[limit] == 0 {
			t.Errorf("no policy beyond %s", limit)
		}
	}
	for _, limit := range []string{"12 atoms", "4 text tests", "8 gates", "4 tables", "16 rows", "64 bits", "1 as-of date", "exempt columns"} {
		if c.reached[limit] == 0 {
			t.Errorf("no policy reaches %s", limit)
		}
	}
}

// A trial is one policy compiled for the program and read by the reference.
type trial struct {
	document *Document
	question *question
	template *Template
	programs [6]*circuits.Program // for each of asOfs
}

// draw draws policies until one compiles, and notes why others did not.
func (c *coverage) draw(t *testing.T, a *author, r *reference) *trial {
	for {
		d := a.document()
		tr, err := prepare(d, wide, r)
		var refusal *SourceError
		if errors.As(err, &refusal) {
			if refusal.Limit != "" {
				c.refused[refusal.Limit]++
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", d.When, err)
		}
		if again, err := d.Compile(wide); err != nil || !reflect.DeepEqual(again, tr.template) {
			t.Fatalf("%s: compiled again it is another program, %v", d.When, err)
		}
		c.policies++
		for name := range a.met {
			c.operators[name]++
		}
		c.program(tr.template)
		return tr
	}
}

func prepare(d *Document, s *schema.Schema, r *reference) (*trial, error) {
	tr := &trial{document: d}
	var err error
	if tr.template, err = d.Compile(s); err != nil {
		return nil, err
	}
	for i, day := range asOfs {
		if tr.programs[i], err = tr.template.At(day); err != nil {
			return nil, fmt.Errorf("as of %v: %w", day, err)
		}
	}
	tr.question, err = r.question(d, s)
	return tr, err
}

// compare asks the reference and the program about a row, as of one of asOfs. A nil row is no record.
func (tr *trial) compare(row schema.Row, s *schema.Schema, asOf int) (circuits.Verdict, *circuits.Record, error) {
	var record *circuits.Record
	if row != nil {
		encoded, err := s.Encode(row)
		if err != nil {
			return 0, nil, err
		}
		record = &encoded
	}
	want, err := tr.question.verdict(row, asOfs[asOf])
	got := tr.programs[asOf].Evaluate(record)
	if err != nil || got != want {
		return 0, nil, fmt.Errorf("%s\nof %+v as of %s: the program says %v, CEL %v, %v", tr.document.When, row, asOfs[asOf].Format(time.DateOnly), got, want, err)
	}
	return got, record, nil
}

func (a *author) record() schema.Row {
	if a.IntN(5) == 0 {
		return nil
	}
	row, err := wide.Parse(a.row(0.09))
	if err != nil {
		panic(err)
	}
	return row
}

const (
	nativePairs  = 100_000
	perPolicy    = 20 // records for each policy
	circuitPairs = 200
)

// TestEvaluatorsAgree holds CEL's own evaluator and the program's to one another, on random policies and records with missing values
// and with values, sizes and constants at the limits.
func TestEvaluatorsAgree(t *testing.T) {
	r, err := newReference()
	if err != nil {
		t.Fatal(err)
	}
	c, a := newCoverage(), &author{Rand: rand.New(rand.NewPCG(2, 7))}
	for c.pairs < nativePairs/fewer {
		tr := c.draw(t, a, r)
		for range perPolicy {
			verdict, _, err := tr.compare(a.record(), wide, a.IntN(len(asOfs)))
			if err != nil {
				t.Fatal(err)
			}
			c.verdicts[verdict]++
			c.pairs++
		}
	}
	c.check(t)
	c.complete(t)
}

// TestCircuitAgrees holds the circuit to both: of the four verdicts it accepts the one they give.
func TestCircuitAgrees(t *testing.T) {
	r, err := newReference()
	if err != nil {
		t.Fatal(err)
	}
	system, err := circuits.Compile()
	if err != nil {
		t.Fatal(err)
	}
	c, a := newCoverage(), &author{Rand: rand.New(rand.NewPCG(3, 7))}
	for c.pairs < circuitPairs {
		tr := c.draw(t, a, r)
		asOf := a.IntN(len(asOfs))
		verdict, record, err := tr.compare(a.record(), wide, asOf)
		if err != nil {
			t.Fatal(err)
		}
		secret := openingOf(a, record)
		public, err := secret.Public(secret.Opening.Root(secret.Key.Place()), fr.NewElement(1), fr.Element{}, [circuits.Columns]bool{}, tr.programs[asOf])
		if err != nil {
			t.Fatal(err)
		}
		for _, claim := range []circuits.Verdict{verdict, (verdict + 1 + circuits.Verdict(a.IntN(3))) % 4} {
			public.Verdict = claim
			if err := solved(system, public, secret); (err == nil) != (claim == verdict) {
				t.Fatalf("%s: the verdict is %v, the circuit on %v says: %v", tr.document.When, verdict, claim, err)
			}
		}
		c.verdicts[verdict]++
		c.pairs++
	}
	c.check(t)
}

// openingOf puts a record (nil: none) into a bucket of a tree that is random otherwise.
func openingOf(a *author, record *circuits.Record) *circuits.Secret {
	var key circuits.Key
	binary.BigEndian.PutUint64(key[:8], a.Uint64())
	s := &circuits.Secret{Key: key, TagNonce: fr.NewElement(a.Uint64()), Salt: fr.NewElement(a.Uint64()), Record: record}
	s.Opening.Bucket = circuits.EmptyBucket()
	if record != nil {
		s.Opening.Bucket[1] = circuits.Slot{Key: key.Element(), Commitment: record.Commitment(s.Salt)}
	}
	for i := range s.Opening.Siblings {
		s.Opening.Siblings[i] = [2]fr.Element{fr.NewElement(a.Uint64()), fr.NewElement(a.Uint64())}
	}
	return s
}

func solved(system constraint.ConstraintSystem, public *circuits.Public, secret *circuits.Secret) error {
	assignment, err := circuits.Assign(public, secret)
	if err != nil {
		return err
	}
	w, err := frontend.NewWitness(assignment, circuits.Curve.ScalarField())
	if err != nil {
		return err
	}
	_, err = system.Solve(w)
	return err
}

// FuzzEvaluatorsAgree changes texts and draws records from a seed.
func FuzzEvaluatorsAgree(f *testing.F) {
	r, err := newReference()
	if err != nil {
		f.Fatal(err)
	}
	a := &author{Rand: rand.New(rand.NewPCG(5, 7))}
	for i := range 10 {
		f.Add(a.document().When, uint64(i))
	}
	f.Fuzz(func(t *testing.T, text string, seed uint64) {
		a := &author{Rand: rand.New(rand.NewPCG(seed, 7)), met: map[string]int{}}
		d := &Document{Policy: "p", Version: 1, Dataset: "wide", When: text}
		tr, err := prepare(d, wide, r)
		if errors.Is(err, ErrPolicy) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range asOfs {
			if _, _, err := tr.compare(a.record(), wide, i); err != nil {
				t.Fatal(err)
			}
		}
	})
}
