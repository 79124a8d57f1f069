package introspect_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
)

// How people logged in is the least of what all access tokens say, to callers and to the issuer's own endpoints.
func TestReviewC5LeastAssurance(t *testing.T) {
	early, late := start.Add(-2*time.Hour).Unix(), start.Add(-time.Hour).Unix()
	for name, v := range map[string]struct {
		innerACR  string
		innerTime time.Time
		acr       string
		authTime  int64
	}{
		"the same":        {"loa3", time.Unix(late, 0), "loa3", late},
		"another acr":     {"loa1", time.Unix(late, 0), "", late},
		"an earlier time": {"loa3", time.Unix(early, 0), "loa3", early},
		"none":            {"", time.Time{}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newNesting(t, 0)
			user := s.issue(t, nested.TypeAccessToken, alice(func(set *claims.Set) {
				set.JTI, set.Device, set.Audience = "user", "", []string{issuer}
				set.ACR, set.AuthTime = v.innerACR, v.innerTime
			}))
			token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, nested.Entry{Relation: nested.Separate, Token: user}), func(set *claims.Set) {
				set.ACR, set.AuthTime = "loa3", time.Unix(late, 0)
			}))
			verdict, err := s.Introspect(t.Context(), auditor, introspect.Question{Token: token})
			answer := verdict.Answer()
			if err != nil || !answer.Active || answer.ACR != v.acr || answer.AuthTime != v.authTime {
				t.Errorf("Introspect = %+v, %v, want acr %q, auth_time %d", answer, err, v.acr, v.authTime)
			}
			set, active, err := s.Own(t.Context(), token)
			if err != nil || !active || set.ACR != v.acr || set.AuthTime.IsZero() != (v.authTime == 0) || v.authTime != 0 && set.AuthTime.Unix() != v.authTime {
				t.Errorf("Own = %+v, %t, %v, want acr %q, auth_time %d", set, active, err, v.acr, v.authTime)
			}
		})
	}
}

// A layer says all that its statement says about people: role, former handle and the party that it names.
func TestReviewC5LayersSayWhat(t *testing.T) {
	const bob = "im:u2@example.com;id-type=user"
	her := alice().Subject
	for typ, v := range map[string]struct {
		statement nested.Statement
		relation  nested.Relation
		want      map[string]any
	}{
		nested.TypeMember: {
			nested.Statement{Issuer: school, Subject: "im:wxyz=%23%23engineering@school.example", Party: her, Role: "lead"}, nested.MemberOf,
			map[string]any{"member": her, "role": "lead"},
		},
		nested.TypeGuardian: {nested.Statement{Issuer: issuer, Subject: bob, Party: her}, nested.GuardianOf, map[string]any{"guardian": her}},
		nested.TypeMove:     {nested.Statement{Issuer: issuer, Subject: bob, Party: her}, nested.MovedFrom, map[string]any{"moved_to": her}},
		nested.TypeRename: {
			nested.Statement{Issuer: issuer, Subject: her, Handle: alice().Handle, OldHandle: "im:%40alex@example.com"}, nested.RenamedFrom,
			map[string]any{"handle": alice().Handle, "old_handle": "im:%40alex@example.com"},
		},
		nested.TypeActor: {
			nested.Statement{Issuer: issuer, Subject: bob, Party: her, PartyIssuer: issuer, Scope: alice().Scope}, nested.ActsFor,
			map[string]any{"may_act": map[string]any{"sub": her, "iss": issuer}},
		},
	} {
		t.Run(typ, func(t *testing.T) {
			s, a := newNesting(t, 0)
			v.statement.Type, v.statement.JTI = typ, "inside"
			entry := nested.Entry{Relation: v.relation, Token: a.states(t, v.statement)}
			token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, entry)))
			var answer struct{ Tokens []map[string]any }
			if err := json.Unmarshal([]byte(s.ask(t, auditor, token)), &answer); err != nil || len(answer.Tokens) != 1 {
				t.Fatalf("answer = %+v, %v, want one layer", answer, err)
			}
			for name, want := range v.want {
				got, _ := json.Marshal(answer.Tokens[0][name])
				if wanted, _ := json.Marshal(want); string(got) != string(wanted) {
					t.Errorf("%s = %s, want %s", name, got, wanted)
				}
			}
		})
	}
	// Two halves of a link name each other.
	s, a := newNesting(t, 0)
	const away = "im:a1@school.example;id-type=user"
	one := a.states(t, nested.Statement{Type: nested.TypeLink, Issuer: issuer, Subject: her, Party: away, JTI: "one"})
	other := a.states(t, nested.Statement{Type: nested.TypeLink, Issuer: school, Subject: away, Party: her, JTI: "other"})
	token := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, nested.Entry{Relation: nested.SameAs, Token: one}, nested.Entry{Relation: nested.SameAs, Token: other})))
	verdict, err := s.Introspect(t.Context(), auditor, introspect.Question{Token: token})
	answer := verdict.Answer()
	if err != nil || len(answer.Tokens) != 2 || answer.Tokens[0].SameAs != away || answer.Tokens[1].SameAs != her {
		t.Errorf("Introspect = %+v, %v, want both halves to name the other", answer, err)
	}
}
