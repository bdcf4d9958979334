package bundle

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/ledger/view"
)

// A Replica knows whole logs. With one, Verify proves what a header only asserts.
type Replica interface {
	// View returns the log as of size; nil when the replica does not hold that much of it.
	View(origin string, size uint64) *view.View
	// Inclusion returns the path from an entry to the root of the tree of that size.
	Inclusion(origin string, index, size uint64) ([]tlog.Hash, error)
}

// A Verifier checks bundles. It needs no network and keeps no state; it is safe for concurrent use.
type Verifier struct {
	Config  *network.Configuration // in force
	Chain   *network.Chain         // optional: the versions that led to it, for evidence made under one of them
	Proofs  VerifyingKeys
	Replica Replica // optional
}

// A Report is what a verified bundle says.
type Report struct {
	Verdict     circuits.Verdict `json:"verdict"`
	Policy      string           `json:"policy"`
	Version     int              `json:"policy_version"`
	Question    string           `json:"question"`
	Holder      string           `json:"holder"`
	Requester   string           `json:"requester"`
	Purpose     string           `json:"purpose"`
	LegalBasis  string           `json:"legal_basis"`
	Case        string           `json:"case,omitempty"`
	QueryID     string           `json:"query_id"`
	Circuit     string           `json:"circuit"`  // id
	KeyKind     string           `json:"key_kind"` // how the circuit's keys came about: who has to be trusted for them
	AsOf        string           `json:"as_of"`
	Epoch       uint64           `json:"epoch"` // number of the epoch answered from
	AnsweredAt  string           `json:"answered_at"`
	EpochTime   string           `json:"epoch_time"`
	Disclosed   []Value          `json:"disclosed,omitempty"`
	Cosigners   int              `json:"cosigners"`
	Currency    string           `json:"currency"` // how far it is shown that the entries were the newest
	Receipt     string           `json:"receipt"`  // promised or logged
	Answer      receipt.Hash     `json:"answer"`   // digest of the answer, which its receipt holds
	OpeningSeen bool             `json:"opening_checked"`
	Program     string           `json:"program,omitempty"` // of the scope claimed in
	Period      string           `json:"period,omitempty"`
	Nullifier   string           `json:"nullifier,omitempty"`
	Claim       string           `json:"claim,omitempty"` // of a satisfied answer to a query with a scope: how far the claim is shown
}

// A Value is a disclosed column as people write it.
type Value struct {
	Column string `json:"column"`
	Text   string `json:"text"`
}

// How much a report can say of currency.
const (
	CurrencyAsserted = "asserted by the holder"
	CurrencyBeat     = "current as of the last beat, asserted since"
	CurrencyReplica  = "current, checked against the replicated log"
)

// check carries what the steps learn from one another.
type check struct {
	*Verifier
	shared    *shared
	b         *Bundle
	key       ProofVerifier
	q         Query
	h         Header
	tree      tlog.Tree
	times     []time.Time
	dataset   entry.DatasetDeclare
	schema    *schema.Schema
	epoch     entry.DatasetEpoch
	next      *entry.DatasetEpoch
	policy    entry.PolicyPublish
	agreement entry.AgreementAccept
	group     *entry.GroupDefine
	scope     entry.ScopeOpen
	batch     *entry.ReceiptsBatch
	pub       *circuits.Public
	report    Report
}

// Configurations are those that evidence may have been made under, newest first.
func (v *Verifier) Configurations() []*network.Configuration {
	if v.Chain == nil {
		return []*network.Configuration{v.Config}
	}
	all := slices.Clone(v.Chain.Versions())
	slices.Reverse(all)
	return all
}

// under returns the verifier for evidence made under the configuration with that digest, if it is one of the chain.
func (v *Verifier) under(digest string) *Verifier {
	if v.Chain == nil {
		return v
	}
	cfg, ok := v.Chain.ByDigest(digest)
	if !ok {
		return v
	}
	then := *v
	then.Config = cfg
	return &then
}

// Verify checks a bundle in the order of DESIGN section 8. A refused bundle gives a *Refused with its stable reason.
func (v *Verifier) Verify(data []byte) (*Report, error) {
	c, err := v.begin(data, new(shared))
	if err != nil {
		return nil, err
	}
	if err := c.run(c.beforeProof()); err != nil {
		return nil, err
	}
	if err := c.proof(); err != nil {
		return nil, err
	}
	if err := c.run(c.afterProof()); err != nil {
		return nil, err
	}
	return &c.report, nil
}

