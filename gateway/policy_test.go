package gateway_test

import (
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

// TestPolicy holds what each requirement accepts and refuses.
func TestPolicy(t *testing.T) {
	w := newWorld(t, func(c *gateway.Config) { c.Audience = []string{"im:a.example", "https://chat.a.example"} })
	login := func(s *claims.Set) {
		s.ACR, s.AuthTime, s.IssuedAt = "high", start.Add(-time.Hour), start.Add(-2*time.Minute)
	}
	alice := w.a.issue(t, w.alice, login)
	future := w.a.issue(t, w.alice, func(s *claims.Set) { s.AuthTime = start.Add(time.Hour) })
	bob := w.b.issue(t, w.bob)
	actor := w.a.issue(t, w.alice, func(s *claims.Set) { s.Actor = &claims.Actor{Subject: "bridge", Issuer: w.a.URL} })
	set := w.a.serviceClaims(w.alice.JKT())
	service := w.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	for name, test := range map[string]struct {
		device *device
		token  string
		policy gateway.PolicyConfig
		reason gateway.Reason
		says   string // in the challenge
	}{
		"accepted domain":           {w.bob, bob, gateway.PolicyConfig{Domains: []string{"A.example", "B.example"}}, gateway.ReasonAllowed, ""},
		"other domain":              {w.bob, bob, gateway.PolicyConfig{Domains: []string{"a.example"}}, gateway.ReasonDomain, ""},
		"refused domain":            {w.bob, bob, gateway.PolicyConfig{RefusedDomains: []string{"b.example"}}, gateway.ReasonDomain, ""},
		"not the refused domain":    {w.alice, alice, gateway.PolicyConfig{RefusedDomains: []string{"b.example"}}, gateway.ReasonAllowed, ""},
		"scope":                     {w.alice, alice, gateway.PolicyConfig{Scopes: []string{"im:device"}}, gateway.ReasonAllowed, ""},
		"missing scope":             {w.alice, alice, gateway.PolicyConfig{Scopes: []string{"im:device", "rooms"}}, gateway.ReasonScope, `scope="im:device rooms"`},
		"part of a scope":           {w.alice, alice, gateway.PolicyConfig{Scopes: []string{"im:dev"}}, gateway.ReasonScope, `error="insufficient_scope"`},
		"acr":                       {w.alice, alice, gateway.PolicyConfig{ACR: []string{"higher", "high"}}, gateway.ReasonAllowed, ""},
		"another acr":               {w.alice, alice, gateway.PolicyConfig{ACR: []string{"higher"}}, gateway.ReasonAuthentication, `acr_values="higher"`},
		"no acr":                    {w.bob, bob, gateway.PolicyConfig{ACR: []string{"high"}}, gateway.ReasonAuthentication, `error="insufficient_user_authentication"`},
		"login":                     {w.alice, alice, gateway.PolicyConfig{MaxLoginAge: time.Hour}, gateway.ReasonAllowed, ""},
		"old login":                 {w.alice, alice, gateway.PolicyConfig{MaxLoginAge: time.Hour - time.Second}, gateway.ReasonAuthentication, `max_age="3599"`},
		"login in the future":       {w.alice, future, gateway.PolicyConfig{MaxLoginAge: time.Hour}, gateway.ReasonAuthentication, `max_age="3600"`},
		"no login":                  {w.bob, bob, gateway.PolicyConfig{MaxLoginAge: time.Hour}, gateway.ReasonAuthentication, `max_age="3600"`},
		"token age":                 {w.alice, alice, gateway.PolicyConfig{MaxTokenAge: 2 * time.Minute}, gateway.ReasonAllowed, ""},
		"old token":                 {w.alice, alice, gateway.PolicyConfig{MaxTokenAge: 2*time.Minute - 1}, gateway.ReasonTooOld, `error="invalid_token"`},
		"audience of the route":     {w.alice, alice, gateway.PolicyConfig{Audience: []string{"im:a.example"}}, gateway.ReasonAllowed, ""},
		"audience of another route": {w.alice, alice, gateway.PolicyConfig{Audience: []string{"https://chat.a.example"}}, gateway.ReasonWrongAudience, ""},
		"actor":                     {w.alice, actor, gateway.PolicyConfig{}, gateway.ReasonBot, ""},
		"accepted actor":            {w.alice, actor, gateway.PolicyConfig{Bots: true}, gateway.ReasonAllowed, ""},
		"service":                   {w.alice, service, gateway.PolicyConfig{}, gateway.ReasonBot, ""},
		"accepted service":          {w.alice, service, gateway.PolicyConfig{Bots: true}, gateway.ReasonAllowed, ""},
		"service of a domain":       {w.alice, service, gateway.PolicyConfig{Bots: true, Domains: []string{"a.example"}}, gateway.ReasonAllowed, ""},
		"service of another domain": {w.alice, service, gateway.PolicyConfig{Bots: true, Domains: []string{"b.example"}}, gateway.ReasonDomain, ""},
		"required relation":         {w.alice, alice, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}, RequiredRelations: []nested.Relation{nested.MemberOf}}, gateway.ReasonRelation, ""},
		"accepted relation":         {w.alice, alice, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}}, gateway.ReasonAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy(t, test.policy)
			if err := w.Supports(p); err != nil {
				t.Fatal(err)
			}
			d := w.ask(t, test.device, test.token, p)
			want(t, d, test.reason)
			if !strings.Contains(d.Challenge, test.says) {
				t.Errorf("Challenge = %s, want %s in it", d.Challenge, test.says)
			}
			test.policy.Shadow = true
			d = w.ask(t, test.device, test.token, policy(t, test.policy))
			want(t, d, test.reason)
			if !d.Passes() || d.Status() != 200 || d.Shadowed != (test.reason != gateway.ReasonAllowed) || (d.Identity == nil) != d.Shadowed {
				t.Errorf("Decide = %+v, want a request that passes while the policy only watches", d)
			}
		})
	}
}

