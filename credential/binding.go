package credential

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// BindingPart is the name of a key binding in errors.
const BindingPart = "key binding"

// DefaultMaxAge is how old a key binding may be, unless [BindingAge.MaxAge] says otherwise.
const DefaultMaxAge = time.Minute

// Longest audience and nonce of a key binding, in bytes.
const (
	MaxAudience = 2048
	MaxNonce    = 1024
)

// A BindingAge is what a verifier requires of the times of a key binding. Holders leave it zero.
type BindingAge struct {
	// MaxAge is how far iat may be from the time of the check, in both directions. Zero means [DefaultMaxAge].
	MaxAge time.Duration
	// At is the time of the check, as when a presentation is verified later than it was received. Zero means now.
	At time.Time
	// AnyAge accepts a key binding however old it is. Another rule must then limit its use: in MLS the lifetime of the leaf.
	AnyAge bool
}

// CheckBinding returns an error if a verifier with these requirements would accept a key binding that is for any verifier or any
// transaction. Each format adds its name to the error.
func CheckBinding[N string | []byte](audience string, nonce N, age BindingAge) error {
	switch {
	case audience == "" || len(nonce) == 0:
		return errors.New("a Binding needs Audience and Nonce")
	case len(audience) > MaxAudience || len(nonce) > MaxNonce:
		return fmt.Errorf("a Binding has an Audience of at most %d bytes and a Nonce of at most %d", MaxAudience, MaxNonce)
	case age.MaxAge < 0:
		return errors.New("the MaxAge of a Binding is negative")
	}
	return nil
}

// Fresh reports whether the times of a key binding are right. Expires and notBefore are zero if it does not state them.
func (a BindingAge) Fresh(issued, notBefore, expires, now time.Time, leeway time.Duration) bool {
	if !a.At.IsZero() {
		now = a.At
	}
	most := cmp.Or(a.MaxAge, DefaultMaxAge)
	switch {
	case issued.After(now.Add(most + leeway)): // of the future, also with AnyAge
		return false
	case !a.AnyAge && issued.Before(now.Add(-most-leeway)):
		return false
	case !expires.IsZero() && !now.Before(expires.Add(leeway)): // RFC 7519 §4.1.4, RFC 8392 §3.1.4
		return false
	case notBefore.After(now.Add(leeway)): // RFC 7519 §4.1.5, RFC 8392 §3.1.5
		return false
	}
	return true
}
