package circuits

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"pgregory.net/rapid"
)

func TestSubjectKeyPartsAreSeparate(t *testing.T) {
	base := SubjectKey("net", "person", "123")
	if base != SubjectKey("net", "person", "123") {
		t.Fatal("not a function")
	}
	for _, other := range []Key{SubjectKey("netp", "erson", "123"), SubjectKey("net", "person1", "23"),
		SubjectKey("net", "person", "124"), SubjectKey("net", "company", "123"), SubjectKey("", "netperson", "123")} {
		if other == base {
			t.Error("two subjects share a key")
		}
	}
}

func TestKeyIsQuotientAndPlace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := Key(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key"))
		checkSplit(t, k)
	})
	one := big.NewInt(1)
	for _, n := range []*big.Int{new(big.Int), one, big.NewInt(Places - 1), big.NewInt(Places), new(big.Int).Sub(power(64), one),
		power(64), power(127), new(big.Int).Sub(power(128), one)} {
		checkSplit(t, keyOf(n))
	}
}

type fataler interface{ Fatalf(string, ...any) }

func checkSplit(t fataler, k Key) {
	n := new(big.Int).SetBytes(k[:])
	q, r := new(big.Int).DivMod(n, big.NewInt(Places), new(big.Int))
	quotient, place := k.split()
	got := new(big.Int).Lsh(new(big.Int).SetUint64(quotient[0]), 64)
	got.Or(got, new(big.Int).SetUint64(quotient[1]))
	if got.Cmp(q) != 0 || place != r.Uint64() || k.Place() != place || q.BitLen() > quotientBits {
		t.Fatalf("%v is split into %v and %v", n, got, place)
	}
	sum := uint64(0)
	d := digits(place)
	for i := Levels - 1; i >= 0; i-- {
		sum = sum*3 + uint64(d[i])
	}
	if e := k.Element(); sum != place || e.BigInt(new(big.Int)).Cmp(n) != 0 {
		t.Fatalf("%v has another place or element", n)
	}
}

func TestPlacesIsThreeToTheLevels(t *testing.T) {
	if new(big.Int).Exp(big.NewInt(3), big.NewInt(Levels), nil).Cmp(big.NewInt(Places)) != 0 {
		t.Fatal("it is not")
	}
}

func TestIntEncoding(t *testing.T) {
	for v, want := range map[int64]uint64{math.MinInt64 + 1: 1, -1: 1<<63 - 1, 0: 1 << 63, 1: 1<<63 + 1, math.MaxInt64: math.MaxUint64} {
		u, err := EncodeInt(v)
		if err != nil || u != want {
			t.Errorf("%d is encoded as %d, %v", v, u, err)
		}
		if back, present := DecodeInt(u); back != v || !present {
			t.Errorf("%d is decoded as %d, %v", u, back, present)
		}
	}
	if _, err := EncodeInt(math.MinInt64); !errors.Is(err, ErrInt) {
		t.Error("the smallest integer is encoded")
	}
	if v, present := DecodeInt(0); v != 0 || present {
		t.Error("0 is not missing")
	}
}

func TestTextElement(t *testing.T) {
	seen := map[fr.Element]string{}
	for _, s := range []string{"", "a", "b", "a\x00", "Zürich", "Zu\u0308rich"} {
		e := TextElement(s)
		if e.IsZero() || e.BigInt(new(big.Int)).BitLen() > 248 {
			t.Errorf("%q has an element that is 0 or beyond 248 bits", s)
		}
		if other, ok := seen[e]; ok {
			t.Errorf("%q and %q are equal", s, other)
		}
		seen[e] = s
	}
}

