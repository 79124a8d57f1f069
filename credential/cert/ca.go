package cert

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/url"
	"time"

	"github.com/imidentity/issuer/claims"
)

// ErrCAEnded is returned for a certificate that would begin after that of its CA has expired, or end before that begins.
var ErrCAEnded = errors.New("cert: the certificate of the CA is not valid at that time")

// CAConfig configures [NewCA].
type CAConfig struct {
	// Certificate is that of the CA, and Key its private key. Required.
	Certificate *x509.Certificate
	Key         crypto.Signer
	// Domain is the domain of all identifiers, in canonical form. Required.
	Domain string
	// CRL is the URL of the list that [CA.SignCRL] signs. Certificates name it. Empty means that they name none, and cannot be revoked.
	CRL string
	// Split makes [Parts] lists of one, so that none is too long for its readers: certificates name CRL/PART, see [PartOf].
	Split bool
	// Random gives the bits of serial numbers and signatures. Nil means [crypto/rand.Reader].
	Random io.Reader
	// Development also accepts domains that are reserved for tests and examples, and an http CRL.
	Development bool
}

// A CA is the certification authority of a domain: a certificate and its key. It is safe for concurrent use if its key is.
type CA struct{ cfg CAConfig }

// NewCA returns a CA. The error says what of the certificate, the key or the URL is wrong.
func NewCA(cfg CAConfig) (*CA, error) {
	switch c := cfg.Certificate; {
	case c == nil || cfg.Key == nil || cfg.Domain == "":
		return nil, errors.New("cert: CAConfig needs Certificate, Key and Domain")
	case !samePublic(c.PublicKey, cfg.Key.Public()):
		return nil, errors.New("cert: the key is not that of the certificate of the CA")
	case !c.BasicConstraintsValid || !c.IsCA:
		return nil, errors.New("cert: the certificate is not that of a CA (basicConstraints)")
	case c.KeyUsage&x509.KeyUsageCertSign == 0 || c.KeyUsage&x509.KeyUsageCRLSign == 0:
		return nil, errors.New("cert: the CA may not sign certificates and revocation lists (keyUsage keyCertSign and cRLSign)")
	case len(c.SubjectKeyId) == 0:
		return nil, errors.New("cert: the certificate of the CA has no subjectKeyIdentifier")
	case !usable(c):
		return nil, errors.New("cert: the CA may not certify keys of instant messaging (extKeyUsage without id-kp-imUri)")
	}
	if err := checkAlgorithms(cfg.Certificate); err != nil {
		return nil, fmt.Errorf("cert: the certificate of the CA: %w", err)
	}
	if cfg.Split && cfg.CRL == "" {
		return nil, errors.New("cert: CAConfig.Split needs CRL")
	}
	if cfg.CRL != "" {
		if err := checkURL(cfg.CRL, cfg.Development); err != nil {
			return nil, fmt.Errorf("cert: the URL of the CRL: %w", err)
		}
	}
	if cfg.Random == nil {
		cfg.Random = rand.Reader
	}
	return &CA{cfg}, nil
}

// Certificate returns the certificate of the CA.
func (ca *CA) Certificate() *x509.Certificate { return ca.cfg.Certificate }

// A Template says what a certificate is about.
type Template struct {
	Shape Shape
	// Identity has the identifiers. Those that the shape does not state are left out. They are written as [claims.ID.String] does: for a
	// domain with mimi: URIs, parse them from these.
	Identity claims.Identity
	// Key is the public key of the device or the user.
	Key crypto.PublicKey
	// From and Until are the times between which the certificate is valid, in whole seconds. It is not valid outside of the times of its
	// CA: later ends become the end of the CA, and earlier beginnings the beginning of the CA.
	From, Until time.Time
}

// Issue issues a certificate. The error is about the template, or [ErrCAEnded], or comes from the key of the CA.
func (ca *CA) Issue(t Template) (*x509.Certificate, error) {
	id, err := t.Shape.identity(t.Identity)
	if err != nil {
		return nil, err
	}
	if err := id.Check([]string{ca.cfg.Domain}, ca.cfg.Development); err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	c := &x509.Certificate{KeyUsage: x509.KeyUsageDigitalSignature}
	if t.Shape == UserCA {
		if parent := ca.cfg.Certificate; parent.MaxPathLen == 0 {
			return nil, errors.New("cert: the CA may not certify CAs of users (its path length is 0)")
		}
		c.IsCA, c.MaxPathLenZero, c.KeyUsage = true, true, x509.KeyUsageCertSign
		c.Subject = nameOf(ca.cfg.Domain, id.User.Local())
	}
	san, err := altName(oidSubjectAltName, t.Shape != UserCA, uris(id)...) // critical if the subject is empty (RFC 5280 §4.2.1.6)
	if err != nil {
		return nil, fmt.Errorf("cert: subjectAltName: %w", err)
	}
	c.ExtraExtensions = []pkix.Extension{san}
	c.NotBefore, c.NotAfter = t.From, t.Until
	return ca.sign(c, t.Key)
}

// sign signs a certificate that names its revocation list.
func (ca *CA) sign(c *x509.Certificate, key crypto.PublicKey) (*x509.Certificate, error) {
	var err error
	if c.SerialNumber, err = newSerial(ca.cfg.Random); err != nil {
		return nil, err
	}
	if ca.cfg.CRL != "" {
		c.CRLDistributionPoints = []string{ca.listURL(PartOf(c.SerialNumber))}
	}
	return sign(ca.cfg.Random, c, ca.cfg.Certificate, key, ca.cfg.Key)
}

// listURL returns the URL of a revocation list.
func (ca *CA) listURL(part string) string {
	if !ca.cfg.Split {
		return ca.cfg.CRL
	}
	return ca.cfg.CRL + "/" + part
}

