package vci

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/certs"
	"github.com/imidentity/issuer/internal/holder"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// MaxCertificates is how many certificates a user may have at a time that have not expired, also if they have ended or their devices are
// removed: the revocation lists of a CA have each that ended, and verifiers read a whole list of them.
const MaxCertificates = 250

// ErrLoginAge refuses a credential for which the user must have logged in within [account.RekeyMaxAge] (RFC 9470).
var ErrLoginAge = errors.New("vci: the user logged in too long ago")

// x5c are the certificates, in the shapes of package cert.
var x5c = []configuration{
	shaped(cert.Combined, "Certificate of a device, its user and handle"),
	shaped(cert.DeviceOnly, "Certificate of a device alone"),
	shaped(cert.UserOnly, "Certificate of a user"),
	shaped(cert.UserCA, "Certificate of a user who certifies devices"),
}

// shaped returns the configuration of a shape.
func shaped(shape cert.Shape, name string) configuration {
	return configuration{
		id: string(shape), name: name, format: credential.X509, binding: "jwk", shape: shape,
		make: func(i *issuance, p *dpop.KeyProof, row *storage.Credential) (any, error) {
			return makeCertificate(i, shape, p, row)
		},
	}
}

// offered reports whether a domain of the issuer gives certificates of a shape.
func (s *Service) offered(shape cert.Shape) bool {
	if s.cfg.CAs == nil {
		return false
	}
	all, userCAs := s.cfg.CAs.Any()
	return all && (shape != cert.UserCA || userCAs)
}

// certifying returns the CA of a domain for a shape, or refuses the request.
func (s *Service) certifying(domain string, shape cert.Shape) (*certs.Authority, error) {
	ca := s.cfg.CAs.Authority(domain)
	switch {
	case ca == nil:
		return nil, refuse(Denied, "The domain of the user has no CA, so its devices get no certificates.")
	case shape == cert.UserCA && !ca.UserCAs:
		return nil, refuse(Denied, "The domain of the user makes no users CAs.")
	}
	return ca, nil
}

// mayCertify refuses a request for certificates by the token: the domain must have a CA, and only a user who logged in a short time ago
// becomes a CA.
func (s *Service) mayCertify(token claims.Set, by holder.Holder, shape cert.Shape) error {
	if _, err := s.certifying(by.Domain, shape); err != nil {
		return err
	}
	if shape == cert.UserCA && (token.AuthTime.IsZero() || s.cfg.Now().Sub(token.AuthTime) > account.RekeyMaxAge) {
		return ErrLoginAge
	}
	return nil
}

// mayHaveCertificates refuses more certificates than a user may have, and the key of a device as that of a CA: what a device signs for
// other purposes must never be taken for a certificate.
func (i *issuance) mayHaveCertificates(ctx context.Context, r storage.Reader) error {
	if i.kind.shape == cert.UserCA {
		for at, p := range i.proofs {
			if p.JKT == i.as.device.JKT {
				return refuse(InvalidProof, proofAt(at)+"its key is that of the device: make a key for the CA alone.")
			}
		}
	}
	n, err := r.CountCertificates(ctx, i.by.Domain, i.by.User, i.cfg.Now(), MaxCertificates)
	if err != nil {
		return fmt.Errorf("vci: count the certificates of a user: %w", err)
	}
	if n+len(i.proofs) > MaxCertificates {
		return refuse(Denied, fmt.Sprintf("The user was given %d certificates that have not expired, also if they have ended, and may not "+
			"be given more than %d: ask again when some have expired.", n, MaxCertificates))
	}
	return nil
}

// A chain is a certificate in the answer, with those of the CAs above it (RFC 7515 §4.1.6 has the encoding).
type chain struct {
	X5C [][]byte `json:"x5c"`
}

// makeCertificate issues a certificate. It ends with that of the CA, if that is earlier.
func makeCertificate(i *issuance, shape cert.Shape, p *dpop.KeyProof, row *storage.Credential) (any, error) {
	ca, err := i.certifying(i.by.Domain, shape)
	if err != nil {
		return nil, err
	}
	id, err := identityOf(i.as.id)
	if err != nil {
		return nil, err
	}
	made, err := ca.Issue(cert.Template{Shape: shape, Identity: id, Key: p.Key, From: row.IssuedAt, Until: row.ExpiresAt})
	if err != nil {
		return nil, fmt.Errorf("vci: %w", err)
	}
	row.ID, row.CA, row.ExpiresAt = made.SerialNumber.Text(16), ca.ID, made.NotAfter
	if !shape.HasHandle() {
		row.Handle = ""
	}
	return chain{append([][]byte{made.Raw}, ca.Chain...)}, nil
}

// identityOf returns the identifiers of a certificate, in the form in which the domain writes them.
func identityOf(from account.Identity) (claims.Identity, error) {
	var id claims.Identity
	parser := claims.Parser{AllowSingleLabel: true}
	for _, part := range []struct {
		text string
		to   *claims.ID
	}{{from.Device, &id.Device}, {from.User, &id.User}, {from.Handle, &id.Handle}} {
		one, err := parser.Parse(part.text)
		if err != nil {
			return id, fmt.Errorf("vci: write the identity into a certificate: %w", err)
		}
		*part.to = one
	}
	return id, nil
}

// algorithmsOf returns the algorithms that the CAs of the domains sign with.
func (s *Service) algorithmsOf() []string {
	var list []string
	for _, key := range s.cfg.CAs.Keys() {
		if alg := jose.AlgorithmFor(key); alg != "" {
			list = append(list, alg)
		}
	}
	return list
}

// CAs are the certification authorities of the domains; certs.Authorities does.
type CAs interface {
	// Any reports whether any domain has a CA, and whether any of them lets users be CAs.
	Any() (any, userCAs bool)
	// Authority returns the CA of a domain, nil if it has none.
	Authority(domain string) *certs.Authority
	// Keys returns the public keys of the CAs, one of each kind.
	Keys() []crypto.PublicKey
}
