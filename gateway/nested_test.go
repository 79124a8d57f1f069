package gateway_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

// member is a statement of b.example: alice belongs to its team.
func (w *world) member(t *testing.T, changes ...func(*nested.Statement)) string {
	t.Helper()
	s := nested.Statement{
		Type: nested.TypeMember, Issuer: w.b.URL, Subject: "im:wxyz=%23%23team@b.example", Party: w.a.claimsOf(w.alice).Subject, Role: "lead",
		Audience: []string{"im:a.example"}, JTI: "member-1", IssuedAt: w.clock.now(), Expires: w.clock.now().Add(5 * time.Minute),
	}
	for _, change := range changes {
		change(&s)
	}
	token, err := s.Sign(func(typ string, payload []byte) (string, error) { return w.b.sign(t, typ, "k1", payload), nil })
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// grant is a statement of b.example: the bot of a.example may act for bob.
func (w *world) grant(t *testing.T) string {
	t.Helper()
	bob := w.b.claimsOf(w.bob)
	token, err := nested.Statement{
		Type: nested.TypeActor, Issuer: w.b.URL, Subject: bob.Subject, Handle: bob.Handle, Party: "bot", PartyIssuer: w.a.URL, Scope: "rooms files",
		Audience: []string{w.a.URL}, JTI: "grant-1", IssuedAt: w.clock.now(), Expires: w.clock.now().Add(10 * time.Minute),
	}.Sign(func(typ string, payload []byte) (string, error) { return w.b.sign(t, typ, "k1", payload), nil })
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func enclosed(t *testing.T, relation nested.Relation, token string) func(*claims.Set) {
	t.Helper()
	tokens, err := nested.Build(nested.Entry{Relation: relation, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return func(s *claims.Set) { s.Tokens = tokens }
}

// TestNested holds which enclosed tokens a policy accepts, and that the whole has the least of all rights.
func TestNested(t *testing.T) {
	w := newWorld(t)
	accept := func(relations ...nested.Relation) *gateway.Policy {
		return policy(t, gateway.PolicyConfig{Relations: relations, Bots: true})
	}
	token := w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t)))
	for range 2 {
		want(t, w.ask(t, w.alice, token, nil), gateway.ReasonRelation)
		want(t, w.ask(t, w.alice, token, accept(nested.SameAs)), gateway.ReasonRelation)
		d := w.ask(t, w.alice, token, accept(nested.MemberOf))
		want(t, d, gateway.ReasonAllowed)
		id := d.Identity
		if id == nil || id.Tree == nil || len(id.Tree.Layers()) != 2 || !id.Expires.Equal(start.Add(5*time.Minute)) || id.Domain != "a.example" {
			t.Errorf("Identity = %+v, want alice with a statement that expires first", id)
		}
	}
	required := policy(t, gateway.PolicyConfig{
		Relations: []nested.Relation{nested.MemberOf, nested.SameAs}, RequiredRelations: []nested.Relation{nested.SameAs},
	})
	want(t, w.ask(t, w.alice, token, required), gateway.ReasonRelation)

	set := w.a.serviceClaims(w.alice.JKT())
	set.Scope = "rooms"
	enclosed(t, nested.ActsFor, w.grant(t))(&set)
	bot := w.a.sign(t, jose.TypeAccessToken, "k1", set.AppendJSON(nil))
	want(t, w.ask(t, w.alice, bot, accept(nested.MemberOf)), gateway.ReasonRelation)
	d := w.ask(t, w.alice, bot, accept(nested.ActsFor))
	want(t, d, gateway.ReasonAllowed)
	if id := d.Identity; id == nil || id.Actor != "bot" || strings.Join(id.Scope, " ") != "rooms" {
		t.Errorf("Identity = %+v, want a bot with the scope of the grant", id)
	}

	// The user who made the grant is of a domain that the route accepts, too.
	for _, test := range []struct {
		domains, refused []string
		reason           gateway.Reason
	}{
		{nil, []string{"b.example"}, gateway.ReasonDomain},
		{[]string{"a.example"}, nil, gateway.ReasonDomain},
		{[]string{"b.example"}, nil, gateway.ReasonDomain},
		{[]string{"a.example", "b.example"}, nil, gateway.ReasonAllowed},
		{nil, []string{"c.example"}, gateway.ReasonAllowed},
	} {
		p := policy(t, gateway.PolicyConfig{
			Relations: []nested.Relation{nested.ActsFor}, Bots: true, Domains: test.domains, RefusedDomains: test.refused,
		})
		want(t, w.ask(t, w.alice, bot, p), test.reason)
	}

	for name, token := range map[string]string{
		"about somebody else": w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t, func(s *nested.Statement) { s.Party = w.b.claimsOf(w.bob).Subject }))),
		"for somebody else":   w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t, func(s *nested.Statement) { s.Audience = []string{"im:c.example"} }))),
		"of another domain":   w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t, func(s *nested.Statement) { s.Subject = "im:wxyz=%23%23team@a.example" }))),
		"expired":             w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t, func(s *nested.Statement) { s.IssuedAt, s.Expires = start.Add(-time.Hour), start.Add(-time.Minute) }))),
		"not a token":         w.a.issue(t, w.alice, func(s *claims.Set) { s.Tokens = []byte(`[{"token":"abc"}]`) }),
		"none":                w.a.issue(t, w.alice, func(s *claims.Set) { s.Tokens = []byte(`[]`) }),
	} {
		d := w.ask(t, w.alice, token, accept(nested.MemberOf))
		want(t, d, gateway.ReasonBadNested)
		if d.Status() != 401 || !strings.Contains(d.Explanation, ":") {
			t.Errorf("%s: Decide = %+v, want 401 with the layer", name, d)
		}
	}
}

