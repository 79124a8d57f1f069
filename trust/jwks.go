package trust

import (
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
)

// parseJWKS returns the keys of a JWK Set that can verify signatures, as [jose.KeysByKid] does.
func parseJWKS(data []byte) (map[string]publicKey, error) {
	list, err := jose.KeysByKid(data)
	if err != nil {
		return nil, fmt.Errorf("key set: %w", err)
	}
	keys := make(map[string]publicKey, len(list))
	for kid, key := range list {
		keys[kid] = publicKey{key.Public, key.Alg}
	}
	return keys, nil
}
