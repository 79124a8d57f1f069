// Package chaining makes and checks the authorization grants of identity chaining (draft-ietf-oauth-identity-chaining-17): a user of
// one domain gets a token of the issuer of another domain. The home issuer of the user signs a [Grant] for the other issuer, which
// the client presents there as an assertion (RFC 7523 §2.1).
//
// [Grant.Claims] are the claims of a grant to sign, with the header typ im-authz-grant+jwt. [Parse] reads a grant that a client
// presents, [Grant.Check] checks it for one issuer, client and key, and only [Grant.Verify] shows that its issuer made it. The caller
// decides which issuers it trusts for which domains, and accepts each grant once: it stores [Grant.ID] until [Grant.SpentUntil].
//
// A grant is about a user alone: it names no actor and encloses no tokens. It is bound to the key of the client, so that nobody else
// can use a copy.
package chaining

import (
	"context"
	"crypto/sha256"
	"errors"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// TokenType is the requested_token_type and issued_token_type of a grant (RFC 8693 §3).
const TokenType = "urn:ietf:params:oauth:token-type:jwt"

const (
	// Life is how long a grant is valid that an issuer makes by this package. The client presents it at once.
	Life = time.Minute
	// MaxLife is the longest life of an accepted grant.
	MaxLife = 5 * time.Minute
	// Leeway is by how much the clocks of the two issuers may differ.
	Leeway = time.Minute

	maxSize = 8 << 10
	maxJTI  = 255
)

// A Grant holds the claims of an authorization grant.
type Grant struct {
	Issuer  string // iss: the home issuer of the user
	Subject string // sub: the URI of the user
	Handle  string // handle: a URI; may be absent
	Device  string // device: a URI; may be absent
	// Audience is aud: the URL of the other issuer, alone.
	Audience string
	ClientID string // client_id: the client as the other issuer knows it
	Scope    string // scope: words separated by spaces
	JTI      string // jti
	IssuedAt time.Time
	Expires  time.Time
	AuthTime time.Time // auth_time: when the user logged in; may be absent
	ACR      string    // acr; may be absent
	AMR      []string  // amr; may be absent
	JKT      string    // cnf.jkt: the thumbprint of the client's key

	set    claims.Set // of a grant that was read
	domain string
	jws    *jose.JWS
}

// AppendClaims appends the claims to b as one JSON object. Times are whole seconds.
func (g *Grant) AppendClaims(b []byte) []byte {
	set := g.Claims()
	return set.AppendJSON(b)
}

// Claims returns the claims as a set.
func (g *Grant) Claims() claims.Set {
	return claims.Set{
		Issuer: g.Issuer, Subject: g.Subject, Handle: g.Handle, Device: g.Device, Audience: []string{g.Audience}, ClientID: g.ClientID,
		Scope: g.Scope, JTI: g.JTI, IssuedAt: g.IssuedAt, Expires: g.Expires, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, JKT: g.JKT,
	}
}

// An Error names the part of a grant that was refused. Its text contains nothing of the grant.
type Error struct {
	Part string // "typ", "aud", "exp", ...
	Err  error
}

func (e *Error) Error() string {
	return "chaining: " + e.Part + ": " + strings.TrimPrefix(e.Err.Error(), "claims: ")
}

// Unwrap returns the fault itself.
func (e *Error) Unwrap() error { return e.Err }

func refuse(part, words string) *Error { return &Error{part, errors.New(words)} }

// Parse reads a grant and makes the checks that need no key, time or server: it is one compact JWS of the type of grants, which names
// its key by kid, and it has the claims of a grant about a user. The error is an [*Error].
func Parse(token string) (*Grant, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxSize})
	if err != nil {
		parse := err.(*jose.ParseError)
		return nil, &Error{parse.Part, parse.Err}
	}
	switch {
	case jws.Header.Typ != jose.TypeAuthorizationGrant: // RFC 8725 §3.11
		return nil, refuse("typ", "must be "+jose.TypeAuthorizationGrant)
	case jws.Header.Kid == "":
		return nil, refuse("kid", "missing")
	case jws.Header.JWK != nil: // RFC 8725 §3.10
		return nil, refuse("jwk", "a grant cannot say by itself which key to trust")
	}
	g := &Grant{jws: jws}
	if g.set, err = claims.ParseSet(jws.Payload); err != nil {
		return nil, &Error{"payload", err}
	}
	if err := g.read(); err != nil {
		return nil, err
	}
	return g, nil
}

