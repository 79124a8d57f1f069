package login_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/login"
)

type object = map[string]any

// A tamperer stands between the development provider and everybody else, and changes what passes. Its own key is
// published among the provider's, so that what it signs again is well signed.
type tamperer struct {
	t             *testing.T
	key, stranger *ecdsa.PrivateKey

	metadata func(object)
	callback func(url.Values)
	idToken  func(header, claims object) // nil leaves the provider's own signature
	sign     func(t *tamperer, header, claims object) string
	userinfo func(object)
	keys     func(object)                                      // the key set, changed last
	token    func(object)                                      // the token endpoint's answer
	answer   func(w http.ResponseWriter, r *http.Request) bool // true: it has answered itself

	keysAsked, userinfoAsked, tokenAsked atomic.Int32
}

func newTamperer(t *testing.T) *tamperer {
	t.Helper()
	tam := &tamperer{t: t, sign: signed}
	for _, key := range []**ecdsa.PrivateKey{&tam.key, &tam.stranger} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		*key = k
	}
	return tam
}

func compact(header, claims object, signature string) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	b64 := base64.RawURLEncoding
	return b64.EncodeToString(h) + "." + b64.EncodeToString(c) + "." + signature
}

func signWith(key *ecdsa.PrivateKey, header, claims object) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	token, err := jose.Sign(key, jose.ES256, h, c)
	if err != nil {
		panic(err)
	}
	return token
}

func signed(t *tamperer, header, claims object) string { return signWith(t.key, header, claims) }

// wrap puts the tamperer in front of next.
func (tam *tamperer) wrap(next http.Handler) http.Handler {
	behind := httptest.NewServer(next)
	tam.t.Cleanup(behind.Close)
	to, _ := url.Parse(behind.URL)
	proxy := &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: tam.modify,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/keys":
			tam.keysAsked.Add(1)
		case "/userinfo":
			tam.userinfoAsked.Add(1)
		case "/oauth/token":
			tam.tokenAsked.Add(1)
		}
		if tam.answer != nil && tam.answer(w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

func (tam *tamperer) modify(resp *http.Response) error {
	if to, err := resp.Location(); err == nil && strings.HasPrefix(to.String(), redirectURL) && tam.callback != nil {
		q := to.Query()
		tam.callback(q)
		to.RawQuery = q.Encode()
		resp.Header.Set("Location", to.String())
	}
	if resp.StatusCode != http.StatusOK {
		return nil
	}
	switch resp.Request.URL.Path {
	case "/.well-known/openid-configuration":
		return rewrite(resp, tam.metadata)
	case "/userinfo":
		return rewrite(resp, tam.userinfo)
	case "/keys":
		return rewrite(resp, func(set object) {
			own, _ := jose.MarshalJWK(&tam.key.PublicKey)
			jwk := object{}
			_ = json.Unmarshal(own, &jwk)
			jwk["kid"], jwk["use"] = "tamperer", "sig"
			unusable := object{"kty": "oct", "k": "AAAA", "kid": "symmetric"}
			set["keys"] = append(set["keys"].([]any), unusable, jwk)
			if tam.keys != nil {
				tam.keys(set)
			}
		})
	case "/oauth/token":
		return rewrite(resp, func(answer object) {
			if tam.token != nil {
				tam.token(answer)
			}
			if tam.idToken == nil {
				return
			}
			part := strings.Split(answer["id_token"].(string), ".")[1]
			payload, _ := base64.RawURLEncoding.DecodeString(part)
			claims, header := object{}, object{"alg": "ES256", "typ": "JWT", "kid": "tamperer"}
			_ = json.Unmarshal(payload, &claims)
			tam.idToken(header, claims)
			answer["id_token"] = tam.sign(tam, header, claims)
		})
	}
	return nil
}

func rewrite(resp *http.Response, change func(object)) error {
	if change == nil {
		return nil
	}
	doc := object{}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		return err
	}
	change(doc)
	out, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(out))
	resp.ContentLength = int64(len(out))
	resp.Header.Set("Content-Length", strconv.Itoa(len(out)))
	return nil
}

