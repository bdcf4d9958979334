package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/grille-gateway/grille/exchange/dataset"
	"github.com/grille-gateway/grille/ledger/entry"
)

var instanceForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{0,63}$`)

// refuse says which field, its value, and what it should be.
func refuse(field string, value any, remedy string) error {
	return fmt.Errorf("%w: %s is %q: %s", ErrConfig, field, fmt.Sprint(value), remedy)
}

func (c Config) validate() error {
	if !entry.MemberName(c.Member) {
		return refuse("member", c.Member, "write a class of 2 to 8 capitals, a slash and a code of a-z 0-9 -, like GOV/tax")
	}
	if !instanceForm.MatchString(c.Instance) {
		return refuse("instance", c.Instance, "write 1 to 64 of a-z 0-9 . -, as in the network configuration")
	}
	if err := c.Network.validate(); err != nil {
		return err
	}
	if err := checkAddress("peer.listen", c.Peer.Listen); err != nil {
		return err
	}
	for _, check := range []func() error{c.API.validate, c.TLog.validate, c.validateWitnesses, c.Prover.validate, c.Datasets.validate, c.Limits.validate, c.Log.validate} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (n Network) validate() error {
	if n.File == "" {
		return refuse("network.file", n.File, "write the path of the network configuration, normally network.json")
	}
	if raw, err := hex.DecodeString(n.Digest); n.Digest != "" && (err != nil || len(raw) != 32 || hex.EncodeToString(raw) != n.Digest) {
		return refuse("network.digest", n.Digest, "leave it to `grille network adopt`, which writes 64 lower-case hexadecimal digits")
	}
	return nil
}

func (a API) validate() error {
	if err := checkAddress("api.listen", a.Listen); err != nil {
		return err
	}
	switch {
	case (a.TLSCertificate == "") != (a.TLSKey == ""):
		return refuse("api.tls_key", a.TLSKey, "set api.tls_certificate and api.tls_key both, or neither")
	case a.TLSCertificate == "" && !Loopback(a.Listen):
		return refuse("api.listen", a.Listen,
			"use a loopback address like 127.0.0.1:8443, or set api.tls_certificate and api.tls_key: the token and subject ids "+
				"must not cross a network in the clear")
	case a.Metrics != "token" && a.Metrics != "loopback":
		return refuse("api.metrics", a.Metrics, `write "token", or "loopback" to serve /metrics without a token to this machine`)
	case a.Metrics == "loopback" && !Loopback(a.Listen):
		return refuse("api.metrics", a.Metrics, `write "token": api.listen is not a loopback address`)
	case a.Shutdown < time.Second || a.Shutdown > 5*time.Minute:
		return refuse("api.shutdown", a.Shutdown, "write 1s to 5m")
	}
	return nil
}

func (p Prover) validate() error {
	switch {
	case p.Workers < 1 || p.Workers > 64:
		return refuse("prover.workers", p.Workers, "write 1 to 64; one worker uses two cores")
	case p.Queue < 1 || p.Queue > 10000:
		return refuse("prover.queue", p.Queue, "write 1 to 10000")
	case p.Keys == "":
		return refuse("prover.keys", p.Keys, "write the folder of the circuit's keys, normally prover")
	}
	return nil
}

func (d Datasets) validate() error {
	if d.KeepEpochs < 2 || d.KeepEpochs > dataset.MaxKeepEpochs { // answers use the last final epoch while the next one becomes final
		return refuse("datasets.keep_epochs", d.KeepEpochs, "write 2 to 1000 epochs; each takes the space of a whole import")
	}
	return nil
}

func (l Limits) validate() error {
	switch {
	case l.CSVBytes < 1 || l.CSVBytes > 1<<40:
		return refuse("limits.csv_bytes", l.CSVBytes, "write 1 to 1099511627776 (1 TiB)")
	case !(l.QueriesPerSecond >= 0.1 && l.QueriesPerSecond <= 10000): // also refuses NaN
		return refuse("limits.queries_per_second", l.QueriesPerSecond, "write 0.1 to 10000")
	case l.QueriesAtOnce < 1 || l.QueriesAtOnce > 64:
		return refuse("limits.queries_at_once", l.QueriesAtOnce, "write 1 to 64")
	case l.WaitSeconds < 1 || l.WaitSeconds > 600:
		return refuse("limits.wait_seconds", l.WaitSeconds, "write 1 to 600")
	}
	return nil
}

func (l Log) validate() error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, l.Level) {
		return refuse("log.level", l.Level, "write debug, info, warn or error")
	}
	if l.Format != "text" && l.Format != "json" {
		return refuse("log.format", l.Format, "write text or json")
	}
	return nil
}

func checkAddress(field, s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return refuse(field, s, "write host:port, like 127.0.0.1:4433")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
		return refuse(field, s, "write a port of 1 to 65535 after the host")
	}
	return nil
}

// Loopback tells whether a host:port can be reached from this machine only. A name other than localhost counts as not.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}
