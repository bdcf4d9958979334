package example

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// copied is one example's folder in memory.
func copied(t *testing.T, name string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	root := os.DirFS(folder)
	err := fs.WalkDir(root, name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, path)
		out[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLoadRefuses is the list of bad folders, each with what its error says.
func TestLoadRefuses(t *testing.T) {
	const program, cases, data = "carers-allowance/program.yaml", "carers-allowance/cases.yaml", "carers-allowance/datasets/carer-weeks"
	const policy = "carers-allowance/policies/cared-for.yaml"
	for name, c := range map[string]struct{ file, old, new, want string }{
		"no program":            {program, "", "", "program.yaml: file does not exist"},
		"no cases":              {cases, "", "", "cases.yaml: file does not exist"},
		"no schema":             {data + ".yaml", "", "", "no dataset carer-weeks"},
		"no data":               {data + ".csv", "", "", "carer-weeks.csv: file does not exist"},
		"no policy":             {policy, "", "", "no policy cared-for"},
		"program's name":        {program, "program: carers-allowance", "program: carers", "the program is called carers"},
		"not a program":         {program, "rule:", "rules:", "rules"},
		"not a schema":          {data + ".yaml", "type: int", "type: integer", "type"},
		"dataset's name":        {data + ".yaml", "dataset: carer-weeks", "dataset: weeks", "the dataset is called weeks"},
		"policy's name":         {policy, "policy: cared-for", "policy: cared", "the policy is called cared"},
		"policy's version":      {policy, "version: 1", "version: 2", "version 1 of policy cared-for at GOV/health is not among the files"},
		"policy's dataset":      {policy, "dataset: disability-benefits", "dataset: nowhere", "no dataset nowhere"},
		"not a policy":          {policy, "when:", "where:", "where"},
		"two holders":           {program, "cared_for, holder: GOV/health, policy: cared-for", "cared_for, holder: GOV/tax, policy: carer-some-week", "is not among the files"},
		"nobody holds it":       {program, "policy: cared-for", "policy: carer-some-week", "no check says who holds dataset disability-benefits"},
		"day":                   {cases, "2026-11-02", "2 November", "as_of"},
		"unknown field":         {cases, "outcome: granted", "result: granted", "result"},
		"outcome":               {cases, "outcome: granted", "outcome: maybe", "outcome: must be granted, refused or review"},
		"verdict":               {cases, "cared_for: satisfied", "cared_for: yes", "verdicts: cared_for"},
		"verdict missing":       {cases, ", cared_for: satisfied", "", "verdicts: cared_for"},
		"a claim of none":       {cases, "cared_for: satisfied", "cared_for: claimed", "verdicts: cared_for"},
		"verdict of no check":   {cases, "cared_for: satisfied}", "cared_for: satisfied, born: satisfied}", "that the program does not have"},
		"role missing":          {cases, ", disabled: CARE-0101}", "}", "subjects: no disabled"},
		"role of nobody":        {cases, "disabled: CARE-0101}", "disabled: CARE-0101, child: CARE-0101}", "that the program does not have"},
		"a file without an end": {cases, "as_of", strings.Repeat("#", MaxFile) + "as_of", "larger than"},
	} {
		fsys := copied(t, "carers-allowance")
		old := string(fsys[c.file].Data)
		changed := strings.Replace(old, c.old, c.new, 1)
		fsys[c.file] = &fstest.MapFile{Data: []byte(changed)}
		if c.old == "" {
			delete(fsys, c.file)
		} else if changed == old {
			t.Fatalf("%s: changes nothing", name)
		}
		if _, err := Load(fsys); !errors.Is(err, ErrExample) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
	if _, err := Load(fstest.MapFS{}); !errors.Is(err, ErrExample) {
		t.Errorf("no folder: %v", err)
	}
}

// TestAtRefuses has data whose dates cannot be moved.
func TestAtRefuses(t *testing.T) {
	for name, data := range map[string]string{"empty": "", "no dates": "id,birth_date\nCARE-0001,yesterday\n", "not CSV": "id,birth_date\n\"", "short row": "id,birth_date\nCARE-0001\n"} {
		fsys := copied(t, "carers-allowance")
		fsys["carers-allowance/datasets/carer-weeks.csv"] = &fstest.MapFile{Data: []byte(data)}
		all, err := Load(fsys)
		if err != nil {
			t.Fatal(err)
		}
		d, err := all[0].Dataset("carer-weeks")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.At(all[0].AsOf, time.Now()); !errors.Is(err, ErrExample) || strings.Contains(err.Error(), "yesterday") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