func (v *Verifier) begin(data []byte, s *shared) (*check, error) {
	b, err := Decode(data)
	if err != nil {
		return nil, &Refused{Reason: ReasonEncoding, Err: err}
	}
	return &check{Verifier: v.under(b.Configuration.Digest), shared: s, b: b}, nil
}

func (c *check) beforeProof() []func() error {
	return []func() error{c.bodies, c.configuration, c.checkpoint, c.inclusions, c.references, c.approvals, c.querySignature, c.queryTerms,
		c.header, c.asOf, c.age, c.inForce, c.scopeOpen, c.program}
}

func (c *check) afterProof() []func() error {
	return []func() error{c.promise, c.receipt, c.claim, c.opening}
}

func (c *check) run(steps []func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *check) bodies() error {
	if c.b.Version != 1 {
		return refuse(ReasonEncoding, "bundle version %d, want 1", c.b.Version)
	}
	if err := c.b.Query.Peek(&c.q); err != nil {
		return refuse(ReasonEncoding, "reading the query: %w", err)
	}
	if err := c.q.Check(); err != nil {
		return &Refused{Reason: ReasonEncoding, Err: err}
	}
	if err := c.b.Header.Peek(&c.h); err != nil {
		return refuse(ReasonEncoding, "reading the header: %w", err)
	}
	return nil
}

func (c *check) configuration() error {
	b, cfg := c.b, c.Config
	if b.Configuration.Version != cfg.Version || b.Configuration.Digest != c.shared.digest(cfg) {
		return refuse(ReasonConfiguration, "made under another network configuration than the one given")
	}
	if b.Instance != cfg.Instance || c.q.Instance != cfg.Instance || c.h.Instance != cfg.Instance {
		return refuse(ReasonConfiguration, "made in another instance")
	}
	if c.h.Origin != cfg.Origin(c.q.Holder) {
		return refuse(ReasonConfiguration, "the header's log is not the holder's")
	}
	expires, err := entry.ParseTime(cfg.Expires)
	if answered, e := entry.ParseTime(c.h.Time); err != nil || e == nil && answered.After(expires) {
		return refuse(ReasonConfiguration, "the network configuration had expired")
	}
	return c.circuit()
}

func (c *check) checkpoint() error {
	var err error
	c.tree, c.times, err = c.shared.head(c.Config, c.h.Origin, c.b.Checkpoint)
	if err != nil {
		return &Refused{Reason: ReasonCheckpoint, Err: err}
	}
	if uint64(c.tree.N) != c.h.Size {
		return refuse(ReasonCheckpoint, "the header is of another log size than the checkpoint")
	}
	c.report.Cosigners = len(c.times)
	return nil
}

func (c *check) inclusions() error {
	last := -1
	for _, e := range c.b.Entries {
		if int(min(e.Index, 1<<50)) <= last {
			return refuse(ReasonInclusion, "entries are not in rising order")
		}
		last = int(e.Index)
		if err := included(&e, c.tree); err != nil {
			return err
		}
	}
	return nil
}

func included(e *Entry, tree tlog.Tree) error {
	path := make([]tlog.Hash, len(e.Path))
	for i, h := range e.Path {
		if len(h) != tlog.HashSize {
			return refuse(ReasonInclusion, "a path hash of %d bytes", len(h))
		}
		path[i] = tlog.Hash(h)
	}
	if err := note.CheckInclusion(path, tree, e.Index, []byte(e.Body)); err != nil {
		return &Refused{Reason: ReasonInclusion, Err: err}
	}
	return nil
}

// references checks that the header names the entries given, no more and no fewer, and that they belong to one another.
func (c *check) references() error {
	if err := c.readEntries(); err != nil {
		return err
	}
	q, t := &c.q, &c.agreement.Terms
	switch {
	case c.epoch.Dataset != c.dataset.Dataset || c.epoch.Declare != c.h.Dataset:
		return refuse(ReasonReference, "the epoch is of another dataset")
	case c.next != nil && c.next.Dataset != c.dataset.Dataset:
		return refuse(ReasonReference, "the next epoch is of another dataset")
	case c.policy.Dataset != c.dataset.Dataset || c.policy.Declare != c.h.Dataset:
		return refuse(ReasonReference, "the policy is for another dataset or schema")
	case c.policy.Policy != q.Policy || c.policy.Version != q.PolicyVersion:
		return refuse(ReasonReference, "the policy is not the one asked")
	case t.PolicyIndex != c.h.Policy || t.Policy != q.Policy || t.PolicyVersion != q.PolicyVersion:
		return refuse(ReasonReference, "the agreement is about another policy")
	case (q.Scope == nil) != (c.h.Scope == nil) || q.Scope != nil && *q.Scope != Scope{c.scope.Program, c.scope.Period}:
		return refuse(ReasonReference, "the scope is not the one asked for")
	}
	if err := c.parties(); err != nil {
		return err
	}
	s, err := schema.FromDeclare(c.dataset)
	if err != nil {
		return refuse(ReasonReference, "reading the schema: %w", err)
	}
	c.schema = s
	return nil
}

