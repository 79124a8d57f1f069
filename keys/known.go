package keys

import (
	"crypto"
	"time"
)

// Known returns the public key of kid, its JOSE algorithm and when it stopped signing, which is zero if it has not. It knows every key
// that was not revoked, also one that has left the key set, and returns false for any other kid. It is for questions about the past:
// what a key signed that has left the key set has expired.
func (r *Ring) Known(kid string) (key crypto.PublicKey, alg string, retired time.Time, ok bool) {
	k := r.at(r.cfg.Now()).find(kid)
	if k == nil || k.signer == nil {
		return nil, "", time.Time{}, false
	}
	return k.signer.Public(), k.Alg, k.RetiredAt, true
}
