package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Token types (RFC 8693 §3).
const (
	typeAccessToken = "urn:ietf:params:oauth:token-type:access_token"
	typeJWT         = "urn:ietf:params:oauth:token-type:jwt"
	typeIDToken     = "urn:ietf:params:oauth:token-type:id_token"
)

// A derivation is the common part of the grants that make a token of other tokens: token exchange (RFC 8693) and embedded
// tokens (draft-yusef-oauth-nested-jwt-08).
type derivation struct {
	*Provider
	r *tokenRequest

	user   storage.User   // the subject; zero for a service
	device storage.Device // of the subject
}

// derive makes the checks of both grants, and then a token from the claims that from returns.
func (d *derivation) derive(ctx context.Context, from func(context.Context) (claims.Set, error)) (*token, error) {
	if d.r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	if t := d.r.Form.Get("requested_token_type"); t != "" && t != typeAccessToken {
		return nil, refuse(CodeInvalidRequest,
			"The requested_token_type must be "+typeAccessToken+found(d.r.Form, "requested_token_type")+".")
	}
	set, err := from(ctx)
	if err != nil {
		return nil, err
	}
	if set.JTI, err = d.newGrantID(); err != nil {
		return nil, err
	}
	return &token{claims: set, user: d.user, issuedType: typeAccessToken}, nil
}

// subjectToken opens an access token of this server from which another token is to be made.
func (d *derivation) subjectToken(ctx context.Context, text string) (*statements.Token, error) {
	t, err := d.statements.OpenToken(ctx, text)
	switch {
	case errors.Is(err, statements.ErrChained):
		return nil, errChained
	case errors.Is(err, statements.ErrInactive):
		return nil, errSubject
	}
	return t, err
}

// narrower makes a token from the client's own one, with at most its rights and its life.
func (d *derivation) narrower(ctx context.Context, t *statements.Token) (claims.Set, error) {
	if !d.holds(t) {
		return claims.Set{}, errSubjectKey
	}
	set := t.Claims
	d.user, d.device = t.User, t.Device
	var err error
	if set.Scope, err = d.narrowedScope(set.Scope); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = d.narrowedAudience(set.Audience); err != nil {
		return claims.Set{}, err
	}
	if err := d.stillRegistered(t.User, set); err != nil {
		return claims.Set{}, err
	}
	describeScope(&set)
	d.setLifetime(&set, t.Claims.Expires)
	if set.Tokens == nil {
		return set, nil
	}
	// The enclosed tokens stay, and limit the new token.
	along, err := d.along()
	if err != nil {
		return claims.Set{}, err
	}
	if _, err := d.checkNested(ctx, set, along); err != nil {
		return claims.Set{}, embedded(err)
	}
	return set, nil
}

// holds reports whether a token is the client's own and bound to the key of the proof.
func (d *derivation) holds(t *statements.Token) bool {
	return t.Claims.ClientID == d.r.client.ID && t.Claims.JKT == d.r.proof.JKT
}

// stillRegistered refuses scopes and audiences that a client could not be given any more: its registration may have shrunk
// since the token was issued.
func (d *derivation) stillRegistered(user storage.User, set claims.Set) error {
	client := d.r.client
	if !set.Service() && !slices.Contains(client.Domains, user.Domain) {
		return errAbroad
	}
	for s := range strings.FieldsSeq(set.Scope) {
		if !client.HasScope(s) {
			return refuse(CodeInvalidScope,
				"The client is no longer registered for the scope "+named(s)+" of the subject_token: ask for fewer.")
		}
	}
	_, err := d.audience(client, user.Domain, set.Audience)
	return err
}

// setLifetime sets iat and exp. The token expires after the usual lifetime, or at the earliest of ends if that is sooner.
func (d *derivation) setLifetime(set *claims.Set, ends ...time.Time) {
	set.IssuedAt = d.r.at.Truncate(time.Second)
	set.Expires = d.r.at.Add(d.lifetimes.Access).Truncate(time.Second)
	for _, end := range ends {
		set.Expires = earliest(set.Expires, end)
	}
}

// targets returns the audiences that a request names (RFC 8707 §2, RFC 8693 §2.1), each once.
func (d *derivation) targets() (list []string) {
	for _, target := range slices.Concat(d.r.Form["resource"], d.r.Form["audience"]) {
		if !slices.Contains(list, target) {
			list = append(list, target)
		}
	}
	return list
}

// narrowedAudience returns the audiences that a request names, which must be some of those of the subject_token; all if it
// names none.
func (d *derivation) narrowedAudience(audience []string) ([]string, error) {
	targets := d.targets()
	if len(targets) == 0 {
		return audience, nil
	}
	for _, target := range targets {
		if !slices.Contains(audience, target) {
			return nil, refuse(CodeInvalidTarget,
				"The subject_token is not for the resource "+named(target)+". It is for: "+listed(audience)+".")
		}
	}
	return targets, nil
}

// narrowedScope returns the scope that a request asks for, all of which must be in scope; scope itself if it asks for none.
func (d *derivation) narrowedScope(scope string) (string, error) {
	asked := scopeList(d.r.Form.Get("scope"))
	if len(asked) == 0 {
		return scope, nil
	}
	for _, s := range asked {
		if !slices.Contains(strings.Fields(scope), s) {
			return "", refuse(CodeInvalidScope,
				"The scope "+named(s)+" cannot be granted here. These can: "+listed(strings.Fields(scope))+".")
		}
	}
	return strings.Join(asked, " "), nil
}

// describeScope removes handle and device from a token whose scope does not cover them. A token that is for credentials and for this
// server alone has the device, for which they are.
func describeScope(set *claims.Set) {
	words := strings.Fields(set.Scope)
	credentials := slices.Contains(words, ScopeCredential) && slices.Equal(set.Audience, []string{set.Issuer})
	if !slices.Contains(words, ScopeHandle) {
		set.Handle = ""
	}
	if !slices.Contains(words, ScopeDevice) && !credentials {
		set.Device = ""
	}
}

// along returns the tokens that the request sends for entries that name a token by its digest.
func (d *derivation) along() ([]string, error) {
	raw := d.r.Form.Get("im_along")
	if raw == "" {
		return nil, nil
	}
	var list []string
	if err := json.Unmarshal([]byte(raw), &list); err != nil {
		return nil, refuse(CodeInvalidRequest, "The parameter im_along must be a JSON array of tokens.")
	}
	return list, nil
}

// checkNested checks a token that is about to be signed by the rules of package nested, and returns its layers. It judges at
// the time of the request, however long that takes.
func (d *derivation) checkNested(ctx context.Context, set claims.Set, along []string) (*nested.Tree, error) {
	var err error
	if set.JTI, err = d.newGrantID(); err != nil { // it must differ from the jti of every layer inside
		return nil, err
	}
	o := d.statements.Options()
	o.Audience, o.Along, o.Now = set.Audience, along, func() time.Time { return d.r.at }
	return nested.Check(ctx, set, o)
}
