package trace

import (
	"slices"
	"testing"
	"time"

	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/ledger/network/networktest"
	"github.com/grille-gateway/grille/ledger/note"
)

const (
	instance  = "trace.grille"
	holder    = "GOV/holder"
	requester = "GOV/requester"
	person    = "P-0001"
	beatNow   = 30_000_000 // of a minute: 2027-01-15T08:00:00Z
)

var (
	keys = networktest.Keys("trace ")
	made = receipt.BeatStart(beatNow, time.Minute).Add(10 * time.Minute)
)

// exchanged is what two members recorded of one answer and one refusal about one person. All of it follows from labels, so that what is
// kept on disk stays what it is.
type exchanged struct {
	tb     testing.TB
	config *network.Configuration
	sides  map[string]*File // receipts files by member, unsigned
	person *File            // the holder's subject file, unsigned
	// batched is when the batches say that they were made.
	batched time.Time
}

func newExchanged(tb testing.TB, change ...func(*network.Member)) *exchanged {
	tb.Helper()
	x := &exchanged{tb: tb, sides: map[string]*File{}, batched: made.Add(-9 * time.Minute)}
	var cards []network.Card
	for i, name := range []string{holder, requester} {
		m := keys.Member(instance, name, []string{"127.0.0.1:4401", "127.0.0.1:4402"}[i], true)
		for _, c := range change {
			c(&m)
		}
		cards = append(cards, keys.Card(tb, instance, m))
	}
	x.config = networktest.Build(tb, instance, network.Params{BeatSeconds: 60,
		Schemes: []network.Scheme{{Name: "person", Pattern: `P-[0-9]{4}`, Normalise: "upper", Example: "P-1234"}}}, cards...)
	no, err := bundle.Sign(keys.Key("query "+holder), bundle.LabelRefusal, &bundle.Refusal{Version: 1, Query: bundle.QueryDigest(x.query(1)),
		Code: "purpose_not_allowed", Message: "the agreement is for another purpose or legal basis", Time: entry.FormatTime(made)})
	x.check(err)
	answered := []*Record{x.record(0, circuits.Satisfied.String(), "", receipt.Sum("an answer"), nil),
		x.record(1, receipt.OutcomeRefused, "purpose_not_allowed", no.Digest(bundle.LabelRefusal), &no)}
	x.logged(answered)
	for _, name := range []string{holder, requester} {
		x.sides[name] = &File{Version: 1, Kind: KindReceipts, Instance: instance, Member: name, Made: entry.FormatTime(made), Records: []*Record{}}
	}
	x.person = &File{Version: 1, Kind: KindSubject, Instance: instance, Member: holder, Made: entry.FormatTime(made), Logs: x.sides[holder].Logs}
	for i, r := range answered {
		x.check(r.Read())
		mine, theirs, opened := *r, *r, *r
		mine.Role, theirs.Role, opened.Role = RoleAnswered, RoleAsked, RoleAnswered
		mine.Asked, opened.Asked = nil, nil
		opened.Nonce = bundle.FormatElement(x.nonce(i))
		x.sides[holder].Records = append(x.sides[holder].Records, &mine)
		x.sides[requester].Records = append(x.sides[requester].Records, &theirs)
		x.person.Records = append(x.person.Records, &opened)
	}
	x.logs(answered)
	return x
}

func (x *exchanged) check(err error) {
	x.tb.Helper()
	if err != nil {
		x.tb.Fatal(err)
	}
}

func (x *exchanged) nonce(i int) fr.Element { return fr.NewElement(uint64(1000 + i)) }

func (x *exchanged) query(i int) *bundle.Signed {
	x.tb.Helper()
	issued := receipt.BeatStart(beatNow, time.Minute).Add(time.Duration(i) * time.Second)
	tag := circuits.Tag(circuits.SubjectKey(instance, "person", person), x.nonce(i))
	q, err := bundle.Sign(keys.Key("query "+requester), bundle.LabelQuery, &bundle.Query{Version: 1, ID: receipt.Sum("id", []byte{byte(i)}).String()[:32],
		Instance: instance, Requester: requester, Holder: holder, Policy: "aged", PolicyVersion: 1, Tag: bundle.FormatElement(tag),
		Purpose: []string{"care", "curiosity"}[i], LegalBasis: "law", Issued: entry.FormatTime(issued), Expires: entry.FormatTime(issued.Add(time.Minute))})
	x.check(err)
	return &q
}

