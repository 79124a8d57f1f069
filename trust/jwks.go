package trust

import (
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
)

// parseJWKS returns the keys of a JWK Set that signatures can be checked with, by kid. Others are left out: a set may
// hold keys for other purposes and of types that come later (RFC 7517 §5). A key without kid could not be asked for. A
// kid that two keys have names neither.
func parseJWKS(data []byte) (map[string]publicKey, error) {
	list, err := jose.SplitJWKS(data)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys := make(map[string]publicKey, len(list))
	twice := make(map[string]bool)
	for _, raw := range list {
		key, err := jose.ParseJWK(raw)
		if err != nil || key.Kid == "" {
			continue
		}
		if _, known := keys[key.Kid]; known {
			twice[key.Kid] = true
		}
		if key.Alg == "" {
			key.Alg = jose.AlgorithmFor(key.Public)
		}
		keys[key.Kid] = publicKey{key.Public, key.Alg}
	}
	for kid := range twice {
		delete(keys, kid)
	}
	if len(keys) == 0 {
		return nil, errors.New("key set: no key for signatures that has a kid of its own")
	}
	return keys, nil
}
