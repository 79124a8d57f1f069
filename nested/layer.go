package nested

import (
	"crypto"
	"crypto/sha256"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// A Layer is one token of a [Tree].
type Layer struct {
	// Path is where the token lies: "tokens[0].tokens[1]", "njwt", or "" for the outermost.
	Path string `json:"path"`
	// Relation is what the subject of the token around it is to this one's; empty for the outermost.
	Relation Relation `json:"rel,omitempty"`
	// ByDigest says that the token came along and was named by its digest.
	ByDigest bool   `json:"by_digest,omitempty"`
	Type     string `json:"typ"`
	// Issuer is who says it: the URL of an issuer, or the URI of a user whose own key signed.
	Issuer string `json:"iss"`
	// Subject is whom it is about: a user's URI, a service's client id, or what somebody is a member of.
	Subject string `json:"sub"`
	// Kid is the issuer's name for the key that signed, JKT the thumbprint of a user's key that did.
	Kid string `json:"kid,omitempty"`
	JKT string `json:"jkt,omitempty"`
	// From and Until are when it is valid, by itself.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Access are the claims of an access token, Statement those of a statement; one of them is nil.
	Access    *claims.Set `json:"-"`
	Statement *Statement  `json:"-"`
	// Inner are the tokens that it encloses, in order.
	Inner []*Layer `json:"tokens,omitempty"`

	outer    *Layer
	depth    int // 1 for the outermost
	jws      *jose.JWS
	key      crypto.PublicKey // that the signature was checked with
	domain   string           // of the subject; "" for a service
	unsigned bool             // what this issuer itself is about to sign
}

// A digest is the SHA-256 of a compact serialization.
type digest = [sha256.Size]byte

// JTI returns the token's jti, by which its issuer revokes it.
func (l *Layer) JTI() string {
	if l.Access != nil {
		return l.Access.JTI
	}
	return l.Statement.JTI
}

// SignedBy reports whether the signature of the token was checked with that key: who keeps a tree asks again, since an issuer
// may give another key the same kid.
func (l *Layer) SignedBy(key crypto.PublicKey) bool {
	k, ok := l.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(key)
}

// RevocationKey returns what the token is called where it is noted as revoked: its jti, which its issuer gave to no other. A
// user's own key may write any jti, so that what it signed is called by her URI, too.
func (l *Layer) RevocationKey() string {
	if l.byUser() {
		return l.Subject + " " + l.JTI()
	}
	return l.JTI()
}

// audience returns whom the token is for.
func (l *Layer) audience() []string {
	if l.Access != nil {
		return l.Access.Audience
	}
	return l.Statement.Audience
}

// boundTo returns the thumbprint of the key that the token is bound to, "" if there is none.
func (l *Layer) boundTo() string {
	if l.Access != nil {
		return l.Access.JKT
	}
	return l.Statement.JKT
}

// handle returns the handle of the subject, "" if the token has none.
func (l *Layer) handle() string {
	if l.Access != nil {
		return l.Access.Handle
	}
	return l.Statement.Handle
}

// byUser reports whether the token says that a user's own key signed it.
func (l *Layer) byUser() bool { return l.Statement != nil && l.Statement.byUser() }

// read fills in what the payload says. It checks form alone.
func (l *Layer) read(payload []byte) error {
	if l.Type == TypeAccessToken {
		set, err := claims.ParseSet(payload)
		if err != nil {
			return l.refuse(CodeMalformed, "%w", err)
		}
		l.Access = &set
		l.Issuer, l.Subject = set.Issuer, set.Subject
		l.From, l.Until = later(set.IssuedAt, set.NotBefore), set.Expires
		return nil
	}
	k := kindOf(l.Type)
	if k == nil {
		return l.refuse(CodeType, "typ is not a known type of token")
	}
	s, err := parseStatement(k, payload)
	if err != nil {
		return l.refuse(CodeMalformed, "%w", err)
	}
	l.Statement = s
	l.Issuer, l.Subject = s.Issuer, s.Subject
	l.From, l.Until = later(s.IssuedAt, s.NotBefore), s.Expires
	return nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
