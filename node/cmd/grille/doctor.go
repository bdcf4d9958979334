package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/ledger/network"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/keyring"
)

// finding is one line of the doctor's.
type finding struct {
	Check  string `json:"check"`
	State  string `json:"state"` // ok, warn or fail
	Detail string `json:"detail"`
	Remedy string `json:"remedy,omitempty"`
}

const (
	stateOK   = "ok"
	stateWarn = "warn"
	stateFail = "fail"
)

// doctor looks at one gateway's folder. Later checks use what earlier ones read.
type doctor struct {
	dir      config.Folder
	settings *config.Config
	keys     *config.Keys
	network  *network.Configuration
	running  bool
	found    []finding
}

func (d *doctor) add(check, state, remedy, format string, args ...any) {
	d.found = append(d.found, finding{check, state, fmt.Sprintf(format, args...), remedy})
}

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use: "doctor [DIR]", Short: "Check a gateway's folder and surroundings, and say what to mend", Args: cobra.MaximumNArgs(1),
		Long: "Checks permissions, settings, keys, the adopted network, disk, clock, ports and the running gateway. Changes nothing but a " +
			"temporary file. Exit code 1 if a check fails.",
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &doctor{dir: a.folder(args, 0)}
			d.examine(cmd.Context())
			err := a.print(d.found, func(w io.Writer) {
				for _, f := range d.found {
					fmt.Fprintf(w, "%-4s  %-12s %s\n", f.State, f.Check, f.Detail)
					if f.Remedy != "" {
						fmt.Fprintf(w, "      %-12s -> %s\n", "", f.Remedy)
					}
				}
			})
			if err != nil {
				return err
			}
			failed := 0
			for _, f := range d.found {
				if f.State == stateFail {
					failed++
				}
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d checks failed", failed, len(d.found))
			}
			return nil
		},
	}
}

func (d *doctor) examine(ctx context.Context) {
	d.checkSettings()
	if d.settings == nil {
		return
	}
	d.checkKeys()
	d.checkNetwork()
	d.checkCircuit(ctx)
	d.checkDisk()
	d.checkClock()
	d.checkGateway(ctx)
	d.checkPublic()
	d.checkPorts()
	d.checkBuffers()
}

func (d *doctor) checkSettings() {
	c, err := config.Load(d.dir)
	if err != nil {
		d.add("settings", stateFail, "", "%v", err)
		return
	}
	d.settings = &c
	d.add("settings", stateOK, "", "%s in %s", c.Member, c.Instance)
}

func (d *doctor) checkKeys() {
	keys, err := config.LoadKeys(d.dir)
	if err != nil {
		d.add("keys", stateFail, "grille init "+string(d.dir)+" makes missing keys; the message above names the file to mend", "%v", err)
		return
	}
	d.keys = &keys
	for _, path := range []string{d.dir.Token(), d.dir.Vault()} {
		err := config.CheckPrivate(path)
		if errors.Is(err, os.ErrNotExist) {
			d.add("keys", stateWarn, "it is made at the first start; if there was one, restore it: data sealed with it cannot be read without it",
				"%s is missing", path)
		} else if err != nil {
			d.add("keys", stateFail, "", "%v", err)
		}
	}
	d.add("keys", stateOK, "", "four signing keys, readable by their owner only")
	key, err := witnessKey(d.dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		d.add("witness", stateWarn, "it is made at the next start", "%s is missing", d.dir.Key(config.RoleWitness))
	case err != nil:
		d.add("witness", stateFail, "", "%v", err)
	default:
		d.add("witness", stateOK, "", "%s", key)
	}
}

func (d *doctor) checkNetwork() {
	if d.keys == nil {
		return
	}
	cfg, err := config.LoadNetwork(d.dir, *d.settings, *d.keys)
	if err != nil {
		d.add("network", stateFail, "", "%v", err)
		return
	}
	d.network = cfg
	expires, err := entry.ParseTime(cfg.Expires)
	left := time.Until(expires)
	switch {
	case err != nil || left <= 0:
		d.add("network", stateFail, "agree on a new configuration and adopt it", "the configuration expired at %s", cfg.Expires)
	case left < 30*24*time.Hour:
		d.add("network", stateWarn, "agree on a new configuration and adopt it", "the configuration expires at %s", cfg.Expires)
	default:
		d.add("network", stateOK, "", "fingerprint %s, quorum %d of %d", fingerprint(cfg.Digest()), cfg.Quorum(), len(cfg.Mirrors()))
	}
	if cfg.Mode == network.ModeDemo {
		d.add("network", stateWarn, "a production network needs four mirrors and keys from a ceremony", "the network is in demo mode")
	}
}

