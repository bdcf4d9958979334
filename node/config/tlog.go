package config

import (
	"fmt"
	"net/url"
	"strings"

	"filippo.io/torchwood"
)

// TLog is the public side: anybody may read the logs, have checkpoints cosigned and upload entries in the protocols of C2SP
// (tlog-tiles, tlog-witness, tlog-mirror) over HTTPS. Nobody is authenticated, and nothing but the logs is told.
type TLog struct {
	Listen            string  `yaml:"listen"`              // TCP host:port; empty (default): off
	TLSCertificate    string  `yaml:"tls_certificate"`     // PEM file; empty: tlog.crt, which init makes and signs itself
	TLSKey            string  `yaml:"tls_key"`             // PEM file; empty: keys/tlog.key
	RequestsPerSecond float64 `yaml:"requests_per_second"` // sustained, per client address, 1 to 100000; default 200
}

// Witness is a witness outside the network that is asked to cosign this member's log (tlog-witness). Its cosignatures are
// shown and served, and count to no quorum.
type Witness struct {
	URL         string `yaml:"url"`         // its submission prefix: https, or http on a loopback address
	Key         string `yaml:"key"`         // its verifier key, of type 04 (Ed25519 cosignatures)
	Certificate string `yaml:"certificate"` // PEM file of the certificate or authority to trust for url; empty: the system's
}

// maxWitnesses keeps a checkpoint with all their cosignatures within what verifiers must accept (C2SP signed-note: 16).
const maxWitnesses = 8

func (t TLog) validate() error {
	if t.Listen != "" {
		if err := checkAddress("tlog.listen", t.Listen); err != nil {
			return err
		}
	}
	switch {
	case (t.TLSCertificate == "") != (t.TLSKey == ""):
		return refuse("tlog.tls_key", t.TLSKey, "set tlog.tls_certificate and tlog.tls_key both, or neither")
	case !(t.RequestsPerSecond >= 1 && t.RequestsPerSecond <= 100000): // also refuses NaN
		return refuse("tlog.requests_per_second", t.RequestsPerSecond, "write 1 to 100000")
	}
	return nil
}

func (c Config) validateWitnesses() error {
	if len(c.Witnesses) > maxWitnesses {
		return refuse("witnesses", len(c.Witnesses), fmt.Sprintf("name at most %d", maxWitnesses))
	}
	seen := make(map[string]bool)
	for _, w := range c.Witnesses {
		v, err := torchwood.NewCosignatureVerifier(w.Key)
		if err != nil || v.String() != w.Key {
			return refuse("witnesses.key", w.Key, "write the verifier key of type 04 that the witness's operator hands out, NAME+HASH+KEY")
		}
		if seen[v.Name()] {
			return refuse("witnesses.key", w.Key, "name each witness once")
		}
		seen[v.Name()] = true
		if !witnessURL(w.URL) {
			return refuse("witnesses.url", w.URL, "write https://HOST or https://HOST/PATH; http is for loopback addresses only")
		}
	}
	return nil
}

func witnessURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "/") {
		return false
	}
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return u.Scheme == "https" || u.Scheme == "http" && Loopback(u.Hostname()+":"+port)
}
