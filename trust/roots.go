package trust

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
)

// ErrNoRoots is about a domain that is listed without certification authorities.
var ErrNoRoots error = refusal{"trust: no CA is listed for the domain", claims.ErrIssuer}

// Roots returns the certificates of [Peer.CA] of a domain in canonical form: those that may be at the end of a chain about identifiers of
// this domain, and of no other. It sends no request. The error is [ErrForeignDomain] if the table lacks the domain, [ErrSuspended] or
// [ErrNoRoots].
func (t *Table) Roots(_ context.Context, domain string) (*x509.CertPool, error) {
	l, listed := t.roots[domain]
	switch {
	case !listed:
		return nil, ErrForeignDomain
	case l.suspended || t.isSuspended(domain):
		return nil, ErrSuspended
	case l.pool == nil:
		return nil, ErrNoRoots
	}
	return l.pool, nil
}

// rootsOf are the certification authorities of a domain.
type rootsOf struct {
	pool      *x509.CertPool // nil if there are none
	suspended bool           // by all of its entries
}

// addRoots adds the certification authorities of a peer.
func (t *Table) addRoots(domain string, p Peer) error {
	l, listed := t.roots[domain]
	l.suspended = p.Suspended && (l.suspended || !listed)
	if len(p.CA) > 0 && !p.Suspended {
		list, err := ParseRoots(p.CA)
		if err != nil {
			return fmt.Errorf("CA: %w", err)
		}
		if l.pool == nil {
			l.pool = x509.NewCertPool()
		}
		for _, c := range list {
			l.pool.AddCert(c)
		}
	}
	t.roots[domain] = l
	return nil
}

var (
	errNoCertificates = errors.New("not certificates in PEM")
	errDamaged        = errors.New("a certificate that is cut off or damaged: copy its whole text from BEGIN to END")
	errNoCA           = errors.New("a certificate that is not that of a CA (basicConstraints, keyUsage keyCertSign)")
)

// ParseRoots reads the certificates of [Peer.CA]: PEM, each of a CA. Text between them is ignored, but not other objects such as a key.
func ParseRoots(text []byte) ([]*x509.Certificate, error) {
	var list []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		begun := bytes.Count(text[:len(text)-len(rest)], []byte("-----BEGIN "))
		switch {
		case block != nil && begun > 1, block == nil && bytes.Contains(text, []byte("-----BEGIN ")): // pem.Decode skips what it cannot read
			return nil, errDamaged
		case block == nil && list == nil, block != nil && block.Type != "CERTIFICATE":
			return nil, errNoCertificates
		case block == nil:
			return list, nil
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", len(list)+1, err)
		}
		if !c.BasicConstraintsValid || !c.IsCA || c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return nil, errNoCA
		}
		list, text = append(list, c), rest
	}
}
