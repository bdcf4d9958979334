package trace

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/receipt"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGolden: the bytes of both kinds of files are what they were.
func TestGolden(t *testing.T) {
	x := newExchanged(t)
	for name, f := range map[string]*File{"holder.json": x.sides[holder], "requester.json": x.sides[requester], "subject.json": x.person} {
		data, path := x.signed(f), filepath.Join("testdata", name)
		if *update {
			x.check(os.WriteFile(path, data, 0o600))
		}
		want, err := os.ReadFile(path)
		x.check(err)
		if !bytes.Equal(data, want) {
			t.Errorf("%s is %d bytes, the golden file %d; or the bytes differ", name, len(data), len(want))
		}
		report, err := Verify(x.all(), want)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if report.Records != 2 || report.Pending != 0 || report.Broken != 0 || report.Unopened != 0 || report.Logged != 2*len(f.Logs) {
			t.Errorf("%s: %+v", name, report)
		}
		if f.Kind == KindSubject {
			if len(data)%sizeStep != 0 {
				t.Errorf("a subject file of %d bytes", len(data))
			}
			x.check(report.About(x.config, strings.ToLower(person)))
			if err := report.About(x.config, "P-0002"); !errors.Is(err, ErrFile) {
				t.Errorf("the file passes for another person's: %v", err)
			}
		}
	}
}