func (c *check) readEntries() error {
	used := 0
	read := func(index uint64) (entry.Entry, error) {
		i, ok := slices.BinarySearchFunc(c.b.Entries, index, func(e Entry, at uint64) int {
			return int(int64(e.Index) - int64(at))
		})
		if !ok {
			return nil, refuse(ReasonReference, "an entry that the header names is missing")
		}
		used++
		e, err := c.shared.entry(c.b.Entries[i].Body)
		if err != nil {
			return nil, refuse(ReasonReference, "reading an entry: %w", err)
		}
		return e, nil
	}
	if err := errors.Join(into(read, c.h.Dataset, &c.dataset), into(read, c.h.Epoch, &c.epoch),
		into(read, c.h.Policy, &c.policy), into(read, c.h.Agreement, &c.agreement),
		named(read, c.h.Batch, &c.batch), named(read, c.h.Next, &c.next), named(read, c.h.Group, &c.group)); err != nil {
		return firstRefused(err)
	}
	if c.h.Scope != nil {
		if err := into(read, *c.h.Scope, &c.scope); err != nil {
			return err
		}
	}
	if used != len(c.b.Entries) {
		return refuse(ReasonReference, "the bundle carries entries that the header does not name")
	}
	return nil
}

func into[T entry.Entry](read func(uint64) (entry.Entry, error), index uint64, to *T) error {
	e, err := read(index)
	if err != nil {
		return err
	}
	t, ok := e.(T)
	if !ok {
		return refuse(ReasonReference, "entry %d is a %s, want a %s", index, e.Kind(), (*to).Kind())
	}
	*to = t
	return nil
}

// named is into for an entry that a header may name or not.
func named[T entry.Entry](read func(uint64) (entry.Entry, error), index *uint64, to **T) error {
	if index == nil {
		return nil
	}
	*to = new(T)
	return into(read, *index, *to)
}

func firstRefused(err error) error {
	var r *Refused
	if errors.As(err, &r) {
		return r
	}
	return err
}

func (c *check) querySignature() error {
	key, err := Key(c.Config, c.q.Requester)
	if err != nil {
		return &Refused{Reason: ReasonQuerySignature, Err: err}
	}
	if err := c.b.Query.Open(key, LabelQuery, &c.q); err != nil {
		return &Refused{Reason: ReasonQuerySignature, Err: err}
	}
	return nil
}

// queryTerms checks that the agreement in the bundle allows exactly this query.
func (c *check) queryTerms() error {
	q, t := &c.q, &c.agreement.Terms
	if q.Purpose != t.Purpose || q.LegalBasis != t.LegalBasis {
		return refuse(ReasonQueryTerms, "the agreement is for another purpose or legal basis")
	}
	for _, column := range q.Disclose {
		if !slices.Contains(t.Disclose, column) {
			return refuse(ReasonQueryTerms, "the agreement does not allow a column that was asked for")
		}
	}
	if day := q.Day(&c.epoch); day != "" && !t.AllowsAsOf(day) {
		return refuse(ReasonQueryTerms, "the agreement does not allow the date that was asked about")
	}
	if q.Scope != nil && q.Scope.Program != t.Scope {
		return refuse(ReasonQueryTerms, "the agreement does not allow to claim under this program")
	}
	return nil
}

func (c *check) holderKey() (ed25519.PublicKey, error) { return Key(c.Config, c.q.Holder) }

