package introspect

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// MediaTypeStaple is the media type of staples.
const MediaTypeStaple = "application/" + jose.TypeStaple

// StapleLife is how long a staple is valid at most, and so how late its readers may learn of a revocation.
const StapleLife = 2 * time.Minute

// ErrStaple is returned by [OpenStaple] for a staple that is not valid, or not for the token.
var ErrStaple = errors.New("introspect: not a valid staple of this token")

// A Staple is a statement of an issuer that an access token of its own was active at a time (im-staple+jwt). The holder of the token
// shows it together with the token to verifiers that cannot ask the issuer. It does not say who shows it.
type Staple struct {
	Issuer string
	// ATH is the hash of the token, as in a proof (RFC 9449 §4.2).
	ATH      string
	IssuedAt time.Time
	Expires  time.Time // no later than the token
}

// NewStaple returns the staple of an access token that is active now, with its claims and its hash.
func NewStaple(set *claims.Set, ath string, now time.Time) Staple {
	now = now.Truncate(time.Second)
	s := Staple{Issuer: set.Issuer, ATH: ath, IssuedAt: now, Expires: now.Add(StapleLife)}
	if set.Expires.Before(s.Expires) {
		s.Expires = set.Expires
	}
	return s
}

// AppendClaims appends the claims of the staple to b.
func (s Staple) AppendClaims(b []byte) []byte {
	o := object{b: append(b, '{')}
	o.required("iss", s.Issuer)
	o.required("ath", s.ATH)
	o.b = strconv.AppendInt(o.name("iat"), s.IssuedAt.Unix(), 10)
	o.b = strconv.AppendInt(o.name("exp"), s.Expires.Unix(), 10)
	return append(o.b, '}')
}

// StapleOptions are the requirements of a verifier of staples.
type StapleOptions struct {
	// Issuer is the issuer of the token, which the verifier has checked. Required.
	Issuer string
	// Keys finds the keys of the issuer. Required.
	Keys nested.KeySource
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Leeway is how far clocks may differ. Zero is none.
	Leeway time.Duration
}

// OpenStaple checks a staple that was shown together with an access token: type, issuer, token, time and signature. The token itself is
// for the caller to check. The error is an [ErrStaple], or means that the keys of the issuer cannot be known now.
func OpenStaple(ctx context.Context, staple, accessToken string, o StapleOptions) (Staple, error) {
	if o.Issuer == "" || o.Keys == nil {
		return Staple{}, errors.New("introspect: StapleOptions need Issuer and Keys")
	}
	now := time.Now
	if o.Now != nil {
		now = o.Now
	}
	refuse := func(part string) (Staple, error) { return Staple{}, fmt.Errorf("%w: %s", ErrStaple, part) }
	jws, err := jose.ParseCompact(staple, jose.Limits{Total: 4 << 10})
	switch {
	case err != nil:
		return refuse("form")
	case jws.Header.Typ != jose.TypeStaple: // RFC 8725 §3.11
		return refuse("typ")
	case jws.Header.Kid == "" || jws.Header.JWK != nil: // RFC 8725 §3.10
		return refuse("kid")
	}
	var s Staple
	err = jose.ReadMembers(jws.Payload,
		jose.Member{Name: "iss", Text: &s.Issuer, Required: true},
		jose.Member{Name: "ath", Text: &s.ATH, Required: true},
		jose.Member{Name: "iat", Date: &s.IssuedAt, Required: true},
		jose.Member{Name: "exp", Date: &s.Expires, Required: true},
	)
	switch t := now(); {
	case err != nil:
		return refuse("payload")
	case s.Issuer != o.Issuer:
		return refuse("iss")
	case subtle.ConstantTimeCompare([]byte(s.ATH), []byte(dpop.ATH(accessToken))) == 0:
		return refuse("ath")
	case t.Add(o.Leeway).Before(s.IssuedAt):
		return refuse("iat")
	case !t.Before(s.Expires.Add(o.Leeway)), s.Expires.Sub(s.IssuedAt) > StapleLife:
		return refuse("exp")
	}
	switch _, _, err := nested.VerifyIssued(ctx, o.Keys, s.Issuer, jws.Header.Kid, jws.Verify); {
	case errors.Is(err, nested.ErrSignature), errors.Is(err, claims.ErrIssuer):
		return refuse("signature")
	case err != nil:
		return Staple{}, fmt.Errorf("introspect: keys of the issuer of a staple: %w", err)
	}
	return s, nil
}
