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
