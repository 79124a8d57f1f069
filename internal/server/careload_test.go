package server_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

// TestCAReload holds that a running issuer takes up another certificate of its CA, another CA and the one before, and that files which are
// not valid change nothing. The revocation list goes on with the key: that of a CA whose key is gone cannot be signed any more, and then
// nobody says that its certificates are good or have ended.
func TestCAReload(t *testing.T) {
	rootKey, folder := caKey(t), t.TempDir()
	root, err := cert.NewRoot(nil, rootKey, cert.CATemplate{
		Domain: "example.com", Name: "root", PathLen: 1, From: time.Now().AddDate(-1, 0, 0), Until: time.Now().AddDate(9, 0, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: rootKey, Domain: "example.com", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	certify := func(key *ecdsa.PrivateKey, until time.Duration) *x509.Certificate {
		t.Helper()
		c, err := authority.IssueCA(key.Public(), cert.CATemplate{
			Domain: "example.com", Name: "CA", From: time.Now().AddDate(0, -6, 0), Until: time.Now().Add(until),
		})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const day = 24 * time.Hour
	key, otherKey := caKey(t), caKey(t)
	first, renewed, other := certify(key, 90*day), certify(key, 300*day), certify(otherKey, 300*day)
	roots := cert.Roots{"example.com": x509.NewCertPool()}
	roots["example.com"].AddCert(root)

	writeCA(t, folder, first, key)
	certFile, keyFile := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca-key.pem")
	s := start(t, map[string]string{"ca-example.com": fmt.Sprintf("ca: {cert_file: %q, key_file: %q}", certFile, keyFile)})
	get := func(by *x509.Certificate) [][]byte {
		t.Helper()
		d := newDevice(t)
		chain := s.certificate(t, d, s.forCredentials(t, d, s.inWallet(t, d, "alice")), cert.Combined)
		if got, err := x509.ParseCertificate(chain[1]); err != nil || !got.Equal(by) {
			t.Fatalf("the certificate is by the CA with serial number %x (%v), want %x", got.SerialNumber, err, by.SerialNumber)
		}
		return chain
	}
	wantEnded := func(chain [][]byte, want bool) {
		t.Helper()
		if _, err := s.verifyChain(t, roots, chain); want && !isEnded(err) || !want && err != nil {
			t.Errorf("Verify = %v, want it ended: %t", err, want)
		}
	}
	old, gone := get(first), get(first)
	c, err := x509.ParseCertificate(gone[0])
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/credentials/example.com/"+c.SerialNumber.Text(16), url.Values{"reason": {"keyCompromise"}}), http.StatusOK)
	wantEnded(old, false)
	wantEnded(gone, true)

	// The same key: certificates of before stay good, and those that ended are in the list.
	writeCA(t, folder, renewed, key)
	s.reload(t, nil)
	wantEnded(get(renewed), false)
	wantEnded(old, false)
	wantEnded(gone, true)

	// What is not valid, though the settings were read while it was.
	const kept = "the new CA is not valid: the one before is used"
	for name, damage := range map[string]func() error{
		"no certificate":             func() error { return os.WriteFile(certFile, []byte("no certificate"), 0o600) },
		"cut off":                    func() error { return os.WriteFile(certFile, cert.MarshalPEM(renewed.Raw)[:200], 0o600) },
		"no file":                    func() error { return os.Remove(certFile) },
		"expired":                    func() error { return os.WriteFile(certFile, cert.MarshalPEM(certify(key, -day).Raw), 0o600) },
		"the certificate of another": func() error { return os.WriteFile(certFile, cert.MarshalPEM(other.Raw), 0o600) },
		"no key":                     func() error { return os.WriteFile(keyFile, nil, 0o600) },
		"a key that all may read":    func() error { return os.Chmod(keyFile, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			valid, before := settings(t, s.fill), s.witness.count(kept)
			if err := damage(); err != nil {
				t.Fatal(err)
			}
			if err := s.instance.Reload(valid); err != nil {
				t.Fatal(err)
			}
			if s.witness.count(kept) == before {
				t.Errorf("the log does not say %q", kept)
			}
			wantEnded(get(renewed), false)
			wantEnded(gone, true)
			writeCA(t, folder, renewed, key)
			if err := os.Chmod(keyFile, 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}

	// Another key is another CA.
	writeCA(t, folder, other, otherKey)
	s.reload(t, nil)
	wantEnded(get(other), false)
	for name, chain := range map[string][][]byte{"of before": old, "that ended before": gone} {
		if _, err := s.verifyChain(t, roots, chain); !errors.Is(err, cert.ErrUnreachable) || isEnded(err) {
			t.Errorf("Verify of a certificate %s = %v, want %v", name, err, cert.ErrUnreachable)
		}
		wantStatus(t, s.get(t, listOf(t, chain)), http.StatusNotFound)
	}
	if n := s.witness.count("the CA has another key or name: whether certificates of the one before have ended cannot be known any more"); n != 1 {
		t.Errorf("the log says %d times that the CA is another one, want once", n)
	}

	// With the files of before, what it knew is known again.
	writeCA(t, folder, renewed, key)
	s.reload(t, nil)
	wantEnded(old, false)
	wantEnded(gone, true)
}

// listOf returns the address of the revocation list that a certificate names.
func listOf(t *testing.T, chain [][]byte) string {
	t.Helper()
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	return c.CRLDistributionPoints[0]
}

// count returns how many lines of the log have a text.
func (w *witness) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), text)
}