// header checks the holder's signature, and that its time and date are those of the cosignatures.
func (c *check) header() error {
	key, err := c.holderKey()
	if err != nil {
		return &Refused{Reason: ReasonHeader, Err: err}
	}
	if err := c.b.Header.Open(key, LabelHeader, &c.h); err != nil {
		return &Refused{Reason: ReasonHeader, Err: err}
	}
	if c.h.Version != 1 || c.h.Query != QueryDigest(&c.b.Query) {
		return refuse(ReasonHeader, "the header answers another query")
	}
	return c.checkTimes()
}

// clockAllowance is how far honest members' clocks may be apart (DESIGN section 7).
const clockAllowance = 5 * time.Second

// Window is how far the times of one event may be apart that honest members wrote down: the age of a fresh head and the clocks.
func Window(c *network.Configuration) time.Duration {
	return time.Duration(c.FreshnessSeconds)*time.Second + clockAllowance
}

func (c *check) checkTimes() error {
	median, err := Median(c.times)
	if err != nil {
		return &Refused{Reason: ReasonTimes, Err: err}
	}
	freshness := Window(c.Config)
	issued, expires, err := c.q.Times()
	if err != nil {
		return &Refused{Reason: ReasonTimes, Err: err}
	}
	answered, err := entry.ParseTime(c.h.Time)
	if err != nil {
		return &Refused{Reason: ReasonTimes, Err: err}
	}
	limit, err := entry.ParseTime(c.agreement.Terms.Expires)
	switch {
	case err != nil:
		return &Refused{Reason: ReasonTimes, Err: err}
	case answered.Before(median) || answered.Sub(median) > freshness:
		return refuse(ReasonTimes, "the header's time is not that of its checkpoint")
	case c.times[len(c.times)-1].Sub(c.times[0]) > freshness:
		return refuse(ReasonTimes, "the cosignatures are too far apart")
	case median.Before(issued.Add(-freshness)) || answered.After(expires.Add(clockAllowance)):
		return refuse(ReasonTimes, "the checkpoint is not of the time of the query")
	case c.q.AsOf == "" && c.q.Epoch == 0 && c.h.AsOf != AsOfDate(answered):
		return refuse(ReasonTimes, "the as-of date is not the date of the answer")
	case answered.After(limit):
		return refuse(ReasonTimes, "the agreement had expired")
	}
	c.report.AnsweredAt, c.report.AsOf = c.h.Time, c.h.AsOf
	return nil
}

func (c *check) age() error {
	made, err := entry.ParseTime(c.epoch.Time)
	if err != nil {
		return &Refused{Reason: ReasonAge, Err: err}
	}
	answered, _ := entry.ParseTime(c.h.Time)        // checkTimes read it
	if made.After(answered.Add(Window(c.Config))) { // it stands below the checkpoint, and would never be too old
		return refuse(ReasonAge, "the epoch is dated after the answer")
	}
	if limit := time.Duration(c.q.MaxAgeSeconds) * time.Second; limit > 0 && c.q.AgeAt(answered).Sub(made) > limit {
		return refuse(ReasonAge, "the epoch is older than the query accepts")
	}
	c.report.EpochTime, c.report.Epoch = c.epoch.Time, c.epoch.Epoch
	return nil
}

// inForce checks the header's claim that its entries were the newest: by the last beat's batch, and by the replica up to Size.
func (c *check) inForce() error {
	c.report.Currency = CurrencyAsserted
	if c.batch != nil && c.newest() {
		if newest, ok := c.batch.Epochs[c.dataset.Dataset]; ok && newest > c.h.Epoch {
			return refuse(ReasonSuperseded, "the last beat names a newer epoch")
		}
		if _, ok := c.batch.Epochs[c.dataset.Dataset]; ok && c.lastBeat() {
			c.report.Currency = CurrencyBeat
		}
	}
	if c.Replica == nil {
		return nil
	}
	return c.replicated()
}

// lastBeat reports whether the header's batch is one that an answer of its time can call the last: the batch of a beat is final two
// beats after it began, so that a third one cannot have passed. An older one shows nothing of what came after it.
func (c *check) lastBeat() bool {
	answered, _ := entry.ParseTime(c.h.Time)
	length := BeatLength(c.Config)
	return !receipt.BeatStart(c.batch.Beat+1, length).After(answered.Add(Window(c.Config))) &&
		!answered.After(receipt.BeatStart(c.batch.Beat+3, length).Add(clockAllowance))
}

