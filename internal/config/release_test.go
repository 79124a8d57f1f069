package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/introspect"
)

// TestRelease reads what a client is told at introspection, from the settings and from a registration.
func TestRelease(t *testing.T) {
	text := "issuer: https://id.acme.im\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", client_id: x}]}]\n"
	name := filepath.Join(t.TempDir(), "issuer.yaml")
	writeFile(t, filepath.Join(filepath.Dir(name), "data/kek"), strings.Repeat("0", 64))
	secret := [32]byte{1}
	narrow, err := introspect.NewRelease(introspect.Policy{Claims: []string{"exp"}, Pairwise: true})
	if err != nil {
		t.Fatal(err)
	}
	none, err := introspect.NewRelease(introspect.Policy{Reasons: true})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(name, []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data string
		want *introspect.Release
	}{
		"nothing": {`"scopes":["introspect"]`, nil},
		"the defaults": {
			`"scopes":["introspect"],"introspection":{"pairwise":false,"reasons":true}`, nil,
		},
		"a policy":  {`"scopes":["introspect"],"introspection":{"claims":["exp"],"reasons":false,"pairwise":true}`, narrow},
		"no claims": {`"scopes":["introspect"],"introspection":{"claims":[]}`, none},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Registration([]byte(`{"id":"a","auth":"secret","domains":["acme.im"],`+test.data+`}`), secret)
			if err != nil {
				t.Fatal(err)
			}
			if r := got.Introspection.Release; (r == nil) != (test.want == nil) || r != nil && *r != *test.want {
				t.Errorf("Release = %+v, want %+v", r, test.want)
			}
		})
	}
	hash := strings.Repeat("1", 64)
	c, err = config.Parse(name, []byte(text+"clients: [{id: a, auth: secret, secret_sha256: "+hash+", domains: [acme.im], introspection: {pairwise: true}}]\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if w := c.Warnings(); len(w) != 1 || w[0].Path != "clients[0].introspection" {
		t.Errorf("Warnings = %v, want one about a policy without effect", w)
	}
}
