package trust_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/trust"
)

var _ cert.RootSource = (*trust.Table)(nil)

// certificateOf returns a self-signed certificate, PEM.
func certificateOf(t *testing.T, name string, isCA bool) (text []byte, c *x509.Certificate) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	usage := x509.KeyUsageDigitalSignature
	if isCA {
		usage = x509.KeyUsageCertSign
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now(),
		NotAfter: time.Now().AddDate(1, 0, 0), BasicConstraintsValid: true, IsCA: isCA, KeyUsage: usage}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), c
}

// Roots count for the domain that they are listed with, until that is suspended.
func TestRoots(t *testing.T) {
	oneText, one := certificateOf(t, "one", true)
	twoText, two := certificateOf(t, "two", true)
	const issuer, other = "https://id.example.net", "https://id.example.org"
	table, err := trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{
		{Domain: "example.com", Issuer: issuer, CA: oneText},
		{Domain: "example.org", Issuer: issuer, CA: twoText}, {Domain: "example.org", Issuer: other, CA: oneText},
		{Domain: "none.example", Issuer: issuer},
		{Domain: "off.example", Issuer: issuer, CA: oneText, Suspended: true},
		{Domain: "found.example", CA: append(oneText, twoText...)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	pool := func(list ...*x509.Certificate) *x509.CertPool {
		p := x509.NewCertPool()
		for _, c := range list {
			p.AddCert(c)
		}
		return p
	}
	for domain, want := range map[string]*x509.CertPool{"example.com": pool(one), "example.org": pool(one, two), "found.example": pool(one, two)} {
		if got, err := table.Roots(t.Context(), domain); err != nil || !got.Equal(want) {
			t.Errorf("Roots(%s) = %v, %v, want its own", domain, got, err)
		}
	}
	for domain, want := range map[string]error{
		"none.example": trust.ErrNoRoots, "off.example": trust.ErrSuspended, "example.net": trust.ErrForeignDomain, "sub.example.com": trust.ErrForeignDomain,
		"": trust.ErrForeignDomain,
	} {
		got, err := table.Roots(t.Context(), domain)
		if got != nil || !errors.Is(err, want) || !errors.Is(err, claims.ErrIssuer) && !errors.Is(err, claims.ErrDomain) {
			t.Errorf("Roots(%s) = %v, %v, want the refusal %v", domain, got, err, want)
		}
	}
	if err := table.Suspend("example.com", true); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Roots(t.Context(), "example.com"); !errors.Is(err, trust.ErrSuspended) {
		t.Errorf("Roots of a suspended domain = %v, want %v", err, trust.ErrSuspended)
	}
	if _, err := table.Roots(t.Context(), "example.org"); err != nil {
		t.Errorf("Roots of another domain = %v", err)
	}
}

// A peer's CA must be certificates of CAs.
func TestRootsRefused(t *testing.T) {
	good, _ := certificateOf(t, "ca", true)
	leaf, _ := certificateOf(t, "leaf", false)
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0}})
	for name, text := range map[string][]byte{
		"no PEM": []byte("x"), "a leaf": leaf, "a leaf after a CA": append(good[:len(good):len(good)], leaf...),
		"a key": key, "with a key": append(good[:len(good):len(good)], key...), "broken": broken,
		"cut off after a CA":  append(good[:len(good):len(good)], good[:len(good)/2]...),
		"cut off before a CA": append(good[:len(good)/2:len(good)/2], append([]byte("\n"), good...)...),
	} {
		_, err := trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{{Domain: "example.com", Issuer: "https://id.example.net", CA: text}}})
		if err == nil {
			t.Errorf("%s: NewTable = nil, want an error", name)
		}
	}
}
