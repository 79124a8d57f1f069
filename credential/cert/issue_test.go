package cert_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
)

// value returns an extension.
func value(t *testing.T, c *x509.Certificate, id []int) (der []byte, critical, ok bool) {
	t.Helper()
	for _, e := range c.Extensions {
		if slices.Equal(e.Id, id) {
			return e.Value, e.Critical, true
		}
	}
	return nil, false, false
}

// Each shape has the names of the design, as exact bytes, and is for instant messaging alone.
func TestShapes(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		cert   *x509.Certificate
		parent *x509.Certificate
		uris   []string
		ian    string
		ca     bool
		crl    bool
	}{
		"combined":      {f.issuing.issue(t, cert.Combined, f.id, crlAt), f.issuing.Certificate, []string{alicePhone, alice, aliceHandle}, "", false, true},
		"combined mimi": {f.mimiIssuing.issue(t, cert.Combined, f.mimiID, crlAt), f.mimiIssuing.Certificate, []string{mimiPhone, mimiAlice, mimiHandle}, "", false, true},
		"device only":   {f.issuing.issue(t, cert.DeviceOnly, f.id, crlAt), f.issuing.Certificate, []string{alicePhone}, "", false, true},
		"user only":     {f.issuing.issue(t, cert.UserOnly, f.id, ""), f.issuing.Certificate, []string{alice, aliceHandle}, "", false, false},
		"user CA":       {f.user.Certificate, f.issuing.Certificate, []string{alice, aliceHandle}, "", true, true},
		"device below":  {f.user.signDevice(t, alicePhone), f.user.Certificate, []string{alicePhone}, alice, false, false},
		"mimi below":    {f.mimiUser.signDevice(t, mimiPhone), f.mimiUser.Certificate, []string{mimiPhone}, mimiAlice, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := c.cert
			san, critical, _ := value(t, got, oidSAN)
			if !bytes.Equal(san, names(c.uris...)) || critical == c.ca {
				t.Errorf("subjectAltName = %q, critical: %t, want %q", san, critical, c.uris)
			}
			ian, critical, ok := value(t, got, oidIAN)
			if ok != (c.ian != "") || ok && !bytes.Equal(ian, names(c.ian)) || critical {
				t.Errorf("issuerAltName = %q, %t, critical: %t, want %q", ian, ok, critical, c.ian)
			}
			if len(got.ExtKeyUsage) != 0 || len(got.UnknownExtKeyUsage) != 1 || !got.UnknownExtKeyUsage[0].Equal(oidIMURI) {
				t.Errorf("extKeyUsage = %v, %v, want id-kp-imUri alone", got.ExtKeyUsage, got.UnknownExtKeyUsage)
			}
			usage, subject := x509.KeyUsageDigitalSignature, ""
			if c.ca {
				usage, subject = x509.KeyUsageCertSign, "CN=3h3aNq0mWk2o1c8vXfYJrg,O=example.com"
			}
			if got.KeyUsage != usage || got.Subject.String() != subject || got.IsCA != c.ca || !got.BasicConstraintsValid || got.MaxPathLenZero != c.ca {
				t.Errorf("keyUsage = %b, subject %q, CA %t with path length %d", got.KeyUsage, got.Subject, got.IsCA, got.MaxPathLen)
			}
			if len(got.SubjectKeyId) != 20 || !bytes.Equal(got.AuthorityKeyId, c.parent.SubjectKeyId) || bytes.Equal(got.SubjectKeyId, got.AuthorityKeyId) {
				t.Errorf("key identifiers %x and %x, of the CA %x", got.SubjectKeyId, got.AuthorityKeyId, c.parent.SubjectKeyId)
			}
			if c.crl != slices.Equal(got.CRLDistributionPoints, []string{crlAt}) {
				t.Errorf("cRLDistributionPoints = %v", got.CRLDistributionPoints)
			}
			if err := got.CheckSignatureFrom(c.parent); err != nil {
				t.Error(err)
			}
			// Go refuses it for TLS.
			intermediates := pool(f.issuing.Certificate, f.mimiIssuing.Certificate, f.user.Certificate, f.mimiUser.Certificate)
			for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
				_, err := got.Verify(x509.VerifyOptions{
					Roots: pool(f.root.Certificate, f.mimiRoot.Certificate), Intermediates: intermediates, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
				})
				if invalid := (x509.CertificateInvalidError{}); !errors.As(err, &invalid) || invalid.Reason != x509.IncompatibleUsage {
					t.Errorf("Verify for usage %d = %v, want a refusal for its usage", usage, err)
				}
			}
		})
	}
}

