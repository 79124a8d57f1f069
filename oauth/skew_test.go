package oauth_test

import (
	"testing"
	"time"
)

// TestSkewCode holds that a node whose clock is a minute ahead redeems a code of another node, and that it expires nevertheless.
func TestSkewCode(t *testing.T) {
	i := startIssuer(t, setup{skew: time.Minute})
	alice, d := i.user(t, "alice"), newDevice(t)
	code, late := i.code(t, alice, nil), i.code(t, alice, nil)
	i.advance(t, time.Minute+59*time.Second)
	i.token(t, "app", d, codeForm(code))
	i.advance(t, time.Second)
	i.refuses(t, i.request(t, "app", d, codeForm(late)), refusal{code: "invalid_grant", description: "unknown, spent or expired"})
}

// TestSkewReplaced holds that a late duplicate of a refresh ends no session if its nonce is of a node whose clock is a minute ahead. A nonce
// that was certainly issued afterwards does.
func TestSkewReplaced(t *testing.T) {
	for _, inUpdate := range []bool{true, false} {
		i := startIssuer(t, setup{inUpdate: inUpdate, skew: time.Minute})
		d := newDevice(t)
		first := i.login(t, i.user(t, "alice"), d)
		i.advance(t, time.Minute)
		early := i.request(t, "app", d, refreshForm(first.RefreshToken)) // with a nonce of the node that is ahead
		i.advance(t, -time.Minute)
		second := i.token(t, "app", d, refreshForm(first.RefreshToken))
		third := i.token(t, "app", d, refreshForm(second.RefreshToken))
		replaced := refusal{code: "invalid_grant", description: "was replaced"}
		i.refuses(t, early, replaced)
		held := i.token(t, "app", d, refreshForm(third.RefreshToken))

		i.advance(t, 3*time.Minute)
		_, err := i.Token(t.Context(), i.request(t, "app", d, refreshForm(first.RefreshToken)))
		replaced.check(t, err)
		_, err = i.Token(t.Context(), i.request(t, "app", d, refreshForm(held.RefreshToken)))
		refusal{code: "invalid_grant", description: "its session has ended"}.check(t, err)
	}
}
