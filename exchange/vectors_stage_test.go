package exchange_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
)

// Where entries stand on the log of the vectors' holder. The header sees those below logSize.
const (
	atKeys uint64 = iota
	atDeclare
	atOther
	atEpoch1
	atPolicy
	atAgreement
	atGroup
	atGroupAgreement
	atScope
	atOldBatch
	atEpoch
	atClaims
	atBatch
	logSize
	atReceipt = iota - 1 // the promised receipt's batch
	atClaim              // where the claim stands
	logEnd
)

// A stage makes one bundle. What a vector alters before the log is made is in all that follows from it, with good signatures; hooks
// alter the later parts, each before it is signed.
type stage struct {
	*scene
	name    string
	config  *network.Configuration
	chain   *network.Chain // optional
	entries []any          // entry.Entry, or string as it stands
	size    uint64
	people  *people
	subject string
	nonce   string
	query   bundle.Query
	header  bundle.Header
	promise receipt.Promise
	times   map[string]time.Time // of cosignatures, by mirror
	claimed bool                 // the bundle shows the claim
	logged  bool                 // the bundle shows the receipt
	opening bool
	early   bool // it is refused before its proof is looked at

	onQuery     func(body string) string
	queryKey    ed25519.PrivateKey
	onHeader    func(h *bundle.Header)
	headerBody  func(body string) string
	headerKey   ed25519.PrivateKey
	onHead      func(head string) string
	onPublic    func(pub *circuits.Public, sec *circuits.Secret)
	onProof     func(proof []byte) []byte
	onPromise   func(p *receipt.Promise)
	promiseBody func(body string) string
	promiseKey  ed25519.PrivateKey
	onBundle    func(b *bundle.Bundle)
	onBytes     func(data []byte) []byte
	onLog       func(l *logFile)
	onLater     func() // may append entries before the receipt's batch
	place       uint32 // where the receipt stands, if it is not where the promise says
	late        uint64 // beats after the promised one
	scheme      string // of the subject's identifier

	cosigning *network.Configuration // by which mirrors cosign now
	log       *memoryLog
	pub       *circuits.Public
	proved    []byte // the proof in the bundle
}

// newStage is that of a good answer: P-0001 is satisfied.
func (sc *scene) newStage(name string) *stage {
	s := &stage{scene: sc, name: name, config: sc.config, size: logSize, people: sc.now, subject: "P-0001", scheme: "person"}
	s.nonce = bundle.FormatElement(vectorElement("nonce"))
	s.entries = sc.standard()
	beat := receipt.BeatAt(vectorNow, time.Minute)
	issued := vectorNow.Add(-11 * time.Second)
	s.query = bundle.Query{Version: 1, ID: "000102030405060708090a0b0c0d0e0f", Instance: vectorInstance, Requester: benefits, Holder: civil,
		Policy: "aged", PolicyVersion: 1, Purpose: purpose, LegalBasis: basis, Case: "B-2026/17", MaxAgeSeconds: 90 * 86400,
		Issued: vectorTime(issued), Expires: vectorTime(issued.Add(30 * time.Minute))}
	batch := atBatch
	s.header = bundle.Header{Version: 1, Instance: vectorInstance, Circuit: sc.verifier.CircuitID(), Origin: sc.config.Origin(civil),
		Time: vectorTime(vectorNow), AsOf: "2026-03-01", Dataset: atDeclare, Epoch: atEpoch, Policy: atPolicy, Agreement: atAgreement, Batch: &batch}
	s.promise = receipt.Promise{Version: 1, Member: civil, Beat: beat, Place: 0xC0FFEE42, Deadline: vectorTime(receipt.Deadline(beat, time.Minute))}
	s.times = map[string]time.Time{benefits: vectorNow.Add(-time.Second), civil: vectorNow, health: vectorNow.Add(time.Second)}
	return s
}

