package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/config"
)

// Claims with which no login can succeed have a warning; claims that work have none.
func TestReviewC3ClaimsThatRefuseLogins(t *testing.T) {
	for _, test := range []struct{ domain, scopes, want string }{
		{`system: generic`, `openid, profile`, ""},
		{`claims: {user: sub}`, `openid, profile`, ""},
		{`claims: {user: preferred_username, handle: preferred_username}`, `openid, profile`, ""},
		{`claims: {user: employee_id, handle: employee_id}`, `openid`, ""},
		{`claims: {user: email}`, `openid, email`, "claims.user"},
		{`claims: {handle: email}`, `openid, email`, ""}, // users choose a handle
		{`{choose_handle: false, claims: {handle: email}}`, `openid, email`, "claims.handle"},
		{`{choose_handle: false, claims: {user: email, handle: email}}`, `openid, email`, "claims.user claims.handle"},
		{`claims: {user: iss}`, `openid`, "claims.user"},
		{`claims: {user: preferred_username}`, `openid`, "claims.user"},
		{`{choose_handle: false}`, `openid`, "claims.handle"},
		{`{system: wire, claims: {user: preferred_username}}`, `openid, profile`, "claims.user"},
		{`{system: wire, claims: {user: sub}}`, `openid, profile`, ""},
	} {
		t.Run(test.domain, func(t *testing.T) {
			inner := strings.TrimSuffix(strings.TrimPrefix(test.domain, "{"), "}")
			if !strings.HasPrefix(test.domain, "{") {
				inner = test.domain
			}
			file := filepath.Join(t.TempDir(), "issuer.yaml")
			text := "issuer: http://127.0.0.1:8080\ndevelopment: true\ndomains:\n" +
				"  - {name: example.com, " + inner + ", providers: [{id: corp, issuer: https://login.example.com, client_id: issuer, " +
				"authoritative_handles: true, scopes: [" + test.scopes + "]}]}\n"
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, _, err := config.Check(file, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range cfg.Warnings() {
				got = append(got, strings.TrimPrefix(w.Path, "domains[0]."))
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("warnings = %v, want of %q", cfg.Warnings(), test.want)
			}
		})
	}
	// The reasons in the warnings are true.
	for system, id := range map[claims.System]string{claims.SystemGeneric: "a@example.com", claims.SystemWXYZ: "a@example.com", claims.SystemWire: "alice"} {
		names, err := claims.NewNamespace(system, "example.com", true)
		if err != nil {
			t.Fatal(err)
		}
		if u, err := names.User(id); err == nil {
			t.Errorf("%s: User of %q = %v, want an error", system, id, u)
		}
		if h, err := names.Handle("a@example.com"); err == nil {
			t.Errorf("%s: Handle of an email address = %v, want an error", system, h)
		}
	}
}
