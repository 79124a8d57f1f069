package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// Refusals of token exchange (RFC 8693 §2.2.2).
var (
	errSubject     = refuse(CodeInvalidRequest, "The subject_token is not valid: it is expired, revoked, or not one of this server's.")
	errSubjectKey  = refuse(CodeInvalidRequest, "The subject_token is another client's, or bound to another key than that of the proof.")
	errActor       = refuse(CodeInvalidRequest, "The actor_token is not valid: it is expired, revoked, or not one of this server's.")
	errActorKey    = refuse(CodeInvalidRequest, "The actor_token is another client's, or bound to another key than that of the proof.")
	errActorActs   = refuse(CodeInvalidRequest, "The actor_token is of one who acts for somebody else: send the actor's own token.")
	errActorNested = refuse(CodeInvalidRequest, "The actor_token encloses tokens: send the actor's own token alone.")
	errActorNotLet = refuse(CodeInvalidRequest, "The subject_token does not let this actor act: its may_act names another, or nobody.")
	errAbroad      = refuse(CodeInvalidRequest,
		"The subject is of a domain that this server does not issue in, or that the client is not registered for.")
)

// An exchangeGrant makes a token from another one (RFC 8693). Without an actor it is a narrower token for the same key. With an
// actor it is a token about the subject that names the actor. If the client requests a JWT, it is an authorization grant for another
// issuer; if it requests a CWT, the same token in that form.
type exchangeGrant struct{ derivation }

func (g *exchangeGrant) check(ctx context.Context, _ Reader) (*token, error) {
	switch g.r.Form.Get("requested_token_type") {
	case typeJWT:
		return g.authorizationGrant(ctx)
	case TypeCWT:
		return g.twin(ctx)
	}
	return g.derive(ctx, g.exchange)
}

// commit has nothing to write: the token is not stored.
func (*exchangeGrant) commit(context.Context, storage.Tx) error { return nil }

func (g *exchangeGrant) exchange(ctx context.Context) (claims.Set, error) {
	subject, actor := g.r.Form.Get("subject_token"), g.r.Form.Get("actor_token")
	switch evidence := g.r.Form.Get("im_evidence"); {
	case subject == "":
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameter subject_token is missing.")
	case (actor == "") != (g.r.Form.Get("actor_token_type") == ""):
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameters actor_token and actor_token_type go together.")
	case actor != "" && g.r.Form.Get("actor_token_type") != typeAccessToken:
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The actor_token_type must be "+typeAccessToken+found(g.r.Form, "actor_token_type")+".")
	case evidence != "" && evidence != "true" && evidence != "false":
		return claims.Set{}, refuse(CodeInvalidRequest, "The im_evidence must be true or false"+found(g.r.Form, "im_evidence")+".")
	case actor == "" && evidence == "true":
		return claims.Set{}, refuse(CodeInvalidRequest, "im_evidence goes with an actor_token: without one there is nothing to show.")
	}
	switch g.r.Form.Get("subject_token_type") {
	case typeAccessToken:
		t, err := g.subjectToken(ctx, subject)
		if err != nil {
			return claims.Set{}, err
		}
		if actor == "" {
			return g.narrower(ctx, t)
		}
		return g.forSubject(ctx, t)
	case typeJWT:
		if actor == "" {
			return claims.Set{}, refuse(CodeInvalidRequest,
				"The subject_token lets somebody act: send the actor's own token as actor_token.")
		}
		return g.byStatement(ctx, subject)
	}
	return claims.Set{}, refuse(CodeInvalidRequest,
		"The subject_token_type must be "+typeAccessToken+", for an ID token "+typeIDToken+" or, for a grant to an actor, "+typeJWT+
			found(g.r.Form, "subject_token_type")+".")
}

// evidence reports whether the client wants the grant of the subject embedded.
func (g *exchangeGrant) evidence() bool { return g.r.Form.Get("im_evidence") == "true" }

// actorOf opens the actor's own token. It also returns the actor that `act` will name.
func (g *exchangeGrant) actorOf(ctx context.Context) (*statements.Token, *claims.Actor, error) {
	t, err := g.statements.OpenToken(ctx, g.r.Form.Get("actor_token"))
	switch {
	case errors.Is(err, statements.ErrInactive):
		return nil, nil, errActor
	case err != nil:
		return nil, nil, err
	case !g.holds(t):
		return nil, nil, errActorKey
	case t.Claims.Actor != nil:
		// The actor may act for its subject, but not for those for whom that subject may act.
		return nil, nil, errActorActs
	case t.Claims.Tokens != nil:
		// The enclosed tokens would limit it, and it may depend on more than the session that act names.
		return nil, nil, errActorNested
	}
	act := &claims.Actor{Subject: t.Claims.Subject, Issuer: g.issuer}
	if t.Claims.Service() {
		act.ClientID = t.Claims.ClientID
	} else {
		act.SID = t.Claims.SID
	}
	return t, act, nil
}

// isParty reports whether an actor is the party that a may_act or a grant names. A client id means something with its issuer only.
func (p *Provider) isParty(act *claims.Actor, party, issuer string) bool {
	return act.Subject == party && (issuer == p.issuer || issuer == "" && act.ClientID == "")
}

