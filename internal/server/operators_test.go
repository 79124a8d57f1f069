package server_test

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/dpoptest"
	"github.com/imidentity/issuer/types/api"
)

// withOperators has start serve operators over the network, too. The clients ops, local-ops and other-ops administer all domains,
// example.com and example.org.
func withOperators() map[string]string {
	operator := func(id, domains string) string {
		return "  - {id: " + id + ", auth: private_key_jwt, jwks: '" + signerKeys +
			"', grants: [client_credentials], scopes: [introspect, admin], domains: [" + domains + "]}\n"
	}
	return map[string]string{"operators": "127.0.0.1:0", "peers": operator("ops", allDomains) + operator("local-ops", "example.com") +
		operator("other-ops", "example.org")}
}

// allDomains are those of testdata/settings.yaml.
const allDomains = "example.com, example.org, generic.example, wxyz.example, wire.example, xmpp.example, mimi.example, choose.example, two.example"

// listenOperators opens the listener for operators and fills it into the settings, if the site has one.
func (s *site) listenOperators(t *testing.T) net.Listener {
	t.Helper()
	if s.fill["operators"] == "" {
		return nil
	}
	l := listen(t, s.fill["operators"])
	address := l.Addr().String()
	s.fill["operators"] = address // also after a restart
	_, port, _ := net.SplitHostPort(address)
	s.network = "http://127.0.0.1:" + port
	s.fill["more"] = "admin_listen: \"" + address + "\"\nadmin_url: " + s.network
	if s.fill["proxies"] != "" {
		s.fill["more"] = "admin_listen: \"" + address + "\"\nadmin_url: https://admin.example.com\ntrusted_proxies: " + s.fill["proxies"]
	}
	s.fill["more"] += "\n" + s.fill["operators_more"]
	return l
}

// An operatorOf is a client that administers the issuer over the network: its key for proofs and its token.
type operatorOf struct {
	*device
	token string
}

// operatorToken gets a token of a client for the issuer, with further parameters.
func (s *site) operatorToken(t *testing.T, d *device, id string, more url.Values) string {
	t.Helper()
	form := joined(url.Values{"grant_type": {"client_credentials"}, "resource": {s.issuer}, "scope": {"admin"}, "client_id": {id}},
		s.assert(t, signerKey, "one", id, nil), more)
	req := s.request(t, http.MethodPost, "/token", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("DPoP", s.proof(t, d, ""))
	a := s.send(t, s.http, req)
	wantStatus(t, a, http.StatusOK)
	return a.text("access_token")
}

// asOperator returns an operator with a token of a client.
func (s *site) asOperator(t *testing.T, id string) operatorOf {
	t.Helper()
	d := newDevice(t)
	return operatorOf{d, s.operatorToken(t, d, id, nil)}
}

// by sends a request of an operator over the network.
func (s *site) by(t *testing.T, o operatorOf, method, path, body string) answer {
	t.Helper()
	return s.send(t, s.http, s.signedBy(t, o, method, path, body))
}

// signedBy makes a request of an operator, with a proof.
func (s *site) signedBy(t *testing.T, o operatorOf, method, path, body string) *http.Request {
	t.Helper()
	req := s.request(t, method, s.network+path, body)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	proof, err := o.Proof(dpop.ProofParams{
		Method: method, URL: s.network + req.URL.EscapedPath(), Nonce: s.nonce(t), IssuedAt: s.clock.now(), AccessToken: o.token,
	})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP "+o.token)
	req.Header.Set("DPoP", proof)
	return req
}

// A knownQuery sends every request with a query that its endpoint knows, because it refuses any other.
type knownQuery struct{ http.RoundTripper }

func (k knownQuery) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.URL.RawQuery = "domain=example.com"
	return k.RoundTripper.RoundTrip(req)
}

// wantChallenge wants a request refused with 401 and a challenge for a proof.
func wantChallenge(t *testing.T, a answer, code string) {
	t.Helper()
	if a.status != http.StatusUnauthorized || a.text("error") != code || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), `DPoP error="`+code+`"`) {
		t.Errorf("answer = %v with challenge %q, want 401 %s", a, a.header.Get("WWW-Authenticate"), code)
	}
}

