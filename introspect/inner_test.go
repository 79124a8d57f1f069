package introspect_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

const school = "https://id.school.example"

var errAway = errors.New("the peer is away")

// An authority believes the issuer, and one peer as long as it is told to.
type authority struct {
	*issuing
	peer  *ecdsa.PrivateKey
	key   error // instead of the peer's key
	speak error // instead of its say
	asked int
}

func (a *authority) Key(_ context.Context, from, kid string) (crypto.PublicKey, string, error) {
	a.asked++
	switch {
	case from == issuer:
		key, alg, ok := a.issuing.Public(kid)
		if !ok {
			return nil, "", claims.ErrIssuer
		}
		return key, alg, nil
	case from != school || kid != "school-1":
		return nil, "", claims.ErrIssuer
	case a.key != nil:
		return nil, "", a.key
	}
	return a.peer.Public(), jose.ES256, nil
}

func (a *authority) Speaks(_ context.Context, from, domain string) error {
	if from == issuer && domain == "example.com" {
		return nil
	}
	if from != school || domain != "school.example" {
		return claims.ErrDomain
	}
	return a.speak
}

// newNesting is an issuing that opens what tokens enclose.
func newNesting(t testing.TB, cacheBytes int) (*issuing, *authority) {
	t.Helper()
	s := newIssuing(t, cacheBytes)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{issuing: s, peer: key}
	s.Introspector, err = introspect.New(introspect.Config{
		Issuer: issuer, Domains: []string{"example.com"}, Development: true, Keys: s, Revocations: s, Records: s, Authority: a, CacheBytes: cacheBytes,
		Now: func() time.Time { return s.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// states signs a statement for half an hour: the peer's, or the issuer's about Bob.
func (a *authority) states(t testing.TB, s nested.Statement) string {
	t.Helper()
	s.Audience, s.IssuedAt, s.Expires = []string{issuer}, start, start.Add(30*time.Minute)
	sign := a.ring.Sign
	if s.Issuer == school {
		sign = func(typ string, payload []byte) (string, error) {
			return jose.Sign(a.peer, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":"school-1"}`, typ), payload)
		}
	}
	token, err := s.Sign(sign)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// member and child are statements about Alice; child, of Bob, is the issuer's own.
func (a *authority) member(t testing.TB) nested.Entry {
	return nested.Entry{Relation: nested.MemberOf, Token: a.states(t, nested.Statement{
		Type: nested.TypeMember, Issuer: school, Subject: "im:wxyz=%23%23engineering@school.example", JTI: "member", Party: alice().Subject,
	})}
}

func (a *authority) child(t testing.TB) nested.Entry {
	return nested.Entry{Relation: nested.GuardianOf, Token: a.states(t, nested.Statement{
		Type: nested.TypeGuardian, Issuer: issuer, Subject: "im:u2@example.com;id-type=user", JTI: "child", Party: alice().Subject,
	})}
}

func enclosing(t testing.TB, entries ...nested.Entry) func(*claims.Set) {
	t.Helper()
	tokens, err := nested.Build(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return func(set *claims.Set) { set.Tokens = tokens }
}

func (s *issuing) revoke(rows ...storage.Revocation) {
	for i := range rows {
		rows[i].Seq = int64(i) + 1
	}
	s.mirror.Apply(rows...)
}

// auditor is told why.
var auditor = introspect.Caller{
	ClientID: "auditor", Domains: []string{"example.com"}, Scopes: []string{introspect.ScopeIntrospect, introspect.ScopeReason},
}

func TestInner(t *testing.T) {
	cause := revocation.Cause{Reason: "revoked", At: start, TokenLife: time.Hour}
	user := storage.Revocation{Kind: storage.RevokeUser, Key: "example.com/u2", Reason: "revoked", At: start, ExpiresAt: start.Add(time.Hour)}
	another, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		set    func(*claims.Set)
		change func(s *issuing, a *authority)
		want   string // the answer; "" for active, "?" for what cannot be known
	}{
		{"nothing", nil, nil, ""},
		{"the outer token is revoked", nil, func(s *issuing, _ *authority) { s.revoke(revocation.RevokeToken("token-1", cause)) }, `{"active":false,"reason":"revoked"}`},
		{"an inner one is revoked", nil, func(s *issuing, _ *authority) { s.revoke(revocation.RevokeToken("child", cause)) }, `{"active":false,"reason":"revoked","path":"tokens[1]"}`},
		{"the user of an inner one is revoked", nil, func(s *issuing, _ *authority) { s.revoke(user) }, `{"active":false,"reason":"revoked","path":"tokens[1]"}`},
		{"the generation of the user of a statement", nil, func(s *issuing, _ *authority) { s.revoke(revocation.RevokeBelow("example.com", "u2", 99, cause)) }, ""},
		{"a jti of ours for a token that is not", nil, func(s *issuing, _ *authority) { s.revoke(revocation.RevokeToken("member", cause)) }, ""},
		{"an inner one has expired", nil, func(s *issuing, _ *authority) { s.now = start.Add(30 * time.Minute) }, `{"active":false,"reason":"expired","path":"tokens[0]"}`},
		{"the peer has another key", nil, func(_ *issuing, a *authority) { a.key = claims.ErrIssuer }, `{"active":false,"reason":"untrusted_issuer","path":"tokens[0]"}`},
		{"the peer has another key under the same kid", nil, func(_ *issuing, a *authority) { a.peer = another }, `{"active":false,"reason":"bad_signature","path":"tokens[0]"}`},
		{"the peer has lost the domain", nil, func(_ *issuing, a *authority) { a.speak = claims.ErrDomain }, `{"active":false,"reason":"foreign_domain","path":"tokens[0]"}`},
		{"the peer is away", nil, func(_ *issuing, a *authority) { a.key = errAway }, "?"},
		{"the peer's domain is not known now", nil, func(_ *issuing, a *authority) { a.speak = errAway }, "?"},
		{"the revocations are not known now", nil, func(s *issuing, _ *authority) { s.now = start.Add(25 * time.Hour) }, "?"},
		{"the actor's session", acting("", "actor-1"), func(s *issuing, _ *authority) { s.revoke(revocation.RevokeGrant("actor-1", cause)) }, `{"active":false,"reason":"revoked"}`},
		{"the session of who acted before", acting("before-1", "actor-1"), func(s *issuing, _ *authority) { s.revoke(revocation.RevokeGrant("before-1", cause)) }, `{"active":false,"reason":"revoked"}`},
	} {
		for _, seen := range []bool{false, true} { // before, and so found in the cache
			t.Run(fmt.Sprintf("%s, seen %t", test.name, seen), func(t *testing.T) {
				s, a := newNesting(t, 0)
				changes := []func(*claims.Set){enclosing(t, a.member(t), a.child(t)), func(set *claims.Set) { set.Expires = start.Add(time.Hour) }}
				if test.set != nil {
					changes = append(changes, test.set)
				}
				token := s.issue(t, nested.TypeAccessToken, alice(changes...))
				if seen {
					if text := s.ask(t, auditor, token); !strings.HasPrefix(text, `{"active":true`) {
						t.Fatalf("answer = %s before, want active", text)
					}
				}
				if test.change != nil {
					test.change(s, a)
				}
				if test.want == "?" {
					if answer, err := s.Introspect(t.Context(), auditor, introspect.Question{Token: token}); err == nil || errors.Is(err, introspect.ErrForbidden) {
						t.Errorf("Introspect = %+v, %v, want that it cannot know", answer, err)
					}
					return
				}
				got := s.ask(t, auditor, token)
				if test.want != "" && got != test.want || test.want == "" && !strings.HasPrefix(got, `{"active":true`) {
					t.Errorf("answer = %s, want %s", got, test.want)
				}
				// Others are told no reason.
				if other := s.ask(t, peerCaller, token); test.want != "" && other != `{"active":false}` {
					t.Errorf("answer = %s to who may not know why", other)
				}
			})
		}
	}
}

// peerCaller sees what is for the domain, and not why not.
var peerCaller = introspect.Caller{ClientID: "peer", Domains: []string{"example.com"}, Scopes: []string{introspect.ScopeIntrospect}}

// acting lets somebody act by a session, and somebody before by another.
func acting(before, sid string) func(*claims.Set) {
	return func(set *claims.Set) {
		set.Actor = &claims.Actor{Subject: "im:u3@example.com;id-type=user", Issuer: issuer, SID: sid}
		if before != "" {
			set.Actor.Actor = &claims.Actor{Subject: "im:u4@example.com;id-type=user", Issuer: issuer, SID: before}
		}
	}
}

// TestInnerAnswer holds what is told of each layer, by value and by digest, and how long and for what the whole is good.
func TestInnerAnswer(t *testing.T) {
	s, a := newNesting(t, 0)
	member, child := a.member(t), a.child(t)
	member.ByDigest = true
	token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, member, child), func(set *claims.Set) { set.Expires = start.Add(time.Hour) }))
	ask := func(along ...string) introspect.Answer {
		t.Helper()
		verdict, err := s.Introspect(t.Context(), auditor, introspect.Question{Token: token, Along: along})
		if err != nil {
			t.Fatal(err)
		}
		return verdict.Answer()
	}
	for range 2 { // what came along is not kept
		if got := ask(); got.Active || got.Reason != "absent" || got.Path != "tokens[0]" {
			t.Errorf("answer = %+v without what goes along, want absent", got)
		}
		got := ask(member.Token)
		if !got.Active || got.ExpiresAt != start.Add(30*time.Minute).Unix() || got.ExpiresIn != 1800 || got.Scope != "im:handle im:device" {
			t.Errorf("answer = %+v, want it active until the statements end", got)
		}
		want := []introspect.Layer{
			{
				Path: "tokens[0]", Relation: nested.MemberOf, Type: nested.TypeMember, Revocation: "not_asked", Issuer: school,
				Subject: "im:wxyz=%23%23engineering@school.example", Member: alice().Subject, JTI: "member", ExpiresAt: start.Add(30 * time.Minute).Unix(),
			},
			{
				Path: "tokens[1]", Relation: nested.GuardianOf, Type: nested.TypeGuardian, Active: true, Revocation: "checked", Issuer: issuer,
				Subject: "im:u2@example.com;id-type=user", Guardian: alice().Subject, JTI: "child", ExpiresAt: start.Add(30 * time.Minute).Unix(),
			},
		}
		if !slices.Equal(got.Tokens, want) {
			t.Errorf("layers = %+v, want %+v", got.Tokens, want)
		}
	}
	if got := ask(child.Token); got.Active || got.Reason != "absent" {
		t.Errorf("answer = %+v with another token along, want absent", got)
	}
}

// A layer that nobody was asked about is not called active, in what goes over the wire.
func TestReviewB5LayerNotAsked(t *testing.T) {
	s, a := newNesting(t, 0)
	token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, a.member(t), a.child(t))))
	var answer struct{ Tokens []map[string]any }
	if err := json.Unmarshal([]byte(s.ask(t, auditor, token)), &answer); err != nil || len(answer.Tokens) != 2 {
		t.Fatalf("answer = %+v, %v, want two layers", answer, err)
	}
	foreign, own := answer.Tokens[0], answer.Tokens[1]
	if _, said := foreign["active"]; said || foreign["revocation"] != "not_asked" {
		t.Errorf("layer = %v, want no word of whether it is active", foreign)
	}
	if own["active"] != true || own["revocation"] != "checked" {
		t.Errorf("layer = %v, want it active and checked", own)
	}
}