// replicated checks what the header asserts against the replica, which must hold the same tree.
func (c *check) replicated() error {
	log := c.Replica.View(c.h.Origin, c.h.Size)
	if log == nil || log.Size() != c.h.Size {
		return refuse(ReasonCheckpoint, "the replica does not hold the holder's log up to entry %d yet; sync it and verify again", c.h.Size)
	}
	for _, e := range c.b.Entries { // two trees of one size cannot agree on the paths of two entries
		path, err := c.Replica.Inclusion(c.h.Origin, e.Index, c.h.Size)
		if err != nil {
			return &Refused{Reason: ReasonCheckpoint, Err: err}
		}
		if err := note.CheckInclusion(path, c.tree, e.Index, []byte(e.Body)); err != nil {
			return refuse(ReasonCheckpoint, "the replica holds another log of that size: keep both, they are evidence: %w", err)
		}
	}
	if err := c.epochOf(log); err != nil {
		return err
	}
	if _, index, ok := log.Policy(c.policy.Policy, c.policy.Version); !ok || index != c.h.Policy {
		return refuse(ReasonNotInForce, "the policy version is retired or another entry")
	}
	if _, ok := log.Agreement(c.h.Agreement); !ok {
		return refuse(ReasonNotInForce, "the agreement is revoked")
	}
	if c.group != nil {
		if _, index, ok := log.Group(c.group.Group); !ok || index != *c.h.Group {
			return refuse(ReasonSuperseded, "the log holds a newer version of the group")
		}
	}
	if _, index, ok := log.NewestBatch(); ok != (c.h.Batch != nil) || ok && index != *c.h.Batch {
		return refuse(ReasonSuperseded, "the header does not name the last beat")
	}
	c.report.Currency = CurrencyReplica
	return nil
}

// program rebuilds the statement: everything public but verdict and disclosed values comes from the signed entries.
func (c *check) program() error {
	program, err := c.shared.program(c.policy.Template, c.h.AsOf)
	if err != nil {
		return &Refused{Reason: ReasonProgram, Err: err}
	}
	mask, positions, err := Mask(c.schema, c.q.Disclose)
	if err != nil {
		return &Refused{Reason: ReasonQueryTerms, Err: err}
	}
	if c.pub, err = publicOf(c.b, &c.q, &c.h, c.epoch.Root, program, mask, positions); err != nil {
		return &Refused{Reason: ReasonPublic, Err: err}
	}
	if err := c.statement(c.pub); err != nil {
		return &Refused{Reason: ReasonPublic, Err: err}
	}
	if _, err = c.pub.Vector(); err != nil {
		return &Refused{Reason: ReasonPublic, Err: err}
	}
	return c.describe(positions)
}

func (c *check) describe(positions []int) error {
	r := &c.report
	r.Verdict, r.Policy, r.Version, r.Question = c.pub.Verdict, c.policy.Policy, c.policy.Version, c.policy.Question
	r.Holder, r.Requester, r.QueryID = c.q.Holder, c.q.Requester, c.q.ID
	r.Purpose, r.LegalBasis, r.Case = c.q.Purpose, c.q.LegalBasis, c.q.Case
	for i, name := range c.q.Disclose {
		text, err := reveal(c.schema, name, c.pub.Disclosed[positions[i]], c.b.Disclosed[i].Text)
		if err != nil {
			return &Refused{Reason: ReasonPublic, Err: err}
		}
		r.Disclosed = append(r.Disclosed, Value{Column: name, Text: text})
	}
	return nil
}

func reveal(s *schema.Schema, name string, e fr.Element, text string) (string, error) {
	column, _, ok := s.Column(name)
	if !ok || text != "" && (column.Numeric() || e.IsZero()) {
		return "", fmt.Errorf("reading a disclosed value: %w", ErrEncoding)
	}
	v, err := s.Reveal(name, e, text)
	if err != nil {
		return "", err
	}
	return column.Format(v)
}

// Mask turns column names into the circuit's disclosure mask and their positions in it.
func Mask(s *schema.Schema, columns []string) (mask [circuits.Columns]bool, positions []int, err error) {
	for _, name := range columns {
		position, ok := s.Position(name)
		if !ok {
			return mask, nil, fmt.Errorf("disclosing columns: not in the schema: %w", ErrQuery)
		}
		mask[position] = true
		positions = append(positions, position)
	}
	return mask, positions, nil
}

func (c *check) proof() error {
	if err := c.key.Verify(c.pub, c.b.Proof); err != nil {
		return &Refused{Reason: ReasonProof, Err: err}
	}
	return nil
}
