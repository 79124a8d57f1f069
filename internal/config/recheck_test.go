package config_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
)

// TestRecheckDocument reads the settings that docs/operate.md shows.
func TestRecheckDocument(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "## Ask the provider again\n")
	_, block, _ := strings.Cut(section, "```yaml\n")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		t.Fatal("docs/operate.md shows no settings")
	}
	block = strings.Replace(block, "        client_secret_file: corp-secret\n", "        authoritative_handles: true\n", 1) // a file that is not there
	cfg, err := config.Parse("issuer.yaml", []byte("issuer: https://id.your-domain.tld\ndevelopment: true\ndata: "+t.TempDir()+"\n"+block+
		"clients:\n  - {id: app, auth: none, redirect_uris: [\"tld.your-domain:/cb\"], grants: [authorization_code], domains: [your-domain.tld]}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := cfg.Domains[0].Providers[0]
	if p.Recheck != 24*time.Hour || p.RecheckGrace != 24*time.Hour || p.RecheckRequired || !p.RecheckConsent {
		t.Errorf("settings = %+v, want those of the page", p)
	}
}
