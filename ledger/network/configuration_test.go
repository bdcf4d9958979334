package network

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

const testInstance = "test.example"

func testKey(label string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("network test key " + label))
	return ed25519.NewKeyFromSeed(seed[:])
}

func testPub(label string) ed25519.PublicKey { return testKey(label).Public().(ed25519.PublicKey) }

func testMember(name string, port int) Member {
	return Member{
		Name: name, Title: "Office <of> " + name, Mirror: true, Endpoint: fmt.Sprintf("127.0.0.1:%d", port),
		LogKey:       LogVKey(LogName(testInstance, name, 1), testPub("log "+name)),
		MirrorKey:    MirrorVKey(MirrorName(testInstance, name, 1), testPub("mirror "+name)),
		TransportKey: base64.StdEncoding.EncodeToString(testPub("transport " + name)),
		QueryKey:     base64.StdEncoding.EncodeToString(testPub("query " + name)),
	}
}

func testCard(t testing.TB, m Member) Card {
	t.Helper()
	c, err := NewCard(testInstance, m, testKey("log "+m.Name))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func testCards(t testing.TB) []Card {
	t.Helper()
	var out []Card
	for i, name := range []string{"GOV/tax", "GOV/civil", "COM/bank-1", "GOV/health"} {
		out = append(out, testCard(t, testMember(name, 4433+i)))
	}
	return out
}

func testParams() Params {
	id := strings.Repeat("ab", 32)
	return Params{Mode: ModeDemo, Expires: "2030-01-01T00:00:00Z",
		Schemes: []Scheme{
			{Name: "nid", Pattern: `[A-Z]{2}\d{6}|X`, Normalise: "upper", Example: "ab123456"},
			{Name: "crn", Pattern: `\d+`, Normalise: "none", Example: "12"}},
		Circuits: []Circuit{{ID: id, VerifyingKey: id, Kind: "development"}}}
}

func testBuild(t testing.TB) *Configuration {
	t.Helper()
	c, err := Build(testInstance, testParams(), testCards(t))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestBuildIsDeterministic(t *testing.T) {
	want := testBuild(t)
	cards, p := testCards(t), testParams()
	slices.Reverse(cards)
	slices.Reverse(p.Schemes)
	got, err := Build(testInstance, p, cards)
	if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) || got.Digest() != want.Digest() {
		t.Fatalf("other order, other bytes: %v", err)
	}
	path := filepath.Join("testdata", "configuration.golden")
	if *update {
		if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(golden, want.Bytes()) {
		t.Errorf("differs from %s (%v); got\n%s", path, err, want.Bytes())
	}
	parsed, err := Parse(golden)
	if err != nil || parsed.Digest() != want.Digest() {
		t.Errorf("golden file does not parse: %v", err)
	}
}

func TestLookups(t *testing.T) {
	c := testBuild(t)
	if c.BeatSeconds != 60 || c.HeartbeatSeconds != 10 || c.FreshnessSeconds != 30 {
		t.Errorf("defaults: %d %d %d", c.BeatSeconds, c.HeartbeatSeconds, c.FreshnessSeconds)
	}
	if m, ok := c.Member("GOV/tax"); !ok || m.Name != "GOV/tax" {
		t.Error("member not found")
	}
	if m, ok := c.Owner("test.example/GOV/tax/log/1"); !ok || m.Name != "GOV/tax" {
		t.Error("owner not found")
	}
	if _, ok := c.Owner("test.example/GOV/tax/log/2"); ok {
		t.Error("owner of another generation")
	}
	if _, ok := c.Member("GOV/none"); ok {
		t.Error("unknown member found")
	}
	if got := c.Origins(); !slices.IsSorted(got) || len(got) != 4 {
		t.Errorf("origins %v", got)
	}
	if s, ok := c.Scheme("nid"); !ok || s.Normalise != "upper" {
		t.Error("scheme not found")
	}
	if got := c.Origin("GOV/tax"); got != "test.example/GOV/tax/log/1" || c.Origin("GOV/none") != "" {
		t.Errorf("origin %q", got)
	}
	if c.Proposer != "COM/bank-1" {
		t.Errorf("proposer %s", c.Proposer)
	}
	if c.Quorum() != 3 {
		t.Errorf("quorum %d", c.Quorum())
	}
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 6: 5, 7: 5, 10: 7, 31: 21} {
		if q := Quorum(n); q != want || 2*q-n <= n/3-1 {
			t.Errorf("quorum of %d is %d, want %d", n, q, want)
		}
	}
}

// TestValidationRefuses breaks one field at a time; the message must name it.
func TestValidationRefuses(t *testing.T) {
	low := func(c *Configuration) *Member { return &c.Members[0] }
	for _, tc := range []struct {
		name, field string
		edit        func(*Configuration)
	}{
		{"instance", "instance", func(c *Configuration) { c.Instance = "Test" }},
		{"instance with slash", "instance", func(c *Configuration) { c.Instance = "a/b" }},
		{"version", "version", func(c *Configuration) { c.Version = 0 }},
		{"version beyond all", "version", func(c *Configuration) { c.Version = MaxVersion + 1 }},
		{"version 1 with a previous", "previous", func(c *Configuration) { c.Previous = strings.Repeat("ab", 32) }},
		{"version 2 without a previous", "previous", func(c *Configuration) { c.Version = 2 }},
		{"version 2's previous", "previous", func(c *Configuration) { c.Version, c.Previous = 2, strings.Repeat("AB", 32) }},
		{"no proposer", "proposer", func(c *Configuration) { c.Proposer = "" }},
		{"unknown proposer", "proposer", func(c *Configuration) { c.Proposer = "GOV/none" }},
		{"low quorum", "quorum", func(c *Configuration) { c.QuorumSize = 2 }},
		{"high quorum", "quorum", func(c *Configuration) { c.QuorumSize = 5 }},
		{"negative quorum", "quorum", func(c *Configuration) { c.QuorumSize = -1 }},
		{"log key's generation 0", "members.log_key", func(c *Configuration) {
			low(c).LogKey = LogVKey(LogName(testInstance, low(c).Name, 0), testPub("x"))
		}},
		{"log key's generation beyond all", "members.log_key", func(c *Configuration) {
			low(c).LogKey = LogVKey(LogName(testInstance, low(c).Name, MaxGeneration+1), testPub("x"))
		}},
		{"log key's generation spelled otherwise", "members.log_key", func(c *Configuration) {
			low(c).LogKey = LogVKey(testInstance+"/"+low(c).Name+"/log/01", testPub("x"))
		}},
		{"log key named as a mirror", "members.log_key", func(c *Configuration) {
			low(c).LogKey = LogVKey(MirrorName(testInstance, low(c).Name, 1), testPub("x"))
		}},
		{"mirror key's generation", "members.mirror_key", func(c *Configuration) {
			low(c).MirrorKey = MirrorVKey(testInstance+"/"+low(c).Name+"/mirror/+1", testPub("x"))
		}},
		{"mode", "mode", func(c *Configuration) { c.Mode = "test" }},
		{"expires", "expires", func(c *Configuration) { c.Expires = "never" }},
		{"beat", "beat_seconds", func(c *Configuration) { c.BeatSeconds = -1 }},
		{"heartbeat", "heartbeat_seconds", func(c *Configuration) { c.HeartbeatSeconds = MaxSeconds + 1 }},
		{"freshness", "freshness_seconds", func(c *Configuration) { c.FreshnessSeconds = 10 }},
		{"no members", "members", func(c *Configuration) { c.Members = nil }},
		{"too many members", "members", func(c *Configuration) { c.Members = make([]Member, MaxMembers+1) }},
		{"order", "members.name", func(c *Configuration) { slices.Reverse(c.Members) }},
		{"member twice", "members.name", func(c *Configuration) { c.Members[1] = c.Members[0] }},
		{"member's class", "members.name", func(c *Configuration) { low(c).Name = "G/tax" }},
		{"member's code", "members.name", func(c *Configuration) { low(c).Name = "COM/Tax" }},
		{"title", "members.title", func(c *Configuration) { low(c).Title = "" }},
		{"title with newline", "members.title", func(c *Configuration) { low(c).Title = "a\nb" }},
		{"endpoint", "members.endpoint", func(c *Configuration) { low(c).Endpoint = "127.0.0.1" }},
		{"endpoint port", "members.endpoint", func(c *Configuration) { low(c).Endpoint = "127.0.0.1:0" }},
		{"endpoint port name", "members.endpoint", func(c *Configuration) { low(c).Endpoint = "127.0.0.1:https" }},
		{"endpoint port sign", "members.endpoint", func(c *Configuration) { low(c).Endpoint = "127.0.0.1:+44" }},
		{"endpoint host", "members.endpoint", func(c *Configuration) { low(c).Endpoint = ":4433" }},
		{"endpoint shared", "members.endpoint", func(c *Configuration) { low(c).Endpoint = c.Members[1].Endpoint }},
		{"log key empty", "members.log_key", func(c *Configuration) { low(c).LogKey = "" }},
		{"log key of another", "members.log_key", func(c *Configuration) { low(c).LogKey = c.Members[1].LogKey }},
		{"log key of type 4", "members.log_key", func(c *Configuration) {
			low(c).LogKey = MirrorVKey(LogName(testInstance, low(c).Name, 1), testPub("x"))
		}},
		{"log key's hash", "members.log_key", func(c *Configuration) {
			low(c).LogKey = strings.Replace(low(c).LogKey, "/log/1+", "/log/1+0", 1)
		}},
		{"mirror key of type 1", "members.mirror_key", func(c *Configuration) {
			low(c).MirrorKey = LogVKey(MirrorName(testInstance, low(c).Name, 1), testPub("x"))
		}},
		{"mirror key of another name", "members.mirror_key", func(c *Configuration) {
			low(c).MirrorKey = MirrorVKey(LogName(testInstance, low(c).Name, 1), testPub("x"))
		}},
		{"transport key", "members.transport_key", func(c *Configuration) { low(c).TransportKey = "AAAA" }},
		{"query key not canonical", "members.query_key", func(c *Configuration) { low(c).QueryKey += "\n" }},
		{"key in two roles", "key", func(c *Configuration) { low(c).QueryKey = low(c).TransportKey }},
		{"key of another member", "key", func(c *Configuration) { low(c).QueryKey = c.Members[1].TransportKey }},
		{"mirror key is a log key", "key", func(c *Configuration) {
			low(c).MirrorKey = MirrorVKey(MirrorName(testInstance, low(c).Name, 1), testPub("log "+c.Members[2].Name))
		}},
		{"no mirror", "members.mirror", func(c *Configuration) {
			for i := range c.Members {
				c.Members[i].Mirror = false
			}
		}},
		{"three mirrors in production", "members.mirror", func(c *Configuration) {
			c.Mode, low(c).Mirror, c.Circuits = ModeProduction, false, nil
		}},
		{"development keys in production", "circuits.kind", func(c *Configuration) { c.Mode = ModeProduction }},
		{"scheme's name", "schemes.name", func(c *Configuration) { c.Schemes[0].Name = "" }},
		{"schemes' order", "schemes.name", func(c *Configuration) { slices.Reverse(c.Schemes) }},
		{"scheme's normalisation", "schemes.normalise", func(c *Configuration) { c.Schemes[0].Normalise = "lower" }},
		{"scheme's pattern", "schemes.pattern", func(c *Configuration) { c.Schemes[0].Pattern = "(" }},
		{"scheme's pattern escapes", "schemes.pattern", func(c *Configuration) { c.Schemes[0].Pattern = ")|(" }},
		{"scheme's example", "schemes.example", func(c *Configuration) { c.Schemes[0].Example = "12a" }},
		{"circuit's id", "circuits.id", func(c *Configuration) { c.Circuits[0].ID = "x" }},
		{"circuit's key", "circuits.verifying_key", func(c *Configuration) { c.Circuits[0].VerifyingKey = "" }},
		{"circuit's kind", "circuits.kind", func(c *Configuration) { c.Circuits[0].Kind = "test" }},
		{"transcript of development keys", "circuits.transcript", func(c *Configuration) { c.Circuits[0].Transcript = c.Circuits[0].ID }},
		{"contributors to development keys", "circuits.contributors", func(c *Configuration) { c.Circuits[0].Contributors = 1 }},
		{"demo keys in production", "circuits.kind", func(c *Configuration) { c.Mode = ModeProduction; ceremonial(c).Kind = KindDemo }},
		{"ceremony without a transcript", "circuits.transcript", func(c *Configuration) { ceremonial(c).Transcript = "" }},
		{"ceremony with a transcript of another form", "circuits.transcript", func(c *Configuration) { ceremonial(c).Transcript = "AB" }},
		{"ceremony of nobody", "circuits.contributors", func(c *Configuration) { ceremonial(c).Contributors = 0 }},
		{"ceremony of fewer than nobody", "circuits.contributors", func(c *Configuration) { ceremonial(c).Contributors = -1 }},
		{"ceremony of more than there may be", "circuits.contributors", func(c *Configuration) { ceremonial(c).Contributors = MaxMembers + 1 }},
		{"production ceremony of one", "circuits.contributors", func(c *Configuration) {
			c.Mode = ModeProduction
			ceremonial(c).Contributors = 1
		}},
		{"circuit's since", "circuits.since", func(c *Configuration) { c.Circuits[0].Since = "2027-01-01" }},
		{"circuit's until", "circuits.until", func(c *Configuration) { c.Circuits[0].Until = "2027-01-01T00:00:00+01:00" }},
		{"circuit never in force", "circuits.until", func(c *Configuration) {
			c.Circuits[0].Since, c.Circuits[0].Until = "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"
		}},
		{"circuit twice", "circuits.id", func(c *Configuration) { c.Circuits = append(c.Circuits, c.Circuits[0]) }},
	} {
		c := testBuild(t)
		tc.edit(c)
		_, err := Parse(c.Bytes())
		if !errors.Is(err, ErrConfiguration) || !strings.Contains(err.Error(), tc.field) {
			t.Errorf("%s: %v, want a complaint about %s", tc.name, err, tc.field)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	good := string(testBuild(t).Bytes())
	for name, doc := range map[string]string{
		"empty":            ``,
		"null":             `null`,
		"not indented":     strings.ReplaceAll(good, "\n  ", "\n"),
		"no final newline": strings.TrimSuffix(good, "\n"),
		"trailing":         good + "{}",
		"unknown field":    strings.Replace(good, `"version"`, `"colour": 1,"version"`, 1),
		"field twice":      strings.Replace(good, `"version": 1`, `"version": 1,"version": 1`, 1),
		"field's case":     strings.Replace(good, `"instance"`, `"Instance"`, 1),
		"escaped":          strings.Replace(good, `<of>`, `\u003cof>`, 1),
		"too long":         good + strings.Repeat(" ", MaxSize),
	} {
		if _, err := Parse([]byte(doc)); !errors.Is(err, ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCard(t *testing.T) {
	c := testCard(t, testMember("GOV/tax", 4433))
	parsed, err := ParseCard(c.Bytes())
	if err != nil || !reflect.DeepEqual(parsed, c) {
		t.Fatalf("card reads back as %+v, %v", parsed, err)
	}
	if f := c.Fingerprint(); len(f) != 39 || strings.Count(f, "-") != 7 {
		t.Errorf("fingerprint %s", f)
	}
	other := testCard(t, testMember("GOV/tax", 4434))
	if other.Fingerprint() == c.Fingerprint() {
		t.Error("two cards with one fingerprint")
	}
	for name, edit := range map[string]func(*Card){
		"title changed":     func(c *Card) { c.Member.Title = "x" },
		"mirror changed":    func(c *Card) { c.Member.Mirror = false },
		"instance changed":  func(c *Card) { c.Instance = "other.example" },
		"endpoint changed":  func(c *Card) { c.Member.Endpoint = "127.0.0.1:9" },
		"no signature":      func(c *Card) { c.Signature = "" },
		"other's signature": func(c *Card) { c.Signature = other.Signature },
	} {
		bad := c
		edit(&bad)
		if _, err := ParseCard(bad.Bytes()); !errors.Is(err, ErrConfiguration) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Build(testInstance, testParams(), append(testCards(t)[1:], bad)); !errors.Is(err, ErrConfiguration) {
			t.Errorf("%s: built, %v", name, err)
		}
	}
	if _, err := NewCard(testInstance, testMember("GOV/tax", 4433), testKey("another")); !errors.Is(err, ErrConfiguration) {
		t.Errorf("signed with another key: %v", err)
	}
	if _, err := NewCard(testInstance, testMember("GOV/tax", 4433), nil); !errors.Is(err, ErrConfiguration) {
		t.Errorf("signed with no key: %v", err)
	}
	if _, err := ParseCard(bytes.TrimSpace(c.Bytes())); !errors.Is(err, ErrConfiguration) {
		t.Errorf("not canonical: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(testBuild(f).Bytes())
	f.Add([]byte(`{"instance":"a","version":1,"members":null}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := Parse(data); err == nil && !bytes.Equal(c.Bytes(), data) {
			t.Fatalf("accepted what is not canonical: %q", data)
		}
	})
}

func FuzzParseCard(f *testing.F) {
	f.Add(testCard(f, testMember("GOV/tax", 4433)).Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := ParseCard(data); err == nil && !bytes.Equal(c.Bytes(), data) {
			t.Fatalf("accepted what is not canonical: %q", data)
		}
	})
}
