package introspect_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/revocation"
)

// The answers about several tokens are those about each, in their order. One that cannot be known is marked, and is not inactive.
func TestBatch(t *testing.T) {
	s, a := newNesting(t, 0)
	token, other := s.issue(t, jose.TypeAccessToken, alice()), s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.JTI = "other" }))
	nest := s.issue(t, nested.TypeAccessToken, alice(enclosing(t, a.member(t)), func(set *claims.Set) { set.JTI = "nest" }))
	expired := s.issue(t, jose.TypeAccessToken, alice(func(set *claims.Set) { set.IssuedAt, set.Expires = start.Add(-time.Minute), start }))
	a.key = errAway
	tokens := []string{other, "never-issued", nest, token, expired, token}
	outcomes, err := s.IntrospectBatch(t.Context(), auditor, tokens)
	if err != nil {
		t.Fatal(err)
	}
	one, two := s.ask(t, auditor, token), s.ask(t, auditor, other)
	got := string(introspect.AppendBatch(nil, outcomes))
	want := `{"answers":[` + two + `,{"active":false},{"error":"temporarily_unavailable"},` + one + `,{"active":false,"reason":"expired"},` + one + `]}`
	if got != want {
		t.Errorf("AppendBatch =\n%s\nwant\n%s", got, want)
	}
	got = string(introspect.Envelope{Issuer: issuer, Audience: introspect.Audience{"auditor"}, IssuedAt: start}.AppendBatchClaims(nil, outcomes[:5]))
	want = `{"iss":"https://id.example.com","aud":"auditor","iat":1777863721,"answers":[{"token_introspection":` + two +
		`},{"token_introspection":{"active":false}},{"error":"temporarily_unavailable"},{"token_introspection":` + one +
		`},{"token_introspection":{"active":false},"im_detail":{"reason":"expired"}}]}`
	if got != want || !json.Valid([]byte(got)) {
		t.Errorf("AppendBatchClaims =\n%s\nwant\n%s", got, want)
	}
}

func TestBatchErrors(t *testing.T) {
	s := newIssuing(t, 0)
	tokens := []string{s.issue(t, jose.TypeAccessToken, alice()), "never-issued"}
	if o, err := s.IntrospectBatch(t.Context(), introspect.Caller{Domains: []string{"example.com"}}, tokens); !errors.Is(err, introspect.ErrForbidden) {
		t.Errorf("IntrospectBatch = %+v, %v, want %v", o, err, introspect.ErrForbidden)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if o, err := s.IntrospectBatch(gone, peer, tokens); !errors.Is(err, context.Canceled) {
		t.Errorf("IntrospectBatch = %+v, %v, want %v", o, err, context.Canceled)
	}
	s.now = start.Add(25 * time.Hour)
	if o, err := s.IntrospectBatch(t.Context(), peer, tokens); !errors.Is(err, revocation.ErrStale) {
		t.Errorf("IntrospectBatch = %+v, %v while nothing is known, want %v", o, err, revocation.ErrStale)
	}
	if o, err := s.IntrospectBatch(t.Context(), peer, nil); err != nil || string(introspect.AppendBatch(nil, o)) != `{"answers":[]}` {
		t.Errorf("IntrospectBatch of nothing = %+v, %v, want no answers", o, err)
	}
}
