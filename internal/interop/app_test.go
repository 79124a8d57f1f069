package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/client"
)

// newClient returns a client of an issuer with a new key, and the signer of its proofs. The secret of an app is empty.
func newClient(t *testing.T, ctx context.Context, issuer, id, secret string) (*client.Client, *dpop.Signer) {
	t.Helper()
	meta, err := client.Discover(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return &client.Client{Server: meta, ID: id, Secret: secret, HTTP: &http.Client{
		Timeout: 30 * time.Second, Transport: &dpop.Transport{Signer: signer},
	}}, signer
}

// ownAccount are the parameters of a login after which an app may manage the account.
var ownAccount = url.Values{"scope": {"im:handle im:device account"}, "max_age": {"300"}}

// logIn logs a person in at an app, whose request has further parameters. Field is the name of the field for names at the OpenID provider.
func logIn(t *testing.T, ctx context.Context, app *client.Client, extra url.Values, field, person string) client.Tokens {
	t.Helper()
	flow := app.Begin(redirect, extra)
	back, err := browser.New(nil).Login(ctx, flow.URL, browser.To(redirect), map[string]string{field: person, "password": person})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := app.Finish(ctx, flow, back)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// forIssuer returns tokens for the issuer alone, with the scope account, in exchange for a refresh token.
func forIssuer(t *testing.T, ctx context.Context, app *client.Client, refreshToken string) client.Tokens {
	t.Helper()
	own, err := app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}, "scope": {"account"}, "resource": {app.Server.Issuer},
	})
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// payload reads the claims of a JWT into claims. Its signature is not verified.
func payload(t *testing.T, token string, claims any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("not a signed JWT")
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, claims)
	}
	if err != nil {
		t.Fatal(err)
	}
}
