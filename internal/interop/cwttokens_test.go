package interop_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/jose"
)

// cwtTokens exchanges an access token for a CWT. npm @auth0/cose verifies that with the issuer's published key, and cbor2 reads the claims
// of the JWT from it and the thumbprints of the proof's key. When the session is revoked, the CWT is not active any more.
func cwtTokens(t *testing.T, ctx context.Context, issuer string) {
	app, signer := newClient(t, ctx, issuer, "travel-app", "")
	tokens := logIn(t, ctx, app, nil, "login", "bob")
	const typeCWT = "tag:imidentity.github.io,2026:cwt"
	form := url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {tokens.AccessToken},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"}, "requested_token_type": {typeCWT},
	}
	got, err := app.Token(ctx, form)
	if err != nil {
		t.Fatal(err)
	}
	if got.TokenType != "DPoP" || got.RefreshToken != "" || strings.Contains(got.AccessToken, ".") {
		t.Fatalf("exchange = %+v, want a CWT", got)
	}
	data, err := base64.RawURLEncoding.DecodeString(got.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	jwt, err := jose.ParseCompact(tokens.AccessToken, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	set, err := claims.ParseSet(jwt.Payload)
	if err != nil {
		t.Fatal(err)
	}

	text, err := signer.Proof(dpop.ProofParams{Method: http.MethodGet, URL: "https://rooms.example.com", AccessToken: got.AccessToken})
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	var header struct{ JWK json.RawMessage }
	if err := json.Unmarshal(raw, &header); err != nil {
		t.Fatal(err)
	}
	type message struct {
		Data  []byte          `json:"data"`
		Key   json.RawMessage `json:"key"`
		Proof json.RawMessage `json:"proof"`
	}
	flipped := slices.Clone(data)
	flipped[len(flipped)-1] ^= 1
	key := publishedJWK(t, ctx, issuer, jwt.Header.Kid)
	input, err := json.Marshal(map[string]any{"verify": []message{{data, key, header.JWK}, {flipped, key, header.JWK}}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := node(t, ctx, "cwt.mjs", map[string]string{"INPUT": string(input)})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cwt.mjs: %v", err)
	}
	var read struct {
		Verified []struct {
			cwtSaid
			Proof struct{ CKT, JKT string }
		}
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Verified) != 2 || read.Verified[0].Error != "" || read.Verified[1].Error == "" {
		t.Fatalf("cwt.mjs = %s, want the CWT verified, and another signature refused", out)
	}
	said := read.Verified[0]
	cnf, _ := said.Claims["8"].(map[string]any)
	text = func(v any) string { s, _ := v.(string); return s }(said.Claims["7"])
	cti, err := hex.DecodeString(text)
	if err != nil || string(cti) != set.JTI || said.Claims["1"] != set.Issuer || said.Claims["2"] != set.Subject ||
		said.Claims["4"] != float64(set.Expires.Unix()) || said.Claims["9"] != set.Scope || said.Claims["sid"] != set.SID ||
		said.Claims["gen"] != float64(set.Gen) || said.Claims["device"] != set.Device || said.Claims["handle"] != set.Handle {
		t.Errorf("cbor2 reads %v, want the claims %+v", said.Claims, set)
	}
	if len(cnf) != 1 || cnf["5"] != said.Proof.CKT || said.Claims["jkt"] != said.Proof.JKT || said.Header["16"] != "application/at+cwt" {
		t.Errorf("cbor2 reads cnf %v, jkt %v, header %v, want the thumbprints %+v of the proof's key", cnf, said.Claims["jkt"], said.Header, said.Proof)
	}
	t.Logf("@auth0/cose verified a CWT of %d bytes; cnf ckt %v", len(data), cnf["5"])

	both := []string{tokens.AccessToken, got.AccessToken}
	before := peerAnswer(t, ctx, issuer, both[0])
	if after := peerAnswer(t, ctx, issuer, both[1]); before["active"] != true || after["jti"] != before["jti"] || after["sub"] != set.Subject {
		t.Errorf("introspection of the CWT = %v, want as of the JWT: %v", after, before)
	}
	if err := app.Revoke(ctx, tokens.RefreshToken); err != nil {
		t.Fatal(err)
	}
	for _, token := range both {
		if answer := peerAnswer(t, ctx, issuer, token); answer["active"] != false || len(answer) != 1 {
			t.Errorf("introspection after the end of the session = %v, want inactive", answer)
		}
	}
	if _, err := app.Token(ctx, form); err == nil || !strings.Contains(err.Error(), "invalid_request") {
		t.Errorf("Token = %v after the end of the session, want invalid_request", err)
	}

	// A CWT ends its JWT, too.
	tokens = logIn(t, ctx, app, nil, "login", "bob")
	form.Set("subject_token", tokens.AccessToken)
	if got, err = app.Token(ctx, form); err != nil {
		t.Fatal(err)
	}
	if err := app.Revoke(ctx, got.AccessToken); err != nil {
		t.Fatal(err)
	}
	if answer := peerAnswer(t, ctx, issuer, tokens.AccessToken); answer["active"] != false {
		t.Errorf("introspection after the end of the CWT = %v, want inactive", answer)
	}
}

// cwtCredential gets the credential of a device as a CWT, and shows it. npm @auth0/cose verifies the key binding token and the credential
// in it, and cbor2 reads both.
func cwtCredential(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "im-app", "")
	tokens := logIn(t, ctx, app, url.Values{"scope": {"im:credential"}}, "login", "bob")
	meta, err := client.DiscoverCredentials(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	holder := newKeyring()["EdDSA"]
	prover, err := dpop.NewSigner(holder, "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := app.Credentials(ctx, meta, client.CredentialRequest{
		Configuration: "im-device-cwt", AccessToken: tokens.AccessToken, Keys: []*dpop.Signer{prover},
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := cwt.ReadText(list[0])
	if err != nil {
		t.Fatal(err)
	}
	token, err := cwt.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := token.Present(holder, cwt.Binding{Audience: "im:example.org", Nonce: []byte("n-1")}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(holder.Public())
	if err != nil {
		t.Fatal(err)
	}
	type message struct {
		Data   []byte          `json:"data"`
		Key    json.RawMessage `json:"key"`
		Holder json.RawMessage `json:"holder"`
	}
	key := publishedJWK(t, ctx, issuer, token.KID)
	input, err := json.Marshal(map[string]any{"verify": []message{{shown, key, jwk}, {shown, key, key}, {shown, jwk, jwk}}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := node(t, ctx, "cwt.mjs", map[string]string{"INPUT": string(input)})
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cwt.mjs: %v", err)
	}
	var read struct{ Verified []cwtSaid }
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Verified) != 3 || read.Verified[0].Error != "" || read.Verified[1].Error == "" || read.Verified[2].Error == "" {
		t.Fatalf("cwt.mjs = %s, want the key binding token verified, and other keys refused", out)
	}
	said := read.Verified[0]
	if said.Inner == nil || said.Claims["3"] != "im:example.org" || said.Claims["39"] != hex.EncodeToString([]byte("n-1")) ||
		said.Inner.Claims["1"] != issuer || said.Inner.Claims["2"] != token.VC.Device || said.Inner.Claims["user"] != token.VC.User ||
		said.Inner.Claims["11"] != credential.VCT || said.Inner.Claims["65535"] == nil {
		t.Errorf("cbor2 reads %+v, want the credential %+v", said, token.VC)
	}
}

// publishedJWK returns the key that an issuer publishes under a kid.
func publishedJWK(t *testing.T, ctx context.Context, issuer, kid string) json.RawMessage {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/jwks", nil)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []json.RawMessage }
	answered(t, req, &set)
	for _, key := range set.Keys {
		var named struct{ Kid string }
		if err := json.Unmarshal(key, &named); err == nil && named.Kid == kid {
			return key
		}
	}
	t.Fatalf("no key %s at /jwks", kid)
	return nil
}

// peerAnswer asks about a token as peer, which may be told reasons.
func peerAnswer(t *testing.T, ctx context.Context, issuer, token string) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/introspect", strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("peer", url.QueryEscape(peerSecret))
	var answer map[string]any
	answered(t, req, &answer)
	delete(answer, "reason")
	return answer
}

// answered sends a request and reads the JSON of a 200.
func answered(t *testing.T, req *http.Request, into any) {
	t.Helper()
	resp, err := (&http.Client{Timeout: 30 * time.Second}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s = %s, %v", req.Method, req.URL.Path, resp.Status, err)
	}
}
