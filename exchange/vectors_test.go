package exchange_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// The published vectors (docs/vectors.md): bundles with what a verifier is given beside them and what it has to answer.
const vectorDir = "testdata/vectors"

var updateVectors = flag.Bool("update", false, "make the test vectors anew, with the keys of these tests")

// A vectorIndex is the file vectors.json.
type vectorIndex struct {
	Version int         `json:"v"`
	Vectors []vectorRow `json:"vectors"`
}

// A vectorRow is one vector. Files are named from the folder of the index.
type vectorRow struct {
	Name    string       `json:"name"`
	About   string       `json:"about"`
	Bundle  string       `json:"bundle"`
	Network string       `json:"network"` // a configuration, or a chain of them
	Keys    []string     `json:"keys"`    // verifying keys
	Log     string       `json:"log,omitempty"`
	Expect  vectorExpect `json:"expect"`
}

// A vectorExpect has exactly one of the two.
type vectorExpect struct {
	Reason bundle.Reason   `json:"reason,omitempty"`
	Report json.RawMessage `json:"report,omitempty"`
}

// A logFile holds whole logs, for a verifier with a replica.
type logFile struct {
	Logs []vectorLog `json:"logs"`
}

type vectorLog struct {
	Origin  string   `json:"origin"`
	Entries []string `json:"entries"`
}

func readVector(t testing.TB, dir, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vectorVerifiers are made once for each key.
type vectorVerifiers map[string]*prover.Verifier

func (v vectorVerifiers) of(t testing.TB, dir string, files []string) (keys bundle.VerifyingKeys) {
	t.Helper()
	for _, file := range files {
		if v[file] == nil {
			made, err := prover.NewVerifier(readVector(t, dir, file))
			if err != nil {
				t.Fatal(file, err)
			}
			v[file] = made
		}
		keys = append(keys, v[file])
	}
	return keys
}

// answer is what the verifier says about a row, as the index holds it.
func (v vectorVerifiers) answer(t testing.TB, dir string, row *vectorRow) (vectorExpect, error) {
	t.Helper()
	chain, err := network.ReadChain(readVector(t, dir, row.Network))
	if err != nil {
		t.Fatal(row.Network, err)
	}
	verifier := &bundle.Verifier{Config: chain.Newest(), Chain: chain, Proofs: v.of(t, dir, row.Keys)}
	if row.Log != "" {
		var f logFile
		if err := json.Unmarshal(readVector(t, dir, row.Log), &f); err != nil {
			t.Fatal(row.Log, err)
		}
		logs := map[string][]string{}
		for _, l := range f.Logs {
			logs[l.Origin] = l.Entries
		}
		verifier.Replica = newMemoryReplica(t, chain, logs)
	}
	report, err := verifier.Verify(readVector(t, dir, row.Bundle))
	if err != nil {
		var refused *bundle.Refused
		if !errors.As(err, &refused) {
			t.Fatalf("%s: an error without a reason: %v", row.Name, err)
		}
		return vectorExpect{Reason: refused.Reason}, err
	}
	data, err := bundle.Encode(report)
	if err != nil {
		t.Fatal(err)
	}
	return vectorExpect{Report: data}, nil
}

// TestVectors gives the published files to the verifier and compares. With -update it makes them first.
func TestVectors(t *testing.T) {
	if *updateVectors {
		makeVectors(t)
	}
	var index vectorIndex
	if err := json.Unmarshal(readVector(t, vectorDir, "vectors.json"), &index); err != nil || index.Version != 1 {
		t.Fatal("reading the index: ", err)
	}
	verifiers := vectorVerifiers{}
	reached, used := map[bundle.Reason]int{}, map[string]bool{"vectors.json": true}
	for i := range index.Vectors {
		row := &index.Vectors[i]
		for _, f := range append(slices.Clone(row.Keys), row.Bundle, row.Network, row.Log) {
			used[f] = true
		}
		got, err := verifiers.answer(t, vectorDir, row)
		if got.Reason != row.Expect.Reason || !bytes.Equal(compactJSON(t, got.Report), compactJSON(t, row.Expect.Report)) {
			t.Errorf("%s: %+v (%v), want %+v", row.Name, got, err, row.Expect)
		}
		if row.Expect.Reason != "" {
			reached[row.Expect.Reason]++
		}
		if i > 0 && slices.ContainsFunc(index.Vectors[:i], func(r vectorRow) bool { return r.Name == row.Name }) {
			t.Errorf("%s: stands twice", row.Name)
		}
	}
	for _, reason := range reasons(t) {
		if reached[reason] == 0 {
			t.Errorf("no vector is refused for the reason %s", reason)
		}
	}
	checkVectorFiles(t, used)
	checkVectorCircuit(t, verifiers)
}

// checkVectorCircuit reports vectors of another circuit than the present one.
func checkVectorCircuit(t *testing.T, verifiers vectorVerifiers) {
	t.Helper()
	golden, err := os.ReadFile("../circuits/testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if id := verifiers["keys/development.key"].CircuitID(); !bytes.Contains(golden, []byte(`"circuit_id": "`+id+`"`)) {
		t.Errorf("the vectors are of circuit %s, which is not the present one; -update makes them anew", id)
	}
}

func compactJSON(t testing.TB, data []byte) []byte {
	t.Helper()
	if len(data) == 0 {
		return nil
	}
	var b bytes.Buffer
	if err := json.Compact(&b, data); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkVectorFiles reports files that no row names, and more of them than a repository should hold.
func checkVectorFiles(t *testing.T, used map[string]bool) {
	t.Helper()
	total := int64(0)
	err := filepath.WalkDir(vectorDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(vectorDir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		if total += info.Size(); info.Size() > 2<<20 {
			t.Errorf("%s has %d bytes", name, info.Size())
		}
		if !used[filepath.ToSlash(name)] && !unitFiles[name] {
			t.Errorf("%s is in no row of the index", name)
		}
		return nil
	})
	if err != nil || total > 15<<18 {
		t.Errorf("%d bytes of vectors, at most 3.75 MiB: %v", total, err)
	}
}

// reasons are the codes that package bundle declares.
func reasons(t testing.TB) []bundle.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "bundle/reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []bundle.Reason
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 && strings.HasPrefix(v.Names[0].Name, "Reason") {
			text, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, bundle.Reason(text))
		}
		return true
	})
	if len(out) < 20 {
		t.Fatalf("only %d reasons found", len(out))
	}
	return out
}