// rich publishes the policy that has a part of every kind.
func rich(s *stage) {
	s.entries[atPolicy] = s.compiled(vectorRichPolicy, s.entries[atDeclare].(entry.DatasetDeclare), atDeclare)
}

// standard are the entries below logSize.
func (sc *scene) standard() []any {
	t := sc.t
	day := func(months int) string { return vectorTime(vectorNow.AddDate(0, months, 0)) }
	declared := sc.schema.Declare(vectorNow.AddDate(0, -3, 0))
	other := declared
	other.Dataset, other.Title = "others", "Others"
	beat := receipt.BeatAt(vectorNow, time.Minute)
	terms := entry.Terms{Requester: benefits, Holder: civil, Policy: "aged", PolicyVersion: 1, PolicyIndex: atPolicy, Purpose: purpose,
		LegalBasis: basis, Disclose: []string{"birth_date", "code", "household", "income", "level", "married", "region", "town"},
		Scope: vectorProgram, BudgetCommitment: vectorSalt("budget").String(), AsOfFrom: "2025-12-01", AsOfTo: "2026-12-31",
		Expires: "2027-01-01T00:00:00Z"}
	shared := terms
	shared.Requester, shared.Group, shared.Purpose = health, "partners", "Care planning"
	offer := func(member string, index uint64) entry.Ref {
		return entry.Ref{Origin: sc.config.Origin(member), Index: index, Hash: vectorSalt("offer of " + member).String()}
	}
	entries := []any{
		entry.CircuitKeys{Circuit: sc.verifier.CircuitID(), VerifyingKey: sc.verifier.SHA256(), KeyKind: sc.verifier.Kind(), Time: day(-4)},
		declared, other,
		entry.DatasetEpoch{Dataset: "people", Declare: atDeclare, Epoch: 1, Root: bundle.FormatElement(sc.before.root), Time: "2025-12-15T08:00:00Z"},
		sc.compiled(vectorPolicy, declared, atDeclare),
		entry.AgreementAccept{Offer: offer(benefits, 3), Terms: terms, Time: day(-1)},
		entry.GroupDefine{Group: "partners", Version: 1, Members: []string{benefits, health}, Time: day(-1)},
		entry.AgreementAccept{Offer: offer(health, 9), Terms: shared, Time: day(-1)},
		entry.ScopeOpen{Program: vectorProgram, Period: vectorPeriod, KeyCommitment: bundle.FormatElement(circuits.ScopeKeyCommitment(vectorElement("scope key"))),
			Opens: "2026-02-01T00:00:00Z", Closes: "2026-12-31T23:59:59Z", Time: day(-1)},
		entry.ReceiptsBatch{Beat: beat - 3, Root: vectorSalt("batch 1").String(), Epochs: map[string]uint64{"people": atEpoch1},
			Time: vectorTime(vectorNow.Add(-2 * time.Minute))},
		entry.DatasetEpoch{Dataset: "people", Declare: atDeclare, Epoch: 2, Root: bundle.FormatElement(sc.now.root), Time: "2026-02-10T08:00:00Z"},
		entry.CircuitKeys{Circuit: sc.verifier.CircuitID(), VerifyingKey: sc.verifier.SHA256(), KeyKind: sc.verifier.Kind(), Time: day(0)},
		entry.ReceiptsBatch{Beat: beat - 2, Root: vectorSalt("batch 2").String(), Epochs: map[string]uint64{"people": atEpoch},
			Time: vectorTime(vectorNow.Add(-time.Minute))},
	}
	if len(entries) != int(logSize) {
		t.Fatal("the log of the vectors has another order")
	}
	return entries
}

