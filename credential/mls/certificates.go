package mls

import (
	"context"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cert"
)

// Certificates returns the [Verifier] of [X509], for [Options.Verifiers]. Package credential/cert verifies the chain, to the roots that
// are trusted for the domain of the device, and with the revocation lists of crls, which may be nil only if Options.Unchecked is set.
//
// A certificate is bound to the key of the leaf and to no room: its holder signs the leaf, and nothing else (RFC 9420 §5.3).
func Certificates(roots cert.RootSource, crls cert.CRLSource) Verifier {
	return func(ctx context.Context, c *Credential, _ Binding, o credential.Options) (credential.Credential, error) {
		return cert.Verify(ctx, c.Certificates, cert.Options{
			Roots: roots, CRLs: crls, Unchecked: o.Unchecked, Now: o.Now, Leeway: o.Leeway, Development: o.Development,
		})
	}
}
