package audit

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// A Head says which record was the last of a chain at a time. Signed by the issuer, it is a JWT of type im-audit-head+jwt.
type Head struct {
	Issuer string
	Node   string
	Seq    int64
	Hash   [32]byte
	At     time.Time // in whole seconds
}

// appendClaims appends the claims of the JWT, in the canonical form of RFC 8785.
func (h *Head) appendClaims(data []byte) []byte {
	b := object{append(data, '{')}
	b.text("hash", hex.EncodeToString(h.Hash[:]))
	b.number("iat", h.At.Unix())
	b.text("iss", h.Issuer)
	b.text("node", h.Node)
	b.number("seq", h.Seq)
	return append(b.data, '}')
}

// maxHead is how many bytes a signed head may have.
const maxHead = 8 << 10

// An unknownKeyError says that a head was signed by a key that the verifier does not have.
type unknownKeyError struct{ kid string }

func (e *unknownKeyError) Error() string {
	return fmt.Sprintf("it is signed by the unknown key %q", e.kid)
}

// readHead verifies a signed head of an issuer, under one of its URLs, with its keys, by kid (RFC 8725 §3.1, §3.8, §3.11: the type, the
// algorithm of the key, and the issuer are pinned).
func readHead(token string, issuers []string, keys map[string]jose.Key) (Head, error) {
	j, err := jose.ParseCompact(token, jose.Limits{Total: maxHead})
	if err != nil {
		return Head{}, err
	}
	if j.Header.Typ != jose.TypeAuditHead {
		return Head{}, errors.New("it is signed, but no head of an audit log: its typ is not " + jose.TypeAuditHead)
	}
	key, ok := keys[j.Header.Kid]
	if !ok {
		return Head{}, &unknownKeyError{j.Header.Kid}
	}
	if j.Header.Alg != key.Alg {
		return Head{}, errors.New("its alg is not that of the key")
	}
	if err := j.Verify(key.Alg, key.Public); err != nil {
		return Head{}, errors.New("its signature does not verify")
	}
	var h Head
	m, err := readMembers(j.Payload)
	if err != nil {
		return Head{}, err
	}
	h.Issuer, h.Node = m.text("iss"), m.text("node")
	h.Seq, h.Hash = m.number("seq"), m.hash("hash")
	h.At = time.Unix(m.number("iat"), 0).UTC()
	if m.err != nil {
		return Head{}, m.err
	}
	if !slices.Contains(issuers, h.Issuer) {
		return Head{}, fmt.Errorf("it is of the issuer %s, not %s", h.Issuer, strings.Join(issuers, " or "))
	}
	return h, nil
}

// A Signer signs claims of a type of internal/jose.
type Signer interface {
	Sign(typ string, claims []byte) (string, error)
}

// sign signs a head.
func (h *Head) sign(s Signer) (storage.SignedHead, error) {
	token, err := s.Sign(jose.TypeAuditHead, h.appendClaims(nil))
	if err != nil {
		return storage.SignedHead{}, fmt.Errorf("audit: sign a head: %w", err)
	}
	return storage.SignedHead{Node: h.Node, Seq: h.Seq, At: h.At, Token: token}, nil
}
