package grille_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/grille-gateway/grille"

// A ban says which packages may not import what, and why. Paths are prefixes by whole segments; those that begin with a
// slash are of this module.
type ban struct {
	from   []string // importers
	except []string // of those, who may
	what   []string // imported
	tests  bool     // holds for test files too
	reason string
}

// bans is the import table of DESIGN section 3.
var bans = []ban{
	{from: []string{"/circuits"}, what: []string{"/prover", "/ledger", "/exchange", "/node"}, tests: true,
		reason: "imports run downward: circuits is the bottom"},
	{from: []string{"/circuits"}, except: []string{"/circuits/mutation"}, what: []string{"net", "net/http", "os", "time", "io/fs"},
		reason: "the statement has no I/O and no clock"},
	{from: []string{"/prover"}, what: []string{"/ledger", "/exchange", "/node"}, tests: true,
		reason: "imports run downward: prover knows circuits only"},
	{from: []string{"/ledger"}, what: []string{"/circuits", "/prover", "/exchange", "/node"}, tests: true,
		reason: "imports run downward: the ledger knows nothing of proofs"},
	{from: []string{"/ledger"}, what: []string{"github.com/consensys"}, tests: true,
		reason: "a ledger that parses no field elements cannot be broken by them"},
	{from: []string{"/ledger", "/exchange"}, except: []string{"/ledger/network"}, what: []string{"net", "net/http"},
		reason: "no sockets below node: what members tell one another are values (ledger/network only checks the form of addresses)"},
	{from: []string{"/exchange"}, what: []string{"/node"}, tests: true,
		reason: "imports run downward: exchange has no sockets"},
	{from: []string{""}, except: []string{"/circuits", "/prover"}, what: []string{"github.com/consensys/gnark/frontend", "github.com/consensys/gnark/std"},
		reason: "constraints are written in circuits, and compiled in prover"},
	{from: []string{""}, except: []string{"/prover"}, what: []string{"github.com/consensys/gnark/backend"},
		reason: "one package holds the proof system, so that another can stand beside it"},
	{from: []string{""}, except: []string{"/circuits", "/prover", "/exchange"}, what: []string{"github.com/consensys/gnark-crypto"},
		reason: "field elements end where the exchange ends"},
	{from: []string{""}, except: []string{"/node"}, what: []string{"github.com/quic-go"}, tests: true,
		reason: "the transport is node's"},
	{from: []string{""}, except: []string{"/ledger", "/exchange"}, what: []string{"github.com/tidwall"},
		reason: "buntdb is for rebuildable indexes only, below node"},
	{from: []string{""}, what: []string{"/ledger/tiles/simfs"},
		reason: "a disk in memory is for tests"},
	{from: []string{""}, what: []string{"/benchmarks"}, tests: true,
		reason: "benchmarks import us, with peers whose licences and sizes we do not want"},
}

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// under tells whether path is prefix or below it.
func under(path, prefix string) bool {
	if strings.HasPrefix(prefix, "/") || prefix == "" {
		prefix = module + prefix
	}
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

func underAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return under(path, p) })
}

// violations checks packages against the table. A standard-library path in `what` stands for itself alone: os does not ban
// os/signal.
func violations(packages []pkg, table []ban) []string {
	var found []string
	for _, p := range packages {
		for _, b := range table {
			if !underAny(p.ImportPath, b.from) || underAny(p.ImportPath, b.except) {
				continue
			}
			imports := slices.Clone(p.Imports)
			if b.tests {
				imports = append(append(imports, p.TestImports...), p.XTestImports...)
			}
			for _, i := range imports {
				if slices.ContainsFunc(b.what, func(w string) bool { return i == w || strings.ContainsAny(w, "./") && !isStandard(w) && under(i, w) }) {
					found = append(found, fmt.Sprintf("%s imports %s: %s", p.ImportPath, i, b.reason))
				}
			}
		}
	}
	return found
}

// isStandard tells a standard-library path: its first segment has no dot.
func isStandard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != "" && !strings.Contains(first, ".")
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestImportTable(t *testing.T) {
	packages := listPackages(t)
	if len(packages) < 20 {
		t.Fatalf("go list found %d packages", len(packages))
	}
	for _, v := range violations(packages, bans) {
		t.Error(v)
	}
}

// Each ban catches what it is for, so that the table cannot pass because it checks nothing.
func TestImportTableCanFail(t *testing.T) {
	for _, b := range bans {
		for _, what := range b.what {
			imported := what
			if strings.HasPrefix(what, "/") {
				imported = module + what
			}
			from := module + b.from[0] + "/x"
			p := pkg{ImportPath: from, Imports: []string{imported}}
			if got := violations([]pkg{p}, []ban{b}); len(got) != 1 || !strings.HasSuffix(got[0], b.reason) {
				t.Errorf("%s importing %s is not caught: %q", from, imported, got)
			}
			p = pkg{ImportPath: from, XTestImports: []string{imported}}
			if got := violations([]pkg{p}, []ban{b}); (len(got) == 1) != b.tests {
				t.Errorf("a test of %s importing %s: %q", from, imported, got)
			}
			for _, allowed := range b.except {
				p = pkg{ImportPath: module + allowed + "/x", Imports: []string{imported}}
				if got := violations([]pkg{p}, []ban{b}); len(got) != 0 {
					t.Errorf("%s may import %s: %q", allowed, imported, got)
				}
			}
		}
	}
	deep := pkg{ImportPath: module + "/ledger", Imports: []string{"github.com/consensys/gnark-crypto/ecc/bls12-381/fr", "github.com/consensysx/y", "os/signal"}}
	if got := violations([]pkg{deep}, bans); len(got) != 2 { // from the ledger at all, and outside the exchange
		t.Errorf("a path below a banned one: %q", got)
	}
}
