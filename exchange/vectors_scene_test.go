package exchange_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/ledger/view"
	"github.com/grille-gateway/grille/prover"
)

// The members of the vectors' network beside those of the other tests.
const (
	tax   = "GOV/tax"
	audit = "GOV/audit" // no mirror
)

const (
	vectorInstance = "vectors.grille"
	vectorKeys     = networktest.Keys("grille test vectors ")
	vectorProgram  = "winter-fuel"
	vectorPeriod   = "2026"
)

// vectorNow is the ledger's time of all answers; a beat has a minute.
var vectorNow = time.Date(2026, 3, 1, 12, 0, 1, 0, time.UTC)

const vectorSchema = `
dataset: people
title: People
scheme: person
id: {column: person}
columns:
  - {name: birth_date, type: date}
  - {name: region, type: text}
  - {name: income, type: decimal, scale: 2, unit: EUR}
  - {name: household, type: int}
  - {name: married, type: bool}
  - {name: level, type: enum, codes: [normal, limited, high]}
  - {name: code, type: code}
  - {name: town, type: text}
`

const vectorPolicy = `
policy: aged
version: 1
dataset: people
title: Aged
question: Is the person 65 or older?
when: age(birth_date) >= 65 && region == "west"
`

// vectorRichPolicy has a part of every kind.
const vectorRichPolicy = `
policy: aged
version: 1
dataset: people
title: Aged
question: Is the person 65 or older and poor?
when: >-
  age(birth_date) >= 65 && income <= table(household, {1: 1696.00, 2: 2292.00}, 2888.00) && region == "west" && (!has(level) || level != "high")
`

// vectorPeople are the records of the newest epoch, by subject.
var vectorPeople = map[string][]string{
	"P-0001": {"1950-02-28", "west", "1500.50", "1", "true", "limited", "A12", "Köln"},
	"P-0002": {"1961-03-01", "west", "-3.07", "2", "false", "normal", "", "Ulm"},      // 65 that very day
	"P-0003": {"1961-03-02", "west", "2291.99", "2", "false", "", "Z", ""},            // 65 the next day
	"P-0004": {"1940-01-01", "", "100.00", "3", "true", "normal", "Q-7 x9", "Aachen"}, // a value is missing
	"P-0005": {"1944-06-30", "west", "2888.01", "4", "false", "normal", "B", "Bonn"},
	"P-0007": {"1959-03-01", "west", "-0.05", "-12", "true", "normal", "A", "x y"},
	"P-0008": {"0001-01-01", "west", "92233720368547758.07", "-9223372036854775807", "true", "normal", "~~~~~~~", "9999"},
	"P-0009": {"1959-02-28", "west", "1.00", "1", "true", "normal", "A", "x"},
	"P-0006": {"1944-06-30", "west", "2888.00", "7", "false", "high", "B", "Bonn"},
}

// A people is a dataset's state: its root, and what opens it for a subject.
type people struct {
	root    fr.Element
	levels  [circuits.Levels]map[uint64]fr.Element
	buckets map[uint64]circuits.Bucket
	records map[string]*circuits.Record
	salts   map[string]fr.Element
}

// vectorElement is a field element that follows from a label.
func vectorElement(label string) fr.Element {
	var e fr.Element
	sum := sha256.Sum256([]byte("grille test vectors element " + label))
	e.SetBytes(sum[:])
	return e
}

func newPeople(t testing.TB, s *schema.Schema, epoch string, rows map[string][]string) *people {
	t.Helper()
	p := &people{buckets: map[uint64]circuits.Bucket{}, records: map[string]*circuits.Record{}, salts: map[string]fr.Element{}}
	for subject, cells := range rows {
		row, err := s.Parse(cells)
		if err != nil {
			t.Fatal(err)
		}
		record, err := s.Encode(row)
		if err != nil {
			t.Fatal(err)
		}
		key := circuits.SubjectKey(vectorInstance, s.Scheme, subject)
		p.records[subject], p.salts[subject] = &record, vectorElement("salt "+epoch+subject)
		b := circuits.EmptyBucket()
		b[1] = circuits.Slot{Key: key.Element(), Commitment: record.Commitment(p.salts[subject])}
		p.buckets[key.Place()] = b
	}
	current := make(map[uint64]fr.Element)
	for place, b := range p.buckets {
		current[place] = b.Hash()
	}
	for level := range p.levels {
		p.levels[level] = current
		above := make(map[uint64]fr.Element)
		for i := range current {
			up := i / 3
			above[up] = circuits.NodeHash(p.node(level, 3*up), p.node(level, 3*up+1), p.node(level, 3*up+2))
		}
		current = above
	}
	p.root = current[0]
	return p
}

