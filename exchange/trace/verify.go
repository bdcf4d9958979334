package trace

import (
	"cmp"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
)

// A Report is what a verified file says.
type Report struct {
	File     *File `json:"-"`
	Records  int   `json:"records"`
	Logged   int   `json:"logged"`   // receipts shown under a final batch: of a question asked, the requester's and the holder's
	Pending  int   `json:"pending"`  // receipts whose beat is not final in the file, or whose holder has not shown them, and may yet be in time
	Broken   int   `json:"broken"`   // promises past their deadline at the file's heads that are not shown to be kept, or noted as broken
	OfPerson int   `json:"about"`    // records whose tag was opened with the subject id given to About
	Unopened int   `json:"unopened"` // records of a subject file whose tag nothing opens: the request named another person than its tag
}

// book is the verified part of one log: the roots of its batches.
type book struct {
	roots  map[uint64]receipt.Hash
	made   map[uint64]time.Time // when each batch says that it was made
	median time.Time
	used   map[uint64]bool
}

// verifying carries what the steps share.
type verifying struct {
	configurations []*network.Configuration
	file           *File
	latest         time.Time        // of what a file made then may hold: one that is dated back would have what it leaves out pass for later
	books          map[string]*book // by origin
	report         Report
}

// Verify checks a file against the configurations that its evidence may have been made under, newest first: the signer, every
// query's, promise's and head's signature, and every path. It returns ErrFile for a file that says anything it does not show.
func Verify(configurations []*network.Configuration, data []byte) (*Report, error) {
	f, err := Decode(data)
	if err != nil {
		return nil, err
	}
	v := &verifying{configurations: configurations, file: f, books: map[string]*book{}}
	v.report = Report{File: f, Records: len(f.Records)}
	for _, step := range []func() error{v.form, v.signature, v.logs, v.records} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("verifying a file of receipts: %w: %w", ErrFile, err)
		}
	}
	return &v.report, nil
}

// form checks what needs no key.
func (v *verifying) form() error {
	f := v.file
	made, err := entry.ParseTime(f.Made)
	if err != nil {
		return err
	}
	v.latest = made.Add(bundle.Window(v.configurations[0]))
	for _, at := range []string{f.Since, f.Until} {
		if _, err := entry.ParseTime(at); at != "" && err != nil {
			return err
		}
	}
	if f.Instance != v.configurations[0].Instance {
		return errors.New("of another instance")
	}
	if strings.Trim(f.Padding, "0") != "" {
		return errors.New("the padding says something")
	}
	for i, r := range f.Records {
		if i > 0 && Order(f.Records[i-1], r) > 0 {
			return errors.New("the records are not in order")
		}
		if i > 0 && Order(f.Records[i-1], r) == 0 && f.Records[i-1].Salt == r.Salt {
			return errors.New("a record stands twice")
		}
		if !f.covers(r) {
			return errors.New("a record is outside of what the file says it is about")
		}
		if issued, err := entry.ParseTime(r.query.Issued); err != nil || issued.After(v.latest) {
			return errors.New("a query was issued after the file says it was made")
		}
	}
	return nil
}

// Order compares two records by time of issue, then id, then digest of the answer. Both must have been read.
func Order(a, b *Record) int {
	return cmp.Or(strings.Compare(a.query.Issued, b.query.Issued), strings.Compare(a.query.ID, b.query.ID), strings.Compare(a.Role, b.Role),
		strings.Compare(a.Answer.String(), b.Answer.String()))
}

// covers says whether a record is within the file's time and about its peer. Times of one form compare as texts.
func (f *File) covers(r *Record) bool {
	at := r.query.Issued
	return (f.Since == "" || at >= f.Since) && (f.Until == "" || at < f.Until) && (f.Peer == "" || f.Peer == r.Peer())
}

func (v *verifying) signature() error {
	f := v.file
	sig, err := base64.StdEncoding.DecodeString(f.Signature)
	if err != nil || len(sig) != ed25519.SignatureSize || base64.StdEncoding.EncodeToString(sig) != f.Signature {
		return bundle.ErrSignature
	}
	signed, err := f.signed()
	if err != nil {
		return err
	}
	for _, cfg := range v.configurations {
		if key, err := bundle.Key(cfg, f.Member); err == nil && ed25519.Verify(key, signed, sig) {
			return nil
		}
	}
	return fmt.Errorf("%s did not sign this file: %w", f.Member, bundle.ErrSignature)
}

