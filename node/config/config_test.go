package config

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/grille-gateway/grille/ledger/network"
)

// testWitness is the verifier key of a witness of that name.
func testWitness(name string) string {
	seed := sha256.Sum256([]byte("witness " + name))
	return network.MirrorVKey(name, ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey))
}

const minimal = "member: GOV/tax\ninstance: demo\n"

func TestMinimalFileHasDefaults(t *testing.T) {
	c, err := Parse([]byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Member, want.Instance = "GOV/tax", "demo"
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %+v", c)
	}
}

func TestRenderParses(t *testing.T) {
	c := Default()
	c.Member, c.Instance = "GOV/tax", "demo"
	c.Prover.Keys = "/odd path: #1/\"keys\""
	got, err := Parse(c.Render())
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%v\n%+v\n%s", err, got, c.Render())
	}
	c.Witnesses = []Witness{{URL: "https://witness.example/w", Key: testWitness("witness.example/w1"), Certificate: "/odd \"path\""},
		{URL: "http://127.0.0.1:7380", Key: testWitness("witness.example/w2")}}
	got, err = Parse(c.Render())
	if err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%v\n%+v\n%s", err, got, c.Render())
	}
}

func TestBadFiles(t *testing.T) {
	for _, c := range []struct{ name, text, says string }{
		{"unknown field", minimal + "colour: red\n", "colour"},
		{"unknown nested field", minimal + "api:\n  port: 1\n", "port"},
		{"field twice", minimal + "member: GOV/civil\n", "member"},
		{"not YAML", "member: [", ""},
		{"number for text", minimal + "log: 3\n", ""},
		{"no member", "instance: demo\n", `member is ""`},
		{"member form", "member: tax\ninstance: demo\n", `member is "tax"`},
		{"instance form", "member: GOV/tax\ninstance: De mo\n", `instance is "De mo"`},
		{"digest", minimal + "network:\n  digest: abc\n", `network.digest is "abc"`},
		{"network file", minimal + "network:\n  file: ''\n", "network.file"},
		{"no port", minimal + "peer:\n  listen: 127.0.0.1\n", "peer.listen"},
		{"port zero", minimal + "peer:\n  listen: 127.0.0.1:0\n", "peer.listen"},
		{"port too large", minimal + "peer:\n  listen: 127.0.0.1:65536\n", "peer.listen"},
		{"all interfaces", minimal + "api:\n  listen: ':8443'\n", "api.listen"},
		{"not loopback", minimal + "api:\n  listen: 0.0.0.0:8443\n", "api.tls_certificate"},
		{"a name", minimal + "api:\n  listen: gateway.example:8443\n", "api.tls_certificate"},
		{"key without certificate", minimal + "api:\n  tls_key: k.pem\n", "api.tls_key"},
		{"open metrics", minimal + "api:\n  listen: 0.0.0.0:1\n  tls_key: k\n  tls_certificate: c\n  metrics: loopback\n", "api.metrics"},
		{"metrics", minimal + "api:\n  metrics: all\n", "api.metrics"},
		{"shutdown", minimal + "api:\n  shutdown: 0s\n", "api.shutdown"},
		{"tlog port", minimal + "tlog:\n  listen: 127.0.0.1:0\n", "tlog.listen"},
		{"tlog key alone", minimal + "tlog:\n  tls_key: k.pem\n", "tlog.tls_key"},
		{"tlog rate", minimal + "tlog:\n  requests_per_second: 0.5\n", "tlog.requests_per_second"},
		{"tlog rate no number", minimal + "tlog:\n  requests_per_second: .nan\n", "tlog.requests_per_second"},
		{"witness without key", minimal + "witnesses:\n  - url: https://witness.example\n", "witnesses.key"},
		{"witness with a log key", minimal + "witnesses:\n  - {url: 'https://witness.example', key: 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW'}\n", "witnesses.key"},
		{"witness in the clear", minimal + "witnesses:\n  - {url: 'http://witness.example', key: '" + testWitness("w") + "'}\n", "witnesses.url"},
		{"witness without scheme", minimal + "witnesses:\n  - {url: witness.example, key: '" + testWitness("w") + "'}\n", "witnesses.url"},
		{"witness URL with a query", minimal + "witnesses:\n  - {url: 'https://witness.example/?a', key: '" + testWitness("w") + "'}\n", "witnesses.url"},
		{"witness URL with a password", minimal + "witnesses:\n  - {url: 'https://u:p@witness.example', key: '" + testWitness("w") + "'}\n", "witnesses.url"},
		{"witness URL with a slash", minimal + "witnesses:\n  - {url: 'https://witness.example/', key: '" + testWitness("w") + "'}\n", "witnesses.url"},
		{"witness twice", minimal + "witnesses:" + strings.Repeat("\n  - {url: 'https://witness.example', key: '"+testWitness("w")+"'}", 2) + "\n", "witnesses.key"},
		{"nine witnesses", minimal + "witnesses:" + strings.Repeat("\n  - {url: 'https://witness.example', key: '"+testWitness("w")+"'}", 9) + "\n", "witnesses"},
		{"no workers", minimal + "prover:\n  workers: 0\n", `prover.workers is "0"`},
		{"workers", minimal + "prover:\n  workers: 65\n", "prover.workers"},
		{"queue", minimal + "prover:\n  queue: -1\n", "prover.queue"},
		{"keys", minimal + "prover:\n  keys: ''\n", "prover.keys"},
		{"one epoch", minimal + "datasets:\n  keep_epochs: 1\n", `datasets.keep_epochs is "1"`},
		{"too many epochs", minimal + "datasets:\n  keep_epochs: 1001\n", "datasets.keep_epochs"},
		{"csv", minimal + "limits:\n  csv_bytes: 0\n", "limits.csv_bytes"},
		{"rate", minimal + "limits:\n  queries_per_second: .nan\n", "limits.queries_per_second"},
		{"at once", minimal + "limits:\n  queries_at_once: 65\n", "limits.queries_at_once"},
		{"wait", minimal + "limits:\n  wait_seconds: 601\n", "limits.wait_seconds"},
		{"level", minimal + "log:\n  level: loud\n", `log.level is "loud"`},
		{"format", minimal + "log:\n  format: xml\n", "log.format"},
		{"too long", minimal + "#" + strings.Repeat("x", maxFile), "the limit is"},
	} {
		_, err := Parse([]byte(c.text))
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add(Default().Render())
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Parse(data); err == nil && c.validate() != nil {
			t.Error("an invalid configuration was accepted")
		}
	})
}

func TestLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, "[::]:1": false, "10.0.0.1:1": false, "example:1": false, "127.0.0.1": false, "": false,
	} {
		if Loopback(address) != want {
			t.Errorf("%q", address)
		}
	}
}

func TestSetDigestKeepsTheRest(t *testing.T) {
	c := Default()
	c.Member, c.Instance = "GOV/tax", "demo"
	digest := strings.Repeat("ab", 32)
	out, err := SetDigest(c.Render(), digest)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Replace(string(c.Render()), `digest: ""`, `digest: "`+digest+`"`, 1)
	if string(out) != want {
		t.Errorf("got:\n%s", out)
	}
	if _, err := SetDigest([]byte(minimal), digest); !errors.Is(err, ErrConfig) {
		t.Errorf("without the field: %v", err)
	}
}

func testFolder(t *testing.T) Folder {
	t.Helper()
	f := Folder(filepath.Join(t.TempDir(), "gw"))
	if err := f.Create(); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestKeysAreMadeOnceAndPrivate(t *testing.T) {
	f := testFolder(t)
	first, made, err := EnsureKeys(f)
	if err != nil || len(made) != 4 {
		t.Fatal(made, err)
	}
	second, made, err := EnsureKeys(f)
	if err != nil || len(made) != 0 || !first.Log.Equal(second.Log) || !first.Query.Equal(second.Query) {
		t.Fatal("keys changed", made, err)
	}
	if first.Log.Equal(first.Mirror) || first.Transport.Equal(first.Query) {
		t.Error("roles share a key")
	}
	if err := os.Chmod(f.Key(RoleQuery), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(f); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("a key that the group may read: %v", err)
	}
	if err := os.Chmod(f.Keys(), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadKeys(f); !errors.Is(err, ErrExposed) || !strings.Contains(err.Error(), "chmod 0700") {
		t.Errorf("a folder that others may read: %v", err)
	}
}

func TestBadKeyFiles(t *testing.T) {
	for name, text := range map[string]string{
		"empty":     "",
		"not PEM":   "secret",
		"not PKCS8": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
		"public":    "-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----\n",
		"too long":  strings.Repeat("x", maxFile+1),
	} {
		f := testFolder(t)
		if _, _, err := EnsureKeys(f); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Key(RoleLog), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadKeys(f); err == nil || strings.Contains(err.Error(), "c2VjcmV0") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadNetwork(t *testing.T) {
	f := testFolder(t)
	keys, _, err := EnsureKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	card, err := network.NewCard("demo", keys.Member("demo", "GOV/tax", "Tax", "127.0.0.1:4433", true), keys.Log)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := network.Build("demo", network.Params{Mode: network.ModeDemo, Expires: "2036-01-01T00:00:00Z"}, []network.Card{card})
	if err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.Member, c.Instance = "GOV/tax", "demo"
	if _, err := LoadNetwork(f, c, keys); !errors.Is(err, ErrNotAdopted) || !strings.Contains(err.Error(), "network adopt") {
		t.Errorf("nothing adopted: %v", err)
	}
	if err := Replace(f.Path(c.Network.File), cfg.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	c.Network.Digest = cfg.Digest()
	if got, err := LoadNetwork(f, c, keys); err != nil || got.Digest() != cfg.Digest() {
		t.Errorf("adopted: %v", err)
	}
	other := c
	other.Network.Digest = strings.Repeat("00", 32)
	if _, err := LoadNetwork(f, other, keys); !errors.Is(err, ErrNotAdopted) {
		t.Errorf("another digest: %v", err)
	}
	other = c
	other.Member = "GOV/civil"
	if _, err := LoadNetwork(f, other, keys); !errors.Is(err, ErrConfig) {
		t.Errorf("another member: %v", err)
	}
	swapped := keys
	swapped.Query = keys.Transport
	if _, err := LoadNetwork(f, c, swapped); !errors.Is(err, ErrConfig) {
		t.Errorf("another key: %v", err)
	}
}

func TestReplaceAndWriteNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	if err := WriteNew(path, []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteNew(path, []byte("b"), 0o600); !errors.Is(err, os.ErrExist) {
		t.Errorf("second WriteNew: %v", err)
	}
	if err := Replace(path, []byte("c"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "c" {
		t.Errorf("content %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); len(left) != 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestWitnessKeyIsMadeOnce(t *testing.T) {
	f := testFolder(t)
	first, made, err := EnsureWitness(f)
	if err != nil || !made {
		t.Fatal(made, err)
	}
	keys, _, err := EnsureKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	second, made, err := EnsureWitness(f)
	if err != nil || made || !first.Equal(second) || first.Equal(keys.Mirror) {
		t.Error("the witness key changed, or is another's", made, err)
	}
	if err := os.Chmod(f.Key(RoleWitness), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := EnsureWitness(f); !errors.Is(err, ErrExposed) {
		t.Errorf("a key that others may read: %v", err)
	}
	if err := os.WriteFile(f.Key(RoleWitness), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(f.Key(RoleWitness), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, made, err := EnsureWitness(f); err == nil || made || strings.Contains(err.Error(), "secret") {
		t.Errorf("a damaged key: %v, %v", made, err)
	}
}

func TestCertificateIsMadeOnce(t *testing.T) {
	f := testFolder(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	made, err := EnsureCertificate(f, now, "logs.example:8444", "127.7.7.7:8444", "0.0.0.0:8444", "no address")
	if err != nil || !made {
		t.Fatal(made, err)
	}
	if made, err := EnsureCertificate(f, now, "other.example:1"); err != nil || made {
		t.Error("made again", made, err)
	}
	pair, err := tls.LoadX509KeyPair(f.Certificate(), f.CertificateKey())
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(pair.Leaf)
	for host, want := range map[string]bool{"logs.example": true, "127.7.7.7": true, "127.0.0.1": true, "::1": true, "localhost": true,
		"0.0.0.0": false, "other.example": false} {
		_, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: pool, CurrentTime: now.AddDate(9, 0, 0)})
		if (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: "localhost", Roots: pool, CurrentTime: now.AddDate(11, 0, 0)}); err == nil {
		t.Error("valid for ever")
	}
	if err := os.Chmod(f.CertificateKey(), 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureCertificate(f, now); !errors.Is(err, ErrExposed) {
		t.Errorf("a key that others may read: %v", err)
	}
}
