package nested

import (
	"context"
	"crypto"
	"errors"
)

// ErrSignature is returned by [VerifyIssued] for a signature that no key of the issuer made.
var ErrSignature = errors.New("nested: no key of the issuer made the signature")

// VerifyIssued verifies the signature of a token of an issuer, which names its key by kid, and returns that key and its algorithm. Verify
// checks the signature with a key. It is called with the key that the issuer publishes under kid and, if that fails, with the one
// that the issuer has published in its place since. The error is [ErrSignature], wraps [claims.ErrIssuer], or means that the keys
// cannot be known now.
func VerifyIssued(
	ctx context.Context, keys KeySource, issuer, kid string, verify func(alg string, key crypto.PublicKey) error,
) (key crypto.PublicKey, alg string, err error) {
	key, alg, err = keys.Key(ctx, issuer, kid)
	if err != nil || verify(alg, key) == nil {
		return key, alg, err
	}
	source, ok := keys.(OtherKeySource)
	if !ok {
		return nil, "", ErrSignature
	}
	key, alg, err = source.OtherKey(ctx, issuer, kid, key)
	if err == nil && verify(alg, key) != nil {
		return nil, "", ErrSignature
	}
	return key, alg, err
}
