package cert_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/jose"
)

type rootSource func(domain string) (*x509.CertPool, error)

func (s rootSource) Roots(_ context.Context, domain string) (*x509.CertPool, error) { return s(domain) }

// Verify gives what the certificates say, and the key.
func TestVerify(t *testing.T) {
	f := newFixture(t)
	jkt, err := jose.Thumbprint(key("phone").Public())
	if err != nil {
		t.Fatal(err)
	}
	leaf := f.user.signDevice(t, alicePhone)
	got, err := cert.Verify(t.Context(), chainOf(leaf, f.user.Certificate, f.issuing.Certificate), options(map[string]party{"example.com": f.root}))
	if err != nil {
		t.Fatal(err)
	}
	if got.Format != credential.X509 || got.ID != leaf.SerialNumber.Text(16) || got.Issuer != f.user.Subject.String() || got.Identity != f.id ||
		!key("phone").Public().(ed25519.PublicKey).Equal(got.Key) || got.JKT != jkt || got.Checked ||
		!got.From.Equal(leaf.NotBefore) || !got.Until.Equal(leaf.NotAfter) {
		t.Errorf("Verify = %+v", got)
	}
}

// A chain ends with the first of its certificates that ends.
func TestVerifyTimes(t *testing.T) {
	f := newFixture(t)
	soon := f.root.issuing(t, "soon", cert.CATemplate{Domain: "example.com", From: now.Add(-time.Hour), Until: now.Add(time.Hour)})
	chain := chainOf(soon.forge(t, forgery{san: []string{alicePhone}}), soon.Certificate)
	o := options(map[string]party{"example.com": f.root})
	for after, want := range map[time.Duration]error{
		0: nil, time.Hour - time.Second: nil, time.Hour: credential.CodeExpired, 48 * time.Hour: credential.CodeExpired,
		-time.Hour: nil, -time.Hour - time.Second: credential.CodeNotYetValid,
	} {
		o.Now = func() time.Time { return now.Add(after) }
		got, err := cert.Verify(t.Context(), chain, o)
		if !errors.Is(err, want) {
			t.Errorf("Verify after %v = %v, want %v", after, err, want)
		}
		if credential.Stands(err) && (!got.From.Equal(soon.NotBefore) || !got.Until.Equal(soon.NotAfter)) {
			t.Errorf("valid from %v until %v, want the times of the CA", got.From, got.Until)
		}
	}
	o.Now = func() time.Time { return now.Add(time.Hour) }
	o.Leeway = time.Second
	if _, err := cert.Verify(t.Context(), chain, o); err != nil {
		t.Errorf("Verify within leeway = %v", err)
	}
}

// That the roots cannot be known now is no refusal, and neither is an outage of the revocation list.
func TestVerifyUnknown(t *testing.T) {
	f := newFixture(t)
	chain := chainOf(f.issuing.issue(t, cert.Combined, f.id, crlAt), f.issuing.Certificate)
	down := errors.New("down")
	for name, c := range map[string]struct {
		roots error
		want  error
		code  credential.Code
	}{
		"outage": {down, down, ""}, "foreign domain": {claims.ErrDomain, nil, credential.CodeDomain}, "no peer": {claims.ErrIssuer, nil, credential.CodeIssuer},
	} {
		o := options(nil)
		o.Roots = rootSource(func(string) (*x509.CertPool, error) { return nil, c.roots })
		_, err := cert.Verify(t.Context(), chain, o)
		var refused *credential.Error
		if isRefusal := errors.As(err, &refused); isRefusal != (c.code != "") || isRefusal && refused.Code != c.code || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
	p := newPublisher(t)
	p.set(nil, http.StatusBadGateway)
	reader, _ := newReader(t, p, nil)
	o := options(map[string]party{"example.com": f.root})
	o.Unchecked, o.CRLs = false, reader
	named := chainOf(f.issuing.issue(t, cert.Combined, f.id, p.URL), f.issuing.Certificate)
	_, err := cert.Verify(t.Context(), named, o)
	if refused := (*credential.Error)(nil); errors.As(err, &refused) || !errors.Is(err, cert.ErrUnreachable) || credential.Stands(err) {
		t.Errorf("Verify = %v, want an error that is no refusal", err)
	}
	p.set(f.issuing.crl(t, nil), http.StatusOK)
	reader, _ = newReader(t, p, nil)
	o.CRLs = reader
	if got, err := cert.Verify(t.Context(), named, o); err != nil || !got.Checked {
		t.Errorf("Verify = %+v, %v, want a checked status", got, err)
	}
}

// An error says nothing of the certificate but names of its parts.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, c := range cases(t) {
		v := vectorOf(t, c)
		if _, err := v.verify(t); err != nil {
			for _, secret := range []string{"3h3aNq0m", "AAAAAAAA", "alice", "example.org", "IM issuing"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: Verify = %q, which has %q", c.name, err, secret)
				}
			}
		}
	}
}

// Reserved domains are for development.
func TestReservedDomain(t *testing.T) {
	f := newFixture(t)
	o := options(map[string]party{"example.com": f.root})
	o.Development = false
	_, err := cert.Verify(t.Context(), chainOf(f.issuing.issue(t, cert.DeviceOnly, f.id, ""), f.issuing.Certificate), o)
	if !errors.Is(err, claims.CodeReservedDomain) || !errors.Is(err, credential.CodeClaim) {
		t.Errorf("Verify = %v, want %v", err, claims.CodeReservedDomain)
	}
}

// A root that is pinned as a device's own certificate makes no CA of it.
func TestPinnedLeaf(t *testing.T) {
	f := newFixture(t)
	leaf := f.issuing.issue(t, cert.DeviceOnly, f.id, "")
	o := options(map[string]party{"example.com": {Certificate: leaf}})
	if _, err := cert.Verify(t.Context(), chainOf(leaf), o); !errors.Is(err, credential.CodeIssuer) {
		t.Errorf("Verify = %v, want %v", err, credential.CodeIssuer)
	}
}

// Describe names the shapes without checking anything.
func TestDescribe(t *testing.T) {
	f := newFixture(t)
	for want, c := range map[string]*x509.Certificate{
		"im-device-x5c":               f.issuing.issue(t, cert.Combined, f.id, ""),
		"im-device-only-x5c":          f.issuing.issue(t, cert.DeviceOnly, f.id, ""),
		"im-user-x5c":                 f.issuing.issue(t, cert.UserOnly, f.id, ""),
		"im-user-ca-x5c":              f.user.Certificate,
		"device below a user's CA":    f.user.signDevice(t, alicePhone),
		"CA":                          f.issuing.Certificate,
		"root CA":                     f.root.Certificate,
		"certificate of another kind": f.issuing.forge(t, forgery{rawSAN: withName(names(), 2, "www.example.com")}),
	} {
		got := cert.Describe(c)
		if got.Kind != want || got.JKT == "" || !strings.HasPrefix(got.Key, "Ed25519") {
			t.Errorf("Describe = %+v, want %q", got, want)
		}
	}
}
