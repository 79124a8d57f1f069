package doctor_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/doctor"
)

// writeCA makes a CA of example.com in a folder.
func writeCA(t *testing.T, folder string, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cert.NewRoot(nil, key, cert.CATemplate{Domain: "example.com", Name: "CA", From: time.Now().AddDate(-1, 0, 0), Until: until})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = errors.Join(os.MkdirAll(folder, 0o700), os.WriteFile(filepath.Join(folder, "ca.pem"), cert.MarshalPEM(c.Raw), 0o600),
		os.WriteFile(filepath.Join(folder, "ca-key.pem"), text, 0o600))
	if err != nil {
		t.Fatal(err)
	}
}

// newCertified returns a site whose domain has a CA.
func newCertified(t *testing.T, until time.Time) *site {
	t.Helper()
	s := newSite(t)
	writeCA(t, filepath.Join(s.folder, "own"), until)
	s.domain = "    ca: {cert_file: own/ca.pem, key_file: own/ca-key.pem}"
	return s
}

// Faults of the CA of a domain.
func TestCA(t *testing.T) {
	const day = 24 * time.Hour
	year := time.Now().AddDate(1, 0, 0)
	other := func(t *testing.T, c *config.Config, until time.Time) {
		folder := filepath.Join(c.Data, "other")
		writeCA(t, folder, until)
		c.Domains[0].CA.CertFile, c.Domains[0].CA.KeyFile = filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca-key.pem")
	}
	for _, test := range []struct {
		name   string
		until  time.Time
		breaks func(t *testing.T, s *site)
		adjust func(t *testing.T, c *config.Config)
		check  string
		status doctor.Status
		words  string
	}{
		{"good", year, nil, nil, "CA example.com", doctor.OK, "a revocation list is at https://" + host + "/crl/"},
		{"for long", year, nil, nil, "CA example.com", doctor.OK, "is valid for 36"},
		{"ends soon", time.Now().Add(29*day + time.Hour), nil, nil, "CA example.com", doctor.Warn, "expires in 29 days"},
		{"shortens certificates", time.Now().Add(80 * day), func(_ *testing.T, s *site) { s.settings += "\nlifetimes: {credential: 90d}" }, nil,
			"CA example.com", doctor.Warn, "every certificate that it issues"},
		{"expired since the start", year, nil, func(t *testing.T, c *config.Config) { other(t, c, time.Now().Add(-time.Minute)) },
			"CA example.com", doctor.Fail, "expired at"},
		{"another CA in the files than in use", year, nil, func(t *testing.T, c *config.Config) { other(t, c, year) },
			"CA example.com", doctor.Fail, "cannot know whether its certificates have ended"},
		{"the key of another", year, nil, func(t *testing.T, c *config.Config) {
			key := c.Domains[0].CA.KeyFile
			other(t, c, year)
			c.Domains[0].CA.KeyFile = key
		}, "CA example.com", doctor.Fail, "the key is not that of the certificate"},
		{"no file", year, nil, func(_ *testing.T, c *config.Config) { c.Domains[0].CA.CertFile += "x" }, "CA example.com", doctor.Fail, "no such file"},
		{"a key that all may read", year, nil, func(t *testing.T, c *config.Config) {
			if err := os.Chmod(c.Domains[0].CA.KeyFile, 0o604); err != nil {
				t.Fatal(err)
			}
		}, "CA example.com", doctor.Fail, "0604"},
		{"a certificate that all may write", year, nil, func(t *testing.T, c *config.Config) {
			if err := os.Chmod(c.Domains[0].CA.CertFile, 0o602); err != nil {
				t.Fatal(err)
			}
		}, "files", doctor.Fail, "ca.pem (mode 0602)"},
		{"lists not forwarded", year, func(_ *testing.T, s *site) {
			s.handler = func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "/crl/") {
						http.NotFound(w, r)
						return
					}
					next.ServeHTTP(w, r)
				})
			}
		}, nil, "CA example.com", doctor.Fail, "cannot know whether its certificates have ended"},
		{"a list that the proxy changes", year, func(_ *testing.T, s *site) {
			s.answer = func(r *http.Response) error {
				if strings.HasPrefix(r.Request.URL.Path, "/crl/") {
					r.Header.Set("Content-Type", "text/html")
				}
				return nil
			}
		}, nil, "CA example.com", doctor.Fail, "malformed"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := newCertified(t, test.until)
			if test.breaks != nil {
				test.breaks(t, s)
			}
			if test.adjust != nil {
				s.adjust = func(c *config.Config) { test.adjust(t, c) }
			}
			found := s.examine(t)
			found.want(t, test.check, test.status, test.words)
			found.wantNone(t, []string{test.check}, doctor.Fail)
		})
	}
	t.Run("not running", func(t *testing.T) {
		s := newCertified(t, year)
		s.idle = true
		found := s.examine(t)
		found.want(t, "CA example.com", doctor.OK, "is valid for")
		found.wantNone(t, nil, doctor.Fail)
	})
}
