package forwardauth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/jose"
)

var (
	now   = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	alice = gateway.Identity{
		User: "im:u1@b.example;id-type=user", Handle: "im:%40alice@b.example", Device: "im:u1/d1@b.example", Domain: "b.example",
		Issuer: "https://id.b.example", ClientID: "app", Scope: []string{"im:handle", "im:device"},
	}
	rooms = forwardauth.Target{Method: "POST", Origin: "https://chat.a.example", Path: "/rooms/7"}
)

const gatewayURL = "https://gateway.a.example"

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newSigner(t testing.TB, key crypto.Signer, before ...crypto.PublicKey) *forwardauth.Signer {
	t.Helper()
	s, err := forwardauth.NewSigner(forwardauth.SignerConfig{
		Issuer: gatewayURL, Key: key, Before: before, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// expected is what the service called rooms expects of an identity for [rooms].
func expected(t testing.TB, s *forwardauth.Signer) forwardauth.Expected {
	t.Helper()
	keys, err := forwardauth.NewKeys(s.JWKS())
	if err != nil {
		t.Fatal(err)
	}
	return forwardauth.Expected{
		Issuer: gatewayURL, Upstream: "rooms", Keys: keys, Method: "POST", Path: "/rooms/7", Now: func() time.Time { return now },
	}
}

func TestIdentity(t *testing.T) {
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	service := gateway.Identity{Issuer: "https://id.b.example", ClientID: "bridge", Service: true}
	bot := alice
	bot.Actor = "bridge"
	for name, key := range map[string]crypto.Signer{"ES256": ecKey(t), "EdDSA": edKey} {
		for _, id := range []gateway.Identity{alice, service, bot} {
			s := newSigner(t, key)
			token, err := s.Sign(&id, "rooms", rooms)
			if err != nil {
				t.Fatal(err)
			}
			got, err := forwardauth.OpenIdentity(t.Context(), token, expected(t, s))
			if id.Scope == nil {
				id.Scope = []string{}
			}
			if err != nil || !reflect.DeepEqual(*got, id) {
				t.Errorf("%s: OpenIdentity = %+v, %v, want %+v", name, got, err, id)
			}
		}
	}
}

// No two identities are equal: a service that wants to can remember each jti.
func TestIdentityIsUnique(t *testing.T) {
	s := newSigner(t, ecKey(t))
	one, err := s.Sign(&alice, "rooms", rooms)
	two, err2 := s.Sign(&alice, "rooms", rooms)
	if err != nil || err2 != nil || strings.Split(one, ".")[1] == strings.Split(two, ".")[1] {
		t.Errorf("Sign = %s, %v and %s, %v, want two jti", one, err, two, err2)
	}
}

func TestOpenIdentityRefuses(t *testing.T) {
	s := newSigner(t, ecKey(t))
	token, err := s.Sign(&alice, "rooms", rooms)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(e *forwardauth.Expected){
		"another gateway":  func(e *forwardauth.Expected) { e.Issuer = "https://other.a.example" },
		"another upstream": func(e *forwardauth.Expected) { e.Upstream = "files" },
		"another method":   func(e *forwardauth.Expected) { e.Method = "GET" },
		"another path":     func(e *forwardauth.Expected) { e.Path = "/rooms/8" },
		"a spelling":       func(e *forwardauth.Expected) { e.Path = "/rooms/%37" },
		"expired":          func(e *forwardauth.Expected) { e.Now = func() time.Time { return now.Add(70 * time.Second) } },
		"early":            func(e *forwardauth.Expected) { e.Now = func() time.Time { return now.Add(-11 * time.Second) } },
		"another key":      func(e *forwardauth.Expected) { e.Keys = expected(t, newSigner(t, ecKey(t))).Keys },
	} {
		e := expected(t, s)
		change(&e)
		if id, err := forwardauth.OpenIdentity(t.Context(), token, e); !errors.Is(err, forwardauth.ErrIdentity) {
			t.Errorf("%s: OpenIdentity = %v, %v, want ErrIdentity", name, id, err)
		}
	}
	for _, text := range []string{"", "a", token[:len(token)-4], token + "A", strings.Repeat("a", 17<<10), token + "." + token} {
		if id, err := forwardauth.OpenIdentity(t.Context(), text, expected(t, s)); !errors.Is(err, forwardauth.ErrIdentity) {
			t.Errorf("OpenIdentity(%.20s…) = %v, %v, want ErrIdentity", text, id, err)
		}
	}
	// The clocks may differ a little.
	e := expected(t, s)
	e.Now = func() time.Time { return now.Add(69 * time.Second) }
	if _, err := forwardauth.OpenIdentity(t.Context(), token, e); err != nil {
		t.Errorf("OpenIdentity = %v, want nil", err)
	}
}

// What the key of the gateway signs for another purpose, or wrongly, is no identity.
func TestOpenIdentityClaims(t *testing.T) {
	key := ecKey(t)
	s := newSigner(t, key)
	kid, err := jose.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	payload := func(change map[string]any) map[string]any {
		token, err := s.Sign(&alice, "rooms", rooms)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := jose.DecodeBase64(strings.Split(token, ".")[1])
		claims := make(map[string]any)
		if err != nil || json.Unmarshal(raw, &claims) != nil {
			t.Fatalf("the payload is %s, %v", raw, err)
		}
		for name, value := range change {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return claims
	}
	sign := func(typ string, change map[string]any) string {
		text, err := json.Marshal(payload(change))
		if err != nil {
			t.Fatal(err)
		}
		token, err := jose.Sign(key, jose.ES256, fmt.Appendf(nil, `{"typ":%q,"alg":"ES256","kid":%q}`, typ, kid), text)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	if _, err := forwardauth.OpenIdentity(t.Context(), sign("im-identity+jwt", nil), expected(t, s)); err != nil {
		t.Fatalf("OpenIdentity = %v, want nil: the test signs wrongly", err)
	}
	for name, token := range map[string]string{
		"an access token": sign("at+jwt", nil),
		"no type":         sign("", nil),
		"a case of typ":   sign("IM-identity+jwt", nil),
		"long life":       sign("im-identity+jwt", map[string]any{"exp": now.Add(2 * time.Minute).Unix()}),
		"no exp":          sign("im-identity+jwt", map[string]any{"exp": nil}),
		"no iat":          sign("im-identity+jwt", map[string]any{"iat": nil}),
		"no sub":          sign("im-identity+jwt", map[string]any{"sub": nil}),
		"no jti":          sign("im-identity+jwt", map[string]any{"jti": nil}),
		"no path":         sign("im-identity+jwt", map[string]any{"path_hash": nil}),
		"two audiences":   sign("im-identity+jwt", map[string]any{"aud": []string{"rooms", "files"}}),
		"service: 1":      sign("im-identity+jwt", map[string]any{"service": 1}),
		"a number":        sign("im-identity+jwt", map[string]any{"handle": 7}),
		"another case":    sign("im-identity+jwt", map[string]any{"SUB": "im:mallory@b.example;id-type=user"}),
	} {
		if id, err := forwardauth.OpenIdentity(t.Context(), token, expected(t, s)); !errors.Is(err, forwardauth.ErrIdentity) {
			t.Errorf("%s: OpenIdentity = %v, %v, want ErrIdentity", name, id, err)
		}
	}
}

func TestOpenRequest(t *testing.T) {
	s := newSigner(t, ecKey(t))
	token, err := s.Sign(&alice, "rooms", rooms)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct {
		headers []string
		url     string
		want    error
	}{
		"one":          {[]string{token}, "/rooms/7?a=b", nil},
		"none":         {nil, "/rooms/7", forwardauth.ErrIdentity},
		"empty":        {[]string{""}, "/rooms/7", forwardauth.ErrIdentity},
		"two":          {[]string{token, token}, "/rooms/7", forwardauth.ErrIdentity},
		"another path": {[]string{token}, "/rooms/8", forwardauth.ErrIdentity},
	} {
		r := httptest.NewRequest("POST", v.url, nil)
		r.Header[forwardauth.IdentityHeader] = v.headers
		if _, err := forwardauth.OpenRequest(r, expected(t, s)); !errors.Is(err, v.want) {
			t.Errorf("%s: OpenRequest = %v, want %v", name, err, v.want)
		}
	}
}

// A service fetches the keys when it needs them. An unknown kid costs one fetch, and an outage is not a refusal.
func TestFetchKeys(t *testing.T) {
	before, after := ecKey(t), ecKey(t)
	var current atomic.Pointer[forwardauth.Signer]
	var fetched atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		s := current.Load()
		if s == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		_, _ = w.Write(s.JWKS())
	}))
	defer server.Close()

	token := func(s *forwardauth.Signer) string {
		token, err := s.Sign(&alice, "rooms", rooms)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	old, rotated, stranger := newSigner(t, before), newSigner(t, after, before.Public()), newSigner(t, ecKey(t))
	e := expected(t, old)
	e.Keys = forwardauth.FetchKeys(server.URL, nil)
	if _, err := forwardauth.OpenIdentity(t.Context(), token(old), e); !errors.Is(err, forwardauth.ErrKeys) || errors.Is(err, forwardauth.ErrIdentity) {
		t.Errorf("OpenIdentity in an outage = %v, want ErrKeys", err)
	}
	e.Keys = forwardauth.FetchKeys(server.URL, nil)
	current.Store(old)
	for _, v := range []struct {
		publish, signed *forwardauth.Signer
		want            error
		fetched         int32
	}{
		{old, old, nil, 2}, {old, old, nil, 2}, {rotated, rotated, nil, 3}, {rotated, old, nil, 3}, {rotated, stranger, forwardauth.ErrKeys, 3},
	} {
		current.Store(v.publish)
		if _, err := forwardauth.OpenIdentity(t.Context(), token(v.signed), e); !errors.Is(err, v.want) {
			t.Errorf("OpenIdentity = %v, want %v", err, v.want)
		}
		if got := fetched.Load(); got != v.fetched {
			t.Errorf("fetched %d times, want %d", got, v.fetched)
		}
	}
}

func TestNewSigner(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]forwardauth.SignerConfig{
		"no issuer": {Key: ecKey(t)}, "no key": {Issuer: gatewayURL}, "RSA": {Issuer: gatewayURL, Key: rsaKey},
	} {
		if _, err := forwardauth.NewSigner(cfg); err == nil {
			t.Errorf("NewSigner with %s = nil, want an error", name)
		}
	}
	jwks := string(newSigner(t, ecKey(t)).JWKS())
	if strings.Contains(jwks, `"d"`) || !strings.Contains(jwks, `"use":"sig"`) {
		t.Errorf("JWKS = %s, want public keys for signatures", jwks)
	}
	if _, err := forwardauth.NewKeys([]byte(`{"keys":7}`)); err == nil {
		t.Error("NewKeys = nil, want an error")
	}
}