// finish runs a whole login of alice against the tampered provider.
func (tam *tamperer) finish(t *testing.T, change func(*login.Config), params login.BeginParams) (login.Identity, error) {
	t.Helper()
	cfg := config(serve(t, tam.wrap, dev))
	if change != nil {
		change(&cfg)
	}
	p := newProvider(t, cfg)
	start := begin(t, p, params)
	return p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
}

func future(d time.Duration) int64 { return time.Now().Add(d).Unix() }

func set(name string, value any) func(header, claims object) {
	return func(_, claims object) { claims[name] = value }
}

func remove(name string) func(header, claims object) {
	return func(_, claims object) { delete(claims, name) }
}

func TestTamperedIDToken(t *testing.T) {
	age := time.Hour
	aged := login.BeginParams{MaxAge: &age}
	for _, test := range []struct {
		name    string
		idToken func(header, claims object)
		sign    func(t *tamperer, header, claims object) string
		params  login.BeginParams
		part    string // "" is accepted
	}{
		{"signed again", func(object, object) {}, nil, aged, ""},
		{"no kid", func(h, _ object) { delete(h, "kid") }, nil, aged, ""},
		{"just expired", set("exp", future(-30*time.Second)), nil, aged, ""},
		{"iat a little ahead", set("iat", future(30*time.Second)), nil, aged, ""},
		{"no auth_time", remove("auth_time"), nil, login.BeginParams{}, ""},
		{"several audiences", func(_, c object) { c["aud"] = []string{dev.ID, "other"} }, nil, aged, ""},

		{"expired", set("exp", future(-2*time.Minute)), nil, aged, "id_token"},
		{"no exp", remove("exp"), nil, aged, "id_token"},
		{"milliseconds", func(_, c object) { c["iat"] = time.Now().UnixMilli() }, nil, aged, "id_token"},
		{"iat in the future", set("iat", future(2*time.Minute)), nil, aged, "id_token"},
		{"no iat", remove("iat"), nil, aged, "id_token"},
		{"not yet valid", set("nbf", future(time.Hour)), nil, aged, "id_token"},
		{"foreign issuer", set("iss", "https://idp.example.net"), nil, aged, "id_token"},
		{"foreign audience", set("aud", "other"), nil, aged, "id_token"},
		{"foreign azp", set("azp", "other"), nil, aged, "id_token"},
		{"azp no text", set("azp", 7), nil, aged, "id_token"},
		{"several audiences without azp", func(_, c object) {
			c["aud"] = []string{dev.ID, "other"}
			delete(c, "azp")
		}, nil, aged, "id_token"},
		{"no sub", remove("sub"), nil, aged, "id_token"},
		{"long sub", set("sub", strings.Repeat("a", 256)), nil, aged, "id_token"},
		{"second sub in capitals", set("SUB", "dev-10022"), nil, aged, "id_token"},
		{"foreign at_hash", set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"), nil, aged, "id_token"},
		{"other nonce", set("nonce", "AAAA"), nil, aged, "nonce"},
		{"no nonce", remove("nonce"), nil, aged, "nonce"},
		{"max age without auth_time", remove("auth_time"), nil, aged, "auth_time"},
		{"longer ago than max age", set("auth_time", future(-2*time.Hour)), nil, aged, "auth_time"},
		{"auth_time in the future", set("auth_time", future(time.Hour)), nil, aged, "auth_time"},
		{"auth_time no number", set("auth_time", "today"), nil, aged, "auth_time"},
		{"auth_time null", set("auth_time", nil), nil, aged, "auth_time"},
		{"iat null", set("iat", nil), nil, login.BeginParams{}, "id_token"},
		{"nonce null", set("nonce", nil), nil, login.BeginParams{}, "nonce"},
		{"sub null", set("sub", nil), nil, login.BeginParams{}, "id_token"},
		{"at_hash no text", set("at_hash", 7), nil, login.BeginParams{}, "id_token"},
		{"azp null with several audiences", func(_, c object) { c["aud"], c["azp"] = []string{dev.ID, "other"}, nil }, nil, aged, "id_token"},
		{"crit", func(h, _ object) { h["crit"] = []string{"exp"} }, nil, aged, "id_token"},
		{"wrongly signed", func(object, object) {}, func(t *tamperer, h, c object) string {
			return signWith(t.stranger, h, c)
		}, aged, "id_token"},
		{"wrongly signed without kid", func(h, _ object) { delete(h, "kid") }, func(t *tamperer, h, c object) string {
			return signWith(t.stranger, h, c)
		}, aged, "id_token"},
		{"unknown kid", func(h, _ object) { h["kid"] = "unknown" }, nil, aged, "id_token"},
		{"key in the header", func(object, object) {}, func(t *tamperer, h, c object) string {
			own, _ := jose.MarshalJWK(&t.stranger.PublicKey)
			h["jwk"] = json.RawMessage(own)
			return signWith(t.stranger, h, c)
		}, aged, "id_token"},
		{"alg none", func(h, _ object) { h["alg"] = "none" }, func(_ *tamperer, h, c object) string {
			return compact(h, c, "")
		}, aged, "id_token"},
		{"alg HS256", func(h, _ object) { h["alg"] = "HS256" }, func(_ *tamperer, h, c object) string {
			return compact(h, c, "AAAA")
		}, aged, "id_token"},
		{"no token", func(object, object) {}, func(*tamperer, object, object) string { return "" }, aged, "id_token"},
		{"repeated member", func(object, object) {}, func(t *tamperer, h, c object) string {
			header, _ := json.Marshal(h)
			claims, _ := json.Marshal(c)
			twice := append([]byte(`{"sub":"dev-10022",`), claims[1:]...)
			token, _ := jose.Sign(t.key, jose.ES256, header, twice)
			return token
		}, aged, "id_token"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = test.idToken
			if test.sign != nil {
				tam.sign = test.sign
			}
			id, err := tam.finish(t, nil, test.params)
			if test.part == "" {
				if err != nil || id.Handle != "alice" {
					t.Errorf("Finish = %+v, %v, want alice", id, err)
				}
				return
			}
			wantRejected(t, err, test.part)
		})
	}
}

