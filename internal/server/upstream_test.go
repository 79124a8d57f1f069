package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// wantNobody wants the domain to have no user whose (issuer, subject) is this.
func (s *site) wantNobody(t *testing.T, subject string) {
	t.Helper()
	if u, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, subject); err != storage.ErrNotFound {
		t.Errorf("LinkedUser = %+v, %v, want %v", u, err, storage.ErrNotFound)
	}
}

// TestProviderRefuses holds that the app learns in OAuth's words what the provider said.
func TestProviderRefuses(t *testing.T) {
	s := start(t, nil)
	t.Run("cancelled", func(t *testing.T) {
		v := s.browser()
		back, err := v.Login(t.Context(), s.issuer+"/authorize?"+authorization(nil).Encode(),
			func(u *url.URL) bool { return u.Host == "127.0.0.1:7777" }, map[string]string{"cancel": "1"})
		if err != nil {
			t.Fatal(err)
		}
		if q := back.Query(); q.Get("error") != "access_denied" || q.Get("iss") != s.issuer || q.Get("state") != appState {
			t.Errorf("authorization answer = %v, want access_denied with iss and state", q)
		}
	})
	for upstream, want := range map[string]string{
		"access_denied": "access_denied", "login_required": "login_required", "interaction_required": "interaction_required",
		"consent_required": "consent_required", "account_selection_required": "account_selection_required",
		"temporarily_unavailable": "temporarily_unavailable", "server_error": "temporarily_unavailable",
		"invalid_scope": "access_denied", "<script>": "access_denied",
	} {
		t.Run(upstream, func(t *testing.T) {
			s.provider.tamper(t, tampering{callback: func(q url.Values) {
				q.Del("code")
				q.Set("error", upstream)
				q.Set("error_description", "told by the provider")
			}})
			v := s.visit(t, "alice", nil)
			a := s.open(t, v.browser, v.callback)
			s.wantRedirect(t, a, redirectURI, appState, want)
			wantPage(t, s.open(t, v.browser, v.callback), http.StatusBadRequest)
		})
	}
	t.Run("prompt=none", func(t *testing.T) {
		a := s.get(t, "/authorize?"+authorization(url.Values{"prompt": {"none"}}).Encode())
		to := s.get(t, a.header.Get("Location"))
		back, err := url.Parse(to.header.Get("Location"))
		if err != nil || back.Query().Get("error") != "login_required" {
			t.Fatalf("the provider answered %v, want login_required", to)
		}
	})
	s.wantNobody(t, "dev-10021")
}

