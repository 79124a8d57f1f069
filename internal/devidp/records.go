package devidp

import (
	"crypto/ecdsa"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// request is one login, from the authorization request until its access token expires. It implements [op.AuthRequest].
type request struct {
	id       string
	in       *oidc.AuthRequest // never changed
	expires  time.Time
	person   Person // this and the next two fields are set by the login
	sid      string
	authTime time.Time
}

func (r request) GetID() string                      { return r.id }
func (r request) GetACR() string                     { return "" }
func (r request) GetAMR() []string                   { return []string{"pwd"} }
func (r request) GetAudience() []string              { return []string{r.in.ClientID} }
func (r request) GetAuthTime() time.Time             { return r.authTime }
func (r request) GetClientID() string                { return r.in.ClientID }
func (r request) GetNonce() string                   { return r.in.Nonce }
func (r request) GetRedirectURI() string             { return r.in.RedirectURI }
func (r request) GetResponseType() oidc.ResponseType { return r.in.ResponseType }
func (r request) GetResponseMode() oidc.ResponseMode { return r.in.ResponseMode }
func (r request) GetScopes() []string                { return r.in.Scopes }
func (r request) GetState() string                   { return r.in.State }
func (r request) GetSubject() string                 { return r.person.Subject }
func (r request) Done() bool                         { return !r.authTime.IsZero() }

func (r request) GetCodeChallenge() *oidc.CodeChallenge {
	if r.in.CodeChallenge == "" {
		return nil
	}
	return &oidc.CodeChallenge{Challenge: r.in.CodeChallenge, Method: r.in.CodeChallengeMethod}
}

// describe fills in those claims of the user that the scopes allow.
func (r request) describe(info *oidc.UserInfo) {
	info.Subject = r.person.Subject
	if slices.Contains(r.in.Scopes, oidc.ScopeProfile) {
		info.PreferredUsername, info.Name = r.person.Username, r.person.Name
	}
	if slices.Contains(r.in.Scopes, oidc.ScopeEmail) {
		info.Email, info.EmailVerified = r.person.Email, true
	}
}

// client implements [op.Client].
type client struct{ Client }

func (c client) GetID() string                       { return c.ID }
func (c client) RedirectURIs() []string              { return c.Client.RedirectURIs }
func (c client) PostLogoutRedirectURIs() []string    { return nil }
func (c client) ApplicationType() op.ApplicationType { return op.ApplicationTypeWeb }
func (c client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c client) GrantTypes() []oidc.GrantType                                 { return []oidc.GrantType{oidc.GrantTypeCode} }
func (c client) LoginURL(id string) string                                    { return loginPath + "?id=" + id }
func (c client) AccessTokenType() op.AccessTokenType                          { return op.AccessTokenTypeBearer }
func (c client) IDTokenLifetime() time.Duration                               { return tokenLife }
func (c client) DevMode() bool                                                { return false }
func (c client) IsScopeAllowed(string) bool                                   { return false }
func (c client) IDTokenUserinfoClaimsAssertion() bool                         { return true }
func (c client) ClockSkew() time.Duration                                     { return 0 }
func (c client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return slices.Clone }
func (c client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return slices.Clone }

func (c client) AuthMethod() oidc.AuthMethod {
	if c.Secret == "" {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

// signingKey implements [op.SigningKey].
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

// publicKey implements [op.Key].
type publicKey struct{ signingKey }

func (k publicKey) Key() any                           { return k.private.Public() }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return k.SignatureAlgorithm() }
func (k publicKey) Use() string                        { return "sig" }