// claims is a batch of 64, the nullifier, if any, at slot 17.
func (sc *scene) claims(beat uint64, nullifier string) entry.ClaimsBatch {
	e := entry.ClaimsBatch{Beat: beat, Time: vectorTime(time.Unix(int64(beat+1)*60+1, 0))}
	for i := range entry.Claims {
		e.Nullifiers = append(e.Nullifiers, bundle.FormatElement(vectorElement(strings.Repeat("padding ", i+1)+e.Time)))
	}
	if nullifier != "" {
		e.Nullifiers[17] = nullifier
	}
	return e
}

// alter changes an entry of a kind at an index.
func alter[T entry.Entry](s *stage, index uint64, f func(e *T)) {
	e := s.entries[index].(T)
	f(&e)
	s.entries[index] = e
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
}

// body is an entry's text.
func (s *stage) body(e any) string {
	if text, ok := e.(string); ok {
		return text
	}
	return entryBody(s.t, e.(entry.Entry))
}

// sign signs v, or what change makes of its text.
func (s *stage) sign(key ed25519.PrivateKey, label string, v any, change func(string) string) bundle.Signed {
	signed, err := bundle.Sign(key, label, v)
	s.must(err)
	if change == nil {
		return signed
	}
	body := change(signed.Body)
	return bundle.Signed{Body: body, Signature: b64(ed25519.Sign(key, []byte(label+"\n"+body)))}
}

// head is a final checkpoint of the log at a size, cosigned a while after vectorNow.
func (s *stage) head(n uint64, later time.Duration) string {
	return s.headOf(s.log.tree(s.t, n), later, slices.Sorted(maps.Keys(s.times))...)
}

func (s *stage) headOf(tree tlog.Tree, later time.Duration, mirrors ...string) string {
	owner, err := note.Sign(s.header.Origin, tree, logKeyOf(s.header.Origin))
	s.must(err)
	out := string(owner)
	for _, m := range mirrors {
		out += s.cosign(note.Text(s.header.Origin, tree), m, s.times[m].Add(later))
	}
	return out
}

// cosign is a mirror's line.
func (s *stage) cosign(text, mirror string, at time.Time) string {
	name, key := network.MirrorName(vectorInstance, mirror, 1), vectorKeys.Key("mirror "+mirror)
	if m, _ := s.cosigning.Member(mirror); m.MirrorKey != "" && m.MirrorName() != name {
		name, key = m.MirrorName(), vectorKeys.Key("mirror 2 "+mirror)
	}
	line, err := note.Cosign(text, name, key, at)
	s.must(err)
	return line
}

// logKeyOf is the key of a member's log by its origin, of the first or a later generation.
func logKeyOf(origin string) ed25519.PrivateKey {
	rest := strings.TrimPrefix(origin, vectorInstance+"/")
	member, generation, _ := strings.Cut(rest, "/log/")
	if generation == "1" {
		return vectorKeys.Key("log " + member)
	}
	return vectorKeys.Key("log " + generation + " " + member)
}

// build makes the bundle's bytes.
func (s *stage) build() []byte {
	s.log, s.cosigning = newMemoryLog(s.t, s.bodies()), s.config
	b := &bundle.Bundle{Version: 1, Instance: vectorInstance, Configuration: bundle.Configuration{Version: s.config.Version, Digest: s.config.Digest()}}
	s.signQuery(b)
	s.signHeader(b)
	for _, index := range s.named() {
		b.Entries = append(b.Entries, s.log.include(s.t, index, s.size))
	}
	if b.Checkpoint = s.head(s.size, 0); s.onHead != nil {
		b.Checkpoint = s.onHead(b.Checkpoint)
	}
	s.prove(b)
	s.promised(b)
	s.later(b)
	if s.opening {
		b.Opening = &bundle.Opening{Subject: s.subject, Nonce: s.nonce}
	}
	s.proved = b.Proof
	if s.onBundle != nil {
		s.onBundle(b)
	}
	data, err := bundle.Encode(b)
	s.must(err)
	if s.onBytes != nil {
		data = s.onBytes(data)
	}
	return data
}

