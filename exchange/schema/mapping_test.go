package schema

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const careYAML = `
dataset: care
title: Care visits
scheme: person
id: {sequence: "NMES-%06d"}
where: {medicaid: "yes"}
columns:
  - {name: visits, type: int}
  - {name: age, type: int, unit: years, multiply: 10}
  - {name: income, type: decimal, scale: 2, unit: dollars, source: inc, multiply: 10000}
  - {name: married, type: bool, map: {yes: true, no: false}}
  - {name: level, type: int, source: adl, map: {normal: 2, limited: -1}}
  - name: region
    type: enum
    codes: [west, other, 7, true]
`

func TestLoad(t *testing.T) {
	s, m, err := Load([]byte(careYAML))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Column{Name: "income", Type: Decimal, Scale: 2, Unit: "dollars"}); !reflect.DeepEqual(s.Columns[2], want) {
		t.Fatalf("%+v", s.Columns[2])
	}
	if !slices.Equal(s.Columns[5].Codes, []string{"west", "other", "7", "true"}) {
		t.Fatalf("codes %q", s.Columns[5].Codes)
	}
	r, err := m.Bind(s, []string{"visits", "age", "inc", "married", "adl", "region", "medicaid", "school"})
	if err != nil || !slices.Equal(r.Ignored, []string{"school"}) {
		t.Fatalf("ignored %q, %v", r.Ignored, err)
	}
	cells := []string{"5", "6.9", "2.881", "yes", "limited", "7", "yes", "x"}
	row := make(Row, 6)
	if !r.Row(cells, row, func(e *CellError) { t.Error(e) }) {
		t.Fatal("row refused")
	}
	for i, want := range []int64{5, 69, 2881000, 1, -1, 2} {
		if !row[i].Present || row[i].Number != want {
			t.Errorf("column %s: %+v, want %d", s.Columns[i].Name, row[i], want)
		}
	}
	if !r.Keeps(cells) || r.ID(cells, 42) != "NMES-000042" || r.ID(cells, 12345678) != "NMES-12345678" {
		t.Errorf("kept %v, id %q", r.Keeps(cells), r.ID(cells, 42))
	}
	cells[6] = "no"
	if r.Keeps(cells) {
		t.Error("a filtered row is kept")
	}
	var wrong []string
	bad := []string{"7.7", "6.95", "x77", "77", "77", "77", "yes", ""}
	if r.Row(bad, row, func(e *CellError) {
		wrong = append(wrong, e.Column)
		if strings.Contains(e.Error(), "77") {
			t.Error(e)
		}
	}) || !slices.Equal(wrong, []string{"visits", "age", "income", "married", "level", "region"}) {
		t.Errorf("complaints about %q", wrong)
	}
	empty := make([]string, 8)
	if !r.Row(empty, row, func(e *CellError) { t.Error(e) }) || slices.ContainsFunc(row, func(v Value) bool { return v.Present }) {
		t.Errorf("empty cells: %+v", row)
	}
}