// TestBadInput lists the bytes that are no file, with what is said of each.
func TestBadInput(t *testing.T) {
	x := newExchanged(t)
	good := string(x.signed(x.sides[requester]))
	replaced := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("the file has no %q", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	records := `"records":[` + strings.Repeat("{},", MaxRecords) + `{}]`
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"empty":              {"", ErrFile},
		"no JSON":            {"receipts", ErrFile},
		"another document":   {`{"v":1}`, ErrFile},
		"null":               {"null", ErrFile},
		"a list":             {"[" + good + "]", ErrFile},
		"cut":                {good[:len(good)-1], ErrFile},
		"two files":          {good + good, ErrFile},
		"line feed at end":   {good + "\n", ErrFile},
		"byte order mark":    {"\ufeff" + good, ErrFile},
		"not UTF-8":          {replaced(`"GOV/requester"`, "\"GOV/\xff\""), ErrFile},
		"reformatted":        {replaced(`"v":1,`, `"v": 1,`), ErrFile},
		"escaped":            {replaced(`"kind":"receipts"`, `"kind":"rec\u0065ipts"`), ErrFile},
		"duplicate name":     {replaced(`{"v":1,`, `{"v":1,"v":1,`), ErrFile},
		"unknown name":       {replaced(`{"v":1,`, `{"v":1,"w":1,`), ErrFile},
		"other case":         {replaced(`"member"`, `"Member"`), ErrFile},
		"version":            {replaced(`{"v":1,`, `{"v":2,`), ErrFile},
		"kind":               {replaced(`"kind":"receipts"`, `"kind":"wishes"`), ErrFile},
		"no records":         {good[:strings.Index(good, `"records":`)] + `"records":null,"signature":""}`, ErrFile},
		"null record":        {good[:strings.Index(good, `"records":`)] + `"records":[null],"signature":""}`, ErrFile},
		"empty record":       {good[:strings.Index(good, `"records":`)] + `"records":[{}],"signature":""}`, ErrFile},
		"query no JSON":      {replaced(`"query":{"body":"{`, `"query":{"body":"`), ErrFile},
		"hash in capitals":   {replaced(`"salt":"`, `"salt":"A`), ErrFile},
		"short hash":         {replaced(`"path":["`, `"path":["00","`), ErrFile},
		"place beyond":       {replaced(`"place":70`, `"place":4294967296`), ErrFile},
		"negative beat":      {replaced(`"beat":30000000`, `"beat":-1`), ErrFile},
		"deep":               {strings.Repeat("[", 1000), ErrFile},
		"larger than a file": {good + strings.Repeat(" ", MaxFile), ErrFile},
		"too many records":   {`{"v":1,"kind":"receipts","instance":"","member":"","made":"",` + records + `,"signature":""}`, ErrFile},
	} {
		if _, err := Decode([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Verify(x.all(), []byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s, verified: %v", name, err)
		}
	}
}

// TestTooMany: a file of more records than it may have is refused, and not written.
func TestTooMany(t *testing.T) {
	x := newExchanged(t)
	f := x.sides[holder]
	for len(f.Records) <= MaxRecords {
		f.Records = append(f.Records, f.Records[0])
	}
	data, err := f.Sign(keys.Key("query " + holder))
	if err == nil {
		_, err = Decode(data)
	}
	if !errors.Is(err, ErrTooMuch) {
		t.Errorf("%v", err)
	}
}

// TestEveryByteCounts changes single bytes of a file.
func TestEveryByteCounts(t *testing.T) {
	x := newExchanged(t)
	for _, f := range []*File{x.sides[holder], x.person} {
		data := x.signed(f)
		for i := 0; i < len(data); i += 1 + i/200 + len(data)/2000 {
			forged := bytes.Clone(data)
			forged[i] ^= 1
			if _, err := Verify(x.all(), forged); !errors.Is(err, ErrFile) {
				t.Fatalf("byte %d of a %s file: %v", i, f.Kind, err)
			}
		}
	}
}

// TestForgedBySigner has files refused that their own member signed and that say what their evidence does not show.
func TestForgedBySigner(t *testing.T) {
	for name, forge := range map[string]func(x *exchanged) *File{
		"signed as the other kind": func(x *exchanged) *File { x.person.Kind = KindReceipts; return x.person },
		"tag opened for everybody": func(x *exchanged) *File {
			x.sides[holder].Records[0].Nonce = x.person.Records[0].Nonce
			return x.sides[holder]
		},
		"another's query":    func(x *exchanged) *File { x.sides[holder].Records[0].Role = RoleAsked; return x.sides[holder] },
		"a verdict, refused": func(x *exchanged) *File { x.sides[holder].Records[1].Outcome = "satisfied"; return x.sides[holder] },
		"another code":       func(x *exchanged) *File { x.sides[holder].Records[1].Code = "query_expired"; return x.sides[holder] },
		"asked without receipt": func(x *exchanged) *File {
			x.sides[requester].Records[0].Asked = nil
			return x.sides[requester]
		},
		"answered, said rejected": func(x *exchanged) *File {
			r := x.sides[requester].Records[0]
			r.Outcome, r.Code = OutcomeRejected, "proof"
			return x.sides[requester]
		},
		"receipt at another place": func(x *exchanged) *File { x.sides[requester].Records[0].Asked.Place++; return x.sides[requester] },
		"batch of another log": func(x *exchanged) *File {
			logs := x.sides[requester].Logs
			logs[0].Batches, logs[1].Batches = logs[1].Batches, logs[0].Batches
			return x.sides[requester]
		},
		"broken without promise": func(x *exchanged) *File {
			r := x.sides[requester].Records[0]
			r.Outcome, r.Promise, r.Path, r.Broken = "asked", nil, nil, BrokenMissed
			r.Answer, r.Salt = r.Asked.Path[0], r.Asked.Path[0]
			return x.sides[requester]
		},
		"records out of time": func(x *exchanged) *File {
			x.sides[holder].Until = x.sides[holder].Records[1].query.Issued
			return x.sides[holder]
		},
	} {
		x := newExchanged(t)
		if _, err := Verify(x.all(), x.signed(forge(x))); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMadeTooEarly: what a file was made too early to show is no difference; what it could have shown is one.
func TestMadeTooEarly(t *testing.T) {
	for name, c := range map[string]struct {
		change func(holder, requester *File)
		want   Reconciliation
	}{
		"both show both":                    {func(_, _ *File) {}, Reconciliation{Compared: 2, Agreeing: 2}},
		"the holder's file is older":        {func(h, _ *File) { h.Made, h.Records = h.Records[1].query.Issued, h.Records[:1] }, Reconciliation{Compared: 1, Agreeing: 1, Later: 1}},
		"the requester's file is older":     {func(_, r *File) { r.Made, r.Records = r.Records[1].query.Issued, r.Records[:1] }, Reconciliation{Compared: 1, Agreeing: 1, Later: 1}},
		"the holder leaves one out":         {func(h, _ *File) { h.Records = h.Records[:1] }, Reconciliation{Compared: 2, Agreeing: 1}},
		"the requester leaves one out":      {func(_, r *File) { r.Records = r.Records[1:] }, Reconciliation{Compared: 2, Agreeing: 1}},
		"a reply may still come":            {func(_, r *File) { r.Made = r.Records[1].query.Expires; unanswered(r.Records[1]) }, Reconciliation{Compared: 1, Agreeing: 1, Later: 1}},
		"no reply, and none can come":       {func(_, r *File) { unanswered(r.Records[1]) }, Reconciliation{Compared: 2, Agreeing: 1}},
		"the time of neither holds any":     {func(h, r *File) { h.Since, r.Until = "2100-01-01T00:00:00Z", "2099-01-01T00:00:00Z" }, Reconciliation{}},
		"the holder shows another's answer": {func(h, _ *File) { h.Records[0].promise.Receipt[0] ^= 1 }, Reconciliation{Compared: 2, Agreeing: 1}},
	} {
		x := newExchanged(t)
		h, r := x.sides[holder], x.sides[requester]
		for _, rec := range append(slices.Clone(h.Records), r.Records...) {
			x.check(rec.Read())
		}
		c.change(h, r)
		got, err := Reconcile(x.all(), h, r)
		x.check(err)
		if got.Compared != c.want.Compared || got.Agreeing != c.want.Agreeing || got.Later != c.want.Later || len(got.Differences) != got.Compared-got.Agreeing {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func unanswered(r *Record) {
	r.Outcome, r.Code, r.Refusal, r.Promise, r.Path = receipt.OutcomeAsked, "", nil, nil, nil
}

// FuzzVerify: nothing that is read makes it panic, and what is read has one encoding.
func FuzzVerify(f *testing.F) {
	x := newExchanged(f)
	for _, file := range []*File{x.sides[holder], x.sides[requester]} {
		f.Add(x.signed(file))
	}
	f.Add([]byte(`{"v":1,"kind":"subject","instance":"","member":"","made":"","records":[],"signature":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Decode(data)
		if err != nil {
			if !errors.Is(err, ErrFile) && !errors.Is(err, ErrTooMuch) {
				t.Fatalf("an error without a sentinel: %v", err)
			}
			return
		}
		if again, err := bundle.Encode(file); err != nil || !bytes.Equal(again, data) {
			t.Fatal("a file has two encodings")
		}
		if report, err := Verify(x.all(), data); err == nil {
			_ = report.About(x.config, person)
			_, _ = Reconcile(x.all(), file, x.sides[requester])
		}
	})
}

// FuzzReconcile compares changed files that nobody signed: whatever they say, both sides' counts add up.
func FuzzReconcile(f *testing.F) {
	x := newExchanged(f)
	f.Add(x.signed(x.sides[holder]), x.signed(x.sides[requester]))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		one, err := Decode(a)
		if err != nil {
			return
		}
		two, err := Decode(b)
		if err != nil {
			return
		}
		r, err := Reconcile(x.all(), one, two)
		if err != nil {
			return
		}
		if r.Agreeing > r.Compared || len(r.Differences) == 0 && r.Agreeing != r.Compared {
			t.Fatalf("%+v", r)
		}
	})
}
