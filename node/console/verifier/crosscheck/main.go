// Command crosscheck says what the gateway's own code makes of inputs, so that the verifier in TypeScript can compare (npm run cross): it reads
// a line of JSON for each from standard input and answers each with a line.
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/grille-gateway/grille/circuits"
	"github.com/grille-gateway/grille/exchange/bundle"
	"github.com/grille-gateway/grille/exchange/policy"
	"github.com/grille-gateway/grille/exchange/schema"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/prover"
)

// An input is one line. Data is what is read; the files are what a bundle is verified with; As is an as-of date.
type input struct {
	Kind    string   `json:"kind"` // bundle, entry, template, network, identifier
	Data    []byte   `json:"data"`
	Network string   `json:"network"`
	Keys    []string `json:"keys"`
	As      string   `json:"as"`

	Logs []*wholeLog `json:"logs"` // of a bundle that is verified with whole logs
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	lines := json.NewDecoder(in)
	w := bufio.NewWriter(out)
	files := files{chains: map[string]*network.Chain{}, keys: map[string]*prover.Verifier{}}
	for {
		var i input
		if err := lines.Decode(&i); errors.Is(err, io.EOF) {
			return w.Flush()
		} else if err != nil {
			return fmt.Errorf("reading an input: %w", err)
		}
		answer, err := files.answer(&i)
		if err != nil {
			return err
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			return err
		}
	}
}

// files are read once.
type files struct {
	chains map[string]*network.Chain
	keys   map[string]*prover.Verifier
}

func (f *files) answer(i *input) (string, error) {
	switch i.Kind {
	case "bundle":
		return f.bundle(i)
	case "entry":
		return entryAnswer(i.Data), nil
	case "template":
		return templateAnswer(i), nil
	case "identifier":
		id, err := schema.NormaliseID(network.Scheme{Name: "any", Pattern: `(?s).*`, Normalise: "upper"}, string(i.Data))
		if err != nil {
			return "error", nil
		}
		return id, nil
	case "network":
		chain, err := network.ReadChain(i.Data)
		if err != nil {
			return "error", nil
		}
		return chain.Newest().Digest(), nil
	}
	return "", fmt.Errorf("an input of kind %q", i.Kind)
}

// bundle gives the reason, or the digest of the answer.
func (f *files) bundle(i *input) (string, error) {
	chain := f.chains[i.Network]
	if chain == nil {
		data, err := os.ReadFile(i.Network)
		if err != nil {
			return "", err
		}
		if chain, err = network.ReadChain(data); err != nil {
			return "", fmt.Errorf("%s: %w", i.Network, err)
		}
		f.chains[i.Network] = chain
	}
	v := bundle.Verifier{Config: chain.Newest(), Chain: chain}
	for _, path := range i.Keys {
		if f.keys[path] == nil {
			data, err := os.ReadFile(path)
			if err != nil {
				return "", err
			}
			if f.keys[path], err = prover.NewVerifier(data); err != nil {
				return "", fmt.Errorf("%s: %w", path, err)
			}
		}
		v.Proofs = append(v.Proofs, f.keys[path])
	}
	if i.Logs != nil {
		r, err := newReplica(i.Logs, chain)
		if err != nil {
			return "", err
		}
		v.Replica = r
	}
	report, err := v.Verify(i.Data)
	if refused := (*bundle.Refused)(nil); errors.As(err, &refused) {
		return refused.Code(), nil
	} else if err != nil {
		return "", err
	}
	return fmt.Sprintf("verified %s, %s, %s, %s", report.Answer, report.Currency, report.Receipt, report.Claim), nil
}

// read are the kinds that the verifier reads; of others it says nothing.
var read = []string{entry.KindDatasetDeclare, entry.KindDatasetEpoch, entry.KindPolicyPublish, entry.KindPolicyRetire, entry.KindAgreementAccept,
	entry.KindAgreementRevoke, entry.KindGroupDefine, entry.KindReceiptsBatch, entry.KindScopeOpen, entry.KindScopeClose, entry.KindClaimsBatch}

// entryAnswer gives the kind and, of what people approve, what they sign.
func entryAnswer(raw []byte) string {
	e, err := entry.Decode(raw)
	if !slices.Contains(read, e.Kind()) {
		return "other"
	}
	if _, unknown := e.(entry.Unknown); unknown && err == nil {
		return "other" // another version
	}
	if err != nil {
		return "error"
	}
	a, ok := e.(entry.Approved)
	if !ok {
		return e.Kind()
	}
	message, err := entry.ApprovalMessage("origin", a)
	if err != nil {
		return "error"
	}
	sum := sha256.Sum256(message)
	return e.Kind() + " " + hex.EncodeToString(sum[:])
}

// templateAnswer gives the SHA-256 of the program's public inputs.
func templateAnswer(i *input) string {
	t, err := policy.ParseTemplate(i.Data)
	if err != nil {
		return "error"
	}
	program, err := t.ProgramAt(i.As)
	if err != nil {
		return "error"
	}
	values, err := (&circuits.Public{Program: program}).Vector()
	if err != nil {
		return "error"
	}
	from, to := circuits.ProgramRange()
	h := sha256.New()
	for _, v := range values[from:to] {
		b := v.Bytes()
		h.Write(b[:])
	}
	return hex.EncodeToString(h.Sum(nil))
}
