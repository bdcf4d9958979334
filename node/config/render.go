package config

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"
)

// Render writes the settings as the commented grille.yaml that a new gateway starts with.
func (c Config) Render() []byte {
	return fmt.Appendf(nil, `# Settings of one Grille gateway. Unknown fields are refused. Relative paths are relative to this folder.
member: %s
instance: %s

network:
  file: %s
  # SHA-256 of that file, written by "grille network adopt" after you compared fingerprints.
  digest: %q

# Other members reach this over QUIC (UDP).
peer:
  listen: %s

# Your own applications reach this over HTTP. Beyond loopback it needs TLS.
api:
  listen: %s
  tls_certificate: %q
  tls_key: %q
  # Who may read /metrics: token, or loopback (no token asked).
  metrics: %s
  shutdown: %s

# Anybody may read the logs here over HTTPS, in the formats of C2SP (tlog-tiles), and have checkpoints witnessed. Empty: off.
tlog:
  listen: %q
  # Empty: tlog.crt and keys/tlog.key, which init made and which signs itself.
  tls_certificate: %q
  tls_key: %q
  requests_per_second: %g

# Witnesses outside the network that cosign this log: url, key, and a certificate to trust if it is not publicly known.
witnesses: %s

prover:
  workers: %d
  queue: %d
  keys: %s

# How many committed states of each dataset stay for questions about the past.
datasets:
  keep_epochs: %d

limits:
  csv_bytes: %d
  queries_per_second: %g
  queries_at_once: %d
  wait_seconds: %d

log:
  level: %s
  format: %s
`, quote(c.Member), quote(c.Instance), quote(c.Network.File), c.Network.Digest, quote(c.Peer.Listen), quote(c.API.Listen),
		c.API.TLSCertificate, c.API.TLSKey, c.API.Metrics, c.API.Shutdown, c.TLog.Listen, c.TLog.TLSCertificate,
		c.TLog.TLSKey, c.TLog.RequestsPerSecond, renderWitnesses(c.Witnesses), c.Prover.Workers, c.Prover.Queue,
		quote(c.Prover.Keys), c.Datasets.KeepEpochs, c.Limits.CSVBytes, c.Limits.QueriesPerSecond, c.Limits.QueriesAtOnce, c.Limits.WaitSeconds,
		c.Log.Level, c.Log.Format)
}

// renderWitnesses writes a YAML list of mappings.
func renderWitnesses(list []Witness) string {
	if len(list) == 0 {
		return "[]"
	}
	var b strings.Builder
	for _, w := range list {
		fmt.Fprintf(&b, "\n  - url: %s\n    key: %s\n    certificate: %q", quote(w.URL), quote(w.Key), w.Certificate)
	}
	return b.String()
}

// quote writes a YAML string: plain where that is safe, double-quoted otherwise.
func quote(s string) string {
	out, err := yaml.Marshal(s)
	if err != nil {
		panic("config: writing a string as YAML: " + err.Error())
	}
	return strings.TrimSpace(string(out))
}

// SetDigest changes network.digest in the text of a grille.yaml and leaves the rest, comments included, as it is.
func SetDigest(data []byte, digest string) ([]byte, error) {
	file, err := parser.ParseBytes(data, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrConfig, yaml.FormatError(err, false, true))
	}
	path, err := yaml.PathString("$.network.digest")
	if err != nil {
		return nil, err
	}
	if err := path.ReplaceWithReader(file, strings.NewReader(fmt.Sprintf("%q", digest))); err != nil {
		return nil, fmt.Errorf("%w: network.digest is missing; add it below network: as `digest: \"\"`", ErrConfig)
	}
	out := []byte(file.String())
	c, err := Parse(out)
	if err != nil {
		return nil, err
	}
	if c.Network.Digest != digest {
		return nil, fmt.Errorf("%w: writing network.digest had no effect", ErrConfig)
	}
	return out, nil
}
