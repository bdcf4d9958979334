package entry

import (
	"encoding/json"
	"fmt"
	"regexp"
	"unicode"
	"unicode/utf8"
)

// form reports whether s has min to max bytes, the first of them one of start, the others one of start or inner.
func form(s string, min, max int, start, inner func(c byte) bool) bool {
	for i := range len(s) {
		if c := s[i]; !start(c) && (i == 0 || !inner(c)) {
			return false
		}
	}
	return len(s) >= min && len(s) <= max
}

func lower(c byte) bool       { return c >= 'a' && c <= 'z' }
func digit(c byte) bool       { return c >= '0' && c <= '9' }
func lowerDigit(c byte) bool  { return lower(c) || digit(c) }
func hexDigit(c byte) bool    { return c >= 'a' && c <= 'f' || digit(c) }
func none(byte) bool          { return false }
func nameMark(c byte) bool    { return c == '.' || c == '_' || c == '-' }
func columnInner(c byte) bool { return c == '_' || digit(c) }

// Name reports whether s may name a dataset, a policy or an identifier scheme: 1 to 64 of a-z 0-9 . _ -, beginning with
// a letter or digit.
func Name(s string) bool { return form(s, 1, MaxName, lowerDigit, nameMark) }

// columnName reports whether s may name a column: 1 to 64 of a-z 0-9 _, beginning with a letter.
func columnName(s string) bool { return form(s, 1, MaxName, lower, columnInner) }

// hex32 reports whether s is 64 lower-case hexadecimal digits.
func hex32(s string) bool { return form(s, 64, 64, hexDigit, none) }

// memberForm is rare enough on the logs for a regular expression.
var memberForm = regexp.MustCompile(`^[A-Z]{2,8}/[a-z0-9-]{1,32}$`)

// MemberName reports whether s has the form of a member's name, GOV/tax.
func MemberName(s string) bool { return memberForm.MatchString(s) }

// check applies the limits of limits.go to a value of one of the known kinds.
func check(e Entry) error {
	c := checker{kind: e.Kind()}
	switch e := e.(type) {
	case DatasetDeclare:
		c.declare(e)
	case DatasetEpoch:
		c.epoch(e)
	case PolicyPublish:
		c.publish(e)
	case PolicyRetire:
		c.name("policy", e.Policy)
		c.version("version", e.Version)
		c.ending(e.Reason, e.Time)
	case AgreementOffer:
		c.terms(e.Terms)
		c.time("time", e.Time)
	case AgreementAccept:
		c.ref(e.Offer)
		c.terms(e.Terms)
		c.time("time", e.Time)
		c.approvals(e.Approvals)
	case AgreementReject:
		c.ref(e.Offer)
		c.ending(e.Reason, e.Time)
	case AgreementRevoke:
		c.index("accept", e.Accept)
		c.ending(e.Reason, e.Time)
	case AgreementWithdraw:
		c.index("offer", e.Offer)
		c.ending(e.Reason, e.Time)
	case GroupDefine:
		c.group(e)
	case ReceiptsBatch:
		c.batch(e)
	case CircuitKeys:
		c.keys(e)
	case ScopeOpen:
		c.scopeOpen(e)
	case ScopeClose:
		c.index("scope", e.Scope)
		c.ending(e.Reason, e.Time)
	case ClaimsBatch:
		c.claims(e)
	case ProgramPublish:
		c.program(e)
	case ProgramRetire:
		c.retireProgram(e)
	case CaseDecision:
		c.decision(e)
	default:
		c.fail("kind", "is none of this version")
	}
	return c.err
}

// A checker keeps the first complaint. Complaints name a field and the remedy, never the value.
type checker struct {
	kind string
	err  error
}

func (c *checker) fail(field, what string) {
	if c.err == nil {
		c.err = fmt.Errorf("%w: %s: %s %s", ErrEntry, c.kind, field, what)
	}
}

func (c *checker) name(field, s string) {
	if !Name(s) {
		c.fail(field, "must be 1 to 64 of a-z 0-9 . _ - and begin with a letter or digit")
	}
}

func (c *checker) member(field, s string) {
	if !MemberName(s) {
		c.fail(field, "must be a member's name like GOV/tax")
	}
}

func (c *checker) text(field, s string, min, max int) {
	if len(s) < min || len(s) > max {
		c.fail(field, fmt.Sprintf("must have %d to %d bytes", min, max))
	}
	if !utf8.ValidString(s) {
		c.fail(field, "must be valid UTF-8")
	}
	for _, r := range s {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			c.fail(field, "must not hold control characters")
			return
		}
	}
}

func (c *checker) hex(field, s string) {
	if !hex32(s) {
		c.fail(field, "must be 64 lower-case hexadecimal digits")
	}
}

func (c *checker) index(field string, n uint64) {
	if n > maxInteger {
		c.fail(field, "must not exceed 2^53-1")
	}
}

func (c *checker) version(field string, n int) {
	if n < 1 || n > 1_000_000 {
		c.fail(field, "must be 1 to 1000000")
	}
}

func (c *checker) time(field, s string) {
	if _, err := ParseTime(s); err != nil {
		c.fail(field, "must be UTC in whole seconds, like "+timeLayout)
	}
}

