package policy

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"

	"github.com/grille-gateway/grille/circuits"
)

// signal is a yes/no value inside the program, or its negation.
type signal struct {
	kind    byte // 'a' atom, 't' text test, 'g' gate
	index   int
	negated bool
}

func (s signal) not() signal { s.negated = !s.negated; return s }

// A node is a condition of the text: a leaf, or "at least k of these", or the negation of either. Nodes do not change.
type node struct {
	at      ast.Expr
	leaf    *leaf
	k       int
	of      []*node
	negated bool
}

// A leaf is a comparison.
type leaf struct {
	signal signal
	reads  []int // positions of the columns that it takes values of
	has    int   // position of the column that it asks has(...) of, or -1
}

func (n *node) not() *node {
	m := *n
	m.negated = !m.negated
	return &m
}

// key is equal for conditions that say the same in the same order. has(x) and x >= -(2^63-1) do not: they have one test, but only the second
// reads x.
func (n *node) key() string {
	sign := ""
	if n.negated {
		sign = "!"
	}
	if n.leaf != nil {
		return fmt.Sprintf("%s%c%d%t%d", sign, n.leaf.signal.kind, n.leaf.signal.index, n.leaf.signal.negated, n.leaf.has)
	}
	keys := make([]string, len(n.of))
	for i, m := range n.of {
		keys[i] = m.key()
	}
	return fmt.Sprintf("%s%d(%s)", sign, n.k, strings.Join(keys, " "))
}

// connect makes "at least k of these". All-of and any-of take in what is nested in them of their own kind, and leave out repetitions.
func connect(e ast.Expr, k int, of []*node) *node {
	all, anyOf := k == len(of), k == 1
	if !all && !anyOf {
		return &node{at: e, k: k, of: of}
	}
	var flat []*node
	seen := map[string]bool{}
	for _, n := range of {
		for _, m := range n.operands(all) {
			if key := m.key(); !seen[key] {
				seen[key] = true
				flat = append(flat, m)
			}
		}
	}
	if len(flat) == 1 {
		return flat[0]
	}
	if all {
		k = len(flat)
	}
	return &node{at: e, k: k, of: flat}
}

// operands are the conditions that n is all (or any) of: not (a or b) is all of not a, not b.
func (n *node) operands(all bool) []*node {
	isAll, isAny := n.leaf == nil && n.k == len(n.of), n.leaf == nil && n.k == 1
	switch {
	case !n.negated && (all && isAll || !all && isAny):
		return n.of
	case n.negated && (all && isAny || !all && isAll):
		var of []*node
		for _, m := range n.of {
			of = append(of, m.not())
		}
		return of
	}
	return []*node{n}
}

// needed marks the columns whose values the condition takes where nothing guards them. A column guards a condition where the
// conditions beside it decide without it once the column is missing: c in `has(x) && c` and in `!has(x) || c`.
func (n *node) needed(guarded [circuits.Columns]bool, needs *[circuits.Columns]bool) {
	if n.leaf != nil {
		for _, c := range n.leaf.reads {
			needs[c] = needs[c] || !guarded[c]
		}
		return
	}
	for i, m := range n.of {
		inside := guarded
		for column := range inside {
			yes, no := n.decided(column, i)
			inside[column] = inside[column] || yes || no
		}
		m.needed(inside, needs)
	}
}

// decided says whether a missing column alone makes n hold, or fail, whatever the condition at index without (-1: none) says.
func (n *node) decided(column, without int) (yes, no bool) {
	if n.leaf != nil {
		no = n.leaf.has == column
	} else {
		holding, open := 0, 0
		for i, m := range n.of {
			y, f := false, false
			if i != without {
				y, f = m.decided(column, -1)
			}
			if y {
				holding++
			}
			if !f {
				open++
			}
		}
		yes, no = holding >= n.k, open < n.k
	}
	if n.negated {
		return no, yes
	}
	return yes, no
}

// A sum is a gate being made: it holds where its weighted signals reach the threshold.
type sum struct {
	weights   map[signal]int // of signals that are not negated
	threshold int
}

func (s *sum) add(of signal, weight int) {
	if of.negated { // counts weight x (1 - of)
		s.threshold -= weight
		of, weight = of.not(), -weight
	}
	s.weights[of] += weight
}

func (s *sum) not() *sum {
	n := &sum{weights: map[signal]int{}, threshold: 1 - s.threshold}
	for of, weight := range s.weights {
		n.weights[of] = -weight
	}
	return n
}

