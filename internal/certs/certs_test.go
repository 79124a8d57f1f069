package certs_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/storage"
)

const issuer = "https://im-id.example.net"

var now = time.Date(2026, 12, 1, 12, 20, 0, 0, time.UTC)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keyText(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// makeCA returns the certificates of an issuing CA and its root, and the key of the first.
func makeCA(t testing.TB, change func(root, ca *cert.CATemplate)) (chain [][]byte, key *ecdsa.PrivateKey) {
	t.Helper()
	rootKey, key := newKey(t), newKey(t)
	root := cert.CATemplate{Domain: "example.com", Name: "root", PathLen: 2, From: now.AddDate(-1, 0, 0), Until: now.AddDate(9, 0, 0)}
	ca := cert.CATemplate{Domain: "example.com", Name: "CA", From: now.AddDate(0, -6, 0), Until: now.AddDate(0, 6, 0)}
	if change != nil {
		change(&root, &ca)
	}
	top, err := cert.NewRoot(nil, rootKey, root)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := cert.NewCA(cert.CAConfig{Certificate: top, Key: rootKey, Domain: ca.Domain, Development: true})
	if err != nil {
		t.Fatal(err)
	}
	issuing, err := authority.IssueCA(key.Public(), ca)
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{issuing.Raw, top.Raw}, key
}

func parse(t testing.TB, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var example = certs.Settings{Domain: "example.com"}

func load(chain [][]byte, key []byte, s certs.Settings) (*certs.Authority, error) {
	return certs.Load(cert.MarshalPEM(chain...), key, s, issuer, true, now)
}

// Load accepts a CA with or without its root, and refuses what verifiers would.
func TestLoad(t *testing.T) {
	chain, key := makeCA(t, nil)
	text := keyText(t, key)
	for name, list := range map[string][][]byte{"alone": chain[:1], "with its root": chain} {
		a, err := load(list, text, example)
		if err != nil || len(a.Chain) != 1 || !slices.Equal(a.Chain[0], chain[0]) || len(a.ID) != 32 {
			t.Errorf("%s: Load = %+v, %v, want the CA with its own certificate to show", name, a, err)
		}
	}
	if top, err := cert.NewRoot(nil, key, cert.CATemplate{Domain: "example.com", Name: "one", PathLen: 1, From: now, Until: now.AddDate(1, 0, 0)}); err != nil {
		t.Fatal(err)
	} else if a, err := load([][]byte{top.Raw}, text, certs.Settings{Domain: "example.com", UserCAs: true}); err != nil || len(a.Chain) != 1 {
		t.Errorf("Load of a root = %+v, %v, want it", a, err)
	}
	mimi := func(root, ca *cert.CATemplate) { root.MIMI, ca.MIMI = true, true }
	constrained, constrainedKey := makeCA(t, mimi)
	if _, err := load(constrained, keyText(t, constrainedKey), certs.Settings{Domain: "example.com", MIMI: true}); err != nil {
		t.Errorf("Load of a CA for mimi: URIs = %v, want it", err)
	}
	expired, expiredKey := makeCA(t, func(_, ca *cert.CATemplate) { ca.Until = now.Add(-time.Second) })
	early, earlyKey := makeCA(t, func(_, ca *cert.CATemplate) { ca.From = now.Add(time.Minute) })
	other, otherKey := makeCA(t, func(root, ca *cert.CATemplate) { mimi(root, ca); ca.Domain = "example.org" })
	// IssueCA would not certify the second of these. Other CAs do.
	shortKey, belowKey := newKey(t), newKey(t)
	short, err := cert.NewRoot(nil, shortKey, cert.CATemplate{Domain: "example.com", Name: "short", PathLen: 1, From: now, Until: now.AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	below, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(8), Subject: short.Subject, NotBefore: now, NotAfter: now.AddDate(1, 0, 0), BasicConstraintsValid: true, IsCA: true,
		MaxPathLen: 1, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1},
	}, short, belowKey.Public(), shortKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load([][]byte{below, short.Raw}, keyText(t, belowKey), example); err != nil {
		t.Errorf("Load of a CA for devices below a short path = %v, want it", err)
	}
	leafKey := newKey(t)
	leaf, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: now, NotAfter: now.AddDate(1, 0, 0)},
		parse(t, chain[0]), leafKey.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		chain [][]byte
		key   []byte
		s     certs.Settings
		want  string
	}{
		"the key of another":              {chain, keyText(t, newKey(t)), example, "the key is not that of the certificate"},
		"no key":                          {chain, []byte("x"), example, "not a private key in PEM"},
		"a certificate as the key":        {chain, cert.MarshalPEM(chain...), example, "not a private key in PEM"},
		"no certificate":                  {nil, text, example, "neither certificates in PEM"},
		"the root first":                  {[][]byte{chain[1], chain[0]}, text, example, "certificate 2 does not certify the one before it"},
		"a root of others":                {[][]byte{chain[0], other[1]}, text, example, "certificate 2 does not certify the one before it"},
		"too many":                        {slices.Concat(chain, chain), text, example, "it has 4 certificates"},
		"not a certificate":               {[][]byte{{0x30, 0}}, text, example, "certificate 1 cannot be read"},
		"expired":                         {expired, keyText(t, expiredKey), example, "certificate 1 expired at 2026-12-01T12:19:59Z"},
		"of the future":                   {early, keyText(t, earlyKey), example, "certificate 1 is valid from"},
		"not a CA":                        {[][]byte{leaf, chain[0]}, keyText(t, leafKey), example, "not that of a CA"},
		"users' CAs below path length 0":  {chain, text, certs.Settings{Domain: "example.com", UserCAs: true}, "may not make users CAs"},
		"users' CAs below a short path":   {[][]byte{below, short.Raw}, keyText(t, belowKey), certs.Settings{Domain: "example.com", UserCAs: true}, "certificate 2 allows 1 CAs below it, and there are 2"},
		"mimi: URIs without a constraint": {chain, text, certs.Settings{Domain: "example.com", MIMI: true}, "must be constrained"},
		"mimi: URIs of another domain":    {other, keyText(t, otherKey), certs.Settings{Domain: "example.com", MIMI: true}, "must be constrained"},
		"im: URIs with a constraint":      {constrained, keyText(t, constrainedKey), example, "refuse every im: URI"},
	} {
		if a, err := load(test.chain, test.key, test.s); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: Load = %+v, %v, want %q", name, a, err, test.want)
		}
	}
}

