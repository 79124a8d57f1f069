package login_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/login"
)

// TestReviewE4OptionalClaims has providers send the optional claims in all the forms that some do. None is a ground to
// refuse everybody there (OpenID Connect Core §3.1.3.7); what cannot be read is left out, and named.
func TestReviewE4OptionalClaims(t *testing.T) {
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Second).UTC()
	age := time.Hour
	for _, test := range []struct {
		name    string
		claim   string
		value   any
		params  login.BeginParams
		is      func(login.Identity) bool
		ignored bool
	}{
		{"auth_time null", "auth_time", nil, login.BeginParams{}, func(id login.Identity) bool { return id.AuthTime.IsZero() }, false},
		{"auth_time empty", "auth_time", "", login.BeginParams{}, func(id login.Identity) bool { return id.AuthTime.IsZero() }, false},
		{"auth_time zero", "auth_time", 0, login.BeginParams{}, func(id login.Identity) bool { return id.AuthTime.IsZero() }, true},
		{"auth_time of words", "auth_time", "today", login.BeginParams{}, func(id login.Identity) bool { return id.AuthTime.IsZero() }, true},
		{"auth_time in milliseconds", "auth_time", at.UnixMilli(), login.BeginParams{},
			func(id login.Identity) bool { return id.AuthTime.IsZero() }, true},
		{"auth_time in the future", "auth_time", future(time.Hour), login.BeginParams{},
			func(id login.Identity) bool { return id.AuthTime.IsZero() }, true},
		{"auth_time with a fraction", "auth_time", float64(at.Unix()) + 0.5, login.BeginParams{MaxAge: &age},
			func(id login.Identity) bool { return id.AuthTime.Equal(at) }, false},
		{"auth_time as text", "auth_time", strconv.FormatInt(at.Unix(), 10), login.BeginParams{MaxAge: &age},
			func(id login.Identity) bool { return id.AuthTime.Equal(at) }, false},
		{"amr null", "amr", nil, login.BeginParams{}, func(id login.Identity) bool { return id.AMR == nil }, false},
		{"amr a string", "amr", "otp", login.BeginParams{}, func(id login.Identity) bool { return slices.Equal(id.AMR, []string{"otp"}) }, false},
		{"amr a mixed list", "amr", []any{"otp", nil, 7}, login.BeginParams{},
			func(id login.Identity) bool { return slices.Equal(id.AMR, []string{"otp"}) }, false},
		{"amr an object", "amr", object{"otp": true}, login.BeginParams{}, func(id login.Identity) bool { return id.AMR == nil }, true},
		{"acr null", "acr", nil, login.BeginParams{}, func(id login.Identity) bool { return id.ACR == "" }, false},
		{"acr a number", "acr", 2, login.BeginParams{}, func(id login.Identity) bool { return id.ACR == "" }, true},
		{"sid a number", "sid", 2, login.BeginParams{}, func(id login.Identity) bool { return id.SID == "" }, true},
		{"azp null", "azp", nil, login.BeginParams{}, nil, false},
		{"azp empty", "azp", "", login.BeginParams{}, nil, false},
		{"at_hash null", "at_hash", nil, login.BeginParams{}, nil, false},
		{"nbf null", "nbf", nil, login.BeginParams{}, nil, false},
		{"nbf empty", "nbf", "", login.BeginParams{}, nil, false},
		{"_claim_names a list", "_claim_names", []string{"groups"}, login.BeginParams{}, nil, false},
		{"_claim_names without a source", "_claim_names", object{"groups": "src1"}, login.BeginParams{}, nil, false},
		{"a claim of its own named ACR", "ACR", "x", login.BeginParams{}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = set(test.claim, test.value)
			id, err := tam.finish(t, nil, test.params)
			if err != nil {
				t.Fatalf("Finish: %v", err)
			}
			if id.Handle != "alice" || test.is != nil && !test.is(id) {
				t.Errorf("Finish = %+v, with another %s", id, test.claim)
			}
			if slices.Contains(id.Ignored, test.claim) != test.ignored {
				t.Errorf("Finish ignores %q, want %s among them: %t", id.Ignored, test.claim, test.ignored)
			}
		})
	}
}

