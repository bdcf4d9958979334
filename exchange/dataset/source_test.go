package dataset

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/grille-gateway/grille/exchange/schema"
)

// secret stands in every bad cell; no error and no report may show it.
const secret = "Qx77"

func refuse(t *testing.T, s *Store, m *schema.Mapping, csv io.Reader, dir string) (*Report, error) {
	t.Helper()
	p, r, err := s.Import(context.Background(), "care", instance, person, csv, m, nil)
	if err == nil || p != nil || r == nil {
		t.Fatalf("imported as %+v", p)
	}
	if strings.Contains(err.Error(), secret) {
		t.Fatalf("the error shows a value: %v", err)
	}
	for _, problem := range r.Problems {
		if strings.Contains(problem.String(), secret) {
			t.Fatalf("a problem shows a value: %v", problem)
		}
	}
	if _, ok := s.Pending("care"); ok {
		t.Fatal("an epoch is pending after an error")
	}
	if files, err := os.ReadDir(filepath.Join(dir, "care")); err != nil || len(files) != 1 || files[0].Name() != schemaName {
		t.Fatalf("left on disk: %v, %v", files, err)
	}
	return r, err
}

func TestHostileFiles(t *testing.T) {
	s, m, dir, _ := careStore(t)
	const good = "NMES-000001,5,poor,6.9,yes,2.881,Main street,no\n"
	row := func(old, new string) string { return careHeader + strings.Replace(good, old, new, 1) }
	problems := map[string]struct {
		csv  string
		want string // the first problem
	}{
		"too few fields":      {careHeader + "NMES-000001," + secret + "\n", "line 2: has 2 fields, the header has 8"},
		"too many fields":     {careHeader + strings.TrimSpace(good) + "," + secret + "\n", "line 2: has 9 fields, the header has 8"},
		"not a number":        {row(",5,", ","+secret+","), "line 2: column visits: want a whole number"},
		"overflow":            {row(",5,", ",9223372036854775808,"), "line 2: column visits: want a number within 64 bits"},
		"too many decimals":   {row("6.9", "6.95"), "line 2: column age: want at most 1 decimals"},
		"unknown code":        {row("poor", secret), "line 2: column health: want one of the 3 declared codes"},
		"unmapped text":       {row("yes", secret), "line 2: column married: want one of the 2 mapped texts"},
		"bad UTF-8":           {row("Main street", secret+"\xff"), "line 2: column street: want text in UTF-8"},
		"control character":   {row("Main street", secret+"\x00"), "line 2: column street: want text without control characters"},
		"line break in text":  {row("Main street", "\""+secret+"\nx\""), "line 2: column street: want text without control characters"},
		"long text":           {row("Main street", secret+strings.Repeat("x", 2000)), "line 2: column street: want text of at most 1024 bytes"},
		"no identifier":       {row("NMES-000001", ""), "line 2: column identifier: not an identifier of this scheme"},
		"wrong identifier":    {row("NMES-000001", secret), "line 2: column identifier: not an identifier of this scheme"},
		"subject twice":       {careHeader + good + "\n" + strings.Replace(good, "NMES", "nmes", 1), "line 4: column identifier: the subject of line 2 again"},
		"quote inside":        {row("Main street", secret+"\" street"), "line 2: a quote stands inside"},
		"quote not closed":    {row("Main street", "\""+secret+"\n\n"), "line 2: a quoted field does not end"},
		"quote closed early":  {row("Main street", "\"Main\""+secret), "line 2: a quoted field does not end"},
		"endless field":       {careHeader + good + "\"" + strings.Repeat(secret, 1<<19), "line 3: a row from here on is longer"},
		"endless line":        {careHeader + good + strings.Repeat(secret+",", 1<<19), "line 3: a row from here on is longer"},
		"first cell too long": {row("NMES-000001", strings.Repeat(secret, 1000)), "line 2: column identifier: not an identifier"},
	}
	for name, c := range problems {
		t.Run(name, func(t *testing.T) {
			r, err := refuse(t, s, m, strings.NewReader(c.csv), dir)
			if !errors.Is(err, ErrProblems) || r.ProblemCount == 0 || !strings.HasPrefix(r.Problems[0].String(), c.want) {
				t.Fatalf("%v: %q", err, r.Problems)
			}
		})
	}
	broken := map[string]struct {
		csv  string
		want error
		say  string
	}{
		"nothing":            {"", schema.ErrHeader, "empty"},
		"only a mark":        {"\xef\xbb\xbf", schema.ErrHeader, "empty"},
		"only blank lines":   {"\n\r\n\n", schema.ErrHeader, "empty"},
		"no header":          {strings.Replace(good, "Main street", secret, 1), schema.ErrHeader, `"person"`},
		"column missing":     {"person,visits,health,age,married,street," + secret + "\n", schema.ErrHeader, `"income"`},
		"column twice":       {strings.Replace(careHeader, "medicaid", "age", 1), schema.ErrHeader, "twice"},
		"semicolons":         {strings.ReplaceAll(careHeader, ",", ";"), schema.ErrHeader, "commas"},
		"tabs":               {strings.ReplaceAll(careHeader, ",", "\t"), schema.ErrHeader, "commas"},
		"UTF-16":             {"\xff\xfep\x00e\x00", ErrSource, "UTF-16"},
		"UTF-16 big endian":  {"\xfe\xff\x00p\x00e", ErrSource, "UTF-16"},
		"header not UTF-8":   {secret + "\xff," + careHeader, schema.ErrHeader, "field 1"},
		"header field long":  {strings.Repeat(secret, 100) + "," + careHeader, schema.ErrHeader, "field 1"},
		"header too wide":    {strings.Repeat(secret+",", 1200) + careHeader, schema.ErrHeader, "1208"},
		"header line long":   {strings.Repeat(secret, 1<<19), ErrSource, "longer"},
		"header with quotes": {`a"` + secret + `",b` + "\n", ErrSource, "quote"},
	}
	for name, c := range broken {
		t.Run(name, func(t *testing.T) {
			if _, err := refuse(t, s, m, strings.NewReader(c.csv), dir); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.say) {
				t.Fatal(err)
			}
		})
	}
	t.Run("reader fails", func(t *testing.T) {
		failed := errors.New("disk failed")
		if _, err := refuse(t, s, m, io.MultiReader(strings.NewReader(careHeader+good), iotest.ErrReader(failed)), dir); !errors.Is(err, failed) {
			t.Fatal(err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		_, _, err := s.Import(ctx, "care", instance, person, strings.NewReader(table(patients(5000))), m, func(int, int) { cancel() })
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		refuse(t, s, m, strings.NewReader(""), dir)
	})
	t.Run("other scheme", func(t *testing.T) {
		other := person
		other.Name = "company"
		if _, _, err := s.Import(context.Background(), "care", instance, other, strings.NewReader(careHeader), m, nil); !errors.Is(err, ErrScheme) {
			t.Fatal(err)
		}
	})
	if _, _, err := s.Import(context.Background(), "tax", instance, person, strings.NewReader(careHeader), m, nil); !errors.Is(err, ErrDataset) {
		t.Error(err)
	}
	for _, m := range []*schema.Mapping{nil, {}} {
		if _, _, err := s.Import(context.Background(), "care", instance, person, strings.NewReader(careHeader), m, nil); !errors.Is(err, schema.ErrSchema) {
			t.Error(err)
		}
	}
}

func TestReportKeepsTheFirstProblems(t *testing.T) {
	s, m, dir, _ := careStore(t)
	var b strings.Builder
	b.WriteString(careHeader)
	for range 250 {
		b.WriteString(secret + "," + secret + "\n")
	}
	r, _ := refuse(t, s, m, strings.NewReader(b.String()), dir)
	if r.ProblemCount != 250 || len(r.Problems) != MaxProblems || r.Problems[99].Line != 101 || r.Rows != 250 || r.Accepted != 0 {
		t.Fatalf("%d problems, %d kept", r.ProblemCount, len(r.Problems))
	}
}

// Marks, line ends, quotes and a missing last line end make no difference.
func TestDialects(t *testing.T) {
	list := patients(3)
	plain := table(list)
	quoted := strings.NewReplacer("Street 1", "\"Street 1\"", "poor", "\"poor\"").Replace(plain)
	s, m, _, _ := careStore(t)
	first, _ := publish(t, s, m, plain)
	for name, csv := range map[string]string{
		"CRLF": strings.ReplaceAll(plain, "\n", "\r\n"), "mark": "\xef\xbb\xbf" + plain, "quotes": quoted,
		"no last line end": strings.TrimSuffix(plain, "\n"), "blank lines": strings.ReplaceAll(plain, "\n", "\n\n"),
	} {
		e, r := publish(t, s, m, csv)
		if r.Unchanged != 3 || r.Rows != 3 {
			t.Errorf("%s: %+v", name, r)
		}
		if a, b := lookup(t, first, keyOf(2)), lookup(t, e, keyOf(2)); a.Salt != b.Salt {
			t.Errorf("%s: the record changed", name)
		}
	}
}

func TestFilterAndSequence(t *testing.T) {
	s, _, _, _ := careStore(t)
	_, m, err := schema.Load([]byte(strings.Replace(careYAML, "id: {column: person}", "id: {sequence: \"NMES-%06d\"}\nwhere: {medicaid: \"yes\"}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	csv := "visits,health,age,married,income,street,medicaid\n"
	for i := range 10 {
		csv += "3,poor,6.9,yes,2.5," + []string{secret, "Main"}[i%2] + "," + []string{"no", "yes"}[i%2] + "\n"
	}
	csv = strings.Replace(csv, "3,poor", secret+",poor", 1) // in a filtered row: not read
	e, r := publish(t, s, m, csv)
	if r.Rows != 10 || r.Filtered != 5 || r.Accepted != 5 || e.Rows() != 5 {
		t.Fatalf("%+v", r)
	}
	for row := 1; row <= 10; row++ {
		f := lookup(t, e, keyOf(row))
		if (f.Record != nil) != (row%2 == 0) {
			t.Errorf("row %d: present is %v", row, f.Record != nil)
		}
		if f.Record != nil && (f.Row[4].Number != 2500000 || f.Row[2].Number != 69) {
			t.Errorf("row %d: %+v", row, f.Row)
		}
	}
}

func FuzzReadSubjects(f *testing.F) {
	f.Add([]byte(table(patients(3))))
	f.Add([]byte(careHeader + "NMES-000001,5,poor,6.9,yes,2.881,\"a\nb\",no\r\n"))
	f.Add([]byte("\xef\xbb\xbf\"person\"\n\"\"\"\n"))
	f.Fuzz(func(t *testing.T, csv []byte) {
		sch, m := careSchema(t)
		id, err := schema.NewIdentifier(person)
		if err != nil {
			t.Fatal(err)
		}
		subs, r, err := readSubjects(context.Background(), strings.NewReader(string(csv)), &target{sch, m, id, instance}, func(int, int) {})
		if err != nil {
			if (r.ProblemCount > 0) != errors.Is(err, ErrProblems) {
				t.Fatalf("%d problems, %v", r.ProblemCount, err)
			}
			return
		}
		for i := range subs.list {
			row, err := parseRow(subs.row(i), sch)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := sch.Encode(row); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzParseRow(f *testing.F) {
	sch, _ := careSchema(f)
	row, err := sch.Parse([]string{"1", "poor", "69", "", "-2.5", "Main"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendRow(nil, row))
	f.Add([]byte{2, 0xff, 0xff})
	f.Add(make([]byte, 6))
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := parseRow(b, sch)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if got := appendRow(nil, row); string(got) != string(b) {
			t.Fatalf("%x was read and is written as %x", b, got)
		}
	})
}
