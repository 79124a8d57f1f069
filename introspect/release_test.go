package introspect_test

import (
	"context"
	"crypto"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
)

var everything = []string{
	"iss", "sub", "username", "handle", "device", "aud", "client_id", "scope", "exp", "iat", "jti", "auth_time", "acr", "sid", "act",
	"tokens", "xsign",
}

// newReleasing is newNesting with a key for pairwise ids.
func newReleasing(t testing.TB, key byte) (*issuing, *authority) {
	t.Helper()
	s, a := newNesting(t, 0)
	s.pseudonymous(t, a, key)
	return s, a
}

// pseudonymous begins anew with that key, as a restart does.
func (s *issuing) pseudonymous(t testing.TB, a *authority, key byte) {
	t.Helper()
	var err error
	s.Introspector, err = introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: s, Revocations: s, Records: s, Authority: a,
		PairwiseKey: [32]byte{key}, Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
}

func released(t testing.TB, p introspect.Policy) *introspect.Release {
	t.Helper()
	r, err := introspect.NewRelease(p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with returns the caller with a release.
func with(c introspect.Caller, name string, r *introspect.Release) introspect.Caller {
	c.Name, c.Release = name, r
	return c
}

func TestRelease(t *testing.T) {
	always := `"cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"token_type":"DPoP","expires_in":600,"max_age":5,"holder":"unverified"}`
	for name, test := range map[string]struct {
		claims []string
		want   string
	}{
		"none":     {nil, `{"active":true,` + always},
		"two":      {[]string{"scope", "exp"}, `{"active":true,"scope":"im:handle im:device","exp":1777864321,` + always},
		"the user": {[]string{"sub", "act"}, `{"active":true,"sub":"im:u1@example.com;id-type=user",` + strings.Replace(always, `"unverified"`, `"unverified","act":{"sub":"bot"}`, 1)},
		"the rest": {
			[]string{"iss", "aud", "client_id", "iat", "jti", "auth_time", "acr", "sid", "tokens"},
			`{"active":true,"iss":"https://id.example.com","aud":"im:example.com","client_id":"im-app","iat":1777863721,"jti":"token-1",` +
				`"auth_time":1777863661,"acr":"urn:example:mfa","sid":"session-1",` + always,
		},
		"handle and device": {
			[]string{"act", "device", "handle", "username"},
			`{"active":true,"username":"@alice@example.com","handle":"im:%40alice@example.com","device":"im:u1/1f@example.com",` +
				strings.Replace(always, `"unverified"`, `"unverified","act":{"sub":"bot"}`, 1),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newIssuing(t, 0)
			token := s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.Actor = &claims.Actor{Subject: "bot"} }))
			by := with(peer, "peer", released(t, introspect.Policy{Claims: test.claims, Reasons: true}))
			if got := s.ask(t, by, token); got != test.want {
				t.Errorf("Introspect =\n%s\nwant\n%s", got, test.want)
			}
			if got := s.ask(t, by, "never-issued"); got != inactive {
				t.Errorf("Introspect = %s, want %s", got, inactive)
			}
		})
	}
}

func TestNewRelease(t *testing.T) {
	if r := released(t, introspect.Policy{Claims: everything, Reasons: true}); r != nil {
		t.Errorf("NewRelease = %+v, want nil for a policy that withholds nothing", r)
	}
	for name, test := range map[string]struct{ claims, want string }{
		"an unknown member":    {"sub act handel", `names "handel"`},
		"no member of ours":    {"cnf", `names "cnf"`},
		"a user without act":   {"sub scope", "has no act"},
		"a device without act": {"device", "has no act"},
	} {
		if r, err := introspect.NewRelease(introspect.Policy{Claims: strings.Fields(test.claims)}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("NewRelease with %s = %v, %v, want an error with %s", name, r, err, test.want)
		}
	}
}

// A caller is told reasons only if the policy and the scope say so.
func TestReleaseOfReasons(t *testing.T) {
	for _, told := range []bool{false, true} {
		s := newIssuing(t, 0)
		token := s.issue(t, jose.TypeAccessToken, alice())
		s.now = start.Add(10 * time.Minute)
		want := inactive
		if told {
			want = `{"active":false,"reason":"expired"}`
		}
		policy := released(t, introspect.Policy{Claims: []string{"exp"}, Reasons: told})
		if got := s.ask(t, with(auditor, "auditor", policy), token); got != want {
			t.Errorf("Introspect with reasons %t = %s, want %s", told, got, want)
		}
		if got := s.ask(t, with(peer, "peer", policy), token); got != inactive {
			t.Errorf("Introspect without the scope = %s, want %s", got, inactive)
		}
	}
}