// logs checks heads and batches.
func (v *verifying) logs() error {
	last := ""
	for i := range v.file.Logs {
		log := &v.file.Logs[i]
		if i > 0 && log.Origin <= last {
			return errors.New("the logs are not in order")
		}
		last = log.Origin
		b, err := v.batches(log)
		if err != nil {
			return fmt.Errorf("log %d: %w", i, err)
		}
		v.books[log.Origin] = b
	}
	return nil
}

func (v *verifying) batches(log *Log) (*book, error) {
	tree, median, err := bundle.CheckHead(v.configurations, log.Origin, log.Checkpoint)
	if err != nil {
		return nil, err
	}
	if median.After(v.latest) {
		return nil, errors.New("a head was cosigned after the file says it was made")
	}
	b := &book{roots: map[uint64]receipt.Hash{}, made: map[uint64]time.Time{}, median: median, used: map[uint64]bool{}}
	for i := range log.Batches {
		e := &log.Batches[i]
		if i > 0 && e.Index <= log.Batches[i-1].Index {
			return nil, errors.New("the batches are not in order")
		}
		if err := bundle.CheckIncluded(e, tree); err != nil {
			return nil, err
		}
		decoded, err := entry.Decode([]byte(e.Body))
		if err != nil {
			return nil, err
		}
		batch, ok := decoded.(entry.ReceiptsBatch)
		if !ok {
			return nil, errors.New("an entry is no receipts batch")
		}
		if _, twice := b.roots[batch.Beat]; twice {
			return nil, errors.New("two batches of one beat: keep the file, it is evidence")
		}
		var root receipt.Hash
		if err := root.UnmarshalText([]byte(batch.Root)); err != nil {
			return nil, err
		}
		b.roots[batch.Beat] = root
		if b.made[batch.Beat], err = entry.ParseTime(batch.Time); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (v *verifying) records() error {
	for i, r := range v.file.Records {
		if err := v.record(r); err != nil {
			return fmt.Errorf("record %d: %w", i, err)
		}
	}
	for _, b := range v.books {
		if len(b.used) != len(b.roots) {
			return errors.New("the file carries batches that no record leads to")
		}
	}
	return nil
}

// record checks one query: who signed it, what was recorded, and where its receipts stand.
func (v *verifying) record(r *Record) error {
	q := &r.query
	if err := r.Query.OpenBy(v.configurations, q.Requester, bundle.LabelQuery, q); err != nil {
		return err
	}
	if err := q.Check(); err != nil {
		return err
	}
	subject := v.file.Kind == KindSubject
	switch {
	case q.Instance != v.file.Instance:
		return errors.New("the query is of another instance")
	case r.Role == RoleAsked && q.Requester != v.file.Member, r.Role == RoleAnswered && q.Holder != v.file.Member,
		r.Role != RoleAsked && r.Role != RoleAnswered:
		return errors.New("the query is not of that member in that role")
	case (r.Role == RoleAsked) != (r.Asked != nil):
		return errors.New("the requester's receipt belongs to what was asked")
	case !subject && r.Nonce != "":
		return errors.New("a file that others see must not open tags")
	}
	if subject && r.Nonce == "" {
		v.report.Unopened++
	}
	if err := v.outcome(r); err != nil {
		return err
	}
	if r.Asked != nil {
		if err := v.asked(r); err != nil {
			return err
		}
	}
	return v.kept(r)
}

// outcome checks that what is said of the reply is what the promised receipt holds.
func (v *verifying) outcome(r *Record) error {
	if r.Promise == nil {
		var none receipt.Hash
		if r.Role == RoleAnswered || r.Outcome != receipt.OutcomeAsked && r.Outcome != OutcomeRejected || r.Answer != none || r.Salt != none {
			return errors.New("an outcome without its receipt")
		}
		if (r.Outcome == OutcomeRejected) != (r.Code != "") || r.Refusal != nil || r.Path != nil || r.Broken != "" {
			return errors.New("an outcome without its receipt")
		}
		return nil
	}
	refused := r.Outcome == receipt.OutcomeRefused
	if _, err := circuits.ParseVerdict(r.Outcome); err != nil && !refused {
		return errors.New("the outcome is neither verdict nor refusal")
	}
	if refused != (r.Code != "") || refused != (r.Refusal != nil) {
		return errors.New("a code belongs to a refusal, and a refusal has one")
	}
	if refused {
		if err := v.refusal(r); err != nil {
			return err
		}
	}
	if r.Broken != "" && r.Broken != BrokenMissed && r.Broken != BrokenUnproved && r.Broken != BrokenReported {
		return errors.New("a promise is broken in an unknown way")
	}
	p := &r.promise
	if err := r.Promise.OpenBy(v.configurations, r.query.Holder, bundle.LabelPromise, p); err != nil {
		return err
	}
	if err := v.wellFormed(p); err != nil {
		return err
	}
	digest := bundle.QueryDigest(&r.Query)
	if p.Member != r.query.Holder || p.Query != digest || p.Receipt != receipt.Digest(r.Salt, digest, r.Outcome, r.Answer) {
		return errors.New("the promise is for another answer than the one recorded")
	}
	return nil
}

// wellFormed checks a promise by the beat of any of the configurations.
func (v *verifying) wellFormed(p *receipt.Promise) error {
	var err error
	for _, cfg := range v.configurations {
		if err = p.Check(bundle.BeatLength(cfg)); err == nil {
			return nil
		}
	}
	return err
}

// overdue says whether a time is past a promise's deadline, which wellFormed has read.
func overdue(p *receipt.Promise, at time.Time) bool {
	deadline, err := entry.ParseTime(p.Deadline)
	return err == nil && at.After(deadline)
}

// refusal checks that the code is that of the signed no which was receipted.
func (v *verifying) refusal(r *Record) error {
	var no bundle.Refusal
	if err := r.Refusal.OpenBy(v.configurations, r.query.Holder, bundle.LabelRefusal, &no); err != nil {
		return err
	}
	if err := no.Check(); err != nil {
		return err
	}
	if no.Query != bundle.QueryDigest(&r.Query) || no.Code != r.Code || r.Refusal.Digest(bundle.LabelRefusal) != r.Answer {
		return errors.New("the refusal is another one than was recorded")
	}
	return nil
}

// asked checks the requester's own receipt.
func (v *verifying) asked(r *Record) error {
	if r.Asked.Path == nil {
		v.report.Pending++
		return nil
	}
	var none receipt.Hash
	own := receipt.Digest(r.Asked.Salt, bundle.QueryDigest(&r.Query), receipt.OutcomeAsked, none)
	if _, err := v.under(r.query.Requester, r.Asked.Beat, own, r.Asked.Place, r.Asked.Path); err != nil {
		return err
	}
	v.report.Logged++
	return nil
}

// kept checks the holder's promise as far as the file shows it.
func (v *verifying) kept(r *Record) error {
	p := r.Promised()
	if p == nil {
		return nil
	}
	if r.Path != nil {
		logged, err := v.under(p.Member, p.Beat, p.Receipt, p.Place, r.Path)
		if err != nil {
			return err
		}
		v.report.Logged++
		if r.late = overdue(p, logged); r.late || r.Broken != "" { // kept, and too late
			v.report.Broken++
		}
		return nil
	}
	switch b := v.book(p.Member); {
	case r.Broken != "" || b != nil && overdue(p, b.median):
		v.report.Broken++
	default:
		v.report.Pending++
	}
	return nil
}

// book is the verified log of a member in the file, if there is one.
func (v *verifying) book(member string) *book {
	for _, cfg := range v.configurations {
		if b := v.books[cfg.Origin(member)]; b != nil {
			return b
		}
	}
	return nil
}

// under checks that a receipt stands in the batch of a beat, and returns when that batch says it was made: zero where it stands on a later
// generation of a log, which repeats what stood on the one before.
func (v *verifying) under(member string, beat uint64, r receipt.Hash, place uint32, path []receipt.Hash) (time.Time, error) {
	for _, cfg := range v.configurations {
		b := v.books[cfg.Origin(member)]
		if b == nil {
			continue
		}
		if root, ok := b.roots[beat]; ok {
			b.used[beat] = true
			made := b.made[beat]
			if cfg.Origin(member) != network.LogName(cfg.Instance, member, 1) {
				made = time.Time{}
			}
			return made, receipt.VerifyPath(root, r, place, path)
		}
	}
	return time.Time{}, errors.New("the batch of a receipt is not in the file")
}

// About counts the records of a verified subject file whose tags are of the person with that id, in any of the schemes, and fails
// unless that is all but those that nothing opens.
func (r *Report) About(cfg *network.Configuration, subject string) error {
	r.OfPerson = 0
	for i, rec := range r.File.Records {
		if rec.Nonce == "" {
			continue
		}
		if !opens(cfg, rec, subject) {
			return fmt.Errorf("checking whom a file is about: record %d is of another person: %w", i, ErrFile)
		}
		r.OfPerson++
	}
	return nil
}

func opens(cfg *network.Configuration, r *Record, subject string) bool {
	for _, s := range cfg.Schemes {
		id, err := schema.NormaliseID(s, subject)
		if err != nil {
			continue
		}
		o := bundle.Opening{Subject: id, Nonce: r.Nonce}
		if _, _, err := o.CheckOpening(&r.query, s.Name); err == nil {
			return true
		}
	}
	return false
}
