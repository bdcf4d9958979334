package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"
)

// certificateYears is how long a certificate of our own lasts. Who trusts it compares it by hand, and would have to again.
const certificateYears = 10

// EnsureCertificate makes a self-signed certificate for the public side if there is none: tlog.crt for those who are to
// trust it, and keys/tlog.key. addresses are the host:ports under which it may be reached; loopback names are added.
func EnsureCertificate(f Folder, now time.Time, addresses ...string) (made bool, err error) {
	if _, err := os.Lstat(f.Certificate()); err == nil {
		return false, CheckPrivate(f.CertificateKey())
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("looking for the certificate: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader) // not Ed25519: few HTTPS clients take it
	if err != nil {
		return false, fmt.Errorf("making the certificate's key: %w", err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Grille logs"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(certificateYears, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return false, fmt.Errorf("making the certificate: %w", err)
	}
	nameCertificate(template, addresses)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return false, fmt.Errorf("making the certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return false, fmt.Errorf("making the certificate's key: %w", err)
	}
	// The key first: a certificate without its key would not be made again.
	if err := Replace(f.CertificateKey(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600); err != nil {
		return false, fmt.Errorf("writing the certificate's key: %w", err)
	}
	if err := WriteNew(f.Certificate(), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return false, fmt.Errorf("writing the certificate: %w", err)
	}
	return true, nil
}

// nameCertificate enters the hosts of addresses, and this machine's own.
func nameCertificate(c *x509.Certificate, addresses []string) {
	c.DNSNames = []string{"localhost"}
	ips := []string{"127.0.0.1", "::1"}
	for _, a := range addresses {
		host, _, err := net.SplitHostPort(a)
		if err != nil || host == "" {
			continue
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			if !ip.IsUnspecified() && !slices.Contains(ips, ip.String()) {
				ips = append(ips, ip.String())
			}
		} else if !slices.Contains(c.DNSNames, host) {
			c.DNSNames = append(c.DNSNames, host)
		}
	}
	for _, ip := range ips {
		c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip))
	}
}