// The narrowest of several policies tells what all of them tell.
func TestNarrowest(t *testing.T) {
	if r := introspect.Narrowest(nil, nil); r != nil {
		t.Errorf("Narrowest = %+v, want nil", r)
	}
	narrow := introspect.Narrowest(
		nil,
		released(t, introspect.Policy{Claims: []string{"sub", "act", "scope", "exp"}, Reasons: true}),
		released(t, introspect.Policy{Claims: []string{"scope", "exp", "jti"}, Reasons: false}),
	)
	s := newIssuing(t, 0)
	token := s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.JKT = "" }, service))
	want := `{"active":true,"scope":"introspect","exp":1777864321,"token_type":"Bearer","expires_in":600,"max_age":5,"holder":"unverified"}`
	if got := s.ask(t, with(auditor, "auditor", narrow), token); got != want {
		t.Errorf("Introspect =\n%s\nwant\n%s", got, want)
	}
	s.now = start.Add(10 * time.Minute)
	if got := s.ask(t, with(auditor, "auditor", narrow), token); got != inactive {
		t.Errorf("Introspect = %s, want %s", got, inactive)
	}
	pairwise := introspect.Narrowest(released(t, introspect.Policy{Pairwise: true, Reasons: true}), nil)
	both, err := introspect.NewRelease(introspect.Policy{Claims: nil, Pairwise: true, Reasons: true})
	if err != nil || *pairwise != *both {
		t.Errorf("Narrowest = %+v, %v, want %+v", pairwise, err, both)
	}
}

var pairwiseID = regexp.MustCompile(`pw_[A-Za-z0-9_-]{43}`)

