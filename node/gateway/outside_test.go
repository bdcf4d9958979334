package gateway

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/node/config"
)

// settings changes a member's settings before it is opened.
func (w *world) settings(member string, change func(*config.Config)) {
	w.t.Helper()
	f := w.folder(member)
	c, err := config.Load(f)
	w.check(err)
	change(&c)
	w.check(config.Replace(f.Config(), c.Render(), 0o600))
}

// A stranger with nothing but an HTTPS client and a certificate reads a log with the cosignature of a gateway that witnesses
// it, which the owner shows beside its quorum and never counts.
func TestPublicSideAndOutsideWitness(t *testing.T) {
	w := newWorld(t, "GOV/a", "GOV/b", "GOV/c")
	addresses := map[string]string{"GOV/a": freeAddress(t), "GOV/b": freeAddress(t)}
	for _, m := range []string{"GOV/a", "GOV/b"} {
		_, err := config.EnsureCertificate(w.folder(m), time.Now())
		w.check(err)
		w.settings(m, func(c *config.Config) { c.TLog.Listen = addresses[m] })
	}
	key, made, err := config.EnsureWitness(w.folder("GOV/b"))
	if err != nil || !made {
		t.Fatal(made, err)
	}
	vkey := ledger.WitnessVKey(instance, "GOV/b", key.Public().(ed25519.PublicKey))
	w.settings("GOV/a", func(c *config.Config) {
		c.Witnesses = []config.Witness{{URL: "https://" + addresses["GOV/b"], Key: vkey, Certificate: w.folder("GOV/b").Certificate()}}
	})
	w.start("GOV/a", "GOV/b", "GOV/c")

	witness, err := torchwood.NewCosignatureVerifier(vkey)
	w.check(err)
	a, _ := w.config.Member("GOV/a")
	owner, err := note.NewVerifier(a.LogKey)
	w.check(err)
	pem, err := os.ReadFile(w.folder("GOV/a").Certificate())
	w.check(err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	var body []byte
	w.eventually("the checkpoint carries the witness's cosignature", func() bool {
		resp, err := client.Get("https://" + addresses["GOV/a"] + "/" + a.Origin() + "/checkpoint")
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		return err == nil && bytes.Contains(body, []byte("— "+witness.Name()+" "))
	})
	n, err := note.Open(body, note.VerifierList(owner, witness))
	if err != nil || len(n.Sigs) != 2 {
		t.Errorf("%d signatures, %v", len(n.Sigs), err)
	}
	g := w.running["GOV/a"]
	w.eventually("the head and the status show the witness", func() bool {
		st := g.Status().Witnesses
		if len(st) != 1 || st[0].Name != witness.Name() || st[0].Size == 0 || st[0].Fault != "" || st[0].Time == "" {
			return false
		}
		for _, h := range g.Heads() {
			if h.Origin == a.Origin() && slices.Equal(h.Witnesses, []string{witness.Name()}) {
				return !bytes.Contains([]byte(h.Checkpoint), []byte(witness.Name()))
			}
		}
		return false
	})
	for _, h := range w.running["GOV/c"].Heads() {
		if bytes.Contains([]byte(h.Checkpoint), []byte("/witness/")) || len(h.Witnesses) > 0 {
			t.Errorf("an outside cosignature has spread: %s", h.Checkpoint)
		}
	}
}

// A gateway without the settings listens to nobody outside, and one that cannot listen does not open.
func TestPublicSideIsOffByDefault(t *testing.T) {
	w := newWorld(t, "GOV/a")
	w.start("GOV/a")
	if w.running["GOV/a"].public != nil {
		t.Error("a public side without its setting")
	}
	if len(w.running["GOV/a"].Status().Witnesses) != 0 {
		t.Error("witnesses without settings")
	}
	if _, err := config.LoadWitness(w.folder("GOV/a")); err != nil {
		t.Errorf("no witness key was made: %v", err)
	}
	w.halt("GOV/a")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	defer taken.Close()
	for name, change := range map[string]func(c *config.TLog){
		"a certificate that is missing": func(c *config.TLog) {
			c.Listen, c.TLSCertificate, c.TLSKey = freeAddress(t), "none.crt", "none.key"
		},
		"an address of somebody else": func(c *config.TLog) { c.Listen = taken.Addr().String() },
	} {
		w.settings("GOV/a", func(c *config.Config) { c.TLog = config.Default().TLog; change(&c.TLog) })
		if g, err := w.open("GOV/a"); err == nil {
			t.Errorf("%s: opened", name)
			w.check(g.Close())
		}
	}
}