// TestOperatorsAcceptance holds the listener for operators to the acceptance list of RFC 9449.
func TestOperatorsAcceptance(t *testing.T) {
	s := start(t, withOperators())
	ops := s.asOperator(t, "ops")
	dpoptest.Run(t, dpoptest.Endpoint{
		Method: http.MethodGet, URL: s.network + "/admin/devices", Key: ops.key, AccessToken: ops.token, Nonces: true,
		Refused: http.StatusUnauthorized, OtherKey: "invalid_token", Now: s.clock.now,
		Client: &http.Client{Transport: knownQuery{s.http.Transport}},
		Request: func(t *testing.T) *http.Request {
			req := s.request(t, http.MethodGet, s.network+"/admin/devices", "")
			req.Header.Set("Authorization", "DPoP "+ops.token)
			return req
		},
	})
}

// TestOperatorsRefused tries what is no operator: no proof, no scope, a token of a user, a token for others, a client that lost the
// scope, and requests that the endpoints do not know.
func TestOperatorsRefused(t *testing.T) {
	s := start(t, withOperators())
	ops := s.asOperator(t, "ops")
	held := s.login(t, newDevice(t), "alice")
	signed := func(change func(set *claims.Set)) operatorOf {
		set := claimsOf(t, ops.token)
		set.JTI += "x"
		change(&set)
		return operatorOf{ops.device, s.signs(t, set)}
	}
	if a := s.by(t, ops, http.MethodGet, "/admin/keys", ""); a.status != http.StatusOK {
		t.Fatalf("keys for an operator = %v, want 200", a)
	}
	for _, test := range []struct {
		name   string
		by     operatorOf
		status int
		code   string
	}{
		{"another scope", operatorOf{ops.device, s.operatorToken(t, ops.device, "ops", url.Values{"scope": {"introspect"}})}, 403, "insufficient_scope"},
		{"for the domain", operatorOf{ops.device, s.operatorToken(t, ops.device, "local-ops", url.Values{"resource": {"im:example.com"}})}, 401, "invalid_token"},
		{"for the issuer and a domain", operatorOf{ops.device, s.operatorToken(t, ops.device, "local-ops",
			url.Values{"resource": {s.issuer, "im:example.com"}})}, 401, "invalid_token"},
		{"a user with the scope", signed(func(set *claims.Set) {
			set.Subject, set.SID, set.Gen, set.Handle, set.Device = held.set.Subject, held.set.SID, held.set.Gen, held.set.Handle, held.set.Device
			set.ClientID = app.id
		}), 403, "access_denied"},
		{"for somebody else", signed(func(set *claims.Set) { set.Actor = &claims.Actor{Subject: "bot", ClientID: "bot"} }), 403, "access_denied"},
		{"a client without the scope", signed(func(set *claims.Set) { set.Subject, set.ClientID = "peer", "peer" }), 403, "insufficient_scope"},
		{"a client that is not registered", signed(func(set *claims.Set) { set.Subject, set.ClientID = "nobody", "nobody" }), 401, "invalid_client"},
		{"expired", signed(func(set *claims.Set) { set.Expires = s.clock.now().Add(-time.Second).Truncate(time.Second) }), 401, "invalid_token"},
		{"another key", operatorOf{newDevice(t), ops.token}, 401, "invalid_token"},
		{"a token of a user", operatorOf{ops.device, held.access}, 401, "invalid_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := s.by(t, test.by, http.MethodGet, "/admin/keys", "")
			if test.status == http.StatusUnauthorized && test.code != "invalid_client" {
				wantChallenge(t, a, test.code)
				return
			}
			wantError(t, a, test.status, test.code)
		})
	}
	t.Run("no token", func(t *testing.T) {
		a := s.get(t, s.network+"/admin/keys")
		if a.status != http.StatusUnauthorized || !strings.Contains(a.header.Get("WWW-Authenticate"), `resource_metadata="`+s.network) {
			t.Errorf("answer = %v with %q, want 401 that names the metadata", a, a.header.Get("WWW-Authenticate"))
		}
	})
	t.Run("bearer", func(t *testing.T) {
		req := s.signedBy(t, ops, http.MethodGet, "/admin/keys", "")
		req.Header.Set("Authorization", "Bearer "+ops.token)
		wantChallenge(t, s.send(t, s.http, req), "invalid_token")
	})
	t.Run("replayed", func(t *testing.T) {
		req := s.signedBy(t, ops, http.MethodGet, "/admin/keys", "")
		wantStatus(t, s.send(t, s.http, req), http.StatusOK)
		wantChallenge(t, s.send(t, s.http, req.Clone(t.Context())), "invalid_dpop_proof")
	})
	t.Run("proof for the public listener", func(t *testing.T) {
		req := s.signedBy(t, ops, http.MethodGet, "/admin/keys", "")
		proof, err := ops.Proof(dpop.ProofParams{
			Method: http.MethodGet, URL: s.issuer + "/admin/keys", Nonce: s.nonce(t), IssuedAt: s.clock.now(), AccessToken: ops.token,
		})
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("DPoP", proof)
		wantChallenge(t, s.send(t, s.http, req), "invalid_dpop_proof")
	})
	for path, known := range map[string]string{"/admin/keys?search=x": "not known here", "/admin/devices?domain=example.com&domian=x": "Known are", "/admin/devices?domain=example.com&domain=example.org": "repeated", "/admin/keys?%zz": "malformed"} {
		t.Run("query "+path, func(t *testing.T) {
			a := s.by(t, ops, http.MethodGet, path, "")
			wantError(t, a, http.StatusBadRequest, "invalid_request")
			if !strings.Contains(a.text("error_description"), known) {
				t.Errorf("answer = %v, want %q", a, known)
			}
		})
	}
	t.Run("oversized body", func(t *testing.T) {
		body := `{"id":"` + strings.Repeat("a", 70<<10) + `"}`
		wantError(t, s.by(t, ops, http.MethodPost, "/admin/clients", body), http.StatusRequestEntityTooLarge, "invalid_request")
	})
	t.Run("paths of the other listeners", func(t *testing.T) {
		for _, path := range []string{"/token", "/jwks", "/authorize", "/introspect", "/readyz", "/metrics", "/", "/me/devices", "/admin"} {
			wantError(t, s.by(t, ops, http.MethodGet, path, ""), http.StatusNotFound, "not_found")
		}
		for _, path := range []string{"/admin/keys", "/admin/users?domain=example.com", "/.well-known/oauth-protected-resource"} {
			req := s.signedBy(t, ops, http.MethodGet, path, "")
			req.URL.Host = s.issuer[len("http://"):]
			wantError(t, s.send(t, s.http, req), http.StatusNotFound, "not_found")
		}
	})
	t.Run("scope withdrawn", func(t *testing.T) {
		s.reload(t, map[string]string{"peers": strings.Replace(s.fill["peers"], "introspect, admin", "introspect", 1)})
		wantError(t, s.by(t, ops, http.MethodGet, "/admin/keys", ""), http.StatusForbidden, "insufficient_scope")
	})
}

