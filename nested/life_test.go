package nested_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A token that refers to a status list, which nothing here checks, or that is valid for years, is refused wherever it lies;
// and such statements are not signed.
func TestReviewB5StatusAndLife(t *testing.T) {
	const year = 366 * 24 * time.Hour
	status := edit(`"jti"`, `"status":{"status_list":{"idx":7,"uri":"https://id.school.example/status/1"}},"jti"`)
	life := func(d time.Duration) change { // of what lives from an hour ago for two hours
		return edit(fmt.Sprintf(`"exp":%d`, at(60).Unix()), fmt.Sprintf(`"exp":%d`, at(-60).Add(d).Unix()))
	}
	accessLife := func(d *draft) { d.set.Expires = d.set.IssuedAt.Add(year + time.Second) }
	for name, v := range map[string]struct {
		token string
		path  string
		code  nested.Code
	}{
		"status of a statement":     {aliceToken(inside(value(nested.MemberOf, member(status)))), "tokens[0]", "unchecked_status"},
		"status of an access token": {aliceToken(inside(value(nested.AttestedBy, vouched(status)))), "tokens[0]", "unchecked_status"},
		"status of the outermost":   {aliceToken(status), "", "unchecked_status"},
		"a statement for 20 years":  {aliceToken(inside(value(nested.MemberOf, member(life(20*year))))), "tokens[0]", nested.CodeClaim},
		"a second too long":         {aliceToken(inside(value(nested.MemberOf, member(life(year+time.Second))))), "tokens[0]", nested.CodeClaim},
		"an access token":           {aliceToken(inside(value(nested.AttestedBy, vouched(accessLife)))), "tokens[0]", nested.CodeClaim},
		"the outermost":             {aliceToken(accessLife), "", nested.CodeClaim},
	} {
		_, err := nested.Open(t.Context(), v.token, options())
		wantRefused(t, name, err, v.path, v.code)
	}
	if _, err := nested.Open(t.Context(), aliceToken(inside(value(nested.MemberOf, member(life(year))))), options()); err != nil {
		t.Errorf("Open = %v for a statement of 366 days", err)
	}
	s := nested.Statement{
		Type: nested.TypeMember, Issuer: school, Subject: team, Audience: []string{home}, JTI: "m",
		IssuedAt: now, Expires: now.Add(year), Party: alice,
	}
	if _, err := s.Sign(signers[school].sign); err != nil {
		t.Errorf("Sign = %v for 366 days", err)
	}
	longer, listed := s, s
	longer.Expires, listed.Status = s.Expires.Add(time.Second), &claims.Status{Index: 7, URI: school + "/status/1"}
	for name, s := range map[string]nested.Statement{"longer": longer, "with a status": listed} {
		if _, err := s.Sign(signers[school].sign); err == nil {
			t.Errorf("Sign = nil for a statement that no verifier takes: %s", name)
		}
	}
}

// A tree says that it is unrevoked only if the revocation of each of its tokens could be looked up.
func TestReviewB5NotAsked(t *testing.T) {
	for _, askable := range []bool{true, false} {
		o := options()
		o.Revoked = func(_ context.Context, l *nested.Layer) (bool, error) {
			if l.Issuer == school && !askable {
				return false, nested.ErrNotAsked
			}
			return false, nil
		}
		tree, err := nested.Open(t.Context(), aliceToken(inside(value(nested.MemberOf, member()))), o)
		if err != nil || tree.Assurance.Unrevoked != askable {
			t.Errorf("Open = %+v, %v, want it unrevoked: %t", tree, err, askable)
		}
	}
}