// checkCircuit finds what a start would make of the circuits' keys.
func (d *doctor) checkCircuit(ctx context.Context) {
	if d.network == nil {
		return
	}
	if len(d.network.Circuits) == 0 {
		d.add("circuit", stateWarn, "hold a ceremony (grille ceremony) and name its circuit in the next version (grille network change --ceremony)",
			"the network names no circuit: nothing can be asked or answered")
		return
	}
	dir := d.dir.Path(d.settings.Prover.Keys)
	ring, err := keyring.Load(ctx, keyring.Options{Dir: dir, Own: d.dir.Contributions(), Member: d.settings.Member, Config: d.network})
	if refusal := (*keyring.Refusal)(nil); errors.As(err, &refusal) {
		d.add("circuit", stateFail, refusal.Next, "circuit %.16s... (%s): %s", refusal.Circuit, refusal.Code, refusal.Why)
		return
	}
	if err != nil {
		d.add("circuit", stateFail, "", "%v", err)
		return
	}
	d.reportKeys(ring)
}

// reportKeys says what the gateway can do under each circuit.
func (d *doctor) reportKeys(ring *keyring.Ring) {
	answers := make(map[string]bool)
	for _, k := range ring.Keys {
		answers[k.Metadata().CircuitID] = true
	}
	for _, missing := range ring.Missing {
		d.add("circuit", stateWarn, missing.Next, "circuit %.16s... (%s): %s", missing.Circuit, missing.Code, missing.Why)
	}
	inForce := false
	for _, c := range d.network.Circuits {
		now := c.InForce(time.Now())
		inForce = inForce || now && answers[c.ID]
		if !slices.Contains(ring.Proofs.IDs(), c.ID) {
			continue
		}
		what := map[bool]string{true: "answers", false: "verifies"}[answers[c.ID]]
		if !now {
			what += ", not in force now"
		}
		d.add("circuit", stateOK, "", "keys of circuit %.16s..., %s: %s", c.ID, c.Kind, what)
	}
	if !inForce {
		d.add("circuit", stateWarn, "get the keys of a circuit that is in force, or run the version of grille that has it", "this gateway answers nothing now")
	}
}