// forSubject makes a token about the subject of an access token that names the actor in may_act.
func (g *exchangeGrant) forSubject(ctx context.Context, t *statements.Token) (claims.Set, error) {
	actor, act, err := g.actorOf(ctx)
	if err != nil {
		return claims.Set{}, err
	}
	if t.Claims.MayAct == nil || t.Claims.Service() || !g.isParty(act, t.Claims.MayAct.Subject, t.Claims.MayAct.Issuer) {
		return claims.Set{}, errActorNotLet
	}
	if t.Claims.Tokens != nil {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token encloses tokens: send the one that it was made of.")
	}
	if g.evidence() {
		return claims.Set{}, refuse(CodeInvalidRequest,
			"An access token is never embedded as evidence: send the grant of the subject as subject_token.")
	}
	g.user = t.User
	if !slices.Contains(g.r.client.Domains, t.User.Domain) {
		return claims.Set{}, errAbroad
	}
	set := t.Claims
	set.MayAct, set.Device = nil, ""
	// A credential is for a device of the user, never for an actor.
	own := slices.DeleteFunc(strings.Fields(set.Scope), func(s string) bool { return s == ScopeCredential })
	if set.Scope, err = g.narrowedScope(strings.Join(own, " ")); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = g.narrowedAudience(set.Audience); err != nil {
		return claims.Set{}, err
	}
	if _, err := g.audience(g.r.client, g.user.Domain, set.Audience); err != nil {
		return claims.Set{}, err
	}
	return g.actFor(set, actor, act)
}

// byStatement makes a token about a user whose grant lets the actor act for them.
func (g *exchangeGrant) byStatement(ctx context.Context, statement string) (claims.Set, error) {
	actor, act, err := g.actorOf(ctx)
	if err != nil {
		return claims.Set{}, err
	}
	o := g.statements.Options(nested.TypeActor)
	if o.Along, err = g.along(); err != nil {
		return claims.Set{}, err
	}
	tree, err := nested.Open(ctx, statement, o)
	var refused *nested.Error
	if errors.As(err, &refused) {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token is not valid: "+strings.TrimPrefix(plain(err), "nested: "))
	} else if err != nil {
		return claims.Set{}, err
	}
	grant := tree.Root.Statement
	if !g.isParty(act, grant.Party, grant.PartyIssuer) {
		return claims.Set{}, errActorNotLet
	}
	if g.user, err = g.subject(ctx, g.r.client, grant.Subject); err != nil {
		return claims.Set{}, err
	}
	// root becomes the statement that this server can withdraw: the grant itself, or the delegation if the user's key signed it.
	root := tree.Root
	for root.Issuer != g.issuer && len(root.Inner) > 0 {
		root = root.Inner[0]
	}
	if root.Issuer != g.issuer {
		return claims.Set{}, refuse(CodeInvalidRequest,
			"The subject_token is another issuer's: only a grant of this server, or under one of its delegations, can be exchanged.")
	}
	id, err := g.accounts.Identify(g.user, g.device)
	if err != nil {
		return claims.Set{}, err
	}
	set := claims.Set{
		Issuer: g.issuer, Subject: id.User, Handle: id.Handle, SID: root.JTI(), Gen: g.user.Gen, ClientID: g.r.client.ID,
	}
	// A grant by the user's own key may name more scopes than an actor can have.
	if set.Scope, err = g.narrowedScope(common(grant.Scope, ScopeHandle+" "+ScopeIntrospect)); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = g.audience(g.r.client, g.user.Domain, g.targets()); err != nil {
		return claims.Set{}, err
	}
	set.Expires = tree.Until
	set, err = g.actFor(set, actor, act)
	// A grant by the user's own key is not stored here, so it is always embedded: only with it can others ask about it.
	if err != nil || !g.evidence() && root == tree.Root {
		return set, err
	}
	if !slices.Contains(g.r.client.Embed, nested.ActsFor) {
		return claims.Set{}, errEmbed
	}
	if set.Tokens, err = nested.Build(nested.Entry{Relation: nested.ActsFor, Token: statement}); err != nil {
		return claims.Set{}, embedded(err)
	}
	if _, err := g.checkNested(ctx, set, o.Along); err != nil {
		return claims.Set{}, embedded(err)
	}
	return set, nil
}

// subject finds the user of a URI, in a domain that the client is registered for.
func (p *Provider) subject(ctx context.Context, client *clients.Client, uri string) (u storage.User, err error) {
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(uri)
	if _, ours := p.domains[id.Domain()]; err != nil || !ours || !slices.Contains(client.Domains, id.Domain()) {
		return u, errAbroad
	}
	if u, err = p.store.User(ctx, id.Domain(), id.Local()); err != nil {
		return u, notFound(err, errSubject)
	}
	own, err := p.accounts.Identify(u, storage.Device{})
	if err != nil {
		return u, err
	}
	// URIs are compared as text elsewhere, so this one must be spelled as the server spells it.
	if !u.DisabledAt.IsZero() || own.User != uri {
		return u, errSubject
	}
	return u, nil
}

// actFor completes a token about a user for an actor. It outlives neither, and is bound to the actor's key.
func (g *exchangeGrant) actFor(set claims.Set, actor *statements.Token, act *claims.Actor) (claims.Set, error) {
	for _, s := range strings.Fields(set.Scope) {
		if !g.r.client.HasScope(s) {
			return claims.Set{}, refuse(CodeInvalidScope,
				"The client is not registered for the scope "+named(s)+" of the subject_token: ask for fewer.")
		}
	}
	act.Actor = set.Actor // earlier actors (RFC 8693 §4.1)
	set.Actor, set.JKT, set.ClientID = act, g.r.proof.JKT, g.r.client.ID
	describeScope(&set)
	g.setLifetime(&set, set.Expires, actor.Claims.Expires)
	return set, nil
}
