package interop_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/interop/contract"
)

const (
	provider   = "foreign" // the id of the OpenID provider in the settings
	secret     = `a secret: 100% of "it" is <odd> + & = ~ \`
	peerSecret = "peer-secret_with.what~some%20libraries+encode"
	redirect   = "http://127.0.0.1:49152/callback" // never requested: the browser stops there
)

// settings are those of the issuer. What stands in ${} is filled in: see start.
const settings = `
issuer: ${issuer}
listen: 127.0.0.1:0
data: ${data}
development: true
log: {format: json}
outbound:
  allow_networks: [127.0.0.0/8]
service: {name: Example Messenger, privacy_url: "https://example.com/privacy", terms_url: "https://example.com/terms", logo_file: "${logo}"}
registration:
  initial_tokens:
    - {name: foreign, sha256: ` + initialHash + `, domains: [example.com], scopes: ["im:handle", "im:device", introspect], grants: [authorization_code, refresh_token, client_credentials, "urn:ietf:params:oauth:grant-type:device_code"]}
limits: {per_user: 100/1h} # enough for all but who means to meet it
domains:
  - name: example.com
    status_list: true
    ca: {cert_file: "${ca}/ca.pem", key_file: "${ca}/ca-key.pem"}
    providers:
      - id: ` + provider + `
        issuer: ${foreign}
        client_id: issuer
        client_secret_file: ${secret}
        authoritative_handles: false # each person is asked for her handle at her first login
  - name: example.org
    rename: {by: user}
    providers:
      - {id: staff, name: Staff accounts, issuer: "${staff}", client_id: issuer, client_secret_file: "${secret}"}
      - {id: guests, name: Guest accounts, issuer: "${guests}", client_id: issuer, client_secret_file: "${secret}"}
  - name: wire.example
    system: wire
    wire: {provisioners: ["https://ca.example.com/acme/wire"]}
    providers:
      - {id: wire, issuer: "${wire}", client_id: issuer, client_secret_file: "${secret}", authoritative_handles: true}
clients:
  - id: wire-app
    auth: none
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code]
    scopes: ["im:handle", "im:device", "im:credential"]
    domains: [wire.example]
  - id: im-app
    auth: none
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [example.com]
  - id: tv
    name: Television app
    auth: none
    grants: ["urn:ietf:params:oauth:grant-type:device_code", refresh_token]
    domains: [example.com, example.org]
  - id: rooms-for-friends
    name: Rooms for Friends
    auth: none
    redirect_uris: [http://127.0.0.1/callback, "${web}", "com.example.rooms:/callback"]
    grants: [authorization_code, refresh_token]
    domains: [example.org, example.com]
  - id: organizer
    name: Organizer
    auth: none
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code, refresh_token]
    scopes: ["im:handle", "im:device", account, "im:credential"]
    domains: [example.org]
  - id: assistant
    name: Meeting assistant
    auth: secret
    secret_sha256: ${hash}
    grants: ["urn:ietf:params:oauth:grant-type:token-exchange"]
    scopes: ["im:handle"]
    domains: [example.org]
  - id: peer
    auth: secret
    secret_sha256: ${hash}
    grants: [client_credentials]
    scopes: [introspect, introspect:domain, introspect:reason, feed]
    domains: [example.com]
    resources: ["https://rooms.example.com"]
  - id: provider-scim
    auth: none
    scopes: [scim]
    domains: [example.com]
    scim: {token_sha256: ["${scim}"]}
  - id: bot
    auth: secret
    secret_sha256: ${hash}
    grants: [client_credentials, "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:embedded-tokens"]
    scopes: ["im:handle"]
    domains: [example.com]
    embed: [acts_for]
  - id: travel-app
    auth: none
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code, refresh_token, "urn:ietf:params:oauth:grant-type:token-exchange", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
    domains: [example.com]
