package keys

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// publish makes the JWK Set of all keys that are not revoked, oldest first. It is made once, so here jwx may take its
// time; only constant names are given to its Set, which would write others unescaped.
func (r *Ring) publish() error {
	set := jwk.NewSet()
	for _, info := range r.infos {
		p, ok := r.public[info.KID]
		if !ok {
			continue
		}
		key, err := jwk.FromRaw(p.key)
		if err != nil {
			return fmt.Errorf("keys: publish %s: %w", info.KID, err)
		}
		err = errors.Join(
			key.Set(jwk.KeyIDKey, info.KID),
			key.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(p.alg)),
			key.Set(jwk.KeyUsageKey, jwk.ForSignature),
			set.AddKey(key),
		)
		if err != nil {
			return fmt.Errorf("keys: publish %s: %w", info.KID, err)
		}
	}
	body, err := json.Marshal(set)
	if err != nil {
		return fmt.Errorf("keys: publish: %w", err)
	}
	sum := sha256.Sum256(body)
	r.jwks, r.etag = body, `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`
	return nil
}

// JWKS returns the JWK Set (RFC 7517 §5) of the keys that tokens may be signed by, and its strong entity tag, quoted.
// The octets are shared: nobody changes them.
func (r *Ring) JWKS() (set []byte, etag string) { return r.jwks, r.etag }
