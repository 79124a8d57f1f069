package cert_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

// A CA with several lists names in each certificate the list that is about it, and signs lists about the certificates of one part.
func TestSplitCRL(t *testing.T) {
	f := newFixture(t)
	ca := f.issuing.splitCA(t)
	seen := make(map[string]bool)
	for range 200 {
		c, err := ca.Issue(cert.Template{Shape: cert.DeviceOnly, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)})
		if err != nil {
			t.Fatal(err)
		}
		part := cert.PartOf(c.SerialNumber)
		if text := c.SerialNumber.Text(16); part != text[len(text)-1:] || !slices.Equal(c.CRLDistributionPoints, []string{crlAt + "/" + part}) {
			t.Fatalf("certificate %s names %v", text, c.CRLDistributionPoints)
		}
		seen[part] = true
	}
	if len(seen) != cert.Parts {
		t.Errorf("200 certificates are in %d parts, want %d", len(seen), cert.Parts)
	}
	good := cert.List{Part: "5", Number: big.NewInt(1), From: now, Until: now.Add(day), Entries: []cert.Entry{{Serial: big.NewInt(0x25), At: now}}}
	der, err := ca.SignCRL(good)
	if err != nil {
		t.Fatal(err)
	}
	list, err := cert.ParseCRL(der)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		urls []string
		want bool
	}{
		"its part":              {[]string{crlAt + "/5"}, true},
		"its part, and others":  {[]string{"https://example.com/", crlAt + "/5"}, true},
		"another part":          {[]string{crlAt + "/4"}, false},
		"all of the CA":         {[]string{crlAt}, false},
		"no place":              {nil, false},
		"the same, not as text": {[]string{crlAt + "/5?"}, false},
	} {
		if got := list.About(c.urls); got != c.want {
			t.Errorf("%s: About = %t, want %t", name, got, c.want)
		}
	}
	for name, change := range map[string]func(*cert.List){
		"no part":               func(l *cert.List) { l.Part = "" },
		"not a part":            func(l *cert.List) { l.Part = "g" },
		"two digits":            func(l *cert.List) { l.Part = "05" },
		"an entry of another's": func(l *cert.List) { l.Part = "6" },
	} {
		bad := good
		change(&bad)
		if _, err := ca.SignCRL(bad); err == nil {
			t.Errorf("%s: a list was signed", name)
		}
	}
	if _, err := f.issuing.ca(t, crlAt).SignCRL(good); err == nil {
		t.Error("a CA with one list signs that of a part")
	}
	if _, err := cert.NewCA(cert.CAConfig{Certificate: f.issuing.Certificate, Key: f.issuing.key, Domain: "example.com", Split: true}); err == nil {
		t.Error("a CA has several lists without a URL")
	}
}

// A list about other certificates, which has the signature of the CA, is not taken for that of a certificate, wherever it comes from.
func TestCRLOfAnotherPart(t *testing.T) {
	f := newFixture(t)
	p := newPublisher(t)
	r, c := newReader(t, p, nil)
	p.set(f.issuing.crl(t, about(p.URL+"/5"), big.NewInt(5)), http.StatusOK)
	if list, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL + "/5"}); err != nil || list.Len() != 1 {
		t.Errorf("CRL of its part = %v", err)
	}
	if _, err := r.CRL(t.Context(), f.issuing.Certificate, []string{p.URL + "/6"}); !errors.Is(err, cert.ErrScope) || !errors.Is(err, cert.ErrUnknown) {
		t.Errorf("CRL of another part = %v, want %v", err, cert.ErrScope)
	}
	c.add(time.Hour)
	both := []string{p.URL + "/6", p.URL + "/5"} // one list at two addresses, that names the second
	if _, err := r.CRL(t.Context(), f.issuing.Certificate, both); err != nil {
		t.Errorf("CRL at two addresses = %v", err)
	}
	list, err := cert.ParseCRL(f.issuing.crl(t, about("https://example.com/5")))
	if err != nil {
		t.Fatal(err)
	}
	fixed := &cert.CRLs{Lists: []*cert.CRL{list}, Now: func() time.Time { return now }}
	if _, err := fixed.CRL(t.Context(), f.issuing.Certificate, []string{"https://example.com/6"}); !errors.Is(err, cert.ErrScope) {
		t.Errorf("CRL of another part = %v, want %v", err, cert.ErrScope)
	}
	if _, err := fixed.CRL(t.Context(), f.issuing.Certificate, []string{"https://example.com/5"}); err != nil {
		t.Errorf("CRL of its part = %v", err)
	}
}