// TestReviewE4OtherDocuments has the other documents of a provider hold null and odd types where nothing depends on them.
func TestReviewE4OtherDocuments(t *testing.T) {
	for name, change := range map[string]func(*tamperer){
		"metadata": func(tam *tamperer) {
			tam.metadata = func(m object) {
				m["userinfo_endpoint"], m["token_endpoint_auth_methods_supported"] = nil, nil
				m["authorization_response_iss_parameter_supported"] = nil
				m["id_token_signing_alg_values_supported"] = "ES256"
				m["device_authorization_endpoint"], m["claims_supported"] = 7, "sub"
			}
		},
		"metadata, flag as text": func(tam *tamperer) {
			tam.metadata = func(m object) { m["authorization_response_iss_parameter_supported"] = "false" }
		},
		"token answer": func(tam *tamperer) {
			tam.token = func(m object) {
				m["expires_in"], m["refresh_token"], m["scope"], m["error"] = "soon", 7, nil, nil
			}
		},
		"token answer without a type": func(tam *tamperer) { tam.token = func(m object) { m["token_type"] = nil } },
		"keys": func(tam *tamperer) {
			tam.keys = func(m object) {
				for _, jwk := range m["keys"].([]any) {
					jwk := jwk.(object)
					jwk["alg"], jwk["key_ops"], jwk["x5c"], jwk["d"] = nil, nil, nil, nil
				}
			}
		},
		"handle null, so userinfo is asked": func(tam *tamperer) { tam.idToken = set("preferred_username", nil) },
		"userinfo": func(tam *tamperer) {
			tam.idToken = set("preferred_username", "")
			tam.userinfo = func(m object) { m["SUB2"], m["AUD"], m["email_verified"] = 1, nil, "yes" }
		},
	} {
		t.Run(name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = func(object, object) {}
			change(tam)
			if id, err := tam.finish(t, nil, login.BeginParams{}); err != nil || id.Handle != "alice" {
				t.Errorf("Finish = %+v, %v, want alice", id, err)
			}
		})
	}
}

// again runs whole logins of alice at one tampered provider, by a clock that the test sets.
func (tam *tamperer) again(t *testing.T, c *clock) (finish func() error, asked func(want int32)) {
	t.Helper()
	p, err := login.New(config(serve(t, tam.wrap, dev)), client(t, 0), c.Now)
	if err != nil {
		t.Fatal(err)
	}
	finish = func() error {
		start := begin(t, p, login.BeginParams{})
		_, err := p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
		return err
	}
	asked = func(want int32) {
		t.Helper()
		if n := tam.keysAsked.Load(); n != want {
			t.Errorf("the keys were fetched %d times, want %d", n, want)
		}
	}
	return finish, asked
}

// TestReviewE6SameKid has a provider put another key under a kid that is known: the next login is good. Signatures that stay
// bad make the keys be fetched once a minute, and between that nothing is said about the person.
func TestReviewE6SameKid(t *testing.T) {
	tam := newTamperer(t)
	tam.idToken = func(object, object) {}
	var c clock
	finish, asked := tam.again(t, &c)
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	asked(1)
	tam.key, tam.stranger = tam.stranger, tam.key
	if err := finish(); err != nil {
		t.Errorf("Finish with the new key: %v", err)
	}
	asked(2)
	tam.sign = func(tam *tamperer, h, c object) string { return signWith(tam.stranger, h, c) }
	for range 3 {
		wantUnavailable(t, "Finish", finish())
	}
	asked(2)
	c.advance(61 * time.Second)
	wantRejected(t, finish(), "id_token")
	asked(3)
	for range 3 {
		wantUnavailable(t, "Finish", finish())
	}
	asked(3)
	tam.sign = signed
	if err := finish(); err != nil {
		t.Errorf("Finish: %v", err)
	}
	asked(3)
}

// TestReviewE6MetadataChanges has a provider change its algorithm, and the place of its keys, within the hour for which the
// metadata is kept.
func TestReviewE6MetadataChanges(t *testing.T) {
	tam := newTamperer(t)
	moved := false
	tam.metadata = func(m object) {
		if m["id_token_signing_alg_values_supported"] = []string{"RS256"}; moved {
			m["id_token_signing_alg_values_supported"] = []string{"ES256"}
			m["jwks_uri"] = m["jwks_uri"].(string) + "?new"
		}
	}
	tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/keys" && r.URL.RawQuery != "new" {
			_, _ = w.Write([]byte(`{"keys":[]}`))
			return true
		}
		return false
	}
	tam.idToken = func(object, object) {}
	var c clock
	finish, _ := tam.again(t, &c)
	wantRejected(t, finish(), "id_token")
	moved = true
	c.advance(61 * time.Second)
	if err := finish(); err != nil {
		t.Errorf("Finish after the change: %v", err)
	}
}

// TestReviewE6KeysWithdrawn has a provider withdraw its only keys: they are not believed for longer than they are kept.
func TestReviewE6KeysWithdrawn(t *testing.T) {
	tam := newTamperer(t)
	tam.idToken = func(object, object) {}
	var c clock
	finish, _ := tam.again(t, &c)
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Hour)
	tam.idToken = func(_, claims object) { claims["iat"], claims["exp"] = future(time.Hour), future(2*time.Hour) }
	if err := finish(); err != nil {
		t.Fatal(err)
	}
	tam.keys = func(m object) { m["keys"] = []any{} }
	c.advance(time.Hour)
	tam.idToken = func(_, claims object) { claims["iat"], claims["exp"] = future(2*time.Hour), future(3*time.Hour) }
	wantRejected(t, finish(), "id_token")
}

