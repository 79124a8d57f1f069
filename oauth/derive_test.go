package oauth_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
)

// TestMayActRefused holds the limits of a token for an actor that the subject's token names in may_act: it has at most the rights
// of that token, and those of the client.
func TestMayActRefused(t *testing.T) {
	c := newCast(t)
	let := func(change func(set *claims.Set)) string {
		set := c.alice
		set.MayAct, set.Scope = act("service"), "im:handle"
		if change != nil {
			change(&set)
		}
		return c.sign(t, set)
	}
	for name, test := range map[string]struct {
		token string
		form  url.Values
		want  refusal
	}{
		"a wider scope": {let(nil), url.Values{"scope": {"introspect"}},
			refusal{code: "invalid_scope", description: "The scope 'introspect' cannot be granted here. These can: im:handle."}},
		"another audience": {let(nil), url.Values{"audience": {"https://rooms.example.com"}},
			refusal{code: "invalid_target", description: "The subject_token is not for the resource 'https://rooms.example.com'."}},
		"an audience that the client may not have": {let(func(s *claims.Set) { s.Audience = []string{"https://elsewhere.example"} }), nil,
			refusal{code: "invalid_target", description: "The client is not registered for the resource 'https://elsewhere.example'"}},
		"a scope that the client may not have": {let(func(s *claims.Set) { s.Scope = "im:handle account" }), nil,
			refusal{code: "invalid_scope", description: "The client is not registered for the scope 'account' of the subject_token"}},
		"a service's token": {let(func(s *claims.Set) { *s = claimsOf(t, c.actor); s.MayAct = act("service") }), nil,
			refusal{code: "invalid_request", description: "The subject_token does not let this actor act"}},
	} {
		t.Run(name, func(t *testing.T) {
			form := with(exchangeForm(test.token, accessToken, c.actor), test.form)
			c.refuses(t, c.request(t, "service", c.machine, form), test.want)
		})
	}
}

// TestNarrowerRefused holds that a narrower token is refused where the client's registration has shrunk, and that the tokens that
// it encloses are judged again.
func TestNarrowerRefused(t *testing.T) {
	c := newCast(t)
	abroad := c.alice
	abroad.Audience = []string{"https://elsewhere.example"}
	c.refuses(t, c.request(t, "app", c.phone, exchangeForm(c.sign(t, abroad), accessToken, "")),
		refusal{code: "invalid_target", description: "The client is not registered for the resource 'https://elsewhere.example'"})

	wide := c.alice
	wide.Audience = []string{"im:example.com", issuerURL}
	form := with(exchangeForm(c.sign(t, wide), accessToken, ""), url.Values{"resource": {issuerURL}, "audience": {issuerURL}})
	if set := claimsOf(t, c.token(t, "app", c.phone, form).AccessToken); !slices.Equal(set.Audience, []string{issuerURL}) {
		t.Errorf("aud = %q, want the one that was asked for", set.Audience)
	}

	member := c.member(t, func(s *nested.Statement) { s.Expires = s.IssuedAt.Add(2 * time.Minute) })
	embed := with(embedForm(byDigest(t, nested.MemberOf, member)), subjectForm(c.held))
	along := url.Values{"im_along": {array(t, member)}}
	nest := exchangeForm(c.token(t, "app", c.phone, with(embed, along)).AccessToken, accessToken, "")
	c.token(t, "app", c.phone, with(nest, along))
	c.refuses(t, c.request(t, "app", c.phone, nest), refusal{code: "invalid_embedded_token", description: "tokens[0]: absent"})
	c.refuses(t, c.request(t, "app", c.phone, with(nest, url.Values{"im_along": {"x"}})),
		refusal{code: "invalid_request", description: "The parameter im_along must be a JSON array of tokens."})
}

