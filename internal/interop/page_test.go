package interop_test

import (
	"context"
	"slices"
	"strings"
	"testing"
)

// page lets a page of another origin, in a real browser, go through all that a browser client does, and holds it to have
// read what it needs of each answer.
func page(t *testing.T, ctx context.Context, issuer string) {
	cmd := node(t, ctx, "page.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "PEER_ID": "peer", "PEER_SECRET": peerSecret,
	})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("page.mjs: %v\n%s", err, out)
	}
	want := []string{
		"discovery: PKCE S256",
		"keys: 1 of type EC",
		"nonce: 204, readable true",
		"authorize: hidden from pages (TypeError)",
		"push: for 300 s (1 retry with a nonce)",
		"code: dpop token of im:%40carol@example.com (1 retry with a nonce)",
		"refresh: dpop token, same identity true, new tokens true",
		"introspection: active true",
		"wrong secret: 401 with Basic challenge",
		"too many: 429 temporarily_unavailable, in some seconds again",
		"revocation: invalid_grant",
	}
	if got := strings.Split(strings.TrimSpace(string(out)), "\n"); !slices.Equal(got, want) {
		t.Errorf("the page could say\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
