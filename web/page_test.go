package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// TestStyleIsAllowed: every page allows its style sheet by the hash of the text that it contains, and announces its length.
func TestStyleIsAllowed(t *testing.T) {
	form := web.Form{Action: "/login", State: "state"}
	for name, show := range map[string]func(w http.ResponseWriter) error{
		"page": func(w http.ResponseWriter) error {
			return web.Show(w, web.Page{Status: http.StatusOK, Title: "Title", Text: "Text"})
		},
		"places": func(w http.ResponseWriter) error { return web.ShowPlaces(w, signin.PlaceQuestion{App: "app"}, form) },
		"handle": func(w http.ResponseWriter) error { return web.ShowHandle(w, signin.HandleQuestion{}, form) },
		"consent": func(w http.ResponseWriter) error {
			return web.ShowConsent(w, signin.ConsentQuestion{Consent: oauth.Consent{Client: clients.Client{ID: "app"}}}, form)
		},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			if err := show(answer); err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(answer.Body.String(), "<style>")
			style, _, closed := strings.Cut(rest, "</style>")
			sum := sha256.Sum256([]byte(style))
			policy := answer.Header().Get("Content-Security-Policy")
			if want := "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !closed || style == "" || !strings.Contains(policy, want) {
				t.Errorf("Content-Security-Policy = %q, want %q in it", policy, want)
			}
			if got, want := answer.Header().Get("Content-Length"), strconv.Itoa(answer.Body.Len()); got != want {
				t.Errorf("Content-Length = %q, want %q", got, want)
			}
		})
	}
}

// TestConsentIsEscaped: names that the app and its registration choose cannot add markup to the page.
func TestConsentIsEscaped(t *testing.T) {
	const markup = `<script>"'&`
	q := signin.ConsentQuestion{
		Consent: oauth.Consent{
			Client: clients.Client{ID: "id" + markup, Name: "name" + markup}, Redirect: "https://app.example.com/callback", DeviceName: "device" + markup,
			Scopes: []string{"scope" + markup}, Audience: []string{"https://audience.example.com/" + markup},
		},
		Person: "person" + markup,
	}
	answer := httptest.NewRecorder()
	if err := web.ShowConsent(answer, q, web.Form{Action: "/login/consent", State: "state" + markup, RequestID: "request" + markup}); err != nil {
		t.Fatal(err)
	}
	page := answer.Body.String()
	if strings.Contains(page, "<script") {
		t.Errorf("the page has markup of the app:\n%s", page)
	}
	for _, part := range []string{"id", "name", "device", "scope", "audience.example.com/", "person", "state", "request"} {
		if !strings.Contains(page, part+"&lt;script&gt;") {
			t.Errorf("the page does not show %s with its markup escaped", part)
		}
	}
}
