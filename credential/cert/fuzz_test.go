package cert_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
)

// FuzzChain verifies anything as a chain. Only what the CA has signed is accepted: the first certificate is, byte for byte, one of those
// that the CA issued.
func FuzzChain(f *testing.F) {
	w := newFixture(f)
	leaf, below := w.issuing.issue(f, cert.Combined, w.id, ""), w.user.signDevice(f, alicePhone)
	issued := chainOf(leaf, below, w.issuing.issue(f, cert.UserOnly, w.id, ""))
	o := options(map[string]party{"example.com": w.root})
	for _, chain := range [][]*x509.Certificate{
		{leaf, w.issuing.Certificate}, {below, w.user.Certificate, w.issuing.Certificate}, {below, w.issuing.Certificate, w.user.Certificate},
		{leaf, w.issuing.Certificate, w.root.Certificate},
	} {
		var b [3][]byte
		copy(b[:], chainOf(chain...))
		f.Add(b[0], b[1], b[2])
	}
	for _, v := range readVectors(f) {
		var b [3][]byte
		copy(b[:], v.Chain)
		f.Add(b[0], b[1], b[2])
	}
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		chain := slices.DeleteFunc([][]byte{a, b, c}, func(der []byte) bool { return len(der) == 0 })
		got, err := cert.Verify(t.Context(), chain, o)
		if err != nil {
			return
		}
		if !slices.ContainsFunc(issued, func(der []byte) bool { return bytes.Equal(der, chain[0]) }) && !vectorChain(t, chain[0]) {
			t.Errorf("Verify accepts a certificate that no CA signed: %x, as %+v", chain[0], got)
		}
	})
}

// vectorChain reports whether a certificate is the first one of a vector: its keys are those of the fixture.
func vectorChain(t *testing.T, der []byte) bool {
	t.Helper()
	for _, v := range readVectors(t) {
		if len(v.Chain) > 0 && bytes.Equal(v.Chain[0], der) {
			return true
		}
	}
	return false
}

// FuzzNames signs any subjectAltName and issuerAltName, below the domain's CA and below a user's. In what is accepted, the URIs of the
// identity, written again, are all the names that the certificate has, byte for byte, except for wireapp: URIs, which have other spellings;
// below a user's CA they are one device of that user.
func FuzzNames(f *testing.F) {
	w := newFixture(f)
	f.Add(names(alicePhone, alice, aliceHandle), []byte(nil), false)
	f.Add(names(mimiPhone, mimiAlice, mimiHandle), []byte(nil), false)
	f.Add(names(alicePhone), names(alice), true)
	f.Add(names(bobPhone), names(alice), true)
	f.Add(names(alicePhone, aliceHandle), names(alice), true)
	f.Add(names("im:xmpp=juliet/balcony@example.com", "im:xmpp=juliet@example.com"), []byte(nil), false)
	f.Add(withName(names(alicePhone), 2, "example.com"), names(alice, bob), false)
	f.Add(append(names(alicePhone), 0), append(names(alice), 0), true)
	o := options(map[string]party{"example.com": w.root})
	f.Fuzz(func(t *testing.T, san, ian []byte, below bool) {
		ca := w.issuing
		if below {
			ca = w.user
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
			UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidIMURI}, ExtraExtensions: extensions(san, ian),
		}
		der, err := x509.CreateCertificate(random("fuzz"), c, ca.Certificate, key("phone").Public(), ca.key)
		if err != nil {
			return
		}
		chain := append([][]byte{der}, chainOf(w.user.Certificate, w.issuing.Certificate)...)
		if !below {
			chain = append(chain[:1], w.issuing.Raw)
		}
		got, err := cert.Verify(t.Context(), chain, o)
		if err != nil {
			return
		}
		id := got.Identity
		if below {
			if !bytes.Equal(san, names(id.Device.String())) || !bytes.Equal(ian, names(alice)) || id.User != w.id.User || id.Device.Local() != id.User.Local() {
				t.Errorf("Verify below a user's CA accepts %q and %q", san, ian)
			}
			return
		}
		if ian != nil {
			t.Errorf("Verify accepts issuerAltName %q", ian)
		}
		read := readAgain(t, der)
		if len(read) != count(id) {
			t.Errorf("Verify reads %+v from the names %q", id, read)
		}
		if bytes.Contains(san, []byte("wireapp:")) {
			return
		}
		for _, one := range []claims.ID{id.Device, id.User, id.Handle} {
			if !one.IsZero() && !bytes.Contains(san, generalName(one.String())) {
				t.Errorf("Verify reads %v, which is not in the names %q", one, san)
			}
		}
	})
}

// FuzzCRL reads anything as a revocation list. What is accepted is complete, and says the same when it is signed and read again.
func FuzzCRL(f *testing.F) {
	w := newFixture(f)
	ca := w.issuing.ca(f, "")
	f.Add(w.issuing.crl(f, nil))
	f.Add(w.issuing.crl(f, nil, big.NewInt(5), big.NewInt(6)))
	for _, v := range readVectors(f) {
		for _, der := range v.Lists {
			f.Add(der)
		}
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		got, err := cert.ParseCRL(der)
		if err != nil {
			return
		}
		if got.Until.IsZero() || got.Number == nil || !got.From.Before(got.Until) {
			return // not one that SignCRL makes
		}
		raw, err := x509.ParseRevocationList(der)
		if err != nil || len(raw.Raw) != len(der) || len(raw.RevokedCertificateEntries) != got.Len() {
			t.Fatalf("ParseCRL accepts %d entries, and package x509 %v", got.Len(), err)
		}
		l := cert.List{Number: got.Number, From: got.From, Until: got.Until}
		for _, e := range raw.RevokedCertificateEntries {
			entry, ok := got.Entry(e.SerialNumber)
			if !ok || entry.Reason != cert.Reason(e.ReasonCode) || !entry.At.Equal(e.RevocationTime) {
				t.Fatalf("Entry(%v) = %+v, %t", e.SerialNumber, entry, ok)
			}
			l.Entries = append(l.Entries, entry)
		}
		again, err := ca.SignCRL(l)
		if err != nil {
			return // numbers and times that may be read but are not written
		}
		same, err := cert.ParseCRL(again)
		if err != nil {
			t.Fatal(err)
		}
		if same.Len() != got.Len() || same.Number.Cmp(got.Number) != 0 || !same.From.Equal(got.From) || !same.Until.Equal(got.Until) {
			t.Errorf("signed again it is %+v, not %+v", same, got)
		}
		for _, place := range []string{crlAt, crlAt + "/0"} {
			if got.About([]string{place}) && !named(raw, place) {
				t.Errorf("a list of other certificates is about those that name %q", place)
			}
		}
		for _, e := range l.Entries {
			if entry, ok := same.Entry(e.Serial); !ok || entry.Reason != e.Reason {
				t.Errorf("signed again, the entry %+v is %+v, %t", e, entry, ok)
			}
		}
	})
}

// named reports whether a list has no issuing distribution point, or one with the bytes of a URL.
func named(l *x509.RevocationList, url string) bool {
	i := slices.IndexFunc(l.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidIDP) })
	return i < 0 || bytes.Contains(l.Extensions[i].Value, []byte(url))
}