// checkDisk makes one durable write as the ledger does, and looks for free space.
func (d *doctor) checkDisk() {
	dir := d.dir.Ledger()
	start := time.Now()
	probe := filepath.Join(dir, ".doctor")
	err := config.Replace(probe, []byte("probe\n"), 0o600)
	took := time.Since(start)
	if removing := os.Remove(probe); err == nil {
		err = removing
	}
	switch {
	case err != nil:
		d.add("disk", stateFail, "see to it that the folder can be written and synced", "writing to %s: %v", dir, err)
	case took > 100*time.Millisecond:
		d.add("disk", stateWarn, "finality waits for this on every mirror; use a faster disk", "a durable write took %d ms", took.Milliseconds())
	default:
		d.add("disk", stateOK, "", "a durable write took %.1f ms", float64(took.Microseconds())/1000)
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil {
		if free := fs.Bavail * uint64(fs.Bsize); free < 1<<30 {
			d.add("disk", stateWarn, "a gateway that cannot write stops; free some space", "%d MiB are free", free>>20)
		}
	}
}

// checkClock asks the kernel whether something keeps its clock right. Cosignatures carry times, and a mirror whose clock is
// off stops signing.
func (d *doctor) checkClock() {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	if err != nil {
		d.add("clock", stateWarn, "run chrony or another NTP client", "the kernel does not say whether the clock is synchronised: %v", err)
		return
	}
	if state == unix.TIME_ERROR || t.Status&unix.STA_UNSYNC != 0 {
		d.add("clock", stateWarn, "run chrony or another NTP client; in a container, ask the host", "the kernel says that the clock is not synchronised")
		return
	}
	d.add("clock", stateOK, "", "synchronised")
}

func (d *doctor) checkGateway(ctx context.Context) {
	c, _, err := clientFor(d.dir)
	if err != nil {
		d.add("gateway", stateWarn, "grille serve "+string(d.dir), "cannot be asked: %v", err)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	var s api.Status
	if err := c.get(ctx, "/v1/status", &s); err != nil {
		d.add("gateway", stateWarn, "grille serve "+string(d.dir), "not running: %v", firstLine(err))
		return
	}
	d.running = true
	if s.BrokenPromises > 0 {
		d.add("receipts", stateWarn, "grille receipts list --broken --role answered; tell your privacy officer, and find out why the gateway was down",
			"%d receipt promises of this gateway were not kept in time", s.BrokenPromises)
	}
	if s.BrokenToUs > 0 {
		d.add("receipts", stateWarn, "grille receipts list --broken --role asked; tell your privacy officer, and ask those holders",
			"%d receipt promises to this gateway were not kept in time", s.BrokenToUs)
	}
	if s.BrokenPromises+s.BrokenToUs == 0 {
		d.add("receipts", stateOK, "", "every promised receipt was kept in time")
	}
	d.checkScopes(ctx, c)
	if s.Ready {
		d.add("gateway", stateOK, "", "ready, %d of %d members connected", s.PeersUp, s.Peers)
		return
	}
	d.add("gateway", stateWarn, "see grille status for who is missing", "running, not ready: %s", strings.Join(s.NotReady, "; "))
}

// checkScopes looks at the scopes that this member keeps the register of.
func (d *doctor) checkScopes(ctx context.Context, c *gatewayClient) {
	var list items[api.Scope]
	if err := c.get(ctx, "/v1/scopes", &list); err != nil {
		d.add("claims", stateWarn, "grille scope list", "scopes cannot be listed: %v", firstLine(err))
		return
	}
	for _, s := range list.Items {
		switch name := s.Program + "/" + s.Period; {
		case s.Key == nil: // another member's, or closed
		case !*s.Key:
			d.add("claims", stateFail, "grille scope close "+name+", and open another period; tell those who decide by it",
				"the key of scope %s is not in claims/: nobody can claim in it any more", name)
		case *s.Waiting > 64:
			d.add("claims", stateWarn, "wait; each beat logs 64", "%d claims of scope %s wait for a batch", *s.Waiting, name)
		default:
			d.add("claims", stateOK, "", "scope %s takes claims until %s", name, s.Closes)
		}
	}
}

// checkPublic looks at the certificate of the public side, if there is one.
func (d *doctor) checkPublic() {
	listen := d.settings.TLog.Listen
	if listen == "" {
		return
	}
	certificate, key := d.dir.Path(d.settings.TLog.TLSCertificate), d.dir.Path(d.settings.TLog.TLSKey)
	if certificate == "" {
		certificate, key = d.dir.Certificate(), d.dir.CertificateKey()
	}
	pair, err := tls.LoadX509KeyPair(certificate, key)
	switch {
	case errors.Is(err, os.ErrNotExist) && d.settings.TLog.TLSCertificate == "":
		d.add("public", stateWarn, "grille init "+string(d.dir)+" makes one; so does the next start", "no certificate for %s yet", listen)
	case err != nil:
		d.add("public", stateFail, "see tlog.tls_certificate and tlog.tls_key", "%v", err)
	case time.Until(pair.Leaf.NotAfter) < 14*24*time.Hour:
		d.add("public", stateWarn, "renew it", "the certificate ends at %s", entry.FormatTime(pair.Leaf.NotAfter))
	default:
		d.add("public", stateOK, "", "logs at https://%s, certificate SHA-256 %x", listen, sha256.Sum256(pair.Leaf.Raw))
	}
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// checkPorts tries to listen where the gateway would, unless it runs.
func (d *doctor) checkPorts() {
	if d.running {
		d.add("ports", stateOK, "", "in use by the running gateway")
		return
	}
	tcp, err := net.Listen("tcp", d.settings.API.Listen)
	if err == nil {
		err = tcp.Close()
	}
	if err != nil {
		d.add("ports", stateFail, "stop the other program, or change api.listen", "%v", err)
	}
	if public := d.settings.TLog.Listen; public != "" && err == nil {
		if tcp, err = net.Listen("tcp", public); err == nil {
			err = tcp.Close()
		}
		if err != nil {
			d.add("ports", stateFail, "stop the other program, or change tlog.listen", "%v", err)
		}
	}
	udp, udpErr := net.ListenPacket("udp", d.settings.Peer.Listen)
	if udpErr == nil {
		udpErr = udp.Close()
	}
	if udpErr != nil {
		d.add("ports", stateFail, "stop the other program, or change peer.listen", "%v", udpErr)
	}
	if err == nil && udpErr == nil {
		d.add("ports", stateOK, "", "%s (UDP) and %s (TCP) are free", d.settings.Peer.Listen, d.settings.API.Listen)
	}
}

// wantBuffer is what quic-go asks of the kernel for a UDP socket, in bytes.
const wantBuffer = 7 << 20

func (d *doctor) checkBuffers() {
	for _, name := range []string{"rmem_max", "wmem_max"} {
		text, err := os.ReadFile("/proc/sys/net/core/" + name)
		if err != nil {
			continue // not this system's way
		}
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n < wantBuffer {
			d.add("buffers", stateWarn, fmt.Sprintf("sysctl -w net.core.%s=%d, for large imports over long distances", name, wantBuffer),
				"net.core.%s is %d", name, n)
		}
	}
}
