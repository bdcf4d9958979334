package gateway

import (
	"path/filepath"
	"time"

	"github.com/grille-gateway/grille/ledger"
	"github.com/grille-gateway/grille/ledger/entry"
	"github.com/grille-gateway/grille/node/api"
	"github.com/grille-gateway/grille/node/config"
	"github.com/grille-gateway/grille/node/tlogweb"
	"github.com/grille-gateway/grille/node/witness"
)

// openOutside prepares what strangers see of the logs, and those who cosign the own one. The public side listens from here
// on, and serves once the gateway runs.
func (g *Gateway) openOutside(f config.Folder) error {
	var err error
	list := make([]config.Witness, len(g.settings.Witnesses))
	for i, w := range g.settings.Witnesses {
		w.Certificate = f.Path(w.Certificate)
		list[i] = w
	}
	g.outside, err = witness.New(witness.Options{Store: g.ledger, Origin: g.origin(), Witnesses: list,
		Dir: filepath.Join(f.Ledger(), "outside"), Heartbeat: time.Duration(g.network.HeartbeatSeconds) * time.Second,
		Now: g.now, Logger: g.log, Observe: g.metrics.Outside})
	if err != nil || g.settings.TLog.Listen == "" {
		return err
	}
	certificate, key := f.Path(g.settings.TLog.TLSCertificate), f.Path(g.settings.TLog.TLSKey)
	if certificate == "" {
		certificate, key = f.Certificate(), f.CertificateKey()
		if _, err := config.EnsureCertificate(f, g.now(), g.settings.TLog.Listen, g.member.Endpoint); err != nil {
			return err
		}
	}
	g.public, err = tlogweb.Listen(g.settings.TLog.Listen, certificate, key, tlogweb.New(tlogweb.Options{Store: g.ledger,
		Outside: g.outside.Lines, RequestsPerSecond: g.settings.TLog.RequestsPerSecond, Observe: g.metrics.Public, Logger: g.log}), g.log)
	return err
}

// outsideStatus tells how the outside witnesses are.
func (g *Gateway) outsideStatus() []api.Witness {
	var list []api.Witness
	for _, s := range g.outside.Status() {
		w := api.Witness{Name: s.Name, URL: s.URL, Size: s.Size, Fault: s.Fault}
		if !s.Time.IsZero() {
			w.Time = entry.FormatTime(s.Time)
		}
		list = append(list, w)
	}
	return list
}

// outsideOf tells which outside witnesses cosigned a head.
func (g *Gateway) outsideOf(head ledger.Head) (names []string) {
	if head.Origin != g.origin() {
		return nil
	}
	for _, c := range g.outside.Of(head) {
		names = append(names, c.Witness)
	}
	return names
}
