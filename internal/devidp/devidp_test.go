package devidp_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/internal/devidp"
)

const redirectURL = "http://127.0.0.1:8080/cb"

// start runs a provider on a free port and returns the configuration of its client.
func start(t *testing.T, change func(*devidp.Config)) (*oauth2.Config, *oidc.Provider) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := devidp.Config{
		Issuer: "http://" + listener.Addr().String(),
		Clients: []devidp.Client{
			{ID: "app", Secret: "secret", RedirectURIs: []string{redirectURL}},
			{ID: "public", RedirectURIs: []string{redirectURL}},
		},
	}
	if change != nil {
		change(&cfg)
	}
	idp, err := devidp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(idp)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	provider, err := oidc.NewProvider(t.Context(), cfg.Issuer)
	if err != nil {
		t.Fatal(err)
	}
	return &oauth2.Config{
		ClientID: "app", ClientSecret: "secret", RedirectURL: redirectURL,
		Endpoint: provider.Endpoint(), Scopes: []string{"openid", "profile", "email"},
	}, provider
}

func login(t *testing.T, app *oauth2.Config, name, verifier string, opts ...oauth2.AuthCodeOption) url.Values {
	t.Helper()
	opts = append(opts, oauth2.S256ChallengeOption(verifier))
	at, err := browser.New(nil).Login(t.Context(), app.AuthCodeURL("state", opts...), browser.To(redirectURL),
		map[string]string{"text": name, "password": name})
	if err != nil {
		t.Fatal(err)
	}
	return at.Query()
}

func TestLogin(t *testing.T) {
	app, provider := start(t, nil)
	for _, person := range []devidp.Person{devidp.Alice, devidp.Bob} {
		q := login(t, app, person.Username, "a-verifier", oidc.Nonce("a-nonce"))
		if q.Get("state") != "state" {
			t.Errorf("state = %q, want it back", q.Get("state"))
		}
		token, err := app.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption("a-verifier"))
		if err != nil {
			t.Fatal(err)
		}
		id, err := provider.Verifier(&oidc.Config{ClientID: "app"}).Verify(t.Context(), token.Extra("id_token").(string))
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Username string   `json:"preferred_username"`
			Name     string   `json:"name"`
			Email    string   `json:"email"`
			AuthTime int64    `json:"auth_time"`
			AMR      []string `json:"amr"`
			SID      string   `json:"sid"`
		}
		if err := id.Claims(&said); err != nil {
			t.Fatal(err)
		}
		if id.Subject != person.Subject || said.Username != person.Username || said.Name != person.Name || said.Email != person.Email {
			t.Errorf("ID token of %s %+v, want %+v", id.Subject, said, person)
		}
		if id.Nonce != "a-nonce" || said.AuthTime == 0 || len(said.AMR) != 1 || said.SID == "" {
			t.Errorf("ID token with nonce %q and %+v, want all of them", id.Nonce, said)
		}
		info, err := provider.UserInfo(t.Context(), oauth2.StaticTokenSource(token))
		if err != nil || info.Subject != person.Subject || info.Email != person.Email {
			t.Errorf("UserInfo = %+v, %v, want %+v", info, err, person)
		}
		if _, err := app.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption("a-verifier")); err == nil {
			t.Error("Exchange of a code used before = nil, want an error")
		}
	}
}

func TestExchangeRefused(t *testing.T) {
	app, _ := start(t, nil)
	for name, change := range map[string]func(c *oauth2.Config) string{ // returns the verifier
		"other verifier": func(*oauth2.Config) string { return "another" },
		"other secret":   func(c *oauth2.Config) string { c.ClientSecret = "guess"; return "a-verifier" },
		"other client":   func(c *oauth2.Config) string { c.ClientID, c.ClientSecret = "public", ""; return "a-verifier" },
		"other redirect": func(c *oauth2.Config) string { c.RedirectURL += "/x"; return "a-verifier" },
	} {
		q := login(t, app, "alice", "a-verifier")
		other := *app
		verifier := change(&other)
		if _, err := other.Exchange(t.Context(), q.Get("code"), oauth2.VerifierOption(verifier)); err == nil {
			t.Errorf("%s: Exchange = nil, want an error", name)
		}
	}
}