// TestNestedFalls holds that a kept token falls with a token that it encloses: when that expires, when its issuer is suspended or
// replaces its key, and when the feed says so.
func TestNestedFalls(t *testing.T) {
	accept := policy(t, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}})
	for name, test := range map[string]struct {
		change func(*world)
		reason gateway.Reason
	}{
		"expired":      {func(w *world) { w.clock.advance(5 * time.Minute) }, gateway.ReasonExpired},
		"suspended":    {func(w *world) { _ = w.table.Suspend("b.example", true) }, gateway.ReasonBadNested},
		"key replaced": {func(w *world) { w.b.change(func() { w.b.keys["k1"] = newKey(t) }); w.clock.advance(trust.DefaultFresh) }, gateway.ReasonBadNested},
		"key removed":  {func(w *world) { w.b.change(func() { delete(w.b.keys, "k1") }); w.clock.advance(trust.DefaultFresh) }, gateway.ReasonBadNested},
		"issuer down":  {func(w *world) { w.b.change(func() { w.b.down = true }); w.clock.advance(trust.DefaultStale) }, gateway.ReasonNoKeys},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			long := func(s *nested.Statement) {
				if name != "expired" {
					s.Expires = start.Add(24 * time.Hour)
				}
			}
			token := w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t, long)), func(s *claims.Set) { s.Expires = start.Add(24 * time.Hour) })
			want(t, w.ask(t, w.alice, token, accept), gateway.ReasonAllowed)
			test.change(w)
			want(t, w.ask(t, w.alice, token, accept), test.reason)
		})
	}
}

// TestNestedDepth holds a policy to the levels of tokens that it accepts.
func TestNestedDepth(t *testing.T) {
	w := newWorld(t)
	renamed := func(handle, old, jti string, inner json.RawMessage) string {
		token, err := nested.Statement{
			Type: nested.TypeRename, Issuer: w.a.URL, Subject: w.a.claimsOf(w.alice).Subject, Handle: "im:%40" + handle + "@a.example",
			OldHandle: "im:%40" + old + "@a.example", Audience: []string{"im:a.example"}, JTI: jti, IssuedAt: w.clock.now(),
			Expires: w.clock.now().Add(time.Hour), Tokens: inner,
		}.Sign(func(typ string, payload []byte) (string, error) { return w.a.sign(t, typ, "k1", payload), nil })
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	tokens, err := nested.Build(nested.Entry{Relation: nested.RenamedFrom, Token: renamed("ally", "al", "r1", nil)})
	if err != nil {
		t.Fatal(err)
	}
	token := w.a.issue(t, w.alice, enclosed(t, nested.RenamedFrom, renamed("alice", "ally", "r2", tokens)))
	for depth, reason := range map[int]gateway.Reason{2: gateway.ReasonDepth, 3: gateway.ReasonAllowed} {
		p := policy(t, gateway.PolicyConfig{Relations: []nested.Relation{nested.RenamedFrom}, MaxDepth: depth})
		want(t, w.ask(t, w.alice, token, p), reason)
	}
}

// TestNestedStatus holds that the status of each enclosed token is looked up.
func TestNestedStatus(t *testing.T) {
	w := newProviders(t)
	w.online(t)
	listed := func(p *provider) func(*claims.Set) {
		return func(s *claims.Set) { s.Status = &claims.Status{Index: 1, URI: p.URL + "/status"} }
	}
	p := policy(t, gateway.PolicyConfig{Mode: gateway.Status, Relations: []nested.Relation{nested.AttestedBy}})
	token := w.a.issue(t, w.alice, listed(w.a), enclosed(t, nested.AttestedBy, w.b.issue(t, w.alice, listed(w.b))))
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonAllowed)
	inner := w.a.issue(t, w.alice, enclosed(t, nested.AttestedBy, w.b.issue(t, w.alice, listed(w.b))))
	want(t, w.ask(t, w.alice, inner, p), gateway.ReasonNoStatus)
	w.b.change(func() { w.b.status = func(uint64) statuslist.Status { return statuslist.Suspended } })
	w.clock.advance(10 * time.Second)
	want(t, w.ask(t, w.alice, token, p), gateway.ReasonRevoked)
}

// TestNestedFeed holds that an event of the issuer of an enclosed token ends the whole.
func TestNestedFeed(t *testing.T) {
	w := newProviders(t)
	_, heard, _ := w.follow(t, w.b)
	accept := policy(t, gateway.PolicyConfig{Relations: []nested.Relation{nested.MemberOf}})
	token := w.a.issue(t, w.alice, enclosed(t, nested.MemberOf, w.member(t)))
	want(t, w.ask(t, w.alice, token, accept), gateway.ReasonAllowed)
	w.b.news <- event(feed.Token, "member-2", "")
	<-heard
	want(t, w.ask(t, w.alice, token, accept), gateway.ReasonAllowed)
	w.b.news <- event(feed.Token, "member-1", "")
	<-heard
	want(t, w.ask(t, w.alice, token, accept), gateway.ReasonRevoked)
}