// array is a JSON array of texts.
func array(t *testing.T, texts ...string) string {
	t.Helper()
	text, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEvidenceRefused holds that a grant which was opened by itself is refused as evidence where it lies too deep inside the token.
func TestEvidenceRefused(t *testing.T) {
	c := newCast(t)
	first, second := newKey(t), newKey(t)
	thumbprint := func(key *ecdsa.PrivateKey) string {
		s, err := dpop.NewSigner(key, "")
		if err != nil {
			t.Fatal(err)
		}
		return s.JKT()
	}
	limits := &nested.Limits{Devices: "*", Count: 4, Lifetime: time.Hour, Depth: 2, Statements: []string{nested.TypeActor}}
	outer := c.state(t, c.held, nested.Statement{Type: nested.TypeDelegation, JKT: thumbprint(first), Limits: limits})
	inner := statements.Statement{Statement: nested.Statement{Subject: c.alice.Subject}, Token: c.byKey(t, first, outer,
		nested.Statement{Type: nested.TypeDelegation, JKT: thumbprint(second), Limits: limits})}
	grant := c.byKey(t, second, inner, grantTo("service", "im:handle"))
	c.refuses(t, c.request(t, "service", c.machine, exchangeForm(grant, statement, c.actor)),
		refusal{code: "invalid_embedded_token", description: "tokens[0].tokens[0].tokens[0]: too_deep"})
}

// TestSubjectMeanwhile disables a user between the check of their statement and the making of the token.
func TestSubjectMeanwhile(t *testing.T) {
	c := newCast(t)
	grant := c.state(t, c.held, grantTo("service", "im:handle"))
	alice, err := c.store.User(t.Context(), "example.com", person(t, c.held).User)
	if err != nil {
		t.Fatal(err)
	}
	r := c.request(t, "service", c.machine, exchangeForm(grant.Token, statement, c.actor))
	reads := 0
	c.faults.set(func(op string) error {
		if op == "User" {
			if reads++; reads == 2 {
				c.faults.set(nil)
				c.change(t, alice, func(u *storage.User) { u.DisabledAt = c.clock.now() })
			}
		}
		return nil
	})
	_, err = c.Token(t.Context(), r)
	refusal{code: "invalid_request", description: "The subject_token is not valid"}.check(t, err)
	if reads != 2 {
		t.Errorf("the user was read %d times, want that the second read found them disabled", reads)
	}
}

// TestEmbedScope holds what scope a token with a grant inside has: the one that was asked for, or the least of all.
func TestEmbedScope(t *testing.T) {
	c := newCast(t)
	form := embedForm(entry(t, nested.ActsFor, c.state(t, c.held, grantTo("service", "im:handle introspect")).Token))
	for asked, want := range map[string]string{"": "introspect im:handle", "introspect": "introspect", "im:handle introspect": "im:handle introspect"} {
		set := claimsOf(t, c.token(t, "service", c.machine, with(form, url.Values{"scope": {asked}})).AccessToken)
		if set.Scope != want {
			t.Errorf("scope = %q for the scope %q, want %q", set.Scope, asked, want)
		}
	}
	// Bob lets alice act with less scope than she needs to show her handle.
	bobs := newDevice(t)
	bob := c.login(t, c.user(t, "bob"), bobs)
	grant := c.state(t, bob.AccessToken, nested.Statement{Type: nested.TypeActor, Party: c.alice.Subject, Scope: "introspect"})
	hers := with(embedForm(entry(t, nested.ActsFor, grant.Token)), subjectForm(c.held))
	if set := claimsOf(t, c.token(t, "app", c.phone, hers).AccessToken); set.Scope != "" || set.Handle != "" || set.Device != "" {
		t.Errorf("claims = %+v, want none of alice's scope", set)
	}
}

// TestCountersignRefused holds what a device of a user's own key is refused for, beside what [TestEmbedRefused] shows: the
// delegation must be this issuer's, and the token must stay one that the statement attests.
func TestCountersignRefused(t *testing.T) {
	c := newCast(t)
	key, laptop := newKey(t), newDevice(t)
	delegation := c.delegate(t, c.held, key)
	device := c.deviceBy(t, func(s nested.Statement) string { return c.byKey(t, key, delegation, s) }, c.alice, laptop.JKT(), "07a", 1)

	bob := c.login(t, c.user(t, "bob"), newDevice(t))
	grant := c.state(t, bob.AccessToken, nested.Statement{Type: nested.TypeActor, Party: c.alice.Subject, Scope: "im:handle"})
	c.refuses(t, c.request(t, "app", laptop, embedForm(list(entry(t, nested.AttestedBy, device), entry(t, nested.ActsFor, grant.Token)))),
		refusal{code: "invalid_embedded_token", description: "tokens[0]: not_bound"}) // without the scope im:device there is no device

	c.refuses(t, c.request(t, "app", laptop, embedForm(raw(accessToken, "attested_by", c.old.vouches(t, laptop.JKT())))),
		refusal{code: "invalid_request", description: "The parameter subject_token is missing"}) // no statement about a device

	s := statements.Statement{Statement: nested.Statement{Subject: oldAlice}, Token: c.old.states(t, nested.TypeDelegation, oldAlice,
		func(s *nested.Statement) { s.JKT, s.Limits = delegation.JKT, delegation.Limits })}
	elsewhere := c.byKey(t, key, s, nested.Statement{
		Type: nested.TypeDevice, JKT: laptop.JKT(), Device: "im:a11ce/07a@old.example", Number: 1,
	})
	c.refuses(t, c.request(t, "app", laptop, embedForm(entry(t, nested.AttestedBy, elsewhere))),
		refusal{code: "invalid_embedded_token", description: "tokens[0].tokens[0]: outside_delegation: not a delegation of this server"})
}

// TestEmbedDomain holds that a service of several domains names the one that its token is for, as for a token of its own.
func TestEmbedDomain(t *testing.T) {
	c := newCast(t)
	c.register(t, "wide", func(w *clients.Client) { w.Embed = []nested.Relation{nested.ActsFor} })
	form := embedForm(entry(t, nested.ActsFor, c.state(t, c.held, grantTo("wide", "im:handle")).Token))
	c.refuses(t, c.request(t, "wide", c.machine, form),
		refusal{code: "invalid_request", description: "The client has several domains: name one with im_domain."})
	c.token(t, "wide", c.machine, with(form, url.Values{"im_domain": {"example.com"}}))
	c.token(t, "wide", c.machine, with(form, url.Values{"resource": {"https://rooms.example.com"}}))
}
