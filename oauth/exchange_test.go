package oauth_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

const (
	accessToken = "urn:ietf:params:oauth:token-type:access_token"
	statement   = "urn:ietf:params:oauth:token-type:jwt"
)

// exchangeForm exchanges a token, with an actor's token if there is one.
func exchangeForm(subject, typ, actor string) url.Values {
	form := url.Values{"grant_type": {oauth.GrantExchange}, "subject_token": {subject}, "subject_token_type": {typ}}
	if actor != "" {
		form.Set("actor_token", actor)
		form.Set("actor_token_type", accessToken)
	}
	return form
}

// person is the user of an access token.
func person(t *testing.T, token string) statements.Holder {
	t.Helper()
	set := claimsOf(t, token)
	id, err := set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return statements.Holder{Domain: id.User.Domain(), User: id.User.Local(), SID: set.SID}
}

// act names a client of the issuer as an actor.
func act(client string) *claims.Actor { return &claims.Actor{Subject: client, Issuer: issuerURL} }

// state makes a statement for the user of an access token.
func (i *issuer) state(t *testing.T, token string, s nested.Statement) statements.Statement {
	t.Helper()
	made, err := i.made.Make(t.Context(), person(t, token), s)
	if err != nil {
		t.Fatalf("State = %v", err)
	}
	return made
}

// grantTo lets a client act.
func grantTo(client, scope string) nested.Statement {
	return nested.Statement{Type: nested.TypeActor, Party: client, PartyIssuer: issuerURL, Scope: scope}
}