// Nothing in a pairwise answer names a user, a handle or a device, and two callers share no value for them. A caller gets the same
// values each time, also after a restart, and from all layers.
func TestPairwise(t *testing.T) {
	s, a := newReleasing(t, 1)
	policy := released(t, introspect.Policy{Claims: everything, Pairwise: true})
	one, two := with(auditor, "one", policy), with(auditor, "two", policy)
	user := s.issue(t, nested.TypeAccessToken, alice(func(set *claims.Set) {
		set.JTI, set.Device, set.Audience = "user", "", []string{issuer}
	}))
	member := nested.Entry{Relation: nested.MemberOf, Token: a.states(t, nested.Statement{
		Type: nested.TypeMember, Issuer: school, Subject: "im:wxyz=%23%23engineering@school.example", JTI: "member", Party: alice().Subject,
		Role: "Alice Liddell, lead",
	})}
	former := nested.Entry{Relation: nested.RenamedFrom, Token: a.states(t, nested.Statement{
		Type: nested.TypeRename, Issuer: issuer, Subject: alice().Subject, JTI: "former", Handle: alice().Handle, OldHandle: "im:%40alice.l@example.com",
	})}
	moved := nested.Entry{Relation: nested.MovedFrom, Token: a.states(t, nested.Statement{
		Type: nested.TypeMove, Issuer: issuer, Subject: "im:u3@example.com;id-type=user", JTI: "moved", Party: alice().Subject,
	})}
	let := nested.Entry{Relation: nested.ActsFor, Token: a.states(t, nested.Statement{
		Type: nested.TypeActor, Issuer: issuer, Subject: "im:u4@example.com;id-type=user", JTI: "let", Party: alice().Subject, PartyIssuer: issuer,
		Scope: alice().Scope,
	})}
	entries := []nested.Entry{member, a.child(t), former, {Relation: nested.Separate, Token: user}, moved, let}
	token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, entries...)))
	acting := s.issue(t, nested.TypeAccessToken, alice(func(set *claims.Set) {
		set.JTI = "acting"
		set.Actor = &claims.Actor{Subject: "im:b0t@example.com;id-type=user", Issuer: issuer, Actor: &claims.Actor{Subject: "old-bot", Issuer: issuer}}
	}))
	first, other := s.ask(t, one, token), s.ask(t, two, token)
	var answer, answerOfTwo, acted introspect.Answer
	for text, into := range map[string]*introspect.Answer{first: &answer, other: &answerOfTwo, s.ask(t, one, acting): &acted} {
		for _, secret := range []string{"u1", "u2", "u3", "u4", "alice", "liddell", "1f", "b0t", "engineering", "im:%", ";id-type"} {
			if strings.Contains(strings.ToLower(pairwiseID.ReplaceAllString(text, "")), secret) {
				t.Errorf("answer = %s, which names %q", text, secret)
			}
		}
		if err := json.Unmarshal([]byte(strings.Replace(text, `"aud":"im:example.com"`, `"aud":["im:example.com"]`, 1)), into); err != nil {
			t.Fatal(err)
		}
	}
	if !answer.Active || len(answer.Tokens) != len(entries) || answer.Issuer != issuer || answer.ClientID != "im-app" || acted.Actor == nil ||
		acted.Actor.Actor.Subject != "old-bot" || acted.Subject != answer.Subject || acted.Device != answer.Device {
		t.Fatalf("answer = %s, want it active with %d layers, the client that acted before, and the issuer", first, len(entries))
	}
	ids := make(map[string]bool)
	for _, id := range []string{
		answer.Subject, answer.Device, acted.Actor.Subject, answer.Tokens[0].Subject, answer.Tokens[1].Subject, answer.Tokens[4].Subject,
		answer.Tokens[5].Subject,
	} {
		if ids[id] = true; !strings.HasPrefix(id, "pw_") || len(id) != len("pw_")+43 || strings.Contains(other, id) {
			t.Errorf("id = %q, want a pairwise one that another caller does not get", id)
		}
	}
	if len(ids) != 7 {
		t.Errorf("ids = %v, want one for each user, device and group", ids)
	}
	for path, id := range map[string]string{
		"member": answer.Tokens[0].Member, "guardian": answer.Tokens[1].Guardian, "renamed": answer.Tokens[2].Subject,
		"the user's own token": answer.Tokens[3].Subject, "moved": answer.Tokens[4].MovedTo, "actor": answer.Tokens[5].MayAct.Subject,
		"Seen": s.Seen(one, alice().Subject),
	} {
		if id != answer.Subject {
			t.Errorf("%s = %q, want that of the user, %q", path, id, answer.Subject)
		}
	}
	if id := s.Seen(one, alice().Device); id != answer.Device {
		t.Errorf("Seen = %q, want that of the device, %q", id, answer.Device)
	}
	if id := s.Seen(two, alice().Device); id != answerOfTwo.Device {
		t.Errorf("Seen = %q for another caller, want %q", id, answerOfTwo.Device)
	}
	s.pseudonymous(t, a, 1)
	if again := s.ask(t, one, token); again != first {
		t.Errorf("answer after a restart =\n%s\nwant\n%s", again, first)
	}
	s.pseudonymous(t, a, 2)
	if again := s.ask(t, one, token); strings.Contains(again, answer.Subject) {
		t.Errorf("answer under another key = %s, want other ids", again)
	}
}

// Seen returns what the caller reads in its answers.
func TestSeen(t *testing.T) {
	s, _ := newReleasing(t, 1)
	for name, test := range map[string]struct {
		release *introspect.Release
		uri     string
		same    bool
	}{
		"everything is told":     {nil, alice().Subject, true},
		"less is told":           {released(t, introspect.Policy{Reasons: true}), alice().Device, true},
		"pairwise":               {released(t, introspect.Policy{Pairwise: true}), alice().Subject, false},
		"a client":               {released(t, introspect.Policy{Pairwise: true}), "im-app", true},
		"a foreign device":       {released(t, introspect.Policy{Pairwise: true}), "im:u1/1f@school.example", false},
		"no identifier of ours":  {released(t, introspect.Policy{Pairwise: true}), "im:wxyz=%ff@example.com", false},
		"nothing":                {released(t, introspect.Policy{Pairwise: true}), "", true},
		"the URL of an issuer":   {released(t, introspect.Policy{Pairwise: true}), school, true},
		"a handle in mimi: form": {released(t, introspect.Policy{Pairwise: true}), "mimi://example.com/u/alice", false},
	} {
		if got := s.Seen(with(peer, "peer", test.release), test.uri); (got == test.uri) != test.same {
			t.Errorf("%s: Seen(%q) = %q", name, test.uri, got)
		}
	}
	pairwise := with(peer, "peer", released(t, introspect.Policy{Pairwise: true}))
	if a, b := s.Seen(pairwise, "im:u1/1f@school.example"), s.Seen(pairwise, "im:u2/1f@school.example"); a == b {
		t.Errorf("Seen = %q for the devices of two people of another domain", a)
	}
	// Where one URI is the user and the handle, there is one id.
	if a, b := s.Seen(pairwise, "im:u1@example.com;id-type=user"), s.Seen(pairwise, "im:xmpp=u1@example.com"); a != b {
		t.Errorf("Seen = %q and %q, want the same id", a, b)
	}
}

