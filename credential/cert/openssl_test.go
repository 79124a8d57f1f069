package cert_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/credential/cert"
)

// openssl runs the program of Debian, and returns what it prints and whether it ends with 0.
func openssl(t *testing.T, args ...string) (string, bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("openssl: %v; scripts/setup installs it", err)
	}
	return out.String(), err == nil
}

// file writes a file of the test.
func file(t *testing.T, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pemFile(t *testing.T, certs ...*x509.Certificate) string {
	t.Helper()
	return file(t, cert.MarshalPEM(chainOf(certs...)...))
}

// OpenSSL accepts every shape, refuses it for TLS, and reads the revocation list.
func TestOpenSSL(t *testing.T) {
	f := newFixture(t)
	moment := strconv.FormatInt(now.Unix(), 10)
	for name, c := range map[string]struct {
		leaf    *x509.Certificate
		root    party
		between []*x509.Certificate
	}{
		"combined":      {leaf: f.issuing.issue(t, cert.Combined, f.id, crlAt), root: f.root, between: []*x509.Certificate{f.issuing.Certificate}},
		"combined mimi": {leaf: f.mimiIssuing.issue(t, cert.Combined, f.mimiID, crlAt), root: f.mimiRoot, between: []*x509.Certificate{f.mimiIssuing.Certificate}},
		"device only":   {leaf: f.issuing.issue(t, cert.DeviceOnly, f.id, crlAt), root: f.root, between: []*x509.Certificate{f.issuing.Certificate}},
		"user only":     {leaf: f.issuing.issue(t, cert.UserOnly, f.id, crlAt), root: f.root, between: []*x509.Certificate{f.issuing.Certificate}},
		"user CA":       {leaf: f.user.Certificate, root: f.root, between: []*x509.Certificate{f.issuing.Certificate}},
		"cascade":       {leaf: f.user.signDevice(t, alicePhone), root: f.root, between: []*x509.Certificate{f.user.Certificate, f.issuing.Certificate}},
		"cascade mimi": {leaf: f.mimiUser.signDevice(t, mimiPhone), root: f.mimiRoot,
			between: []*x509.Certificate{f.mimiUser.Certificate, f.mimiIssuing.Certificate}},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"verify", "-x509_strict", "-attime", moment, "-CAfile", pemFile(t, c.root.Certificate), "-untrusted", pemFile(t, c.between...)}
			leaf := pemFile(t, c.leaf)
			if out, ok := openssl(t, append(args, leaf)...); !ok {
				t.Errorf("openssl verify: %s", out)
			}
			for _, purpose := range []string{"sslclient", "sslserver", "smimesign"} {
				if out, ok := openssl(t, append(args, "-purpose", purpose, leaf)...); ok || !strings.Contains(out, "unsuitable certificate purpose") &&
					!strings.Contains(out, "unsupported certificate purpose") && !strings.Contains(out, "invalid CA certificate") {
					t.Errorf("openssl verify -purpose %s: %s", purpose, out)
				}
			}
		})
	}
	t.Run("revoked", func(t *testing.T) {
		phone := f.issuing.issue(t, cert.Combined, f.id, crlAt)
		list := func(entries ...cert.Entry) string {
			der, err := f.issuing.ca(t, "").SignCRL(cert.List{Number: bigInt(1), From: now, Until: now.Add(day), Entries: entries})
			if err != nil {
				t.Fatal(err)
			}
			out, ok := openssl(t, "crl", "-inform", "DER", "-in", file(t, der), "-CAfile", pemFile(t, f.issuing.Certificate))
			if !ok || !strings.Contains(out, "verify OK") {
				t.Fatalf("openssl crl: %s", out)
			}
			return file(t, []byte(out[strings.Index(out, "-----BEGIN"):]))
		}
		args := []string{"verify", "-x509_strict", "-attime", moment, "-crl_check", "-CAfile", pemFile(t, f.root.Certificate), "-untrusted", pemFile(t, f.issuing.Certificate)}
		if out, ok := openssl(t, append(args, "-CRLfile", list(), pemFile(t, phone))...); !ok {
			t.Errorf("openssl verify with an empty list: %s", out)
		}
		revoked := list(cert.Entry{Serial: phone.SerialNumber, At: now, Reason: cert.CessationOfOperation})
		if out, ok := openssl(t, append(args, "-CRLfile", revoked, pemFile(t, phone))...); ok || !strings.Contains(out, "certificate revoked") {
			t.Errorf("openssl verify with the certificate in the list: %s", out)
		}
		if out, _ := openssl(t, "crl", "-noout", "-text", "-in", revoked); !strings.Contains(out, "Cessation Of Operation") || !strings.Contains(out, "X509v3 CRL Number") {
			t.Errorf("openssl crl -text: %s", out)
		}
	})
	t.Run("parts", func(t *testing.T) {
		ca := f.issuing.splitCA(t)
		issue := func(part func(string) bool) *x509.Certificate {
			for {
				c, err := ca.Issue(cert.Template{Shape: cert.Combined, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)})
				if err != nil {
					t.Fatal(err)
				}
				if part(cert.PartOf(c.SerialNumber)) {
					return c
				}
			}
		}
		phone := issue(func(string) bool { return true })
		own := cert.PartOf(phone.SerialNumber)
		other := issue(func(part string) bool { return part != own })
		verify := func(revoked, c *x509.Certificate) (string, bool) {
			der, err := ca.SignCRL(cert.List{
				Part: cert.PartOf(revoked.SerialNumber), Number: bigInt(1), From: now, Until: now.Add(day),
				Entries: []cert.Entry{{Serial: revoked.SerialNumber, At: now, Reason: cert.CessationOfOperation}},
			})
			if err != nil {
				t.Fatal(err)
			}
			out, _ := openssl(t, "crl", "-inform", "DER", "-in", file(t, der))
			return openssl(t, "verify", "-x509_strict", "-attime", moment, "-crl_check", "-CAfile", pemFile(t, f.root.Certificate), "-untrusted",
				pemFile(t, f.issuing.Certificate), "-CRLfile", file(t, []byte(out)), pemFile(t, c))
		}
		if out, ok := verify(phone, phone); ok || !strings.Contains(out, "certificate revoked") {
			t.Errorf("openssl verify with the certificate in the list of its part: %s", out)
		}
		beside := issue(func(part string) bool { return part == own })
		if out, ok := verify(beside, phone); !ok {
			t.Errorf("openssl verify with another certificate of its part: %s", out)
		}
		if out, ok := verify(other, phone); ok || strings.Contains(out, "certificate revoked") {
			t.Errorf("openssl verify with the list of another part: %s", out)
		}
	})
	t.Run("names", func(t *testing.T) {
		out, _ := openssl(t, "x509", "-noout", "-text", "-in", pemFile(t, f.user.signDevice(t, alicePhone)))
		for _, want := range []string{
			"X509v3 Subject Alternative Name: critical\n                URI:" + alicePhone + "\n",
			"X509v3 Issuer Alternative Name: \n                URI:" + alice + "\n", "1.3.6.1.5.5.7.3.40",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("openssl x509 -text: %s\nwant %q", out, want)
			}
		}
	})
}

// CAs may have keys of every curve.
func TestOtherKeys(t *testing.T) {
	f := newFixture(t)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		root, err := cert.NewRoot(nil, private, cert.CATemplate{Domain: "example.com", Name: "root", From: now.Add(-day), Until: now.AddDate(1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		ca := party{root, private}
		if _, err := cert.Verify(t.Context(), chainOf(ca.issue(t, cert.Combined, f.id, "")), options(map[string]party{"example.com": ca})); err != nil {
			t.Errorf("%s: Verify = %v", curve.Params().Name, err)
		}
	}
}
