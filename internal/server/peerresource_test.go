package server_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

const ofAbroad = "im:abroad.example"

// peerResources fills the resources of app: its own, and those of all peers.
const peerResources = `["https://rooms.example.com"]
    peer_resources: true`

// gateway is a verifier of another domain, with the issuer as its peer.
func (s *site) gateway(t *testing.T) *trust.Table {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer, JWKS: []byte(s.get(t, "/jwks").body)}}, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// TestPeerResource gets tokens for the domain of a peer, which a verifier there accepts.
func TestPeerResource(t *testing.T) {
	home, far := startTwo(t, "")
	home.reload(t, map[string]string{"resources": peerResources})
	gateway := home.gateway(t)
	accepted := func(held tokens) {
		t.Helper()
		_, err := nested.Open(t.Context(), held.access, nested.Options{Keys: gateway, Audience: []string{ofAbroad}, Now: home.clock.now, Development: true})
		if err != nil {
			t.Errorf("Open = %v at the peer", err)
		}
	}
	want := func(held tokens, audience ...string) tokens {
		t.Helper()
		if !slices.Equal(held.set.Audience, audience) {
			t.Errorf("aud = %q, want %q", held.set.Audience, audience)
		}
		return held
	}
	narrowed := func(refresh, resource string) url.Values {
		form := refreshForm(refresh)
		form.Set("resource", resource)
		return form
	}
	phone, tablet := newDevice(t), newDevice(t)
	alice := want(wantTokens(t, home.token(t, app, phone, codeForm(home.code(t, "alice", url.Values{"resource": {ofAbroad}}), nil))), ofAbroad)
	accepted(alice)
	accepted(want(wantTokens(t, home.token(t, app, phone, refreshForm(alice.refresh))), ofAbroad))

	// Pushed, for both domains; a refresh narrows it.
	code := home.pushedLogin(t, home.pushed(t, nil, url.Values{"resource": {"im:example.com", ofAbroad}})).Get("code")
	bob := want(wantTokens(t, home.token(t, app, tablet, codeForm(code, nil))), "im:example.com", ofAbroad)
	accepted(bob)
	bob = want(wantTokens(t, home.token(t, app, tablet, narrowed(bob.refresh, ofAbroad))), ofAbroad)
	accepted(bob)
	wantError(t, home.token(t, app, phone, narrowed(alice.refresh, "im:example.com")), http.StatusBadRequest, "invalid_target")

	// A service, also for the issuer of the peer.
	for _, resource := range []string{ofAbroad, far.issuer} {
		home.service(t, envoy, newDevice(t), url.Values{"resource": {resource}})
	}
	for name, resource := range map[string]string{
		"a domain that is no peer": "im:nobody.example", "another spelling": "im:Abroad.example", "a user of the peer": "im:alice@abroad.example",
		"a URL of the peer": far.issuer + "/token", "a URL of nobody": "https://files.example.com",
	} {
		form := url.Values{"grant_type": {"client_credentials"}, "resource": {resource}}
		a := home.token(t, envoy, newDevice(t), form)
		wantError(t, a, http.StatusBadRequest, "invalid_target")
		if !strings.Contains(a.text("error_description"), "or of a peer's domain") {
			t.Errorf("%s: answer = %v, want it to say that peers can be named", name, a)
		}
	}
	// The setting gives no right to ask about tokens for the peer.
	if a := home.introspect(t, envoy, alice.access); a.json["active"] != false {
		t.Errorf("answer = %v, want the token of another client not to be seen", a)
	}

	// A suspended peer gets nothing more. A session for others, too, goes on with these.
	peers := home.fill["peers"]
	home.reload(t, map[string]string{"peers": strings.Replace(peers, "}", ", suspended: true}", 1)})
	wantError(t, home.token(t, app, phone, refreshForm(alice.refresh)), http.StatusBadRequest, "invalid_target")
	bob = want(wantTokens(t, home.token(t, app, tablet, refreshForm(bob.refresh))), "im:example.com")
	wantError(t, home.token(t, app, tablet, narrowed(bob.refresh, ofAbroad)), http.StatusBadRequest, "invalid_target")
	wantError(t, home.push(t, nil, url.Values{"resource": {ofAbroad}}), http.StatusBadRequest, "invalid_target")
	wantError(t, home.token(t, envoy, newDevice(t), url.Values{"grant_type": {"client_credentials"}, "resource": {far.issuer}}), http.StatusBadRequest, "invalid_target")
	home.reload(t, map[string]string{"peers": peers})
	want(wantTokens(t, home.token(t, app, tablet, refreshForm(bob.refresh))), "im:example.com", ofAbroad)
	want(wantTokens(t, home.token(t, app, phone, refreshForm(alice.refresh))), ofAbroad)

	// A client needs the setting.
	home.reload(t, map[string]string{"resources": `["https://rooms.example.com"]`})
	wantError(t, home.token(t, app, phone, refreshForm(alice.refresh)), http.StatusBadRequest, "invalid_target")
	wantError(t, home.push(t, nil, url.Values{"resource": {ofAbroad}}), http.StatusBadRequest, "invalid_target")
}
