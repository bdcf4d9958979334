package exchange_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr/poseidon2"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/note"
	"github.com/grille-gateway/grille/prover"
)

const unitFile = "units.json"

// units are the values on the way of a verification, for whoever writes one. Elements, points and hashes are hex.
type units struct {
	Version   int                 `json:"v"`
	Constants []string            `json:"tag_constants"` // the round constants of the use tag, in the order in which they are drawn
	Hashes    map[string][]hashOf `json:"hashes"`        // by use
	Names     []derived           `json:"names"`
	Days      []dayOf             `json:"days"` // what a date slot adds
	Answer    answerUnits         `json:"answer"`
	Logs      []treeUnits         `json:"logs"` // of the entries "entry 0", "entry 1", ...
	Notes     []noteUnits         `json:"notes"`
	Keys      []keyUnits          `json:"verifying_keys"` // malformed ones
	Entries   []entryUnits        `json:"entries"`
	Networks  []networkUnits      `json:"networks"` // configurations and chains that are not to be trusted
	Programs  []programUnits      `json:"programs"` // with exempt columns, guarded or not
	Chars     charUnits           `json:"characters"`
}

type hashOf struct {
	In  [3]string `json:"in"`
	Out string    `json:"out"`
}

type derived struct {
	What string   `json:"what"`
	From []string `json:"from"`
	Is   string   `json:"is"`
}

type dayOf struct {
	AsOf  string `json:"as_of"`
	Years int    `json:"years"`
	Days  int64  `json:"days"`
}

// answerUnits are of one bundle.
type answerUnits struct {
	Bundle   string            `json:"bundle"`
	Query    string            `json:"query_digest"`
	Context  string            `json:"context"`
	Answer   string            `json:"answer_digest"`
	Receipt  string            `json:"receipt"`
	Inputs   map[string]string `json:"public_inputs"` // those that are not 0, by name
	Order    []string          `json:"order"`         // names of the first inputs, those up to the program's
	SHA256   string            `json:"public_inputs_sha256"`
	Sum      string            `json:"sum"`      // K[0] + the sum of input i times K[i+1], compressed
	Template string            `json:"template"` // SHA-256 of its bytes in the entry
}

type treeUnits struct {
	Size  int64      `json:"size"`
	Root  string     `json:"root"`
	Paths [][]string `json:"paths"` // of each entry
}

type noteUnits struct {
	Key  string `json:"key"`
	Text string `json:"text"`
	Line string `json:"line"`
	Time int64  `json:"time,omitempty"` // of a cosignature
}

// keyUnits replace bytes of keys/development.key from an offset on; nothing follows behind them if cut is set.
type keyUnits struct {
	About  string `json:"about"`
	Offset int    `json:"offset"`
	Bytes  string `json:"bytes"`
	Cut    bool   `json:"cut,omitempty"`
}

// TestVectorUnits compares the published values with those that this software computes. With -update it writes them.
func TestVectorUnits(t *testing.T) {
	current := units{Version: 1, Hashes: map[string][]hashOf{}}
	current.hashes()
	current.names()
	current.days(t)
	current.answer(t)
	current.trees(t)
	current.notes(t)
	current.keys(t)
	current.entries(t)
	current.networks(t)
	current.programs(t)
	current.characters(t)
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(current); err != nil {
		t.Fatal(err)
	}
	if *updateVectors {
		(&vectorWriter{t: t, dir: vectorDir}).write(unitFile, buf.Bytes())
	}
	if !bytes.Equal(readVector(t, vectorDir, unitFile), buf.Bytes()) {
		t.Errorf("%s is not what is computed now; -update writes it", unitFile)
	}
}

func (u *units) hashes() {
	p := poseidon2.NewParametersWithSeed(3, 8, 56, "grille/v1/tag")
	for _, round := range p.RoundKeys {
		for _, k := range round {
			u.Constants = append(u.Constants, bundle.FormatElement(k))
		}
	}
	large := vectorElement("large")
	for _, use := range []circuits.Use{circuits.UseNode, circuits.UseBucket1, circuits.UseBucket2, circuits.UseBucket3, circuits.UseRecord1, circuits.UseRecord2,
		circuits.UseRecord3, circuits.UseRecord4, circuits.UseTag, circuits.UseNullifier, circuits.UseScopeKey} {
		for _, in := range [][3]fr.Element{{}, {fr.NewElement(1), fr.NewElement(2), fr.NewElement(3)}, {large, large, large}} {
			h := hashOf{Out: bundle.FormatElement(circuits.Hash(use, in[0], in[1], in[2]))}
			for i := range in {
				h.In[i] = bundle.FormatElement(in[i])
			}
			u.Hashes[string(use)] = append(u.Hashes[string(use)], h)
		}
	}
}

