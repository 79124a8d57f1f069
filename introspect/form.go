package introspect

import (
	"crypto"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// An UnverifiedToken is an access token in the form of a CWT, of which no signature was verified.
type UnverifiedToken interface {
	// Set returns the claims: those of the JWT with the same jti.
	Set() claims.Set
	// KID returns the name of the key that the token claims to be signed with.
	KID() string
	// Verify verifies the signature with a key and its JOSE algorithm.
	Verify(alg string, key crypto.PublicKey) error
}

// A signedText is an access token of which nothing is verified: a JWT, or else a CWT.
type signedText struct {
	jws *jose.JWS
	cwt UnverifiedToken
	kid string
}

// read reads the text of an access token. Both forms have one spelling, and no text has both: a JWT contains dots, and a CWT in
// base64url does not.
func (i *Introspector) read(text string) (signedText, error) {
	if i.cfg.ParseCWT != nil && !strings.Contains(text, ".") {
		t, err := i.cfg.ParseCWT(text)
		if err != nil {
			return signedText{}, err
		}
		return signedText{cwt: t, kid: t.KID()}, nil
	}
	jws, err := jose.ParseCompact(text, jose.Limits{Total: maxToken})
	if err != nil {
		return signedText{}, err
	}
	// RFC 9068 §4: the type is pinned, or another object signed by the same key could pass for an access token. So are
	// the key and its algorithm (RFC 8725 §3.1).
	if jws.Header.Typ != jose.TypeAccessToken {
		return signedText{}, errNotOurs
	}
	return signedText{jws: jws, kid: jws.Header.Kid}, nil
}

// set returns the claims.
func (s *signedText) set() (claims.Set, error) {
	if s.cwt != nil {
		return s.cwt.Set(), nil
	}
	return claims.ParseSet(s.jws.Payload)
}

// verify verifies the signature. The tables are for JWTs, and may be nil.
func (s *signedText) verify(tables *jose.Tables, alg string, key crypto.PublicKey) error {
	if s.cwt != nil {
		return s.cwt.Verify(alg, key)
	}
	return tables.VerifyJWS(s.jws, alg, key)
}