// TestReviewE5StaleConnection has the provider close a connection that was kept open just when the code comes over it: the
// code is sent once more, over a new connection, and redeemed once.
func TestReviewE5StaleConnection(t *testing.T) {
	tam := newTamperer(t)
	var mu sync.Mutex
	seen, hungUp := map[string]bool{}, 0
	tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		if reused := seen[r.RemoteAddr]; r.URL.Path != "/oauth/token" || !reused {
			seen[r.RemoteAddr] = true
			return false
		}
		hungUp++
		panic(http.ErrAbortHandler)
	}
	if _, err := tam.finish(t, nil, login.BeginParams{}); err != nil || hungUp != 1 {
		t.Errorf("Finish = %v after %d connections that were closed, want no error after 1", err, hungUp)
	}
	if n := tam.tokenAsked.Load(); n != 2 {
		t.Errorf("the code was sent %d times, want 2", n)
	}
}

// TestReviewE8CodeSent checks that an outage says whether the code was sent: only then the login has to begin anew.
func TestReviewE8CodeSent(t *testing.T) {
	status := func(n int) http.HandlerFunc { return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(n) } }
	hangUp := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for _, test := range []struct {
		name, path string
		way        http.HandlerFunc
		sent       bool
	}{
		{"token endpoint overloaded", "/oauth/token", status(http.StatusTooManyRequests), false},
		{"token endpoint in maintenance", "/oauth/token", status(http.StatusServiceUnavailable), false},
		{"token endpoint broken", "/oauth/token", status(http.StatusInternalServerError), true},
		{"token endpoint hangs up", "/oauth/token", hangUp, true},
		{"no keys", "/keys", status(http.StatusServiceUnavailable), true},
		{"no userinfo", "/userinfo", hangUp, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = remove("preferred_username")
			tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path != test.path {
					return false
				}
				test.way(w, r)
				return true
			}
			_, err := tam.finish(t, nil, login.BeginParams{})
			wantUnavailable(t, "Finish", err)
			if errors.Is(err, login.ErrCodeSent) != test.sent {
				t.Errorf("Finish = %v, want %v in it: %t", err, login.ErrCodeSent, test.sent)
			}
		})
	}
	t.Run("nobody there", func(t *testing.T) {
		tam := newTamperer(t)
		tam.metadata = func(m object) { m["token_endpoint"] = "http://127.0.0.1:1/token" }
		_, err := tam.finish(t, nil, login.BeginParams{})
		wantUnavailable(t, "Finish", err)
		if errors.Is(err, login.ErrCodeSent) {
			t.Errorf("Finish = %v, but no connection was made", err)
		}
	})
}

// TestReviewB8PromptLogin has the browser drop prompt=login on its way to the provider, which then tells of an older login:
// that is not accepted, nor a login that the provider dates not at all.
func TestReviewB8PromptLogin(t *testing.T) {
	anew := login.BeginParams{Prompt: "login"}
	for name, test := range map[string]struct {
		prompt string
		change func(header, claims object)
		ok     bool
	}{
		"anew":                {"login", func(object, object) {}, true},
		"ten minutes ago":     {"login", set("auth_time", future(-10*time.Minute)), false},
		"half a minute ago":   {"login", set("auth_time", future(-30*time.Second)), false},
		"at no time":          {"login", remove("auth_time"), false},
		"with another prompt": {"select_account login", set("auth_time", future(-10*time.Minute)), false},
		"another prompt":      {"select_account", set("auth_time", future(-10*time.Minute)), true},
		"a provider's slow clock": {"login", func(_, c object) { // by its own clock all is well
			c["iat"], c["auth_time"] = future(-30*time.Second), future(-30*time.Second)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.idToken = test.change
			anew.Prompt = test.prompt
			_, err := tam.finish(t, nil, anew)
			if test.ok && err != nil {
				t.Errorf("Finish: %v", err)
			} else if !test.ok {
				wantRejected(t, err, "auth_time")
			}
		})
	}
	p := newProvider(t, config(serve(t, untouched, dev)))
	if q := begin(t, p, login.BeginParams{Prompt: "login"}).URL; !hasQuery(t, q, "max_age", "0") || !hasQuery(t, q, "prompt", "login") {
		t.Errorf("Begin = %s, want prompt=login and max_age=0, which makes the provider send auth_time", q)
	}
}

func hasQuery(t *testing.T, raw, name, value string) bool {
	t.Helper()
	u, err := url.Parse(raw)
	return err == nil && u.Query().Get(name) == value
}
