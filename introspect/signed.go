package introspect

import (
	"strconv"
	"time"
)

// The media types of signed answers, and of signed answers about several tokens (RFC 9701 §4, and this issuer's own).
const (
	MediaTypeSigned      = "application/token-introspection+jwt"
	MediaTypeSignedBatch = "application/im-introspection-batch+jwt"
)

// An Envelope holds the claims of a signed answer that are not about the token (RFC 9701 §5). It has neither sub nor exp, so that it
// cannot pass for an access token.
type Envelope struct {
	Issuer   string
	Audience Audience // the caller
	IssuedAt time.Time
}

// AppendClaims appends the claims of a signed answer to b. The answer is the claim token_introspection, which for a token that is not
// active is exactly {"active":false}. Why it is not active, if the answer says so, is in the claim im_detail.
func (e Envelope) AppendClaims(b []byte, a *Answer) []byte {
	o := e.open(b)
	o.introspection(a)
	return append(o.b, '}')
}

// open begins the claims.
func (e Envelope) open(b []byte) object {
	o := object{b: append(b, '{')}
	o.required("iss", e.Issuer)
	o.b = e.Audience.append(o.name("aud"))
	o.b = strconv.AppendInt(o.name("iat"), e.IssuedAt.Unix(), 10)
	return o
}

// introspection writes the members token_introspection and im_detail.
func (o *object) introspection(a *Answer) {
	bare := *a
	bare.Reason, bare.Path = "", ""
	o.b = bare.AppendJSON(o.name("token_introspection"))
	if !a.Active && a.Reason != "" {
		detail := object{b: append(o.name("im_detail"), '{')}
		detail.string("reason", string(a.Reason))
		detail.string("path", a.Path)
		o.b = append(detail.b, '}')
	}
}
