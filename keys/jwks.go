package keys

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jwk"
)

// keySet returns the JWK Set (RFC 7517 §5) of the public halves of keys. Each member of it is a public key with its `kid`,
// `alg` and `use`, which tell verifiers when to use it.
//
// The set is made anew each time from the standard library's keys: objects of jwx are not shared, because reading them
// concurrently is not safe in v2. Only constant names are passed to Set, because jwx writes names unescaped.
func keySet(keys []*key) ([]byte, error) {
	set := jwk.NewSet()
	for _, k := range keys {
		public, err := jwk.FromRaw(k.signer.Public())
		if err != nil {
			return nil, err
		}
		err = errors.Join(
			public.Set(jwk.KeyIDKey, k.KID),
			public.Set(jwk.AlgorithmKey, jwa.SignatureAlgorithm(k.Alg)),
			public.Set(jwk.KeyUsageKey, jwk.ForSignature),
			set.AddKey(public),
		)
		if err != nil {
			return nil, err
		}
	}
	return json.Marshal(set)
}

// mustKeySet is keySet for keys that [Ring.open] has written once already.
func mustKeySet(keys []*key) []byte {
	set, err := keySet(keys)
	if err != nil {
		panic("keys: write the key set: " + err.Error())
	}
	return set
}

// sameKeys reports whether a and b publish the same keys, in the same order. A kid is the thumbprint of its key.
func sameKeys(a, b []*key) bool {
	return slices.EqualFunc(a, b, func(a, b *key) bool { return a.KID == b.KID && a.Alg == b.Alg })
}
