package mls

import (
	"crypto"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// Bind makes the credential of a leaf of the device itself. Issued is the SD-JWT as it came from the issuer, for the key of the holder: the
// key that signs in the group, and thus the signature_key of the leaf. The room is the URI of the room; empty for a KeyPackage.
// Disclose names the claims to show, which may be "handle" alone. The same credential may be used in several leaves with that key, and
// for as long as it is valid.
//
// The credential is not compacted, because more libraries read that.
//
// The error is a *[credential.Error] if issued is no SD-JWT, or for another key than the holder's, which must be one of the suite, or has
// no such claim to disclose. Any other error comes from the holder.
func Bind(issued string, holder crypto.Signer, suite CipherSuite, room string, now time.Time, disclose ...string) (*Credential, error) {
	t, err := sdjwt.Parse(issued)
	if err != nil {
		return nil, err
	}
	key, err := suite.SignatureKey(holder.Public())
	if err != nil {
		return nil, err
	}
	audience := room
	if audience == "" {
		device, err := deviceOf(t)
		if err != nil {
			return nil, err
		}
		audience = claims.DomainURI(device.Domain())
	}
	text, err := t.Present(holder, sdjwt.Binding{Audience: audience, Nonce: Nonce(key)}, now, disclose...)
	if err != nil {
		return nil, err
	}
	return &Credential{Type: SDJWT, JWT: text}, nil
}
