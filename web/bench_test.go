package web_test

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

func BenchmarkShowConsent(b *testing.B) {
	q := signin.ConsentQuestion{
		Consent: oauth.Consent{
			Needed: true, Client: clients.Client{ID: "app", Name: "An App"}, Redirect: "http://127.0.0.1/callback", Local: true,
			Scopes: []string{oauth.ScopeHandle, oauth.ScopeDevice}, Audience: []string{"im:example.com"}, Life: 180 * 24 * time.Hour,
		},
		Person: "@alice@example.com", Provider: "https://login.example.com",
	}
	f := web.Form{Action: "/login/consent", Another: "/login/another", State: "state", RequestID: "id"}
	b.ReportAllocs()
	for b.Loop() {
		if err := web.ShowConsent(httptest.NewRecorder(), q, f); err != nil {
			b.Fatal(err)
		}
	}
}