// Without a name all callers would share their ids.
func TestPairwiseNeedsAName(t *testing.T) {
	policy := released(t, introspect.Policy{Pairwise: true})
	s, _ := newReleasing(t, 1)
	if v, err := s.Introspect(t.Context(), with(peer, "", policy), introspect.Question{Token: "x"}); err == nil {
		t.Errorf("Introspect = %+v for a caller without a name, want an error", v)
	}
	if v, err := newIssuing(t, 0).Introspect(t.Context(), with(peer, "peer", policy), introspect.Question{Token: "x"}); err == nil {
		t.Errorf("Introspect = %+v without a key, want an error", v)
	}
}

func TestItself(t *testing.T) {
	s := newIssuing(t, 0)
	own := alice(service, audience(issuer))
	token := s.issue(t, jose.TypeAccessToken, own)
	by := peer
	by.JTI = own.JTI
	if got := s.ask(t, by, token); got != inactive {
		t.Errorf("Introspect = %s, want %s", got, inactive)
	}
	if got := s.ask(t, peer, token); !strings.HasPrefix(got, `{"active":true`) {
		t.Errorf("Introspect = %s, want it to be active for the client with other credentials", got)
	}
	if got := s.ask(t, by, s.issue(t, jose.TypeAccessToken, alice())); !strings.HasPrefix(got, `{"active":true`) {
		t.Errorf("Introspect = %s, want another token to be active", got)
	}
}

// A counted is an issuer whose sources count how often they are asked.
type counted struct {
	issuing                                 *issuing
	lookups, verified, revocations, records int
}

func (c *counted) Public(kid string) (crypto.PublicKey, string, bool) {
	c.lookups++
	key, alg, ok := c.issuing.Public(kid)
	if ok {
		c.verified++ // each key that is found is used for one signature
	}
	return key, alg, ok
}

func (c *counted) Revoked(ctx context.Context, t introspect.Token) (introspect.Reason, error) {
	c.revocations++
	return c.issuing.Revoked(ctx, t)
}

func (c *counted) Session(context.Context, string) (introspect.Reason, error) {
	c.records++
	return "", nil
}

func (c *counted) Statement(context.Context, string) (introspect.Reason, error) {
	c.records++
	return "", nil
}

// A text that is no token costs as much as the token of another issuer: one look-up of a key, one of revocations, no signature, and
// nobody else is asked. Of the issuer's own tokens, one that the caller may not see costs as much as one that it may.
func TestSameWork(t *testing.T) {
	s, a := newReleasing(t, 1)
	c := &counted{issuing: s}
	in, err := introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: c, Revocations: c, Records: c, Authority: a,
		Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	cost := func(token string) [5]int {
		*c = counted{issuing: s}
		a.asked = 0
		if v, err := in.Introspect(t.Context(), peer, introspect.Question{Token: token}); err != nil {
			t.Fatalf("Introspect = %+v, %v", v, err)
		}
		return [5]int{c.lookups, c.verified, c.revocations, c.records, a.asked}
	}
	payload, err := json.Marshal(alice(func(set *claims.Set) { set.Issuer = school }))
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := jose.Sign(a.peer, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"school-1"}`), payload)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"foreign": foreign, "no token": "never-issued", "a refresh token": "rt_" + strings.Repeat("A", 64), "two dots": "..", "much": strings.Repeat("a.", 4<<10),
	} {
		for range 2 { // it is not remembered
			if got, want := cost(token), [5]int{1, 0, 1, 0, 0}; got != want {
				t.Errorf("%s: look-ups, signatures, revocations, records, peers asked = %v, want %v", name, got, want)
			}
		}
	}
	for name, token := range map[string]string{
		"for the caller": s.issue(t, jose.TypeAccessToken, alice()),
		"for others":     s.issue(t, jose.TypeAccessToken, alice(audience("https://else.example"))),
		"expired":        s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.IssuedAt, set.Expires = start.Add(-time.Hour), start.Add(-time.Minute) })),
	} {
		if got, want := cost(token), [5]int{1, 1, 1, 0, 0}; got != want {
			t.Errorf("%s: look-ups, signatures, revocations, records, peers asked = %v, want %v", name, got, want)
		}
	}
}
