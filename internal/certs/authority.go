// Package certs keeps the certification authorities of the issuer's domains: their certificates and keys, which files hold and which can be
// replaced while the issuer runs, and the revocation lists that they sign.
//
// A CA is identified by its name and its key. The revocation lists of a CA go on when its certificate is renewed with both. A CA with
// another key begins new lists, and whether certificates of the one before have ended cannot be known any more.
package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/credential/cert"
)

// CRLPath is the path of revocation lists, below the URL of the issuer.
const CRLPath = "/crl/"

// Settings say what the CA of a domain is for.
type Settings struct {
	// Domain is the domain of all identifiers, in canonical form.
	Domain string
	// MIMI says that its identifiers are mimi: URIs.
	MIMI bool
	// UserCAs says that users may become CAs for their own devices.
	UserCAs bool
}

// An Authority is the CA of a domain, as its files were read.
type Authority struct {
	*cert.CA
	Settings
	// ID identifies the CA in the addresses of its revocation lists.
	ID string
	// Chain are the certificates from that of the CA up to the one below the root, in DER. They follow each certificate that it issues.
	Chain [][]byte
}

// maxChain is how many certificates the file of a CA may have: a verifier accepts one more, see [cert.MaxCertificates].
const maxChain = cert.MaxCertificates - 1

// Load reads the certificates of a CA, its own first and those above it after that, and its key, all PEM. It refuses a CA whose
// certificates verifiers would refuse. Issuer is the URL of the issuer.
func Load(certificates, key []byte, s Settings, issuer string, development bool, now time.Time) (*Authority, error) {
	chain, err := readChain(certificates)
	if err != nil {
		return nil, err
	}
	signer, err := cert.ParseKeyPEM(key)
	if err != nil {
		return nil, err
	}
	own := chain[0]
	a := &Authority{Settings: s, ID: idOf(own)}
	a.CA, err = cert.NewCA(cert.CAConfig{
		Certificate: own, Key: signer, Domain: s.Domain, CRL: issuer + CRLPath + a.ID, Split: true, Development: development,
	})
	if err != nil {
		return nil, err
	}
	if err := checkTimes(chain, now); err != nil {
		return nil, err
	}
	if s.UserCAs && own.MaxPathLen == 0 {
		return nil, errors.New("the CA may not make users CAs (its path length is 0): make it with --user-cas, or leave user_cas out")
	}
	if err := checkLengths(chain, s); err != nil {
		return nil, err
	}
	if err := checkConstraints(chain, s); err != nil {
		return nil, err
	}
	for _, c := range chain {
		if !bytes.Equal(c.RawIssuer, c.RawSubject) { // a verifier has the root
			a.Chain = append(a.Chain, c.Raw)
		}
	}
	if a.Chain == nil { // its own certificate is the root
		a.Chain = [][]byte{own.Raw}
	}
	return a, nil
}

// readChain reads certificates, each of which certifies the one before it.
func readChain(text []byte) ([]*x509.Certificate, error) {
	list, err := cert.ParsePEM(text)
	if err != nil {
		return nil, err
	}
	if len(list) > maxChain {
		return nil, fmt.Errorf("it has %d certificates, and chains have at most %d with that of a device", len(list), cert.MaxCertificates)
	}
	chain := make([]*x509.Certificate, len(list))
	for i, der := range list {
		if len(der) > cert.MaxCertificate {
			return nil, fmt.Errorf("certificate %d is longer than %d bytes", i+1, cert.MaxCertificate)
		}
		if chain[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d cannot be read: %w", i+1, err)
		}
		if i > 0 && chain[i-1].CheckSignatureFrom(chain[i]) != nil {
			return nil, fmt.Errorf("certificate %d does not certify the one before it: put that of the CA first", i+1)
		}
	}
	return chain, nil
}

// checkTimes refuses certificates that are not valid now.
func checkTimes(chain []*x509.Certificate, now time.Time) error {
	for i, c := range chain {
		switch {
		case now.After(c.NotAfter):
			return fmt.Errorf("certificate %d expired at %s: renew it with the same key", i+1, c.NotAfter.UTC().Format(time.RFC3339))
		case now.Before(c.NotBefore):
			return fmt.Errorf("certificate %d is valid from %s on", i+1, c.NotBefore.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// checkLengths refuses path lengths above which verifiers refuse what the CA issues (RFC 5280 §4.2.1.9).
func checkLengths(chain []*x509.Certificate, s Settings) error {
	below := 0 // CAs between a certificate and that of a device
	if s.UserCAs {
		below = 1
	}
	for i, c := range chain {
		if c.MaxPathLen >= 0 && c.MaxPathLen < below {
			return fmt.Errorf("certificate %d allows %d CAs below it, and there are %d above the certificate of a device (path length)",
				i+1, c.MaxPathLen, below)
		}
		below++
	}
	return nil
}

// checkConstraints refuses name constraints under which verifiers refuse what the CA issues (RFC 5280 §4.2.1.10).
func checkConstraints(chain []*x509.Certificate, s Settings) error {
	if own := chain[0]; s.MIMI && !slices.Contains(own.PermittedURIDomains, s.Domain) {
		return fmt.Errorf("the CA of a domain with mimi: URIs must be constrained to them (nameConstraints, permitted URI %s)", s.Domain)
	}
	for i, c := range chain {
		permitted, excluded := len(c.PermittedURIDomains) > 0, len(c.ExcludedURIDomains) > 0
		switch {
		case !s.MIMI && (permitted || excluded):
			return fmt.Errorf("certificate %d constrains URIs, below which verifiers refuse every im: URI: they have no authority", i+1)
		case permitted && !slices.ContainsFunc(c.PermittedURIDomains, s.within), slices.ContainsFunc(c.ExcludedURIDomains, s.within):
			return fmt.Errorf("certificate %d does not permit URIs of %s", i+1, s.Domain)
		}
	}
	return nil
}

// within reports whether the domain is within a constraint for URIs: a host, or a domain with a dot before it.
func (s *Settings) within(constraint string) bool {
	return constraint == s.Domain || len(constraint) > 1 && constraint[0] == '.' && len(s.Domain) > len(constraint) &&
		s.Domain[len(s.Domain)-len(constraint):] == constraint
}

// idOf identifies a CA by its name and its key.
func idOf(c *x509.Certificate) string {
	h := sha256.New()
	for _, part := range [][]byte{c.RawSubject, c.SubjectKeyId, c.RawSubjectPublicKeyInfo} {
		fmt.Fprintf(h, "%d ", len(part))
		h.Write(part)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// A holder has the CA of a domain that is in use.
type holder struct{ current atomic.Pointer[Authority] }
