package oauth

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
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
	errAbroad      = refuse(CodeInvalidRequest, "The subject is of a domain that this server does not issue in, or that the client is not registered for.")
)

// exchange makes a token of another one (RFC 8693). Without an actor it is a narrower one for the same key; with one it is
// about the subject, and says who acts.
func (p *Provider) exchange(ctx context.Context, f *flow) (claims.Set, error) {
	subject, actor := f.form.Get("subject_token"), f.form.Get("actor_token")
	switch evidence := f.form.Get("im_evidence"); {
	case subject == "":
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameter subject_token is missing.")
	case (actor == "") != (f.form.Get("actor_token_type") == ""):
		return claims.Set{}, refuse(CodeInvalidRequest, "The parameters actor_token and actor_token_type go together.")
	case actor != "" && f.form.Get("actor_token_type") != typeAccessToken:
		return claims.Set{}, refuse(CodeInvalidRequest, "The actor_token_type must be "+typeAccessToken+found(f.form, "actor_token_type")+".")
	case evidence != "" && evidence != "true" && evidence != "false":
		return claims.Set{}, refuse(CodeInvalidRequest, "The im_evidence must be true or false"+found(f.form, "im_evidence")+".")
	case actor == "" && evidence == "true":
		return claims.Set{}, refuse(CodeInvalidRequest, "im_evidence goes with an actor_token: without one there is nothing to show.")
	}
	switch f.form.Get("subject_token_type") {
	case typeAccessToken:
		t, err := p.openOwn(ctx, subject)
		if errors.Is(err, errInactive) {
			return claims.Set{}, errSubject
		} else if err != nil {
			return claims.Set{}, err
		}
		if actor == "" {
			return p.exchangeOwn(ctx, f, t)
		}
		return p.exchangeFor(ctx, f, t)
	case typeJWT:
		if actor == "" {
			return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token lets somebody act: send the actor's own token as actor_token.")
		}
		return p.exchangeGrant(ctx, f, subject)
	}
	return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token_type must be "+typeAccessToken+" or, for a grant to an actor, "+typeJWT+found(f.form, "subject_token_type")+".")
}

// evidence reports whether the client wants the grant of the subject embedded.
func evidence(f *flow) bool { return f.form.Get("im_evidence") == "true" }

// holds reports whether a token is the client's own and bound to the key of the proof.
func (f *flow) holds(t *ownToken) bool { return t.ClientID == f.client.ID && t.JKT == f.proof.JKT }

// exchangeOwn makes a narrower token of the client's own one: never for more, never for longer.
func (p *Provider) exchangeOwn(ctx context.Context, f *flow, t *ownToken) (claims.Set, error) {
	if !f.holds(t) {
		return claims.Set{}, errSubjectKey
	}
	set := t.Set
	f.user, f.device = t.user, t.device
	var err error
	if set.Scope, err = f.narrowed(set.Scope); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = f.targetsOf(set.Audience); err != nil {
		return claims.Set{}, err
	}
	if err := p.stillRegistered(f.client, t.user, set); err != nil {
		return claims.Set{}, err
	}
	describeScope(&set)
	p.lifetime(f, &set, t.Expires)
	if set.Tokens == nil {
		return set, nil
	}
	// What it encloses limits it, and stays.
	along, err := f.along()
	if err != nil {
		return claims.Set{}, err
	}
	if _, err := p.checkNested(ctx, f, set, along); err != nil {
		return claims.Set{}, embedded(err)
	}
	return set, nil
}

// targetsOf returns the audiences that a request names, which must be some of those of the subject_token; all if it names none.
func (f *flow) targetsOf(audience []string) ([]string, error) {
	targets := f.targets()
	if len(targets) == 0 {
		return audience, nil
	}
	for _, target := range targets {
		if !slices.Contains(audience, target) {
			return nil, refuse(CodeInvalidTarget, "The subject_token is not for the resource "+named(target)+". It is for: "+listed(audience)+".")
		}
	}
	return targets, nil
}

// stillRegistered refuses what a client could not be given any more: its registration may have shrunk since.
func (p *Provider) stillRegistered(client *Client, user storage.User, set claims.Set) error {
	if !set.Service() && !slices.Contains(client.Domains, user.Domain) {
		return errAbroad
	}
	for _, s := range strings.Fields(set.Scope) {
		if !client.HasScope(s) {
			return refuse(CodeInvalidScope, "The client is no longer registered for the scope "+named(s)+" of the subject_token: ask for fewer.")
		}
	}
	_, err := p.audience(client, user.Domain, set.Audience)
	return err
}

// actorOf opens the actor's own token, and says whom `act` will name.
func (p *Provider) actorOf(ctx context.Context, f *flow) (*ownToken, *claims.Actor, error) {
	t, err := p.openOwn(ctx, f.form.Get("actor_token"))
	switch {
	case errors.Is(err, errInactive):
		return nil, nil, errActor
	case err != nil:
		return nil, nil, err
	case !f.holds(t):
		return nil, nil, errActorKey
	case t.Actor != nil:
		// Whoever let it act for her has let it do so much: not what others let her do.
		return nil, nil, errActorActs
	case t.Tokens != nil:
		// What it encloses would limit it, and what it stands on may be more than the session that act names.
		return nil, nil, errActorNested
	}
	act := &claims.Actor{Subject: t.Subject, Issuer: p.issuer}
	if t.Service() {
		act.ClientID = t.ClientID
	} else {
		act.SID = t.SID
	}
	return t, act, nil
}

