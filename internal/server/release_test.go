package server_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// statistician is a client that is told little, and nothing that names a person; blunt is never told why.
var (
	statistician = caller{id: "statistician", secret: secret}
	counter      = caller{id: "counter", secret: secret}
	blunt        = caller{id: "blunt", secret: secret}
)

// withReleases are settings with clients that are told less than everything.
func withReleases() map[string]string {
	client := func(c caller, rest string) string {
		return fmt.Sprintf("  - {id: %s, auth: secret, secret_sha256: %x, domains: [example.com], %s}\n", c.id, sha256.Sum256([]byte(secret)), rest)
	}
	return map[string]string{"peers": client(statistician, `scopes: [introspect], introspection: {claims: [sub, device, act, exp], pairwise: true}`) +
		client(counter, `scopes: [introspect], introspection: {pairwise: true}`) +
		client(blunt, `grants: [client_credentials], scopes: [introspect, "introspect:reason"], introspection: {reasons: false}`)}
}

// TestRelease holds that each client is told what its policy says, and the same after a restart.
func TestRelease(t *testing.T) {
	s := start(t, withReleases())
	d := newDevice(t)
	held := s.login(t, d, "alice")
	whole, little, named := s.introspect(t, peer, held.access), s.introspect(t, statistician, held.access), s.introspect(t, counter, held.access)
	if whole.text("sub") != held.set.Subject || whole.text("device") != held.set.Device || whole.text("username") == "" {
		t.Errorf("answer = %v, want everything", whole)
	}
	want := fmt.Sprintf(`{"active":true,"sub":%q,"device":%q,"exp":%d,"cnf":{"jkt":%q},"token_type":"DPoP","expires_in":%v,"max_age":5,"holder":"unverified"}`,
		little.text("sub"), little.text("device"), held.set.Expires.Unix(), d.JKT(), little.json["expires_in"])
	if strings.TrimSpace(little.body) != want {
		t.Errorf("answer = %s\nwant     %s", little, want)
	}
	for _, member := range []string{"sub", "device"} {
		one, two := little.text(member), named.text(member)
		if !strings.HasPrefix(one, "pw_") || !strings.HasPrefix(two, "pw_") || one == two {
			t.Errorf("%s = %q and %q, want a pairwise id for each caller", member, one, two)
		}
	}
	if named.json["handle"] != nil || named.json["username"] != nil || named.text("sid") != held.set.SID {
		t.Errorf("answer = %v, want no handle, and the session", named)
	}
	s.restart(t, nil)
	if again := s.introspect(t, statistician, held.access); again.text("sub") != little.text("sub") || again.text("device") != little.text("device") {
		t.Errorf("answer after a restart = %v, want the ids of %v", again, little)
	}
	s.remove(t, held.set.Device)
	for _, c := range []caller{peer, statistician, counter} {
		if a := s.introspect(t, c, held.access); a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
			t.Errorf("introspection by %s = %v, want 200 {\"active\":false}", c.id, a)
		}
	}
	blunts := newDevice(t)
	own := s.service(t, blunt, blunts, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:reason"}})
	if a := s.held(t, blunts, own, http.MethodPost, "/introspect", url.Values{"token": {held.access}}); a.body != "{\"active\":false}\n" {
		t.Errorf("introspection by %s = %v, want no reason", blunt.id, a)
	}
	s.wantReason(t, held.access, "device_removed", "")
}

// TestCallerAuthenticatesOnce holds that a caller shows who it is in one way, and that a token does not vouch for itself.
func TestCallerAuthenticatesOnce(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	own := s.service(t, peer, d, url.Values{"resource": {s.issuer}})
	ask := func(form url.Values) answer { return s.held(t, d, own, http.MethodPost, "/introspect", form) }
	for name, more := range map[string]url.Values{
		"secret":    {"client_id": {peer.id}, "client_secret": {secret}},
		"assertion": {"client_assertion": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}},
	} {
		t.Run("token and "+name, func(t *testing.T) {
			form := url.Values{"token": {"never-issued"}}
			for k, v := range more {
				form[k] = v
			}
			wantError(t, ask(form), http.StatusBadRequest, "invalid_request")
		})
	}
	t.Run("token and Basic", func(t *testing.T) {
		proof, err := d.Proof(dpop.ProofParams{Method: http.MethodPost, URL: s.issuer + "/introspect", Nonce: s.nonce(t), AccessToken: own})
		if err != nil {
			t.Fatal(err)
		}
		header := http.Header{"Dpop": {proof}}
		peer.authenticate(url.Values{}, header)
		header.Add("Authorization", "DPoP "+own)
		wantRefused(t, s.post(t, "/introspect", url.Values{"token": {"never-issued"}}, header), http.StatusBadRequest, "invalid_request")
	})
	t.Run("itself", func(t *testing.T) {
		if a := ask(url.Values{"token": {own}}); a.status != http.StatusOK || a.body != "{\"active\":false}\n" {
			t.Errorf("answer = %v, want 200 {\"active\":false}", a)
		}
		s.wantActive(t, own) // with other credentials
		if a := ask(url.Values{"token": {s.service(t, peer, d, nil)}}); a.json["active"] != true {
			t.Errorf("answer = %v, want another token of the caller to be active", a)
		}
	})
	t.Run("a token of 1 MiB", func(t *testing.T) {
		form := url.Values{"token": {strings.Repeat("a", 1<<20)}}
		wantError(t, ask(form), http.StatusRequestEntityTooLarge, "invalid_request")
		header := http.Header{}
		peer.authenticate(form, header)
		wantError(t, s.post(t, "/introspect", form, header), http.StatusRequestEntityTooLarge, "invalid_request")
	})
	t.Run("revocations unknown", func(t *testing.T) {
		s.faults.set("Revocations")
		s.clock.advance(time.Minute)
		for _, token := range []string{own, "never-issued"} {
			wantError(t, s.introspect(t, peer, token), http.StatusServiceUnavailable, "temporarily_unavailable")
		}
	})
}
