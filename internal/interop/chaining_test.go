package interop_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/imidentity/issuer/internal/jose"
)

// away is an issuer of another domain: a name and a key.
const away = "https://id.away.example"

var awayKey = func() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}()

// awayKeys is what it publishes.
func awayKeys(t *testing.T) string {
	t.Helper()
	jwk, err := jose.MarshalJWK(awayKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"keys":[{"kid":"away-1","use":"sig","alg":"ES256",%s]}`, jwk[1:])
}

// chained gets an authorization grant for the other issuer, which another library reads, and uses one that this library has signed.
func chained(t *testing.T, ctx context.Context, issuer string) {
	app, signer := newClient(t, ctx, issuer, "travel-app", "")
	tokens := logIn(t, ctx, app, nil, "login", "bob")
	const (
		accessToken = "urn:ietf:params:oauth:token-type:access_token"
		asJWT       = "urn:ietf:params:oauth:token-type:jwt"
	)
	grant, err := app.Token(ctx, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {tokens.AccessToken},
		"subject_token_type": {accessToken}, "requested_token_type": {asJWT}, "resource": {away},
	})
	if err != nil {
		t.Fatal(err)
	}
	read, _, err := jwt.NewParser().ParseUnverified(grant.AccessToken, jwt.MapClaims{})
	if err != nil || grant.TokenType != "N_A" || read.Header["typ"] != "im-authz-grant+jwt" {
		t.Fatalf("grant = %+v, %v, want one that another library reads", grant, err)
	}
	if aud, err := read.Claims.GetAudience(); err != nil || len(aud) != 1 || aud[0] != away {
		t.Errorf("aud = %v, %v, want %s", aud, err, away)
	}
	now := time.Now()
	theirs := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.MapClaims{
		"iss": away, "sub": "im:c4r0l@away.example;id-type=user", "handle": "im:%40carol@away.example", "aud": issuer, "client_id": app.ID,
		"scope": "im:handle", "jti": rand.Text(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"cnf": map[string]string{"jkt": signer.JKT()},
	})
	theirs.Header["typ"], theirs.Header["kid"] = "im-authz-grant+jwt", "away-1"
	assertion, err := theirs.SignedString(awayKey)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	held, err := app.Token(ctx, form)
	if err != nil {
		t.Fatal(err)
	}
	if held.RefreshToken != "" {
		t.Error("the answer has a refresh token")
	}
	if _, err := app.Token(ctx, form); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("Token = %v for a grant that was used, want invalid_grant", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/introspect", strings.NewReader(url.Values{"token": {held.AccessToken}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("peer", url.QueryEscape(peerSecret))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || answer["active"] != true || answer["home_iss"] != away {
		t.Errorf("introspection = %v, %v, want carol", answer, err)
	}
}