func (u *units) names() {
	add := func(what, is string, from ...string) { u.Names = append(u.Names, derived{what, from, is}) }
	key := circuits.SubjectKey(vectorInstance, "person", "P-0001")
	nonce, scopeKey := vectorElement("nonce"), vectorElement("scope key")
	scope := (&bundle.Scope{Program: vectorProgram, Period: vectorPeriod}).Element(vectorInstance, civil)
	add("subject key", hex.EncodeToString(key[:]), vectorInstance, "person", "P-0001")
	add("tag", bundle.FormatElement(circuits.Tag(key, nonce)), hex.EncodeToString(key[:]), bundle.FormatElement(nonce))
	add("scope", bundle.FormatElement(scope), vectorInstance, civil, vectorProgram, vectorPeriod)
	add("scope key commitment", bundle.FormatElement(circuits.ScopeKeyCommitment(scopeKey)), bundle.FormatElement(scopeKey))
	add("nullifier", bundle.FormatElement(circuits.Nullifier(scopeKey, key, scope)), bundle.FormatElement(scopeKey), hex.EncodeToString(key[:]), bundle.FormatElement(scope))
	for _, text := range []string{"west", "Köln", "\u2028"} {
		add("text", bundle.FormatElement(circuits.TextElement(text)), text)
	}
	for _, n := range []int64{1, -1, 150050, math.MaxInt64, math.MinInt64} {
		var e fr.Element
		e.SetInt64(n)
		add("number in a program", bundle.FormatElement(e), fmt.Sprint(n))
	}
	for _, n := range []int64{0, 1, -1, math.MaxInt64, -math.MaxInt64} {
		code, err := circuits.EncodeInt(n)
		if err != nil {
			panic(err)
		}
		add("number in a column", element64(code), fmt.Sprint(n))
	}
}

func (u *units) days(t *testing.T) {
	for _, c := range []dayOf{{AsOf: "1970-01-01"}, {AsOf: "2026-03-01", Years: 65}, {AsOf: "2024-02-29", Years: 1}, {AsOf: "2024-02-29", Years: 4},
		{AsOf: "2000-02-29", Years: 100}, {AsOf: "2100-02-28", Years: 200}, {AsOf: "0001-01-01"}, {AsOf: "0001-01-01", Years: 200}, {AsOf: "9999-12-31"}} {
		slot := policy.Template{Program: circuits.Program{Atoms: []circuits.Atom{{Test: circuits.AtLeastZero}}, Gates: []circuits.Gate{{Atoms: []int{1}}},
			OnAbsent: circuits.NoRecord, OnMissing: circuits.Indeterminate}, Dates: []policy.DateSlot{{Years: c.Years, Sign: 1}}}
		p, err := slot.ProgramAt(c.AsOf)
		if err != nil {
			t.Fatal(err)
		}
		c.Days = p.Atoms[0].Constant
		u.Days = append(u.Days, c)
	}
}

// answer rebuilds the statement of the bundle whose program has all parts, as a verifier does.
func (u *units) answer(t *testing.T) {
	const name = "bundles/valid-full-program.json"
	b, err := bundle.Decode(readVector(t, vectorDir, name))
	if err != nil {
		t.Fatal(err)
	}
	h, err1 := b.PeekHeader()
	q, err2 := b.PeekQuery()
	published, declared := publishedPolicy(t, b)
	template, err3 := policy.ParseTemplate(published.Template)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	program, err := template.ProgramAt(h.AsOf)
	if err != nil {
		t.Fatal(err)
	}
	tag, _ := bundle.ParseElement(q.Tag)
	verdict, _ := circuits.ParseVerdict(b.Verdict)
	pub := &circuits.Public{Root: newPeopleOf(t, declared).root, Tag: tag, Context: bundle.Context(h, &b.Header), Verdict: verdict, Program: program}
	s := schemaOf(t, declared)
	var positions []int
	if pub.Mask, positions, err = bundle.Mask(s, q.Disclose); err != nil {
		t.Fatal(err)
	}
	for i, d := range b.Disclosed {
		pub.Disclosed[positions[i]], _ = bundle.ParseElement(d.Value)
	}
	vector, err := pub.Vector()
	if err != nil {
		t.Fatal(err)
	}
	names := circuits.PublicNames()
	a := answerUnits{Bundle: name, Query: bundle.QueryDigest(&b.Query).String(), Context: bundle.FormatElement(pub.Context), Inputs: map[string]string{}, Order: names[:39]}
	a.Answer = bundle.AnswerDigest(&b.Header, pub).String()
	a.Receipt = receipt.Digest(b.Salt, h.Query, b.Verdict, bundle.AnswerDigest(&b.Header, pub)).String()
	digest := sha256.New()
	for i := range vector {
		raw := vector[i].Bytes()
		digest.Write(raw[:])
		if !vector[i].IsZero() {
			a.Inputs[names[i]] = strings.TrimLeft(hex.EncodeToString(raw[:]), "0")
		}
	}
	a.SHA256 = hex.EncodeToString(digest.Sum(nil))
	sum := sha256.Sum256(published.Template)
	a.Template = hex.EncodeToString(sum[:])
	a.Sum = publicSum(t, readVector(t, vectorDir, "keys/development.key"), vector)
	u.Answer = a
}