func TestCommitmentBindsEveryColumnAndTheSalt(t *testing.T) {
	r := newRand(1)
	salt := randElement(r)
	seen := map[fr.Element]int{sampleRecord().Commitment(salt): -1}
	add := func(i int, c fr.Element) {
		if j, ok := seen[c]; ok {
			t.Errorf("changes %d and %d have one commitment", i, j)
		}
		seen[c] = i
	}
	for i := range Columns {
		record := sampleRecord()
		if i < NumericColumns {
			record.Numeric[i]++
		} else {
			record.Text[i-NumericColumns] = randElement(r)
		}
		add(i, record.Commitment(salt))
	}
	add(Columns, sampleRecord().Commitment(randElement(r)))
	swapped := sampleRecord()
	swapped.Numeric[0], swapped.Numeric[1] = swapped.Numeric[1], swapped.Numeric[0]
	add(Columns+1, swapped.Commitment(salt))
}

func TestColumn(t *testing.T) {
	r := sampleRecord()
	for i := range Columns {
		want := fr.Element{}
		if i < NumericColumns {
			want.SetUint64(r.Numeric[i])
		} else {
			want = r.Text[i-NumericColumns]
		}
		if got := r.Column(i); !got.Equal(&want) {
			t.Errorf("column %d", i)
		}
	}
}

func TestEmptyTree(t *testing.T) {
	r := newRand(1)
	k := randKey(r)
	o := Opening{Bucket: EmptyBucket()}
	for i := range o.Siblings {
		o.Siblings[i] = [2]fr.Element{EmptyNode(i), EmptyNode(i)}
	}
	if root, want := o.Root(k.Place()), EmptyNode(Levels); !root.Equal(&want) {
		t.Fatal("an empty tree has another root")
	}
	b := EmptyBucket()
	if h, want := b.Hash(), EmptyNode(0); !h.Equal(&want) {
		t.Fatal("an empty bucket has another hash")
	}
	if e := b[0].Key; e.BigInt(new(big.Int)).Cmp(power(128)) != 0 {
		t.Fatal("an empty slot's key is not 2^128")
	}
}

// A small tree built by hand leads to the same root from each of its leaves.
func TestOpeningFollowsItsDigits(t *testing.T) {
	r := newRand(1)
	var leaves [9]Bucket
	var hashes [9]fr.Element
	for i := range leaves {
		leaves[i] = EmptyBucket()
		leaves[i][0] = Slot{randElement(r), randElement(r)}
		hashes[i] = leaves[i].Hash()
	}
	var inner [3]fr.Element
	for i := range inner {
		inner[i] = NodeHash(hashes[3*i], hashes[3*i+1], hashes[3*i+2])
	}
	want := NodeHash(inner[0], inner[1], inner[2])
	for level := 2; level < Levels; level++ {
		want = NodeHash(want, EmptyNode(level), EmptyNode(level))
	}
	for place := range leaves {
		o := Opening{Bucket: leaves[place]}
		o.Siblings[0] = others([3]fr.Element(hashes[place/3*3:place/3*3+3]), place%3)
		o.Siblings[1] = others(inner, place/3)
		for level := 2; level < Levels; level++ {
			o.Siblings[level] = [2]fr.Element{EmptyNode(level), EmptyNode(level)}
		}
		if got := o.Root(uint64(place)); !got.Equal(&want) {
			t.Errorf("place %d leads to another root", place)
		}
		if got := o.Root(uint64(place+1) % 9); got.Equal(&want) {
			t.Errorf("place %d opens as its neighbour", place)
		}
	}
}

func others(of [3]fr.Element, i int) [2]fr.Element {
	switch i {
	case 0:
		return [2]fr.Element{of[1], of[2]}
	case 1:
		return [2]fr.Element{of[0], of[2]}
	}
	return [2]fr.Element{of[0], of[1]}
}

func TestBucketHashBindsEverySlot(t *testing.T) {
	r := newRand(1)
	base := EmptyBucket()
	seen := map[fr.Element]bool{base.Hash(): true}
	for i := range base {
		for _, change := range []Slot{{randElement(r), base[i].Commitment}, {base[i].Key, randElement(r)}} {
			b := base
			b[i] = change
			if seen[b.Hash()] {
				t.Errorf("slot %d is not bound", i)
			}
			seen[b.Hash()] = true
		}
	}
}

