package nested_test

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
)

func TestOptions(t *testing.T) {
	token := aliceToken()
	if _, err := nested.Open(t.Context(), token, nested.Options{}); err == nil {
		t.Error("Open without keys = nil, want an error")
	}
	open := func(change func(o *nested.Options)) error {
		o := options()
		change(&o)
		_, err := nested.Open(t.Context(), token, o)
		return err
	}
	wantRefused(t, "no name of its own", open(func(o *nested.Options) { o.Audience = nil }), "", nested.CodeAudience)
	wantRefused(t, "an example's domain", open(func(o *nested.Options) { o.Development = false }), "", nested.CodeClaim)
	if err := open(func(o *nested.Options) { o.Audience, o.AnyAudience = nil, true }); err != nil {
		t.Errorf("Open with any audience = %v", err)
	}
	wantRefused(t, "by the clock", open(func(o *nested.Options) { o.Now = nil }), "", nested.CodeExpired)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := nested.Open(ctx, token, options())
	wantUnknown(t, err, context.Canceled)
}

// A statement for any audience is still for its embedder.
func TestAnyAudienceIsTheOutermost(t *testing.T) {
	o := options()
	o.Audience, o.AnyAudience = nil, true
	_, err := nested.Open(t.Context(), botToken(inside(value(nested.ActsFor, grant(audience("https://else.example"))))), o)
	wantRefused(t, "for another audience", err, "tokens[0]", nested.CodeAudience)
}

func TestAssurance(t *testing.T) {
	tree, err := nested.Open(t.Context(), aliceToken(inside(value(nested.Separate, userToken()))), options())
	if err != nil {
		t.Fatal(err)
	}
	a := tree.Assurance
	if a.ACR != "" || !slices.Equal(a.AMR, []string{"pwd"}) || a.AuthTime == nil || !a.AuthTime.Equal(at(-90)) || a.Unrevoked {
		t.Errorf("Assurance = %+v, want the least of both tokens", a)
	}
	if tree.Scope != "im:handle" || !tree.Until.Equal(at(5)) || !tree.From.Equal(at(-1)) {
		t.Errorf("scope %q from %v until %v", tree.Scope, tree.From, tree.Until)
	}
}

// If one of two access tokens has no time of login, the whole has none.
func TestReviewC5AssuranceOfSilentTokens(t *testing.T) {
	silent := func(d *draft) { d.set.AuthTime = time.Time{} }
	for name, token := range map[string]string{
		"inside":  aliceToken(inside(value(nested.Separate, userToken(silent)))),
		"outside": aliceToken(silent, inside(value(nested.Separate, userToken()))),
	} {
		tree, err := nested.Open(t.Context(), token, options())
		if err != nil || tree.Assurance.AuthTime != nil {
			t.Errorf("%s: Assurance = %+v, %v, want no time", name, tree, err)
		}
	}
}

// Services with the same id at two issuers are two subjects. A user is one subject, even if two issuers of the domain name it.
func TestReviewC5ServicesOfTwoIssuers(t *testing.T) {
	relay := func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = "relay", "relay", "" }
	for name, v := range map[string]struct {
		token string
		want  []string // issuer and URI
	}{
		"two issuers": {botToken(relay, inside(value(nested.AttestedBy,
			vouched(relay, audience(bridge), func(d *draft) { d.set.JKT = botKey.jkt() })))),
			[]string{bridge + " relay", vouch + " relay"}},
		"one issuer": {botToken(relay, inside(value(nested.AttestedBy, botToken(relay, jti("other"), audience(bridge))))),
			[]string{bridge + " relay"}},
		"a user": {aliceToken(inside(value(nested.Separate, userToken()))), []string{home + " " + alice}},
	} {
		tree, err := nested.Open(t.Context(), v.token, options())
		if err != nil {
			t.Errorf("%s: Open = %v", name, err)
			continue
		}
		var got []string
		for _, s := range tree.Subjects {
			got = append(got, s.Issuer+" "+s.URI)
		}
		if !slices.Equal(got, v.want) {
			t.Errorf("%s: Subjects = %q, want %q", name, got, v.want)
		}
	}
}

func TestActor(t *testing.T) {
	for name, token := range map[string]string{
		"own token": botToken(inside(value(nested.ActsFor, grant()))),
		"act":       exchanged(inside(value(nested.ActsFor, grant(audience(home))))),
		"act alone": exchanged(),
	} {
		tree, err := nested.Open(t.Context(), token, options())
		if err != nil {
			t.Fatal(err)
		}
		if a := tree.Actor; a == nil || a.URI != bot || a.Issuer != bridge {
			t.Errorf("%s: Actor = %+v, want the bot", name, a)
		}
		if text := tree.Explain(); !strings.Contains(text, " acts for Alice (@alice@example.com) until 14:04 UTC") {
			t.Errorf("%s: Explain = %s", name, text)
		}
	}
	tree, err := nested.Open(t.Context(), aliceToken(), options())
	if err != nil || tree.Actor != nil {
		t.Errorf("Actor = %+v, %v, want none", tree.Actor, err)
	}
}

