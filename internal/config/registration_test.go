package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// TestRegistration checks that registrations obey the same rules as clients in the settings.
func TestRegistration(t *testing.T) {
	text := "issuer: https://id.acme.im\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", client_id: x}]}]\n"
	name := filepath.Join(t.TempDir(), "issuer.yaml")
	writeFile(t, filepath.Join(filepath.Dir(name), "data/kek"), strings.Repeat("0", 64))
	c, err := config.Parse(name, []byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := [32]byte{1}
	for name, test := range map[string]struct {
		data   string
		secret [32]byte
		want   string
	}{
		"app":              {`{"id":"app","auth":"none","first_party":true,"redirect_uris":["http://127.0.0.1/cb?a=1\u0026b=2"],"grants":["authorization_code","refresh_token"],"domains":["acme.im"]}`, [32]byte{}, ""},
		"service":          {`{"id":"a/b","auth":"secret","grants":["client_credentials"],"scopes":["introspect"],"domains":["acme.im"],"dpop":"optional"}`, secret, ""},
		"keys":             {`{"id":"k","auth":"private_key_jwt","jwks_uri":"https://app.acme.im/jwks","domains":["acme.im"]}`, [32]byte{}, ""},
		"a colon":          {`{"id":"a:b","auth":"secret","domains":["acme.im"]}`, secret, "id: "},
		"no id":            {`{"auth":"secret","domains":["acme.im"]}`, secret, "id: is required"},
		"no secret":        {`{"id":"a","auth":"secret","domains":["acme.im"]}`, [32]byte{}, "secret_sha256: is required"},
		"a secret too":     {`{"id":"a","auth":"none","grants":["refresh_token"],"domains":["acme.im"]}`, secret, "secret_sha256: does not go with auth: none"},
		"its own secret":   {`{"id":"a","auth":"secret","domains":["acme.im"],"secret_sha256":"` + strings.Repeat("1", 64) + `"}`, secret, "secret_sha256: cannot be set here"},
		"another domain":   {`{"id":"a","auth":"secret","domains":["acme.org"]}`, secret, "domains[0]: "},
		"no domain":        {`{"id":"a","auth":"secret","domains":[]}`, secret, "domains: is empty"},
		"a plain redirect": {`{"id":"a","auth":"none","first_party":true,"grants":["authorization_code"],"redirect_uris":["http://acme.im/cb"],"domains":["acme.im"]}`, [32]byte{}, "redirect_uris[0]: "},
		"a public service": {`{"id":"a","auth":"none","grants":["client_credentials"],"domains":["acme.im"]}`, [32]byte{}, "grants[0]: needs a client that can authenticate"},
		"an unknown grant": {`{"id":"a","auth":"secret","grants":["password"],"domains":["acme.im"]}`, secret, "grants[0]: "},
		"an unknown key":   {`{"id":"a","auth":"secret","domains":["acme.im"],"secret":"x"}`, secret, "secret: unknown key"},
		"a repeated key":   {`{"id":"a","id":"b","auth":"secret","domains":["acme.im"]}`, secret, "id: repeated key"},
		"a list":           {`[{"id":"a"}]`, secret, "must be a mapping"},
		"nothing":          {``, secret, "id: is required"},
		"half":             {`{"id":"a"`, secret, "not YAML"},
		"two":              {"{}\n---\n{}", secret, "a second document"},
		"a plain resource": {`{"id":"a","auth":"secret","domains":["acme.im"],"resources":["http://acme.im"]}`, secret, "resources[0]: "},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.Registration([]byte(test.data), test.secret)
			if test.want == "" {
				if err != nil || got.ID == "" || got.SecretSHA256 != test.secret {
					t.Errorf("Registration = %+v, %v, want a client", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), ": "+test.want) {
				t.Errorf("Registration = %+v, %v, want %s", got, err, test.want)
			}
		})
	}
}
