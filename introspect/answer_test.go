package introspect_test

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
)

// members and without are an answer without its encoder, as encoding/json sees the tags.
type members introspect.Answer

type without struct {
	Active bool              `json:"active"`
	Reason introspect.Reason `json:"reason,omitempty"`
	Path   string            `json:"path,omitempty"`
}

// text is empty, an identifier, or any text, including some that is not UTF-8 or needs escapes.
var text = rapid.OneOf(
	rapid.Just(""), rapid.SampledFrom([]string{"im:%40alice@example.com", "<&>", "\u2028\u2029", "\"\\/", "\x7f\x00\n", "a\xffb", "é"}),
	rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) string { return string(b) }),
)

// actors are chains of up to depth actors, nil among them.
func actors(depth int) *rapid.Generator[*introspect.Actor] {
	none := rapid.SampledFrom([]*introspect.Actor{nil})
	if depth == 0 {
		return none
	}
	return rapid.OneOf(none, rapid.Custom(func(t *rapid.T) *introspect.Actor {
		return &introspect.Actor{
			Subject: text.Draw(t, "sub"), Issuer: text.Draw(t, "iss"), ClientID: text.Draw(t, "client_id"),
			Actor: actors(depth-1).Draw(t, "act"),
		}
	}))
}

var layers = rapid.Custom(func(t *rapid.T) introspect.Layer {
	return introspect.Layer{
		Path: text.Draw(t, "path"), Relation: nested.Relation(text.Draw(t, "rel")), Type: text.Draw(t, "typ"),
		Active: rapid.Bool().Draw(t, "active"), Revocation: text.Draw(t, "revocation"), Issuer: text.Draw(t, "iss"),
		Subject: text.Draw(t, "sub"), Handle: text.Draw(t, "handle"), Device: text.Draw(t, "device"),
		OldHandle: text.Draw(t, "old_handle"), Role: text.Draw(t, "role"), MayAct: actors(1).Draw(t, "may_act"),
		SameAs: text.Draw(t, "same_as"), MovedTo: text.Draw(t, "moved_to"), Member: text.Draw(t, "member"),
		Guardian: text.Draw(t, "guardian"), JTI: text.Draw(t, "jti"), ExpiresAt: rapid.Int64().Draw(t, "exp"),
	}
})

// AppendJSON writes what encoding/json writes, byte for byte.
func TestAnswerIsEncodingJSON(t *testing.T) {
	number := rapid.OneOf(rapid.Just(int64(0)), rapid.Int64())
	rapid.Check(t, func(t *rapid.T) {
		a := introspect.Answer{
			Active: rapid.Bool().Draw(t, "active"), Issuer: text.Draw(t, "iss"), Subject: text.Draw(t, "sub"),
			Username: text.Draw(t, "username"), Handle: text.Draw(t, "handle"), Device: text.Draw(t, "device"),
			Audience: rapid.SliceOfN(text, 0, 3).Draw(t, "aud"), ClientID: text.Draw(t, "client_id"), Scope: text.Draw(t, "scope"),
			ExpiresAt: number.Draw(t, "exp"), IssuedAt: number.Draw(t, "iat"), JTI: text.Draw(t, "jti"),
			AuthTime: number.Draw(t, "auth_time"), ACR: text.Draw(t, "acr"), SID: text.Draw(t, "sid"),
			TokenType: text.Draw(t, "token_type"), ExpiresIn: number.Draw(t, "expires_in"), MaxAge: number.Draw(t, "max_age"),
			Holder: introspect.Holder(text.Draw(t, "holder")), Actor: actors(3).Draw(t, "act"),
			Tokens: rapid.SliceOfN(layers, 0, 3).Draw(t, "tokens"),
			Reason: introspect.Reason(text.Draw(t, "reason")), Path: text.Draw(t, "fault"),
		}
		if rapid.Bool().Draw(t, "bound") {
			a.Confirmation = &introspect.Confirmation{JKT: text.Draw(t, "jkt")}
		}
		var want []byte
		var err error
		if a.Active {
			want, err = json.Marshal(members(a))
		} else {
			want, err = json.Marshal(without{false, a.Reason, a.Path})
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := a.AppendJSON([]byte("[")); string(got) != "["+string(want) {
			t.Errorf("AppendJSON =\n%s\nwant\n[%s", got, want)
		}
	})
}

// A seen token is answered with few allocations: a verdict takes none, its answer that of cnf.
func TestAnswerAllocations(t *testing.T) {
	s := newIssuing(t, 0)
	q := introspect.Question{Token: s.issue(t, jose.TypeAccessToken, alice())}
	body := make([]byte, 0, 1024)
	allocs := testing.AllocsPerRun(100, func() {
		verdict, err := s.Introspect(t.Context(), peer, q)
		if err != nil || !verdict.Active {
			t.Fatalf("Introspect = %+v, %v, want active", verdict, err)
		}
		answer := verdict.Answer()
		body = answer.AppendJSON(body[:0])
	})
	if allocs > 2 {
		t.Errorf("%v allocations for a question about a seen token, want at most 2", allocs)
	}
}