// TestAnswerNotBelieved holds that no answer of the provider's is believed that does not hold, and that nobody comes
// into being by it. After each a good answer to the same kind of request is taken.
func TestAnswerNotBelieved(t *testing.T) {
	s := start(t, nil)
	set := func(name string, value any) func(header, claims object) {
		return func(_, claims object) { claims[name] = value }
	}
	untouched := func(object, object) {}
	for _, test := range []struct {
		name string
		with tampering
	}{
		{"foreign iss", tampering{callback: func(q url.Values) { q.Set("iss", "https://idp.example.net") }}},
		{"empty iss", tampering{callback: func(q url.Values) { q.Add("iss", ""); q.Add("a", "b"); q.Add("a", "c") }}},
		{"foreign iss with an error", tampering{callback: func(q url.Values) {
			q.Set("iss", "https://idp.example.net")
			q.Set("error", "access_denied")
		}}},
		{"no code", tampering{callback: func(q url.Values) { q.Del("code") }}},
		{"code of nobody", tampering{callback: func(q url.Values) { q.Set("code", "AAAAAAAAAAAAAAAAAAAAAA") }}},
		{"expired", tampering{idToken: set("exp", time.Now().Add(-2*time.Minute).Unix())}},
		{"from the future", tampering{idToken: set("iat", time.Now().Add(time.Hour).Unix())}},
		{"other nonce", tampering{idToken: set("nonce", "AAAAAAAAAAAAAAAAAAAAAA")}},
		{"other audience", tampering{idToken: set("aud", "somebody-else")}},
		{"other issuer", tampering{idToken: set("iss", "https://idp.example.net")}},
		{"other signature", tampering{idToken: untouched, sign: func(header, claims object) string { return sign(newKey(t), header, claims) }}},
		{"other signature, unknown key", tampering{idToken: func(header, _ object) { header["kid"] = "unknown" },
			sign: func(header, claims object) string { return sign(newKey(t), header, claims) }}},
		{"no signature", tampering{idToken: untouched, sign: func(header, claims object) string { return compact(header, claims, "") }}},
		{"alg none", tampering{idToken: func(header, _ object) { header["alg"] = "none" },
			sign: func(header, claims object) string { return compact(header, claims, "") }}},
		{"no ID token", tampering{idToken: untouched, sign: func(object, object) string { return "" }}},
		{"longer ago than max_age", tampering{idToken: set("auth_time", time.Now().Add(-2*time.Hour).Unix())}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.provider.tamper(t, test.with)
			v := s.visit(t, "alice", url.Values{"max_age": {"3600"}})
			a := s.open(t, v.browser, v.callback)
			switch {
			case test.name == "empty iss", test.name == "code of nobody":
				wantPage(t, a, http.StatusBadRequest) // a parameter twice; as if the code had expired
			case test.with.sign != nil && a.status == http.StatusServiceUnavailable:
				// The keys were fetched for the signature before, less than a minute ago: they may have changed since.
				wantPage(t, a, http.StatusServiceUnavailable)
			default:
				wantPage(t, a, http.StatusBadGateway)
			}
			s.wantNobody(t, "dev-10021")
		})
	}
	s.login(t, newDevice(t), "alice")
}

// TestProviderDown holds that an outage is told as one, at both ends of a login, and that it costs no more than the
// wait; who is logged in does not notice.
func TestProviderDown(t *testing.T) {
	s := start(t, nil)
	t.Run("at the first login", func(t *testing.T) {
		s.provider.set(tampering{answer: down})
		wantPage(t, s.get(t, "/authorize?"+authorization(nil).Encode()), http.StatusServiceUnavailable)
		s.provider.set(tampering{})
	})
	d := newDevice(t)
	held := s.login(t, d, "alice")
	t.Run("at the callback", func(t *testing.T) {
		v := s.visit(t, "alice", nil)
		s.provider.set(tampering{answer: down})
		wantPage(t, s.open(t, v.browser, v.callback), http.StatusServiceUnavailable)
		held = s.wantAlive(t, d, held)
		s.provider.set(tampering{})
		s.wantAgain(t, v)
	})
	for name, status := range map[string]int{"broken": 500, "overloaded": 429, "in maintenance": 503} {
		t.Run(name, func(t *testing.T) {
			v := s.visit(t, "alice", nil)
			s.provider.set(tampering{answer: func(w http.ResponseWriter, r *http.Request) bool {
				http.Error(w, "not now", status)
				return true
			}})
			wantPage(t, s.open(t, v.browser, v.callback), http.StatusServiceUnavailable)
			s.provider.set(tampering{})
			if status == 500 { // nobody knows what became of the code
				s.wantAgain(t, v)
			} else {
				s.wantCode(t, s.open(t, v.browser, v.callback))
			}
		})
	}
}

