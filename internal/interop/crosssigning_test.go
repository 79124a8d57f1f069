package interop_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/xsign"
)

// crossSigning does what an app does with the cross signing of its user, and asks for it as others do.
func crossSigning(t *testing.T, ctx context.Context, issuer string) {
	app, _ := newClient(t, ctx, issuer, "im-app", "")
	tokens := logIn(t, ctx, app, ownAccount, "login", "bob")
	own := forIssuer(t, ctx, app, tokens.RefreshToken).AccessToken
	send := func(method, path, authorization string, body any, want int) {
		t.Helper()
		var text []byte
		if body != nil {
			var err error
			if text, err = json.Marshal(body); err != nil {
				t.Fatal(err)
			}
		}
		req, err := http.NewRequestWithContext(ctx, method, issuer+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", authorization)
		if body != nil {
			req.Header.Set("Content-Type", "application/json")
		}
		resp, err := app.HTTP.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			t.Fatalf("%s %s = %d, want %d", method, path, resp.StatusCode, want)
		}
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(tokens.AccessToken, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	set, err := claims.ParseSet(payload)
	if err != nil {
		t.Fatal(err)
	}
	id, err := set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	key := func() crypto.Signer {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return private
	}
	master, listing, vouching := key(), key(), key()
	now := time.Now().Truncate(time.Second)
	keys, err := (&xsign.Keys{
		User: id.User, IssuedAt: now, Expires: now.Add(24 * time.Hour), Seq: 1, DeviceSigning: listing.Public(), UserSigning: vouching.Public(),
	}).Sign(master)
	if err != nil {
		t.Fatal(err)
	}
	devices, err := (&xsign.Devices{
		User: id.User, IssuedAt: now, Expires: now.Add(24 * time.Hour), Seq: 1,
		Devices: []xsign.Device{{ID: id.Device, Keys: []string{set.JKT}}},
	}).Sign(listing)
	if err != nil {
		t.Fatal(err)
	}
	other, err := claims.Parse("im:b0bb0bb0bb0bb0bb0bb0bg@example.org;id-type=user")
	if err != nil {
		t.Fatal(err)
	}
	thumbprint, err := xsign.Thumbprint(key().Public())
	if err != nil {
		t.Fatal(err)
	}
	vouch, err := (&xsign.Vouch{
		By: id.User, User: other, IssuedAt: now, Expires: now.Add(24 * time.Hour), Master: thumbprint, How: "qr", Public: true,
	}).Sign(vouching)
	if err != nil {
		t.Fatal(err)
	}
	bearer, peer := "DPoP "+own, "Basic "+base64.StdEncoding.EncodeToString([]byte("peer:"+url.QueryEscape(peerSecret)))
	send(http.MethodPut, "/me/vouches/"+thumbprint, bearer, map[string]string{"statement": vouch}, http.StatusConflict) // by no keys
	send(http.MethodPut, "/me/xsign", bearer, map[string]string{"keys": keys, "devices": devices}, http.StatusOK)
	send(http.MethodPut, "/me/xsign", bearer, map[string]string{"devices": keys}, http.StatusBadRequest)
	send(http.MethodPut, "/me/vouches/"+thumbprint, bearer, map[string]string{"statement": vouch}, http.StatusNoContent)
	send(http.MethodGet, "/me/xsign", bearer, nil, http.StatusOK)
	users := []string{id.User.String(), other.String()}
	send(http.MethodPost, "/xsign/query", peer, map[string]any{"users": users}, http.StatusOK)
	send(http.MethodPost, "/xsign/query", peer, map[string]any{"users": users, "by": users[:1]}, http.StatusOK)
	send(http.MethodPost, "/xsign/query", peer, map[string]any{"users": []string{"alice"}}, http.StatusBadRequest)
	fingerprint, err := places.Fingerprint(master.Public())
	if err != nil {
		t.Fatal(err)
	}
	profile, err := (&places.Profile{Name: "Bob", User: id.User}).Sign(master)
	if err != nil {
		t.Fatal(err)
	}
	public := "/.well-known/aspe/id/" + fingerprint
	send(http.MethodGet, public, "", nil, http.StatusNotFound)
	send(http.MethodDelete, "/me/profile", bearer, nil, http.StatusNotFound)
	send(http.MethodPut, "/me/profile", bearer, map[string]string{"profile": keys}, http.StatusBadRequest)
	send(http.MethodPut, "/me/profile", bearer, map[string]string{"profile": profile}, http.StatusOK)
	send(http.MethodGet, "/me/profile", bearer, nil, http.StatusOK)
	send(http.MethodGet, public, "", nil, http.StatusOK)
	send(http.MethodGet, strings.ToLower(public), "", nil, http.StatusOK)
	send(http.MethodDelete, "/me/profile", bearer, nil, http.StatusNoContent)
	send(http.MethodGet, public, "", nil, http.StatusNotFound)
	send(http.MethodDelete, "/me/vouches/"+thumbprint, bearer, nil, http.StatusNoContent)
	send(http.MethodDelete, "/me/vouches/"+thumbprint, bearer, nil, http.StatusNotFound)
}
