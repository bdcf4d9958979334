// Package program decides cases by rules over the verdicts of several policies: the document that an agency publishes, the
// cases that are decided by it, and the decision document that anyone can verify and a person can contest.
package program

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/entry"
)

// Language names the form that programs are written in here; a published program carries it with its source.
const Language = "grille-program/1"

// ErrProgram reports a program that cannot be published or run; the message says where and what would be right.
var ErrProgram = errors.New("not a program")

// Applicant is the role of a check's subject where the document names none.
const Applicant = "applicant"

// A Program is a document that was read and checked. It is immutable and safe for concurrent use.
type Program struct {
	Name    string
	Version int // from 1
	Title   string
	Checks  []Check
	Notice  time.Duration // from a decision to its effect
	Review  bool          // a person decides each case
	Scope   *Scope        // what it grants can be claimed once in; nil: nowhere
	Source  string        // the document

	rule *rule
}

// A Check is one question of a program.
type Check struct {
	Name       string // what the rule calls its verdict
	Holder     string
	Policy     string
	Version    int // of the policy, from 1
	Purpose    string
	LegalBasis string
	MaxAge     time.Duration // oldest epoch accepted, whole seconds; 0: any
	Timeout    time.Duration // how long the same query is sent again while there is no reply, whole seconds, at most an hour
	Subject    string        // role: whom of an application the question is about
}

// A Scope says that a satisfied answer to one check is a claim, which can be made once in a period. The check's holder keeps the register.
type Scope struct {
	Check  string
	Period string
}

type documentScope struct {
	Check  string `yaml:"check"`
	Period string `yaml:"period"`
}

type document struct {
	Program    string          `yaml:"program"`
	Version    int             `yaml:"version"`
	Title      string          `yaml:"title"`
	Purpose    string          `yaml:"purpose"`
	LegalBasis string          `yaml:"legal_basis"`
	Checks     []documentCheck `yaml:"checks"`
	Rule       string          `yaml:"rule"`
	Notice     string          `yaml:"notice"`
	Review     bool            `yaml:"review"`
	Scope      *documentScope  `yaml:"scope"`
}

type documentCheck struct {
	Name       string `yaml:"name"`
	Holder     string `yaml:"holder"`
	Policy     string `yaml:"policy"`
	Version    int    `yaml:"version"`
	Purpose    string `yaml:"purpose"`
	LegalBasis string `yaml:"legal_basis"`
	MaxAge     string `yaml:"max_age"`
	Timeout    string `yaml:"timeout"`
	Subject    string `yaml:"subject"`
}

// Parse reads a program from YAML, strictly:
//
//	program: winter-fuel
//	version: 1
//	title: Winter fuel payment
//	purpose: Deciding applications for the winter fuel payment   # of every check that names none
//	legal_basis: Social Fund Winter Fuel Payment Regulations
//	checks:
//	  - {name: aged, holder: GOV/civil, policy: aged-66, version: 1, max_age: 30d}
//	  - {name: poor, holder: GOV/tax, policy: low-income, version: 2, timeout: 2m}
//	rule: aged == satisfied && poor != not_satisfied
//	notice: 14d      # optional: from the decision to its effect
//	review: false    # optional: a person decides each case
//	scope: {check: aged, period: 2026}  # optional: the check is asked last, and claims in the program's scope of that period, once
//
// Durations are whole numbers with s, m, h or d. Unknown and repeated names are refused. Errors wrap ErrProgram and name line
// and column; those in the rule, its line and column in the document.
func Parse(data []byte) (*Program, error) {
	if len(data) > MaxDocument {
		return nil, fmt.Errorf("reading a program of %d bytes, at most %d: %w", len(data), MaxDocument, ErrProgram)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("reading a program: not UTF-8: %w", ErrProgram)
	}
	var d document
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("reading a program: %w: %s", ErrProgram, yaml.FormatError(err, false, true))
	}
	p, err := d.convert()
	if err == nil {
		p.Source = string(data)
		p.rule, err = compile(d.Rule, p.Checks)
	}
	if err == nil && p.Scope != nil && !p.claims() {
		err = faultf("$.rule", "rule: grants without check %s being satisfied, which is the claim", p.Scope.Check)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a program: %w: %w", ErrProgram, locate(data, err))
	}
	return p, nil
}

