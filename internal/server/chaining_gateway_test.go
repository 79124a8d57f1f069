package server_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/trust"
)

// A door is the gateway of a provider.
type door struct {
	*gateway.Verifier
	*trust.Table
}

// doorOf opens a gateway of abroad.example that trusts two issuers for a domain each, and has one of its own unless that is empty.
func doorOf(t *testing.T, home, far *site, own string) door {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{
			{Domain: "example.com", Issuer: home.issuer, JWKS: []byte(home.get(t, "/jwks").body)},
			{Domain: "abroad.example", Issuer: far.issuer, JWKS: []byte(far.get(t, "/jwks").body)},
		},
		Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg := gateway.Config{Trust: table, Audience: []string{ofAbroad}, Development: true}
	if own != "" {
		cfg.OwnIssuers = []string{own}
	}
	v, err := gateway.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return door{v, table}
}

// decide lets the holder of a token ask for a room.
func (g door) decide(t *testing.T, d *device, token string) gateway.Decision {
	t.Helper()
	const room = "https://chat.abroad.example/rooms/1"
	policy, err := gateway.NewPolicy(gateway.PolicyConfig{Scopes: []string{"im:handle"}})
	if err != nil {
		t.Fatal(err)
	}
	r := gateway.Request{Method: http.MethodGet, URL: room, Authorization: []string{"DPoP " + token}}
	nonce := g.Decide(t.Context(), r, policy).Nonce
	proof, err := d.Proof(dpop.ProofParams{Method: http.MethodGet, URL: room, Nonce: nonce, AccessToken: token})
	if err != nil {
		t.Fatal(err)
	}
	r.DPoP = []string{proof}
	return g.Decide(t.Context(), r, policy)
}

// TestGatewayAbroad brings a user to the gateway of another domain in both ways: with a token of the home issuer for that domain, and
// with a token of the other issuer.
func TestGatewayAbroad(t *testing.T) {
	home, far := chainTwo(t)
	home.reload(t, map[string]string{"resources": peerResources})
	d, thief := newDevice(t), newDevice(t)
	direct := wantTokens(t, home.token(t, app, d, codeForm(home.code(t, "alice", url.Values{"resource": {ofAbroad}}), nil)))
	travels := home.travel(t, d, "alice", "example.com")
	chained := wantChained(t, far.bearer(t, visitors, d, home.grantFor(t, d, travels, far.issuer), nil))
	own, third := doorOf(t, home, far, far.issuer), doorOf(t, home, far, "")
	for name, v := range map[string]struct {
		at     door
		token  string
		by     *device
		reason gateway.Reason // "" is allowed
	}{
		"a token of the home issuer":               {own, direct.access, d, ""},
		"the same at a third party":                {third, direct.access, d, ""},
		"the same by a thief":                      {own, direct.access, thief, gateway.ReasonOtherKey},
		"a token of home for home":                 {own, home.login(t, d, "alice").access, d, gateway.ReasonWrongAudience},
		"a chained token":                          {own, chained.access, d, ""},
		"the same by a thief again":                {own, chained.access, thief, gateway.ReasonOtherKey},
		"a chained token at a third party":         {third, chained.access, d, gateway.ReasonForeignHome},
		"the grant itself, which is for an issuer": {own, home.grantFor(t, d, travels, far.issuer), d, gateway.ReasonWrongType},
	} {
		t.Run(name, func(t *testing.T) {
			got := v.at.decide(t, v.by, v.token)
			if v.reason != "" {
				if got.Outcome != gateway.Unauthenticated || got.Reason != v.reason {
					t.Errorf("Decide = %v %s: %s, want 401 %s", got.Outcome, got.Reason, got.Explanation, v.reason)
				}
				return
			}
			if got.Outcome != gateway.Allowed || got.Identity.Handle != direct.set.Handle || got.Identity.Domain != "example.com" {
				t.Errorf("Decide = %v %s: %s, want alice to pass", got.Outcome, got.Reason, got.Explanation)
			}
		})
	}
	if id := own.decide(t, d, chained.access).Identity; id == nil || id.HomeIssuer != home.issuer || id.Issuer != far.issuer {
		t.Errorf("identity = %+v, want both issuers", id)
	}
	// The gateway suspends the home domain: the token of its own issuer does not pass either.
	if err := own.Suspend("example.com", true); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{direct.access, chained.access} {
		if got := own.decide(t, d, token); got.Outcome == gateway.Allowed {
			t.Errorf("Decide = %v %s, want a refusal while the peer is suspended", got.Outcome, got.Reason)
		}
	}
}