func (p *people) node(level int, index uint64) fr.Element {
	if e, ok := p.levels[level][index]; ok {
		return e
	}
	return circuits.EmptyNode(level)
}

// secret is what proves a statement about a subject.
func (p *people) secret(subject, scheme string, nonce, scopeKey fr.Element) *circuits.Secret {
	key := circuits.SubjectKey(vectorInstance, scheme, subject)
	place := key.Place()
	s := &circuits.Secret{Key: key, TagNonce: nonce, Salt: p.salts[subject], ScopeKey: scopeKey, Record: p.records[subject]}
	bucket, ok := p.buckets[place]
	if !ok { // of no record, or of another scheme than the record's
		bucket, s.Record = circuits.EmptyBucket(), nil
	}
	s.Opening.Bucket = bucket
	for level, i := 0, place; level < circuits.Levels; level, i = level+1, i/3 {
		n := 0
		for child := i - i%3; child < i-i%3+3; child++ {
			if child != i {
				s.Opening.Siblings[level][n] = p.node(level, child)
				n++
			}
		}
	}
	return s
}

// A memoryLog is a log in memory.
type memoryLog struct {
	bodies []string
	hashes []tlog.Hash
}

func newMemoryLog(t testing.TB, bodies []string) *memoryLog {
	t.Helper()
	l := &memoryLog{bodies: bodies}
	for i, b := range bodies {
		h, err := tlog.StoredHashes(int64(i), []byte(b), l)
		if err != nil {
			t.Fatal(err)
		}
		l.hashes = append(l.hashes, h...)
	}
	return l
}

// ReadHashes is tlog's.
func (l *memoryLog) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		out[i] = l.hashes[x]
	}
	return out, nil
}

func (l *memoryLog) tree(t testing.TB, n uint64) tlog.Tree {
	t.Helper()
	h, err := tlog.TreeHash(int64(n), l)
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: int64(n), Hash: h}
}

func (l *memoryLog) include(t testing.TB, index, n uint64) bundle.Entry {
	t.Helper()
	path, err := tlog.ProveRecord(int64(n), int64(index), l)
	if err != nil {
		t.Fatal(err)
	}
	e := bundle.Entry{Index: index, Body: l.bodies[index], Path: make([][]byte, len(path))}
	for i := range path {
		e.Path[i] = path[i][:]
	}
	return e
}

// memoryReplica is what a verifier knows that has whole logs.
type memoryReplica struct {
	t     testing.TB
	logs  map[string]*memoryLog
	views map[string]*view.Log
}

func newMemoryReplica(t testing.TB, chain *network.Chain, logs map[string][]string) *memoryReplica {
	r := &memoryReplica{t, map[string]*memoryLog{}, map[string]*view.Log{}}
	for origin, bodies := range logs {
		r.logs[origin] = newMemoryLog(t, bodies)
		rules := chain.Rules(origin)
		v := view.NewApprovedLog(func(index uint64, e entry.Entry) bool { return network.CheckApprovals(rules, origin, index, e) == nil })
		for _, b := range bodies {
			e, _ := entry.Decode([]byte(b)) // a malformed one is Unknown, and void
			v.Add(e)
		}
		r.views[origin] = v
	}
	return r
}

// View implements bundle.Replica.
func (r *memoryReplica) View(origin string, size uint64) *view.View {
	if v, ok := r.views[origin]; ok {
		return v.At(size)
	}
	return view.NewLog().At(0)
}

// Inclusion implements bundle.Replica.
func (r *memoryReplica) Inclusion(origin string, index, size uint64) ([]tlog.Hash, error) {
	return tlog.ProveRecord(int64(size), int64(index), r.logs[origin])
}