func wantRejected(t *testing.T, err error, part string) {
	t.Helper()
	var rejected *login.Rejected
	if !errors.As(err, &rejected) || rejected.Part != part {
		t.Errorf("Finish = %v, want %s rejected", err, part)
	}
	if errors.Is(err, login.ErrUnavailable) {
		t.Errorf("Finish = %v, which is no outage", err)
	}
}

func TestTamperedCallback(t *testing.T) {
	says := func(m object) { m["authorization_response_iss_parameter_supported"] = true }
	for _, test := range []struct {
		name     string
		metadata func(object)
		callback func(url.Values)
		part     string
	}{
		{"foreign iss", nil, func(q url.Values) { q.Set("iss", "https://idp.example.net") }, "iss"},
		{"foreign iss with an error", nil, func(q url.Values) {
			q.Set("iss", "https://idp.example.net")
			q.Set("error", "access_denied")
		}, "iss"},
		{"no iss where it is promised", says, func(url.Values) {}, "iss"},
		{"empty iss", nil, func(q url.Values) { q.Set("iss", "") }, "iss"},
		{"other state", nil, func(q url.Values) { q.Set("state", "AAAA") }, "state"},
		{"no state", nil, func(q url.Values) { q.Del("state") }, "state"},
		{"no code", nil, func(q url.Values) { q.Del("code") }, "code"},
		{"two codes", nil, func(q url.Values) { q.Add("code", "AAAA") }, "callback"},
		{"two states", nil, func(q url.Values) { q.Add("state", q.Get("state")) }, "callback"},
		{"two of anything", nil, func(q url.Values) { q["session_state"] = []string{"a", "b"} }, "callback"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.metadata, tam.callback = test.metadata, test.callback
			_, err := tam.finish(t, nil, login.BeginParams{})
			wantRejected(t, err, test.part)
			if n := tam.tokenAsked.Load(); n != 0 {
				t.Errorf("the code was sent %d times, want never", n)
			}
		})
	}
	t.Run("own iss", func(t *testing.T) {
		tam := newTamperer(t)
		var issuer string
		tam.metadata = func(m object) { says(m); issuer = m["issuer"].(string) }
		tam.callback = func(q url.Values) { q.Set("iss", issuer) }
		if _, err := tam.finish(t, nil, login.BeginParams{}); err != nil {
			t.Errorf("Finish: %v", err)
		}
	})
	t.Run("foreign code", func(t *testing.T) {
		tam := newTamperer(t)
		tam.callback = func(q url.Values) { q.Set("code", "secret-code") }
		_, err := tam.finish(t, nil, login.BeginParams{})
		wantRejected(t, err, "code")
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("Finish = %v, which tells the code", err)
		}
	})
	t.Run("unprintable error", func(t *testing.T) {
		tam := newTamperer(t)
		tam.callback = func(q url.Values) {
			q.Set("error", "access\ndenied")
			q.Set("error_description", "\x1b[31m\"no\"\\é"+strings.Repeat("x", 300))
		}
		_, err := tam.finish(t, nil, login.BeginParams{})
		var refused *login.Refused
		want := "[31mno" + strings.Repeat("x", 194)
		if !errors.As(err, &refused) || refused.Code != "accessdenied" || refused.Description != want {
			t.Errorf("Finish = %v, want only printable words", err)
		}
	})
}