// span is the least and the most that the weights can sum to.
func (s *sum) span() (least, most int) {
	for _, weight := range s.weights {
		least += min(0, weight)
		most += max(0, weight)
	}
	return least, most
}

// gates makes the program's gates; the outcome is the last.
func (c *compiler) gates(root *node) error {
	c.made = map[string]signal{}
	s, err := c.sum(root)
	if err != nil {
		return err
	}
	_, err = c.gate(root, s)
	return err
}

// sum makes the sum that says what n says, and the gates below it. An all-of or any-of takes in the sum of one nested condition by
// weights that make the others decide: a && (b || c) is 2a + b + c >= 3.
func (c *compiler) sum(n *node) (*sum, error) {
	s := &sum{weights: map[signal]int{}, threshold: n.k}
	if n.leaf != nil {
		s.threshold = 1
		s.add(n.leaf.signal, 1)
		return s.signed(n), nil
	}
	var inner *sum
	var signals []signal
	weight, others := 1, len(n.of)-1
	for _, m := range n.of {
		if inner == nil && c.takesIn(n, m) {
			nested, err := c.sum(m)
			if err != nil {
				return nil, err
			}
			if w := weigh(n, nested, others); w > 0 {
				inner, weight = nested, w
				continue
			}
		}
		of, err := c.signal(m)
		if err != nil {
			return nil, err
		}
		signals = append(signals, of)
	}
	if inner != nil {
		s.threshold = inner.threshold
		if n.k == len(n.of) {
			s.threshold += weight * others
		}
		for of, w := range inner.weights {
			s.weights[of] += w
		}
	}
	for _, of := range signals {
		s.add(of, weight)
	}
	return s.signed(n), nil
}

func (s *sum) signed(n *node) *sum {
	if n.negated {
		return s.not()
	}
	return s
}

// takesIn says whether m, nested in n, may need no gate of its own: n is all or any of its conditions, and m has no gate yet.
func (c *compiler) takesIn(n, m *node) bool {
	_, made := c.made[m.plain().key()]
	return !made && m.leaf == nil && (n.k == 1 || n.k == len(n.of))
}

// plain is n or what n negates.
func (n *node) plain() *node {
	if n.negated {
		return n.not()
	}
	return n
}

// weigh is the weight that makes each of n's other conditions decide beside the sum of one of them, or 0 where a gate has no room for
// it. In an all-of, without one of them not even the most that the sum can be suffices; in an any-of, one makes up for the least.
func weigh(n *node, inner *sum, others int) int {
	least, most := inner.span()
	weight := max(1, inner.threshold-least)
	if n.k == len(n.of) {
		weight = max(1, most-inner.threshold+1)
	}
	if most-least+weight*others >= 512 || max(inner.threshold, -inner.threshold)+weight*others > 512 {
		return 0
	}
	return weight
}

// signal makes the gate of a condition, unless it is a comparison or there is one already.
func (c *compiler) signal(n *node) (signal, error) {
	if n.leaf != nil {
		if n.negated {
			return n.leaf.signal.not(), nil
		}
		return n.leaf.signal, nil
	}
	key := n.plain().key()
	of, ok := c.made[key]
	if !ok {
		s, err := c.sum(n.plain())
		if err != nil {
			return signal{}, err
		}
		if of, err = c.gate(n, s); err != nil {
			return signal{}, err
		}
		c.made[key] = of
	}
	of.negated = n.negated
	return of, nil
}

// gate adds a gate.
func (c *compiler) gate(n *node, s *sum) (signal, error) {
	p := &c.template.Program
	if len(p.Gates) == circuits.Gates {
		return signal{}, c.source.fault(n.at.ID(), fmt.Sprintf("%d gates", circuits.Gates), "too many conditions nested in one another")
	}
	g := circuits.Gate{Threshold: s.threshold}
	for of, weight := range s.weights {
		if weight == 0 {
			continue
		}
		weights := map[byte]*[]int{'a': &g.Atoms, 't': &g.Texts, 'g': &g.Gates}[of.kind]
		if missing := of.index + 1 - len(*weights); missing > 0 {
			*weights = append(*weights, slices.Repeat([]int{0}, missing)...)
		}
		(*weights)[of.index] = weight
	}
	p.Gates = append(p.Gates, g)
	return signal{kind: 'g', index: len(p.Gates) - 1}, nil
}
