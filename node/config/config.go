// Package config reads one gateway's folder: its settings (grille.yaml), its keys and the pinned network configuration.
//
// Trust: the folder belongs to the operator, and whoever can write it is the gateway. Everything is validated all the
// same, since a typo in a limit is an outage. Validation names the field, the value and the remedy; it never adjusts.
package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/grille-gateway/grille/exchange/dataset"
)

// ErrConfig says that grille.yaml cannot be used as it is. The message names the field, the value and the remedy.
var ErrConfig = errors.New("unacceptable configuration")

// Config is a gateway's grille.yaml. Relative paths are relative to the gateway's folder.
type Config struct {
	Member    string    `yaml:"member"`   // this gateway's member name, like GOV/tax; required
	Instance  string    `yaml:"instance"` // the network it belongs to; required; must be the network configuration's
	Network   Network   `yaml:"network"`
	Peer      Peer      `yaml:"peer"`
	API       API       `yaml:"api"`
	TLog      TLog      `yaml:"tlog"`
	Witnesses []Witness `yaml:"witnesses"`
	Prover    Prover    `yaml:"prover"`
	Datasets  Datasets  `yaml:"datasets"`
	Limits    Limits    `yaml:"limits"`
	Log       Log       `yaml:"log"`
}

// Network says which network configuration is trusted. Everything that other members are believed follows from it.
type Network struct {
	File   string `yaml:"file"`   // default network.json
	Digest string `yaml:"digest"` // its SHA-256 in hex, as compared by `grille network adopt`; serve refuses another
}

// Peer is the QUIC side, which other members reach. They are authenticated by their transport keys.
type Peer struct {
	Listen string `yaml:"listen"` // UDP host:port; default 127.0.0.1:4433
}

// API is the REST side, which this department's own applications reach. They are authenticated by the token in
// keys/api.token.
type API struct {
	Listen         string        `yaml:"listen"`          // TCP host:port; default 127.0.0.1:8443; beyond loopback needs TLS
	TLSCertificate string        `yaml:"tls_certificate"` // PEM file; empty: no TLS
	TLSKey         string        `yaml:"tls_key"`         // PEM file
	Metrics        string        `yaml:"metrics"`         // who may read /metrics: "token" (default) or "loopback" (no token asked)
	Shutdown       time.Duration `yaml:"shutdown"`        // how long requests in flight may finish, 1s to 5m; default 20s
}

// Prover bounds the work of proving. A proof uses about two cores for a fifth of a second.
type Prover struct {
	Workers int    `yaml:"workers"` // proofs at once, 1 to 64; default 1
	Queue   int    `yaml:"queue"`   // proofs waiting, 1 to 10000; default 64; beyond it queries are refused as busy
	Keys    string `yaml:"keys"`    // folder of the circuit's keys; default prover; may be shared by gateways on one machine
}

// Datasets says what is kept of this department's own records.
type Datasets struct {
	// KeepEpochs is how many committed states of each dataset stay, sealed, for questions about the past: 2 to 1000 epochs; default 10.
	// Fewer takes effect at a dataset's next import, and what it removes does not come back.
	KeepEpochs int `yaml:"keep_epochs"`
}

// Limits bound what callers may make this gateway do.
type Limits struct {
	CSVBytes         int64   `yaml:"csv_bytes"`          // largest import, 1 to 2^40 bytes; default 1 GiB
	QueriesPerSecond float64 `yaml:"queries_per_second"` // sustained, per requesting member, 0.1 to 10000; default 50
	QueriesAtOnce    int     `yaml:"queries_at_once"`    // in progress, per requesting member, 1 to 64; default 32
	WaitSeconds      int     `yaml:"wait_seconds"`       // longest wait for an answer over REST, 1 to 600; default 60
}

// Log says what is logged and how. Logs never hold personal data.
type Log struct {
	Level  string `yaml:"level"`  // debug, info (default), warn or error
	Format string `yaml:"format"` // text (default) or json
}

// Default returns the settings of a file that says nothing but member and instance.
func Default() Config {
	return Config{
		Network:  Network{File: "network.json"},
		Peer:     Peer{Listen: "127.0.0.1:4433"},
		API:      API{Listen: "127.0.0.1:8443", Metrics: "token", Shutdown: 20 * time.Second},
		TLog:     TLog{RequestsPerSecond: 200},
		Prover:   Prover{Workers: 1, Queue: 64, Keys: "prover"},
		Datasets: Datasets{KeepEpochs: dataset.KeepEpochs},
		Limits:   Limits{CSVBytes: 1 << 30, QueriesPerSecond: 50, QueriesAtOnce: 32, WaitSeconds: 60},
		Log:      Log{Level: "info", Format: "text"},
	}
}

// maxFile bounds grille.yaml in bytes; the one that init writes has 2 KiB.
const maxFile = 64 << 10

// Parse reads grille.yaml over the defaults and validates it. Unknown and repeated fields are errors with their position.
func Parse(data []byte) (Config, error) {
	c := Default()
	if len(data) > maxFile {
		return Config{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrConfig, len(data), maxFile)
	}
	if err := yaml.UnmarshalWithOptions(data, &c, yaml.Strict()); err != nil {
		return Config{}, fmt.Errorf("%w: %s", ErrConfig, yaml.FormatError(err, false, true))
	}
	if err := c.validate(); err != nil {
		return Config{}, err
	}
	if len(c.Witnesses) == 0 {
		c.Witnesses = nil
	}
	return c, nil
}

// Load reads and validates the grille.yaml of a gateway's folder.
func Load(f Folder) (Config, error) {
	data, err := os.ReadFile(f.Config())
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf("reading settings: there is no gateway in %s; make one with `grille init %s`", f, f)
	}
	if err != nil {
		return Config{}, fmt.Errorf("reading settings: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("reading %s: %w", f.Config(), err)
	}
	return c, nil
}

// Path makes a path of the settings absolute: relative ones are below the gateway's folder.
func (f Folder) Path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(string(f), p)
}
