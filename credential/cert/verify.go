package cert

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// Limits of a chain.
const (
	MaxCertificates = 4
	MaxCertificate  = 8 << 10 // bytes of one certificate
)

// A RootSource knows the trusted roots of domains.
type RootSource interface {
	// Roots returns the certificates that may be at the end of a chain for a domain in canonical form. They count for no other domain.
	// The error wraps [claims.ErrDomain] or [claims.ErrIssuer] if there are none, and any other error means that they cannot be known now.
	Roots(ctx context.Context, domain string) (*x509.CertPool, error)
}

// Roots is a [RootSource] that has the roots of each domain in canonical form.
type Roots map[string]*x509.CertPool

// Roots returns the roots of a domain. The error is [claims.ErrDomain].
func (r Roots) Roots(_ context.Context, domain string) (*x509.CertPool, error) {
	if pool := r[domain]; pool != nil {
		return pool, nil
	}
	return nil, claims.ErrDomain
}

// Options are the requirements of a verifier. Zero values are strict.
type Options struct {
	// Roots knows the roots of domains. Required.
	Roots RootSource
	// CRLs finds the revocation lists that certificates name. Nil refuses certificates that name one, unless Unchecked is set.
	CRLs CRLSource
	// Unchecked accepts certificates without looking at revocation lists. [credential.Credential.Checked] then says so.
	Unchecked bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Leeway is how far clocks may differ. Zero is none.
	Leeway time.Duration
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

// The parts of a chain that an error names, beside those of certificate, as in "x5c[1]".
const (
	partChain      = "x5c"
	partSubject    = "subjectAltName"
	partIssuer     = "issuerAltName"
	partPurpose    = "extKeyUsage"
	partUse        = "keyUsage"
	partConstraint = "basicConstraints"
	partTime       = "validity"
	partCRL        = "cRLDistributionPoints"
)

var (
	errChain    = fmt.Errorf("must have 1 to %d certificates", MaxCertificates)
	errLarge    = fmt.Errorf("longer than %d bytes", MaxCertificate)
	errDER      = errors.New("not a certificate in DER")
	errLife     = fmt.Errorf("must end later than it begins, by at most %d days", credential.MaxLife/(24*time.Hour))
	errNotIM    = errors.New("must have id-kp-imUri, and not anyExtendedKeyUsage")
	errCALeaf   = errors.New("the first certificate is that of a CA")
	errNoSign   = errors.New("must have digitalSignature")
	errNotIssue = errors.New("a certificate that the domain's CA issued has none")
	errOneURI   = errors.New("must be the URI of the user, as it stands in the certificate of the user's CA")
	errOnlyDev  = errors.New("a user's CA certifies devices alone")
	errUserSub  = errors.New("a user's CA certifies no CA")
	errNoRoots  = errors.New("cert: Options needs Roots")
	errNilRoots = errors.New("cert: Options.Roots has returned no roots, and no error")
	errNoURL    = errors.New("cert: the certificate names its revocation list in a form that is not known")
)

// Verify checks a chain of certificates in DER: the first one is that of the device or user, and each certifies the one before it
// (RFC 9420 §5.3). One of them is a root of the domain, or the last one is certified by a root.
//
// The result and the error are as the comment of package credential says. Of a user's certificate ([UserOnly]), Identity has no device.
// Below a user's CA, device and key are those of the first certificate, user and handle those of the user's CA, and the domain vouches for
// these only. The caller compares the key: in MLS with the signature_key of the leaf.
func Verify(ctx context.Context, chain [][]byte, o Options) (credential.Credential, error) {
	c, err := o.verify(ctx, chain)
	if !credential.Stands(err) {
		return credential.Credential{}, err
	}
	return c, err
}

func (o *Options) verify(ctx context.Context, der [][]byte) (credential.Credential, error) {
	none := credential.Credential{}
	if o.Roots == nil {
		return none, errNoRoots
	}
	chain, err := parse(der)
	if err != nil {
		return none, err
	}
	names, err := namesOf(chain[0], oidSubjectAltName)
	if err != nil {
		return none, refuse(partSubject, credential.CodeClaim, err)
	}
	domain := domainOf(names, o.Development)
	path, err := o.path(ctx, chain, domain)
	if err != nil {
		return none, err
	}
	if err := checkUsage(path); err != nil {
		return none, err
	}
	id, err := readIdentity(names, o.Development)
	if err != nil {
		return none, refuse(partSubject, credential.CodeClaim, err)
	}
	if err := o.checkIdentity(id, domain); err != nil {
		return none, err
	}
	if id, err = o.cascade(path, id, domain); err != nil {
		return none, err
	}
	c, err := describe(chain, path, id)
	if err != nil {
		return none, err
	}
	common := credential.Options{Now: o.Now, Leeway: o.Leeway}
	if err := common.CheckTime(&c); err != nil {
		return c, err
	}
	return c, o.checkStatus(ctx, &c, path)
}

// refuse returns a refusal of a part.
func refuse(part string, code credential.Code, err error) error {
	return &credential.Error{Part: part, Code: code, Err: err}
}

// part names a certificate of a chain.
func part(i int) string { return fmt.Sprintf("%s[%d]", partChain, i) }

// parse reads the certificates within the limits, with algorithms that are accepted.
func parse(der [][]byte) ([]*x509.Certificate, error) {
	if len(der) == 0 {
		return nil, refuse(partChain, credential.CodeMalformed, errChain)
	}
	if len(der) > MaxCertificates {
		return nil, refuse(partChain, credential.CodeTooLarge, errChain)
	}
	for i, one := range der {
		if len(one) > MaxCertificate {
			return nil, refuse(part(i), credential.CodeTooLarge, errLarge)
		}
	}
	chain := make([]*x509.Certificate, len(der))
	for i, one := range der {
		c, err := x509.ParseCertificate(one)
		if err != nil { // its text may have names of the certificate
			return nil, refuse(part(i), credential.CodeMalformed, errDER)
		}
		if err := checkAlgorithms(c); err != nil {
			return nil, refuse(part(i), credential.CodeAlgorithm, err)
		}
		chain[i] = c
	}
	return chain, nil
}

// usable reports whether a certificate may be used for keys of instant messaging. A CA's may leave the purposes open, and
// anyExtendedKeyUsage is no purpose.
func usable(c *x509.Certificate) bool {
	for _, usage := range c.ExtKeyUsage {
		if usage == x509.ExtKeyUsageAny {
			return false
		}
	}
	for _, usage := range c.UnknownExtKeyUsage {
		if usage.Equal(oidIMURI) {
			return true
		}
	}
	return c.IsCA && len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0
}

// checkUsage checks for what the certificates of a path may be used. The root is trusted for everything.
func checkUsage(path []*x509.Certificate) error {
	leaf := path[0]
	if leaf.IsCA {
		return refuse(partConstraint, credential.CodeType, errCALeaf)
	}
	for _, c := range path[:len(path)-1] {
		if !usable(c) {
			return refuse(partPurpose, credential.CodeType, errNotIM)
		}
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 { // RFC 5280 §4.2.1.3
		return refuse(partUse, credential.CodeType, errNoSign)
	}
	return nil
}

// checkIdentity checks that the identifiers agree and are of the domain.
func (o *Options) checkIdentity(id claims.Identity, domain string) error {
	if err := id.Check([]string{domain}, o.Development); err != nil {
		return refuse(partSubject, credential.CodeClaim, detail(err))
	}
	return nil
}

// detail takes the name of the claim off an error of package claims: it is that of an access token.
func detail(err error) error {
	refused := (*claims.ClaimError)(nil)
	if errors.As(err, &refused) {
		return refused.Err
	}
	return err
}

// cascade applies the rules for users' CAs, and returns the identity with the user and the handle of that CA. A CA whose certificate has a
// URI in its subjectAltName is one, so that nothing below it can speak for another user. It is directly above the first certificate.
func (o *Options) cascade(path []*x509.Certificate, id claims.Identity, domain string) (claims.Identity, error) {
	for i, c := range path[2:] {
		if hasURI(c) {
			return id, refuse(part(i+2), credential.CodeClaim, errUserSub)
		}
	}
	if hasURI(path[1]) {
		return o.belowUser(path[0], path[1], id, domain)
	}
	if _, ok := extension(path[0], oidIssuerAltName); ok {
		return id, refuse(partIssuer, credential.CodeClaim, errNotIssue)
	}
	return id, nil
}

// belowUser checks a certificate that a user's CA issued.
func (o *Options) belowUser(leaf, ca *x509.Certificate, id claims.Identity, domain string) (claims.Identity, error) {
	owner, uri, err := userOf(ca, o.Development)
	if err != nil {
		return id, refuse(part(1), credential.CodeClaim, err)
	}
	if err := owner.Check([]string{domain}, o.Development); err != nil {
		return id, refuse(part(1), credential.CodeClaim, detail(err))
	}
	if id.Device.IsZero() || !id.User.IsZero() || !id.Handle.IsZero() {
		return id, refuse(partSubject, credential.CodeClaim, errOnlyDev)
	}
	if names, err := namesOf(leaf, oidIssuerAltName); err != nil {
		return id, refuse(partIssuer, credential.CodeClaim, err)
	} else if len(names) != 1 || names[0] != uri {
		return id, refuse(partIssuer, credential.CodeClaim, errOneURI)
	}
	if err := checkOwner(owner.User, id.Device, o.Development); err != nil {
		return id, refuse(partSubject, credential.CodeClaim, detail(err))
	}
	owner.Device = id.Device
	return owner, nil
}

// describe returns the credential. It is valid as long as all certificates that were shown.
func describe(chain, path []*x509.Certificate, id claims.Identity) (credential.Credential, error) {
	leaf := path[0]
	if life := leaf.NotAfter.Sub(leaf.NotBefore); life <= 0 || life > credential.MaxLife {
		return credential.Credential{}, refuse(partTime, credential.CodeClaim, errLife)
	}
	jkt, err := jose.Thumbprint(leaf.PublicKey)
	if err != nil {
		return credential.Credential{}, refuse(part(0), credential.CodeAlgorithm, errKey)
	}
	from, until := window(chain)
	return credential.Credential{
		Format: credential.X509, ID: leaf.SerialNumber.Text(16), Issuer: path[1].Subject.String(), Identity: id,
		Key: leaf.PublicKey, JKT: jkt, From: from, Until: until,
	}, nil
}
