package server_test

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

// TestEmbedRefused holds the request for a token that encloses others to who may ask for what, by which key and for whom,
// whatever the tokens are.
func TestEmbedRefused(t *testing.T) {
	c := startCast(t)
	member := c.member(t, nil)
	_, grant := c.lets(t, bot.id, c.issuer, "im:handle")
	whole := c.nested(t, c.her(member), asValue).token
	rooms := wantTokens(t, c.token(t, accounts, c.phone, codeForm(c.code(t, "alice", url.Values{
		"client_id": {accounts.id}, "scope": {"im:handle im:device"}, "resource": {"https://rooms.example.com"},
	}), nil)))
	revoked := issued(t, c.token(t, accounts, c.phone, exchanging(c.alice.access, typeAccess, "", nil)))
	wantStatus(t, c.revokeBy(t, accounts, c.phone, revoked), http.StatusOK)
	gone := newDevice(t)
	removed := c.account(t, gone, "alice")
	c.remove(t, removed.set.Device)

	with := func(e embedding, change url.Values) embedding { e.form = change; return e }
	by := func(e embedding, client caller, d *device) embedding { e.c, e.d = client, d; return e }
	of := func(e embedding, subject string) embedding { e.subject = subject; return e }
	acting := inside{rel: "acts_for", token: grant}
	for _, test := range []struct {
		name string
		e    embedding
		code string
		says string
	}{
		{"no tokens", with(c.her(), url.Values{"tokens": {""}}), "invalid_request", "tokens is missing"},
		{"what comes along is no array", with(c.her(member), url.Values{"im_along": {`{}`}}), "invalid_request", "im_along"},
		{"what comes along are no tokens", with(c.her(member), url.Values{"im_along": {`[1]`}}), "invalid_request", "im_along"},
		{"for another type", with(c.her(member), url.Values{"requested_token_type": {typeJWT}}), "invalid_request", "requested_token_type"},
		{"for a refresh token", with(c.her(member), url.Values{"requested_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}), "invalid_request", "requested_token_type"},
		{"more scope", with(c.her(member), url.Values{"scope": {"im:handle introspect:domain"}}), "invalid_scope", ""},
		{"a resource that the subject_token is not for", with(of(c.her(member), rooms.access), url.Values{"resource": {c.issuer}}), "invalid_target", ""},
		{"an audience that the subject_token is not for", with(of(c.her(member), rooms.access), url.Values{"audience": {"im:example.com"}}), "invalid_target", ""},
		{"a resource that is not the client's", with(c.its(acting), url.Values{"resource": {"https://rooms.example.com"}}), "invalid_target", ""},
		{"a domain that is not the client's", with(c.its(acting), url.Values{"im_domain": {"example.org"}}), "invalid_request", "domain"},
		{"a relation that the client is not registered for", c.its(inside{rel: "member_of", token: member.token}), "unauthorized_client", "embed"},
		{"one among others", c.her(member, acting), "unauthorized_client", "embed"},
		{"a client without the grant", by(c.her(member), app, c.phone), "unauthorized_client", "grant type"},
		{"a public client without subject_token", of(c.her(member), ""), "invalid_request", "subject_token is missing"},
		{"a public client without subject_token, vouched for", of(c.her(inside{
			rel: "attested_by", token: c.vouch.vouches(t, c.phone.JKT(), c.issuer, nil), typ: typeAccess,
		}), ""), "invalid_request", "subject_token is missing"},
		{"another key", by(c.her(member), accounts, newDevice(t)), "invalid_request", "another key"},
		{"another person's token", of(c.her(member), c.bob.access), "invalid_request", "another key"},
		{"another client's token", of(c.its(acting), c.alice.access), "invalid_request", "another client's"},
		{"a token that encloses some", of(c.her(c.move(t, nil)), whole), "invalid_request", "encloses"},
		{"a revoked token", of(c.her(member), revoked), "invalid_request", "not valid"},
		{"a removed device's token", by(of(c.her(member), removed.access), accounts, gone), "invalid_request", "not valid"},
		{"a refresh token", of(c.her(member), c.alice.refresh), "invalid_request", "not valid"},
		{"a statement for a token", of(c.her(member), member.token), "invalid_request", "not valid"},
		{"another issuer's token", of(c.her(member), c.vouch.vouches(t, c.phone.JKT(), c.issuer, nil)), "invalid_request", "not valid"},
		{"a token of another type", with(c.her(member), url.Values{"subject_token_type": {typeJWT}}), "invalid_request", "subject_token_type"},
		{"a token of no type", with(c.her(member), url.Values{"subject_token_type": {""}}), "invalid_request", "subject_token_type"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := c.rows(t)
			proof := c.proof(t, test.e.d, "")
			test.e.proof = proof
			a := c.ask(t, test.e)
			wantError(t, a, http.StatusBadRequest, test.code)
			if !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("error_description = %q, want %q in it", a.text("error_description"), test.says)
			}
			if after := c.rows(t); strings.Join(after, "\n") != strings.Join(before, "\n") {
				t.Error("rows changed")
			}
			// Whose proof it is has something else to ask with it.
			spare, client := url.Values{"grant_type": {"client_credentials"}}, bot
			if test.e.d == c.phone {
				spare, client = refreshForm(c.alice.refresh), accounts
			}
			if a := c.tokenWith(t, client, test.e.d, spare, proof); a.status != http.StatusOK {
				t.Errorf("answer to the next request with the same proof = %v, want a token", a)
			}
		})
	}
	t.Run("no proof", func(t *testing.T) {
		form := url.Values{"grant_type": {grantEmbed}, "tokens": {entries(t, byValue(typeJWT, "acts_for", grant))}}
		wantError(t, c.token(t, bot, nil, form), http.StatusBadRequest, "invalid_dpop_proof")
		wantError(t, c.token(t, bot, nil, exchanging(c.alice.access, typeAccess, "", nil)), http.StatusBadRequest, "invalid_dpop_proof")
	})
	t.Run("a proof again", func(t *testing.T) {
		e := c.her(member)
		e.proof = c.proof(t, c.phone, "")
		issued(t, c.ask(t, e))
		wantError(t, c.ask(t, e), http.StatusBadRequest, "invalid_dpop_proof")
		form := exchanging(c.alice.access, typeAccess, "", nil)
		wantError(t, c.tokenWith(t, accounts, c.phone, form, e.proof), http.StatusBadRequest, "invalid_dpop_proof")
		e.proof = c.proof(t, c.phone, "")
		issued(t, c.tokenWith(t, accounts, c.phone, form, e.proof))
		wantError(t, c.tokenWith(t, accounts, c.phone, form, e.proof), http.StatusBadRequest, "invalid_dpop_proof")
	})
	t.Run("the wrong secret", func(t *testing.T) {
		e := c.its(acting)
		e.c.secret = "guess"
		wantError(t, c.ask(t, e), http.StatusUnauthorized, "invalid_client")
	})
	t.Run("never wider, never longer", func(t *testing.T) {
		c.advance(t, 5*time.Minute)
		e := c.her(c.member(t, func(s *nested.Statement) { s.Expires = s.IssuedAt.Add(3 * time.Minute) }))
		e.form = url.Values{"scope": {"im:handle"}}
		set := claimsOf(t, c.nested(t, e, asValue).token)
		if set.Scope != "im:handle" || set.Device != "" || set.Expires.After(c.clock.now().Add(2*time.Minute)) || set.Expires.After(c.alice.set.Expires) {
			t.Errorf("claims = %+v, want the scope that was asked for, until the statement ends", set)
		}
		c.advance(t, 6*time.Minute)
		wantError(t, c.ask(t, e), http.StatusBadRequest, "invalid_request") // her own token has ended
	})
}

// TestEmbedByJSON holds the body that the draft has to the rules of every other: one object, each member once, of the size
// of a form, and for this grant alone.
func TestEmbedByJSON(t *testing.T) {
	c := startCast(t)
	_, grant := c.lets(t, bot.id, c.issuer, "im:handle")
	entry := `{"type":"` + typeJWT + `","rel":"acts_for","token":"` + grant + `"}`
	const typ = `"grant_type":"` + grantEmbed + `"`
	good := `{` + typ + `,"tokens":[` + entry + `]}`
	for _, test := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"as the draft has it", good, 200, ""},
		{"with members that nobody knows", `{"a":[{"b":null}],` + good[1:], 200, ""},
		{"with everything that may be", `{"requested_token_type":"` + typeAccess + `","resource":["im:example.com"],"audience":"im:example.com","scope":"im:handle","im_domain":"example.com",` + good[1:], 200, ""},
		{"with spaces", " {\n\t" + good[1:len(good)-1] + "\r\n} \n", 200, ""},
		{"another grant", `{"grant_type":"client_credentials"}`, 400, "invalid_request"},
		{"exchange", `{"grant_type":"` + grantExchange + `","subject_token":"` + grant + `"}`, 400, "invalid_request"},
		{"no grant", `{"tokens":[` + entry + `]}`, 400, "invalid_request"},
		{"a grant that is no text", `{"grant_type":["` + grantEmbed + `"],"tokens":[` + entry + `]}`, 400, "invalid_request"},
		{"a member twice", `{` + typ + `,` + good[1:], 400, "invalid_request"},
		{"tokens twice", `{"tokens":[` + entry + `],` + good[1:], 400, "invalid_request"},
		{"a member twice, once escaped", `{"\u0074okens":[` + entry + `],` + good[1:], 400, "invalid_request"},
		{"tokens in a string", `{` + typ + `,"tokens":"[]"}`, 400, "invalid_request"},
		{"tokens in an object", `{` + typ + `,"tokens":{"0":` + entry + `}}`, 400, "invalid_request"},
		{"no tokens", `{` + typ + `}`, 400, "invalid_request"},
		{"null for tokens", `{` + typ + `,"tokens":null}`, 400, "invalid_request"},
		{"none in it", `{` + typ + `,"tokens":[]}`, 400, "invalid_embedded_token"},
		{"an entry with a member twice", `{` + typ + `,"tokens":[{"type":"` + typeJWT + `",` + entry[1:] + `]}`, 400, "invalid_request"},
		{"im_along as text", `{"im_along":"[]",` + good[1:], 400, "invalid_request"},
		{"a scope that is no text", `{"scope":1,` + good[1:], 400, "invalid_request"},
		{"an empty scope", `{"scope":"",` + good[1:], 400, "invalid_request"},
		{"a resource that is no text", `{"resource":{},` + good[1:], 400, "invalid_request"},
		{"more than 32 resources", `{"resource":[` + strings.Repeat(`"im:example.com",`, 32) + `"im:example.com"],` + good[1:], 400, "invalid_request"},
		{"a zero octet", `{"scope":"im:handle\u0000",` + good[1:], 400, "invalid_request"},
		{"a lone surrogate", `{"scope":"\ud800",` + good[1:], 400, "invalid_request"},
		{"not UTF-8", "{\"scope\":\"\xff\"," + good[1:], 400, "invalid_request"},
		{"two objects", good + good, 400, "invalid_request"},
		{"an array", `[` + good + `]`, 400, "invalid_request"},
		{"half of it", good[:len(good)/2], 400, "invalid_request"},
		{"nothing", "", 400, "invalid_request"},
		{"deeper than any", `{"a":` + strings.Repeat("[", 10000) + strings.Repeat("]", 10000) + `,` + good[1:], 400, "invalid_request"},
		{"an oversized parameter", `{"scope":"` + strings.Repeat("a", 8<<10+1) + `",` + good[1:], 413, "invalid_request"},
		{"an oversized body", `{"a":"` + strings.Repeat("a", 1<<17) + `",` + good[1:], 413, "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := c.tokenJSON(t, bot, c.machine, test.body)
			if test.status == http.StatusOK {
				issued(t, a)
				return
			}
			wantError(t, a, test.status, test.code)
		})
	}
	send := func(to, contentType, body string, header http.Header) answer {
		req := c.request(t, http.MethodPost, to, body)
		maps.Copy(req.Header, header)
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("DPoP", c.proof(t, c.machine, ""))
		return c.send(t, c.http, req)
	}
	inBody := `{"client_id":"` + bot.id + `","client_secret":"` + bot.secret + `",` + good[1:]
	t.Run("a client in the body", func(t *testing.T) { issued(t, send("/token", "application/json", inBody, nil)) })
	t.Run("a charset", func(t *testing.T) { issued(t, send("/token", "Application/JSON; charset=utf-8", inBody, nil)) })
	t.Run("another type of JSON", func(t *testing.T) {
		wantError(t, send("/token", "application/jwt", inBody, nil), 400, "invalid_request")
		wantError(t, send("/token", "application/json-seq", inBody, nil), 400, "invalid_request")
	})
	t.Run("a query", func(t *testing.T) {
		wantError(t, send("/token?scope=im:handle", "application/json", inBody, nil), 400, "invalid_request")
	})
	t.Run("two ways to say who asks", func(t *testing.T) {
		header := http.Header{"Authorization": {basic(bot.id, url.QueryEscape(bot.secret))}}
		wantError(t, send("/token", "application/json", inBody, header), 400, "invalid_request")
	})
	for _, path := range []string{"/introspect", "/revoke", "/par"} {
		t.Run(path, func(t *testing.T) {
			wantError(t, send(path, "application/json", `{"client_id":"`+bot.id+`","client_secret":"`+bot.secret+`","token":"x"}`, nil), 400, "invalid_request")
		})
	}
}
