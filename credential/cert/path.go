package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
)

var (
	errOrder    = errors.New("each certificate must certify the one before it, and a root of the domain the last one")
	errTogether = errors.New("the certificates are never valid at the same time")
	errCritical = errors.New("a critical extension that is not known")
	errOutside  = errors.New("outside of the name constraints of a CA")
	errCA       = errors.New("a CA may not issue it, or is no CA")
	errOldRoot  = errors.New("the root is not valid at the time of the certificates")
)

// path returns the chain up to a root of the domain. Times are left to the caller: the path is that of a time at which
// all certificates of the chain are valid, the nearest one to now.
func (o *Options) path(ctx context.Context, chain []*x509.Certificate, domain string) ([]*x509.Certificate, error) {
	if domain == "" {
		return nil, refuse(partSubject, credential.CodeClaim, errNotBound)
	}
	roots, err := o.Roots.Roots(ctx, domain)
	switch {
	case err == nil && roots != nil:
	case err == nil: // package crypto/x509 would take the roots of the system, which count for every domain
		return nil, errNilRoots
	case errors.Is(err, claims.ErrDomain):
		return nil, refuse(partChain, credential.CodeDomain, nil)
	case errors.Is(err, claims.ErrIssuer):
		return nil, refuse(partChain, credential.CodeIssuer, nil)
	default:
		return nil, fmt.Errorf("cert: the roots of the domain: %w", err)
	}
	from, until := window(chain)
	if until.Before(from) {
		return nil, refuse(partTime, credential.CodeClaim, errTogether)
	}
	at := o.time()
	if at.Before(from) {
		at = from
	}
	if at.After(until) {
		at = until
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	// The key usage is checked by checkUsage: package crypto/x509 has no name for id-kp-imUri.
	paths, err := chain[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: others, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return nil, noPath(chain, err)
	}
	for _, path := range paths {
		n := min(len(path), len(chain))
		if len(path) > 1 && slices.EqualFunc(path[:n], chain[:n], (*x509.Certificate).Equal) && linked(chain[n-1:]) {
			return path, nil
		}
	}
	return nil, refuse(partChain, credential.CodeIssuer, errOrder)
}

// linked reports whether each certificate certifies the one before it. It is for those above a root: a verifier may trust any CA of the
// chain, and its sender need not know which one.
func linked(chain []*x509.Certificate) bool {
	for i, ca := range chain[1:] {
		if chain[i].CheckSignatureFrom(ca) != nil {
			return false
		}
	}
	return true
}

// noPath makes a refusal of an error of package crypto/x509, whose text may have names of the certificates.
func noPath(chain []*x509.Certificate, err error) error {
	for i, ca := range chain[1:] {
		c := chain[i]
		if !bytes.Equal(c.RawIssuer, ca.RawSubject) {
			return refuse(partChain, credential.CodeIssuer, errOrder)
		}
		if ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) != nil {
			return refuse(part(i), credential.CodeSignature, nil)
		}
	}
	var (
		invalid  x509.CertificateInvalidError
		critical x509.UnhandledCriticalExtension
	)
	switch {
	case errors.As(err, &critical):
		return refuse(partChain, credential.CodeMalformed, errCritical)
	case errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		return refuse(partChain, credential.CodeDomain, errOutside)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return refuse(partChain, credential.CodeIssuer, errOldRoot)
	case errors.As(err, &invalid):
		return refuse(partChain, credential.CodeIssuer, errCA)
	}
	return refuse(partChain, credential.CodeIssuer, nil)
}

// window returns the times between which all certificates of a chain are valid.
func window(chain []*x509.Certificate) (from, until time.Time) {
	from, until = chain[0].NotBefore, chain[0].NotAfter
	for _, c := range chain[1:] {
		if c.NotBefore.After(from) {
			from = c.NotBefore
		}
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	return from, until
}

func (o *Options) time() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}