func TestOwnPeople(t *testing.T) {
	carol := devidp.Person{Subject: "7", Username: "carol"}
	app, _ := start(t, func(c *devidp.Config) { c.People = []devidp.Person{carol} })
	if q := login(t, app, "carol", "a-verifier"); q.Get("code") == "" {
		t.Errorf("callback = %v, want a code", q)
	}
}

// TestPage tries a wrong password, a cancelled login and an unknown one.
func TestPage(t *testing.T) {
	app, _ := start(t, nil)
	resp, err := http.Get(app.AuthCodeURL("state", oauth2.SetAuthURLParam("login_hint", "\"><script>")))
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if text := string(page); strings.Contains(text, "<script>") || !strings.Contains(text, "alice") || !strings.Contains(text, "bob") {
		t.Errorf("page = %s, want names and no markup of the request", text)
	}
	if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy = %q", csp)
	}
	id := resp.Request.URL.Query().Get("id")
	form := url.Values{"id": {id}, "username": {"alice"}, "password": {"wrong"}}
	at := resp.Request.URL.Scheme + "://" + resp.Request.URL.Host + "/login"
	post := func(want int) *http.Response {
		t.Helper()
		c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := c.PostForm(at, form)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("POST %v = %d, want %d", form, resp.StatusCode, want)
		}
		return resp
	}
	post(http.StatusForbidden)
	form.Set("username", "mallory")
	form.Set("password", "mallory")
	post(http.StatusForbidden)
	form.Set("cancel", "1")
	if to := post(http.StatusFound).Header.Get("Location"); !strings.Contains(to, "error=access_denied") {
		t.Errorf("Location = %q, want access_denied", to)
	}
	form.Set("id", "unknown")
	post(http.StatusBadRequest)
}

func TestNewRefuses(t *testing.T) {
	clients := []devidp.Client{{ID: "app", Secret: "secret", RedirectURIs: []string{redirectURL}}}
	for _, issuer := range []string{"http://192.168.1.1:8081", "https://idp.example.com", "http://localhost.example.com", "http://0.0.0.0:8081"} {
		if _, err := devidp.New(devidp.Config{Issuer: issuer, Clients: clients}); !errors.Is(err, devidp.ErrNotLoopback) {
			t.Errorf("New(%s) = %v, want %v", issuer, err, devidp.ErrNotLoopback)
		}
	}
	for _, issuer := range []string{"", "127.0.0.1:8081", "http://127.0.0.1:8081/", "http://127.0.0.1:8081/path", "http://a@127.0.0.1", "ftp://127.0.0.1"} {
		if _, err := devidp.New(devidp.Config{Issuer: issuer, Clients: clients}); err == nil {
			t.Errorf("New(%s) = nil, want an error", issuer)
		}
	}
	if _, err := devidp.New(devidp.Config{Issuer: "http://127.0.0.1:8081"}); err == nil {
		t.Error("New without clients = nil, want an error")
	}
}

func TestOnlyLoopbackIsAnswered(t *testing.T) {
	idp, err := devidp.New(devidp.Config{
		Issuer:  "http://localhost:8081",
		Clients: []devidp.Client{{ID: "app", Secret: "secret", RedirectURIs: []string{redirectURL}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for remote, want := range map[string]int{
		"127.0.0.1:4711": http.StatusOK, "[::1]:4711": http.StatusOK, "[::ffff:127.0.0.1]:4711": http.StatusOK,
		"192.0.2.1:4711": http.StatusForbidden, "": http.StatusForbidden,
	} {
		r := httptest.NewRequest(http.MethodGet, "/.well-known/openid-configuration", nil)
		r.RemoteAddr = remote
		w := httptest.NewRecorder()
		idp.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %q = %d, want %d", remote, w.Code, want)
		}
	}
}
