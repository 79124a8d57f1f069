package introspect

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The members of an active answer that a [Release] may withhold, in the order of the answer. The others are in every active
// answer, because a verifier without them would be less safe: cnf and token_type (or a bound token would pass for a bearer token),
// expires_in, max_age and holder.
const (
	withIssuer members = 1 << iota
	withSubject
	withUsername
	withHandle
	withDevice
	withAudience
	withClientID
	withScope
	withExpiresAt
	withIssuedAt
	withJTI
	withAuthTime
	withACR
	withSID
	withActor
	withTokens
	withXSign

	withAll = withXSign<<1 - 1
)

// members is a set of members of an answer.
type members uint32

// memberNames are the names of the members above, in the same order.
var memberNames = []string{
	"iss", "sub", "username", "handle", "device", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr", "sid", "act",
	"tokens", "xsign",
}

// A Policy describes a [Release].
type Policy struct {
	// Claims names the members of active answers that the caller gets: some of iss, sub, username, handle, device, aud, client_id,
	// scope, exp, iat, jti, auth_time, acr, sid, act, tokens and xsign. All others are in every active answer.
	Claims []string
	// Reasons tells the caller why a token is not active, if it has [ScopeReason] as well.
	Reasons bool
	// Pairwise replaces the URIs of users and devices by values that no other caller gets, and leaves out handles.
	Pairwise bool
}

// A Release says what one caller is told about the tokens that it may see. A nil Release tells everything.
type Release struct {
	members  members
	reasons  bool
	pairwise bool
}

// errActor keeps the token of an actor from looking like the user's own.
var errActor = errors.New("has no act: a token with which somebody acts for a user would look like the user's own; " +
	"add act, or leave out sub, username, handle and device")

// NewRelease returns the release of a policy, and nil for one that withholds nothing. The error says what is wrong with the claims,
// in words for an operator.
func NewRelease(p Policy) (*Release, error) {
	r := &Release{reasons: p.Reasons, pairwise: p.Pairwise}
	for _, name := range p.Claims {
		i := slices.Index(memberNames, name)
		if i < 0 {
			return nil, fmt.Errorf("names %q, which is not one of %s", name, strings.Join(memberNames, ", "))
		}
		r.members |= 1 << i
	}
	if r.members&(withSubject|withUsername|withHandle|withDevice) != 0 && r.members&withActor == 0 {
		return nil, errActor
	}
	if *r == (Release{members: withAll, reasons: true}) {
		return nil, nil
	}
	return r, nil
}

// Narrowest returns a release that tells only what all of list tell, nil if list is empty. It is for a caller to whom several
// policies apply.
func Narrowest(list ...*Release) *Release {
	all := Release{members: withAll, reasons: true}
	for _, r := range list {
		if r != nil {
			all.members &= r.members
			all.reasons = all.reasons && r.reasons
			all.pairwise = all.pairwise || r.pairwise
		}
	}
	if all == (Release{members: withAll, reasons: true}) {
		return nil
	}
	if all.members&withActor == 0 {
		all.members &^= withSubject | withUsername | withHandle | withDevice
	}
	return &all
}

// tellsReasons reports whether the caller may know why a token is not active.
func (r *Release) tellsReasons() bool { return r == nil || r.reasons }

// TellsCrossSigning reports whether the caller may ask for the cross signing of users by their URIs. It names their devices and the keys of
// these, which are in every active answer: it would tell by which URI a user is known whom the caller knows by another id, or by none.
func (r *Release) TellsCrossSigning() bool {
	const needed = withSubject | withDevice | withXSign
	return r == nil || !r.pairwise && r.members&needed == needed
}

// A veil is the release of a caller together with the names that it knows users by.
type veil struct {
	*Release
	names pseudonyms
}

// over removes from an active answer what the caller is not told. The parts of the answer belong to it alone.
func (v *veil) over(a *Answer) {
	if v.pairwise {
		v.names.replace(a)
	}
	withhold(v, withIssuer, &a.Issuer)
	withhold(v, withIssuer, &a.HomeIssuer)
	withhold(v, withSubject, &a.Subject)
	withhold(v, withUsername, &a.Username)
	withhold(v, withHandle, &a.Handle)
	withhold(v, withDevice, &a.Device)
	withhold(v, withAudience, &a.Audience)
	withhold(v, withClientID, &a.ClientID)
	withhold(v, withScope, &a.Scope)
	withhold(v, withExpiresAt, &a.ExpiresAt)
	withhold(v, withIssuedAt, &a.IssuedAt)
	withhold(v, withJTI, &a.JTI)
	withhold(v, withAuthTime, &a.AuthTime)
	withhold(v, withACR, &a.ACR)
	withhold(v, withSID, &a.SID)
	withhold(v, withActor, &a.Actor)
	withhold(v, withTokens, &a.Tokens)
	withhold(v, withXSign, &a.XSign)
}

// withhold clears a member that the caller is not told.
func withhold[T any](v *veil, m members, value *T) {
	if v.members&m == 0 {
		*value = *new(T)
	}
}
