package keys

import (
	"crypto"
	"encoding/json"
	"errors"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// publish makes the JWK of a public key (RFC 7517 §4). It is made once for each key, so here jwx may take its time; only
// constant names are given to its Set, which would write others unescaped.
func publish(kid, alg string, public crypto.PublicKey) ([]byte, error) {
	key, err := jwk.FromRaw(public)
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		key.Set(jwk.KeyIDKey, kid),
		key.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(alg)),
		key.Set(jwk.KeyUsageKey, jwk.ForSignature),
	)
	if err != nil {
		return nil, err
	}
	return json.Marshal(key)
}