`

func TestForeignPrograms(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute) // of what hangs
	t.Cleanup(cancel)
	api, err := contract.Load(ctx, "../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	web := onTheWeb(t)
	served := start(t, ctx, api, web, "ES256")
	issuer := served.url

	// The looks take as long as all others together, and have users of their own.
	t.Run("beside", func(t *testing.T) {
		t.Run("Looks", func(t *testing.T) {
			t.Parallel()
			looks(t, ctx, issuer)
		})
		t.Run("others", func(t *testing.T) {
			t.Parallel()
			others(t, ctx, served, web)
		})
	})

	for _, violation := range api.Violations() {
		t.Errorf("openapi.yaml does not allow: %s", violation)
	}
	if unseen := api.Unseen(); len(unseen) > 0 {
		t.Errorf("openapi.yaml has what was not seen to succeed: %q", unseen)
	}
}

// others runs the third-party programs one after another.
func others(t *testing.T, ctx context.Context, s *served, web string) {
	issuer := s.url
	t.Run("Clients", func(t *testing.T) {
		want := slices.Concat(steps("openid-client", "alice.liddell", "PKCE true"), steps("oauth4webapi", "bob", "PKCE S256"),
			stepsWithKey("openid-client", "client_id,request_uri", "alice.liddell", "web", "EdDSA", "RS256"),
			stepsWithKey("oauth4webapi", "for 300 s", "bob", "site", "EdDSA", "ES256"))
		got := clients(t, ctx, issuer)
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || got[i] != want[i] {
				t.Fatalf("step %d:\n got %q\nwant %q", i, got[min(i, len(got)):], want[min(i, len(want)):])
			}
		}
	})
	t.Run("DeviceGrant", func(t *testing.T) { deviceGrant(t, ctx, issuer) })
	t.Run("Television", func(t *testing.T) { television(t, ctx, issuer) })
	t.Run("OAuth2", func(t *testing.T) { oauth2App(t, ctx, issuer) })
	t.Run("Indigo", func(t *testing.T) { indigo(t, ctx, issuer) })
	t.Run("Page", func(t *testing.T) { page(t, ctx, issuer) })
	t.Run("Snippets", func(t *testing.T) { snippets(t, ctx, issuer) })
	t.Run("Introspection", func(t *testing.T) { introspection(t, ctx, issuer) })
	t.Run("StatusList", func(t *testing.T) { statusLists(t, ctx, issuer) })
	t.Run("OpenID4VCI", func(t *testing.T) { wallet(t, ctx, issuer) })
	t.Run("Wire", func(t *testing.T) { wire(t, ctx, issuer) })
	t.Run("Logout", func(t *testing.T) { logout(t, ctx, issuer) })
	t.Run("SCIM", func(t *testing.T) { scim(t, ctx, issuer) })
	t.Run("Account", func(t *testing.T) { account(t, ctx, issuer) })
	t.Run("CrossSigning", func(t *testing.T) { crossSigning(t, ctx, issuer) })
	t.Run("Leave", func(t *testing.T) { leave(t, ctx, issuer) })
	t.Run("CWT", func(t *testing.T) { cwtTokens(t, ctx, issuer) })
	t.Run("RevocationList", func(t *testing.T) { revocationList(t, ctx, issuer) })
	t.Run("CWTCredential", func(t *testing.T) { cwtCredential(t, ctx, issuer) })
	t.Run("Chaining", func(t *testing.T) { chained(t, ctx, issuer) })
	t.Run("Registration", func(t *testing.T) { registration(t, ctx, issuer) })
	t.Run("Requests", func(t *testing.T) { requests(t, ctx, issuer) })
	t.Run("Pages", func(t *testing.T) { pages(t, ctx, issuer, web) })
	t.Run("NameAndLinks", func(t *testing.T) { nameAndLinks(t, ctx, s) })
}

// TestSigningAlgorithms lets the clients and the resource server that are not ours take tokens that are signed by the other
// algorithms.
func TestSigningAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"EdDSA", "RS256"} {
		t.Run(alg, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
			t.Cleanup(cancel)
			api, err := contract.Load(ctx, "../../openapi.yaml")
			if err != nil {
				t.Fatal(err)
			}
			got := clients(t, ctx, start(t, ctx, api, onTheWeb(t), alg).url)
			for _, want := range slices.Concat(steps("openid-client", "alice.liddell", "PKCE true"), steps("oauth4webapi", "bob", "PKCE S256")) {
				if !slices.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, strings.Join(got, "\n"))
				}
			}
			for _, violation := range api.Violations() {
				t.Errorf("openapi.yaml does not allow: %s", violation)
			}
		})
	}
}

// steps is what clients.mjs prints when one of its libraries gets everything that it should.
func steps(library, handle, discovered string) []string {
	list := []string{
		"discovery: " + discovered,
		"code: dpop token of im:%40" + handle + "@example.com with scope im:handle im:device (1 retry with a nonce)",
		"refresh: dpop token, same identity true, new tokens true",
		"client_credentials: dpop token of peer (1 retry with a nonce)",
		"introspection: active true, same identity true",
		`signed introspection: active true, same identity true, no token {"active":false}, another signature OAUTH_INVALID_RESPONSE`,
		"resource: validateJwtAccessToken, same identity true",
		"revocation: without a proof invalid_dpop_proof, active false",
		"end of session: the session has ended",
	}
	for i := range list {
		list[i] = library + " " + list[i]
	}
	return list
}

// stepsWithKey is the same for a client that signs assertions.
func stepsWithKey(library, pushed, handle, client, alg, other string) []string {
	list := []string{
		"push: " + pushed + " (1 retry with a nonce)",
		"code: dpop token of im:%40" + handle + "@example.com",
		"refresh: dpop token, same identity true",
		"client_credentials by " + alg + ": dpop token of " + client + " (1 retry with a nonce)",
		"client_credentials by " + other + ": dpop token of " + client + " (1 retry with a nonce)",
		"introspection: active true, same identity true",
		"revocation: the session has ended",
	}
	for i := range list {
		list[i] = library + " with a key " + list[i]
	}
	return list
}

// A served issuer is one that runs, with its URL, the URLs of its providers by their ids, and the file of its settings.
type served struct {
	url       string
	providers map[string]string
	settings  string
}

// start starts providers and an issuer that knows them and signs by alg, with the contract in front. web is the redirect URI of an app
// on the web.
func start(t *testing.T, ctx context.Context, api *contract.Contract, web, alg string) *served {
	t.Helper()
	var behind atomic.Pointer[http.Handler] // comes last, since everybody must know the URL of the front
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*behind.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)

	dir := t.TempDir()
	secretFile, settingsFile := filepath.Join(dir, "secret"), filepath.Join(dir, "settings.yaml")
	fill := map[string]string{
		"issuer": front.URL, "data": dir, "secret": secretFile, "web": web, "logo": filepath.Join(dir, "logo.png"), "ca": filepath.Join(dir, "ca"),
		"hash": fmt.Sprintf("%x", sha256.Sum256([]byte(peerSecret))), "scim": fmt.Sprintf("%x", sha256.Sum256([]byte(scimToken))),
	}
	for _, id := range []string{provider, "staff", "guests", "wire"} {
		fill[id] = ready(t, node(t, ctx, "provider.mjs", map[string]string{
			"CLIENT_ID": "issuer", "CLIENT_SECRET": secret, "REDIRECT_URI": front.URL + "/login/callback/" + id,
			"LOGOUT_URI": front.URL + "/login/backchannel/" + id,
		}), "issuer")
	}
	written := os.Expand(settings, func(name string) string { return fill[name] })
	written += signers.settings(t) + "signing: {alg: " + alg + "}\n"
	keysFile := filepath.Join(dir, "away.json")
	written += fmt.Sprintf("peers: [{domain: away.example, issuer: %q, jwks_file: %q, "+
		"chaining: {give: [{client: travel-app}], take: [travel-app]}}]\n", away, keysFile)
	for file, content := range map[string]string{secretFile: secret, settingsFile: written, fill["logo"]: logo(t), keysFile: awayKeys(t)} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made := exec.CommandContext(ctx, program(t, "./cmd/issuer"), "ca", "init", fill["ca"], "--domain", "example.com", "--development")
	if out, err := made.CombinedOutput(); err != nil {
		t.Fatalf("issuer ca init: %v\n%s", err, out)
	}
	listen := ready(t, exec.CommandContext(ctx, program(t, "./cmd/issuer"), "serve", "--config", settingsFile), "listen")

	proxy := api.Proxy(&url.URL{Scheme: "http", Host: listen})
	behind.Store(&proxy)
	return &served{front.URL, fill, settingsFile}
}

// clients runs clients.mjs, logs in where it asks for it, and returns its other lines.
func clients(t *testing.T, ctx context.Context, issuer string) []string {
	t.Helper()
	cmd := node(t, ctx, "clients.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "REDIRECT_URI": redirect, "PEER_ID": "peer", "PEER_SECRET": peerSecret,
		"AUDIENCE": "im:example.com", "WEB_ID": "web", "SITE_ID": "site", "WEB_KEYS": signers.private(t),
	})
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scanner := bufio.NewScanner(out); scanner.Scan(); {
		asked, login := strings.CutPrefix(scanner.Text(), "LOGIN ")
		if !login {
			lines = append(lines, scanner.Text())
			continue
		}
		who, address, _ := strings.Cut(asked, " ")
		back, err := browser.New(nil).Login(ctx, address, browser.To(redirect), map[string]string{"login": who, "password": who})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintln(in, back); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("clients.mjs: %v", err)
	}
	return lines
}
