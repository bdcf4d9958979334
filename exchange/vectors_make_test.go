package exchange_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/ledger/network"
)

// A vector is how one row of the index is made.
type vector struct {
	name   string
	about  string
	reason bundle.Reason // empty: it verifies
	log    bool          // the verifier has the logs
	alter  func(s *stage)
	keys   func(s *stage, key []byte) [][]byte // the verifying keys given, if it is not the right one alone
}

// sampleVector is the first one, whose proof others use that have no statement.
const sampleVector = "valid-satisfied"

// beforeProof are reasons that are given before the proof is looked at. These vectors have the first one's.
var beforeProof = []bundle.Reason{bundle.ReasonEncoding, bundle.ReasonConfiguration, bundle.ReasonCircuit, bundle.ReasonInclusion,
	bundle.ReasonReference, bundle.ReasonApprovals, bundle.ReasonQuerySignature, bundle.ReasonQueryTerms, bundle.ReasonHeader,
	bundle.ReasonTimes, bundle.ReasonAsOf, bundle.ReasonAge, bundle.ReasonSuperseded, bundle.ReasonProgram}

// unitFiles hold values for whoever writes a verifier, not bundles.
var unitFiles = map[string]bool{unitFile: true}

// allVectors are the published ones, in their order.
func allVectors() []vector {
	return slices.Concat(validAnswers, validApprovals, validClaims, validEdges, validChains,
		because(bundle.ReasonEncoding, badSpellings), because(bundle.ReasonEncoding, badBodies),
		because(bundle.ReasonConfiguration, badConfigurations), because(bundle.ReasonCircuit, badCircuits), because(bundle.ReasonCheckpoint, badHeads),
		because(bundle.ReasonInclusion, badInclusions), because(bundle.ReasonReference, badReferences),
		because(bundle.ReasonApprovals, badApprovals), because(bundle.ReasonQuerySignature, badQuerySignatures),
		because(bundle.ReasonQueryTerms, badTerms), because(bundle.ReasonHeader, badHeaders), because(bundle.ReasonTimes, badTimes),
		because(bundle.ReasonAsOf, badDays), because(bundle.ReasonSuperseded, badCurrency), because(bundle.ReasonProgram, badPrograms),
		because(bundle.ReasonPublic, badPublics), because(bundle.ReasonProof, badProofs), because(bundle.ReasonPromise, badPromises),
		because(bundle.ReasonReceipt, badReceipts), because(bundle.ReasonClaim, badClaims), because(bundle.ReasonOpening, badOpenings))
}

// A vectorWriter writes files, each content once.
type vectorWriter struct {
	t     testing.TB
	dir   string
	known map[string]string // folder and content -> file
}

// file returns the file of that content in a folder, and makes it under the given name if there is none.
func (w *vectorWriter) file(folder, name string, data []byte) string {
	w.t.Helper()
	if old, ok := w.known[folder+string(data)]; ok {
		return old
	}
	file := folder + "/" + name
	w.write(file, data)
	w.known[folder+string(data)] = file
	return file
}

func (w *vectorWriter) write(file string, data []byte) {
	w.t.Helper()
	path := filepath.Join(w.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// makeVectors writes all vectors anew. Everything but proofs follows from the keys; a proof on the disk that still proves its statement
// is kept.
func makeVectors(t *testing.T) {
	sc := newScene(t)
	fresh := vectorDir + ".new" // stays after a failure: proofs take a while
	for _, dir := range []string{vectorDir, fresh} {
		readProofs(t, sc, dir)
	}
	if err := os.RemoveAll(fresh); err != nil {
		t.Fatal(err)
	}
	w := &vectorWriter{t, fresh, map[string]string{}}
	w.file("networks", "network.json", sc.config.Bytes())
	w.file("keys", "development.key", sc.keys.VerifyingKey())
	index := vectorIndex{Version: 1}
	for _, v := range allVectors() {
		index.Vectors = append(index.Vectors, w.row(sc, &v))
	}
	verifiers := vectorVerifiers{}
	for i, v := range allVectors() {
		row := &index.Vectors[i]
		got, err := verifiers.answer(t, fresh, row)
		if got.Reason != v.reason {
			t.Errorf("%s: refused for %q, meant to be for %q: %v", v.name, got.Reason, v.reason, err)
		}
		row.Expect = got
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(index); err != nil {
		t.Fatal(err)
	}
	w.write("vectors.json", buf.Bytes())
	if data, err := os.ReadFile(filepath.Join(vectorDir, unitFile)); err == nil { // TestVectorUnits makes it
		w.write(unitFile, data)
	}
	if err := errors.Join(os.RemoveAll(vectorDir), os.Rename(fresh, vectorDir)); err != nil {
		t.Fatal(err)
	}
}

// readProofs reads the proofs of the bundles in a folder.
func readProofs(t *testing.T, sc *scene, dir string) {
	old, err := filepath.Glob(filepath.Join(dir, "bundles", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range old {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sc.proofs[strings.TrimSuffix(filepath.Base(path), ".json")] = oldProof(data)
	}
}

// row makes the files of one vector.
func (w *vectorWriter) row(sc *scene, v *vector) vectorRow {
	s := sc.newStage(v.name)
	s.early = slices.Contains(beforeProof, v.reason)
	if v.reason != "" && !v.log { // as small as they can be
		s.header.Batch = nil
	}
	if v.alter != nil {
		v.alter(s)
	}
	data := s.build()
	if v.name == sampleVector { // what is refused before its proof is looked at may have another's
		sc.proofs[v.name] = oldProof(data)
	}
	row := vectorRow{Name: v.name, About: v.about, Bundle: "bundles/" + v.name + ".json"}
	w.write(row.Bundle, data)
	networkFile := s.config.Bytes()
	if s.chain != nil {
		networkFile = s.chain.File()
	}
	if _, err := network.ReadChain(networkFile); err != nil {
		w.t.Fatal(v.name, err)
	}
	row.Network = w.file("networks", v.name+".json", networkFile)
	given := [][]byte{sc.keys.VerifyingKey()}
	if v.keys != nil {
		given = v.keys(s, given[0])
	}
	for _, key := range given {
		row.Keys = append(row.Keys, w.file("keys", v.name+".key", key))
	}
	if v.log {
		l := logFile{Logs: []vectorLog{{s.header.Origin, s.bodies()}}}
		if s.onLog != nil {
			s.onLog(&l)
		}
		data, err := bundle.Encode(l)
		if err != nil {
			w.t.Fatal(err)
		}
		row.Log = w.file("logs", v.name+".json", data)
	}
	return row
}
