// Package devidptest runs OpenID providers for tests of whole issuers.
package devidptest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/imidentity/issuer/internal/devidp"
)

// Person returns the name of the person i, which is also their password.
func Person(i int) string { return fmt.Sprintf("person%d", i) }

// Start starts a provider with so many people, at which the client "issuer" signs users in with this redirect URI. It returns the URL of
// the provider, which ends with the test.
func Start(t testing.TB, redirectURI string, people int) string {
	t.Helper()
	var provider http.Handler
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(front.Close)
	cfg := devidp.Config{Issuer: front.URL, Clients: []devidp.Client{{ID: "issuer", RedirectURIs: []string{redirectURI}}}}
	for i := range people {
		cfg.People = append(cfg.People, devidp.Person{Subject: fmt.Sprintf("subject-%d", i), Username: Person(i)})
	}
	var err error
	if provider, err = devidp.New(cfg); err != nil {
		t.Fatal(err)
	}
	return front.URL
}