// CAs are constrained to URIs of their domain only if these have an authority, and to keys of instant messaging below the root.
func TestCAs(t *testing.T) {
	f := newFixture(t)
	for name, c := range map[string]struct {
		cert    *x509.Certificate
		mimi    bool
		pathLen int
	}{
		"root": {f.root.Certificate, false, 2}, "issuing": {f.issuing.Certificate, false, 1},
		"mimi root": {f.mimiRoot.Certificate, true, 2}, "mimi issuing": {f.mimiIssuing.Certificate, true, 1},
	} {
		if constrained := slices.Equal(c.cert.PermittedURIDomains, []string{"example.com"}); constrained != c.mimi || c.cert.PermittedDNSDomainsCritical != c.mimi {
			t.Errorf("%s: permitted %v, critical: %t", name, c.cert.PermittedURIDomains, c.cert.PermittedDNSDomainsCritical)
		}
		if !c.cert.IsCA || c.cert.MaxPathLen != c.pathLen || c.cert.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign {
			t.Errorf("%s: CA %t, path length %d, keyUsage %b", name, c.cert.IsCA, c.cert.MaxPathLen, c.cert.KeyUsage)
		}
		if isRoot := strings.HasSuffix(name, "root"); isRoot == (len(c.cert.UnknownExtKeyUsage) == 1) {
			t.Errorf("%s: extKeyUsage %v", name, c.cert.UnknownExtKeyUsage)
		}
	}
	if c := f.root.issuing(t, "long", cert.CATemplate{Domain: strings.Repeat("a.", 40) + "example.com"}); c.Subject.Organization != nil {
		t.Errorf("subject %v has an organisation of more than 64 bytes", c.Subject)
	}
}

