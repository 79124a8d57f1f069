package interop_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
)

// A person has a device with the app organizer, whose user they are at one of the providers of example.org.
type person struct {
	app *client.Client
	own client.Tokens // for the issuer alone, with scope account
}

// signIn signs somebody in with a new device of the app organizer.
func signIn(t *testing.T, ctx context.Context, issuer, provider, who, device string) *person {
	t.Helper()
	app, _ := newClient(t, ctx, issuer, "organizer", "")
	tokens := logIn(t, ctx, app, url.Values{
		"scope": {"im:handle im:device account im:credential"}, "im_provider": {provider}, "im_device_name": {device}, "max_age": {"300"},
	}, "login", who)
	return &person{app, forIssuer(t, ctx, app, tokens.RefreshToken)}
}

// send sends a request of a person about their own account. It decodes the answer into answer, unless that is nil.
func (p *person) send(t *testing.T, ctx context.Context, method, address string, body, answer any, want int) {
	t.Helper()
	var text []byte
	var err error
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+p.own.AccessToken)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := p.app.HTTP.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Fatalf("%s %s = %d %s, %v, want %d", method, address, resp.StatusCode, raw, err, want)
	}
	if answer == nil {
		return
	}
	if err := json.Unmarshal(raw, answer); err != nil {
		t.Fatal(err)
	}
}

// obtain gets a credential for the key of the device.
func (p *person) obtain(t *testing.T, ctx context.Context, issuer string) {
	t.Helper()
	tokens, err := p.app.Token(ctx, url.Values{
		"grant_type": {"refresh_token"}, "refresh_token": {p.own.RefreshToken}, "scope": {"im:credential"}, "resource": {issuer},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.own.RefreshToken = tokens.RefreshToken
	meta, err := client.DiscoverCredentials(ctx, http.DefaultClient, issuer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.app.Credentials(ctx, meta, client.CredentialRequest{
		Configuration: "im-device", AccessToken: tokens.AccessToken, Keys: []*dpop.Signer{p.app.HTTP.Transport.(*dpop.Transport).Signer},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// settled makes the people whose accounts looks.mjs visits: each has two devices and an app that acts for them.
func settled(t *testing.T, ctx context.Context, issuer string) {
	t.Helper()
	for _, who := range []string{"erin", "dora", "amal"} {
		signIn(t, ctx, issuer, "staff", who, "Kitchen tablet").obtain(t, ctx, issuer)
		p := signIn(t, ctx, issuer, "staff", who, "Phone")
		p.send(t, ctx, http.MethodPost, issuer+"/me/actors",
			map[string]any{"actor": "assistant", "actor_iss": issuer, "scope": "im:handle", "expires_in": 3600}, nil, http.StatusCreated)
	}
}

// nameAndLinks lets a person remove one of two accounts at providers, end a credential, and take another name. The second account was another user's until
// an operator moved it.
func nameAndLinks(t *testing.T, ctx context.Context, s *served) {
	signIn(t, ctx, s.url, "guests", "frank", "Old phone")
	p := signIn(t, ctx, s.url, "staff", "greta", "Phone")
	var me struct{ User string }
	p.send(t, ctx, http.MethodGet, s.url+"/me", nil, &me, http.StatusOK)
	id, _, _ := strings.Cut(strings.TrimPrefix(me.User, "im:"), "@")
	move, err := json.Marshal(map[string]any{"from": map[string]string{"iss": s.providers["guests"], "sub": "frank"}, "user": id})
	if err != nil {
		t.Fatal(err)
	}
	relink := exec.CommandContext(ctx, program(t, "./cmd/issuer"), "users", "relink", "--config", s.settings, "--domain", "example.org", "--map", "-")
	relink.Stdin = bytes.NewReader(move)
	if out, err := relink.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", relink, err, out)
	}
	address := s.url + "/me/provider-links"
	var links []struct{ ID, Provider string }
	p.send(t, ctx, http.MethodGet, address, nil, &links, http.StatusOK)
	slices.SortFunc(links, func(a, b struct{ ID, Provider string }) int { return strings.Compare(a.Provider, b.Provider) })
	if len(links) != 2 || links[0].Provider != "guests" || links[1].Provider != "staff" {
		t.Fatalf("links = %+v, want one at each provider", links)
	}
	p.send(t, ctx, http.MethodDelete, address+"/"+links[0].ID, nil, nil, http.StatusNoContent)
	p.send(t, ctx, http.MethodDelete, address+"/"+links[1].ID, nil, nil, http.StatusConflict)
	p.obtain(t, ctx, s.url)
	var credentials []struct{ ID, State string }
	p.send(t, ctx, http.MethodGet, s.url+"/me/credentials", nil, &credentials, http.StatusOK)
	if len(credentials) != 1 || credentials[0].State != "live" {
		t.Fatalf("credentials = %+v, want a live one", credentials)
	}
	for range 2 {
		p.send(t, ctx, http.MethodDelete, s.url+"/me/credentials/"+credentials[0].ID, nil, nil, http.StatusNoContent)
	}
	p.send(t, ctx, http.MethodPut, s.url+"/me/handle", map[string]any{"handle": "greta.anew"}, nil, http.StatusOK)
	p.send(t, ctx, http.MethodGet, s.url+"/me", nil, nil, http.StatusUnauthorized) // the app refreshes
}