// wantAgain wants the callback of alice to begin the login again at the provider, and that to end with a good code.
func (s *site) wantAgain(t *testing.T, v visit) {
	t.Helper()
	a := s.arrive(t, v.browser, v.callback)
	to := a.header.Get("Location")
	if a.status != http.StatusSeeOther || !strings.HasPrefix(to, s.provider.url) {
		t.Fatalf("answer = %v to %q, want a redirect to the OpenID provider", a, to)
	}
	back, err := v.browser.Login(t.Context(), to,
		func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	s.wantCode(t, s.open(t, v.browser, back))
}

// TestReviewE8ReloadBeginsAgain holds that "wait, then reload this page" is true: a provider that failed after it had got the
// code is asked again from the beginning, for the same request of the app, and never for the same code.
func TestReviewE8ReloadBeginsAgain(t *testing.T) {
	s := start(t, nil)
	for _, path := range []string{"/oauth/token", "/userinfo"} {
		for name, change := range map[string]url.Values{"": nil, " with prompt=login": {"prompt": {"login"}}} {
			t.Run(path+name, func(t *testing.T) {
				var asked atomic.Int32
				fails := tampering{
					answer: func(w http.ResponseWriter, r *http.Request) bool {
						if r.URL.Path == "/oauth/token" {
							asked.Add(1)
						}
						if r.URL.Path == path {
							http.Error(w, "broken", http.StatusInternalServerError)
						}
						return r.URL.Path == path
					},
					idToken: func(_, claims object) { delete(claims, "preferred_username") },
				}
				s.provider.tamper(t, fails)
				v := s.visit(t, "alice", change)
				wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusServiceUnavailable)
				elsewhere := s.arrive(t, s.browser(), v.callback)
				wantPage(t, elsewhere, http.StatusForbidden)
				if n := asked.Load(); n != 1 {
					t.Errorf("the code was sent %d times, want 1", n)
				}
				s.provider.set(tampering{})
				s.wantAgain(t, v)
				wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusBadRequest) // that one is over
			})
		}
	}
}

// TestReviewE8CodeExpired holds that who waits so long that the code expires is sent back to the app, and told nothing of an
// answer that could not be verified.
func TestReviewE8CodeExpired(t *testing.T) {
	s := start(t, nil)
	v := s.visit(t, "alice", nil)
	busy := func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
		return r.URL.Path == "/oauth/token"
	}
	s.provider.tamper(t, tampering{answer: busy})
	wantPage(t, s.arrive(t, v.browser, v.callback), http.StatusServiceUnavailable)
	s.provider.set(tampering{answer: func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"error":"invalid_grant","error_description":"the code has expired"}`))
		}
		return r.URL.Path == "/oauth/token"
	}})
	a := s.arrive(t, v.browser, v.callback)
	wantPage(t, a, http.StatusBadRequest)
	if !strings.Contains(a.body, "took too long") || !strings.Contains(a.body, "Go back to your app") {
		t.Errorf("answer = %v, want a page that says what to do", a)
	}
	s.wantNobody(t, "dev-10021")
}

// TestReviewB8PromptLogin holds that an app which asks for a new login gets no older one, though the browser drops that wish
// on its way to the provider.
func TestReviewB8PromptLogin(t *testing.T) {
	s := start(t, nil)
	older := func(_, claims object) { claims["auth_time"] = time.Now().Add(-10 * time.Minute).Unix() }
	for name, test := range map[string]struct {
		change url.Values
		ok     bool
	}{
		"prompt=login":                    {url.Values{"prompt": {"login"}}, false},
		"prompt=login and a long max_age": {url.Values{"prompt": {"login consent"}, "max_age": {"3600"}}, false},
		"max_age=0":                       {url.Values{"max_age": {"0"}}, false},
		"max_age=3600":                    {url.Values{"max_age": {"3600"}}, true},
		"prompt=select_account":           {url.Values{"prompt": {"select_account"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s.provider.tamper(t, tampering{idToken: older})
			v := s.visit(t, "alice", test.change)
			a := s.open(t, v.browser, v.callback)
			if test.ok {
				s.wantCode(t, a)
			} else {
				wantPage(t, a, http.StatusBadGateway)
			}
			s.provider.set(tampering{})
			v = s.visit(t, "alice", test.change)
			s.wantCode(t, s.open(t, v.browser, v.callback))
		})
	}
}

// TestProviderHangs holds that a provider which never answers does not hold the browser for ever.
func TestProviderHangs(t *testing.T) {
	s := start(t, nil)
	v := s.visit(t, "alice", nil)
	s.provider.tamper(t, tampering{answer: func(_ http.ResponseWriter, r *http.Request) bool {
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}})
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusServiceUnavailable)
	s.provider.set(tampering{})
	s.wantAgain(t, v)
}