// A request asks for what a CA of this package would have.
func TestRequest(t *testing.T) {
	for _, mimi := range []bool{false, true} {
		der, err := cert.Request(nil, key("ca"), cert.CATemplate{Domain: "example.com", Name: "IM issuing CA", MIMI: mimi})
		if err != nil {
			t.Fatal(err)
		}
		r, err := x509.ParseCertificateRequest(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.CheckSignature(); err != nil || r.Subject.String() != "CN=IM issuing CA,O=example.com" {
			t.Errorf("request of %v: %v", r.Subject, err)
		}
		asked := make(map[string]bool)
		for _, e := range r.Extensions {
			asked[e.Id.String()] = e.Critical
		}
		for id, critical := range map[string]bool{"2.5.29.15": true, "2.5.29.19": true, "2.5.29.37": false, "2.5.29.14": false} {
			if got, ok := asked[id]; !ok || got != critical {
				t.Errorf("extension %s: %t, critical: %t", id, ok, got)
			}
		}
		if critical, ok := asked["2.5.29.30"]; ok != mimi || critical != mimi {
			t.Errorf("name constraints: %t, critical: %t, want %t", ok, critical, mimi)
		}
	}
}

// Serial numbers have up to 126 bits, are positive, and differ.
func TestSerials(t *testing.T) {
	f := newFixture(t)
	ca, err := cert.NewCA(cert.CAConfig{Certificate: f.issuing.Certificate, Key: f.issuing.key, Domain: "example.com", Development: true})
	if err != nil {
		t.Fatal(err)
	}
	seen, longest := make(map[string]bool), 0
	for range 64 {
		c, err := ca.Issue(cert.Template{Shape: cert.DeviceOnly, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)})
		if err != nil {
			t.Fatal(err)
		}
		n := c.SerialNumber
		if n.Sign() <= 0 || n.BitLen() > 126 || seen[n.String()] {
			t.Fatalf("serial number %x", n)
		}
		seen[n.String()], longest = true, max(longest, n.BitLen())
	}
	if longest < 120 {
		t.Errorf("the longest of 64 serial numbers has %d bits", longest)
	}
	for name, r := range map[string]*bytes.Reader{"zeros": bytes.NewReader(make([]byte, 16)), "no bits": bytes.NewReader(nil)} {
		broken, err := cert.NewCA(cert.CAConfig{
			Certificate: f.issuing.Certificate, Key: f.issuing.key, Domain: "example.com", Random: r, Development: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := broken.Issue(cert.Template{Shape: cert.DeviceOnly, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)}); err == nil {
			t.Errorf("%s: a certificate was issued", name)
		}
	}
}

// What a CA does not issue.
func TestIssueRefused(t *testing.T) {
	f := newFixture(t)
	short := f.root.issuing(t, "short", cert.CATemplate{Domain: "example.com"})
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := cert.Template{Shape: cert.Combined, Identity: f.id, Key: key("phone").Public(), From: now, Until: now.Add(day)}
	for name, c := range map[string]struct {
		ca     party
		change func(*cert.Template)
		want   string
		is     error
	}{
		"shape":     {f.issuing, func(x *cert.Template) { x.Shape = "x" }, "no such shape", nil},
		"no device": {f.issuing, func(x *cert.Template) { x.Identity.Device = claims.ID{} }, "needs a device", nil},
		"no user":   {f.issuing, func(x *cert.Template) { x.Identity.User = claims.ID{} }, "needs a user", nil},
		"another domain": {f.issuing, func(x *cert.Template) {
			x.Identity = identity(t, "im:u@example.org;id-type=user", "", "im:u/1@example.org")
		}, "does not speak for", claims.ErrDomain},
		"device of another": {f.issuing, func(x *cert.Template) { x.Identity.Device = parseID(t, bobPhone) }, "does not agree", claims.ErrMismatch},
		"weak key":          {f.issuing, func(x *cert.Template) { x.Key = weak.Public() }, "neither Ed25519", nil},
		"short RSA":         {f.issuing, func(x *cert.Template) { x.Key = rsaKey(1024) }, "neither Ed25519", nil},
		"path length":       {short, func(x *cert.Template) { x.Shape = cert.UserCA }, "may not certify CAs", nil},
		"after the CA":      {f.issuing, func(x *cert.Template) { x.From = now.AddDate(1, 0, 0); x.Until = x.From.Add(day) }, "", cert.ErrCAEnded},
		"before the CA":     {f.issuing, func(x *cert.Template) { x.From = now.AddDate(-2, 0, 0); x.Until = x.From.Add(day) }, "", cert.ErrCAEnded},
		"ends first":        {f.issuing, func(x *cert.Template) { x.Until = x.From.Add(-time.Second) }, "", cert.ErrCAEnded},
	} {
		t.Run(name, func(t *testing.T) {
			template := good
			c.change(&template)
			_, err := c.ca.ca(t, crlAt).Issue(template)
			if err == nil || !strings.Contains(err.Error(), c.want) || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("Issue = %v, want %q, %v", err, c.want, c.is)
			}
		})
	}
	t.Run("clamped", func(t *testing.T) {
		template := good
		template.From, template.Until = f.issuing.NotBefore.Add(-day), f.issuing.NotAfter.Add(day)
		c, err := f.issuing.ca(t, crlAt).Issue(template)
		if err != nil || !c.NotBefore.Equal(f.issuing.NotBefore) || !c.NotAfter.Equal(f.issuing.NotAfter) {
			t.Errorf("Issue = %v from %v until %v, want the times of the CA", err, c.NotBefore, c.NotAfter)
		}
	})
}

// NewCA refuses what could not issue valid certificates.
func TestNewCARefused(t *testing.T) {
	f := newFixture(t)
	device := f.issuing.issue(t, cert.DeviceOnly, f.id, "")
	tls := f.root.forge(t, forgery{key: key("tls").Public(), edit: func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage, c.UnknownExtKeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, nil
		c.ExtKeyUsage, c.ExtraExtensions = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, nil
	}})
	for name, c := range map[string]struct {
		cfg  cert.CAConfig
		want string
	}{
		"nothing":     {cert.CAConfig{}, "needs Certificate"},
		"another key": {cert.CAConfig{Certificate: f.issuing.Certificate, Key: key("other"), Domain: "example.com"}, "not that of the certificate"},
		"a device":    {cert.CAConfig{Certificate: device, Key: key("phone"), Domain: "example.com"}, "not that of a CA"},
		"a user's CA": {cert.CAConfig{Certificate: f.user.Certificate, Key: key("alice"), Domain: "example.com"}, "keyCertSign and cRLSign"},
		"a TLS CA":    {cert.CAConfig{Certificate: tls, Key: key("tls"), Domain: "example.com"}, "id-kp-imUri"},
		"http CRL":    {cert.CAConfig{Certificate: f.issuing.Certificate, Key: f.issuing.key, Domain: "example.com", CRL: "http://example.com/crl"}, "https"},
		"no URL":      {cert.CAConfig{Certificate: f.issuing.Certificate, Key: f.issuing.key, Domain: "example.com", CRL: "crl"}, "not the URL"},
	} {
		if _, err := cert.NewCA(c.cfg); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: NewCA = %v, want %q", name, err, c.want)
		}
	}
	if _, err := f.issuing.ca(t, "").IssueCA(key("x").Public(), cert.CATemplate{Domain: "example.com", PathLen: 1, From: now, Until: now.Add(day)}); err == nil {
		t.Error("a CA with path length 1 issued another one with path length 1")
	}
}