// An issuing distribution point in any other form is not read: lists about some reasons, CAs or users, and with relative names.
func TestParseCRLScope(t *testing.T) {
	f := newFixture(t)
	uri := func(url string) []byte { return append([]byte{0x86, byte(len(url))}, url...) }
	wrap := func(tag byte, parts ...[]byte) []byte {
		whole := slices.Concat(parts...)
		return append([]byte{tag, byte(len(whole))}, whole...)
	}
	good := wrap(0xa0, wrap(0xa0, uri("https://example.com/")))
	for name, c := range map[string]struct {
		value []byte
		want  error
	}{
		"one URI":          {wrap(0x30, good), nil},
		"three URIs":       {wrap(0x30, wrap(0xa0, wrap(0xa0, uri("a:"), uri("b:"), uri("c:")))), nil},
		"four URIs":        {wrap(0x30, wrap(0xa0, wrap(0xa0, uri("a:"), uri("b:"), uri("c:"), uri("d:")))), cert.ErrMalformed},
		"empty":            {wrap(0x30), cert.ErrMalformed},
		"no names":         {wrap(0x30, wrap(0xa0, wrap(0xa0))), cert.ErrMalformed},
		"a directory name": {wrap(0x30, wrap(0xa0, wrap(0xa0, wrap(0xa4, wrap(0x30))))), cert.ErrMalformed},
		"a relative name":  {wrap(0x30, wrap(0xa0, wrap(0xa1, uri("a:")))), cert.ErrMalformed},
		"users only":       {wrap(0x30, good, []byte{0x81, 1, 0xff}), cert.ErrMalformed},
		"CAs only":         {wrap(0x30, good, []byte{0x82, 1, 0xff}), cert.ErrMalformed},
		"some reasons":     {wrap(0x30, good, []byte{0x83, 2, 1, 6}), cert.ErrMalformed},
		"indirect":         {wrap(0x30, good, []byte{0x84, 1, 0xff}), cert.ErrMalformed},
		"attributes only":  {wrap(0x30, good, []byte{0x85, 1, 0xff}), cert.ErrMalformed},
		"bytes after it":   {append(wrap(0x30, good), 0), cert.ErrMalformed},
		"not a sequence":   {good, cert.ErrMalformed},
		"nothing":          {nil, cert.ErrMalformed},
	} {
		for _, critical := range []bool{true, false} {
			der := f.issuing.crl(t, func(l *x509.RevocationList) {
				l.ExtraExtensions = []pkix.Extension{{Id: oidIDP, Critical: critical, Value: c.value}}
			})
			if _, err := cert.ParseCRL(der); !errors.Is(err, c.want) {
				t.Errorf("%s: ParseCRL = %v, want %v", name, err, c.want)
			}
		}
	}
	twice := f.issuing.crl(t, func(l *x509.RevocationList) {
		about("https://example.com/1")(l)
		l.ExtraExtensions = append(l.ExtraExtensions, l.ExtraExtensions[0])
	})
	if _, err := cert.ParseCRL(twice); !errors.Is(err, cert.ErrMalformed) {
		t.Errorf("two points: ParseCRL = %v, want %v", err, cert.ErrMalformed)
	}
}

// The lists of a CA have room for more than a million certificates that have ended and not expired, each with its reason.
func TestSplitCRLSize(t *testing.T) {
	f := newFixture(t)
	size := func(entries int) int {
		l := cert.List{Part: "0", Number: new(big.Int).Lsh(big.NewInt(1), 80), From: now, Until: now.Add(day)}
		for i := range entries {
			serial := new(big.Int).Lsh(big.NewInt(1), 125)
			l.Entries = append(l.Entries, cert.Entry{Serial: serial.Add(serial, big.NewInt(int64(i)*16)), At: now, Reason: cert.CessationOfOperation})
		}
		der, err := f.issuing.splitCA(t).SignCRL(l)
		if err != nil {
			t.Fatal(err)
		}
		return len(der)
	}
	each := (size(2000) - size(1000)) / 1000
	if room := (cert.DefaultSize - size(1000)) / each * cert.Parts; each > 50 || room < 1_300_000 {
		t.Errorf("an entry has %d bytes, so there is room for %d, want at most 50 and at least 1,300,000", each, room)
	}
}
