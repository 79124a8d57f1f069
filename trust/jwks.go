package trust

import (
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
)

// parseJWKS returns the keys of a JWK Set that can verify signatures, by kid. Other keys are left out: a set may hold keys for
// other purposes and of future types (RFC 7517 §5). A key without a kid is left out too, and so are keys that share a kid. A
// well-formed set without a usable key is not an error: its issuer has withdrawn all keys.
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
	return keys, nil
}
