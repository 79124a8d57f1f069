package interop_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/nested"
)

// account does what a person does with her own account: she lets a bot act for her, names a key of hers, says who else she
// is, and takes it all back. The bot gets its token by each way there is.
func account(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "im-app", "")
	extra := maps.Clone(ownAccount)
	extra.Set("scope", ownAccount.Get("scope")+" im:credential")
	tokens := logIn(t, ctx, app, extra, "login", "bob")
	own := forIssuer(t, ctx, app, tokens.RefreshToken)
	send := func(c *client.Client, token, method, path, contentType string, body any, want int) map[string]any {
		t.Helper()
		text, ok := body.(string)
		if !ok && body != nil {
			data, err := json.Marshal(body)
			if err != nil {
				t.Fatal(err)
			}
			text = string(data)
		}
		req, err := http.NewRequestWithContext(ctx, method, issuer+path, bytes.NewReader([]byte(text)))
		if err != nil {
			t.Fatal(err)
		}
		if body != nil {
			req.Header.Set("Content-Type", contentType)
		}
		if token != "" {
			req.Header.Set("Authorization", "DPoP "+token)
		}
		resp, err := c.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer map[string]any
		if resp.StatusCode != want {
			t.Fatalf("%s %s = %d, want %d", method, path, resp.StatusCode, want)
		}
		if method == http.MethodPost && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
		}
		return answer
	}
	send(app, tokens.AccessToken, http.MethodPost, "/staple", "", nil, http.StatusOK)
	send(app, "nonsense", http.MethodPost, "/staple", "", nil, http.StatusUnauthorized)
	wallet, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	hers, err := dpop.NewSigner(wallet, "")
	if err != nil {
		t.Fatal(err)
	}
	const asJSON, asForm = "application/json", "application/x-www-form-urlencoded"
	forCredentials, err := app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}, "scope": {"im:credential"}, "resource": {issuer},
	})
	if err != nil {
		t.Fatal(err)
	}
	nonce, _ := send(app, "", http.MethodPost, "/credential/nonce", "", nil, http.StatusOK)["c_nonce"].(string)
	keyProof, err := hers.KeyProof(dpop.KeyProofParams{Audience: issuer, Client: "im-app", Nonce: nonce})
	if err != nil {
		t.Fatal(err)
	}
	request := map[string]any{"credential_configuration_id": "im-device", "proofs": map[string]any{"jwt": []string{keyProof}}}
	got, err := json.Marshal(send(app, forCredentials.AccessToken, http.MethodPost, "/credential", asJSON, request, http.StatusOK)["credentials"])
	if err != nil {
		t.Fatal(err)
	}
	send(app, forCredentials.AccessToken, http.MethodPost, "/credential", asJSON, request, http.StatusBadRequest) // the same key proof
	send(app, own.AccessToken, http.MethodPost, "/credential", asJSON, request, http.StatusForbidden)
	var credentials []struct{ Credential string }
	if err := json.Unmarshal(got, &credentials); err != nil || len(credentials) != 1 {
		t.Fatalf("credentials = %s, want one", got)
	}
	vc, err := sdjwt.Parse(credentials[0].Credential)
	if err != nil {
		t.Fatal(err)
	}
	var said struct{ JTI string }
	if err := json.Unmarshal(vc.Claims(), &said); err != nil {
		t.Fatal(err)
	}
	send(app, own.AccessToken, http.MethodGet, "/me/credentials", "", nil, http.StatusOK)
	send(app, own.AccessToken, http.MethodDelete, "/me/credentials/"+said.JTI, "", nil, http.StatusNoContent)
	send(app, own.AccessToken, http.MethodDelete, "/me/credentials/nonsense", "", nil, http.StatusNotFound)
	made := make(map[string]map[string]any)
	for kind, body := range map[string]any{
		"actors":      map[string]any{"actor": "bot", "actor_iss": issuer, "scope": "im:handle", "expires_in": 3600},
		"delegations": map[string]any{"jkt": hers.JKT(), "statements": []string{nested.TypeLink}, "devices": "*", "count": 1, "lifetime": 3600, "depth": 1},
		"links":       map[string]any{"same_as": "im:somebody@example.org;id-type=user", "audience": []string{"im:example.org"}},
	} {
		made[kind] = send(app, own.AccessToken, http.MethodPost, "/me/"+kind, asJSON, body, http.StatusCreated)
		send(app, own.AccessToken, http.MethodGet, "/me/"+kind, "", nil, http.StatusOK)
		send(app, own.AccessToken, http.MethodPost, "/me/"+kind, asJSON, map[string]any{"nonsense": 1}, http.StatusBadRequest)
	}
	grant, _ := made["actors"]["token"].(string)

	bot, _ := newClient(t, ctx, issuer, "bot", peerSecret)
	actor, err := bot.Token(ctx, url.Values{"grant_type": {"client_credentials"}})
	if err != nil {
		t.Fatal(err)
	}
	const jwt, accessToken = "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:access_token"
	acting, err := bot.Token(ctx, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {grant}, "subject_token_type": {jwt},
		"actor_token": {actor.AccessToken}, "actor_token_type": {accessToken}, "im_evidence": {"true"},
	})
	if err != nil {
		t.Fatal(err)
	}
	embedded := send(bot, "", http.MethodPost, "/token", asJSON, map[string]any{
		"grant_type": "urn:ietf:params:oauth:grant-type:embedded-tokens", "client_id": "bot", "client_secret": peerSecret,
		"requested_token_type": accessToken,
		"tokens":               []any{map[string]any{"type": jwt, "rel": "acts_for", "token": grant}},
	}, http.StatusOK)

	peer, _ := newClient(t, ctx, issuer, "peer", peerSecret)
	asker, err := peer.Token(ctx, url.Values{"grant_type": {"client_credentials"}, "resource": {issuer}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token any) map[string]any {
		form := url.Values{"token": {token.(string)}}
		return send(peer, asker.AccessToken, http.MethodPost, "/introspect", asForm, form.Encode(), http.StatusOK)
	}
	for _, token := range []any{acting.AccessToken, embedded["access_token"]} {
		if answer := ask(token); answer["active"] != true || answer["tokens"] == nil {
			t.Errorf("introspection = %v, want active with the grant inside", answer)
		}
	}
	statement := signedByHer(t, wallet, made["delegations"], issuer)
	for range 2 {
		send(app, own.AccessToken, http.MethodPost, "/me/withdrawals", asJSON, map[string]any{"token": statement}, http.StatusNoContent)
	}
	send(app, own.AccessToken, http.MethodPost, "/me/withdrawals", asJSON, map[string]any{"token": grant}, http.StatusBadRequest)
	for kind, statement := range made {
		send(app, own.AccessToken, http.MethodDelete, "/me/"+kind+"/"+statement["id"].(string), "", nil, http.StatusNoContent)
		send(app, own.AccessToken, http.MethodDelete, "/me/"+kind+"/"+statement["id"].(string), "", nil, http.StatusNotFound)
	}
	if answer := ask(embedded["access_token"]); answer["active"] != false || answer["reason"] != "revoked" || answer["path"] != "tokens[0]" {
		t.Errorf("introspection = %v, want inactive by the fault of the grant", answer)
	}
	send(app, tokens.AccessToken, http.MethodGet, "/me/actors", "", nil, http.StatusUnauthorized) // not for the issuer alone
	send(peer, asker.AccessToken, http.MethodGet, "/me/actors", "", nil, http.StatusForbidden)

	// Others find her by her handle as long as she allows it.
	const handle = "/.well-known/webfinger?resource=acct%3Abob%40example.com"
	send(app, own.AccessToken, http.MethodGet, "/me/privacy", "", nil, http.StatusOK)
	for _, test := range []struct {
		by   string
		want int
	}{{"handle", http.StatusOK}, {"nobody", http.StatusNotFound}} {
		send(app, own.AccessToken, http.MethodPut, "/me/privacy", asJSON, map[string]any{"findable_by": test.by}, http.StatusOK)
		send(app, "", http.MethodGet, handle, "", nil, test.want)
	}

	// At last her device gets another key.
	next, _ := newClient(t, ctx, issuer, "im-app", "")
	device, statement := newKeyOf(t, ctx, tokens.AccessToken, app, next, issuer)
	path := "/me/devices/" + device + "/key"
	const asRekey = "application/im-rekey+jwt"
	send(app, own.AccessToken, http.MethodPost, path, asRekey, "nonsense", http.StatusBadRequest)
	send(peer, asker.AccessToken, http.MethodPost, path, asRekey, statement, http.StatusForbidden)
	first := send(app, own.AccessToken, http.MethodPost, path, asRekey, statement, http.StatusOK)
	if again := send(app, own.AccessToken, http.MethodPost, path, asRekey, statement, http.StatusOK); !maps.Equal(first, again) {
		t.Errorf("the second answer = %v, want %v", again, first)
	}
	send(app, own.AccessToken, http.MethodGet, "/me/actors", "", nil, http.StatusUnauthorized)
	renewed, err := next.Token(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {tokens.RefreshToken}})
	if err != nil {
		t.Fatalf("refresh with the new key = %v", err)
	}
	for _, pair := range []struct {
		first, second string
		want          map[string]any
	}{
		{tokens.AccessToken, renewed.AccessToken, map[string]any{"successor": true, "same_client": true, "state": "superseded", "max_age": 5.0}},
		{renewed.AccessToken, tokens.AccessToken, map[string]any{"successor": false, "reason": "superseded", "path": "successor_token"}},
		{"never-issued", renewed.AccessToken, map[string]any{"successor": false}},
	} {
		form := url.Values{"token": {pair.first}, "successor_token": {pair.second}}
		answer := send(peer, asker.AccessToken, http.MethodPost, "/successor", asForm, form.Encode(), http.StatusOK)
		if !maps.Equal(answer, pair.want) {
			t.Errorf("POST /successor = %v, want %v", answer, pair.want)
		}
	}
	send(peer, asker.AccessToken, http.MethodPost, "/successor", asForm, "token=one", http.StatusBadRequest)

	// She looks at her devices, and ends with none.
	own, err = next.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {renewed.RefreshToken}, "scope": {"account"}, "resource": {issuer},
	})
	if err != nil {
		t.Fatal(err)
	}
	send(next, own.AccessToken, http.MethodGet, "/me", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodGet, "/me/sessions?limit=1", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodDelete, "/me/sessions?except=current", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodDelete, "/me/sessions/none", "", nil, http.StatusNotFound)
	send(next, own.AccessToken, http.MethodGet, "/me/credentials?limit=1", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodDelete, "/me/credentials/none", "", nil, http.StatusNotFound)
	send(next, own.AccessToken, http.MethodGet, "/me/provider-links", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodDelete, "/me/provider-links/none", "", nil, http.StatusNotFound)
	send(next, own.AccessToken, http.MethodPut, "/me/handle", asJSON, map[string]any{"handle": "robert"}, http.StatusForbidden)
	send(next, own.AccessToken, http.MethodGet, "/me/devices?limit=1", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodGet, "/me/devices?limit=0", "", nil, http.StatusBadRequest)
	send(next, own.AccessToken, http.MethodGet, "/me/events?limit=50", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodGet, "/me/events?since=1000000", "", nil, http.StatusGone)
	send(next, own.AccessToken, http.MethodPatch, "/me/devices/"+device, asJSON, map[string]any{"name": "Phone of Bob"}, http.StatusNoContent)
	send(next, own.AccessToken, http.MethodPatch, "/me/devices/"+device, asJSON, map[string]any{"name": ""}, http.StatusBadRequest)
	send(next, own.AccessToken, http.MethodPatch, "/me/devices/1", asJSON, map[string]any{"name": "x"}, http.StatusNotFound)
	send(next, own.AccessToken, http.MethodDelete, "/me/devices?except=current", "", nil, http.StatusOK)
	send(next, own.AccessToken, http.MethodGet, "/me/export", "", nil, http.StatusOK)
	send(peer, asker.AccessToken, http.MethodDelete, "/me", "", nil, http.StatusForbidden)
	send(next, own.AccessToken, http.MethodDelete, "/me/devices", "", nil, http.StatusBadRequest)
	send(next, own.AccessToken, http.MethodDelete, "/me/devices/"+device, "", nil, http.StatusNoContent)
	send(next, own.AccessToken, http.MethodGet, "/me/devices", "", nil, http.StatusUnauthorized)
}

