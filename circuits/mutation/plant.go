package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is one change of the package, switched on by its id.
type mutant struct {
	id     int
	group  string // the function, which is a gadget or a check
	file   string
	line   int
	change string
	proof  bool // only the proof system can tell: the tests of package prover decide
}

// edit replaces source[from:to] by text. Edits at one place apply in the order of their rank.
type edit struct {
	from, to int
	text     string
	ends     bool // of a wrapped node: before what begins there
	rank     [2]int
}

// source is a file with its mutants planted.
type source struct {
	path, name string
	text       []byte
	fset       *token.FileSet
	file       *ast.File
	edits      []edit
}

// planter numbers mutants over all files.
type planter struct {
	variables map[string]int // functions that take an API, by how many variables they return; -1 for something else
	mutants   []mutant
	unplanted map[string]bool // calls that no rule knows, by place; a weakening must cover each
}

// plant reads the package's files and plants every mutant. It returns the files as planted.
func plant(dir string) ([]*source, []mutant, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	var sources []*source
	p := &planter{variables: map[string]int{}, unplanted: map[string]bool{}}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		s := &source{path: path, name: filepath.Base(path), fset: token.NewFileSet()}
		if s.text, err = os.ReadFile(path); err != nil {
			return nil, nil, err
		}
		if s.file, err = parser.ParseFile(s.fset, path, s.text, parser.SkipObjectResolution); err != nil {
			return nil, nil, err
		}
		p.declare(s)
		sources = append(sources, s)
	}
	for _, s := range sources {
		p.calls(s)
		p.refusals(s)
	}
	if err := p.weaken(sources); err != nil {
		return nil, nil, err
	}
	for place := range p.unplanted {
		return nil, nil, fmt.Errorf("%s makes constraints and has no mutant: add a weakening of it", place)
	}
	return sources, p.mutants, nil
}

// declare notes what the file's functions on an API return.
func (p *planter) declare(s *source) {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !takesAPI(f) {
			continue
		}
		n := 0
		if f.Type.Results != nil {
			for _, r := range f.Type.Results.List {
				if s.of(r.Type) != "frontend.Variable" {
					n = -1
					break
				}
				n += max(1, len(r.Names))
			}
		}
		if old, ok := p.variables[f.Name.Name]; ok && old != n {
			n = -1 // two methods of one name that differ: no rule
		}
		p.variables[f.Name.Name] = n
	}
}

func takesAPI(f *ast.FuncDecl) bool {
	for _, field := range f.Type.Params.List {
		for _, name := range field.Names {
			if name.Name == "api" {
				return true
			}
		}
	}
	return false
}

func (s *source) of(n ast.Node) string { return string(s.text[s.offset(n.Pos()):s.offset(n.End())]) }

func (s *source) offset(p token.Pos) int { return s.fset.Position(p).Offset }

// add numbers a mutant.
func (p *planter) add(s *source, group string, at token.Pos, change string) int {
	m := mutant{id: len(p.mutants) + 1, group: group, file: s.name, line: s.fset.Position(at).Line, change: change}
	m.proof = strings.Contains(change, "s.Context")
	p.mutants = append(p.mutants, m)
	return m.id
}

// wrap puts text around a node: around what is wrapped already, if it is the same node.
func (s *source) wrap(n ast.Node, before, after string) {
	s.wrapRange(s.offset(n.Pos()), s.offset(n.End()), before, after)
}

func (s *source) wrapRange(from, to int, before, after string) {
	seq := len(s.edits)
	s.edits = append(s.edits, edit{from, from, before, false, [2]int{-to, -seq}}, edit{to, to, after, true, [2]int{-from, seq}})
}

// calls plants mutants at every call on an API or with one.
func (p *planter) calls(s *source) {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || !takesAPI(f) {
			continue
		}
		var stack []ast.Node
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			if call, ok := n.(*ast.CallExpr); ok {
				p.call(s, receiver(f)+f.Name.Name, call, stack)
			}
			stack = append(stack, n)
			return true
		})
	}
}

// call plants the mutants of one call; parents are the nodes around it, the outermost first.
func (p *planter) call(s *source, group string, call *ast.CallExpr, parents []ast.Node) {
	name, method := callee(call)
	if name == "" {
		return
	}
	text, at := shortened(s.of(call)), call.Pos()
	var parent ast.Node = &ast.BadExpr{}
	if len(parents) > 0 {
		parent = parents[len(parents)-1]
	}
	halves := p.halves(s, group, name, method, call, text)
	if _, ok := parent.(*ast.ExprStmt); ok {
		s.wrap(parent, fmt.Sprintf("if mutant != %d { ", p.add(s, group, at, "left out: "+text)), " }")
		return
	}
	if name == "hash" {
		p.otherUse(s, group, call, text)
	}
	results, ok := p.variables[name]
	if !ok && method && slices.Contains(single, name) {
		results = 1
	}
	switch index, ok := parent.(*ast.IndexExpr); {
	case ok:
		s.wrap(index, fmt.Sprintf("free(api, %d, ", p.add(s, group, at, "any value for "+shortened(s.of(index)))), ")")
	case halves && name == "ToBinary": // all the bits are used: a rule for those is missing
		p.unplanted[s.place(at)] = true
	case results == 1:
		s.wrap(call, fmt.Sprintf("free(api, %d, ", p.add(s, group, at, "any value for "+text)), ")")
	case results == 2:
		first, second := p.add(s, group, at, "any first value for "+text), p.add(s, group, at, "any second value for "+text)
		s.wrap(call, "func() (frontend.Variable, frontend.Variable) { x, y := ",
			fmt.Sprintf("; return free(api, %d, x), free(api, %d, y) }()", first, second))
	default:
		p.unplanted[s.place(at)] = true
	}
}