// Without an authority nobody is believed, and with one only whoever it names.
func TestInnerNotBelieved(t *testing.T) {
	s, a := newNesting(t, 0)
	token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, a.member(t))))
	blind := newIssuing(t, 0)
	blind.ring = s.ring
	if got := blind.ask(t, auditor, token); got != `{"active":false,"reason":"untrusted_issuer"}` {
		t.Errorf("answer = %s without an authority, want inactive", got)
	}
	for name, change := range map[string]func(*claims.Set){
		"about somebody else": func(set *claims.Set) {
			set.Subject, set.Device = "im:u5@example.com;id-type=user", "im:u5/1f@example.com"
		},
		"no array":     func(set *claims.Set) { set.Tokens = json.RawMessage(`{}`) },
		"an empty one": func(set *claims.Set) { set.Tokens = json.RawMessage(`[]`) },
	} {
		token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, a.member(t)), change))
		if got := s.ask(t, peerCaller, token); got != `{"active":false}` {
			t.Errorf("%s: answer = %s, want inactive", name, got)
		}
	}
}

// TestPlainTokensCostNothing holds that a token that encloses none costs what it cost before there were any that do: no
// question to the authority, and as many allocations.
func TestPlainTokensCostNothing(t *testing.T) {
	plain := newIssuing(t, 0)
	with, a := newNesting(t, 0)
	allocs := func(s *issuing) float64 {
		token := s.issue(t, nested.TypeAccessToken, alice())
		return testing.AllocsPerRun(100, func() {
			answer, err := s.Introspect(t.Context(), auditor, introspect.Question{Token: token})
			if err != nil || !answer.Active {
				t.Fatalf("Introspect = %+v, %v, want active", answer, err)
			}
		})
	}
	before, after := allocs(plain), allocs(with)
	if after > before || after > 2 {
		t.Errorf("%v allocations for a plain token that was seen before, want no more than %v, and at most 2", after, before)
	}
	if a.asked != 0 {
		t.Errorf("the authority was asked %d times", a.asked)
	}
}