func TestLoadRefuses(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(careYAML, old) {
			t.Fatalf("no %q in the document", old)
		}
		return strings.Replace(careYAML, old, new, 1)
	}
	for name, c := range map[string]struct{ doc, want string }{
		"empty":                   {"", "$.dataset"},
		"not YAML":                {"dataset: [", "[1:"},
		"a list":                  {"- 1", "[1:"},
		"unknown name":            {change("unit: years", "unti: years"), "[9:"},
		"unknown top name":        {change("title:", "titel:"), "[3:"},
		"name twice":              {change("title: Care visits", "title: a\ntitle: b"), "already defined"},
		"wrong kind":              {change("scale: 2", "scale: two"), "[10:"},
		"multiply by 20":          {change("multiply: 10}", "multiply: 20}"), "line 9"},
		"multiply by 0":           {change("multiply: 10}", "multiply: 0}"), "line 9"},
		"multiply negative":       {change("multiply: 10}", "multiply: -10}"), "line 9"},
		"multiply too large":      {change("multiply: 10}", "multiply: 100000000000000000000}"), "[9:"},
		"multiply a bool":         {change("{name: married, type: bool, map: {yes: true, no: false}}", "{name: married, type: bool, multiply: 10}"), "line 11"},
		"multiply and map":        {change("map: {normal: 2, limited: -1}", "map: {normal: 2}, multiply: 10"), "line 12"},
		"map to a wrong value":    {change("normal: 2", "normal: 2.5"), "line 12"},
		"map to a list":           {change("normal: 2", "normal: [2]"), "line 12"},
		"empty map":               {change("map: {normal: 2, limited: -1}", "map: {}"), "line 12"},
		"type":                    {change("type: enum", "type: set"), "line 14"},
		"no id":                   {change(`id: {sequence: "NMES-%06d"}`, ""), "$.id"},
		"two ids":                 {change(`"NMES-%06d"`, `"NMES-%06d", column: a`), "line 5"},
		"sequence without number": {change("NMES-%06d", "NMES"), "line 5"},
		"sequence of a string":    {change("NMES-%06d", "NMES-%s"), "line 5"},
		"sequence of two":         {change("NMES-%06d", "%d-%d"), "line 5"},
		"sequence of a percent":   {change("NMES-%06d", "%%%d"), "line 5"},
		"sequence too wide":       {change("NMES-%06d", "NMES-%019d"), "line 5"},
		"where empty name":        {change(`{medicaid: "yes"}`, `{"": "yes"}`), "line 6"},
		"not UTF-8":               {careYAML + "\xff", "UTF-8"},
		"too large":               {careYAML + strings.Repeat("#", MaxDocument), "larger"},
	} {
		_, _, err := Load([]byte(c.doc))
		if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q in it", name, err, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte(careYAML))
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("columns: [{name: {}}]"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, m, err := Load(doc)
		if err != nil {
			if !errors.Is(err, ErrSchema) {
				t.Fatal(err)
			}
			return
		}
		if s.Check() != nil || m.Check(s) != nil {
			t.Fatal("loaded what Check refuses")
		}
	})
}

func TestBindRefuses(t *testing.T) {
	s, m, err := Load([]byte(careYAML))
	if err != nil {
		t.Fatal(err)
	}
	good := []string{"visits", "age", "inc", "married", "adl", "region", "medicaid"}
	for name, c := range map[string]struct {
		header []string
		want   string
	}{
		"nothing":       {nil, `"visits"`},
		"a record":      {[]string{"77", "7.7", "77", "yes", "normal", "west", "yes"}, `"visits"`},
		"other case":    {append([]string{"Visits"}, good[1:]...), `"visits"`},
		"renamed":       {slices.Replace(slices.Clone(good), 2, 3, "income"), `"inc"`},
		"no filter":     {good[:6], `"medicaid"`},
		"column twice":  {append(slices.Clone(good), "age"), "twice"},
		"space in name": {append([]string{"visits "}, good[1:]...), `"visits"`},
	} {
		_, err := m.Bind(s, c.header)
		if !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "77") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Bind(s, append(slices.Clone(good), "x", "x")); err != nil {
		t.Errorf("an ignored column twice: %v", err)
	}
	withID := &Mapping{ID: IDSource{Column: "person"}, Columns: m.Columns}
	if _, err := withID.Bind(s, good); !errors.Is(err, ErrHeader) || !strings.Contains(err.Error(), "identifier") {
		t.Errorf("no identifier column: %v", err)
	}
	r, err := withID.Bind(s, append([]string{"person"}, good...))
	if err != nil || r.ID([]string{"P-1"}, 9) != "P-1" || !r.Keeps(nil) {
		t.Errorf("identifier column: %v", err)
	}
}

func TestMappingCheck(t *testing.T) {
	s := care()
	m := &Mapping{ID: IDSource{Column: "person"}, Columns: map[string]Source{"agee": {Header: "age"}}}
	if err := m.Check(s); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "agee") {
		t.Errorf("mapping of an unknown column: %v", err)
	}
	m = &Mapping{ID: IDSource{Column: "person"}}
	if err := m.Check(s); err != nil {
		t.Error(err)
	}
}