func (c *checker) ref(r Ref) {
	c.text("offer.origin", r.Origin, 1, MaxTitle)
	c.index("offer.index", r.Index)
	c.hex("offer.hash", r.Hash)
}

func (c *checker) keys(e CircuitKeys) {
	c.hex("circuit", e.Circuit)
	c.hex("verifying_key", e.VerifyingKey)
	c.text("key_kind", e.KeyKind, 1, MaxName)
	if e.Transcript != "" {
		c.hex("transcript", e.Transcript)
	}
	c.time("time", e.Time)
}

// ending checks what every entry has that ends something.
func (c *checker) ending(reason, at string) {
	c.text("reason", reason, 0, MaxText)
	c.time("time", at)
}

func (c *checker) epoch(e DatasetEpoch) {
	c.name("dataset", e.Dataset)
	c.index("declare", e.Declare)
	c.index("epoch", e.Epoch)
	c.hex("root", e.Root)
	c.time("time", e.Time)
}

func (c *checker) declare(e DatasetDeclare) {
	c.name("dataset", e.Dataset)
	c.text("title", e.Title, 1, MaxTitle)
	c.name("scheme", e.Scheme)
	c.time("time", e.Time)
	if len(e.Columns) == 0 || len(e.Columns) > MaxColumns {
		c.fail("columns", fmt.Sprintf("must be 1 to %d", MaxColumns))
		return
	}
	seen := make(map[string]bool)
	for _, col := range e.Columns {
		c.column(col)
		if seen[col.Name] {
			c.fail("columns", "must have distinct names")
		}
		seen[col.Name] = true
	}
}

func (c *checker) column(col Column) {
	if !columnName(col.Name) {
		c.fail("columns.name", "must be 1 to 64 of a-z 0-9 _ and begin with a letter")
	}
	switch col.Type {
	case "int", "decimal", "date", "bool", "enum", "code", "text":
	default:
		c.fail("columns.type", "must be int, decimal, date, bool, enum, code or text")
	}
	if col.Scale < 0 || col.Scale > 9 || col.Scale != 0 && col.Type != "decimal" {
		c.fail("columns.scale", "must be 0 to 9, and only for a decimal")
	}
	if (len(col.Codes) > 0) != (col.Type == "enum") || len(col.Codes) > MaxCodes {
		c.fail("columns.codes", fmt.Sprintf("must be 1 to %d for an enum, and absent otherwise", MaxCodes))
	}
	seen := make(map[string]bool)
	for _, code := range col.Codes {
		c.text("columns.codes", code, 1, MaxName)
		if seen[code] {
			c.fail("columns.codes", "must be distinct")
		}
		seen[code] = true
	}
	c.text("columns.title", col.Title, 0, MaxTitle)
	c.text("columns.unit", col.Unit, 0, MaxName)
}

func (c *checker) publish(e PolicyPublish) {
	c.name("policy", e.Policy)
	c.version("version", e.Version)
	c.name("dataset", e.Dataset)
	c.index("declare", e.Declare)
	c.text("title", e.Title, 1, MaxTitle)
	c.text("question", e.Question, 1, MaxText)
	c.text("source.language", e.Source.Language, 1, MaxName)
	c.text("source.text", e.Source.Text, 0, MaxSource)
	if len(e.Template) == 0 || !json.Valid(e.Template) || e.Template[0] != '{' {
		c.fail("template", "must be a JSON object")
	}
	c.time("time", e.Time)
	c.approvals(e.Approvals)
}

func (c *checker) terms(t Terms) {
	c.member("terms.requester", t.Requester)
	c.member("terms.holder", t.Holder)
	if t.Requester == t.Holder {
		c.fail("terms.holder", "must be another member than the requester")
	}
	if t.Group != "" {
		c.name("terms.group", t.Group)
	}
	c.name("terms.policy", t.Policy)
	c.version("terms.policy_version", t.PolicyVersion)
	c.index("terms.policy_index", t.PolicyIndex)
	c.text("terms.purpose", t.Purpose, 1, MaxText)
	c.text("terms.legal_basis", t.LegalBasis, 1, MaxText)
	c.text("terms.on_behalf_of", t.OnBehalfOf, 0, MaxTitle)
	if len(t.Disclose) > MaxColumns {
		c.fail("terms.disclose", fmt.Sprintf("must name at most %d columns", MaxColumns))
	}
	seen := make(map[string]bool)
	for _, col := range t.Disclose {
		if !columnName(col) || seen[col] {
			c.fail("terms.disclose", "must be distinct column names")
		}
		seen[col] = true
	}
	if t.Scope != "" {
		c.name("terms.scope", t.Scope)
	}
	c.hex("terms.budget_commitment", t.BudgetCommitment)
	c.asOf(t)
	c.time("terms.expires", t.Expires)
}

func (c *checker) batch(e ReceiptsBatch) {
	c.index("beat", e.Beat)
	c.hex("root", e.Root)
	if len(e.Epochs) > MaxDatasets {
		c.fail("epochs", fmt.Sprintf("must name at most %d datasets", MaxDatasets))
	}
	for name, i := range e.Epochs {
		c.name("epochs", name)
		c.index("epochs", i)
	}
	c.time("time", e.Time)
}