// TestReplay shows that the answer to one login is none to another, nor to the same one again.
func TestReplay(t *testing.T) {
	p := newProvider(t, config(serve(t, untouched, dev)))
	first, second := begin(t, p, login.BeginParams{}), begin(t, p, login.BeginParams{})
	q := visit(t, first, "alice")
	_, err := p.Finish(t.Context(), second.Pending, q)
	wantRejected(t, err, "state")
	injected := url.Values{"code": q["code"], "state": {second.State}}
	_, err = p.Finish(t.Context(), second.Pending, injected)
	wantRejected(t, err, "code") // PKCE: the verifier is the other one's.

	third := begin(t, p, login.BeginParams{})
	q = visit(t, third, "alice")
	if _, err = p.Finish(t.Context(), third.Pending, q); err != nil {
		t.Fatalf("Finish: %v", err)
	}
	_, err = p.Finish(t.Context(), third.Pending, q)
	wantRejected(t, err, "code")
	_, err = p.Finish(t.Context(), login.Pending{}, url.Values{"code": {"a"}})
	wantRejected(t, err, "state")
}

func TestUserinfo(t *testing.T) {
	bare := func(_, claims object) { delete(claims, "preferred_username") }
	for _, test := range []struct {
		name     string
		idToken  func(header, claims object)
		userinfo func(object)
		change   func(*login.Config)
		handle   string
		part     string
		asked    int32
	}{
		{"not asked without need", func(object, object) {}, nil, nil, "alice", "", 0},
		{"handle", bare, nil, nil, "alice", "", 1},
		{"nothing there either", bare, func(u object) { delete(u, "preferred_username") }, nil, "", "", 1},
		{"handle no text", bare, func(u object) { u["preferred_username"] = 7 }, nil, "", "", 1},
		{"another sub", bare, func(u object) { u["sub"] = "dev-10022" }, nil, "", "userinfo", 1},
		{"no sub", bare, func(u object) { delete(u, "sub") }, nil, "", "userinfo", 1},
		{"user claim missing", bare, nil, func(c *login.Config) { c.UserClaim = "employee" }, "", "claims", 1},
		{"user claim there", bare, func(u object) { u["employee"] = "4711" },
			func(c *login.Config) { c.UserClaim = "employee" }, "alice", "", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken, tam.userinfo = test.idToken, test.userinfo
			id, err := tam.finish(t, test.change, login.BeginParams{})
			if n := tam.userinfoAsked.Load(); n != test.asked {
				t.Errorf("userinfo was asked %d times, want %d", n, test.asked)
			}
			if test.part != "" {
				wantRejected(t, err, test.part)
			} else if err != nil || id.Handle != test.handle {
				t.Errorf("Finish = %+v, %v, want handle %q", id, err, test.handle)
			}
		})
	}
}
