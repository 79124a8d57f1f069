package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// writeSettings writes a settings file with further lines into a folder, and returns its path.
func writeSettings(t *testing.T, dir, lines string) string {
	t.Helper()
	text := "issuer: https://id.acme.im\ndevelopment: true\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", " +
		"client_id: x}]}]\n" + lines
	path := filepath.Join(dir, "issuer.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMetricsListener holds the listener for monitoring to an address of its own.
func TestMetricsListener(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct{ lines, want string }{
		"none":                {"", ""},
		"on loopback":         {"metrics_listen: 127.0.0.1:9090\n", ""},
		"on all addresses":    {"metrics_listen: :9090\n", ""},
		"no port":             {"metrics_listen: 127.0.0.1\n", `metrics_listen: "127.0.0.1" is not host:port, as in 127.0.0.1:9090`},
		"a socket":            {"metrics_listen: unix:m.sock\n", `metrics_listen: "unix:m.sock" is not host:port`},
		"the public listener": {"metrics_listen: 127.0.0.1:8080\n", "metrics_listen: is the address of another listener"},
		"that of operators": {
			"metrics_listen: 127.0.0.1:9443\nadmin_listen: 127.0.0.1:9443\nadmin_url: http://127.0.0.1:9443\n",
			"metrics_listen: is the address of another listener",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := config.Check(writeSettings(t, dir, test.lines), nil)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Check = %v, want %q", err, test.want)
			}
		})
	}
}

// TestAdminListener holds the listener for operators to TLS, loopback or a trusted proxy, and its URL to one spelling.
func TestAdminListener(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "a", 0o600)
	writePair(t, dir, "b", 0o600)
	const (
		pair    = "admin_tls: {cert_file: a.pem, key_file: a.key}\n"
		public  = "admin_listen: 0.0.0.0:9443\n"
		local   = "admin_listen: 127.0.0.1:9443\n"
		url     = "admin_url: https://admin.acme.im:9443\n"
		proxied = "trusted_proxies: [10.0.0.0/8]\n"
	)
	for name, test := range map[string]struct{ lines, want string }{
		"with TLS":                 {public + url + pair, ""},
		"with the TLS of the rest": {public + url + "tls: {cert_file: b.pem, key_file: b.key}\n", ""},
		"on loopback":              {local + "admin_url: http://127.0.0.1:9443\n", ""},
		"on loopback, IPv6":        {"admin_listen: \"[::1]:9443\"\nadmin_url: http://[::1]:9443\n", ""},
		"behind a proxy":           {public + url + proxied, ""},
		"loopback behind a proxy":  {local + url + proxied, ""},
		"plain":                    {public + url, "admin_tls: is missing: without TLS, others on the network would read what operators do. Name a certificate, listen on 127.0.0.1, or name the proxy"},
		"plain, all addresses":     {"admin_listen: :9443\n" + url, "admin_tls: is missing"},
		"plain, by name":           {"admin_listen: localhost:9443\n" + url, "admin_tls: is missing"},
		"no port":                  {"admin_listen: 127.0.0.1\n" + url, `admin_listen: "127.0.0.1" is not host:port`},
		"the public listener":      {"admin_listen: 127.0.0.1:8080\n" + url + pair, "admin_listen: is the address of listen"},
		"no URL":                   {public + pair, "admin_url: is required with admin_listen"},
		"URL alone":                {url, "admin_url: has no effect without admin_listen"},
		"SCIM":                     {local + "admin_url: http://127.0.0.1:9443\nscim: {listener: admin}\n", ""},
		"SCIM alone":               {"scim: {listener: admin}\n", "scim.listener: admin has no effect without admin_listen: add it"},
		"SCIM elsewhere":           {"scim: {listener: socket}\n", "scim.listener: \"socket\" is not a value it can have; known here: public, admin"},
		"TLS alone":                {pair, "admin_tls: has no effect without admin_listen"},
		"a path":                   {public + pair + "admin_url: https://admin.acme.im/admin\n", "admin_url: \"https://admin.acme.im/admin\" is not an origin in normal form"},
		"a slash":                  {public + pair + "admin_url: https://admin.acme.im/\n", "write https://admin.acme.im"},
		"upper case":               {public + pair + "admin_url: https://Admin.acme.im\n", "write https://admin.acme.im"},
		"default port":             {public + pair + "admin_url: https://admin.acme.im:443\n", "write https://admin.acme.im"},
		"a query":                  {public + pair + "admin_url: https://admin.acme.im?x\n", "is not an origin in normal form"},
		"http with TLS":            {public + pair + "admin_url: http://127.0.0.1:9443\n", "is not https, and the listener has a certificate"},
		"http behind a proxy":      {public + proxied + "admin_url: http://admin.acme.im\n", "is not https: plain http is only for a listener on loopback"},
		"https without TLS":        {local + url, "is https, and nothing speaks TLS"},
		"another's key":            {public + url + "admin_tls: {cert_file: a.pem, key_file: b.key}\n", "are not a certificate and its key"},
		"no key":                   {public + url + "admin_tls: {cert_file: a.pem}\n", "admin_tls.key_file: is missing: name the file that holds the key of admin_tls.cert_file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := config.Check(writeSettings(t, dir, test.lines), nil)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("Check = %v, want %q", err, test.want)
			}
		})
	}
}

// TestAdminScope holds the scope admin to services that prove a key: no grant with it leads to a token of a user.
func TestAdminScope(t *testing.T) {
	const (
		jwks  = `jwks: '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'`
		redir = `redirect_uris: ["https://app.acme.im/cb"]`
	)
	for name, test := range map[string]struct{ client, want string }{
		"good":         {`auth: private_key_jwt, ` + jwks + `, grants: [client_credentials], scopes: [admin]`, ""},
		"and feed":     {`auth: private_key_jwt, ` + jwks + `, grants: [client_credentials], scopes: [admin, feed]`, ""},
		"a secret":     {`auth: secret, secret_sha256: 0000000000000000000000000000000000000000000000000000000000000001, grants: [client_credentials], scopes: [admin]`, "needs auth: private_key_jwt"},
		"public":       {`auth: none, grants: [authorization_code], ` + redir + `, scopes: [admin]`, "is for a service"},
		"logins":       {`auth: private_key_jwt, ` + jwks + `, grants: [client_credentials, authorization_code], ` + redir + `, scopes: [admin]`, "is for a service"},
		"exchange":     {`auth: private_key_jwt, ` + jwks + `, grants: [client_credentials, "urn:ietf:params:oauth:grant-type:token-exchange"], scopes: [admin]`, "is for a service"},
		"redeems":      {`auth: private_key_jwt, ` + jwks + `, grants: ["urn:ietf:params:oauth:grant-type:jwt-bearer"], scopes: [admin]`, "is for a service"},
		"no grant":     {`auth: private_key_jwt, ` + jwks + `, scopes: [admin]`, "is for a service"},
		"bearer token": {`auth: private_key_jwt, ` + jwks + `, grants: [client_credentials], scopes: [admin], dpop: optional`, "needs dpop: required"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, _, err := config.Check(writeSettings(t, dir, "clients:\n  - {id: ops, domains: [acme.im], "+test.client+"}\n"), nil)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), "clients[0].scopes[0]: "+test.want)) {
				t.Errorf("Check = %v, want %q", err, test.want)
			}
		})
	}
}
