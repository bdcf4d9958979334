package policy

import (
	"fmt"
	"math/big"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/schema"
)

// table compiles table(column, {key: value, ...}, default) to a lookup; the result is a form. Values with decimals are kept as
// whole numbers of the finest of them.
func (c *compiler) table(e ast.Expr) (*form, error) {
	args := e.AsCall().Args()
	c.pending--
	if args[0].Kind() != ast.IdentKind || args[1].Kind() != ast.MapKind {
		return nil, c.source.fault(e.ID(), "", "table(...) wants a column and {key: value, ...}")
	}
	column := c.column(args[0])
	rows := args[1].AsMap().Entries()
	if len(rows) == 0 || len(rows) > circuits.LookupPairs {
		return nil, c.source.fault(args[1].ID(), fmt.Sprintf("%d rows", circuits.LookupPairs), "a table of %d rows", len(rows))
	}
	values := make([]*big.Rat, 0, len(rows)+1)
	places := make([]ast.Expr, 0, len(rows)+1)
	for _, row := range rows {
		places = append(places, row.AsMapEntry().Value())
	}
	places = append(places, args[2:]...)
	for _, at := range places {
		v, err := c.form(at)
		if err != nil {
			return nil, err
		}
		if !v.isConstant() || c.source.GetType(at.ID()).String() == "date" {
			return nil, c.source.fault(at.ID(), "", "a table's values are numbers")
		}
		values = append(values, v.constant)
	}
	unit := wholeFactor(append(slices.Clone(values), big.NewRat(1, 1))) // never coarser than 1
	lookup := circuits.Lookup{Column: column.position, MissIsMissing: len(args) == 2}
	for i, v := range values {
		n := new(big.Rat).Mul(v, unit).Num()
		if !n.IsInt64() {
			return nil, c.source.fault(places[i].ID(), "64 bits", "overflow: as a whole number this is %s", n)
		}
		if i == len(rows) {
			lookup.Default = n.Int64()
			break
		}
		key, err := c.value(column, rows[i].AsMapEntry().Key())
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(lookup.Pairs, func(p circuits.Pair) bool { return p.Key == key.Number }) {
			return nil, c.source.fault(rows[i].AsMapEntry().Key().ID(), "", "this key stands twice")
		}
		lookup.Pairs = append(lookup.Pairs, circuits.Pair{Key: key.Number, Value: n.Int64()})
	}
	index, ok := c.lookup(lookup)
	if !ok {
		return nil, c.source.fault(e.ID(), fmt.Sprintf("%d tables", circuits.Lookups), "too many different tables")
	}
	f := constant(new(big.Rat))
	f.lookups[index] = new(big.Rat).Inv(unit)
	f.reads = []int{column.position}
	return f, nil
}

// lookup adds a table, or finds it; false means that there is no room.
func (c *compiler) lookup(l circuits.Lookup) (int, bool) {
	p := &c.template.Program
	name := fmt.Sprint(l)
	index, ok := c.tables[name]
	if !ok {
		if len(p.Lookups) == circuits.Lookups {
			return 0, false
		}
		p.Lookups = append(p.Lookups, l)
		index = len(p.Lookups) - 1
		c.tables[name] = index
	}
	return index, true
}

// in compiles membership: of a text as tests of the texts, of any other column as tables that give 1 for the members and 0 else, and
// of a form as equalities.
func (c *compiler) in(e, list ast.Expr) (*node, error) {
	if list.Kind() != ast.ListKind {
		return nil, c.source.fault(list.ID(), "", "in wants a list of constants in brackets")
	}
	members := list.AsList().Elements()
	if len(members) == 0 {
		return nil, c.source.fault(list.ID(), "", "in wants at least one value")
	}
	if e.Kind() != ast.IdentKind && c.source.GetType(e.ID()) == types.BoolType {
		return nil, c.source.fault(e.ID(), "", "in wants a column or a number before it")
	}
	if e.Kind() == ast.IdentKind && c.column(e).Type != schema.Text && len(members) > 1 {
		n, err := c.inTables(e, members)
		if n != nil || err != nil {
			return n, err
		}
	}
	var of []*node
	for _, m := range members {
		var n *node
		var err error
		if e.Kind() == ast.IdentKind {
			n, err = c.equalsConstant(m, c.column(e), e, m)
		} else {
			n, err = c.compare(m, operators.Equals, e, m)
		}
		if err != nil {
			return nil, err
		}
		of = append(of, n)
	}
	return connect(e, 1, of), nil
}

// inTables uses the tables that no table(...) of the text wants. Without enough of them it returns nil.
func (c *compiler) inTables(e ast.Expr, members []ast.Expr) (*node, error) {
	column := c.column(e)
	var pairs []circuits.Pair
	for _, m := range members {
		v, err := c.value(column, m)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(pairs, func(p circuits.Pair) bool { return p.Key == v.Number }) {
			pairs = append(pairs, circuits.Pair{Key: v.Number, Value: 1})
		}
	}
	slices.SortFunc(pairs, func(a, b circuits.Pair) int { return big.NewInt(a.Key).Cmp(big.NewInt(b.Key)) })
	if (len(pairs)+circuits.LookupPairs-1)/circuits.LookupPairs > circuits.Lookups-c.pending-len(c.template.Program.Lookups) {
		if len(pairs) > circuits.Atoms {
			return nil, c.source.fault(e.ID(), fmt.Sprintf("%d tables of %d rows", circuits.Lookups, circuits.LookupPairs),
				"too many lists and tables, or too long ones")
		}
		return nil, nil
	}
	f := constant(big.NewRat(-1, 1))
	f.reads = []int{column.position}
	for chunk := range slices.Chunk(pairs, circuits.LookupPairs) {
		index, _ := c.lookup(circuits.Lookup{Column: column.position, Pairs: chunk}) // there is room
		f.lookups[index] = big.NewRat(1, 1)
	}
	s, err := c.atLeastZero(f, e)
	if err != nil {
		return nil, err
	}
	return c.leaf(e, s, f.reads), nil
}