func TestVerdictText(t *testing.T) {
	for v, name := range map[Verdict]string{NotSatisfied: "not_satisfied", Satisfied: "satisfied",
		Indeterminate: "indeterminate", NoRecord: "no_record"} {
		b, err := json.Marshal(v)
		if err != nil || string(b) != `"`+name+`"` || v.String() != name {
			t.Errorf("%d is written %s, %v", v, b, err)
		}
		var back Verdict
		if err := json.Unmarshal(b, &back); err != nil || back != v {
			t.Errorf("%s is read as %d, %v", b, back, err)
		}
	}
	for _, bad := range []string{`"approved"`, `""`, `1`, `"Satisfied"`, `"satisfied "`} {
		var v Verdict
		if json.Unmarshal([]byte(bad), &v) == nil {
			t.Errorf("%s is read", bad)
		}
	}
	if _, err := Verdict(4).MarshalText(); !errors.Is(err, ErrVerdict) {
		t.Error("an undeclared verdict is written")
	}
	if Verdict(9).String() != "verdict(9)" {
		t.Error(Verdict(9).String())
	}
}

func TestSecretPublicRefusesWhatDoesNotFit(t *testing.T) {
	r := newRand(1)
	fresh := func() *fixture { return newFixture(r, sampleRecord(), sampleProgram()) }
	cases := map[string]func(*fixture){
		"another root":          func(f *fixture) { f.root = randElement(r) },
		"another key":           func(f *fixture) { f.sec.Key = randKey(r) },
		"another sibling":       func(f *fixture) { f.sec.Opening.Siblings[20][1] = randElement(r) },
		"another salt":          func(f *fixture) { f.sec.Salt = randElement(r) },
		"another record":        func(f *fixture) { f.sec.Record.Numeric[11]++ },
		"no record given":       func(f *fixture) { f.sec.Record = nil },
		"the key in two slots":  func(f *fixture) { f.sec.Opening.Bucket[2] = f.sec.Opening.Bucket[1]; f.reroot() },
		"a record not there":    func(f *fixture) { f.sec.Opening.Bucket[1] = EmptyBucket()[0]; f.reroot() },
		"another bucket's root": func(f *fixture) { f.sec.Opening.Bucket[1] = EmptyBucket()[0] },
	}
	for name, change := range cases {
		f := fresh()
		change(f)
		if _, err := f.sec.Public(f.root, f.context, f.scope, f.mask, f.program); !errors.Is(err, ErrOpening) {
			t.Errorf("%s: %v", name, err)
		}
	}
	f := fresh()
	f.program.Gates = nil
	if _, err := f.sec.Public(f.root, f.context, f.scope, f.mask, f.program); !errors.Is(err, ErrProgram) {
		t.Error(err)
	}
}

func TestSecretPublicFillsTheAnswer(t *testing.T) {
	f := newFixture(newRand(1), sampleRecord(), sampleProgram())
	f.mask[2], f.mask[15] = true, true
	pub := f.public(t)
	if pub.Verdict != Satisfied || pub.Tag != Tag(f.sec.Key, f.sec.TagNonce) || pub.Nullifier != Nullifier(f.sec.ScopeKey, f.sec.Key, f.scope) ||
		pub.ScopeKeyCommitment != ScopeKeyCommitment(f.sec.ScopeKey) {
		t.Error("another verdict, tag or nullifier")
	}
	for i, d := range pub.Disclosed {
		want := fr.Element{}
		if f.mask[i] {
			want = f.sec.Record.Column(i)
		}
		if d != want {
			t.Errorf("column %d is disclosed wrongly", i)
		}
	}
	f.scope = fr.Element{}
	if pub := f.public(t); !pub.Nullifier.IsZero() || !pub.ScopeKeyCommitment.IsZero() {
		t.Error("a nullifier without a scope")
	}
}

func BenchmarkCommitment(b *testing.B) {
	r, salt := sampleRecord(), randElement(newRand(1))
	for b.Loop() {
		r.Commitment(salt)
	}
}

func BenchmarkOpeningRoot(b *testing.B) {
	f := newFixture(newRand(1), sampleRecord(), sampleProgram())
	place := f.sec.Key.Place()
	for b.Loop() {
		f.sec.Opening.Root(place)
	}
}