// sign signs an access token as the issuer.
func (i *issuer) sign(t *testing.T, set claims.Set) string {
	t.Helper()
	token, err := i.ring.Sign(jose.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// byKey signs a statement with a user's own key, under a delegation.
func (i *issuer) byKey(t *testing.T, key *ecdsa.PrivateKey, delegation statements.Statement, s nested.Statement) string {
	t.Helper()
	sign, err := nested.UserKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.Issuer, s.Subject, s.JTI = delegation.Subject, delegation.Subject, rand.Text()
	if s.Audience == nil {
		s.Audience = []string{issuerURL}
	}
	s.IssuedAt = i.clock.now()
	s.Expires = s.IssuedAt.Add(30 * time.Minute)
	if s.Tokens == nil {
		if s.Tokens, err = nested.Build(nested.Entry{Relation: nested.Cascade, Token: delegation.Token}); err != nil {
			t.Fatal(err)
		}
	}
	token, err := s.Sign(sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// delegate lets a key of the user's own sign statements.
func (i *issuer) delegate(t *testing.T, token string, key *ecdsa.PrivateKey) statements.Statement {
	t.Helper()
	s, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return i.state(t, token, nested.Statement{Type: nested.TypeDelegation, JKT: s.JKT(), Limits: &nested.Limits{
		Devices: "*", Count: 4, Lifetime: time.Hour, Depth: 1, Statements: []string{nested.TypeActor},
	}})
}

// TestExchange holds what comes of an exchange: never more, never for longer, and with the actor named.
func TestExchange(t *testing.T) {
	i, phone, machine := newIssuer(t, true), newDevice(t), newDevice(t)
	held := i.login(t, i.user(t, "alice"), phone)
	own := claimsOf(t, held.AccessToken)
	i.advance(t, time.Minute)

	a := i.token(t, "app", phone, with(exchangeForm(held.AccessToken, accessToken, ""), url.Values{"scope": {"im:handle"}}))
	set := claimsOf(t, a.AccessToken)
	if a.IssuedTokenType != accessToken || a.RefreshToken != "" || set.Device != "" || set.Handle != own.Handle || set.SID != own.SID ||
		set.Expires.After(own.Expires) || set.JTI == own.JTI {
		t.Errorf("claims = %+v, want a narrower token that ends no later", set)
	}

	made := i.state(t, held.AccessToken, grantTo("service", "im:handle introspect"))
	actor := i.token(t, "service", machine, serviceForm).AccessToken
	set = claimsOf(t, i.token(t, "service", machine, exchangeForm(made.Token, statement, actor)).AccessToken)
	if set.Subject != own.Subject || set.Handle != own.Handle || set.Device != "" || set.JKT != machine.JKT() || set.Actor == nil ||
		set.Actor.Subject != "service" || set.SID != made.JTI || set.Tokens != nil {
		t.Errorf("claims = %+v, want alice by the service", set)
	}
	shown := with(exchangeForm(made.Token, statement, actor), url.Values{"im_evidence": {"true"}})
	if set := claimsOf(t, i.token(t, "service", machine, shown).AccessToken); set.Tokens == nil {
		t.Error("the token has no evidence in it")
	}
	own.MayAct = &claims.Actor{Subject: "service", Issuer: issuerURL}
	set = claimsOf(t, i.token(t,
		"service", machine, with(exchangeForm(i.sign(t, own), accessToken, actor), url.Values{"scope": {"im:handle"}})).AccessToken)
	if set.Actor == nil || set.Actor.Subject != "service" || set.MayAct != nil || set.Device != "" {
		t.Errorf("claims = %+v, want alice by the service", set)
	}
}

// TestExchangeRefused holds every refusal of an exchange.
func TestExchangeRefused(t *testing.T) {
	const invalid = "invalid_request"
	i, phone, bobs, machine := newIssuer(t, true), newDevice(t), newDevice(t), newDevice(t)
	alice, bob := i.user(t, "alice"), i.user(t, "bob")
	held, his := i.login(t, alice, phone), i.login(t, bob, bobs)
	own := claimsOf(t, held.AccessToken)
	actor := i.token(t, "service", machine, serviceForm).AccessToken
	bearer := i.token(t, "bearer", nil, serviceForm).AccessToken
	grant := i.state(t, held.AccessToken, grantTo("service", "im:handle introspect"))
	withdrawn := i.state(t, held.AccessToken, grantTo("service", "im:handle"))
	if err := i.made.Withdraw(t.Context(), person(t, held.AccessToken), nested.TypeActor, withdrawn.JTI); err != nil {
		t.Fatal(err)
	}
	toBob := i.state(t, held.AccessToken, nested.Statement{
		Type: nested.TypeActor, Party: claimsOf(t, his.AccessToken).Subject, Scope: "im:handle",
	})
	toAlice := i.state(t, his.AccessToken, nested.Statement{Type: nested.TypeActor, Party: own.Subject, Scope: "im:handle"})
	elsewhere := grantTo("service", "im:handle")
	elsewhere.Audience = []string{"https://elsewhere.example"}
	abroad := i.state(t, held.AccessToken, elsewhere)
	acting := i.token(t, "app", bobs, exchangeForm(toBob.Token, statement, his.AccessToken)).AccessToken
	let, letAbroad := own, own
	let.MayAct = &claims.Actor{Subject: "service", Issuer: issuerURL}
	letAbroad.MayAct = &claims.Actor{Subject: "service", Issuer: "https://elsewhere.example"}
	key := newKey(t)
	keyed := i.byKey(t, key, i.delegate(t, held.AccessToken, key), grantTo("service", "im:handle"))
	nest := i.token(t, "service", machine, url.Values{"grant_type": {oauth.GrantEmbed},
		"tokens": {entry(t, nested.ActsFor, grant.Token)}}).AccessToken
	expired, revoked, foreign := own, own, own
	expired.IssuedAt, expired.Expires = own.IssuedAt.Add(-time.Hour), own.IssuedAt
	revoked.JTI = "revoked"
	i.update(t, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.Revoke(ctx, storage.Revocation{
			Kind: storage.RevokeToken, Key: "revoked", At: i.clock.now(), ExpiresAt: i.clock.now().Add(time.Hour),
		})
		return err
	})
	foreign.Issuer = "https://elsewhere.example"
	letNest := let
	var err error
	if letNest.Tokens, err = nested.Build(nested.Entry{Relation: nested.ActsFor, Token: grant.Token}); err != nil {
		t.Fatal(err)
	}
	gone := own
	gone.Gen--

	granted := func(change url.Values) url.Values { return with(exchangeForm(grant.Token, statement, actor), change) }

	for name, test := range map[string]struct {
		client string
		d      *device
		form   url.Values
		before func(t *testing.T) (after func())
		want   refusal
	}{
		"no proof": {"app", nil, exchangeForm(held.AccessToken, accessToken, ""), nil, refusal{err: dpop.ErrNoProof}},
		"for another type": {"app", phone, with(exchangeForm(held.AccessToken, accessToken,
			""), url.Values{"requested_token_type": {statement}}), nil,
			refusal{code: invalid, description: "The requested_token_type must be " + accessToken + ", not '" + statement + "'."}},
		"no subject_token": {"app", phone, exchangeForm("", accessToken, ""), nil,
			refusal{code: invalid, description: "The parameter subject_token is missing."}},
		"no type of it": {"app", phone, exchangeForm(held.AccessToken, "", ""), nil,
			refusal{code: invalid,
				description: "or, for a grant to an actor, " + statement + ", and is missing."}},
		"an unknown type": {"app", phone, exchangeForm(held.AccessToken, "saml", ""), nil,
			refusal{code: invalid, description: "not 'saml'."}},
		"an actor without a type": {"service", machine, granted(url.Values{"actor_token_type": nil}), nil,
			refusal{code: invalid, description: "The parameters actor_token and actor_token_type go together."}},
		"a type without an actor": {"service", machine, with(exchangeForm(grant.Token, statement,
			""), url.Values{"actor_token_type": {accessToken}}), nil, refusal{code: invalid, description: "go together."}},
		"an actor of another type": {"service", machine, granted(url.Values{"actor_token_type": {statement}}), nil,
			refusal{code: invalid, description: "The actor_token_type must be"}},
		"evidence perhaps": {"service", machine, granted(url.Values{"im_evidence": {"1"}}), nil,
			refusal{code: invalid, description: "The im_evidence must be true or false, not '1'."}},
		"evidence of nothing": {"app", phone, with(exchangeForm(held.AccessToken, accessToken,
			""), url.Values{"im_evidence": {"true"}}), nil, refusal{code: invalid, description: "im_evidence goes with an actor_token"}},
		"malformed along": {"service", machine, granted(url.Values{"im_along": {"{}"}}), nil,
			refusal{code: invalid, description: "The parameter im_along must be a JSON array of tokens."}},

		"an expired token": {"app", phone, exchangeForm(i.sign(t, expired), accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid: it is expired, revoked, or not one of this server's."}},
		"a revoked token": {"app", phone, exchangeForm(i.sign(t, revoked), accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"another issuer's": {"app", phone, exchangeForm(i.sign(t, foreign), accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"of an earlier gen": {"app", phone, exchangeForm(i.sign(t, gone), accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"garbage": {"app", phone, exchangeForm("garbage", accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"a refresh token": {"app", phone, exchangeForm(held.RefreshToken, accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"another key's": {"app", bobs, exchangeForm(held.AccessToken, accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is another client's, or bound to another key than that of the proof."}},
		"another client's": {"service", machine, exchangeForm(held.AccessToken, accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is another client's"}},
		"a bearer token": {"bearer", machine, exchangeForm(bearer, accessToken, ""), nil,
			refusal{code: invalid, description: "The subject_token is another client's"}},
		"a wider scope": {"app", phone, with(exchangeForm(held.AccessToken, accessToken,
			""), url.Values{"scope": {"im:handle introspect"}}), nil,
			refusal{code: "invalid_scope",
				description: "The scope 'introspect' cannot be granted here. These can: im:handle, im:device."}},
		"another audience": {"app", phone, with(exchangeForm(held.AccessToken, accessToken,
			""), url.Values{"audience": {issuerURL}}), nil,
			refusal{code: "invalid_target",
				description: "The subject_token is not for the resource '" + issuerURL + "'. It is for: im:example.com."}},
		"a domain that the client lost": {"app", phone, exchangeForm(held.AccessToken, accessToken, ""),
			i.changing("app", func(c *clients.Client) { c.Domains = []string{"acme.example"} }),
			refusal{code: invalid,
				description: "The subject is of a domain that this server does not issue in, or that the client is not registered for."}},
		"a scope that the client lost": {"app", phone, exchangeForm(held.AccessToken, accessToken, ""),
			i.changing("app", func(c *clients.Client) { c.Scopes = []string{"im:handle"} }),
			refusal{code: "invalid_scope",
				description: "The client is no longer registered for the scope 'im:device' of the subject_token: ask for fewer."}},
		"the user asks too often": {"app", phone, exchangeForm(held.AccessToken, accessToken, ""), func(*testing.T) func() {
			i.limits.user = errLimit
			return func() { i.limits.user = nil }
		}, refusal{err: errLimit}},

		"a grant without an actor": {"service", machine, exchangeForm(grant.Token, statement, ""), nil,
			refusal{code: invalid, description: "The subject_token lets somebody act: send the actor's own token as actor_token."}},
		"a withdrawn grant": {"service", machine, exchangeForm(withdrawn.Token, statement, actor), nil,
			refusal{code: invalid, description: "The subject_token is not valid: revoked"}},
		"a grant to somebody else": {"service", machine, exchangeForm(toBob.Token, statement, actor), nil,
			refusal{code: invalid, description: "The subject_token does not let this actor act: its may_act names another, or nobody."}},
		"a grant for another server": {"service", machine, exchangeForm(abroad.Token, statement, actor), nil,
			refusal{code: invalid, description: "The subject_token is not valid: wrong_audience"}},
		"an access token for a grant": {"service", machine, exchangeForm(held.AccessToken, statement, actor), nil,
			refusal{code: invalid, description: "The subject_token is not valid: wrong_type"}},
		"more than the grant": {"service", machine, granted(url.Values{"scope": {"introspect:domain"}}), nil,
			refusal{code: "invalid_scope", description: "cannot be granted here. These can: im:handle, introspect."}},
		"a resource of another client": {"service", machine, granted(url.Values{"audience": {"https://elsewhere.example"}}), nil,
			refusal{code: "invalid_target", description: "The client is not registered for the resource"}},
		"a grant in another domain": {"service", machine, exchangeForm(grant.Token, statement, actor),
			i.changing("service", func(c *clients.Client) { c.Domains = []string{"acme.example"} }),
			refusal{code: invalid, description: "The subject is of a domain"}},
		"more than the client may have": {"service", machine, exchangeForm(grant.Token, statement, actor),
			i.changing("service", func(c *clients.Client) { c.Scopes = []string{"introspect"} }),
			refusal{code: "invalid_scope",
				description: "The client is not registered for the scope 'im:handle' of the subject_token: ask for fewer."}},
		"evidence that it may not embed": {"service", machine, granted(url.Values{"im_evidence": {"true"}}),
			i.changing("service", func(c *clients.Client) { c.Embed = nil }),
			refusal{code: "unauthorized_client",
				description: "The client is not registered to embed tokens of a relation that this takes"}},
		"a grant by a key, which always goes along": {"service", machine, exchangeForm(keyed, statement, actor),
			i.changing("service", func(c *clients.Client) { c.Embed = nil }),
			refusal{code: "unauthorized_client", description: "The client is not registered to embed"}},
		"a disabled user": {"service", machine, exchangeForm(grant.Token, statement, actor), func(t *testing.T) func() {
			i.change(t, alice, func(u *storage.User) { u.DisabledAt = i.clock.now() })
			return func() { i.change(t, alice, func(*storage.User) {}) }
		}, refusal{code: invalid, description: "The subject_token is not valid"}},

		"an access token that lets nobody act": {"app", bobs, exchangeForm(held.AccessToken, accessToken, his.AccessToken), nil,
			refusal{code: invalid, description: "The subject_token does not let this actor act"}},
		"one that lets another issuer's act": {"service", machine, exchangeForm(i.sign(t, letAbroad), accessToken, actor), nil,
			refusal{code: invalid, description: "The subject_token does not let this actor act"}},
		"one that encloses tokens": {"service", machine, exchangeForm(i.sign(t, letNest), accessToken, actor), nil,
			refusal{code: invalid, description: "The subject_token encloses tokens: send the one that it was made of."}},
		"one as evidence": {"service", machine, with(exchangeForm(i.sign(t, let), accessToken, actor), url.Values{"im_evidence": {"true"}}), nil,
			refusal{code: invalid, description: "An access token is never embedded as evidence: send the grant of the subject as subject_token."}},
		"one in another domain": {"service", machine, exchangeForm(i.sign(t, let), accessToken, actor),
			i.changing("service", func(c *clients.Client) { c.Domains = []string{"acme.example"} }),
			refusal{code: invalid, description: "The subject is of a domain"}},

		"an actor's garbage": {"service", machine, exchangeForm(grant.Token, statement, "garbage"), nil,
			refusal{code: invalid, description: "The actor_token is not valid: it is expired, revoked, or not one of this server's."}},
		"another client's as the actor's": {"service", machine, exchangeForm(grant.Token, statement, held.AccessToken), nil,
			refusal{code: invalid, description: "The actor_token is another client's, or bound to another key than that of the proof."}},
		"another key's as the actor's": {"service", phone, exchangeForm(grant.Token, statement, actor), nil,
			refusal{code: invalid, description: "The actor_token is another client's"}},
		"one who acts for somebody as an actor": {"app", bobs, exchangeForm(toBob.Token, statement, acting), nil,
			refusal{code: invalid, description: "The actor_token is of one who acts for somebody else: send the actor's own token."}},
		"an actor's token that encloses some": {"service", machine, exchangeForm(grant.Token, statement, nest), nil,
			refusal{code: invalid, description: "The actor_token encloses tokens: send the actor's own token alone."}},
		"another's grant by another's token": {"app", bobs, exchangeForm(toAlice.Token, statement, his.AccessToken), nil,
			refusal{code: invalid, description: "does not let this actor act"}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				defer test.before(t)()
			}
			i.refuses(t, i.request(t, test.client, test.d, test.form), test.want)
		})
	}
}

// changing returns a step that changes the registration of a client, and another that undoes it.
func (i *issuer) changing(id string, change func(c *clients.Client)) func(t *testing.T) func() {
	return func(t *testing.T) func() {
		i.register(t, id, change)
		return func() {
			for _, c := range clientList() {
				if c.ID == id {
					i.register(t, id, func(changed *clients.Client) { *changed = c })
				}
			}
		}
	}
}

// TestExchangeMeanwhile holds that a token ends with the sessions of its subject and its actor.
func TestExchangeMeanwhile(t *testing.T) {
	i, phone, bobs := newIssuer(t, true), newDevice(t), newDevice(t)
	held, his := i.login(t, i.user(t, "alice"), phone), i.login(t, i.user(t, "bob"), bobs)
	made := i.state(t, held.AccessToken, nested.Statement{
		Type: nested.TypeActor, Party: claimsOf(t, his.AccessToken).Subject, Scope: "im:handle",
	})
	acting := i.token(t, "app", bobs, exchangeForm(made.Token, statement, his.AccessToken)).AccessToken
	again := exchangeForm(acting, accessToken, "")
	i.token(t, "app", bobs, again)
	i.update(t, func(ctx context.Context, tx storage.Tx) error {
		return tx.EndGrant(ctx, claimsOf(t, his.AccessToken).SID, i.clock.now(), "revoked")
	})
	i.refuses(t, i.request(t, "app", bobs, again), refusal{code: "invalid_request", description: "The subject_token is not valid"})
	if strings.Contains(acting, held.AccessToken) {
		t.Error("the token holds another one")
	}
}
