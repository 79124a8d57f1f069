package vectortest

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// Issuers are the trusted issuers of vectors. They are a source of keys.
type Issuers map[string]Issuer

// An Issuer has keys, and domains that it may speak for.
type Issuer struct {
	Domains []string          `json:"domains"`
	Keys    []json.RawMessage `json:"keys"` // JWKs
}

// Key returns the key of that name, and its algorithm. The error is [claims.ErrIssuer].
func (i Issuers) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	for _, raw := range i[issuer].Keys {
		if key, err := jose.ParseJWK(raw); err == nil && key.Kid == kid {
			return key.Public, key.Alg, nil
		}
	}
	return nil, "", claims.ErrIssuer
}

// Speaks checks that the issuer may speak for domain. The error is [claims.ErrDomain].
func (i Issuers) Speaks(_ context.Context, issuer, domain string) error {
	if !slices.Contains(i[issuer].Domains, domain) {
		return claims.ErrDomain
	}
	return nil
}

// JWK writes the public part of an issuer's key down.
func JWK(t testing.TB, kid, alg string, key crypto.Signer) json.RawMessage {
	t.Helper()
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"kid":%q,"alg":%q,%s`, kid, alg, jwk[1:])
}