// FromEntry reads a published program, whose document must say what the entry says.
func FromEntry(e entry.ProgramPublish) (*Program, error) {
	if e.Source.Language != Language {
		return nil, fmt.Errorf("reading a published program: its language is not %s: %w", Language, ErrProgram)
	}
	p, err := Parse([]byte(e.Source.Text))
	if err != nil {
		return nil, err
	}
	if p.Name != e.Program || p.Version != e.Version || p.Title != e.Title {
		return nil, fmt.Errorf("reading a published program: name, version or title are not the entry's: %w", ErrProgram)
	}
	return p, nil
}

// Entry is the ledger entry that publishes the program.
func (p *Program) Entry(now time.Time) entry.ProgramPublish {
	return entry.ProgramPublish{Program: p.Name, Version: p.Version, Title: p.Title,
		Source: entry.Source{Language: Language, Text: p.Source}, Time: entry.FormatTime(now)}
}

// Roles are those whose subject ids an application names, ascending.
func (p *Program) Roles() []string {
	var roles []string
	for _, c := range p.Checks {
		roles = append(roles, c.Subject)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// fault is a complaint about one place of a document.
type fault struct {
	path string // YAML path
	text string
	// line and column from 1 inside the value at path, where it is known.
	line, column int
}

func (f *fault) Error() string { return f.text }

func faultf(path, format string, args ...any) error {
	return &fault{path: path, text: fmt.Sprintf(format, args...)}
}

func (d *document) convert() (*Program, error) {
	p := &Program{Name: d.Program, Version: d.Version, Title: d.Title, Review: d.Review}
	switch {
	case !entry.Name(d.Program):
		return nil, faultf("$.program", "program: must be 1 to %d of a-z 0-9 . _ - and begin with a letter or digit", entry.MaxName)
	case d.Version < 1 || d.Version > 1_000_000:
		return nil, faultf("$.version", "version: must be 1 to 1000000")
	case !line(d.Title, entry.MaxTitle):
		return nil, faultf("$.title", "title: must be one line of 1 to %d bytes", entry.MaxTitle)
	case len(d.Checks) == 0 || len(d.Checks) > MaxChecks:
		return nil, faultf("$.checks", "checks: must be 1 to %d, not %d", MaxChecks, len(d.Checks))
	}
	var err error
	if p.Notice, err = duration("$.notice", "notice", d.Notice, 0, maxNotice); err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for i, c := range d.Checks {
		at := fmt.Sprintf("$.checks[%d]", i)
		check, err := c.convert(at, d)
		if err != nil {
			return nil, err
		}
		if seen[check.Name] {
			return nil, faultf(at+".name", "name: another check is called %s", check.Name)
		}
		seen[check.Name] = true
		p.Checks = append(p.Checks, check)
	}
	if d.Scope == nil {
		return p, nil
	}
	switch p.Scope = (*Scope)(d.Scope); {
	case !seen[p.Scope.Check]:
		return nil, faultf("$.scope.check", "scope: check must be the name of a check, whose holder keeps the register")
	case !entry.Name(p.Scope.Period):
		return nil, faultf("$.scope.period", "scope: period must be 1 to %d of a-z 0-9 . _ - and begin with a letter or digit", entry.MaxName)
	}
	return p, nil
}

func (c *documentCheck) convert(at string, d *document) (Check, error) {
	out := Check{Name: c.Name, Holder: c.Holder, Policy: c.Policy, Version: c.Version, Purpose: c.Purpose, LegalBasis: c.LegalBasis, Subject: c.Subject}
	if out.Purpose == "" {
		out.Purpose = d.Purpose
	}
	if out.LegalBasis == "" {
		out.LegalBasis = d.LegalBasis
	}
	if out.Subject == "" {
		out.Subject = Applicant
	}
	switch {
	case !identifier(c.Name):
		return out, faultf(at+".name", "name: must be 1 to 32 of a-z 0-9 _, begin with a letter, and be no word of the rule's language or verdict")
	case !entry.MemberName(c.Holder):
		return out, faultf(at+".holder", "holder: must be a member's name like GOV/tax")
	case !entry.Name(c.Policy):
		return out, faultf(at+".policy", "policy: must be the name of a policy of the holder")
	case c.Version < 1 || c.Version > 1_000_000:
		return out, faultf(at+".version", "version: must be the policy's, 1 to 1000000: a program asks the same question for as long as it stands")
	case !line(out.Purpose, bundle.MaxText):
		return out, faultf(at+".purpose", "purpose: must be one line of 1 to %d bytes, here or for the whole program", bundle.MaxText)
	case !line(out.LegalBasis, bundle.MaxText):
		return out, faultf(at+".legal_basis", "legal_basis: must be one line of 1 to %d bytes, here or for the whole program", bundle.MaxText)
	case !identifier(out.Subject):
		return out, faultf(at+".subject", "subject: must be 1 to 32 of a-z 0-9 _ and begin with a letter: a role such as applicant or spouse")
	}
	var err error
	if out.MaxAge, err = duration(at+".max_age", "max_age", c.MaxAge, 0, maxNotice*100); err != nil {
		return out, err
	}
	out.Timeout, err = duration(at+".timeout", "timeout", c.Timeout, defaultTimeout, bundle.MaxLife)
	return out, err
}

// line reports whether s is one line of 1 to max bytes.
func line(s string, max int) bool {
	return s != "" && len(s) <= max && !strings.ContainsFunc(s, unicode.IsControl)
}

// identifier reports whether s may name a check or a role.
func identifier(s string) bool {
	if s == "" || len(s) > 32 || s[0] < 'a' || s[0] > 'z' || slices.Contains(reserved, s) {
		return false
	}
	return !strings.ContainsFunc(s, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' })
}

// duration reads a whole number with its unit; an empty text is the default.
func duration(path, field, text string, otherwise, most time.Duration) (time.Duration, error) {
	if text == "" {
		return otherwise, nil
	}
	units := map[byte]time.Duration{'s': time.Second, 'm': time.Minute, 'h': time.Hour, 'd': 24 * time.Hour}
	unit := units[text[len(text)-1]]
	digits := text[:len(text)-1]
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || unit == 0 || n == 0 || strconv.FormatUint(n, 10) != digits || n > uint64(most/unit) {
		return 0, faultf(path, "%s: must be a whole number with s, m, h or d, like 14d, up to %d h", field, most/time.Hour)
	}
	return time.Duration(n) * unit, nil
}

// locate adds line and column of a fault's place, or of the nearest place above it that the document has.
func locate(data []byte, err error) error {
	var f *fault
	if !errors.As(err, &f) {
		return err
	}
	file, parsing := parser.ParseBytes(data, 0)
	if parsing != nil {
		return err
	}
	for path := f.path; path != "$" && path != ""; path = path[:strings.LastIndexAny(path, ".[")] {
		p, err := yaml.PathString(path)
		if err != nil {
			continue
		}
		node, err := p.FilterFile(file)
		if err != nil || node == nil {
			continue
		}
		line, column := f.within(node, string(data))
		return fmt.Errorf("line %d, column %d: %w", line, column, f)
	}
	return fmt.Errorf("line 1, column 1: %w", f)
}

// within is the place in the document of a place inside the value at node: exactly where the value stands as it is, else its start.
func (f *fault) within(node ast.Node, data string) (int, int) {
	at := node.GetToken().Position
	if f.line == 0 {
		return at.Line, at.Column
	}
	switch n := node.(type) {
	case *ast.LiteralNode:
		lines := strings.Split(data, "\n")
		first := n.Start.Position.Line // the block begins on the line after its sign
		if n.Start.Value != "|" && !strings.HasPrefix(n.Start.Value, "|") || first+f.line-1 >= len(lines) {
			return n.Start.Position.Line, n.Start.Position.Column
		}
		indent := 0
		for _, l := range lines[first:] {
			if text := strings.TrimLeft(l, " "); text != "" {
				indent = len(l) - len(text)
				break
			}
		}
		return first + f.line, indent + f.column
	case *ast.StringNode:
		if f.line == 1 && strings.HasPrefix(lineAt(data, at.Line, at.Column), firstLine(n.Value)) {
			return at.Line, at.Column + f.column - 1
		}
	}
	return at.Line, at.Column
}

func firstLine(s string) string {
	first, _, _ := strings.Cut(s, "\n")
	return first
}

// lineAt is the rest of a line from a column on, both from 1, counted in characters.
func lineAt(data string, line, column int) string {
	lines := strings.Split(data, "\n")
	if line > len(lines) {
		return ""
	}
	runes := []rune(lines[line-1])
	return string(runes[min(max(column-1, 0), len(runes)):])
}
