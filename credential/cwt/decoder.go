package cwt

import (
	"context"
	"crypto"
	"errors"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/nested"
)

// A Decoder reads access tokens and verifies their signatures.
type Decoder struct {
	// Keys knows the trusted issuers and their keys; trust.Table is one. Required.
	Keys nested.KeySource
}

// Decode returns the access token that data is, after its signature was verified with the key that its issuer publishes. What the claims
// say is not checked: [claims.Set.Validate] does that, [AccessToken.BoundTo] compares the key of a proof, and whether the issuer may
// speak for the domain is a question to Keys.
//
// The error is a [*credential.Error] with a code of [ParseAccessToken], or with [credential.CodeSignature], CodeIssuer or CodeAlgorithm.
// Any other error means that the keys cannot be known now.
func (d *Decoder) Decode(ctx context.Context, data []byte) (*AccessToken, error) {
	if d.Keys == nil {
		return nil, errors.New("cwt: a Decoder needs Keys")
	}
	t, err := ParseAccessToken(data)
	if err != nil {
		return nil, err
	}
	o := credential.Options{Issuers: d.Keys}
	if err := t.msg.verifyIssuer(ctx, &o, t.set.Issuer); err != nil {
		return nil, err
	}
	return t, nil
}

// verifyIssuer verifies the signature of an issuer.
func (m *message) verifyIssuer(ctx context.Context, o *credential.Options, issuer string) error {
	if issuer == "" {
		return refuse("iss", credential.CodeClaim, "missing")
	}
	var misfit error
	err := o.VerifySignature(ctx, issuer, m.kid, func(alg string, key crypto.PublicKey) error {
		err := m.verify(alg, key)
		if misfit = nil; errors.Is(err, credential.CodeAlgorithm) {
			misfit = err
		}
		return err
	})
	if misfit != nil && errors.Is(err, credential.CodeSignature) {
		return misfit
	}
	return err
}