// SignDevice certifies only devices of the user, with the user's key.
func TestSignDeviceRefused(t *testing.T) {
	f := newFixture(t)
	device := f.issuing.issue(t, cert.DeviceOnly, f.id, "")
	for name, c := range map[string]struct {
		user   *x509.Certificate
		key    crypto.Signer
		device string
		want   string
	}{
		"another key":           {f.user.Certificate, key("other"), alicePhone, "not that of the user's"},
		"no CA":                 {device, key("phone"), alicePhone, "not that of a CA"},
		"the domain's CA":       {f.issuing.Certificate, f.issuing.key, alicePhone, "not that of a CA"},
		"a device of another":   {f.user.Certificate, key("alice"), bobPhone, "does not agree"},
		"a handle":              {f.user.Certificate, key("alice"), aliceHandle, "not one of the user's"},
		"a device without user": {f.mimiUser.Certificate, key("alice"), "mimi://example.com/d/ClientA1", "not one of the user's"},
	} {
		_, err := cert.SignDevice(nil, c.user, c.key, cert.DeviceTemplate{
			Device: parseID(t, c.device), Key: key("phone").Public(), From: now, Until: now.Add(day), Development: true,
		})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: SignDevice = %v, want %q", name, err, c.want)
		}
	}
	_, err := cert.SignDevice(iotest.ErrReader(errors.New("no bits")), f.user.Certificate, f.user.key, cert.DeviceTemplate{
		Device: parseID(t, alicePhone), Key: key("phone").Public(), From: now, Until: now.Add(day), Development: true,
	})
	if err == nil {
		t.Error("SignDevice gave a certificate without random bits")
	}
}

// A chain in PEM is read as it was written; a key, or nothing, is refused.
func TestPEM(t *testing.T) {
	f := newFixture(t)
	chain := chainOf(f.issuing.Certificate, f.root.Certificate)
	got, err := cert.ParsePEM(append([]byte("a comment\n"), cert.MarshalPEM(chain...)...))
	if err != nil || !slices.EqualFunc(got, chain, bytes.Equal) {
		t.Errorf("ParsePEM = %d certificates, %v", len(got), err)
	}
	if got, err := cert.ParsePEM(chain[0]); err != nil || !bytes.Equal(got[0], chain[0]) {
		t.Errorf("ParsePEM of DER = %v", err)
	}
	for _, text := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if _, err := cert.ParsePEM([]byte(text)); !errors.Is(err, cert.ErrPEM) {
			t.Errorf("ParsePEM(%q) = %v, want ErrPEM", text, err)
		}
	}
}

