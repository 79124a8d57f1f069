package interop_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
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

// settings are those of the issuer: its URL, its folder, the provider's URL, the file of its secret there, and the hash
// of the peer's secret.
const settings = `
issuer: %s
listen: 127.0.0.1:0
data: %s
development: true
log: {format: json}
outbound:
  allow_networks: [127.0.0.0/8]
domains:
  - name: example.com
    providers:
      - id: ` + provider + `
        issuer: %s
        client_id: issuer
        client_secret_file: %s
        authoritative_handles: true
clients:
  - id: im-app
    auth: none
    first_party: true
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code, refresh_token]
    domains: [example.com]
  - id: peer
    auth: secret
    secret_sha256: %x
    grants: [client_credentials]
    scopes: [introspect, introspect:domain]
    domains: [example.com]
`

func TestForeignPrograms(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // of what hangs
	t.Cleanup(cancel)
	api, err := contract.Load(ctx, "../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	issuer := start(t, ctx, api)

	t.Run("Clients", func(t *testing.T) {
		want := slices.Concat(steps("openid-client", "alice.liddell", "PKCE true"), steps("oauth4webapi", "bob", "PKCE S256"))
		got := clients(t, ctx, issuer)
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || got[i] != want[i] {
				t.Fatalf("step %d:\n got %q\nwant %q", i, got[min(i, len(got)):], want[min(i, len(want)):])
			}
		}
	})
	t.Run("Rest", func(t *testing.T) { rest(t, ctx, issuer) })

	for _, violation := range api.Violations() {
		t.Errorf("openapi.yaml does not allow: %s", violation)
	}
	if unseen := api.Unseen(); len(unseen) > 0 {
		t.Errorf("openapi.yaml has what was not seen to succeed: %q", unseen)
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
		"resource: validateJwtAccessToken, same identity true",
		"revocation: active false",
		"end of session: the session has ended",
	}
	for i := range list {
		list[i] = library + " " + list[i]
	}
	return list
}

// start starts a provider and an issuer that knows it, with the contract in front, and returns the issuer's URL.
func start(t *testing.T, ctx context.Context, api *contract.Contract) string {
	t.Helper()
	var behind atomic.Pointer[http.Handler] // comes last, since everybody must know the URL of the front
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*behind.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)

	op := ready(t, node(t, ctx, "provider.mjs", map[string]string{
		"CLIENT_ID": "issuer", "CLIENT_SECRET": secret, "REDIRECT_URI": front.URL + "/login/callback/" + provider,
	}), "issuer")

	dir := t.TempDir()
	binary, secretFile, settingsFile := filepath.Join(dir, "issuer"), filepath.Join(dir, "secret"), filepath.Join(dir, "settings.yaml")
	build := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", binary, "./cmd/issuer")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", build, err, out)
	}
	written := fmt.Sprintf(settings, front.URL, dir, op, secretFile, sha256.Sum256([]byte(peerSecret)))
	for file, content := range map[string]string{secretFile: secret, settingsFile: written} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	listen := ready(t, exec.CommandContext(ctx, binary, "serve", "--config", settingsFile), "listen")

	proxy := api.Proxy(&url.URL{Scheme: "http", Host: listen})
	behind.Store(&proxy)
	return front.URL
}

// clients runs clients.mjs, logs in where it asks for it, and returns its other lines.
func clients(t *testing.T, ctx context.Context, issuer string) []string {
	t.Helper()
	cmd := node(t, ctx, "clients.mjs", map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "REDIRECT_URI": redirect, "PEER_ID": "peer", "PEER_SECRET": peerSecret,
		"AUDIENCE": "im:example.com",
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

// rest calls what the clients have no use for.
func rest(t *testing.T, ctx context.Context, issuer string) {
	get := func(path string, want int, header http.Header) http.Header {
		t.Helper()
		return exchange(t, ctx, http.MethodGet, issuer+path, header, "", want)
	}
	get("/healthz", http.StatusOK, nil)
	get("/readyz", http.StatusOK, nil)
	get("/nonce", http.StatusNoContent, nil)
	get("/nothing", http.StatusNotFound, nil)
	get("/token", http.StatusMethodNotAllowed, nil)
	etag := get("/jwks", http.StatusOK, nil).Get("ETag")
	get("/jwks", http.StatusNotModified, http.Header{"If-None-Match": {etag}})

	form := url.Values{
		"client_id": {"im-app"}, "redirect_uri": {redirect}, "response_type": {"code"}, "state": {"s"},
		"code_challenge": {"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"}, "code_challenge_method": {"S256"},
		"resource": {"im:example.com"}, "im_device_name": {"Küche"}, "max_age": {"0"}, "unknown": {"ignored"},
	}
	encoded := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	login := exchange(t, ctx, http.MethodPost, issuer+"/authorize", encoded, form.Encode(), http.StatusSeeOther).Get("Location")
	if strings.HasPrefix(login, redirect) {
		t.Errorf("POST /authorize leads to %s, want the provider", login)
	}
	form.Set("response_type", "token")
	refused := exchange(t, ctx, http.MethodPost, issuer+"/authorize", encoded, form.Encode(), http.StatusSeeOther).Get("Location")
	if !strings.HasPrefix(refused, redirect) {
		t.Errorf("POST /authorize for a token leads to %s, want back to the client", refused)
	}
	exchange(t, ctx, http.MethodPost, issuer+"/authorize", encoded, "client_id=nobody", http.StatusBadRequest)
	exchange(t, ctx, http.MethodPost, issuer+"/token", encoded, "grant_type=password", http.StatusBadRequest)
	exchange(t, ctx, http.MethodPost, issuer+"/introspect", encoded, "client_id=im-app&token=x", http.StatusUnauthorized)
	exchange(t, ctx, http.MethodPost, issuer+"/revoke", encoded, "client_id=im-app&token="+strings.Repeat("x", 70<<10), http.StatusRequestEntityTooLarge)
}

// exchange sends one request, follows no redirect, and returns the header of the answer.
func exchange(t *testing.T, ctx context.Context, method, address string, header http.Header, body string, want int) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s = %d, %v, want %d\n%s", method, req.URL.Path, resp.StatusCode, err, want, got)
	}
	return resp.Header
}
