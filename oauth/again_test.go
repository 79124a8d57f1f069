package oauth_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// A ground is what a token is derived from.
type ground struct {
	alice storage.User
	phone *device
	held  string // alice's access token, bound to phone
	jti   string // of her statement; empty if there is none
	typ   string // of her statement
	bob   string // the access token of an actor; empty if there is none

	client string // that asks
	by     *device
	form   url.Values
}

// TestDeriveAgain holds that a token is derived again only while everything that it rests on is as before: each exchange and each
// embedding is done twice, then something ends, and the same request is refused.
func TestDeriveAgain(t *testing.T) {
	subject := refusal{code: "invalid_request", description: "The subject_token is not valid"}
	actor := refusal{code: "invalid_request", description: "The actor_token is not valid"}
	inner := func(words string) refusal { return refusal{code: "invalid_embedded_token", description: words} }
	begin := func(t *testing.T, i *issuer) *ground {
		g := &ground{alice: i.user(t, "alice"), phone: newDevice(t), client: "app"}
		g.held, g.by = i.login(t, g.alice, g.phone).AccessToken, g.phone
		return g
	}
	// acting is a ground on which bob acts for alice by a grant.
	acting := func(t *testing.T, i *issuer) *ground {
		g := begin(t, i)
		g.by = newDevice(t)
		g.bob = i.login(t, i.user(t, "bob"), g.by).AccessToken
		made := i.state(t, g.held, nested.Statement{Type: nested.TypeActor, Party: claimsOf(t, g.bob).Subject, Scope: "im:handle"})
		g.jti, g.typ = made.JTI, nested.TypeActor
		g.form = with(exchangeForm(made.Token, statement, g.bob), url.Values{"im_evidence": {"true"}})
		return g
	}

	ways := map[string]func(t *testing.T, i *issuer) *ground{
		"a narrower token": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			g.form = exchangeForm(g.held, accessToken, "")
			return g
		},
		"an actor, by may_act": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			g.by = newDevice(t)
			g.bob = i.login(t, i.user(t, "bob"), g.by).AccessToken
			set := claimsOf(t, g.held)
			set.MayAct = act("")
			set.MayAct.Subject = claimsOf(t, g.bob).Subject
			g.form = with(exchangeForm(i.sign(t, set), accessToken, g.bob), url.Values{"scope": {"im:handle"}})
			return g
		},
		"an actor, by a grant": acting,
		"a narrower token of an actor": func(t *testing.T, i *issuer) *ground {
			g := acting(t, i)
			g.form = exchangeForm(i.token(t, "app", g.by, with(g.form, url.Values{"im_evidence": nil})).AccessToken, accessToken, "")
			return g
		},
		"a narrower token of an actor, with the grant inside": func(t *testing.T, i *issuer) *ground {
			g := acting(t, i)
			g.form = exchangeForm(i.token(t, "app", g.by, g.form).AccessToken, accessToken, "")
			return g
		},
		"a service's token with a grant": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			g.by, g.client = newDevice(t), "service"
			made := i.state(t, g.held, grantTo("service", "im:handle"))
			g.jti, g.typ = made.JTI, nested.TypeActor
			g.form = embedForm(entry(t, nested.ActsFor, made.Token))
			return g
		},
		"a narrower token of a service with a grant": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			g.by, g.client = newDevice(t), "service"
			made := i.state(t, g.held, grantTo("service", "im:handle"))
			g.jti, g.typ = made.JTI, nested.TypeActor
			nest := i.token(t, "service", g.by, embedForm(entry(t, nested.ActsFor, made.Token)))
			g.form = exchangeForm(nest.AccessToken, accessToken, "")
			return g
		},
		"a device of the user's key": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			key, laptop := newKey(t), newDevice(t)
			delegation := i.delegate(t, g.held, key)
			g.jti, g.typ, g.by = delegation.JTI, nested.TypeDelegation, laptop
			sign := func(s nested.Statement) string { return i.byKey(t, key, delegation, s) }
			g.form = embedForm(entry(t, nested.AttestedBy, i.deviceBy(t, sign, claimsOf(t, g.held), laptop.JKT(), "07a", 1)))
			return g
		},
		"a narrower token of a device of the user's key": func(t *testing.T, i *issuer) *ground {
			g := begin(t, i)
			key, laptop := newKey(t), newDevice(t)
			delegation := i.delegate(t, g.held, key)
			g.jti, g.typ, g.by = delegation.JTI, nested.TypeDelegation, laptop
			sign := func(s nested.Statement) string { return i.byKey(t, key, delegation, s) }
			form := embedForm(entry(t, nested.AttestedBy, i.deviceBy(t, sign, claimsOf(t, g.held), laptop.JKT(), "07a", 1)))
			g.form = exchangeForm(i.token(t, "app", laptop, form).AccessToken, accessToken, "")
			return g
		},
	}
	type ending struct {
		name string
		end  func(t *testing.T, i *issuer, g *ground)
	}
	var (
		session = ending{"her session ends", func(t *testing.T, i *issuer, g *ground) { i.end(t, g.held) }}
		removed = ending{"her device is removed", func(t *testing.T, i *issuer, g *ground) { i.remove(t, g.held) }}
		off     = ending{"she is disabled", func(t *testing.T, i *issuer, g *ground) {
			i.change(t, g.alice, func(u *storage.User) { u.DisabledAt = i.clock.now() })
		}}
		gen = ending{"all her tokens end", func(t *testing.T, i *issuer, g *ground) {
			i.change(t, g.alice, func(u *storage.User) { u.Gen++ })
		}}
		taken = ending{"her statement is withdrawn", func(t *testing.T, i *issuer, g *ground) {
			if err := i.made.Withdraw(t.Context(), person(t, g.held), g.typ, g.jti); err != nil {
				t.Fatal(err)
			}
		}}
		own = ending{"the device itself is removed", func(t *testing.T, i *issuer, g *ground) {
			if _, err := i.accounts.RemoveDevice(t.Context(), "example.com", "07a", "lost"); err != nil {
				t.Fatal(err)
			}
		}}
		his  = ending{"the actor's session ends", func(t *testing.T, i *issuer, g *ground) { i.end(t, g.bob) }}
		lost = ending{"the actor's device is removed", func(t *testing.T, i *issuer, g *ground) { i.remove(t, g.bob) }}
		old  = ending{"its time is over", func(t *testing.T, i *issuer, g *ground) { i.advance(t, 2*time.Hour) }}
		gone = ending{"the client is removed", func(t *testing.T, i *issuer, g *ground) {
			i.update(t, func(ctx context.Context, tx storage.Tx) error {
				_, err := tx.Revoke(ctx, storage.Revocation{
					Kind: storage.RevokeClient, Key: g.client, At: i.clock.now(), ExpiresAt: i.clock.now().Add(time.Hour),
				})
				return err
			})
		}}
		less = ending{"the client loses the relation", func(t *testing.T, i *issuer, g *ground) {
			i.register(t, g.client, func(c *clients.Client) { c.Embed = nil })
		}}
	)
	relation := refusal{code: "unauthorized_client", description: "The client is not registered to embed"}
	for name, endings := range map[string]map[*ending]refusal{
		"a narrower token": {
			&session: subject, &removed: subject, &off: subject, &gen: subject, &old: subject, &gone: subject,
		},
		"an actor, by may_act": {
			&session: subject, &removed: subject, &off: subject, &gen: subject, &old: subject, &gone: subject, &his: actor, &lost: actor,
		},
		"an actor, by a grant": {
			&off: subject, &taken: subject, &removed: subject, &old: actor, &his: actor, &lost: actor, &gone: actor, &less: relation,
		},
		"a narrower token of an actor": {
			&off: subject, &gen: subject, &taken: subject, &removed: subject, &old: subject, &his: subject, &lost: subject, &gone: subject,
		},
		"a narrower token of an actor, with the grant inside": {
			&off: subject, &gen: subject, &taken: subject, &old: subject, &his: subject, &lost: subject,
		},
		"a service's token with a grant": {
			&off: inner("tokens[0]: revoked"), &taken: inner("tokens[0]: revoked"), &removed: inner("tokens[0]: revoked"),
			&old: inner("tokens[0]: expired"), &less: relation,
		},
		"a narrower token of a service with a grant": {
			&off: inner("tokens[0]: revoked"), &taken: inner("tokens[0]: revoked"), &removed: inner("tokens[0]: revoked"),
			&old: subject, &gone: subject,
		},
		"a device of the user's key": {
			&off: inner("tokens[0].tokens[0]: revoked"), &taken: inner("tokens[0].tokens[0]: revoked"),
			&removed: inner("tokens[0].tokens[0]: revoked"), &own: inner("tokens[0]: not_bound: the statement is about another device"),
			&old: inner("tokens[0]: expired"), &less: relation,
		},
		"a narrower token of a device of the user's key": {
			&off: subject, &gen: subject, &taken: subject, &removed: subject, &own: subject, &old: subject, &gone: subject,
		},
	} {
		for e, want := range endings {
			t.Run(name+"/"+e.name, func(t *testing.T) {
				i := newIssuer(t, true)
				g := ways[name](t, i)
				for range 2 {
					i.token(t, g.client, g.by, g.form)
				}
				e.end(t, i, g)
				i.refuses(t, i.request(t, g.client, g.by, g.form), want)
			})
		}
	}
}

// remove removes the device of an access token.
func (i *issuer) remove(t *testing.T, token string) {
	t.Helper()
	set := claimsOf(t, token)
	id, err := set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.accounts.RemoveDevice(t.Context(), id.Device.Domain(), id.Device.Device(), "lost"); err != nil {
		t.Fatal(err)
	}
}

// end ends the session of an access token.
func (i *issuer) end(t *testing.T, token string) {
	t.Helper()
	i.update(t, func(ctx context.Context, tx storage.Tx) error {
		return tx.EndGrant(ctx, claimsOf(t, token).SID, i.clock.now(), "revoked")
	})
}
