package cert_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"io"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/cert"
)

var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

const (
	day   = 24 * time.Hour
	crlAt = "https://im-id.example.net/crl/1"

	alice       = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	aliceHandle = "im:%40alice@example.com"
	alicePhone  = "im:3h3aNq0mWk2o1c8vXfYJrg/72b@example.com"
	bob         = "im:AAAAAAAAAAAAAAAAAAAAAA@example.com;id-type=user"
	bobPhone    = "im:AAAAAAAAAAAAAAAAAAAAAA/1@example.com"

	mimiAlice  = "mimi://example.com/u/3h3aNq0mWk2o1c8vXfYJrg"
	mimiHandle = "mimi://example.com/u/alice"
	mimiPhone  = "mimi://example.com/d/3h3aNq0mWk2o1c8vXfYJrg/72b"
)

var (
	oidSAN   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidIAN   = asn1.ObjectIdentifier{2, 5, 29, 18}
	oidDelta = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIDP   = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidCRLDP = asn1.ObjectIdentifier{2, 5, 29, 31}
	oidIMURI = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 40}
)

// key returns the key of a name. Keys and signatures are the same each time, so that vectors are.
func key(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// p256 returns a public key for ES256.
func p256(t testing.TB, name string) crypto.PublicKey {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	private, err := ecdh.P256().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return public.(*ecdsa.PublicKey)
}

// random returns bits that depend on a name alone.
func random(name string) io.Reader {
	return rand.NewChaCha8(sha256.Sum256([]byte(name)))
}

// A party is a CA: a certificate and its key.
type party struct {
	*x509.Certificate
	key crypto.Signer
}

// identity parses the identifiers of a test.
func identity(t testing.TB, user, handle, device string) claims.Identity {
	t.Helper()
	id, err := claims.ParseIdentity(claims.Parser{}, user, handle, device)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func parseID(t testing.TB, uri string) claims.ID {
	t.Helper()
	id, err := claims.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newRoot(t testing.TB, name string, c cert.CATemplate) party {
	t.Helper()
	if c.From.IsZero() {
		c.From, c.Until = now.AddDate(-1, 0, 0), now.AddDate(9, 0, 0)
	}
	c.Name = name
	root, err := cert.NewRoot(random(name), key(name), c)
	if err != nil {
		t.Fatal(err)
	}
	return party{root, key(name)}
}

// issuing returns an issuing CA below p.
func (p party) issuing(t testing.TB, name string, c cert.CATemplate) party {
	t.Helper()
	if c.From.IsZero() {
		c.From, c.Until = now.AddDate(0, -6, 0), now.AddDate(0, 6, 0)
	}
	c.Name = name
	made, err := p.ca(t, "").IssueCA(key(name).Public(), c)
	if err != nil {
		t.Fatal(err)
	}
	return party{made, key(name)}
}

// ca returns the party as a CA whose certificates name a revocation list.
func (p party) ca(t testing.TB, crl string) *cert.CA {
	t.Helper()
	ca, err := cert.NewCA(cert.CAConfig{
		Certificate: p.Certificate, Key: p.key, Domain: "example.com", CRL: crl, Random: random(p.Subject.String()), Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// splitCA is the CA of a party, with several revocation lists.
func (p party) splitCA(t testing.TB) *cert.CA {
	t.Helper()
	ca, err := cert.NewCA(cert.CAConfig{
		Certificate: p.Certificate, Key: p.key, Domain: "example.com", CRL: crlAt, Split: true, Random: random("split"), Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// issue issues a certificate of a shape for 30 days to the key of Alice's phone, or, for a user, her own.
func (p party) issue(t testing.TB, shape cert.Shape, id claims.Identity, crl string) *x509.Certificate {
	t.Helper()
	public := key("phone").Public()
	if shape == cert.UserOnly || shape == cert.UserCA {
		public = key("alice").Public()
	}
	c, err := p.ca(t, crl).Issue(cert.Template{Shape: shape, Identity: id, Key: public, From: now.Add(-day), Until: now.Add(29 * day)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// signDevice signs a device of a user's CA.
func (p party) signDevice(t testing.TB, device string) *x509.Certificate {
	t.Helper()
	c, err := cert.SignDevice(random("device"), p.Certificate, p.key, cert.DeviceTemplate{
		Device: parseID(t, device), Key: key("phone").Public(), From: now.Add(-time.Hour), Until: now.Add(7 * day), Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A forgery is a certificate with anything in it. Its zero value is that of a device that a CA of its domain has issued.
type forgery struct {
	san, ian []string
	rawSAN   []byte
	key      crypto.PublicKey
	edit     func(*x509.Certificate)
}

// forge signs a certificate that a CA of this package would not.
func (p party) forge(t testing.TB, f forgery) *x509.Certificate {
	t.Helper()
	if f.key == nil {
		f.key = key("phone").Public()
	}
	if f.rawSAN == nil {
		f.rawSAN = names(f.san...)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(4711), NotBefore: now.Add(-day), NotAfter: now.Add(29 * day), KeyUsage: x509.KeyUsageDigitalSignature,
		BasicConstraintsValid: true, SubjectKeyId: []byte{1, 2, 3}, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidIMURI},
		ExtraExtensions: []pkix.Extension{{Id: oidSAN, Critical: true, Value: f.rawSAN}},
	}
	if f.ian != nil {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oidIAN, Value: names(f.ian...)})
	}
	if f.edit != nil {
		f.edit(c)
	}
	der, err := x509.CreateCertificate(random("forgery"), c, p.Certificate, f.key, p.key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// userCA makes a certificate that of a user's CA.
func userCA(pathLen int) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.IsCA, c.MaxPathLen, c.MaxPathLenZero, c.KeyUsage = true, pathLen, pathLen == 0, x509.KeyUsageCertSign
		c.Subject, c.ExtraExtensions[0].Critical = pkix.Name{CommonName: "user"}, false
	}
}

// names writes GeneralNames of URIs.
func names(uris ...string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, uri := range uris {
			b.AddBytes(generalName(uri))
		}
	})
	return b.BytesOrPanic()
}

// generalName writes the GeneralName of a URI.
func generalName(uri string) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(6).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(uri)) })
	return b.BytesOrPanic()
}

// name appends a GeneralName with another tag to names.
func withName(list []byte, tag uint8, value string) []byte {
	in, inner := cryptobyte.String(list), cryptobyte.String(nil)
	if !in.ReadASN1(&inner, cbasn1.SEQUENCE) {
		panic("not a sequence")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(inner)
		b.AddASN1(cbasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(value)) })
	})
	return b.BytesOrPanic()
}

// withAlgorithm returns a certificate whose signature algorithm, with NULL as parameters, is another one. The signature does not verify.
func withAlgorithm(c *x509.Certificate, alg asn1.ObjectIdentifier) []byte {
	identifier := func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(alg)
			b.AddASN1NULL()
		})
	}
	in, tbs, part := cryptobyte.String(c.RawTBSCertificate), cryptobyte.String(nil), cryptobyte.String(nil)
	if !in.ReadASN1(&tbs, cbasn1.SEQUENCE) {
		panic("not a sequence")
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for n := 0; !tbs.Empty(); n++ {
				var tag cbasn1.Tag
				if !tbs.ReadAnyASN1Element(&part, &tag) {
					panic("not an element")
				}
				if n == 2 { // after version and serial number
					identifier(b)
					continue
				}
				b.AddBytes(part)
			}
		})
		identifier(b)
		b.AddASN1BitString(c.Signature)
	})
	return b.BytesOrPanic()
}