// newKeyOf returns the id of the device of an access token, and the statement of the key of next that it is to be the device's.
func newKeyOf(t *testing.T, ctx context.Context, token string, app, next *client.Client, issuer string) (device, statement string) {
	t.Helper()
	signer := func(c *client.Client) *dpop.Signer { return c.HTTP.Transport.(*dpop.Transport).Signer }
	var claims struct{ Device string }
	payload(t, token, &claims)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+"/nonce", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	statement, err = signer(next).Rekey(dpop.RekeyParams{
		Audience: issuer, Device: claims.Device, OldJKT: signer(app).JKT(), Nonce: resp.Header.Get("DPoP-Nonce"),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, device, _ = strings.Cut(claims.Device, "/")
	device, _, _ = strings.Cut(device, "@")
	return device, statement
}

// signedByHer is half a link that a key of a person's own signs under a delegation.
func signedByHer(t *testing.T, key *ecdsa.PrivateKey, delegation map[string]any, issuer string) string {
	t.Helper()
	sign, err := nested.UserKey(key)
	if err != nil {
		t.Fatal(err)
	}
	sub, _ := delegation["sub"].(string)
	token, _ := delegation["token"].(string)
	now := time.Now().Truncate(time.Second)
	s := nested.Statement{
		Type: nested.TypeLink, Issuer: sub, Subject: sub, Audience: []string{issuer}, JTI: rand.Text(), IssuedAt: now,
		Expires: now.Add(time.Minute), Party: "im:somebody@example.org;id-type=user",
	}
	if s.Tokens, err = nested.Build(nested.Entry{Relation: nested.Cascade, Token: token}); err != nil {
		t.Fatal(err)
	}
	statement, err := s.Sign(sign)
	if err != nil {
		t.Fatal(err)
	}
	return statement
}
