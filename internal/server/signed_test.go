package server_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/keys"
)

const mediaSigned = "application/token-introspection+jwt"

// openedJWT returns the claims of a signed answer of one type, which must verify with a published key.
func (s *site) openedJWT(t *testing.T, a answer, mediaType, typ, alg string) object {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != mediaType {
		t.Fatalf("answer = %v as %q, want 200 as %s", a, a.header.Get("Content-Type"), mediaType)
	}
	wantNotStored(t, a)
	jws, err := jose.ParseCompact(a.body, jose.Limits{Total: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if jws.Header.Typ != typ || jws.Header.Alg != alg {
		t.Errorf("header = %+v, want %s by %s", jws.Header, typ, alg)
	}
	var set struct{ Keys []json.RawMessage }
	decode(t, []byte(s.get(t, "/jwks").body), &set)
	for _, raw := range set.Keys {
		if key, err := jose.ParseJWK(raw); err == nil && key.Kid == jws.Header.Kid && jws.Verify(alg, key.Public) == nil {
			var claims object
			decode(t, jws.Payload, &claims)
			return claims
		}
	}
	t.Fatalf("no published key verifies %s", a.body)
	return nil
}

// asking sends a question as a client, with an Accept header.
func (s *site) asking(t *testing.T, c caller, path string, form url.Values, accept ...string) answer {
	t.Helper()
	header := http.Header{"Accept": accept}
	c.authenticate(form, header)
	return s.post(t, path, form, header)
}

// TestSignedAnswer holds signed answers to RFC 9701, for each kind of caller.
func TestSignedAnswer(t *testing.T) {
	for _, alg := range []string{"ES256", "EdDSA", "RS256"} {
		t.Run(alg, func(t *testing.T) { signedAnswer(t, alg) })
	}
}

func signedAnswer(t *testing.T, alg string) {
	registered := caller{id: "registered", secret: secret}
	s := start(t, map[string]string{
		"more": "signing: {alg: " + alg + "}",
		"peers": fmt.Sprintf("  - {id: registered, auth: secret, secret_sha256: %x, domains: [example.com], scopes: [introspect], introspection_signed_response_alg: %s}\n",
			sha256.Sum256([]byte(secret)), alg),
	})
	d := newDevice(t)
	held := s.account(t, d, "alice")
	plain := s.introspect(t, peer, held.access)
	wantClaims := func(t *testing.T, a answer, aud any, active bool) object {
		t.Helper()
		claims := s.openedJWT(t, a, mediaSigned, "token-introspection+jwt", alg)
		iat, _ := claims["iat"].(float64)
		if age := s.clock.now().Unix() - int64(iat); claims["iss"] != s.issuer || string(encode(claims["aud"])) != string(encode(aud)) || age < 0 || age > 60 || claims["sub"] != nil || claims["exp"] != nil {
			t.Errorf("claims = %v, want iss %s, aud %v, iat now, and neither sub nor exp", claims, s.issuer, aud)
		}
		inner, _ := claims["token_introspection"].(object)
		if inner["active"] != active || !active && len(inner) != 1 {
			t.Errorf("token_introspection = %v, want active %t", inner, active)
		}
		return claims
	}
	about := func(token string) url.Values { return url.Values{"token": {token}} }
	claims := wantClaims(t, s.asking(t, peer, "/introspect", about(held.access), mediaSigned), peer.id, true)
	inner := claims["token_introspection"].(object)
	delete(inner, "expires_in") // a second may have passed
	delete(plain.json, "expires_in")
	if string(encode(inner)) != string(encode(plain.json)) || claims["im_detail"] != nil {
		t.Errorf("claims = %v, want the answer %v and no more", claims, plain.json)
	}
	// The registration of a client decides, whatever a request accepts.
	for _, accept := range []string{"", "application/json", mediaSigned} {
		wantClaims(t, s.asking(t, registered, "/introspect", about(held.access), accept), registered.id, true)
	}
	if bare := wantClaims(t, s.asking(t, registered, "/introspect", about("never-issued")), registered.id, false); bare["im_detail"] != nil {
		t.Errorf("claims = %v, want no im_detail for a caller that may not know why", bare)
	}
	// A user is the audience by their URI. Who may know why a token is not active reads it beside the answer.
	s.remove(t, held.set.Device)
	machine := newDevice(t)
	own := s.service(t, auditor, machine, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	a := s.heldAccepting(t, machine, own, "/introspect", about(held.access), mediaSigned)
	if claims := wantClaims(t, a, auditor.id, false); string(encode(claims["im_detail"])) != `{"reason":"device_removed"}` {
		t.Errorf("claims = %v, want the reason in im_detail", claims)
	}
	phone := newDevice(t)
	bob := s.account(t, phone, "bob")
	asks := s.forIssuer(t, phone, bob, "introspect").access
	wantClaims(t, s.heldAccepting(t, phone, asks, "/introspect", about(bob.access), mediaSigned), bob.set.Subject, true)
}

// heldAccepting is held for a form, with an Accept header.
func (s *site) heldAccepting(t *testing.T, d *device, token, path string, form url.Values, accept string) answer {
	t.Helper()
	return s.heldWith(t, d, token, http.MethodPost, path, form, http.Header{"Accept": {accept}})
}

// TestSignedForPeer holds that the aud of an answer to a client of a peer also names the peer.
func TestSignedForPeer(t *testing.T) {
	home, far := startTwo(t, "")
	machine := newDevice(t)
	service := far.service(t, peer, machine, url.Values{"resource": {home.issuer}})
	a := home.heldAccepting(t, machine, service, "/introspect", url.Values{"token": {"never-issued"}}, mediaSigned)
	claims := home.openedJWT(t, a, mediaSigned, "token-introspection+jwt", "ES256")
	if got, want := string(encode(claims["aud"])), fmt.Sprintf(`["peer",%q]`, far.issuer); got != want {
		t.Errorf("aud = %s, want %s", got, want)
	}
}

// TestSignedByAccept holds which Accept headers ask for a signed answer.
func TestSignedByAccept(t *testing.T) {
	s := start(t, nil)
	for name, test := range map[string]struct {
		accept []string
		signed bool
	}{
		"none":                {nil, false},
		"anything":            {[]string{"*/*"}, false},
		"any application":     {[]string{"application/*"}, false},
		"JSON":                {[]string{"application/json"}, false},
		"signed":              {[]string{mediaSigned}, true},
		"in capitals":         {[]string{strings.ToUpper(mediaSigned)}, true},
		"both":                {[]string{"application/json, " + mediaSigned}, true},
		"two headers":         {[]string{"application/json;q=0.5", mediaSigned}, true},
		"JSON rather":         {[]string{mediaSigned + ";q=0.5, application/json"}, false},
		"signed rather":       {[]string{mediaSigned + ", application/json;q=0.9"}, true},
		"not signed":          {[]string{mediaSigned + ";q=0"}, false},
		"not signed, any":     {[]string{mediaSigned + ";q=0, */*"}, false},
		"a malformed weight":  {[]string{mediaSigned + ";q=much"}, false},
		"a weight beyond one": {[]string{mediaSigned + ";q=2"}, false},
		"another type":        {[]string{"application/token-introspection"}, false},
		"a batch":             {[]string{"application/im-introspection-batch+jwt"}, false},
		"nothing in it":       {[]string{",;,"}, false},
	} {
		a := s.asking(t, peer, "/introspect", url.Values{"token": {"never-issued"}}, test.accept...)
		if signed := a.header.Get("Content-Type") == mediaSigned; a.status != http.StatusOK || signed != test.signed {
			t.Errorf("%s: answer = %v as %q, want signed %t", name, a, a.header.Get("Content-Type"), test.signed)
		}
	}
	// Whatever is asked for, a caller that may not ask gets an error in JSON.
	wantError(t, s.asking(t, mute, "/introspect", url.Values{"token": {"x"}}, mediaSigned), http.StatusForbidden, "unauthorized_client")
	wantError(t, s.asking(t, app, "/introspect", url.Values{"token": {"x"}}, mediaSigned), http.StatusUnauthorized, "invalid_client")
	s.faults.set("Revocations")
	s.clock.advance(time.Minute)
	wantError(t, s.asking(t, peer, "/introspect", url.Values{"token": {"x"}}, mediaSigned), http.StatusServiceUnavailable, "temporarily_unavailable")
}

// TestSignedMetadata holds what the issuer says about signed answers (RFC 9701 §7).
func TestSignedMetadata(t *testing.T) {
	a := start(t, map[string]string{"more": "signing: {alg: EdDSA}"}).get(t, "/.well-known/oauth-authorization-server")
	if got := string(encode(a.json["introspection_signing_alg_values_supported"])); got != `["EdDSA"]` {
		t.Errorf("introspection_signing_alg_values_supported = %s, want EdDSA", got)
	}
	for name := range a.json {
		if strings.HasPrefix(name, "introspection_encryption") {
			t.Errorf("metadata has %s, and answers are never encrypted", name)
		}
	}
}

// TestSignedAlgorithmUnknown holds a client to the algorithm that the issuer signs with: in the settings, when it is added, and when the
// key of another node has replaced that of this one.
func TestSignedAlgorithmUnknown(t *testing.T) {
	entry := func(alg string) string {
		return fmt.Sprintf("  - {id: registered, auth: secret, secret_sha256: %x, domains: [example.com], scopes: [introspect], introspection_signed_response_alg: %s}\n",
			sha256.Sum256([]byte(secret)), alg)
	}
	s := start(t, map[string]string{"peers": entry("ES256")})
	registered := caller{id: "registered", secret: secret}
	s.openedJWT(t, s.introspect(t, registered, "never-issued"), mediaSigned, "token-introspection+jwt", "ES256")

	body := `{"id":"added","auth":"secret","domains":["example.com"],"scopes":["introspect"],"introspection_signed_response_alg":"EdDSA"}`
	req := s.request(t, http.MethodPost, s.admin+"/admin/clients", body)
	req.Header.Set("Content-Type", "application/json")
	if a := s.send(t, s.http, req); a.status != http.StatusBadRequest || !strings.Contains(a.text("error_description"), "signing.alg is ES256") {
		t.Errorf("answer = %v, want 400 with the algorithm of the issuer", a)
	}
	next := settings(t, s.fill)
	next.Clients = slices.Clone(next.Clients)
	last := &next.Clients[len(next.Clients)-1]
	last.SignedResponseAlg = "EdDSA"
	if err := s.instance.Reload(next); err == nil || !strings.Contains(err.(config.Errors).Error(), "introspection_signed_response_alg") {
		t.Errorf("Reload = %v, want an error", err)
	}

	kek, err := keys.ReadKEK(filepath.Join(s.fill["data"], "kek"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.OpenRing(t.Context(), s.store, keys.NewSealer(kek), keys.RingConfig{Alg: jose.EdDSA, Now: s.clock.now}); err != nil {
		t.Fatal(err)
	}
	var a answer
	for range 1000 {
		if a = s.introspect(t, registered, "never-issued"); a.status != http.StatusOK {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	wantError(t, a, http.StatusNotAcceptable, "invalid_request")
	if text := a.text("error_description"); !strings.Contains(text, "ES256") || !strings.Contains(text, "EdDSA") {
		t.Errorf("error_description = %q, want both algorithms", text)
	}
	s.openedJWT(t, s.asking(t, peer, "/introspect", url.Values{"token": {"x"}}, mediaSigned), mediaSigned, "token-introspection+jwt", "EdDSA")
}