// A CATemplate says what the certificate of a domain's CA is about.
type CATemplate struct {
	// Domain is the domain, in canonical form: the organisation of the subject. Name is the common name.
	Domain, Name string
	// MIMI says that the identifiers of the domain are mimi: URIs. The CA is then constrained to those of the domain (RFC 5280
	// §4.2.1.10). There is no such constraint for im: URIs: they have no authority, so every verifier must refuse them under one.
	MIMI bool
	// PathLen is how many CAs may be below this one: 0 for a CA that issues to devices and users only, 1 if also [UserCA].
	PathLen int
	// From and Until are the times between which the certificate is valid, in whole seconds.
	From, Until time.Time
}

// NewRoot returns the self-signed certificate of a root CA. Nil random means [crypto/rand.Reader].
func NewRoot(random io.Reader, key crypto.Signer, t CATemplate) (*x509.Certificate, error) {
	c := t.certificate()
	c.UnknownExtKeyUsage = nil // a trust anchor is what its verifiers take it for
	return sign(random, c, c, key.Public(), key)
}

// IssueCA issues the certificate of a CA for the domain, with a key.
func (ca *CA) IssueCA(key crypto.PublicKey, t CATemplate) (*x509.Certificate, error) {
	if parent := ca.cfg.Certificate; parent.MaxPathLen >= 0 && t.PathLen >= parent.MaxPathLen {
		return nil, fmt.Errorf("cert: a path length of %d is too long below a CA with %d", t.PathLen, parent.MaxPathLen)
	}
	return ca.sign(t.certificate(), key)
}

// Request returns a PKCS #10 request (RFC 2986) for the certificate of a CA, for another CA such as an enterprise's. Its times and serial
// number are up to that CA. Nil random means [crypto/rand.Reader].
func Request(random io.Reader, key crypto.Signer, t CATemplate) ([]byte, error) {
	if random == nil {
		random = rand.Reader
	}
	// The extensions of a request are those of a certificate: let package crypto/x509 write them once.
	c := t.certificate()
	c.NotBefore, c.NotAfter = time.Unix(0, 0), time.Unix(1, 0)
	wanted, err := sign(random, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(random, &x509.CertificateRequest{
		Subject: c.Subject, ExtraExtensions: wanted.Extensions,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	return der, nil
}

// certificate returns the parts of a CA's certificate that its issuer does not decide. It may certify keys of instant messaging only:
// below a CA that others trust for TLS, nothing that it signs passes for a server (RFC 5280 §4.2.1.12).
func (t *CATemplate) certificate() *x509.Certificate {
	c := &x509.Certificate{
		Subject: nameOf(t.Domain, t.Name), IsCA: true, MaxPathLen: t.PathLen, MaxPathLenZero: t.PathLen == 0,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, UnknownExtKeyUsage: []asn1.ObjectIdentifier{oidIMURI},
		NotBefore: t.From, NotAfter: t.Until,
	}
	if t.MIMI {
		c.PermittedDNSDomainsCritical, c.PermittedURIDomains = true, []string{t.Domain}
	}
	return c
}

// maxName is the longest attribute of a name (ub-common-name and ub-organization-name, RFC 5280 appendix A.1).
const maxName = 64

// nameOf returns the name of a CA. What is too long for a name is left out, or replaced by its hash.
func nameOf(domain, common string) pkix.Name {
	if len(common) > maxName {
		sum := sha256.Sum256([]byte(common))
		common = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	name := pkix.Name{CommonName: common}
	if len(domain) <= maxName {
		name.Organization = []string{domain}
	}
	return name
}

// sign completes a template and signs it.
func sign(random io.Reader, c, parent *x509.Certificate, key crypto.PublicKey, signer crypto.Signer) (*x509.Certificate, error) {
	if random == nil {
		random = rand.Reader
	}
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("cert: the key: %w", err)
	}
	c.NotBefore, c.NotAfter = c.NotBefore.UTC().Truncate(time.Second), c.NotAfter.UTC().Truncate(time.Second)
	if parent != c {
		if c.NotBefore.Before(parent.NotBefore) {
			c.NotBefore = parent.NotBefore
		}
		if c.NotAfter.After(parent.NotAfter) {
			c.NotAfter = parent.NotAfter
		}
		if !c.NotBefore.Before(c.NotAfter) {
			return nil, ErrCAEnded
		}
	}
	var err error
	if c.SerialNumber == nil {
		if c.SerialNumber, err = newSerial(random); err != nil {
			return nil, err
		}
	}
	if c.SubjectKeyId, err = keyID(key); err != nil {
		return nil, fmt.Errorf("cert: the key: %w", err)
	}
	c.BasicConstraintsValid = true
	if parent != c {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidIMURI}
	}
	der, err := x509.CreateCertificate(random, c, parent, key, signer)
	if err != nil {
		return nil, fmt.Errorf("cert: sign the certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// serialBits is the length of serial numbers: many enough that they do not repeat, in 16 bytes of DER.
const serialBits = 126

// newSerial returns a serial number: random, positive, and never zero (RFC 5280 §4.1.2.2).
func newSerial(random io.Reader) (*big.Int, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return nil, fmt.Errorf("cert: a serial number: %w", err)
	}
	b[0] &= 1<<(serialBits-120) - 1
	n := new(big.Int).SetBytes(b[:])
	if n.Sign() == 0 {
		return nil, errors.New("cert: the source of random bits gives zeros")
	}
	return n, nil
}

// checkURL accepts the absolute URL of a list.
func checkURL(text string, allowHTTP bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || !isIA5(text):
		return errors.New("not the URL of a document")
	case u.Scheme != "https" && !(allowHTTP && u.Scheme == "http"):
		return errors.New("not an https URL")
	}
	return nil
}