// A chain with a damaged certificate is refused, and not read as the shorter one that the others make.
func TestPEMDamaged(t *testing.T) {
	f := newFixture(t)
	first, second := cert.MarshalPEM(f.issuing.Certificate.Raw), cert.MarshalPEM(f.root.Certificate.Raw)
	cut := func(text []byte, old, new string) string { return strings.Replace(string(text), old, new, 1) }
	for name, c := range map[string]struct {
		text string
		at   int
	}{
		"no end":              {string(first) + cut(second, "-----END CERTIFICATE-----", ""), 2},
		"no end, in front":    {cut(first, "-----END CERTIFICATE-----", "") + string(second), 1},
		"no end, alone":       {cut(first, "-----END CERTIFICATE-----", ""), 1},
		"no beginning":        {string(first) + cut(second, "-----BEGIN CERTIFICATE-----", ""), 2},
		"no beginning, first": {cut(first, "-----BEGIN CERTIFICATE-----", "") + string(second), 1},
		"cut off":             {string(first) + string(second[:len(second)/2]), 2},
		"not base64":          {string(first) + cut(second, "MII", "M*I"), 2},
		"another end":         {string(first) + cut(second, "END CERTIFICATE", "END PRIVATE KEY"), 2},
		"between others":      {string(first) + cut(first, "MII", "M*I") + string(second), 2},
		"lines of CRLF":       {strings.ReplaceAll(string(first)+cut(second, "MII", "M*I"), "\n", "\r\n"), 2},
	} {
		got, err := cert.ParsePEM([]byte(c.text))
		if !errors.Is(err, cert.ErrPEM) || !strings.Contains(err.Error(), fmt.Sprintf("certificate %d is cut off or damaged", c.at)) {
			t.Errorf("%s: ParsePEM = %d certificates, %v, want that certificate %d is damaged", name, len(got), err, c.at)
		}
	}
	whole := strings.ReplaceAll("subject: ----- BEGIN\n"+string(first)+"text\n"+string(second)+"more", "\n", "\r\n")
	if got, err := cert.ParsePEM([]byte(whole)); err != nil || len(got) != 2 {
		t.Errorf("ParsePEM of whole certificates = %d, %v", len(got), err)
	}
}

// A list has what was revoked, and no order that tells when.
func TestSignCRL(t *testing.T) {
	f := newFixture(t)
	serials := []*big.Int{big.NewInt(300), big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), 125)}
	l := cert.List{Number: big.NewInt(9), From: now, Until: now.Add(day)}
	for i, serial := range serials {
		l.Entries = append(l.Entries, cert.Entry{Serial: serial, At: now.Add(-time.Duration(i) * time.Hour), Reason: []cert.Reason{cert.CessationOfOperation, cert.AffiliationChanged, cert.Unspecified}[i]})
	}
	der, err := f.issuing.ca(t, "").SignCRL(l)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.ParseRevocationList(der)
	if err != nil || raw.RevokedCertificateEntries[0].SerialNumber.Int64() != 1 || len(raw.AuthorityKeyId) == 0 {
		t.Errorf("entries are not ordered, or there is no key identifier: %v", err)
	}
	list, err := cert.ParseCRL(der)
	if err != nil {
		t.Fatal(err)
	}
	if err := list.Verify(f.issuing.Certificate, now); err != nil || list.Len() != 3 || list.Number.Int64() != 9 || !list.Until.Equal(now.Add(day)) {
		t.Errorf("list %+v: %v", list, err)
	}
	for _, e := range l.Entries {
		got, ok := list.Entry(e.Serial)
		if !ok || !got.At.Equal(e.At) || got.Reason != e.Reason {
			t.Errorf("Entry(%v) = %+v, %t, want %+v", e.Serial, got, ok, e)
		}
	}
	if _, ok := list.Entry(big.NewInt(2)); ok {
		t.Error("a certificate that was not revoked is in the list")
	}
	for name, err := range map[string]error{
		"root": list.Verify(f.root.Certificate, now), "same name, another key": list.Verify(renamed(f), now),
	} {
		if !errors.Is(err, cert.ErrIssuer) && !errors.Is(err, cert.ErrSignature) || !errors.Is(err, cert.ErrUnknown) {
			t.Errorf("%s: Verify = %v", name, err)
		}
	}
	if err := list.Verify(f.issuing.Certificate, now.Add(day)); !errors.Is(err, cert.ErrStale) {
		t.Errorf("Verify at its end = %v, want ErrStale", err)
	}
	for name, change := range map[string]func(*cert.List){
		"no number": func(l *cert.List) { l.Number = nil }, "no life": func(l *cert.List) { l.Until = l.From },
		"no serial": func(l *cert.List) { l.Entries = []cert.Entry{{}} },
		"twice":     func(l *cert.List) { l.Entries = []cert.Entry{{Serial: serials[1]}, {Serial: serials[1]}} },
		"reason":    func(l *cert.List) { l.Entries = []cert.Entry{{Serial: serials[1], Reason: 8}} },
	} {
		bad := l
		change(&bad)
		if _, err := f.issuing.ca(t, "").SignCRL(bad); err == nil {
			t.Errorf("%s: a list was signed", name)
		}
	}
}

// renamed is the issuing CA with another key.
func renamed(f *fixture) *x509.Certificate {
	c := *f.issuing.Certificate
	c.PublicKey, c.SubjectKeyId = key("other").Public(), nil
	return &c
}