// TestOperatorsDomains holds an operator to the domains that its client is registered for.
func TestOperatorsDomains(t *testing.T) {
	s := start(t, withOperators())
	ops, local, other := s.asOperator(t, "ops"), s.asOperator(t, "local-ops"), s.asOperator(t, "other-ops")
	id := deviceOf(t, s.login(t, newDevice(t), "alice"))
	alice, device := id.Local(), id.Device()
	member := `{"typ":"im-member+jwt","sub":"im:wxyz=%23%23team@wxyz.example","member":"im:%40alice@example.com"}`
	statement, _ := s.attested(t, object{"typ": "im-link+jwt", "sub": "im:" + alice + "@example.com;id-type=user",
		"same_as": "im:bob@example.org;id-type=user"})
	added := func(id string) string {
		return `{"id":"` + id + `","auth":"secret","grants":["client_credentials"],"domains":["example.com"]}`
	}
	for _, test := range []struct{ method, path, body string }{
		{http.MethodGet, "/admin/users?domain=example.com", ""},
		{http.MethodGet, "/admin/users/" + alice + "?domain=example.com", ""},
		{http.MethodGet, "/admin/devices?domain=example.com", ""},
		{http.MethodGet, "/admin/statements?domain=example.com", ""},
		{http.MethodDelete, "/admin/statements/" + statement + "?domain=example.com", ""},
		{http.MethodPost, "/admin/users/" + alice + "/enable?domain=example.com", ""},
		{http.MethodPut, "/admin/users/" + alice + "/handle?domain=example.com&handle=alex", ""},
		{http.MethodDelete, "/admin/names?domain=example.com&handle=alice", ""},
		{http.MethodPost, "/admin/users/" + alice + "/disable?domain=example.com", ""},
		{http.MethodDelete, "/admin/devices/example.com/" + device, ""},
	} {
		a := s.by(t, other, test.method, test.path, test.body)
		wantError(t, a, http.StatusForbidden, "access_denied")
		if strings.Contains(a.body, device) {
			t.Errorf("%s %s = %v, which tells of the device", test.method, test.path, a)
		}
		if a := s.by(t, local, test.method, test.path, test.body); a.status/100 != 2 {
			t.Errorf("%s %s for the domain's own operator = %v, want success", test.method, test.path, a)
		}
	}
	// What concerns all domains is for operators of all.
	key := `/admin/keys/nokey`
	for _, test := range []struct {
		method, path, body string
		status             int // for an operator of all domains
	}{
		{http.MethodGet, "/admin/keys", "", 200},
		{http.MethodPost, "/admin/keys", "", 200},
		{http.MethodDelete, key, "", 404},
		{http.MethodPost, "/admin/clients", added("new"), 200},
		{http.MethodPost, "/admin/clients/secret?id=new&keep=0s", "", 200},
		{http.MethodDelete, "/admin/clients?id=new", "", 200},
	} {
		wantError(t, s.by(t, local, test.method, test.path, test.body), http.StatusForbidden, "access_denied")
		wantStatus(t, s.by(t, ops, test.method, test.path, test.body), test.status)
	}
	wantError(t, s.by(t, local, http.MethodPost, "/admin/statements", member), http.StatusForbidden, "access_denied")
	wantError(t, s.by(t, local, http.MethodPost, "/admin/statements", `{"typ":"im-member+jwt","sub":"nonsense","member":"im:%40alice@example.com"}`),
		http.StatusBadRequest, "invalid_request")
	wantStatus(t, s.by(t, ops, http.MethodPost, "/admin/statements", member), http.StatusCreated)
	wantError(t, s.by(t, ops, http.MethodPost, "/admin/backup?to=/tmp/never.db", ""), http.StatusForbidden, "access_denied")
	// Without a domain in the request the issuer would have to guess.
	wantError(t, s.by(t, local, http.MethodGet, "/admin/users", ""), http.StatusBadRequest, "invalid_request")

	seen := func(o operatorOf) (ids []string) {
		a := s.by(t, o, http.MethodGet, "/admin/clients", "")
		wantStatus(t, a, http.StatusOK)
		var list []api.Client
		decode(t, []byte(a.body), &list)
		for _, c := range list {
			ids = append(ids, c.ID)
		}
		return ids
	}
	if got := seen(other); !slices.Contains(got, "rooms") || slices.Contains(got, "app") || slices.Contains(got, "both-app") {
		t.Errorf("clients for example.org = %v, want those that serve no other domain", got)
	}
	if got := seen(ops); !slices.Contains(got, "rooms") || !slices.Contains(got, "app") || !slices.Contains(got, "both-app") {
		t.Errorf("clients for all domains = %v, want all", got)
	}
	wantStatus(t, s.by(t, other, http.MethodGet, "/admin/client?id=rooms", ""), http.StatusOK)
	wantError(t, s.by(t, other, http.MethodGet, "/admin/client?id=app", ""), http.StatusNotFound, "not_found")
	wantError(t, s.by(t, other, http.MethodGet, "/admin/client?id=both-app", ""), http.StatusNotFound, "not_found")
}