// read takes the claims of a grant from its set.
func (g *Grant) read() *Error {
	s := &g.set
	switch {
	case len(s.Audience) != 1:
		return refuse("aud", "must be exactly one value: the URL of the issuer that the grant is for")
	case s.JKT == "": // RFC 9449 §6.1; the other claims are those of every access token
		return refuse("cnf", "missing: a grant is bound to a key")
	case s.Service():
		return refuse("sub", "a client, where a user is expected")
	case len(s.JTI) > maxJTI:
		return refuse("jti", "longer than 255 bytes")
	}
	for _, c := range []struct {
		name  string
		there bool
	}{
		{"act", s.Actor != nil}, {"may_act", s.MayAct != nil}, {"tokens", s.Tokens != nil}, {"home_iss", s.HomeIss != ""},
		{"status", s.Status != nil}, {"njwt", jose.ReadMembers(g.jws.Payload, jose.Member{Name: "njwt", Read: present}) != nil},
	} {
		if c.there {
			return refuse(c.name, "not a claim of a grant, which is about a user alone")
		}
	}
	id, err := s.Identity()
	if claim := (*claims.ClaimError)(nil); errors.As(err, &claim) {
		return &Error{claim.Claim, claim.Err}
	}
	g.domain = id.User.Domain()
	*g = Grant{
		Issuer: s.Issuer, Subject: s.Subject, Handle: s.Handle, Device: s.Device, Audience: s.Audience[0], ClientID: s.ClientID,
		Scope: s.Scope, JTI: s.JTI, IssuedAt: s.IssuedAt, Expires: s.Expires, AuthTime: s.AuthTime, ACR: s.ACR, AMR: s.AMR, JKT: s.JKT,
		set: g.set, domain: g.domain, jws: g.jws,
	}
	return nil
}

var errPresent = errors.New("present")

func present([]byte) error { return errPresent }

// Domain returns the domain of the user, of the handle and of the device. They are the same after [Grant.Check].
func (g *Grant) Domain() string { return g.domain }

// Options are what a grant is checked for.
type Options struct {
	// Issuer is the URL of the issuer to which the grant is presented. Required.
	Issuer string
	// ClientID is the client that presents it, and JKT the thumbprint of the key of the client's proof. Required.
	ClientID, JKT string
	// Now is the time of the check. Required.
	Now time.Time
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
}

// Check checks issuer, audience, client, key and times of the grant (RFC 7523 §3), and that user, handle and device belong together.
// Aud must be the URL of the issuer: endpoint URLs are not accepted, because another server can publish our token endpoint as its
// own. The error is an [*Error].
func (g *Grant) Check(o Options) error {
	err := g.set.Validate(claims.Expect{
		Issuer: g.Issuer, Audience: o.Issuer, Domains: []string{g.domain}, Now: o.Now, Leeway: Leeway, Development: o.Development,
	})
	if claim := (*claims.ClaimError)(nil); errors.As(err, &claim) {
		return &Error{claim.Claim, claim.Err}
	}
	switch {
	case g.Issuer == o.Issuer:
		return refuse("iss", "is the issuer to which the grant is presented, which makes none for itself")
	case g.Expires.Sub(g.IssuedAt) > MaxLife:
		return refuse("exp", "more than 5 minutes after iat")
	case g.ClientID != o.ClientID:
		return refuse("client_id", "not the client that presents the grant")
	case g.JKT != o.JKT:
		return refuse("cnf", "not the key of the proof")
	}
	return nil
}

// Verify verifies the signature with a key of the issuer of the grant. The error is an [*Error] if the issuer is not trusted or did
// not make the signature. Any other error means that this cannot be known now.
func (g *Grant) Verify(ctx context.Context, keys nested.KeySource) error {
	_, _, err := nested.VerifyIssued(ctx, keys, g.Issuer, g.jws.Header.Kid, g.jws.Verify)
	switch {
	case errors.Is(err, claims.ErrIssuer):
		return &Error{"iss", errors.New("not a trusted issuer, or it publishes no such key")}
	case errors.Is(err, nested.ErrSignature):
		return refuse("signature", "not made by the issuer")
	}
	return err
}

// ID identifies the grant among those of all issuers.
func (g *Grant) ID() [32]byte { return sha256.Sum256([]byte(g.Issuer + "\x00" + g.JTI)) } // no URL of a peer holds a zero byte

// SpentUntil is the time until which the ID of a used grant must be stored. From then on, the grant has expired.
func (g *Grant) SpentUntil() time.Time { return g.Expires.Add(Leeway) }
