package main

import (
	"fmt"
	"slices"
	"strings"
)

// weakening replaces a piece of source by a weaker one. The text around the piece, which « and » enclose, stands in the file once.
type weakening struct {
	file, group string
	text        string // without « and » all of it is replaced
	weaker      string
	kind        string // the type of an expression; "" for a statement
}

const (
	variable  = "frontend.Variable"
	statement = ""
	again     = "of the mutant before"
)

// weakenings are what the rules of plant.go do not make. Wider sums in atoms and gates are none: the bit that is read stays the same,
// as nothing wraps. Nor is a quotient of some bits more.
var weakenings = []weakening{
	{"place.go", "subjectKey", "api.ToBinary(quotient, «quotientBits»)", "254", "int"},
	{"place.go", "subjectKey", "api.ToBinary(key, «keyBits»)", "keyBits + 1", "int"},
	{"place.go", "subjectKey", "api.ToBinary(key, «keyBits»)", "253", "int"},
	{"place.go", "epochRoot", "current = «hash(api, UseNode, first, second, third)»", "skippable(api, i, s0, current, first, second, third)", variable},

	{"membership.go", "match", "api.AssertIsBoolean(present)", "api.AssertIsEqual(api.Mul(present, api.Sub(present, 1), api.Sub(present, 2)), 0)", statement},
	{"membership.go", "match", "api.AssertIsBoolean(present)", "api.AssertIsEqual(api.Mul(present, api.Sub(present, 1), api.Sub(present, 3)), 0)", statement},

	{"columns.go", "newColumns", "api.ToBinary(code, «numericBits»)", "numericBits + 1", "int"},
	{"columns.go", "newColumns", "api.ToBinary(code, «numericBits»)", "128", "int"},
	{"columns.go", "columnInputs.bind", "api.AssertIsEqual(api.Mul(api.Sub(1, present), values), 0)", "notAll(api, present, c)", statement},
	{"columns.go", "columnInputs.disclose", "api.AssertIsEqual(api.Mul(mask[i], c.column(i)), disclosed[i])",
		"api.AssertIsEqual(api.Mul(mask[i], api.Sub(c.column(i), disclosed[i])), 0)", statement},
	{"columns.go", "columnInputs.disclose", "api.AssertIsEqual(api.Mul(mask[i], c.column(i)), disclosed[i])",
		"api.AssertIsEqual(api.Mul(disclosed[i], api.Sub(c.column(i), disclosed[i])), 0)", statement},

	// The parts of the statement, each about a subject, bucket or record of its own.
	{"statement.go", "Statement.Define", "tagIn(api, «key», s.TagNonce)", "unbound(api, key)", variable},
	{"statement.go", "Statement.Define", "match(api, &s.Bucket, «key»)", "unbound(api, key)", variable},
	{"statement.go", "Statement.Define", "scopeNames(api, s.ScopeKey, «key», s.Scope)", "unbound(api, key)", variable},
	{"names.go", "scopeNames", "UseNullifier, «scopeKey», key", "unbound(api, scopeKey)", variable},
	{"names.go", "scopeNames", "scopeKey, key, «scope»))", "unbound(api, scope)", variable},
	{"statement.go", "Statement.Define", "&s.Bucket), «&s.Digits», &s.Siblings", "unboundDigits(api, &s.Digits)", "*[Levels]DigitInputs"},
	{"statement.go", "Statement.Define", "bucketHash(api, «&s.Bucket»)", "unboundBucket(api, &s.Bucket)", "*[Slots]SlotInputs"},
	{"statement.go", "Statement.Define", "«newColumns(api, s.Numeric, s.Text)»", "unrangedColumns(api, s)", "*columnInputs"},
	{"statement.go", "Statement.Define", "verdict(api, «columns», present)", "unboundColumns(api, columns)", "*columnInputs"},
	{"statement.go", "Statement.Define", "verdict(api, columns, «present»)", "unbound(api, present)", variable},
	{"statement.go", "Statement.Define", "«columns».disclose", "unboundColumns(api, columns)", "*columnInputs"},
	{"statement.go", "Statement.Define", "columns.bind(api, «present»,", "unbound(api, present)", variable},
	{"statement.go", "Statement.Define", "columns.bind(api, present, «commitment»,", "unbound(api, commitment)", variable},
	{"statement.go", "Statement.Define", "api.AssertIsEqual(s.Verdict, s.Program.verdict(api, columns, present))",
		"api.AssertIsEqual(api.Mul(s.Verdict, api.Sub(s.Verdict, s.Program.verdict(api, columns, present))), 0)", statement},
	{"statement.go", "Statement.Define", "api.AssertIsEqual(s.Nullifier, nullifier)",
		"api.AssertIsEqual(api.Mul(s.Scope, api.Sub(s.Nullifier, nullifier)), 0)", statement},
	{"statement.go", "Statement.Define", "api.AssertIsEqual(s.Nullifier, nullifier)",
		"api.AssertIsEqual(api.Mul(s.Nullifier, api.Sub(s.Nullifier, nullifier)), 0)", statement},
	{"statement.go", "Statement.Define", "api.AssertIsEqual(s.ScopeKeyCommitment, scopeKeyCommitment)",
		"api.AssertIsEqual(api.Mul(s.Scope, api.Sub(s.ScopeKeyCommitment, scopeKeyCommitment)), 0)", statement},

	// The hash, natively and in the circuit at once, so that they agree.
	{"poseidon2.go", "newRoundKeys", "«seedPrefix+string(u)»", "seedPrefix", "string"},
	{"poseidon2.go", "Hash", "«s[0].Add(&s[0], &a)»\n\treturn", "", statement},
	{"compression.go", again, "return «api.Add(s[0], a)»", "s[0]", variable},

	// What the circuit relies on.
	{"layout.go", "layout", "«noKey\n»", "fr.Element{}", "fr.Element"},
	{"program.go", "Program.Used", "used := «p.reads()»", "[Columns]bool{}", "[Columns]bool"},
	{"program.go", "Gate.check", "sum += «max(w, -w)»", "w", "int"},
	{"program.go", "Gate.check", "if «sum >= gateWeightLimit»", "sum > gateWeightLimit", "bool"},
}

// weaken plants the weakenings.
func (p *planter) weaken(sources []*source) error {
	id := 0
	for _, w := range weakenings {
		at := slices.IndexFunc(sources, func(s *source) bool { return s.name == w.file })
		before, rest, _ := strings.Cut(w.text, "«")
		piece, after, marked := strings.Cut(rest, "»")
		if !marked {
			before, piece = "", w.text
		}
		if at < 0 || strings.Count(string(sources[at].text), before+piece+after) != 1 {
			return fmt.Errorf("%q is not exactly once in %s: the weakening of it is out of date", before+piece+after, w.file)
		}
		s := sources[at]
		from := strings.Index(string(s.text), before+piece+after) + len(before)
		pos := s.fset.File(s.file.Pos()).Pos(from)
		if w.group != again {
			id = p.add(s, w.group, pos, shortened(w.weaker)+" for "+shortened(piece))
			if w.weaker == "" {
				p.mutants[id-1].change = "left out: " + shortened(piece)
			}
		}
		if w.kind == statement {
			s.wrapRange(from, from+len(piece), fmt.Sprintf("if mutant == %d { %s } else { ", id, w.weaker), " }")
		} else {
			s.wrapRange(from, from+len(piece), fmt.Sprintf("func() %s { if mutant == %d { return %s }; return ", w.kind, id, w.weaker), " }()")
		}
		delete(p.unplanted, s.place(pos))
	}
	return nil
}
