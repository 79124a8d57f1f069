package nested_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/imidentity/issuer/nested"
)

// A token with a status is accepted only if the verifier checks the status, which happens after everything else.
func TestStatus(t *testing.T) {
	status := edit(`"jti"`, `"status":{"status_list":{"idx":7,"uri":"https://id.school.example/status/1"}},"jti"`)
	outage := errors.New("outage")
	for name, v := range map[string]struct {
		token string
		path  string
	}{
		"of a statement":     {aliceToken(inside(value(nested.MemberOf, member(status)))), "tokens[0]"},
		"of an access token": {aliceToken(inside(value(nested.AttestedBy, vouched(status)))), "tokens[0]"},
		"of the outermost":   {aliceToken(status), ""},
	} {
		for _, answer := range []struct {
			valid bool
			err   error
			code  nested.Code
		}{
			{true, nil, ""}, {false, nil, nested.CodeRevoked}, {false, nested.ErrNotAsked, nested.CodeStatus}, {false, outage, ""},
		} {
			var asked []string
			o := options()
			o.Status = func(_ context.Context, l *nested.Layer) (bool, error) {
				asked = append(asked, l.Path)
				status := l.Access
				switch {
				case status != nil && status.Status.Index == 7, l.Statement != nil && l.Statement.Status.Index == 7:
				default:
					t.Errorf("asked about %+v, which has no such status", l)
				}
				return answer.valid, answer.err
			}
			tree, err := nested.Open(t.Context(), v.token, o)
			switch {
			case answer.code != "":
				wantRefused(t, name, err, v.path, answer.code)
			case !errors.Is(err, answer.err) || answer.err == nil && tree == nil:
				t.Errorf("%s: Open = %v, want %v", name, err, answer.err)
			}
			if !slices.Equal(asked, []string{v.path}) {
				t.Errorf("%s: asked about %q, want %q", name, asked, v.path)
			}
			var refused *nested.Error
			if errors.As(err, &refused) != (answer.code != "") {
				t.Errorf("%s: Open = %v, want a refusal only if the status is known", name, err)
			}
		}
	}
	o := options()
	o.Status = func(context.Context, *nested.Layer) (bool, error) {
		t.Error("asked about a token that is refused anyway, or has no status")
		return true, nil
	}
	if _, err := nested.Open(t.Context(), aliceToken(inside(value(nested.MemberOf, member()))), o); err != nil {
		t.Errorf("Open = %v for tokens without a status", err)
	}
	o.Revoked = func(context.Context, *nested.Layer) (bool, error) { return true, nil }
	_, err := nested.Open(t.Context(), aliceToken(status), o)
	wantRefused(t, "revoked", err, "", nested.CodeRevoked)
}
