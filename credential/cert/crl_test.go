package cert_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

// A list that is not complete, or that cannot be understood as a whole, is not read.
func TestParseCRLRefuses(t *testing.T) {
	f := newFixture(t)
	five := big.NewInt(5)
	unknown := asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 32473, 1}
	for name, c := range map[string]struct {
		edit func(*x509.RevocationList)
		want error
	}{
		"delta": {func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidDelta, Critical: true, Value: []byte{2, 1, 6}}}
		}, cert.ErrDelta},
		"delta, not critical": {func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidDelta, Value: []byte{2, 1, 6}}}
		}, cert.ErrDelta},
		"partial": {func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Critical: true, Value: []byte{0x30, 3, 0x82, 1, 0xff}}}
		}, cert.ErrMalformed},
		"critical extension of an entry": {func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{{Id: unknown, Critical: true, Value: []byte{5, 0}}}
		}, cert.ErrMalformed},
		"removed from the list": {func(l *x509.RevocationList) { l.RevokedCertificateEntries[0].ReasonCode = 8 }, cert.ErrMalformed},
		"two entries": {func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, l.RevokedCertificateEntries[0])
		}, cert.ErrMalformed},
		"negative serial number": {func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].SerialNumber = big.NewInt(-5)
		}, cert.ErrMalformed},
		"extension that is not critical": {func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: unknown, Value: []byte{5, 0}}}
		}, nil},
	} {
		if _, err := cert.ParseCRL(f.issuing.crl(t, c.edit, five)); !errors.Is(err, c.want) || err != nil && !errors.Is(err, cert.ErrUnknown) {
			t.Errorf("%s: ParseCRL = %v, want %v", name, err, c.want)
		}
	}
}

// Of fixed lists the newest one of the CA counts.
func TestCRLs(t *testing.T) {
	f := newFixture(t)
	list := func(der []byte) *cert.CRL {
		t.Helper()
		c, err := cert.ParseCRL(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	numbered := func(n int64) *cert.CRL {
		return list(f.issuing.crl(t, func(l *x509.RevocationList) { l.Number = big.NewInt(n) }))
	}
	expired := list(f.issuing.crl(t, func(l *x509.RevocationList) { l.Number, l.NextUpdate = big.NewInt(20), now }))
	other := list(f.root.crl(t, nil))
	for name, c := range map[string]struct {
		lists  []*cert.CRL
		number int64
		want   error
	}{
		"none":          {nil, 0, cert.ErrNoList},
		"of another CA": {[]*cert.CRL{other}, 0, cert.ErrNoList},
		"expired":       {[]*cert.CRL{expired, other}, 0, cert.ErrStale},
		"the newest":    {[]*cert.CRL{numbered(3), numbered(9), numbered(4), other}, 9, nil},
	} {
		source := &cert.CRLs{Lists: c.lists, Now: func() time.Time { return now }}
		got, err := source.CRL(t.Context(), f.issuing.Certificate, nil)
		if !errors.Is(err, c.want) || err == nil && got.Number.Int64() != c.number {
			t.Errorf("%s: CRL = %v, want %d, %v", name, err, c.number, c.want)
		}
	}
}