func publishedPolicy(t *testing.T, b *bundle.Bundle) (p entry.PolicyPublish, d entry.DatasetDeclare) {
	t.Helper()
	for _, e := range b.Entries {
		decoded, err := entry.Decode([]byte(e.Body))
		if err != nil {
			t.Fatal(err)
		}
		switch e := decoded.(type) {
		case entry.PolicyPublish:
			p = e
		case entry.DatasetDeclare:
			d = e
		}
	}
	return p, d
}

// publicSum is what the proof's equation takes of the public inputs.
func publicSum(t *testing.T, key []byte, vector []fr.Element) string {
	t.Helper()
	k := make([]bls.G1Affine, len(vector)+1)
	for i := range k {
		if _, err := k[i].SetBytes(key[404+48*i : 452+48*i]); err != nil {
			t.Fatal(err)
		}
	}
	var sum bls.G1Affine
	if _, err := sum.MultiExp(k[1:], vector, ecc.MultiExpConfig{}); err != nil {
		t.Fatal(err)
	}
	sum.Add(&sum, &k[0])
	raw := sum.Bytes()
	return hex.EncodeToString(raw[:])
}

func (u *units) trees(t *testing.T) {
	var bodies []string
	for i := range 9 {
		bodies = append(bodies, fmt.Sprintf("entry %d", i))
	}
	l := newMemoryLog(t, bodies)
	for n := int64(1); n <= 9; n++ {
		root := l.tree(t, uint64(n)).Hash
		tree := treeUnits{Size: n, Root: hex.EncodeToString(root[:])}
		for i := range n {
			path, err := tlog.ProveRecord(n, i, l)
			if err != nil {
				t.Fatal(err)
			}
			hashes := []string{}
			for _, h := range path {
				hashes = append(hashes, hex.EncodeToString(h[:]))
			}
			tree.Paths = append(tree.Paths, hashes)
		}
		u.Logs = append(u.Logs, tree)
	}
}

func (u *units) notes(t *testing.T) {
	origin := network.LogName(vectorInstance, civil, 1)
	mirror := network.MirrorName(vectorInstance, tax, 1)
	text := note.Text(origin, tlog.Tree{N: 9, Hash: tlog.Hash(vectorSalt("root"))})
	owner := noteUnits{Key: network.LogVKey(origin, vectorKeys.Public("log "+civil)), Text: text, Line: noteLine(origin, 1, vectorKeys.Key("log "+civil), []byte(text), nil)}
	cosigned := noteUnits{Key: network.MirrorVKey(mirror, vectorKeys.Public("mirror "+tax)), Text: text, Time: vectorNow.Unix()}
	line, err := note.Cosign(text, mirror, vectorKeys.Key("mirror "+tax), vectorNow)
	if err != nil {
		t.Fatal(err)
	}
	cosigned.Line = line
	u.Notes = []noteUnits{owner, cosigned}
}

// keys are refused by whoever reads a verifying key.
func (u *units) keys(t *testing.T) {
	good := readVector(t, vectorDir, "keys/development.key")
	smallOrder, inside := smallG1(), bls.G1Affine{}
	if _, err := inside.SetBytes(good[404:452]); err != nil {
		t.Fatal(err)
	}
	inside.Add(&inside, &smallOrder)
	moved := inside.Bytes()
	u.Keys = []keyUnits{
		{"no magic", 0, "47", false},
		{"a magic of another version", 10, "32", false},
		{"no kind", 16, strings.Repeat("00", 16), false},
		{"a kind in capitals", 16, "44", false},
		{"a kind with a gap", 18, "00", false},
		{"640 public inputs", 64, hex.EncodeToString(binary.BigEndian.AppendUint32(nil, 640)), false},
		{"a byte more", len(good), "00", false},
		{"a byte less", len(good) - 1, "", true},
		{"alpha at infinity", 68, infinity[:96], false},
		{"beta at infinity", 116, infinity, false},
		{"gamma off the twist's subgroup", 212, hex.EncodeToString(outsideG2()), false},
		{"K[0] and a point of small order, added up", 404, hex.EncodeToString(moved[:]), false},
		{"K[3], of the context, at infinity: any context would do", 404 + 3*48, infinity[:96], false},
		{"gamma for delta: anybody could prove anything", 308, hex.EncodeToString(good[212:308]), false},
		{"the last K off the curve", len(good) - 48, "80" + strings.Repeat("00", 46) + "01", false},
		{"delta that is gamma: (alpha, beta, -sum) would prove anything", 308, hex.EncodeToString(good[212:308]), false},
		{"delta with the order of the base field for a coordinate", 308, flagged(fieldOrder) + strings.Repeat("00", 48), false},
	}
	for _, k := range u.Keys {
		if _, err := prover.NewVerifier(k.apply(good)); !errors.Is(err, prover.ErrVerifyingKey) {
			t.Errorf("verifying key with %s: %v", k.About, err)
		}
	}
}

func flagged(x string) string {
	raw := fromHex(x)
	raw[0] |= 0x80
	return hex.EncodeToString(raw)
}

func (k keyUnits) apply(key []byte) []byte {
	out := slices.Concat(key[:k.Offset], fromHex(k.Bytes))
	if end := len(out); !k.Cut && end < len(key) {
		out = append(out, key[end:]...)
	}
	return out
}
