package matrix

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"maps"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

const algorithm = "ed25519:" // the prefix of the ids of keys that sign

// An object is a signed JSON object (Matrix specification, appendix "Signing JSON").
type object struct {
	kind       string // for errors
	members    map[string]any
	signatures map[string]any // by user
	signed     []byte         // the text that is signed
}

// refuse returns the error about a part of an object.
func refuse(kind, part string, code xsign.Code, format string, args ...any) *xsign.Error {
	return &xsign.Error{Statement: kind, Part: part, Code: code, Err: fmt.Errorf(format, args...)}
}

// readObject reads a signed object of a user. It verifies no signature.
func readObject(kind, user string, raw []byte) (*object, error) {
	if len(raw) > MaxObject {
		return nil, refuse(kind, "", xsign.CodeTooLarge, "more than %d bytes", MaxObject)
	}
	members, err := decode(raw)
	if err != nil {
		return nil, refuse(kind, "", xsign.CodeMalformed, "%w", err)
	}
	o := &object{kind: kind, members: members}
	if of, ok := members["user_id"].(string); !ok || of != user {
		return nil, refuse(kind, "user_id", xsign.CodeUser, "not the user that was asked for")
	}
	if value, ok := members["signatures"]; ok {
		if o.signatures, ok = value.(map[string]any); !ok {
			return nil, refuse(kind, "signatures", xsign.CodeMalformed, "not an object")
		}
	}
	signed := maps.Clone(members)
	delete(signed, "signatures")
	delete(signed, "unsigned")
	if o.signed, err = appendCanonical(nil, signed); err != nil {
		return nil, refuse(kind, "", xsign.CodeMalformed, "%w", err)
	}
	return o, nil
}

// key returns the key that a member of `keys` holds.
func (o *object) key(id string) (ed25519.PublicKey, error) {
	keys, _ := o.members["keys"].(map[string]any)
	text, ok := keys[id].(string)
	if !ok {
		return nil, refuse(o.kind, "keys", xsign.CodeKey, "has no Ed25519 key by the name that belongs to it")
	}
	return readKey(o.kind, text)
}

// readKey reads an Ed25519 key in unpadded base64.
func readKey(kind, text string) (ed25519.PublicKey, error) {
	data, err := decodeBase64(text)
	if err != nil || len(data) != ed25519.PublicKeySize {
		return nil, refuse(kind, "keys", xsign.CodeKey, "not an Ed25519 key of 32 bytes in unpadded base64")
	}
	key := ed25519.PublicKey(data)
	jwk, err := jose.MarshalJWK(key)
	if err == nil {
		_, err = jose.ParseJWK(jwk) // refuses points of small order, by which anyone can sign
	}
	if err != nil {
		return nil, refuse(kind, "keys", xsign.CodeKey, "%w", err)
	}
	return key, nil
}

// verify verifies the signature of a user by the key with an id. A signature that is absent has the code [xsign.CodeMissing].
func (o *object) verify(user, id string, key ed25519.PublicKey) error {
	by, _ := o.signatures[user].(map[string]any)
	value, ok := by[algorithm+id]
	if !ok {
		return refuse(o.kind, "signatures", xsign.CodeMissing, "none by the key that must sign")
	}
	text, _ := value.(string)
	signature, err := decodeBase64(text)
	if err != nil || len(signature) != ed25519.SignatureSize {
		return refuse(o.kind, "signatures", xsign.CodeMalformed, "not a signature of 64 bytes in unpadded base64")
	}
	if jose.Verify(jose.EdDSA, key, o.signed, signature) != nil {
		return refuse(o.kind, "signatures", xsign.CodeSignature, "the signature does not verify")
	}
	return nil
}

// decodeBase64 decodes unpadded base64. The text must be the one that encoding makes: no line breaks, and no bits beyond the last byte.
func decodeBase64(text string) ([]byte, error) {
	data, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if err == nil && encode(data) != text {
		err = fmt.Errorf("not the canonical base64")
	}
	return data, err
}

func encode(data []byte) string { return base64.RawStdEncoding.EncodeToString(data) }