func (s *source) place(at token.Pos) string {
	return fmt.Sprintf("%s:%d", s.name, s.fset.Position(at).Line)
}

// single are the methods of an API that give one variable. (ToBinary's bits are one by one.)
var single = []string{"Add", "Sub", "Mul", "Neg", "IsZero", "Select", "Div", "Inverse"}

// callee names what is called on an API (method of it) or with one; "" for another call.
func callee(call *ast.CallExpr) (name string, method bool) {
	onAPI := func(e ast.Expr) bool { id, ok := e.(*ast.Ident); return ok && id.Name == "api" }
	if f, ok := call.Fun.(*ast.SelectorExpr); ok {
		name, method = f.Sel.Name, true
		if onAPI(f.X) {
			return name, true
		}
	} else if f, ok := call.Fun.(*ast.Ident); ok {
		name = f.Name
	}
	if slices.ContainsFunc(call.Args, onAPI) {
		return name, method
	}
	return "", false
}

// halves plants the halves of gnark's two hinted gadgets.
func (p *planter) halves(s *source, group, name string, method bool, call *ast.CallExpr, text string) bool {
	what := map[string][2]string{
		"ToBinary": {"digits that are no bits in ", "bits of another number in "},
		"IsZero":   {"0 for a 0 in ", "1 for other than 0 in "},
	}[name]
	if !method || what[0] == "" {
		return false
	}
	first, second := p.add(s, group, call.Pos(), what[0]+text), p.add(s, group, call.Pos(), what[1]+text)
	with := map[string]string{"ToBinary": "toBinary", "IsZero": "isZero"}[name]
	s.edits = append(s.edits, edit{s.offset(call.Pos()), s.offset(call.Lparen) + 1, fmt.Sprintf("%s(api, %d, %d, ", with, first, second), false, [2]int{1, 0}})
	return true
}

// otherUse plants another permutation in a hash.
func (p *planter) otherUse(s *source, group string, call *ast.CallExpr, text string) {
	use, ok := call.Args[1].(*ast.Ident)
	if !ok || !strings.HasPrefix(use.Name, "Use") {
		return
	}
	other := "UseTag"
	if use.Name == other {
		other = "UseNode"
	}
	id := p.add(s, group, call.Pos(), other+" in "+text)
	s.wrap(use, fmt.Sprintf("func() Use { if mutant == %d { return %s }; return ", id, other), " }()")
}

// refusals leaves out each refusal of what the circuit relies on: well-formed programs, public values in range, secrets that fit.
func (p *planter) refusals(s *source) {
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil || !strings.HasPrefix(strings.ToLower(f.Name.Name), "check") {
			continue
		}
		ast.Inspect(f.Body, func(n ast.Node) bool {
			r, ok := n.(*ast.ReturnStmt)
			if !ok || len(r.Results) != 1 || n == f.Body.List[len(f.Body.List)-1] {
				return true
			}
			call, ok := r.Results[0].(*ast.CallExpr)
			if !ok || strings.Contains(s.of(call), ", err)") {
				return true // passes on what another check says
			}
			id := p.add(s, receiver(f)+f.Name.Name, r.Pos(), "left out: "+shortened(s.of(r)))
			s.wrap(r, fmt.Sprintf("if mutant != %d { ", id), " }")
			return true
		})
	}
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	t := f.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	return t.(*ast.Ident).Name + "."
}

// shortened is a call on one line, for the table.
func shortened(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > 80 {
		text = text[:77] + "..."
	}
	return text
}

// planted returns the file's text with its edits made.
func (s *source) planted() []byte {
	slices.SortStableFunc(s.edits, func(a, b edit) int {
		return cmp.Or(a.from-b.from, order(b.ends)-order(a.ends), a.rank[0]-b.rank[0], a.rank[1]-b.rank[1])
	})
	var out []byte
	at := 0
	for _, e := range s.edits {
		out = append(append(out, s.text[at:e.from]...), e.text...)
		at = e.to
	}
	return append(out, s.text[at:]...)
}

func order(b bool) int {
	if b {
		return 1
	}
	return 0
}