// TestOperatorsMakeNoOperators holds that a stolen key of an operator cannot make itself a successor.
func TestOperatorsMakeNoOperators(t *testing.T) {
	s := start(t, withOperators())
	ops := s.asOperator(t, "ops")
	successor := object{"id": "more-ops", "auth": "private_key_jwt", "jwks": signerKeys, "grants": []string{"client_credentials"},
		"scopes": []string{"admin"}, "domains": []string{"example.com"}}
	a := s.by(t, ops, http.MethodPost, "/admin/clients", string(encode(successor)))
	wantError(t, a, http.StatusForbidden, "access_denied")
	wantStatus(t, s.operateJSON(t, "/admin/clients", successor), http.StatusOK)
	more := s.asOperator(t, "more-ops")
	wantStatus(t, s.by(t, more, http.MethodGet, "/admin/users?domain=example.com", ""), http.StatusOK)
	wantError(t, s.by(t, ops, http.MethodDelete, "/admin/clients?id=more-ops", ""), http.StatusForbidden, "access_denied")
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/clients", url.Values{"id": {"more-ops"}}), http.StatusOK)
	wantChallenge(t, s.by(t, more, http.MethodGet, "/admin/users?domain=example.com", ""), "invalid_token")
}

// TestOperatorsAudit holds that events name the client of the operator, and the address.
func TestOperatorsAudit(t *testing.T) {
	s := start(t, withOperators())
	ops := s.asOperator(t, "ops")
	device := deviceOf(t, s.login(t, newDevice(t), "alice")).Device()
	for name, ask := range map[string]func() answer{
		"device": func() answer { return s.by(t, ops, http.MethodDelete, "/admin/devices/example.com/"+device, "") },
		"key":    func() answer { return s.by(t, ops, http.MethodPost, "/admin/keys", "") },
	} {
		events := s.audited(func() { wantStatus(t, ask(), http.StatusOK) })
		if len(events) != 1 || !strings.Contains(events[0], " actor=admin:ops ") || !strings.Contains(events[0], " address=127.0.0.1") {
			t.Errorf("%s: events = %q, want one by admin:ops at 127.0.0.1", name, events)
		}
	}
}

