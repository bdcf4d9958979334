package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/exchange/vault"
	"github.com/grille-gateway/grille/ledger/network"
)

// importCommand as the only argument makes this program read a job, do it, and write what it took.
const importCommand = "measure-import"

// An importJob is one import into a new store.
type importJob struct {
	Dir     string         `json:"dir"` // for vault and store; empty
	CSV     string         `json:"csv"` // file
	Schema  string         `json:"schema"`
	Scheme  network.Scheme `json:"scheme"`
	ID      string         `json:"id"` // form of the identifiers of rows 1 to Rows
	Rows    int            `json:"rows"`
	Lookups int            `json:"lookups"`
}

// importResult is what it took: milliseconds and mebibytes.
type importResult struct {
	Wall      float64   `json:"wall"`
	Processor float64   `json:"processor"`
	Memory    float64   `json:"memory"` // most that was resident until the import's end, the program itself included
	Present   []float64 `json:"present"`
	Absent    []float64 `json:"absent"`
}

const benchInstance = "bench.grille"

// syntheticScheme and syntheticSchema are for the rows that writeSynthetic makes.
var syntheticScheme = network.Scheme{Name: "person", Pattern: "[0-9]{8}", Normalise: "none", Example: "00000001"}

const syntheticSchema = `dataset: synthetic
title: People who do not exist
scheme: person
id: {column: person}
columns:
  - {name: born, type: date}
  - {name: amount, type: decimal, scale: 2}
  - {name: share, type: decimal, scale: 4}
  - {name: kind, type: enum, codes: [a, b, c]}
  - {name: active, type: bool}
  - {name: n1, type: int}
  - {name: n2, type: int}
  - {name: n3, type: int}
  - {name: n4, type: int}
  - {name: n5, type: int}
  - {name: n6, type: int}
  - {name: code, type: code}
  - {name: street, type: text}
  - {name: town, type: text}
  - {name: employer, type: text}
  - {name: note, type: text}
`

func importChild(in io.Reader, out io.Writer) error {
	var job importJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	r, err := job.run(context.Background())
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

func (j *importJob) run(ctx context.Context) (importResult, error) {
	var r importResult
	declared, mapping, err := schema.Load([]byte(j.Schema))
	if err != nil {
		return r, err
	}
	v, err := vault.Open(filepath.Join(j.Dir, "keyset.json"))
	if err != nil {
		return r, err
	}
	store, err := dataset.Open(filepath.Join(j.Dir, "data"), v)
	if err != nil {
		return r, err
	}
	defer store.Close()
	if err := store.Declare(declared); err != nil {
		return r, err
	}
	wall, processor, err := measure(1, nil, func() error { return j.load(ctx, store, declared.Dataset, mapping) })
	if err != nil {
		return r, err
	}
	r.Wall, r.Processor = wall[0], processor[0]
	if r.Memory, err = mostMemory(); err != nil {
		return r, err
	}
	return r, j.look(store, declared, &r)
}

// load imports the file into a durable epoch and makes it the current one.
func (j *importJob) load(ctx context.Context, store *dataset.Store, name string, mapping *schema.Mapping) error {
	f, err := os.Open(j.CSV)
	if err != nil {
		return err
	}
	defer f.Close()
	prepared, report, err := store.Import(ctx, name, benchInstance, j.Scheme, f, mapping, nil)
	if err != nil {
		return err
	}
	if report.Accepted != j.Rows {
		return fmt.Errorf("importing: %d of %d rows became records", report.Accepted, j.Rows)
	}
	return store.Activate(name, prepared.Epoch, 1)
}

// look looks subjects up across the dataset, and as many who are not in it.
func (j *importJob) look(store *dataset.Store, declared *schema.Schema, r *importResult) error {
	epoch, ok := store.Current(declared.Dataset)
	if !ok {
		return fmt.Errorf("looking up: no epoch")
	}
	for i := range j.Lookups {
		for _, here := range []bool{true, false} {
			row := i*(j.Rows/j.Lookups) + 1
			if !here {
				row += j.Rows
			}
			key := circuits.SubjectKey(benchInstance, declared.Scheme, fmt.Sprintf(j.ID, row))
			wall, _, err := measure(1, nil, func() error {
				found, err := epoch.Lookup(key)
				if err == nil && (found.Record != nil) != here {
					err = fmt.Errorf("looking up row %d: found: %t", row, found.Record != nil)
				}
				return err
			})
			if err != nil {
				return err
			}
			if here {
				r.Present = append(r.Present, wall[0])
			} else {
				r.Absent = append(r.Absent, wall[0])
			}
		}
	}
	return nil
}

// mostMemory is the most memory that this process had resident, in MiB. The system's figure for a finished child will not do:
// it counts the parent's memory from before the child's program began.
func mostMemory() (float64, error) { return processMemory("VmHWM") }