// What Build makes is what Open reads.
func TestBuild(t *testing.T) {
	g := grant()
	for _, byDigest := range []bool{false, true} {
		tokens, err := nested.Build(nested.Entry{Relation: nested.ActsFor, Token: g, ByDigest: byDigest})
		if err != nil {
			t.Fatal(err)
		}
		o := options()
		o.Along = []string{g}
		tree, err := nested.Open(t.Context(), botToken(raw(string(tokens))), o)
		if err != nil {
			t.Fatal(err)
		}
		if l := tree.Root.Inner[0]; l.ByDigest != byDigest || l.Subject != alice || l.Type != nested.TypeActor {
			t.Errorf("Inner = %+v", l)
		}
		if want := fmt.Sprintf(`"hash":%q`, hexSum(g)); strings.Contains(string(tokens), want) != byDigest {
			t.Errorf("Build = %s, by digest %v", tokens, byDigest)
		}
		var list []struct{ Type string }
		if err := json.Unmarshal(tokens, &list); err != nil || strings.HasSuffix(list[0].Type, ":jwt:reference") != byDigest {
			t.Errorf("Build = %s: %v", tokens, err)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	for name, v := range map[string]struct {
		entries []nested.Entry
		path    string
		code    nested.Code
	}{
		"no such relation": {[]nested.Entry{value("friend_of", grant())}, "tokens[0]", nested.CodeRelation},
		"another type":     {[]nested.Entry{value(nested.MemberOf, grant())}, "tokens[0]", nested.CodeType},
		"no token":         {[]nested.Entry{value(nested.MemberOf, "x")}, "tokens[0]", nested.CodeMalformed},
		"one jti": {[]nested.Entry{value(nested.MemberOf, member()), value(nested.MovedFrom, move(jti("member")))}, "tokens[1]",
			nested.CodeRepeated},
		"too many":  {renames(nested.MaxTokens, 0), "tokens[7]", nested.CodeTooMany},
		"too large": {renames(4, 3000), "tokens[3]", nested.CodeTooLarge},
		"too deep": {[]nested.Entry{value(nested.RenamedFrom, rename(jti("a"), inside(value(nested.RenamedFrom, rename(jti("b"),
			inside(value(nested.RenamedFrom, rename())))))))}, "tokens[0].tokens[0].tokens[0]", nested.CodeTooDeep},
		"a bearer token": {[]nested.Entry{value(nested.Separate, userToken(func(d *draft) { d.set.JKT = "" }))}, "tokens[0]", nested.CodeBearer},
	} {
		_, err := nested.Build(v.entries...)
		wantRefused(t, name, err, v.path, v.code)
	}
	if _, err := nested.Build(); err == nil {
		t.Error("Build = nil for nothing, want an error")
	}
}

// An issuer checks what it is about to sign; what is good then is good when it is signed.
func TestCheck(t *testing.T) {
	set := access(signers[home], "alice", alice, aliceHandle, deviceKey, verifier).set
	set.Tokens = build(t, value(nested.MemberOf, member()))
	o := options()
	o.Types = []string{nested.TypeDevice} // left over from what the issuer opened before
	checked, err := nested.Check(t.Context(), set, o)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signers[home].sign(nested.TypeAccessToken, set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := nested.Open(t.Context(), signed, options())
	if err != nil {
		t.Fatal(err)
	}
	if opened.Scope != checked.Scope || opened.Until != checked.Until || !slices.Equal(opened.Subjects, checked.Subjects) {
		t.Errorf("Open = %+v, Check = %+v", opened, checked)
	}
	if text := checked.Explain(); !strings.Contains(text, "not yet signed") {
		t.Errorf("Explain = %s", text)
	}

	set.Subject, set.Handle = mallory, ""
	_, err = nested.Check(t.Context(), set, options())
	wantRefused(t, "stolen", err, "tokens[0]", nested.CodeBinding)
	set.Tokens = json.RawMessage(`[{"pad":"` + strings.Repeat("x", 6000) + `"}]`)
	_, err = nested.Check(t.Context(), set, options())
	wantRefused(t, "too large once it is signed", err, "", nested.CodeTooLarge)
	if _, err = nested.Check(t.Context(), set, nested.Options{}); err == nil {
		t.Error("Check without keys = nil, want an error")
	}
}

func build(t testing.TB, entries ...nested.Entry) json.RawMessage {
	t.Helper()
	tokens, err := nested.Build(entries...)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// A statement that could not be read is not signed.
func TestSignRefuses(t *testing.T) {
	base := nested.Statement{
		Type: nested.TypeMember, Issuer: school, Subject: team, Audience: []string{home}, JTI: "m", IssuedAt: now, Expires: at(1), Party: alice,
	}
	if _, err := base.Sign(signers[school].sign); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(s *nested.Statement){
		"no type":            func(s *nested.Statement) { s.Type = "" },
		"an access token":    func(s *nested.Statement) { s.Type = nested.TypeAccessToken },
		"no issuer":          func(s *nested.Statement) { s.Issuer = "" },
		"no subject":         func(s *nested.Statement) { s.Subject = "" },
		"no audience":        func(s *nested.Statement) { s.Audience = nil },
		"no jti":             func(s *nested.Statement) { s.JTI = "" },
		"no iat":             func(s *nested.Statement) { s.IssuedAt = time.Time{} },
		"no exp":             func(s *nested.Statement) { s.Expires = time.Time{} },
		"no time":            func(s *nested.Statement) { s.Expires = s.IssuedAt },
		"no member":          func(s *nested.Statement) { s.Party = "" },
		"scope":              func(s *nested.Statement) { s.Scope = "im:handle" },
		"handle":             func(s *nested.Statement) { s.Handle = aliceHandle },
		"by a user":          func(s *nested.Statement) { s.Issuer = s.Subject },
		"of a device":        func(s *nested.Statement) { s.Subject = aliceDevice },
		"not canonical":      func(s *nested.Statement) { s.Subject = "im:School.example" },
		"without domain":     func(s *nested.Statement) { s.Subject = "im:wxyz=%23%23team@local.invalid" },
		"unreadable tokens":  func(s *nested.Statement) { s.Tokens = json.RawMessage(`{}`) },
		"tokens not JSON":    func(s *nested.Statement) { s.Tokens = json.RawMessage(`[`) },
		"guardian of a team": func(s *nested.Statement) { s.Type = nested.TypeGuardian },
		"no such thumbprint": func(s *nested.Statement) { s.Type, s.JKT = nested.TypeDevice, "short" },
	} {
		s := base
		change(&s)
		if _, err := s.Sign(signers[school].sign); err == nil {
			t.Errorf("Sign = nil with %s, want an error", name)
		}
	}
	if _, err := nested.UserKey(noKey{aliceKey.key}); err == nil {
		t.Error("UserKey = nil for what is no key")
	}
}

// Every algorithm that users may have signs and is checked.
func TestUserKeys(t *testing.T) {
	for _, s := range []*signer{aliceKey, {"", "P-256", jose.ES256, signers[home].key}} {
		d := delegation(func(d *draft) { d.st.JKT = s.jkt() })
		token := deviceStatement(by(s), inside(value(nested.Cascade, d)))
		o := options()
		o.Types = []string{nested.TypeDevice}
		tree, err := nested.Open(t.Context(), token, o)
		if err != nil {
			t.Errorf("%s: Open = %v", s.alg, err)
			continue
		}
		if tree.Root.JKT != s.jkt() || tree.Root.Kid != "" {
			t.Errorf("signed by %s, %s", tree.Root.JKT, tree.Root.Kid)
		}
	}
}

func TestErrors(t *testing.T) {
	_, err := nested.Open(t.Context(), aliceToken(inside(value(nested.RenamedFrom,
		rename(inside(value(nested.RenamedFrom, rename(jti("first"), expires(0)))))))), options())
	if got, want := fmt.Sprint(err), "nested: tokens[0].tokens[0]: expired"; got != want {
		t.Errorf("Error = %s, want %s", got, want)
	}
	_, err = nested.Open(t.Context(), botToken(inside(value(nested.ActsFor, grant(edit(aliceHandle, botHandle))))), options())
	if !errors.Is(err, claims.ErrMismatch) {
		t.Errorf("Open = %v, want %v", err, claims.ErrMismatch)
	}
}

// Text from tokens cannot pass for other lines, or change how they run.
func TestExplainIsPlainText(t *testing.T) {
	token := aliceToken(scope("im:handle x\u202ey"), inside(value(nested.MemberOf, member(func(d *draft) {
		d.st.Role = "lead\u202e\nScope: admin"
	}))))
	tree, err := nested.Open(t.Context(), token, options())
	if err != nil {
		t.Fatal(err)
	}
	text := tree.Explain()
	if strings.Contains(text, "\u202e") || strings.Contains(text, "\nScope: admin") {
		t.Errorf("Explain = %q", text)
	}
}

func TestExplainOtherDays(t *testing.T) {
	tree, err := nested.Open(t.Context(), aliceToken(expires(24*60)), options())
	if err != nil {
		t.Fatal(err)
	}
	want := "This is Alice (@alice@example.com) until 2026-05-02 13:55 UTC.\n"
	if text := tree.Explain(); !strings.HasPrefix(text, want) {
		t.Errorf("Explain = %s, want %s", text, want)
	}
}

// A noKey signs, and has no public key of a known type.
type noKey struct{ crypto.Signer }

func (noKey) Public() crypto.PublicKey { return nil }