// TestBearer holds that only tokens of services that are bound to no key pass under Bearer, and only if the policy says so.
func TestBearer(t *testing.T) {
	w := newWorld(t)
	set := w.a.serviceClaims("")
	bearer := w.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	set = w.a.serviceClaims(w.alice.JKT())
	bound := w.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	user := w.a.claimsOf(w.alice)
	user.JKT = ""
	of := func(scheme, token string, proofs ...string) gateway.Request {
		return gateway.Request{Method: "GET", URL: chat, Authorization: []string{scheme + " " + token}, DPoP: proofs}
	}
	allow := policy(t, gateway.PolicyConfig{AllowBearer: true, Bots: true})
	d := w.Decide(t.Context(), of("bearer", bearer), allow)
	want(t, d, gateway.ReasonAllowed)
	if d.Identity == nil || !d.Identity.Service || d.Identity.User != "" || d.Identity.JKT != "" {
		t.Errorf("Identity = %+v, want the service", d.Identity)
	}
	want(t, w.Decide(t.Context(), of("Bearer", bearer), allow), gateway.ReasonAllowed)
	want(t, w.Decide(t.Context(), of("Bearer", bearer), policy(t, gateway.PolicyConfig{Bots: true})), gateway.ReasonWrongScheme)
	want(t, w.Decide(t.Context(), of("Bearer", bound), allow), gateway.ReasonWrongScheme)
	want(t, w.ask(t, w.alice, bound, allow), gateway.ReasonAllowed)
	want(t, w.Decide(t.Context(), of("Bearer", bound), allow), gateway.ReasonWrongScheme)
	want(t, w.Decide(t.Context(), of("Bearer", bearer, w.proof(t, w.alice, "GET", bearer)), allow), gateway.ReasonWrongScheme)
	want(t, w.ask(t, w.alice, bearer, allow), gateway.ReasonOtherKey)
	want(t, w.Decide(t.Context(), of("Bearer", w.a.sign(t, jose.TypeAccessToken, "k1", user.AppendJSON(nil))), allow), gateway.ReasonBadClaims)
}