// named reports whether an actor is the one whom may_act names. A client id means something with its issuer only.
func (p *Provider) named(act *claims.Actor, party, issuer string) bool {
	return act.Subject == party && (issuer == p.issuer || issuer == "" && act.ClientID == "")
}

// exchangeFor makes a token about the subject of an access token that names the actor in may_act.
func (p *Provider) exchangeFor(ctx context.Context, f *flow, t *ownToken) (claims.Set, error) {
	actor, act, err := p.actorOf(ctx, f)
	if err != nil {
		return claims.Set{}, err
	}
	if t.MayAct == nil || t.Service() || !p.named(act, t.MayAct.Subject, t.MayAct.Issuer) {
		return claims.Set{}, errActorNotLet
	}
	if t.Tokens != nil {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token encloses tokens: send the one that it was made of.")
	}
	if evidence(f) {
		return claims.Set{}, refuse(CodeInvalidRequest, "An access token is never embedded as evidence: send the grant of the subject as subject_token.")
	}
	f.user = t.user
	if !slices.Contains(f.client.Domains, t.user.Domain) {
		return claims.Set{}, errAbroad
	}
	set := t.Set
	set.MayAct, set.Device = nil, ""
	if set.Scope, err = f.narrowed(set.Scope); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = f.targetsOf(set.Audience); err != nil {
		return claims.Set{}, err
	}
	if _, err := p.audience(f.client, f.user.Domain, set.Audience); err != nil {
		return claims.Set{}, err
	}
	return p.actFor(f, set, actor, act)
}

// exchangeGrant makes a token about a user who let the actor act for her.
func (p *Provider) exchangeGrant(ctx context.Context, f *flow, statement string) (claims.Set, error) {
	actor, act, err := p.actorOf(ctx, f)
	if err != nil {
		return claims.Set{}, err
	}
	o := p.opening(nested.TypeActor)
	if o.Along, err = f.along(); err != nil {
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
	if !p.named(act, grant.Party, grant.PartyIssuer) {
		return claims.Set{}, errActorNotLet
	}
	if f.user, err = p.subject(ctx, f.client, grant.Subject); err != nil {
		return claims.Set{}, err
	}
	// The statement that this server can withdraw: the grant itself or, of one by her own key, the delegation of the key.
	root := tree.Root
	for root.Issuer != p.issuer && len(root.Inner) > 0 {
		root = root.Inner[0]
	}
	if root.Issuer != p.issuer {
		return claims.Set{}, refuse(CodeInvalidRequest, "The subject_token is another issuer's: only a grant of this server, or under one of its delegations, can be exchanged.")
	}
	id, err := p.accounts.Identify(f.user, f.device)
	if err != nil {
		return claims.Set{}, err
	}
	set := claims.Set{
		Issuer: p.issuer, Subject: id.User, Handle: id.Handle, SID: root.JTI(), Gen: f.user.Gen, ClientID: f.client.ID,
	}
	// Her own key may have said more than an actor can do here.
	if set.Scope, err = f.narrowed(common(grant.Scope, ScopeHandle+" "+ScopeIntrospect)); err != nil {
		return claims.Set{}, err
	}
	if set.Audience, err = p.audience(f.client, f.user.Domain, f.targets()); err != nil {
		return claims.Set{}, err
	}
	set.Expires = tree.Until
	set, err = p.actFor(f, set, actor, act)
	// A grant by her own key stands nowhere here, so that it always goes along: only who sees it can ask about it.
	if err != nil || !evidence(f) && root == tree.Root {
		return set, err
	}
	if !slices.Contains(f.client.Embed, nested.ActsFor) {
		return claims.Set{}, errEmbed
	}
	if set.Tokens, err = nested.Build(nested.Entry{Relation: nested.ActsFor, Token: statement}); err != nil {
		return claims.Set{}, embedded(err)
	}
	if _, err := p.checkNested(ctx, f, set, o.Along); err != nil {
		return claims.Set{}, embedded(err)
	}
	return set, nil
}

// subject finds the user whom a URI names, in a domain that the client may deal with.
func (p *Provider) subject(ctx context.Context, client *Client, uri string) (u storage.User, err error) {
	id, err := claims.Parser{AllowSingleLabel: true}.Parse(uri)
	if err != nil || !slices.Contains(client.Domains, id.Domain()) {
		return u, errAbroad
	}
	if _, ok := p.domains[id.Domain()]; !ok {
		return u, errAbroad
	}
	u, err = p.store.User(ctx, id.Domain(), id.Local())
	if err != nil {
		return u, notFound(err, errSubject)
	}
	if !u.DisabledAt.IsZero() {
		return u, errSubject
	}
	// What is compared as text elsewhere is spelled as this server spells it.
	if own, err := p.accounts.Identify(u, storage.Device{}); err != nil || own.User != uri {
		return u, errSubject
	}
	return u, nil
}

// actFor completes a token about a user for an actor. It outlives neither, and is bound to the actor's key.
func (p *Provider) actFor(f *flow, set claims.Set, actor *ownToken, act *claims.Actor) (claims.Set, error) {
	for _, s := range strings.Fields(set.Scope) {
		if !f.client.HasScope(s) {
			return claims.Set{}, refuse(CodeInvalidScope, "The client is not registered for the scope "+named(s)+" of the subject_token: ask for fewer.")
		}
	}
	act.Actor = set.Actor // who acted before (RFC 8693 §4.1)
	set.Actor, set.JKT, set.ClientID = act, f.proof.JKT, f.client.ID
	describeScope(&set)
	p.lifetime(f, &set, set.Expires, actor.Expires)
	return set, nil
}
