package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/chaining"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statements"
)

// Refusals of authorization grants for other issuers.
var (
	errChained = refuse(CodeInvalidRequest, "The token was made by identity chaining, for resources of this issuer alone: "+
		"send the user's token of the home issuer to that issuer.")
	errChainsActor = refuse(CodeInvalidRequest, "An authorization grant is about the user alone: send the user's own token, which names "+
		"no actor and encloses no tokens, as the only token.")
	errChainsService = refuse(CodeInvalidRequest, "The subject_token is a service's: an authorization grant is about a user. "+
		"A service requests a token for the other issuer with client_credentials.")
	errChainsWhere = refuse(CodeInvalidTarget, "Name one issuer that the authorization grant is for: by its URL as resource, or by "+
		"the URI of its domain as audience.")
	errChainsNoPeer = refuse(CodeInvalidTarget, "The client may not get authorization grants for this issuer: it is not a peer, "+
		"is suspended, or does not list the client (peers[].chaining.give).")
)

// chainedScopes are the scopes that a user can have at another issuer: what they are called. All others are about the endpoints of the
// issuer that gave them.
const chainedScopes = ScopeHandle + " " + ScopeDevice

// authorizationGrant makes an authorization grant for another issuer from the client's own token of a user
// (draft-ietf-oauth-identity-chaining-17 §2.3). The token must be active, and the client must hold its key (§5.3).
func (g *exchangeGrant) authorizationGrant(ctx context.Context) (*token, error) {
	form := g.r.Form
	if g.r.proof == nil {
		return nil, dpop.ErrNoProof
	}
	to, as, err := g.destination(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case form.Get("subject_token") == "":
		return nil, refuse(CodeInvalidRequest, "The parameter subject_token is missing.")
	case form.Get("subject_token_type") != typeAccessToken:
		return nil, refuse(CodeInvalidRequest,
			"The subject_token_type must be "+typeAccessToken+" for an authorization grant"+found(form, "subject_token_type")+".")
	case form.Has("actor_token"), form.Has("actor_token_type"), form.Has("im_evidence"), form.Has("im_along"):
		return nil, errChainsActor
	}
	t, err := g.subjectToken(ctx, form.Get("subject_token"))
	if err != nil {
		return nil, err
	}
	if err := g.mayChain(t); err != nil {
		return nil, err
	}
	scope, err := g.narrowedScope(common(t.Claims.Scope, chainedScopes))
	if err != nil {
		return nil, err
	}
	for s := range strings.FieldsSeq(scope) {
		if !g.r.client.HasScope(s) {
			return nil, refuse(CodeInvalidScope,
				"The client is no longer registered for the scope "+named(s)+" of the subject_token: ask for fewer.")
		}
	}
	id, err := g.accounts.Identify(t.User, t.Device)
	if err != nil {
		return nil, err
	}
	made := chaining.Grant{
		Issuer: g.issuer, Subject: id.User, Handle: id.Handle, Device: id.Device, Audience: to, ClientID: as, Scope: scope,
		IssuedAt: g.r.at.Truncate(time.Second), AuthTime: t.Claims.AuthTime, ACR: t.Claims.ACR, AMR: t.Claims.AMR, JKT: g.r.proof.JKT,
	}
	made.Expires = earliest(made.IssuedAt.Add(chaining.Life), t.Claims.Expires)
	if made.JTI, err = g.newGrantID(); err != nil {
		return nil, err
	}
	set := made.Claims()
	describeScope(&set)
	g.r.event = &audit.Event{
		Kind: audit.ChainingGranted, Actor: audit.ActorClient, Domain: t.User.Domain, User: t.User.ID, Device: t.Device.ID,
		Client: g.r.client.ID, Session: t.Claims.SID, Peer: to, Address: g.r.Source,
	}
	return &token{claims: set, user: t.User, issuedType: typeJWT, typ: jose.TypeAuthorizationGrant}, nil
}

// destination returns the issuer that the request names, and the id of the client there.
func (g *exchangeGrant) destination(ctx context.Context) (issuer, as string, err error) {
	targets := g.targets()
	if len(targets) == 0 {
		return "", "", refuse(CodeInvalidRequest, "The requested_token_type must be "+typeAccessToken+
			found(g.r.Form, "requested_token_type")+". A JWT is an authorization grant for another issuer: name that by resource.")
	}
	if len(targets) > 1 || targets[0] == "" {
		return "", "", errChainsWhere
	}
	issuer, as, err = g.peers.Give(ctx, targets[0], g.r.client.ID)
	if errors.Is(err, claims.ErrIssuer) {
		return "", "", errChainsNoPeer
	}
	return issuer, as, err
}

// mayChain refuses a token that is not the user's own, or not the client's.
func (g *exchangeGrant) mayChain(t *statements.Token) error {
	switch {
	case !g.holds(t):
		return errSubjectKey
	case t.Claims.Service():
		return errChainsService
	case t.Claims.Actor != nil, t.Claims.Tokens != nil:
		return errChainsActor
	case !slices.Contains(g.r.client.Domains, t.User.Domain):
		return errAbroad
	}
	return nil
}
