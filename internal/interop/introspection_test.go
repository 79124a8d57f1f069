package interop_test

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/imidentity/issuer/internal/browser"
)

var jsBlock = regexp.MustCompile("(?ms)^```js\n(.*?)^```$")

// introspection runs the JavaScript of docs/introspection.md against the issuer: docs/introspection.mjs in all its ways, and the web service
// of the page.
func introspection(t *testing.T, ctx context.Context, issuer string) {
	const verifier, challenge = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	query := url.Values{
		"response_type": {"code"}, "client_id": {"im-app"}, "redirect_uri": {redirect},
		"code_challenge": {challenge}, "code_challenge_method": {"S256"},
	}
	back, err := browser.New(nil).Login(ctx, issuer+"/authorize?"+query.Encode(), browser.To(redirect),
		map[string]string{"login": "bob", "password": "bob"})
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(signers["EdDSA"])
	if err != nil {
		t.Fatal(err)
	}

	// As a reader has them: in one folder, with the package.
	page, err := os.ReadFile("../../docs/introspection.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := jsBlock.FindAllSubmatch(page, -1)
	if len(blocks) != 1 {
		t.Fatalf("introspection.md has %d js blocks, want the service", len(blocks))
	}
	folder := t.TempDir()
	files := map[string][]byte{"service.mjs": blocks[0][1]}
	for _, name := range []string{"../../docs/introspection.mjs", "../../docs/dpop-client.mjs", "introspections.mjs"} {
		if files[filepath.Base(name)], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	modules, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(modules, filepath.Join(folder, "node_modules")); err != nil {
		t.Fatal(err)
	}

	const origin = "https://rooms.example.com" // one of the resources of peer
	service := started(t, node(t, ctx, filepath.Join(folder, "service.mjs"), map[string]string{
		"ISSUER": issuer, "PEER_ID": "peer", "PEER_SECRET": peerSecret, "ORIGIN": origin, "AUDIENCE": "im:example.com", "PORT": "0",
	}))
	script := node(t, ctx, filepath.Join(folder, "introspections.mjs"), map[string]string{
		"ISSUER": issuer, "CLIENT_ID": "im-app", "CODE": back.Query().Get("code"), "CODE_VERIFIER": verifier, "REDIRECT_URI": redirect,
		"PEER_ID": "peer", "PEER_SECRET": peerSecret, "WEB_ID": "web", "WEB_KEY": base64.StdEncoding.EncodeToString(der),
		"ORIGIN": origin, "SERVICE": service,
	})
	script.Stderr = t.Output()
	printed, err := script.Output()
	if err != nil || string(printed) != introspected {
		t.Errorf("introspections.mjs = %v and\n%s\nwant\n%s", err, printed, introspected)
	}
}

// introspected is what introspections.mjs prints.
const introspected = `secret: active true unverified, active true unverified, inactive, inactive (2 requests)
secret, signed: active true unverified, active true unverified, inactive, inactive (2 requests)
key: active true unverified, active true unverified, inactive, inactive (2 requests)
key, signed: active true unverified, active true unverified, inactive, inactive (2 requests)
at once: active true unverified (1 requests)
within max_age: active true unverified (0 requests)
after max_age: active true unverified (1 requests)
at its end: active true unverified (1 requests)
after its end: active true unverified (1 requests)
unavailable: unknown, again in 7 s (1 requests)
unavailable, later: active true unverified (1 requests)
too many: unknown, again in 3 s (1 requests)
too many, later: active true unverified (1 requests)
broken: unknown, again in 1 s (1 requests)
broken, later: active true unverified (1 requests)
a page: unknown, again in 1 s (1 requests)
a page, later: active true unverified (1 requests)
no verdict: unknown, again in 1 s (1 requests)
no verdict, later: active true unverified (1 requests)
cut off: unknown, again in 1 s (1 requests)
cut off, later: active true unverified (1 requests)
not signed: unknown, again in 1 s (1 requests)
not signed, later: active true unverified (1 requests)
another signature: unknown, again in 1 s (1 requests)
another signature, later: active true unverified (1 requests)
wrong secret: refused 401 (1 requests)
another issuer: unknown, again in 1 s (0 requests)
holder: active true verified, inactive, inactive (3 requests)
elsewhere: refused 400 invalid_request (1 requests)
proof ignored: unknown, again in 1 s (1 requests)
service: 200 Hello im:%40bob@example.com
service, thief: 401 DPoP error="invalid_token", algs="ES256"
service, no token: 401 DPoP algs="ES256"
service, bearer: 401 DPoP algs="ES256"
revoked: inactive (1 requests)
service, revoked: 401 DPoP error="invalid_token", algs="ES256"
`
