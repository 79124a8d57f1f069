package oauth_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// entry is the parameter tokens with one statement.
func entry(t *testing.T, rel nested.Relation, token string) string {
	t.Helper()
	text, err := nested.Build(nested.Entry{Relation: rel, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// embedForm embeds one statement in a token.
func embedForm(tokens string) url.Values {
	return url.Values{"grant_type": {oauth.GrantEmbed}, "tokens": {tokens}}
}

// deviceBy is the statement of a user's key about a device of theirs.
func (i *issuer) deviceBy(t *testing.T, sign func(s nested.Statement) string, user claims.Set, jkt, id string, number int) string {
	t.Helper()
	uri, err := claims.Parse(user.Subject)
	if err != nil {
		t.Fatal(err)
	}
	return sign(nested.Statement{
		Type: nested.TypeDevice, JKT: jkt, Device: "im:" + uri.Local() + "/" + id + "@example.com", Number: number,
	})
}

func TestEmbed(t *testing.T) {
	i, phone, machine, laptop := newIssuer(t, true), newDevice(t), newDevice(t), newDevice(t)
	held := i.login(t, i.user(t, "alice"), phone)
	own := claimsOf(t, held.AccessToken)
	grant := i.state(t, held.AccessToken, grantTo("service", "im:handle introspect"))

	set := claimsOf(t, i.token(t, "service", machine, embedForm(entry(t, nested.ActsFor, grant.Token))).AccessToken)
	if set.Subject != "service" || set.Tokens == nil || set.Scope != "introspect im:handle" || set.Expires.After(grant.Expires) {
		t.Errorf("claims = %+v, want the service with the grant inside, and no more scope than it has", set)
	}

	key := newKey(t)
	delegation := i.delegate(t, held.AccessToken, key)
	form := embedForm(entry(t, nested.AttestedBy, i.deviceBy(t,
		func(s nested.Statement) string { return i.byKey(t, key, delegation, s) }, own, laptop.JKT(), "07a", 1)))
	for range 2 { // the device asks again where others refresh
		set = claimsOf(t, i.token(t, "app", laptop, form).AccessToken)
		if set.Subject != own.Subject || set.JKT != laptop.JKT() || set.SID != delegation.JTI || set.Device == "" ||
			set.Device == own.Device {
			t.Errorf("claims = %+v, want alice on another device", set)
		}
	}
	if d, err := i.store.Device(t.Context(), "example.com", "07a"); err != nil || d.Delegation != delegation.JTI || d.Client != "app" {
		t.Errorf("device = %+v, %v, want one under the delegation", d, err)
	}
	// Narrowed, it stays what it is.
	narrow := with(exchangeForm(i.token(t, "app", laptop, form).AccessToken, accessToken, ""), url.Values{"scope": {"im:device"}})
	if set := claimsOf(t, i.token(t, "app", laptop, narrow).AccessToken); set.Tokens == nil || set.Handle != "" {
		t.Errorf("claims = %+v, want the same tokens inside and no handle", set)
	}
}

// TestEmbedRefused holds every refusal that is the grant's own. For those of the enclosed tokens see [TestEmbedRefusesEnclosed].
func TestEmbedRefused(t *testing.T) {
	const invalid, token = "invalid_request", "invalid_embedded_token"
	i, phone, machine, laptop, taken := newIssuer(t, true), newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	alice := i.user(t, "alice")
	held := i.login(t, alice, phone)
	own := claimsOf(t, held.AccessToken)
	grant := i.state(t, held.AccessToken, grantTo("service", "im:handle introspect"))
	acts := entry(t, nested.ActsFor, grant.Token)
	withdrawn := i.state(t, held.AccessToken, grantTo("service", "im:handle"))
	if err := i.made.Withdraw(t.Context(), person(t, held.AccessToken), nested.TypeActor, withdrawn.JTI); err != nil {
		t.Fatal(err)
	}
	key := newKey(t)
	delegation := i.delegate(t, held.AccessToken, key)
	ended := i.delegate(t, held.AccessToken, key)
	if err := i.made.Withdraw(t.Context(), person(t, held.AccessToken), nested.TypeDelegation, ended.JTI); err != nil {
		t.Fatal(err)
	}
	about := func(under statements.Statement, d *device, id string, number int) string {
		return entry(t, nested.AttestedBy, i.deviceBy(t,
			func(s nested.Statement) string { return i.byKey(t, key, under, s) }, own, d.JKT(), id, number))
	}
	i.token(t, "app", taken, embedForm(about(delegation, taken, "07a", 1)))
	acting := i.token(t, "service", machine, exchangeForm(grant.Token, statement, i.token(t,
		"service", machine, serviceForm).AccessToken)).AccessToken
	nest := i.token(t, "service", machine, embedForm(acts)).AccessToken
	subject := func(token string) url.Values {
		return url.Values{"subject_token": {token}, "subject_token_type": {accessToken}}
	}

	for name, test := range map[string]struct {
		client string
		d      *device
		form   url.Values
		before func(t *testing.T) (after func())
		want   refusal
	}{
		"no proof": {"service", nil, embedForm(acts), nil, refusal{err: dpop.ErrNoProof}},
		"for another type": {"service", machine, with(embedForm(acts), url.Values{"requested_token_type": {statement}}), nil,
			refusal{code: invalid, description: "The requested_token_type must be"}},
		"malformed along": {"service", machine, with(embedForm(acts), url.Values{"im_along": {"x"}}), nil,
			refusal{code: invalid, description: "The parameter im_along must be a JSON array of tokens."}},
		"no tokens": {"service", machine, embedForm(""), nil,
			refusal{code: invalid, description: "The parameter tokens is missing: a JSON array of the tokens to embed."}},
		"malformed tokens": {"service", machine, embedForm("[]"), nil, refusal{code: token, description: "malformed"}},
		"a relation of others": {"service", machine, embedForm(about(delegation, machine, "07b", 2)), nil,
			refusal{code: "unauthorized_client",
				description: "The client is not registered to embed tokens of a relation that this takes: see embed of its registration."}},
		"a withdrawn grant": {"service", machine, embedForm(entry(t, nested.ActsFor, withdrawn.Token)), nil,
			refusal{code: token, description: "tokens[0]: revoked"}},
		"public without subject": {"app", phone, embedForm(acts), nil,
			refusal{code: invalid, description: "The parameter subject_token is missing: a public client has no identity of its own."}},
		"another domain": {"service", machine, with(embedForm(acts), url.Values{"im_domain": {"acme.example"}}), nil,
			refusal{code: invalid, description: "The client is not registered for the im_domain"}},
		"a wider scope": {"service", machine, with(embedForm(acts), url.Values{"scope": {"account"}}), nil,
			refusal{code: "invalid_scope", description: "The scope 'account' cannot be granted here."}},
		"another resource": {"service", machine, with(embedForm(acts), url.Values{"resource": {"https://elsewhere.example"}}), nil,
			refusal{code: "invalid_target", description: "The client is not registered for the resource"}},
		"a subject of no type": {"app", phone, with(embedForm(acts), url.Values{"subject_token": {held.AccessToken}}), nil,
			refusal{code: invalid, description: "The subject_token_type must be " + accessToken + ", and is missing."}},
		"a subject that is over": {"app", phone, with(embedForm(acts), subject("garbage")), nil,
			refusal{code: invalid, description: "The subject_token is not valid"}},
		"another key's subject": {"app", laptop, with(embedForm(acts), subject(held.AccessToken)), nil,
			refusal{code: invalid, description: "The subject_token is another client's"}},
		"a subject that acts": {"service", machine, with(embedForm(acts), subject(acting)), nil,
			refusal{code: invalid, description: "The subject_token is of one who acts for somebody else: send the actor's own token."}},
		"a subject that encloses": {"service", machine, with(embedForm(acts), subject(nest)), nil,
			refusal{code: invalid,
				description: "The subject_token encloses tokens already: send the one that it was made of, and all tokens."}},
		"a grant to another": {"app", phone, with(embedForm(acts), subject(held.AccessToken)), nil,
			refusal{code: token, description: "tokens[0]: not_bound"}},

		"a device of another key": {"app", laptop, embedForm(about(delegation, phone, "07b", 2)), nil,
			refusal{code: token, description: "tokens[0]: not_bound: the statement is about another key than that of the proof"}},
		"an ended delegation": {"app", laptop, embedForm(about(ended, laptop, "07b", 2)), nil,
			refusal{code: token, description: "tokens[0].tokens[0]: revoked"}},
		"a device id that is taken": {"app", laptop, embedForm(about(delegation, laptop, "07a", 2)), nil,
			refusal{code: token, description: "tokens[0]: not_bound: the statement is about another device", err: errProofSpent}},
		"a device number that is taken": {"app", laptop, embedForm(about(delegation, laptop, "07b", 1)), nil,
			refusal{code: token, description: "tokens[0]: not_bound: the statement is about another device", err: errProofSpent}},
		"the key of a device": {"app", phone, embedForm(about(delegation, phone, "07b", 2)), nil,
			refusal{code: token, description: "tokens[0]: not_bound: the statement is about another device"}},
		"a device id with a dot": {"app", laptop, embedForm(about(delegation, laptop, "07.b", 2)), nil,
			refusal{code: token, description: "tokens[0]: not_bound: the statement is about a device whose id is none of this server's"}},
		"a device of another domain's client": {"app", laptop, embedForm(about(delegation, laptop, "07b", 2)),
			i.changing("app", func(c *clients.Client) { c.Domains = []string{"acme.example"} }),
			refusal{code: invalid, description: "The subject is of a domain"}},
		"a device for a wider scope": {"app", laptop, with(embedForm(about(delegation, laptop,
			"07b", 2)), url.Values{"scope": {"introspect"}}), nil,
			refusal{code: "invalid_scope", description: "cannot be granted here. These can: im:handle, im:device."}},
		"a device of a disabled user": {"app", laptop, embedForm(about(delegation, laptop, "07b", 2)), func(t *testing.T) func() {
			i.change(t, alice, func(u *storage.User) { u.DisabledAt = i.clock.now() })
			return func() { i.change(t, alice, func(*storage.User) {}) }
		}, refusal{code: token, description: "tokens[0].tokens[0]: revoked"}},
		"the user asks too often": {"app", laptop, embedForm(about(delegation, laptop, "07b", 2)), func(*testing.T) func() {
			i.limits.user = errLimit
			return func() { i.limits.user = nil }
		}, refusal{err: errLimit}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.before != nil {
				defer test.before(t)()
			}
			r := i.request(t, test.client, test.d, test.form)
			if test.want.err == errProofSpent {
				_, err := i.Token(t.Context(), r)
				refusal{code: test.want.code, description: test.want.description}.check(t, err)
				return
			}
			i.refuses(t, r, test.want)
		})
	}

	t.Run("too many devices", func(t *testing.T) {
		for range 2 {
			i.login(t, alice, newDevice(t))
		}
		_, err := i.Token(t.Context(), i.request(t, "app", laptop, embedForm(about(delegation, laptop, "07b", 2))))
		refusal{code: "invalid_grant", description: "The user has as many devices as allowed"}.check(t, err)
	})
	t.Run("sessions of the user end", func(t *testing.T) {
		i.update(t, func(ctx context.Context, tx storage.Tx) error {
			return tx.WithdrawStatement(ctx, delegation.JTI, i.clock.now(), "withdrawn")
		})
		i.advance(t, time.Second)
		i.refuses(t, i.request(t, "app", taken, embedForm(about(delegation, taken, "07a", 1))),
			refusal{code: token, description: "tokens[0].tokens[0]: revoked"})
	})
}