func (s *stage) bodies() []string {
	var out []string
	for _, e := range s.entries {
		out = append(out, s.body(e))
	}
	return out
}

func (s *stage) signQuery(b *bundle.Bundle) {
	nonce, err := bundle.ParseElement(s.nonce)
	s.must(err)
	if s.query.Tag == "" {
		s.query.Tag = bundle.FormatElement(circuits.Tag(circuits.SubjectKey(vectorInstance, s.scheme, s.subject), nonce))
	}
	if s.queryKey == nil {
		s.queryKey = queryKey(s.query.Requester)
	}
	b.Query = s.sign(s.queryKey, bundle.LabelQuery, s.query, s.onQuery)
}

func (s *stage) signHeader(b *bundle.Bundle) {
	s.header.Size = s.size
	s.header.Query = bundle.QueryDigest(&b.Query)
	if s.onHeader != nil {
		s.onHeader(&s.header)
	}
	if s.headerKey == nil {
		s.headerKey = queryKey(civil)
	}
	b.Header = s.sign(s.headerKey, bundle.LabelHeader, s.header, s.headerBody)
}

// named are the indexes that the header names, rising.
func (s *stage) named() []uint64 {
	h := &s.header
	out := []uint64{h.Dataset, h.Epoch, h.Policy, h.Agreement}
	for _, index := range []*uint64{h.Next, h.Group, h.Scope, h.Batch} {
		if index != nil {
			out = append(out, *index)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return slices.DeleteFunc(out, func(i uint64) bool { return i >= s.size || i >= uint64(len(s.entries)) })
}

// prove fills in verdict, values and proof. Where an entry or the query makes no statement, the proof is that of another one.
func (s *stage) prove(b *bundle.Bundle) {
	b.Verdict, b.Proof = circuits.Satisfied.String(), slices.Clone(s.proofs[sampleVector])
	published, ok := s.entries[atPolicy].(entry.PolicyPublish)
	if !ok {
		return
	}
	template, err := policy.ParseTemplate(published.Template)
	if err != nil {
		return
	}
	program, err := template.ProgramAt(s.header.AsOf)
	declared, ok := s.entries[atDeclare].(entry.DatasetDeclare)
	if err != nil || !ok {
		return
	}
	columns, err := schema.FromDeclare(declared)
	if err != nil {
		return
	}
	mask, _, err := bundle.Mask(columns, s.query.Disclose)
	if err != nil {
		return
	}
	nonce, err := bundle.ParseElement(s.nonce)
	s.must(err)
	sec := s.people.secret(s.subject, s.scheme, nonce, vectorElement("scope key"))
	pub, err := sec.Public(s.people.root, bundle.Context(&s.header, &b.Header), vectorElement("no scope"), mask, program)
	s.must(err)
	if s.query.Scope != nil && pub.Verdict == circuits.Satisfied {
		pub, err = sec.Public(s.people.root, pub.Context, s.query.Scope.Element(vectorInstance, civil), mask, program)
		s.must(err)
		b.Nullifier = bundle.FormatElement(pub.Nullifier)
	} else {
		pub.Scope.SetZero()
		pub.ScopeKeyCommitment.SetZero()
		pub.Nullifier.SetZero()
	}
	if s.onPublic != nil {
		s.onPublic(pub, sec)
	}
	s.pub = pub
	b.Verdict = pub.Verdict.String()
	s.disclose(b, columns)
	if b.Proof = s.proof(pub, sec); s.onProof != nil {
		b.Proof = s.onProof(b.Proof)
	}
}

// proof is one on the disk or of an earlier vector that proves this, or a new one.
func (s *stage) proof(pub *circuits.Public, sec *circuits.Secret) []byte {
	if s.early {
		return slices.Clone(s.proofs[sampleVector])
	}
	vector, err := pub.Vector()
	s.must(err)
	statement := fmt.Sprint(vector)
	if known := s.statements[statement]; known != nil {
		return slices.Clone(known)
	}
	own := s.name
	if s.onProof != nil { // what stands there was changed
		own = ""
	}
	for _, name := range []string{own, "promise-salt"} {
		if old := s.proofs[name]; old != nil && s.verifier.Verify(pub, old) == nil {
			s.statements[statement] = old
			return slices.Clone(old)
		}
	}
	p, err := s.keys.Prove(pub, sec)
	s.must(err)
	s.statements[statement] = p[:]
	return slices.Clone(p[:])
}

// nullifier is that of the subject in the vectors' scope.
func (s *stage) nullifier() string {
	scope := bundle.Scope{Program: vectorProgram, Period: vectorPeriod}
	return bundle.FormatElement(circuits.Nullifier(vectorElement("scope key"), circuits.SubjectKey(vectorInstance, s.scheme, s.subject), scope.Element(vectorInstance, civil)))
}

func (s *stage) disclose(b *bundle.Bundle, columns *schema.Schema) {
	row := vectorPeople[s.subject]
	for _, name := range s.query.Disclose {
		position, _ := columns.Position(name)
		c, i, _ := columns.Column(name)
		d := bundle.Disclosed{Column: name, Value: bundle.FormatElement(s.pub.Disclosed[position])}
		if !c.Numeric() && row != nil {
			d.Text = row[i]
		}
		b.Disclosed = append(b.Disclosed, d)
	}
}

func (s *stage) promised(b *bundle.Bundle) {
	b.Salt = vectorSalt("receipt salt " + s.name)
	if s.pub != nil {
		s.promise.Receipt = receipt.Digest(b.Salt, s.header.Query, s.pub.Verdict.String(), bundle.AnswerDigest(&b.Header, s.pub))
	}
	s.promise.Query = s.header.Query
	if s.onPromise != nil {
		s.onPromise(&s.promise)
	}
	if s.promiseKey == nil {
		s.promiseKey = queryKey(civil)
	}
	b.Promise = s.sign(s.promiseKey, bundle.LabelPromise, s.promise, s.promiseBody)
}

// later appends the receipt's batch and the claim's to the log, and shows them where the vector wants to.
func (s *stage) later(b *bundle.Bundle) {
	if !s.logged && !s.claimed {
		return
	}
	if s.onLater != nil {
		s.onLater()
	}
	place := s.promise.Place
	if s.place != 0 {
		place = s.place
	}
	tree, err := receipt.NewTree(vectorSalt("receipt tree"), []receipt.Leaf{{Place: place, Receipt: s.promise.Receipt},
		{Place: place ^ 1, Receipt: vectorSalt("another receipt")}})
	s.must(err)
	path, err := tree.Path(place)
	s.must(err)
	s.entries = append(s.entries, entry.ReceiptsBatch{Beat: s.promise.Beat + s.late, Root: tree.Root().String(), Epochs: map[string]uint64{"people": atEpoch},
		Time: vectorTime(vectorNow.Add(time.Minute))}, s.claims(s.promise.Beat, b.Nullifier))
	s.log = newMemoryLog(s.t, s.bodies())
	n := uint64(len(s.entries))
	if s.chain != nil {
		s.cosigning = s.chain.Newest()
	}
	head := s.head(n, 90*time.Second)
	if s.logged {
		b.Receipt = &bundle.ReceiptInclude{Checkpoint: head, Batch: s.log.include(s.t, n-2, n), Proof: receipt.Proof{Path: path}}
	}
	if s.claimed {
		b.Claim = &bundle.ClaimInclude{Checkpoint: head, Batch: s.log.include(s.t, n-1, n), Slot: 17}
	}
}

// oldProofs reads the proofs of vectors on the disk.
func oldProof(data []byte) []byte {
	var b struct {
		Proof []byte `json:"proof"`
	}
	if json.Unmarshal(data, &b) != nil {
		return nil
	}
	return b.Proof
}
