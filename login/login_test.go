package login_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/devidp"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/login"
)

// redirectURL is never requested: the browser stops in front of it.
const redirectURL = "http://127.0.0.1:8080/login/callback/dev"

var dev = devidp.Client{ID: "issuer", Secret: "s+cr/t%", RedirectURIs: []string{redirectURL}}

// serve runs the development provider behind wrap and returns its issuer URL.
func serve(t *testing.T, wrap func(http.Handler) http.Handler, clients ...devidp.Client) string {
	t.Helper()
	var handler http.Handler
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	idp, err := devidp.New(devidp.Config{Issuer: server.URL, Clients: clients})
	if err != nil {
		t.Fatal(err)
	}
	handler = wrap(idp)
	return server.URL
}

func untouched(h http.Handler) http.Handler { return h }

func client(t *testing.T, timeout time.Duration) *http.Client {
	t.Helper()
	c, err := fetch.NewClient(fetch.Policy{
		AllowHTTP: true, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Timeout: timeout,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func config(issuer string) login.Config {
	return login.Config{
		ID: "dev", Domain: "example.com", Issuer: issuer, ClientID: dev.ID, ClientSecret: dev.Secret, RedirectURL: redirectURL,
	}
}

func newProvider(t *testing.T, cfg login.Config) *login.Provider {
	t.Helper()
	p, err := login.New(cfg, client(t, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// visit lets name log in and returns the query of the callback.
func visit(t *testing.T, start login.Start, name string) url.Values {
	t.Helper()
	at, err := browser.New(nil).Login(t.Context(), start.URL, browser.To(redirectURL),
		map[string]string{"username": name, "password": name})
	if err != nil {
		t.Fatal(err)
	}
	return at.Query()
}

func begin(t *testing.T, p *login.Provider, params login.BeginParams) login.Start {
	t.Helper()
	start, err := p.Begin(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	return start
}

func TestLogin(t *testing.T) {
	age := time.Hour
	public := devidp.Client{ID: "public", RedirectURIs: []string{redirectURL}}
	for _, test := range []struct {
		name   string
		change func(*login.Config)
		params login.BeginParams
		person devidp.Person
		want   login.Identity // beside issuer, subject, session and time
	}{
		{"handle", nil, login.BeginParams{}, devidp.Alice, login.Identity{Handle: "alice"}},
		{"another person", nil, login.BeginParams{LoginHint: "bob", Prompt: "login"}, devidp.Bob, login.Identity{Handle: "bob"}},
		{"max age", nil, login.BeginParams{MaxAge: &age}, devidp.Bob, login.Identity{Handle: "bob"}},
		{"public client", func(c *login.Config) { c.ClientID, c.ClientSecret = public.ID, "" },
			login.BeginParams{}, devidp.Bob, login.Identity{Handle: "bob"}},
		{"mapped claims", func(c *login.Config) {
			c.Scopes, c.HandleClaim, c.UserClaim = []string{"email", "profile"}, "email", "preferred_username"
		}, login.BeginParams{}, devidp.Alice, login.Identity{Handle: "alice@example.com", User: "alice"}},
		{"no handle claim", func(c *login.Config) { c.Scopes = []string{} }, login.BeginParams{}, devidp.Alice, login.Identity{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cfg := config(serve(t, untouched, dev, public))
			if test.change != nil {
				test.change(&cfg)
			}
			p := newProvider(t, cfg)
			start := begin(t, p, test.params)
			got, err := p.Finish(t.Context(), start.Pending, visit(t, start, test.person.Username))
			if err != nil {
				t.Fatalf("Finish: %v", err)
			}
			if got.SID == "" || time.Since(got.AuthTime) > time.Hour {
				t.Errorf("Finish = session %q at %v, want one of now", got.SID, got.AuthTime)
			}
			got.SID, got.IssuedAt, got.AuthTime = "", time.Time{}, time.Time{}
			test.want.Issuer, test.want.Subject, test.want.AMR = cfg.Issuer, test.person.Subject, []string{"pwd"}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("Finish = %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestBegin(t *testing.T) {
	p := newProvider(t, config(serve(t, untouched, dev)))
	age := 90 * time.Second
	start := begin(t, p, login.BeginParams{LoginHint: "alice@example.com", Prompt: "select_account consent", MaxAge: &age})
	u, err := url.Parse(start.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": dev.ID, "redirect_uri": redirectURL, "scope": "openid profile",
		"state": start.State, "nonce": start.Nonce, "code_challenge_method": "S256",
		"login_hint": "alice@example.com", "prompt": "select_account consent", "max_age": "90",
	} {
		if q.Get(name) != want {
			t.Errorf("%s = %q, want %q", name, q.Get(name), want)
		}
	}
	if q.Get("code_challenge") == "" || q.Get("code_challenge") == start.Verifier {
		t.Errorf("code_challenge = %q, want the hash of the verifier", q.Get("code_challenge"))
	}
	seen := map[string]bool{}
	for range 2 {
		next := begin(t, p, login.BeginParams{})
		for _, secret := range []string{next.State, next.Nonce, next.Verifier} {
			if len(secret) != 43 || seen[secret] {
				t.Errorf("secret %q, want a new one of 256 bits", secret)
			}
			seen[secret] = true
		}
	}
}

// TestRefused makes the provider refuse: the user cancels, or may not be asked.
func TestRefused(t *testing.T) {
	p := newProvider(t, config(serve(t, untouched, dev)))
	for _, test := range []struct {
		code   string
		params login.BeginParams
		fill   map[string]string
	}{
		{"access_denied", login.BeginParams{}, map[string]string{"cancel": "1"}},
		{"login_required", login.BeginParams{Prompt: "none"}, nil},
	} {
		start := begin(t, p, test.params)
		at, err := browser.New(nil).Login(t.Context(), start.URL, browser.To(redirectURL), test.fill)
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Finish(t.Context(), start.Pending, at.Query())
		var refused *login.Refused
		if !errors.As(err, &refused) || refused.Code != test.code {
			t.Errorf("Finish = %v, want %s", err, test.code)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]func(*login.Config){
		"no id":             func(c *login.Config) { c.ID = "" },
		"no issuer":         func(c *login.Config) { c.Issuer = "" },
		"no client":         func(c *login.Config) { c.ClientID = "" },
		"no redirect":       func(c *login.Config) { c.RedirectURL = "" },
		"issuer is no URL":  func(c *login.Config) { c.Issuer = "idp.example.com" },
		"issuer's scheme":   func(c *login.Config) { c.Issuer = "ftp://idp.example.com" },
		"issuer's fragment": func(c *login.Config) { c.Issuer = "https://idp.example.com/#a" },
		"issuer's user":     func(c *login.Config) { c.Issuer = "https://a@idp.example.com/" },
	} {
		cfg := config("https://idp.example.com")
		change(&cfg)
		if _, err := login.New(cfg, http.DefaultClient, nil); err == nil {
			t.Errorf("%s: New = nil, want an error", name)
		}
	}
	if _, err := login.New(config("https://idp.example.com"), nil, nil); err == nil {
		t.Error("no HTTP client: New = nil, want an error")
	}
}