// crl signs a revocation list with anything in it.
func (p party) crl(t testing.TB, edit func(*x509.RevocationList), serials ...*big.Int) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(7), ThisUpdate: now.Add(-time.Hour), NextUpdate: now.Add(23 * time.Hour)}
	for _, serial := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: serial, RevocationTime: now.Add(-2 * time.Hour), ReasonCode: int(cert.CessationOfOperation),
		})
	}
	if edit != nil {
		edit(l)
	}
	der, err := x509.CreateRevocationList(random("crl"), l, p.Certificate, p.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func pool(roots ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	return pool
}

func chainOf(certs ...*x509.Certificate) [][]byte {
	chain := make([][]byte, len(certs))
	for i, c := range certs {
		chain[i] = bytes.Clone(c.Raw)
	}
	return chain
}

// options are those of a verifier with one root for each domain, who looks up no revocation lists.
func options(roots map[string]party) cert.Options {
	o := cert.Options{Unchecked: true, Now: func() time.Time { return now }, Development: true}
	known := make(cert.Roots)
	for domain, root := range roots {
		known[domain] = pool(root.Certificate)
	}
	o.Roots = known
	return o
}

func bigInt(n int64) *big.Int { return big.NewInt(n) }

// extensions returns subjectAltName and, unless it is nil, issuerAltName.
func extensions(san, ian []byte) []pkix.Extension {
	list := []pkix.Extension{{Id: oidSAN, Critical: true, Value: san}}
	if ian != nil {
		list = append(list, pkix.Extension{Id: oidIAN, Value: ian})
	}
	return list
}

// readAgain returns the names of a certificate as package crypto/x509 reads them.
func readAgain(t *testing.T, der []byte) []string {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.DNSNames)+len(c.EmailAddresses)+len(c.IPAddresses) > 0 {
		t.Errorf("accepted with the names %v, %v, %v", c.DNSNames, c.EmailAddresses, c.IPAddresses)
	}
	var list []string
	for _, uri := range c.URIs {
		list = append(list, uri.String())
	}
	return list
}

// count returns how many URIs an identity has in a certificate.
func count(id claims.Identity) int {
	n := 0
	for _, one := range []claims.ID{id.Device, id.User, id.Handle} {
		if !one.IsZero() {
			n++
		}
	}
	if id.Handle == id.User && n > 1 && !id.User.IsZero() { // an XMPP bare JID
		n--
	}
	return n
}

// verified is a source with one list that was verified before, as a reader has it.
type verified struct{ list *cert.CRL }

func (v verified) CRL(context.Context, *x509.Certificate, []string) (*cert.CRL, error) {
	return v.list, nil
}
