package introspect

import (
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// An Answer is a verdict in the form of RFC 7662 §2.2. The zero Answer is that for every token that is not active; it is
// written as {"active":false}.
type Answer struct {
	Active  bool   `json:"active"`
	Issuer  string `json:"iss,omitempty"`
	Subject string `json:"sub,omitempty"` // the user's URI, or the client's id for a service
	// Username is the handle as people write it, with its domain: @alice@example.com.
	Username  string   `json:"username,omitempty"`
	Handle    string   `json:"handle,omitempty"`
	Device    string   `json:"device,omitempty"`
	Audience  Audience `json:"aud,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Scope     string   `json:"scope,omitempty"`
	ExpiresAt int64    `json:"exp,omitempty"` // seconds since 1970
	IssuedAt  int64    `json:"iat,omitempty"`
	JTI       string   `json:"jti,omitempty"`
	AuthTime  int64    `json:"auth_time,omitempty"`
	ACR       string   `json:"acr,omitempty"`
	SID       string   `json:"sid,omitempty"`
	// Confirmation names the key that a proof must be made with (RFC 9449 §6.2); nil for a bearer token.
	Confirmation *Confirmation `json:"cnf,omitempty"`
	// TokenType is DPoP for a token that is bound to a key, and Bearer for one that is not.
	TokenType string `json:"token_type,omitempty"`
	// ExpiresIn is how many whole seconds the token has left, for callers whose clock is not synchronised.
	ExpiresIn int64 `json:"expires_in"`
	// MaxAge is for how many seconds the answer may be cached.
	MaxAge int64 `json:"max_age"`
	// Holder is verified if the holder of the key showed the token, and unverified if the answer says nothing about that.
	Holder Holder `json:"holder,omitempty"`
	// HomeIssuer is the issuer of a user of another domain (home_iss), for whom the token was made by identity chaining; else empty.
	HomeIssuer string `json:"home_iss,omitempty"`
	// Actor is who acts for the subject (RFC 8693 §4.1); nil if there is no actor.
	Actor *Actor `json:"act,omitempty"`
	// Tokens are the enclosed tokens, outer before inner.
	Tokens []Layer `json:"tokens,omitempty"`
	// XSign is what the user has stored about the device; nil if that is nothing, or is not known.
	XSign *XSign `json:"xsign,omitempty"`

	// Reason says why a token is not active, and Path which enclosed token is at fault. Only callers that may know get them.
	Reason Reason `json:"-"`
	Path   string `json:"-"`
}

// A Confirmation is the cnf of a token (RFC 7800).
type Confirmation struct {
	JKT string `json:"jkt"` // RFC 7638 thumbprint, SHA-256, base64url
}

// Audience is an aud: one value is written as a string, several as an array (RFC 7519 §4.1.3).
type Audience []string

// An Actor acts for the subject of a token.
type Actor struct {
	Subject  string `json:"sub"`
	Issuer   string `json:"iss,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// Actor acted before.
	Actor *Actor `json:"act,omitempty"`
}

// A Layer is an enclosed token in an answer.
type Layer struct {
	// Path is where the token lies: "tokens[0].tokens[1]".
	Path     string          `json:"path"`
	Relation nested.Relation `json:"rel"`
	Type     string          `json:"typ"`
	// Active is true for a token that was checked for revocation. It is left out for one that was not, as for another
	// issuer's, which may have been revoked.
	Active bool `json:"active,omitempty"`
	// Revocation is "checked", or "not_asked" where only another issuer knows whether the token was revoked.
	Revocation string `json:"revocation"`
	Issuer     string `json:"iss"`
	Subject    string `json:"sub"`
	Handle     string `json:"handle,omitempty"`
	Device     string `json:"device,omitempty"`
	// The claims of a statement beside its subject, by their names. Which ones it has depends on its type.
	OldHandle string `json:"old_handle,omitempty"` // of a renamed user
	Role      string `json:"role,omitempty"`       // of a member, in words
	MayAct    *Actor `json:"may_act,omitempty"`    // who may act for the subject
	SameAs    string `json:"same_as,omitempty"`    // another user who is the same person
	MovedTo   string `json:"moved_to,omitempty"`   // who the subject is now
	Member    string `json:"member,omitempty"`     // who belongs to the subject
	Guardian  string `json:"guardian,omitempty"`   // of the subject
	JTI       string `json:"jti"`
	ExpiresAt int64  `json:"exp"`
}

// Answer returns the verdict in the form of RFC 7662 §2.2, without what the caller's [Release] withholds.
func (v *Verdict) Answer() Answer {
	if !v.Active {
		return Answer{Reason: v.Reason, Path: v.Path}
	}
	set := &v.Claims
	a := Answer{
		Active: true, Issuer: set.Issuer, Subject: set.Subject, Username: v.Username, Handle: set.Handle, Device: set.Device,
		Audience: set.Audience, ClientID: set.ClientID, Scope: set.Scope, ExpiresAt: set.Expires.Unix(), IssuedAt: set.IssuedAt.Unix(),
		JTI: set.JTI, ACR: set.ACR, SID: set.SID, TokenType: "Bearer",
		ExpiresIn: wholeSeconds(set.Expires.Sub(v.At)), MaxAge: wholeSeconds(v.MaxAge), Holder: v.Holder,
		HomeIssuer: set.HomeIss, Actor: newActor(set.Actor), XSign: v.XSign,
	}
	if !set.AuthTime.IsZero() {
		a.AuthTime = set.AuthTime.Unix()
	}
	if set.JKT != "" {
		a.Confirmation, a.TokenType = &Confirmation{set.JKT}, "DPoP"
	}
	for _, in := range v.Inner {
		a.Tokens = append(a.Tokens, in.layer())
	}
	if v.veil != nil {
		v.veil.over(&a)
	}
	return a
}

// wholeSeconds rounds down.
func wholeSeconds(d time.Duration) int64 { return int64(d / time.Second) }

func newActor(a *claims.Actor) *Actor {
	if a == nil {
		return nil
	}
	return &Actor{a.Subject, a.Issuer, a.ClientID, newActor(a.Actor)}
}

// layer returns an enclosed token in the form of an answer.
func (in Inner) layer() Layer {
	l := Layer{
		Path: in.Path, Relation: in.Relation, Type: in.Type, Revocation: "not_asked",
		Issuer: in.Issuer, Subject: in.Subject, JTI: in.JTI(), ExpiresAt: in.Until.Unix(),
	}
	if in.Checked {
		l.Active, l.Revocation = true, "checked"
	}
	if in.Access != nil {
		l.Handle, l.Device = in.Access.Handle, in.Access.Device
		return l
	}
	s := in.Statement
	party := s.Parties()
	l.Handle, l.Device, l.OldHandle, l.Role = s.Handle, s.Device, s.OldHandle, s.Role
	l.SameAs, l.MovedTo, l.Member, l.Guardian = party.SameAs, party.MovedTo, party.Member, party.Guardian
	if party.Actor != "" {
		l.MayAct = &Actor{Subject: party.Actor, Issuer: party.ActorIssuer}
	}
	return l
}