// TestOperatorsLimited holds that an address that fails to show who it is meets a limit, and that an operator who makes mistakes does
// not.
func TestOperatorsLimited(t *testing.T) {
	fill := withOperators()
	fill["limits"] = ", per_address: 5/1h"
	s := start(t, fill)
	ops := s.asOperator(t, "ops")
	for range 8 {
		wantError(t, s.by(t, ops, http.MethodGet, "/admin/users/nobody?domain=example.com", ""), http.StatusNotFound, "not_found")
	}
	limited := 0
	for range 8 {
		if a := s.get(t, s.network+"/admin/keys"); a.status == http.StatusTooManyRequests {
			limited++
			if a.header.Get("Retry-After") == "" {
				t.Errorf("answer = %v without Retry-After", a)
			}
		}
	}
	if limited != 3 {
		t.Errorf("%d of 8 requests without a token were limited, want 3", limited)
	}
	wantError(t, s.by(t, ops, http.MethodGet, "/admin/keys", ""), http.StatusTooManyRequests, "temporarily_unavailable")
}

// TestOperatorsBehindProxy holds that a listener without TLS answers only the proxy that ends TLS in front of it.
func TestOperatorsBehindProxy(t *testing.T) {
	for proxies, status := range map[string]int{"127.0.0.0/8": http.StatusOK, "10.0.0.0/8": http.StatusForbidden} {
		t.Run(proxies, func(t *testing.T) {
			fill := withOperators()
			fill["operators"] = "0.0.0.0:0"
			fill["proxies"] = "[" + proxies + "]"
			s := start(t, fill)
			wantStatus(t, s.get(t, s.network+"/.well-known/oauth-protected-resource"), status)
			if a := s.get(t, s.network+"/admin/keys"); (a.status == http.StatusForbidden) != (status == http.StatusForbidden) {
				t.Errorf("keys = %v, want %d only", a, http.StatusForbidden)
			}
		})
	}
}
