package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
)

// publish makes the JWK Set of all keys that are not revoked, oldest first.
func (r *Ring) publish() error {
	var set bytes.Buffer
	set.WriteString(`{"keys":[`)
	for _, info := range r.infos {
		p, ok := r.public[info.KID]
		if !ok {
			continue
		}
		jwk, err := jose.MarshalJWK(p.key)
		if err != nil {
			return fmt.Errorf("keys: publish %s: %w", info.KID, err)
		}
		if set.Bytes()[set.Len()-1] == '}' {
			set.WriteByte(',')
		}
		// jwk is an object of at least one member; ours go before its first.
		fmt.Fprintf(&set, `{"kid":%q,"alg":%q,"use":"sig",%s`, info.KID, p.alg, jwk[1:])
	}
	set.WriteString(`]}`)
	sum := sha256.Sum256(set.Bytes())
	r.jwks, r.etag = set.Bytes(), `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`
	return nil
}

// JWKS returns the JWK Set (RFC 7517 §5) of the keys that tokens may be signed by, and its strong entity tag, quoted.
// The octets are shared: nobody changes them.
func (r *Ring) JWKS() (set []byte, etag string) { return r.jwks, r.etag }