// Read implements bundle.ClaimLog.
func (r *memoryReplica) Read(origin string, from, to uint64) ([][]byte, error) {
	var out [][]byte
	for _, b := range r.logs[origin].bodies[from:to] {
		out = append(out, []byte(b))
	}
	return out, nil
}

// A scene is what all vectors share.
type scene struct {
	t          testing.TB
	keys       *prover.Keys
	verifier   *prover.Verifier
	schema     *schema.Schema
	config     *network.Configuration
	now        *people
	before     *people           // the epoch before
	proofs     map[string][]byte // of vectors on the disk, by name: used again while they prove the same
	statements map[string][]byte // proofs of this run, by public inputs
}

func newScene(t testing.TB) *scene {
	t.Helper()
	k, err := keys()
	if err != nil {
		t.Fatal(err)
	}
	v, err := prover.NewVerifier(k.VerifyingKey())
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := schema.Load([]byte(vectorSchema))
	if err != nil {
		t.Fatal(err)
	}
	sc := &scene{t: t, keys: k, verifier: v, schema: s, proofs: map[string][]byte{}, statements: map[string][]byte{}}
	sc.now = newPeople(t, s, "2", vectorPeople)
	earlier := map[string][]string{}
	for subject, cells := range vectorPeople {
		earlier[subject] = append([]string(nil), cells...)
		if subject != "P-0009" {
			earlier[subject][2] = "5000.00"
		}
	}
	delete(earlier, "P-0005")
	sc.before = newPeople(t, s, "1", earlier)
	sc.config = sc.configure(nil)
	return sc
}

// configure makes the network's configuration; alter, if set, changes a member's card.
func (sc *scene) configure(alter func(m *network.Member), more ...func(p *network.Params)) *network.Configuration {
	p := network.Params{Schemes: []network.Scheme{{Name: "person", Pattern: `P-[0-9]{4}`, Normalise: "upper", Example: "P-1234"}},
		BeatSeconds: 60, HeartbeatSeconds: 10, FreshnessSeconds: 30,
		Circuits: []network.Circuit{{ID: sc.verifier.CircuitID(), VerifyingKey: sc.verifier.SHA256(), Kind: sc.verifier.Kind()}}}
	for _, f := range more {
		f(&p)
	}
	var cards []network.Card
	for i, name := range []string{audit, benefits, civil, health, tax} {
		m := vectorKeys.Member(vectorInstance, name, "127.0.0.1:"+strings.Repeat("4", 3)+string(rune('0'+i)), name != audit)
		if alter != nil {
			alter(&m)
		}
		cards = append(cards, vectorKeys.Card(sc.t, vectorInstance, m))
	}
	return networktest.Build(sc.t, vectorInstance, p, cards...)
}

// entryBody is an entry's text.
func entryBody(t testing.TB, e entry.Entry) string {
	t.Helper()
	raw, err := entry.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func vectorTime(t time.Time) string { return entry.FormatTime(t) }

// vectorSalt is a hash that follows from a label.
func vectorSalt(label string) receipt.Hash {
	return sha256.Sum256([]byte("grille test vectors " + label))
}

// compiled is the entry of a policy.
func (sc *scene) compiled(text string, declared entry.DatasetDeclare, index uint64) entry.PolicyPublish {
	sc.t.Helper()
	d, err := policy.Parse([]byte(text))
	if err != nil {
		sc.t.Fatal(err)
	}
	e, err := d.Entry(declared, index, vectorNow.AddDate(0, -2, 0))
	if err != nil {
		sc.t.Fatal(err)
	}
	return e
}

func queryKey(member string) ed25519.PrivateKey { return vectorKeys.Key("query " + member) }

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func schemaOf(t testing.TB, d entry.DatasetDeclare) *schema.Schema {
	t.Helper()
	s, err := schema.FromDeclare(d)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newPeopleOf is the newest state of the vectors' dataset.
func newPeopleOf(t testing.TB, d entry.DatasetDeclare) *people {
	return newPeople(t, schemaOf(t, d), "2", vectorPeople)
}
