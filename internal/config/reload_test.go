package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

const running = `issuer: https://id.acme.im
development: true
lifetimes: {access: 10m}
limits: {devices_per_user: 3}
domains:
  - name: acme.im
    providers: [{id: corp, issuer: "https://login.acme.im", client_id: issuer, client_secret_file: secret, scopes: [openid]}]
  - name: acme.chat
    providers: [{id: chat, issuer: "https://login.acme.chat", client_id: issuer}]
clients:
  - {id: app, auth: none, first_party: true, redirect_uris: ["http://127.0.0.1/cb"], grants: [authorization_code], domains: [acme.im]}
`

// TestReload checks which changes apply to a running issuer, and how the others are reported.
func TestReload(t *testing.T) {
	for name, test := range map[string]struct {
		change  []string // old, new, old, new, ...
		secret  string   // the new content of the secret file
		waiting []string
		faults  []string // the ends of their messages
	}{
		"nothing":             {},
		"a comment":           {change: []string{"issuer:", "# hello\nissuer:"}},
		"a peer":              {change: []string{"clients:", "peers: [{domain: other.im, issuer: \"https://id.other.im\"}]\nclients:"}},
		"a domain as a peer":  {change: []string{"acme.chat", "acme.net", "clients:", "peers: [{domain: acme.chat, issuer: \"https://id.other.im\"}]\nclients:"}, faults: []string{"issuer.yaml:10: peers[0].domain: \"acme.chat\" is served by this issuer until a restart: restart it to apply this file"}},
		"itself as a peer":    {change: []string{"https://id.acme.im", "https://id2.acme.im", "clients:", "peers: [{domain: other.im, issuer: \"https://id.acme.im\"}]\nclients:"}, faults: []string{"issuer.yaml:10: peers[0].issuer: is this issuer until a restart: restart it to apply this file"}},
		"service":             {change: []string{"domains:\n", "service: {name: Acme, privacy_url: \"https://acme.example/privacy\"}\ndomains:\n"}},
		"limits":              {change: []string{"devices_per_user: 3", "devices_per_user: 4"}},
		"a client":            {change: []string{"id: app", "id: other"}},
		"a client's domain":   {change: []string{"domains: [acme.im]", "domains: [acme.im, acme.chat]"}},
		"no client":           {change: []string{running[strings.Index(running, "clients:"):], ""}},
		"a default, written":  {change: []string{"domains:\n", "log: {level: info}\ntrusted_proxies: []\ndomains:\n"}},
		"one value":           {change: []string{"access: 10m", "access: 11m"}, waiting: []string{"lifetimes.access"}},
		"values and clients":  {change: []string{"access: 10m", "access: 11m, code: 30s", "id: app", "id: other", "https://id.", "https://id2."}, waiting: []string{"issuer", "lifetimes.access", "lifetimes.code"}},
		"within a list":       {change: []string{"scopes: [openid]", "scopes: [openid, email]", "login.acme.chat", "login2.acme.chat"}, waiting: []string{"domains[0].providers[0].scopes", "domains[1].providers[0].issuer"}},
		"a list that grows":   {change: []string{"clients:", "  - {name: acme.net, providers: [{id: net, issuer: \"https://login.acme.net\", client_id: issuer}]}\nclients:"}, waiting: []string{"domains"}},
		"a map":               {change: []string{"domains:\n", "outbound: {dev_hosts: {a.test: 127.0.0.1}}\ndomains:\n"}, waiting: []string{"outbound.dev_hosts"}},
		"a secret":            {secret: "another", waiting: []string{"domains[0].providers[0].client_secret_file"}},
		"development":         {change: []string{"development: true", "development: false"}, faults: []string{"issuer.yaml:2: development: changes the rules for everything else: restart the issuer to apply this file"}},
		"a client elsewhere":  {change: []string{"domains: [acme.im]", "domains: [acme.im, acme.net]", "clients:", "  - {name: acme.net, providers: [{id: net, issuer: \"https://login.acme.net\", client_id: issuer}]}\nclients:"}, faults: []string{"issuer.yaml:12: clients[0].domains[1]: \"acme.net\" is not served before a restart: restart the issuer to apply this file"}},
		"a client by renames": {change: []string{"acme.chat", "acme.org", "domains: [acme.im]", "domains: [acme.org]"}, faults: []string{"issuer.yaml:11: clients[0].domains[0]: \"acme.org\" is not served before a restart: restart the issuer to apply this file"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			load := func(text, secret string) *config.Config {
				t.Helper()
				writeFile(t, filepath.Join(dir, "secret"), secret)
				writeFile(t, filepath.Join(dir, "data/kek"), strings.Repeat("0", 64))
				c, err := config.Parse(filepath.Join(dir, "issuer.yaml"), []byte(text), nil)
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			before := load(running, "s3cret")
			if test.secret == "" {
				test.secret = "s3cret"
			}
			next := load(strings.NewReplacer(test.change...).Replace(running), test.secret)
			merged, waiting, err := before.Reload(next)
			var got []string
			if faults := (config.Errors)(nil); errors.As(err, &faults) {
				for _, e := range faults {
					got = append(got, strings.TrimPrefix(e.Error(), dir+"/"))
				}
			}
			if !slices.Equal(got, test.faults) || !slices.Equal(waiting, test.waiting) {
				t.Errorf("Reload = waiting for %q, %q, want %q, %q", waiting, got, test.waiting, test.faults)
			}
			if (err == nil) != (merged != nil) {
				t.Fatalf("Reload = %v, %v, want one of the two", merged, err)
			}
			if merged == nil {
				return
			}
			if merged.Issuer != before.Issuer || merged.Lifetimes != before.Lifetimes || len(merged.Domains) != 2 ||
				merged.Limits != next.Limits || len(merged.Clients) != len(next.Clients) {
				t.Errorf("Reload = %+v, want clients and limits of the new settings, and the rest of the old ones", merged)
			}
			// A setting that needs a restart is reported again at the next reload.
			if _, again, err := merged.Reload(next); err != nil || !slices.Equal(again, test.waiting) {
				t.Errorf("Reload again = waiting for %q, %v, want %q", again, err, test.waiting)
			}
		})
	}
}

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
