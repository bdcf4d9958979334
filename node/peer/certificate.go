package peer

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// certificate wraps the transport key for TLS. Nothing in it but the key is ever looked at, so it never expires and its
// names are empty: the network configuration alone decides whose key is whose.
func certificate(key ed25519.PrivateKey) (tls.Certificate, error) {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "grille"},
		NotBefore:    time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), // RFC 5280: no well-defined expiry
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making transport certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// errPin is why a handshake failed. Its text reaches the other end as a TLS alert only.
var errPin = errors.New("transport key is not the expected member's")

// tlsConfig is the one TLS configuration of a node, for both roles. accept gets the key whose possession the handshake
// proved.
//
// InsecureSkipVerify turns off the web's chain and name checks, which have no meaning here; VerifyConnection, which
// crypto/tls calls on every connection regardless, takes their place.
func tlsConfig(cert tls.Certificate, accept func(ed25519.PublicKey) error) *tls.Config {
	return &tls.Config{
		Certificates:           []tls.Certificate{cert},
		NextProtos:             []string{ALPN},
		MinVersion:             tls.VersionTLS13,
		ClientAuth:             tls.RequireAnyClientCert,
		InsecureSkipVerify:     true,
		SessionTicketsDisabled: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			key, err := provenKey(state)
			if err != nil {
				return err
			}
			return accept(key)
		},
	}
}

// provenKey returns the Ed25519 key of the other end's certificate.
func provenKey(state tls.ConnectionState) (ed25519.PublicKey, error) {
	if len(state.PeerCertificates) != 1 {
		return nil, fmt.Errorf("%w: %d certificates", errPin, len(state.PeerCertificates))
	}
	key, ok := state.PeerCertificates[0].PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: not an Ed25519 key", errPin)
	}
	if state.NegotiatedProtocol != ALPN {
		return nil, fmt.Errorf("%w: application protocol", errPin)
	}
	return key, nil
}
