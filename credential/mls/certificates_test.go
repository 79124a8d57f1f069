package mls_test

import (
	"crypto"
	"crypto/x509"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/credential/mls"
)

// A domain is a CA of example.com whose certificates name a revocation list.
type domain struct {
	root *x509.Certificate
	ca   *cert.CA
	id   claims.Identity
}

func newDomain(t *testing.T) *domain {
	t.Helper()
	key := ed25519Key("ca")
	root, err := cert.NewRoot(nil, key, cert.CATemplate{Domain: "example.com", Name: "root", PathLen: 1, From: issued.AddDate(-1, 0, 0), Until: issued.AddDate(9, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	ca, err := cert.NewCA(cert.CAConfig{Certificate: root, Key: key, Domain: "example.com", CRL: "https://id.example.com/crl/1", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	id, err := claims.ParseIdentity(claims.Parser{}, user, handle, device)
	if err != nil {
		t.Fatal(err)
	}
	return &domain{root, ca, id}
}

func (d *domain) issue(t *testing.T, shape cert.Shape, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	c, err := d.ca.Issue(cert.Template{Shape: shape, Identity: d.id, Key: key, From: issued, Until: expires})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// options are those of a member who has a list in which some certificates are revoked.
func (d *domain) options(t *testing.T, revoked ...*x509.Certificate) mls.Options {
	t.Helper()
	l := cert.List{Number: big.NewInt(1), From: issued, Until: expires.AddDate(1, 0, 0)}
	for _, c := range revoked {
		l.Entries = append(l.Entries, cert.Entry{Serial: c.SerialNumber, At: now, Reason: cert.CessationOfOperation})
	}
	der, err := d.ca.SignCRL(l)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.ParseCRL(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(d.root)
	clock := func() time.Time { return now }
	o := mls.Options{Verifiers: map[mls.Type]mls.Verifier{
		mls.X509: mls.Certificates(cert.Roots{"example.com": roots}, &cert.CRLs{Lists: []*cert.CRL{list}, Now: clock}),
	}}
	o.Issuers, o.Now, o.Development = newAuthority(t).table, clock, true
	return o
}

// parsed returns a credential of certificates as another member reads it.
func parsed(t *testing.T, chain ...*x509.Certificate) *mls.Credential {
	t.Helper()
	c := &mls.Credential{Type: mls.X509}
	for _, one := range chain {
		c.Certificates = append(c.Certificates, one.Raw)
	}
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c, err = mls.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A leaf with a certificate is validated by its chain, its key and the revocation list; good, expired, ended and not known stay apart.
func TestCertificates(t *testing.T) {
	d := newDomain(t)
	phone, alice := ed25519Key("phone"), ed25519Key("alice")
	combined, person, userCA := d.issue(t, cert.Combined, phone.Public()), d.issue(t, cert.UserOnly, phone.Public()), d.issue(t, cert.UserCA, alice.Public())
	below, err := cert.SignDevice(nil, userCA, alice, cert.DeviceTemplate{Device: d.id.Device, Key: phone.Public(), From: issued, Until: expires, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	signatureKey, err := mls.CipherSuite(1).SignatureKey(phone.Public())
	if err != nil {
		t.Fatal(err)
	}
	leaf := mls.Leaf{CipherSuite: 1, SignatureKey: signatureKey, Room: room}
	otherKey, err := mls.CipherSuite(1).SignatureKey(alice.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		chain   []*x509.Certificate
		change  func(*mls.Leaf, *mls.Options)
		revoked *x509.Certificate
		want    error
	}{
		"combined":  {chain: []*x509.Certificate{combined}},
		"with root": {chain: []*x509.Certificate{combined, d.root}},
		"cascade":   {chain: []*x509.Certificate{below, userCA}},
		"key package": {chain: []*x509.Certificate{combined}, change: func(l *mls.Leaf, _ *mls.Options) {
			l.Room, l.Lifetime = "", &mls.Lifetime{NotBefore: uint64(issued.Unix()), NotAfter: uint64(expires.Unix())}
		}},
		"another key":  {chain: []*x509.Certificate{combined}, change: func(l *mls.Leaf, _ *mls.Options) { l.SignatureKey = otherKey }, want: credential.CodeKey},
		"other suite":  {chain: []*x509.Certificate{combined}, change: func(l *mls.Leaf, _ *mls.Options) { l.CipherSuite = 2 }, want: credential.CodeKey},
		"no device":    {chain: []*x509.Certificate{person}, want: credential.CodeClaim},
		"a user's CA":  {chain: []*x509.Certificate{userCA}, want: credential.CodeType},
		"no verifier":  {chain: []*x509.Certificate{combined}, change: func(_ *mls.Leaf, o *mls.Options) { o.Verifiers = nil }, want: credential.CodeType},
		"ended":        {chain: []*x509.Certificate{combined}, revoked: combined, want: credential.CodeEnded},
		"user's ended": {chain: []*x509.Certificate{below, userCA}, revoked: userCA, want: credential.CodeEnded},
		"expired":      {chain: []*x509.Certificate{combined}, change: func(_ *mls.Leaf, o *mls.Options) { o.Now = func() time.Time { return expires } }, want: credential.CodeExpired},
		"sent before it expired": {chain: []*x509.Certificate{combined}, change: func(l *mls.Leaf, o *mls.Options) {
			l.Time, o.Now = now, func() time.Time { return expires }
		}},
		"not known": {chain: []*x509.Certificate{combined}, change: func(_ *mls.Leaf, o *mls.Options) {
			roots := x509.NewCertPool()
			roots.AddCert(d.root)
			o.Verifiers[mls.X509] = mls.Certificates(cert.Roots{"example.com": roots}, &cert.CRLs{})
		}, want: cert.ErrNoList},
	} {
		t.Run(name, func(t *testing.T) {
			l, o := leaf, d.options(t)
			if c.revoked != nil {
				o = d.options(t, c.revoked)
			}
			if c.change != nil {
				c.change(&l, &o)
			}
			got, err := mls.Validate(t.Context(), parsed(t, c.chain...), l, o)
			if !errors.Is(err, c.want) {
				t.Fatalf("Validate = %v, want %v", err, c.want)
			}
			if credential.Stands(err) && got.Identity != d.id {
				t.Errorf("Validate = %+v, want the identity %+v", got.Identity, d.id)
			}
			if refused := (*credential.Error)(nil); errors.Is(err, cert.ErrUnknown) && errors.As(err, &refused) {
				t.Errorf("Validate = %v, a refusal", err)
			}
		})
	}
	t.Run("successor", func(t *testing.T) {
		o := d.options(t)
		old, err := mls.Validate(t.Context(), parsed(t, combined), leaf, o)
		next, nextErr := mls.Validate(t.Context(), parsed(t, below, userCA), leaf, o)
		if err := errors.Join(err, nextErr, mls.Successor(mls.Member{Credential: old}, mls.Member{Credential: next}, nil)); err != nil {
			t.Errorf("Successor = %v", err)
		}
	})
}
