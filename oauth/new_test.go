package oauth_test

import (
	"testing"
	"time"

	"github.com/imidentity/issuer/oauth"
)

// TestNew holds that a provider is not made of settings that miss something, and that only what may be left out has a default.
func TestNew(t *testing.T) {
	i := newIssuer(t, true)
	good := func() oauth.Config {
		return oauth.Config{
			Issuer: issuerURL, Domains: []oauth.Domain{{Name: "example.com", Providers: []string{"login"}}}, Clients: i.registry,
			Statements: i.made, Store: i.store, Accounts: i.accounts, Keys: i.ring, Proofs: i.proofs, RefreshKey: [32]byte{3},
			Lifetimes: oauth.Lifetimes{Access: time.Minute, Code: time.Minute, RefreshIdle: time.Hour, RefreshMax: time.Hour},
		}
	}
	for name, change := range map[string]func(c *oauth.Config){
		"no issuer":        func(c *oauth.Config) { c.Issuer = "" },
		"no store":         func(c *oauth.Config) { c.Store = nil },
		"no key":           func(c *oauth.Config) { c.RefreshKey = [32]byte{} },
		"no life":          func(c *oauth.Config) { c.Lifetimes.Access = 0 },
		"idle for longer":  func(c *oauth.Config) { c.Lifetimes.RefreshIdle = 2 * time.Hour },
		"a bare domain":    func(c *oauth.Config) { c.Domains[0].Providers = nil },
		"a foreign domain": func(c *oauth.Config) { c.Domains[0].Name = "unknown.example" },
	} {
		cfg := good()
		change(&cfg)
		if _, err := oauth.New(cfg); err == nil {
			t.Errorf("%s: New succeeded, want an error", name)
		}
	}
	p, err := oauth.New(good()) // the clock and the random source of the system, no limits and nobody to tell of revocations
	if err != nil || p.CodeLife() != time.Minute {
		t.Fatalf("New = %v, %v, want a provider", p, err)
	}
}
