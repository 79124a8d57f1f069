package introspect

import (
	"encoding/json"
	"time"

	"github.com/imidentity/issuer/claims"
)

// An Answer is the answer to an introspection request (RFC 7662 §2.2). The zero Answer is that for every token that is
// not active; it is written as {"active":false}.
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
	// Holder is unverified: the answer says nothing about who showed the token.
	Holder string `json:"holder,omitempty"`
	// Actor is who acts for the subject (RFC 8693 §4.1); nil if nobody does.
	Actor *Actor `json:"act,omitempty"`
	// Tokens are the tokens that it encloses, outer before inner.
	Tokens []Layer `json:"tokens,omitempty"`

	// Reason is why a token is not active, for callers that may know, and Path which enclosed token is at fault.
	Reason Reason `json:"-"`
	Path   string `json:"-"`
}

// An Actor is who acts for the subject of a token.
type Actor struct {
	Subject  string `json:"sub"`
	Issuer   string `json:"iss,omitempty"`
	ClientID string `json:"client_id,omitempty"`
	// Actor is who acted before.
	Actor *Actor `json:"act,omitempty"`
}

func newActor(a *claims.Actor) *Actor {
	if a == nil {
		return nil
	}
	return &Actor{a.Subject, a.Issuer, a.ClientID, newActor(a.Actor)}
}

// MarshalJSON writes {"active":false} for a token that is not active, and the reason and path if there are any.
func (a Answer) MarshalJSON() ([]byte, error) {
	if !a.Active {
		return json.Marshal(struct {
			Active bool   `json:"active"`
			Reason Reason `json:"reason,omitempty"`
			Path   string `json:"path,omitempty"`
		}{false, a.Reason, a.Path})
	}
	type members Answer
	return json.Marshal(members(a))
}

// A Confirmation is the cnf of a token (RFC 7800).
type Confirmation struct {
	JKT string `json:"jkt"` // RFC 7638 thumbprint, SHA-256, base64url
}

// Audience is an aud: one value is written as a string, several as an array (RFC 7519 §4.1.3).
type Audience []string

// MarshalJSON writes the audience.
func (a Audience) MarshalJSON() ([]byte, error) {
	if len(a) == 1 {
		return json.Marshal(a[0])
	}
	return json.Marshal([]string(a))
}

// whole returns the claims of the token, where those about rights, time and login are the least of all that it encloses.
func (t *token) whole() claims.Set {
	set := t.Set
	if t.tree == nil {
		return set
	}
	least := t.tree.Assurance
	set.Scope, set.Expires = t.tree.Scope, t.tree.Until
	set.ACR, set.AMR, set.AuthTime = least.ACR, least.AMR, time.Time{}
	if least.AuthTime != nil {
		set.AuthTime = *least.AuthTime
	}
	return set
}

// answer says what an active token is.
func (i *Introspector) answer(t *token, now time.Time) Answer {
	set := t.whole()
	left := int64(set.Expires.Sub(now) / time.Second)
	a := Answer{
		Active: true, Issuer: t.Issuer, Subject: t.Subject, Username: t.username, Handle: t.Handle, Device: t.Device,
		Audience: t.Audience, ClientID: t.ClientID, Scope: set.Scope, ExpiresAt: set.Expires.Unix(), IssuedAt: t.IssuedAt.Unix(),
		JTI: t.JTI, ACR: set.ACR, SID: t.SID, TokenType: "Bearer",
		ExpiresIn: left, MaxAge: min(left, int64(i.cfg.MaxAge/time.Second)), Holder: "unverified",
		Actor: newActor(t.Actor), Tokens: t.layers(),
	}
	if !set.AuthTime.IsZero() {
		a.AuthTime = set.AuthTime.Unix()
	}
	if t.JKT != "" {
		a.Confirmation, a.TokenType = &Confirmation{t.JKT}, "DPoP"
	}
	return a
}
