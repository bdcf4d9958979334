package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/grille-gateway/grille/node/demo"
)

// data measures importing and looking up records, each import in a process of its own so that its memory is its own.
func (b *bench) data(ctx context.Context) error {
	survey, err := demo.Survey()
	if err != nil {
		return err
	}
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	schema, err := os.ReadFile(filepath.Join(root, "node", "demo", "datasets", "health.yaml"))
	if err != nil {
		return fmt.Errorf("reading the demo's schema: %w", err)
	}
	csv := filepath.Join(b.dir, "survey.csv")
	if err := os.WriteFile(csv, survey, 0o600); err != nil {
		return err
	}
	rows := bytes.Count(survey, []byte("\n")) - 1
	if err := b.dataset(ctx, "demo's survey, 6 columns", importJob{CSV: csv, Schema: string(schema), Scheme: demo.Schemes[0],
		ID: "NMES-%06d", Rows: rows}); err != nil {
		return err
	}
	csv = filepath.Join(b.dir, "synthetic.csv")
	if err := writeSynthetic(csv, b.rows); err != nil {
		return fmt.Errorf("writing synthetic rows: %w", err)
	}
	return b.dataset(ctx, "synthetic, 16 columns", importJob{CSV: csv, Schema: syntheticSchema, Scheme: syntheticScheme, ID: "%08d", Rows: b.rows})
}

// dataset imports one file some times and reports it.
func (b *bench) dataset(ctx context.Context, name string, job importJob) error {
	n := b.samples(3, 1)
	job.Lookups = b.samples(1000, 100)
	var wall, processor, memory, present, absent []float64
	for range n {
		b.stage("importing %d rows (%s)", job.Rows, name)
		var err error
		if job.Dir, err = os.MkdirTemp(b.dir, "import-"); err != nil {
			return err
		}
		r, err := importIn(ctx, job)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(job.Dir); err != nil {
			return err
		}
		wall, processor, memory = append(wall, r.Wall), append(processor, r.Processor), append(memory, r.Memory)
		present, absent = append(present, r.Present...), append(absent, r.Absent...)
	}
	name = fmt.Sprintf("%d rows (%s)", job.Rows, name)
	b.add("data", "import, seal, commit and sync "+name+", wall", "ms", n, spread(wall), "", 0)
	b.add("data", "the same, processor", "ms", n, spread(processor), "", 0)
	b.add("data", "the same, most memory", "MiB", n, spread(memory), "", 0)
	b.add("data", "look up, open and check one who has a record", "ms", len(present), tail(present), "", 0)
	b.add("data", "look up and check one who has none", "ms", len(absent), tail(absent), "", 0)
	return nil
}

// importIn runs a job in a process of its own.
func importIn(ctx context.Context, job importJob) (importResult, error) {
	var r importResult
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	input, err := json.Marshal(job)
	if err != nil {
		return r, err
	}
	cmd := exec.CommandContext(ctx, self, importCommand)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		return r, fmt.Errorf("importing in a process of its own: %w: %s", err, complaints.String())
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("reading what the import took: %w", err)
	}
	return r, nil
}

// writeSynthetic writes rows of people who do not exist, with a value in each of the sixteen columns that a record can have.
func writeSynthetic(path string, rows int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	fmt.Fprint(w, "person,born,amount,share,kind,active,n1,n2,n3,n4,n5,n6,code,street,town,employer,note\n") // its errors stick to w
	for i := range rows {
		fmt.Fprintf(w, "%08d,19%02d-%02d-%02d,%d.%02d,0.%04d,%s,%t,%d,%d,%d,%d,%d,%d,C%05d,Street %d,Town %d,Employer %d,note %d\n", i+1,
			i%90+10, i%12+1, i%28+1, i%90000, i%100, i%10000, [3]string{"a", "b", "c"}[i%3], i%2 == 0,
			i, i*3, i*5, i*7, i*11, i*13, i%100000, i%5000, i%300, i%2000, i%77)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