// TestContradictions holds that a policy that contradicts itself is refused with the name of the field.
func TestContradictions(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  gateway.PolicyConfig
		says string
	}{
		"domain in both lists":      {gateway.PolicyConfig{Domains: []string{"a.example"}, RefusedDomains: []string{"A.EXAMPLE"}}, "RefusedDomains: a.example"},
		"domain twice":              {gateway.PolicyConfig{Domains: []string{"a.example", "A.example"}}, "Domains: a.example"},
		"no domain":                 {gateway.PolicyConfig{Domains: []string{"a b"}}, "Domains:"},
		"two scopes in one":         {gateway.PolicyConfig{Scopes: []string{"a b"}}, "Scopes:"},
		"empty scope":               {gateway.PolicyConfig{Scopes: []string{""}}, "Scopes:"},
		"scope twice":               {gateway.PolicyConfig{Scopes: []string{"a", "a"}}, "Scopes:"},
		"quote in acr":              {gateway.PolicyConfig{ACR: []string{`a"`}}, "ACR:"},
		"unknown relation":          {gateway.PolicyConfig{Relations: []nested.Relation{"friend_of"}}, "Relations:"},
		"required, not accepted":    {gateway.PolicyConfig{Relations: []nested.Relation{nested.SameAs}, RequiredRelations: []nested.Relation{nested.MemberOf}}, "RequiredRelations: member_of"},
		"actors without bots":       {gateway.PolicyConfig{Relations: []nested.Relation{nested.ActsFor}}, "set Bots"},
		"relations at depth 1":      {gateway.PolicyConfig{Relations: []nested.Relation{nested.SameAs}, MaxDepth: 1}, "MaxDepth:"},
		"depth without relations":   {gateway.PolicyConfig{MaxDepth: 2}, "MaxDepth:"},
		"too deep":                  {gateway.PolicyConfig{Relations: []nested.Relation{nested.SameAs}, MaxDepth: 4}, "MaxDepth:"},
		"negative age":              {gateway.PolicyConfig{MaxTokenAge: -1}, "MaxTokenAge:"},
		"bearer without bots":       {gateway.PolicyConfig{AllowBearer: true}, "AllowBearer:"},
		"unknown mode":              {gateway.PolicyConfig{Mode: "guess"}, "Mode:"},
		"unknown outage":            {gateway.PolicyConfig{Mode: gateway.Introspect, Outage: "hope"}, "Outage:"},
		"offline and fresh":         {gateway.PolicyConfig{Freshness: time.Second}, "Freshness:"},
		"offline with grace":        {gateway.PolicyConfig{Outage: gateway.Grace, MaxOutage: time.Minute}, "Outage:"},
		"deny with a limit":         {gateway.PolicyConfig{Mode: gateway.Introspect, MaxOutage: time.Minute}, "MaxOutage:"},
		"cache without a limit":     {gateway.PolicyConfig{Mode: gateway.Introspect, Outage: gateway.Cache}, "MaxOutage:"},
		"limit under the freshness": {gateway.PolicyConfig{Mode: gateway.Status, Outage: gateway.Cache, MaxOutage: time.Second, Freshness: time.Minute}, "MaxOutage:"},
	} {
		if _, err := gateway.NewPolicy(test.cfg); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: NewPolicy = %v, want an error with %q", name, err, test.says)
		}
	}
	p := policy(t, gateway.PolicyConfig{})
	if got := p.Config(); got.Mode != gateway.Offline || got.Outage != gateway.Deny {
		t.Errorf("Config = %+v, want the safe defaults", got)
	}
	w := newWorldOnce(t)
	for name, cfg := range map[string]gateway.PolicyConfig{
		"Config.Ask":      {Mode: gateway.Introspect},
		"Config.Statuses": {Mode: gateway.Status},
		"Config.Audience": {Audience: []string{"im:b.example"}},
	} {
		if err := w.Supports(policy(t, cfg)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("Supports = %v, want an error with %q", err, name)
		}
	}
	for name, cfg := range map[string]gateway.Config{
		"Config.Trust":      {Audience: []string{"im:a.example"}},
		"Config.Audience":   {Trust: w.table},
		"Config.Audience: ": {Trust: w.table, Audience: []string{""}},
		"Config.Algorithms": {Trust: w.table, Audience: []string{"im:a.example"}, Algorithms: []string{"HS256"}},
		"Config.OwnIssuers": {Trust: w.table, Audience: []string{"im:a.example"}, OwnIssuers: []string{""}},
	} {
		if _, err := gateway.New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("New = %v, want an error with %q", err, name)
		}
	}
}

// TestActorWithoutName holds that a token with `act` is one of a bot, however the claim names it.
func TestActorWithoutName(t *testing.T) {
	w := newWorld(t)
	named := func(a claims.Actor) string {
		return w.a.issue(t, w.alice, func(s *claims.Set) { s.Actor = &a })
	}
	bots := policy(t, gateway.PolicyConfig{Bots: true})
	want(t, w.ask(t, w.alice, named(claims.Actor{ClientID: "bot"}), nil), gateway.ReasonBot)
	d := w.ask(t, w.alice, named(claims.Actor{ClientID: "bot"}), bots)
	want(t, d, gateway.ReasonAllowed)
	if d.Identity == nil || d.Identity.Actor != "bot" {
		t.Errorf("Identity = %+v, want the actor bot", d.Identity)
	}
	outer := w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t)), func(s *claims.Set) { s.Actor = &claims.Actor{ClientID: "bot"} })
	want(t, w.ask(t, w.alice, outer, policy(t, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}})), gateway.ReasonBot)
	for _, a := range []claims.Actor{{}, {SID: "s1"}, {Actor: &claims.Actor{Subject: "bot"}}} {
		want(t, w.ask(t, w.alice, named(a), nil), gateway.ReasonBadClaims)
		want(t, w.ask(t, w.alice, named(a), bots), gateway.ReasonBadClaims)
	}
}
