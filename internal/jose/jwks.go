package jose

import (
	"encoding/json"
	"errors"
)

// maxKeys is how many keys a set may have.
const maxKeys = 64

var (
	errNoKeys   = errors.New("not a JWK Set: it has no array named keys")
	errManyKeys = errors.New("more than 64 keys")
)

// SplitJWKS returns the raw keys of a JWK Set (RFC 7517 §5), each for [ParseJWK]. The caller decides whether it skips a key that
// cannot be used, as §5 says, or reports it.
func SplitJWKS(data []byte) ([]json.RawMessage, error) {
	var keys []json.RawMessage
	err := Object(data, func(name string, value []byte) error {
		if name == "keys" {
			if json.Unmarshal(value, &keys) != nil {
				return errNoKeys
			}
			return nil
		}
		return CheckCase(name, []string{"keys"})
	})
	switch {
	case err != nil:
		return nil, err
	case keys == nil:
		return nil, errNoKeys
	case len(keys) > maxKeys:
		return nil, errManyKeys
	}
	return keys, nil
}

// KeysByKid returns the keys of a JWK Set that can verify signatures, by kid. A key without alg gets the algorithm that fits it. Other
// keys are left out: a set may hold keys for other purposes and of future types (RFC 7517 §5). A key without a kid is left out too,
// and so are keys that share a kid. A well-formed set without a usable key is not an error: its issuer has withdrawn all keys.
func KeysByKid(data []byte) (map[string]Key, error) {
	list, err := SplitJWKS(data)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]Key, len(list))
	twice := make(map[string]bool)
	for _, raw := range list {
		key, err := ParseJWK(raw)
		if err != nil || key.Kid == "" {
			continue
		}
		if _, known := keys[key.Kid]; known {
			twice[key.Kid] = true
		}
		if key.Alg == "" {
			key.Alg = AlgorithmFor(key.Public)
		}
		keys[key.Kid] = key
	}
	for kid := range twice {
		delete(keys, kid)
	}
	return keys, nil
}
