package login_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"testing"

	"github.com/imidentity/issuer/login"
)

// TestBeginOffline holds that a login asks for a refresh token where the provider offers that, and for the consent that it needs then.
func TestBeginOffline(t *testing.T) {
	for _, test := range []struct {
		name    string
		offered any
		scopes  []string
		config  func(*login.Config)
		prompt  string

		wantScope, wantPrompt string
	}{
		{"offered", []string{"openid", "offline_access"}, nil, nil, "", "openid profile offline_access", "consent"},
		{"with a new login", []string{"offline_access"}, nil, nil, "login", "openid profile offline_access", "login consent"},
		{"with consent", []string{"offline_access"}, nil, nil, "consent", "openid profile offline_access", "consent"},
		{"without a page", []string{"offline_access"}, nil, nil, "none", "openid profile offline_access", "none"},
		{"consent not needed", []string{"offline_access"}, nil, func(c *login.Config) { c.NoConsent = true }, "", "openid profile offline_access", ""},
		{"not offered", []string{"openid"}, nil, nil, "", "openid profile", ""},
		{"nothing known", nil, nil, nil, "login", "openid profile", "login"},
		{"in the settings", nil, []string{"openid", "offline_access"}, nil, "", "openid offline_access", "consent"},
		{"not wanted", []string{"offline_access"}, nil, func(c *login.Config) { c.Refresh = false }, "", "openid profile", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			tam.metadata = func(m object) {
				if m["scopes_supported"] = test.offered; test.offered == nil {
					delete(m, "scopes_supported")
				}
			}
			cfg := config(serve(t, tam.wrap, dev))
			cfg.Refresh, cfg.Scopes = true, test.scopes
			if test.config != nil {
				test.config(&cfg)
			}
			u, err := url.Parse(begin(t, newProvider(t, cfg), login.BeginParams{Prompt: test.prompt}).URL)
			if err != nil {
				t.Fatal(err)
			}
			if scope, prompt := u.Query().Get("scope"), u.Query().Get("prompt"); scope != test.wantScope || prompt != test.wantPrompt {
				t.Errorf("scope %q and prompt %q, want %q and %q", scope, prompt, test.wantScope, test.wantPrompt)
			}
		})
	}
}

// TestRefresh holds that each answer to a refresh is told for what it is: new tokens, the end of the login, or no answer, and whether the
// provider may have replaced the token then. The checks of ID tokens are those of internal/server.
func TestRefresh(t *testing.T) {
	status := func(code int, body object) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(code)
			_ = json.NewEncoder(w).Encode(body)
		}
	}
	tokens := func(more object) object {
		more["access_token"] = "an-access-token"
		return more
	}
	rejected := errors.New("a *login.Rejected")
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		token  string // to use from now on
		want   error
		sent   bool
	}{
		{"replaced", status(200, tokens(object{"refresh_token": "next", "token_type": "bearer"})), "next", nil, false},
		{"kept", status(200, tokens(object{})), "first", nil, false},
		{"invalid_grant", status(400, object{"error": "invalid_grant"}), "", login.ErrEnded, false},
		{"invalid_grant with 401", status(401, object{"error": "invalid_grant"}), "", login.ErrEnded, false},
		{"interaction_required", status(400, object{"error": "interaction_required"}), "", login.ErrEnded, false},
		{"invalid_grant with 200", status(200, object{"error": "invalid_grant"}), "", rejected, false},
		{"invalid_client", status(401, object{"error": "invalid_client"}), "", rejected, false},
		{"invalid_scope", status(400, object{"error": "invalid_scope"}), "", rejected, false},
		{"another object", status(400, object{"error": object{}}), "", rejected, false},
		{"no access token", status(200, object{"refresh_token": "next"}), "", rejected, true},
		{"other type", status(200, tokens(object{"token_type": "DPoP"})), "", rejected, true},
		{"ID token of another type", status(200, tokens(object{"id_token": 1})), "", rejected, true},
		{"ID token that is none", status(200, tokens(object{"id_token": "a.b.c"})), "", rejected, true},
		{"429", status(429, object{}), "", login.ErrUnavailable, false},
		{"503", status(503, object{}), "", login.ErrUnavailable, false},
		{"500", status(500, object{}), "", login.ErrUnavailable, true},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "", login.ErrUnavailable, true},
		{"keys not there", nil, "", login.ErrUnavailable, false},
		{"metadata not there", nil, "", login.ErrUnavailable, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			tam := newTamperer(t)
			forms := make(chan url.Values, 10)
			tam.answer = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.URL.Path == "/oauth/token":
					_ = r.ParseForm()
					forms <- r.PostForm
					test.answer(w, r)
				case r.URL.Path == "/keys" && test.name == "keys not there",
					r.URL.Path == "/.well-known/openid-configuration" && test.name == "metadata not there":
					w.WriteHeader(http.StatusBadGateway)
				default:
					return false
				}
				return true
			}
			p := newProvider(t, config(serve(t, tam.wrap, dev)))
			before := login.RefreshToken{Token: "first", Subject: "dev-10021", Nonce: "a-nonce"}
			got, err := p.Refresh(t.Context(), before)
			var bad *login.Rejected
			switch {
			case test.want == rejected && (!errors.As(err, &bad) || errors.Is(err, login.ErrUnavailable)),
				test.want != rejected && !errors.Is(err, test.want), errors.Is(err, login.ErrTokenSent) != test.sent:
				t.Errorf("Refresh = %v, want %v, token may be replaced: %v", err, test.want, test.sent)
			case err == nil && (got.Token != test.token || got.Subject != before.Subject || got.Nonce != before.Nonce):
				t.Errorf("Refresh = %+v, want the token %q and the rest as before", got, test.token)
			}
			if n := tam.tokenAsked.Load(); test.answer != nil && n != 1 || test.answer == nil && n != 0 {
				t.Errorf("the token endpoint was asked %d times", n)
			}
			if test.answer != nil {
				if form := <-forms; form.Get("grant_type") != "refresh_token" || form.Get("refresh_token") != "first" {
					t.Errorf("form = %v", form)
				}
			}
		})
	}
}

// TestRefreshTokenOfSub holds that the user of a refresh token is the sub of the login, whichever claim identifies users, and that no
// token is kept that nobody asked for.
func TestRefreshTokenOfSub(t *testing.T) {
	for _, wanted := range []bool{true, false} {
		tam := newTamperer(t)
		tam.idToken = func(_, claims object) { claims["oid"] = "an-object-id" }
		tam.token = func(answer object) { answer["refresh_token"] = "first" }
		cfg := config(serve(t, tam.wrap, dev))
		cfg.SubjectClaim, cfg.Refresh = "oid", wanted
		p := newProvider(t, cfg)
		start := begin(t, p, login.BeginParams{})
		id, err := p.Finish(t.Context(), start.Pending, visit(t, start, "alice"))
		want := login.RefreshToken{}
		if wanted {
			want = login.RefreshToken{Token: "first", Subject: "dev-10021", Nonce: start.Nonce}
		}
		if err != nil || id.Subject != "an-object-id" || id.Refresh != want {
			t.Errorf("Finish = %+v, %v, want the refresh token %+v", id, err, want)
		}
	}
}