// record makes the parts that both sides share, and the requester's own receipt.
func (x *exchanged) record(i int, outcome, code string, answer receipt.Hash, no *bundle.Signed) *Record {
	x.tb.Helper()
	salt := receipt.Sum("salt", []byte{byte(i)})
	q := x.query(i)
	p, err := bundle.Sign(keys.Key("query "+holder), bundle.LabelPromise, &receipt.Promise{Version: 1, Member: holder, Query: bundle.QueryDigest(q),
		Receipt: receipt.Digest(salt, bundle.QueryDigest(q), outcome, answer), Beat: beatNow, Place: uint32(7 + i),
		Deadline: entry.FormatTime(receipt.Deadline(beatNow, time.Minute))})
	x.check(err)
	return &Record{Query: *q, Outcome: outcome, Code: code, Answer: answer, Salt: salt, Refusal: no, Promise: &p,
		Asked: &Asked{Salt: receipt.Sum("own salt", []byte{byte(i)}), Beat: beatNow, Place: uint32(70 + i)}}
}

// tree is the tree of one member's beat.
func (x *exchanged) tree(member string, leaves []receipt.Leaf) *receipt.Tree {
	x.tb.Helper()
	t, err := receipt.NewTree(receipt.Sum("seed", []byte(member)), leaves)
	x.check(err)
	return t
}

func (x *exchanged) leaves(records []*Record) (theirs, own []receipt.Leaf) {
	x.tb.Helper()
	for _, r := range records {
		x.check(r.Read())
		theirs = append(theirs, receipt.Leaf{Place: r.promise.Place, Receipt: r.promise.Receipt})
		var none receipt.Hash
		own = append(own, receipt.Leaf{Place: r.Asked.Place, Receipt: receipt.Digest(r.Asked.Salt, bundle.QueryDigest(&r.Query), receipt.OutcomeAsked, none)})
	}
	return theirs, own
}

// logged fills in the paths of all receipts.
func (x *exchanged) logged(records []*Record) {
	x.tb.Helper()
	theirs, own := x.leaves(records)
	for _, r := range records {
		var err error
		r.Path, err = x.tree(holder, theirs).Path(r.promise.Place)
		x.check(err)
		r.Asked.Path, err = x.tree(requester, own).Path(r.Asked.Place)
		x.check(err)
	}
}

// logs gives each file the heads and batches that its records lead to.
func (x *exchanged) logs(records []*Record) {
	x.tb.Helper()
	theirs, own := x.leaves(records)
	h, r := x.log(holder, x.tree(holder, theirs).Root()), x.log(requester, x.tree(requester, own).Root())
	both := []Log{h, r}
	slices.SortFunc(both, func(a, b Log) int { return slices.Compare([]string{a.Origin}, []string{b.Origin}) })
	x.sides[holder].Logs, x.sides[requester].Logs, x.person.Logs = []Log{h}, both, []Log{h}
}

// log is a log whose second entry is the batch of the beat, final ten minutes later.
func (x *exchanged) log(member string, root receipt.Hash) Log {
	x.tb.Helper()
	first, err := entry.Encode(entry.ReceiptsBatch{Beat: beatNow - 1, Root: receipt.Sum("an idle beat").String(), Time: entry.FormatTime(made.Add(-10 * time.Minute))})
	x.check(err)
	batch, err := entry.Encode(entry.ReceiptsBatch{Beat: beatNow, Root: root.String(), Time: entry.FormatTime(x.batched)})
	x.check(err)
	before := tlog.RecordHash(first)
	head := tlog.Tree{N: 2, Hash: tlog.NodeHash(before, tlog.RecordHash(batch))}
	origin := x.config.Origin(member)
	signed, err := note.Sign(origin, head, keys.Key("log "+member))
	x.check(err)
	owner, err := note.VerifyOwner(x.config, origin, signed)
	x.check(err)
	var cosigned []note.Cosignature
	for _, mirror := range x.config.Mirrors() {
		line, err := note.Cosign(note.Text(origin, head), network.MirrorName(instance, mirror.Name, 1), keys.Key("mirror "+mirror.Name), made)
		x.check(err)
		c, err := note.VerifyCosignature(mirror, note.Text(origin, head), line)
		x.check(err)
		cosigned = append(cosigned, c)
	}
	return Log{Origin: origin, Checkpoint: string(note.Assemble(owner, cosigned)),
		Batches: []bundle.Entry{{Index: 1, Body: string(batch), Path: [][]byte{before[:]}}}}
}

// signed is a file as its member signs it.
func (x *exchanged) signed(f *File) []byte {
	x.tb.Helper()
	data, err := f.Sign(keys.Key("query " + f.Member))
	x.check(err)
	return data
}

func (x *exchanged) all() []*network.Configuration { return []*network.Configuration{x.config} }
