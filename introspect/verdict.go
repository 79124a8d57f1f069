package introspect

import (
	"context"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A Verdict says whether a token is active at one moment, and if so its claims, in no encoding. What the caller's [Release] withholds
// is in the fields, and left out by [Verdict.Answer]. The zero Verdict is that of every token that is not active. Its slices and
// pointers are shared with other verdicts: do not write to them.
type Verdict struct {
	Active bool
	// Reason says why the token is not active, and Path which enclosed token is at fault ("": the token itself). Both are
	// empty for callers that may not know.
	Reason Reason
	Path   string

	// The fields below are zero unless the token is active.

	// Claims are the claims of the token. If it encloses others, scope, expiry and login are the least of all of them.
	Claims claims.Set
	// Username is the handle as people write it, with its domain: @alice@example.com.
	Username string
	// Inner are the enclosed tokens, outer before inner.
	Inner []Inner
	// Holder says whether the holder of its key showed the token.
	Holder Holder
	// XSign is what the user has stored about the device; nil for nothing, and for a caller that is not told.
	XSign *XSign
	// At is the moment of the verdict, and MaxAge how long it may be cached from then on.
	At     time.Time
	MaxAge time.Duration

	veil *veil // nil withholds nothing
}

// An Inner is a token that an active one encloses.
type Inner struct {
	*nested.Layer
	// Checked says that the issuer checked whether the token was revoked. It cannot for tokens of other issuers.
	Checked bool
}

// A Holder says what is known about the holder of a token's key.
type Holder string

// What is known about the holder.
const (
	// Unverified means that the verdict says nothing about who showed the token.
	Unverified Holder = "unverified"
	// Verified means that the holder of the key showed it to the caller.
	Verified Holder = "verified"
)

// active returns the verdict about a token that is active.
func (i *Introspector) active(ctx context.Context, t *token, now time.Time, over *veil) Verdict {
	v := Verdict{Active: true, Claims: t.whole(), Username: t.username, Inner: t.shown, Holder: Unverified, At: now, veil: over}
	v.XSign = i.crossSigned(ctx, t, over)
	v.MaxAge = min(v.Claims.Expires.Sub(now), i.cfg.MaxAge)
	return v
}