// The id of a CA stays when its certificate is renewed with the same key and name, and no two domains have the same.
func TestIdentityOfACA(t *testing.T) {
	rootKey, key := newKey(t), newKey(t)
	top, err := cert.NewRoot(nil, rootKey, cert.CATemplate{Domain: "example.com", Name: "root", PathLen: 2, From: now, Until: now.AddDate(9, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	authority, err := cert.NewCA(cert.CAConfig{Certificate: top, Key: rootKey, Domain: "example.com", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	make := func(name string, key *ecdsa.PrivateKey, years int) *certs.Authority {
		c, err := authority.IssueCA(key.Public(), cert.CATemplate{Domain: "example.com", Name: name, From: now, Until: now.AddDate(years, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		a, err := load([][]byte{c.Raw}, keyText(t, key), example)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, renewed, named, rekeyed := make("CA", key, 1), make("CA", key, 2), make("other", key, 1), make("CA", newKey(t), 1)
	if first.ID != renewed.ID || first.ID == named.ID || first.ID == rekeyed.ID || named.ID == rekeyed.ID {
		t.Errorf("ids = %s, %s, %s, %s, want the first two to be the same", first.ID, renewed.ID, named.ID, rekeyed.ID)
	}
	as := certs.New(nil, nil, nil)
	if err := as.Add(first); err != nil {
		t.Fatal(err)
	}
	renewed.Domain = "example.org"
	if err := as.Add(renewed); err == nil {
		t.Error("two domains have the same CA")
	}
	if err := as.Replace(rekeyed); err != nil || as.Authority("example.com") != rekeyed || as.Authority("example.org") != nil {
		t.Errorf("Replace = %v, and the CA is %+v", err, as.Authority("example.com"))
	}
}

// A node has a clock, and rows that all nodes share.
type node struct {
	*certs.Authorities
	rows  *[]storage.CertificateEnd
	now   time.Time
	reads int
	fault error
	stale error
}

func (n *node) CertificateEnds(_ context.Context, _ string, after int64) ([]storage.CertificateEnd, error) {
	n.reads++
	if n.fault != nil {
		return nil, n.fault
	}
	return slices.DeleteFunc(slices.Clone(*n.rows), func(e storage.CertificateEnd) bool { return e.Number <= after }), nil
}

func (n *node) Fresh(time.Time) error { return n.stale }
func (n *node) Changes() uint64       { return uint64(len(*n.rows)) }

func newNode(t *testing.T, a *certs.Authority, rows *[]storage.CertificateEnd) *node {
	t.Helper()
	n := &node{rows: rows, now: now}
	n.Authorities = certs.New(n, n, func() time.Time { return n.now })
	if err := n.Add(a); err != nil {
		t.Fatal(err)
	}
	return n
}

// list returns the list of a part.
func (n *node) list(t *testing.T, a *certs.Authority, part string) *cert.CRL {
	t.Helper()
	signed, err := n.CRL(t.Context(), a.ID, part)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.ParseCRL(signed.DER)
	if err == nil {
		err = list.Verify(a.Certificate(), n.now)
	}
	if at := issuer + certs.CRLPath + a.ID + "/" + part; err == nil && (!list.About([]string{at}) || list.About([]string{at + "0"})) {
		err = errors.New("the list is not about the certificates that name " + at + " alone")
	}
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// Nodes make the same list of the same rows; its number rises with each end and each hour, also when entries expire.
func TestCRLOfSeveralNodes(t *testing.T) {
	chain, key := makeCA(t, nil)
	a, err := load(chain, keyText(t, key), example)
	if err != nil {
		t.Fatal(err)
	}
	var rows []storage.CertificateEnd
	one, two := newNode(t, a, &rows), newNode(t, a, &rows)
	two.now = two.now.Add(5 * time.Second)
	var last *cert.CRL
	check := func(entries int) {
		t.Helper()
		x, y := one.list(t, a, "5"), two.list(t, a, "5")
		if x.Number.Cmp(y.Number) != 0 || !x.From.Equal(y.From) || !x.Until.Equal(y.Until) || x.Len() != entries || y.Len() != entries {
			t.Errorf("lists %v from %v with %d and %v from %v with %d, want the same with %d", x.Number, x.From, x.Len(), y.Number, y.From, y.Len(), entries)
		}
		if last != nil && (x.Number.Cmp(last.Number) <= 0 || x.From.Before(last.From)) {
			t.Errorf("%v from %v follows %v from %v", x.Number, x.From, last.Number, last.From)
		}
		last = x
	}
	check(0)
	end := func(number int64, life time.Duration) {
		rows = append(rows, storage.CertificateEnd{
			Number: number, Serial: fmt.Sprintf("%x5", number+100), Reason: 5, At: one.now, ExpiresAt: one.now.Add(life),
		})
	}
	for i := range int64(3) {
		one.now, two.now = one.now.Add(time.Minute), two.now.Add(time.Minute)
		end(10+i, time.Hour)
		check(int(i) + 1)
	}
	reads := one.reads
	if one.list(t, a, "5"); one.reads != reads {
		t.Error("a list of which nothing changed is read again")
	}
	for range 6 {
		one.now, two.now = one.now.Add(time.Hour), two.now.Add(time.Hour)
		entries := 3
		if one.now.Truncate(time.Hour).Sub(now.Add(time.Hour)) >= 2*time.Hour {
			entries = 0
		}
		check(entries)
	}
}

// An end changes the list of its part alone, and all lists are made of rows that are read once.
func TestCRLOfParts(t *testing.T) {
	chain, key := makeCA(t, nil)
	a, err := load(chain, keyText(t, key), example)
	if err != nil {
		t.Fatal(err)
	}
	var rows []storage.CertificateEnd
	n := newNode(t, a, &rows)
	all := func() map[string]certs.Signed {
		signed := make(map[string]certs.Signed)
		for _, part := range strings.Split("0123456789abcdef", "") {
			if signed[part], err = n.CRL(t.Context(), a.ID, part); err != nil {
				t.Fatal(err)
			}
		}
		return signed
	}
	before, reads := all(), n.reads
	if reads != 1 || len(before) != cert.Parts {
		t.Errorf("%d lists of rows that were read %d times, want %d of rows that were read once", len(before), reads, cert.Parts)
	}
	rows = append(rows, storage.CertificateEnd{Number: 7, Serial: "1c", At: now, ExpiresAt: now.Add(time.Hour)})
	after := all()
	for part, list := range after {
		if same := list.ETag == before[part].ETag; same != (part != "c") {
			t.Errorf("part %s is the same: %t", part, same)
		}
	}
	if n.reads != reads+1 || n.list(t, a, "c").Len() != 1 || n.list(t, a, "1").Len() != 0 {
		t.Errorf("%d reads after the first, want 1, and the certificate in its part alone", n.reads-reads)
	}
	for _, part := range []string{"", "g", "C", "00", "0/", "é"} {
		if _, err := n.CRL(t.Context(), a.ID, part); !errors.Is(err, certs.ErrNotFound) {
			t.Errorf("CRL of part %q = %v, want %v", part, err, certs.ErrNotFound)
		}
	}
}

// Without the rows there is no list, also if one was made before.
func TestCRLInAnOutage(t *testing.T) {
	chain, key := makeCA(t, nil)
	a, err := load(chain, keyText(t, key), example)
	if err != nil {
		t.Fatal(err)
	}
	var rows []storage.CertificateEnd
	n := newNode(t, a, &rows)
	if _, err := n.CRL(t.Context(), strings.Repeat("0", 32), "f"); !errors.Is(err, certs.ErrNotFound) {
		t.Errorf("CRL of another CA = %v, want %v", err, certs.ErrNotFound)
	}
	fault := errors.New("fault")
	n.fault = fault
	if _, err := n.CRL(t.Context(), a.ID, "f"); !errors.Is(err, fault) {
		t.Errorf("CRL = %v, want %v", err, fault)
	}
	n.fault = nil
	n.list(t, a, "f")
	rows = append(rows, storage.CertificateEnd{Number: 1, Serial: "1f", At: now, ExpiresAt: now.Add(time.Hour)})
	for _, broken := range []func(error){func(err error) { n.fault = err }, func(err error) { n.stale = err }} {
		broken(fault)
		if _, err := n.CRL(t.Context(), a.ID, "f"); !errors.Is(err, fault) {
			t.Errorf("CRL = %v, want %v", err, fault)
		}
		broken(nil)
	}
	if list := n.list(t, a, "f"); list.Len() != 1 {
		t.Errorf("%d entries after the outage, want 1", list.Len())
	}
	rows = append(rows, storage.CertificateEnd{Number: 2, Serial: "1f", Reason: 1, At: now, ExpiresAt: now.Add(time.Hour)})
	if e, ok := n.list(t, a, "f").Entry(big.NewInt(0x1f)); !ok || e.Reason != cert.KeyCompromise {
		t.Errorf("a later end of the same certificate = %+v, want it to replace the first", e)
	}
	rows = append(rows, storage.CertificateEnd{Number: 3, Serial: "not a number", At: now, ExpiresAt: now.Add(time.Hour)})
	if _, err := n.CRL(t.Context(), a.ID, "f"); err == nil {
		t.Error("CRL leaves out an entry that it cannot read")
	}
}
