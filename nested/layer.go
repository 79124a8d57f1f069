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
	// Path is the position of the token: "tokens[0].tokens[1]", "njwt", or "" for the outermost.
	Path string `json:"path"`
	// Relation is the relation of the subject of the token around it to this subject; empty for the outermost.
	Relation Relation `json:"rel,omitempty"`
	// ByDigest says that the token was named by its digest, and sent beside the outermost one.
	ByDigest bool   `json:"by_digest,omitempty"`
	Type     string `json:"typ"`
	// Issuer is the URL of an issuer, or the URI of a user whose own key signed the token.
	Issuer string `json:"iss"`
	// Subject is a user's URI, a service's client id, or the URI of a group that a user is a member of.
	Subject string `json:"sub"`
	// Kid names the issuer's key that signed the token. JKT is the thumbprint of the user's key that signed it.
	Kid string `json:"kid,omitempty"`
	JKT string `json:"jkt,omitempty"`
	// From and Until are the times between which the token is valid by itself.
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
	// Access holds the claims of an access token, Statement those of a statement; one of them is nil.
	Access    *claims.Set `json:"-"`
	Statement *Statement  `json:"-"`
	// Inner are the tokens that it encloses, in order.
	Inner []*Layer `json:"tokens,omitempty"`

	outer    *Layer
	depth    int // 1 for the outermost
	jws      *jose.JWS
	key      crypto.PublicKey // the key that verified the signature
	domain   string           // of the subject; "" for a service
	unsigned bool             // the caller of Check is about to sign it
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

// SignedBy reports whether the signature was verified with key. A caller that caches trees checks this again, because an issuer may
// publish another key under the same kid.
func (l *Layer) SignedBy(key crypto.PublicKey) bool {
	k, ok := l.key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(key)
}

// RevocationKey returns the name of the token in revocations: its jti, which is unique at its issuer. A user's own key may sign any
// jti, so the name of such a token also has the user's URI.
func (l *Layer) RevocationKey() string {
	if l.byUser() {
		return l.Subject + " " + l.JTI()
	}
	return l.JTI()
}

// audience returns the token's audience.
func (l *Layer) audience() []string {
	if l.Access != nil {
		return l.Access.Audience
	}
	return l.Statement.Audience
}

// boundTo returns the thumbprint of the key that the token is bound to, and "" if there is none.
func (l *Layer) boundTo() string {
	if l.Access != nil {
		return l.Access.JKT
	}
	return l.Statement.JKT
}

// handle returns the handle of the subject, and "" if the token has none.
func (l *Layer) handle() string {
	if l.Access != nil {
		return l.Access.Handle
	}
	return l.Statement.Handle
}

// byUser reports whether the token claims to be signed by a user's own key.
func (l *Layer) byUser() bool { return l.Statement != nil && l.Statement.byUser() }

// read reads the payload. It checks only the form.
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

// refersToList reports whether the token has a `status`.
func (l *Layer) refersToList() bool {
	return l.Access != nil && l.Access.Status != nil || l.Statement != nil && l.Statement.Status != nil
}
