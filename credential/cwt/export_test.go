package cwt

import "github.com/imidentity/issuer/claims"

// EncodeSet writes the payload of an access token.
func EncodeSet(set claims.Set, ckt []byte) ([]byte, error) { return encodeSet(&set, ckt) }

// EncodeVC writes the payload of a credential.
func EncodeVC(v VC) ([]byte, error) { return v.encode() }

// Payload returns the payload.
func (t *AccessToken) Payload() []byte { return t.msg.payload }

// Payload returns the payload of the credential.
func (t *Token) Payload() []byte { return t.msg.payload }
