package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
)

// writePair writes a self-signed certificate and its key with a mode.
func writePair(t *testing.T, dir, name string, mode os.FileMode) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"id.acme.im"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), mode); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTLS checks that a certificate needs its own key, in a file that other users cannot read.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a", 0o600)
	writePair(t, dir, "b", 0o600)
	writePair(t, dir, "open", 0o644)
	for name, test := range map[string]struct{ issuer, tls, want string }{
		"good":        {"https://id.acme.im", "{cert_file: a.pem, key_file: a.key}", ""},
		"none":        {"https://id.acme.im", "{}", ""},
		"http":        {"http://id.acme.im", "{cert_file: a.pem, key_file: a.key}", "tls: goes with an https issuer"},
		"no key":      {"https://id.acme.im", "{cert_file: a.pem}", "tls.key_file: is missing"},
		"no cert":     {"https://id.acme.im", "{key_file: a.key}", "tls.cert_file: is missing"},
		"another's":   {"https://id.acme.im", "{cert_file: a.pem, key_file: b.key}", "tls: " + dir + "/a.pem and " + dir + "/b.key are not a certificate and its key"},
		"exchanged":   {"https://id.acme.im", "{cert_file: a.key, key_file: a.pem}", "tls: "},
		"open":        {"https://id.acme.im", "{cert_file: open.pem, key_file: open.key}", "tls.key_file: " + dir + "/open.key is open to every user (mode 0644)"},
		"cert absent": {"https://id.acme.im", "{cert_file: x.pem, key_file: a.key}", "tls.cert_file: " + dir + "/x.pem cannot be read"},
		"key absent":  {"https://id.acme.im", "{cert_file: a.pem, key_file: x.key}", "tls.key_file: " + dir + "/x.key cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "issuer: " + test.issuer + "\ndevelopment: true\ntls: " + test.tls +
				"\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", client_id: x}]}]\n"
			c, err := config.Parse(filepath.Join(dir, "issuer.yaml"), []byte(text), nil)
			if test.want == "" {
				if err != nil {
					t.Errorf("Parse = %v, want nil", err)
				} else if name == "good" && c.TLS != (config.TLS{CertFile: dir + "/a.pem", KeyFile: dir + "/a.key"}) {
					t.Errorf("TLS = %+v, want the files in %s", c.TLS, dir)
				}
				return
			}
			if faults, _ := err.(config.Errors); len(faults) != 1 || !strings.Contains(faults[0].Error(), ": "+test.want) {
				t.Errorf("Parse = %v, want one fault: %s", err, test.want)
			}
		})
	}
}
