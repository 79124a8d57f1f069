package oauth

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ory/fosite"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
)

// Token types (RFC 8693 §3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
)

// extension is the token endpoint's handler of the grants that make a token of other tokens: token exchange (RFC 8693) and
// embedded tokens (draft-yusef-oauth-nested-jwt-08).
type extension struct{ *Provider }

func (*extension) CanSkipClientAuth(context.Context, fosite.AccessRequester) bool { return false }

func (*extension) CanHandleTokenEndpointRequest(_ context.Context, r fosite.AccessRequester) bool {
	return r.GetGrantTypes().HasOneOf(GrantExchange, GrantEmbed)
}

// HandleTokenEndpointRequest finds out what the token will say. The proof is spent last of all.
func (e *extension) HandleTokenEndpointRequest(ctx context.Context, r fosite.AccessRequester) error {
	f := flowOf(ctx)
	if f.proof == nil {
		return dpop.ErrNoProof
	}
	if t := f.form.Get("requested_token_type"); t != "" && t != typeAccessToken {
		return refuse(CodeInvalidRequest, "The requested_token_type must be "+typeAccessToken+found(f.form, "requested_token_type")+".")
	}
	make := e.exchange
	if r.GetGrantTypes()[0] == GrantEmbed {
		make = e.embed
	}
	set, err := make(ctx, f)
	if err != nil {
		return err
	}
	if set.JTI, err = e.newGrantID(); err != nil {
		return err
	}
	f.claims, f.expires = &set, set.Expires
	f.scopes, f.audience = strings.Fields(set.Scope), set.Audience
	if f.user.ID != "" && set.Actor == nil { // what an actor asks is not hers to pay for
		if err := e.limiter.User(f.user, f.client.ID); err != nil {
			return err
		}
	}
	return e.spend(ctx, f)
}

func (e *extension) PopulateTokenEndpointResponse(ctx context.Context, r fosite.AccessRequester, answer fosite.AccessResponder) error {
	if !e.CanHandleTokenEndpointRequest(ctx, r) {
		return fosite.ErrUnknownRequest // fosite asks every handler
	}
	f := flowOf(ctx)
	token, err := e.issue(f)
	if err != nil {
		return err
	}
	if err := f.commit(ctx, e.store); err != nil {
		return err
	}
	answer.SetAccessToken(token)
	answer.SetTokenType(f.tokenType())
	answer.SetExpiresIn(f.expires.Sub(f.now))
	answer.SetScopes(f.scopes)
	answer.SetExtra("issued_token_type", typeAccessToken)
	return nil
}

// lifetime sets when a token was made and when it ends: after the usual time, and never after any of ends.
func (p *Provider) lifetime(f *flow, set *claims.Set, ends ...time.Time) {
	set.IssuedAt = f.now.Truncate(time.Second)
	set.Expires = f.now.Add(p.lifetimes.Access).Truncate(time.Second)
	for _, end := range ends {
		set.Expires = earliest(set.Expires, end)
	}
}

// targets are the audiences that a request names (RFC 8707 §2, RFC 8693 §2.1), each once.
func (f *flow) targets() (list []string) {
	for _, target := range slices.Concat(f.form["resource"], f.form["audience"]) {
		if !slices.Contains(list, target) {
			list = append(list, target)
		}
	}
	return list
}

// narrowed returns the scope that a request asks for, all of which must be in scope; scope itself if it asks for none.
func (f *flow) narrowed(scope string) (string, error) {
	asked := scopeList(f.form.Get("scope"))
	if len(asked) == 0 {
		return scope, nil
	}
	for _, s := range asked {
		if !slices.Contains(strings.Fields(scope), s) {
			return "", refuse(CodeInvalidScope, "The scope "+named(s)+" cannot be granted here. These can: "+listed(strings.Fields(scope))+".")
		}
	}
	return strings.Join(asked, " "), nil
}

// describeScope takes from a token about a user what its scope does not cover.
func describeScope(set *claims.Set) {
	words := strings.Fields(set.Scope)
	if !slices.Contains(words, ScopeHandle) {
		set.Handle = ""
	}
	if !slices.Contains(words, ScopeDevice) {
		set.Device = ""
	}
}

// checkNested holds what is about to be signed to the rules of package nested, and returns what it would say. It is made at
// the time of the request, and so judged at that time, however long it takes.
func (p *Provider) checkNested(ctx context.Context, f *flow, set claims.Set, along []string) (*nested.Tree, error) {
	var err error
	if set.JTI, err = p.newGrantID(); err != nil { // what it will be called differs from all inside, too
		return nil, err
	}
	o := p.opening()
	o.Audience, o.Along, o.Now = set.Audience, along, func() time.Time { return f.now }
	return nested.Check(ctx, set, o)
}
