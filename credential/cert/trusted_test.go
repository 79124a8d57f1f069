package cert_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
)

// Keys by which anyone can sign, and second spellings of keys, are neither certified nor accepted.
func TestWeakEd25519(t *testing.T) {
	f := newFixture(t)
	identityPoint := append([]byte{1}, make([]byte, 31)...)
	notCanonical := append(append([]byte{0xf0}, bytes.Repeat([]byte{0xff}, 30)...), 0x7f) // y = p + 3
	for name, k := range map[string]ed25519.PublicKey{
		"small order": identityPoint, "zero": make([]byte, 32), "not canonical": notCanonical,
	} {
		leaf := f.issuing.forge(t, forgery{san: []string{alicePhone}, key: k})
		_, err := cert.Verify(t.Context(), chainOf(leaf, f.issuing.Certificate), options(map[string]party{"example.com": f.root}))
		if refused := (*credential.Error)(nil); !errors.As(err, &refused) || refused.Code != credential.CodeAlgorithm || refused.Part != "x5c[0]" {
			t.Errorf("%s: Verify = %v, want %v", name, err, credential.CodeAlgorithm)
		}
		made, err := f.issuing.ca(t, crlAt).Issue(cert.Template{Shape: cert.DeviceOnly, Identity: f.id, Key: k, From: now, Until: now.Add(day)})
		if err == nil {
			t.Errorf("%s: Issue = %v, want an error", name, made.SerialNumber)
		}
	}
}

// A source without roots and without an error does not make the roots of the system count.
func TestNilRoots(t *testing.T) {
	f := newFixture(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "roots.pem")
	if err := os.WriteFile(file, cert.MarshalPEM(f.root.Raw), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", folder)
	o := options(nil)
	o.Roots = rootSource(func(string) (*x509.CertPool, error) { return nil, nil })
	chain := chainOf(f.issuing.forge(t, forgery{san: []string{alicePhone}}), f.issuing.Certificate)
	if got, err := cert.Verify(t.Context(), chain, o); err == nil || errors.As(err, new(*credential.Error)) {
		t.Errorf("Verify = %+v, %v, want an error that is no refusal", got, err)
	}
}
