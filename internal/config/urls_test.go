package config_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// TestIssuerURL checks that the URL of an issuer has one spelling, which the error for another one names.
func TestIssuerURL(t *testing.T) {
	name := filepath.Join(t.TempDir(), "issuer.yaml")
	for value, want := range map[string]string{
		"https://id.acme.im":              "",
		"https://id.acme.im:8443":         "",
		"https://acme.im/id":              "",
		"https://acme.im/chat/id-1.0_~A":  "",
		"https://id.acme.im/":             "write https://id.acme.im",
		"https://acme.im/id/":             "write https://acme.im/id",
		"https://ACME.im:443/ID/":         "write https://acme.im/ID",
		"https://acme.im//":               "choose a plain one",
		"https://acme.im//id":             "choose a plain one",
		"https://acme.im/a//b":            "choose a plain one",
		"https://acme.im/.":               "choose a plain one",
		"https://acme.im/../id":           "choose a plain one",
		"https://acme.im/.well-known":     "choose a plain one",
		"https://acme.im/i%64":            "choose a plain one",
		"https://acme.im/a%2Fb":           "choose a plain one",
		"https://acme.im/bücher":          "is not ASCII",
		"https://acme.im/{provider}":      "choose a plain one",
		"https://acme.im/:provider":       "choose a plain one",
		"https://acme.im/*":               "choose a plain one",
		"https://acme.im/id?":             "has a query",
		"https://acme.im/id#":             "has a fragment",
		"https://acme.im/id;v=1":          "choose a plain one",
		"https://user@acme.im/id":         "has user information",
		"https://acme.im/id\\evil":        "choose a plain one",
		"https://login.example.net/id":    "reserved",
		"http://acme.im/id":               "plain http",
		"https:acme.im/id":                "is not a URL",
		"https://acme.im/id https://x.im": "is not a URL",
	} {
		text := fmt.Sprintf("issuer: %q\ndomains: [{name: acme.im, providers: [{id: p, issuer: \"https://login.acme.im\", client_id: x}]}]\n", value)
		c, err := config.Parse(name, []byte(text), []string{"ISSUER_DEVELOPMENT=false"})
		var about []string
		if faults, ok := err.(config.Errors); ok {
			for _, e := range faults {
				if e.Path == "issuer" {
					about = append(about, e.Message)
				}
			}
		}
		switch {
		case want == "" && len(about) > 0:
			t.Errorf("Parse of issuer %s = %q, want none of it", value, about)
		case want != "" && (c != nil || len(about) != 1 || !strings.Contains(about[0], want)):
			t.Errorf("Parse of issuer %s = %q, want one fault with %q", value, about, want)
		}
	}
}

// TestReviewE9RedirectURIInASCII checks that the error for a URL that is not ASCII names the form to write: apps send that form,
// and the comparison is exact.
func TestReviewE9RedirectURIInASCII(t *testing.T) {
	const settings = `issuer: https://id.acme.im
kek_file: kek
development: true
domains: [{name: acme.im, providers: [{id: p, issuer: "https://login.acme.im", client_id: x}]}]
clients: [{id: app, auth: none, grants: [authorization_code], domains: [acme.im], redirect_uris: ["URI"]}]
`
	for value, want := range map[string]string{
		"https://bücher.example/cb":      "is not ASCII: write https://xn--bcher-kva.example/cb",
		"https://BÜCHER.example:8443/é":  "is not ASCII: write https://xn--bcher-kva.example:8443/%C3%A9",
		"https://chat.acme.im/cb?x=ü":    "is not ASCII: write https://chat.acme.im/cb?x=%C3%BC",
		"com.example.app:/zurück":        "is not ASCII: write com.example.app:/zur%C3%BCck",
		"https://a\u200d.example/cb":     "is not ASCII: write the host in punycode",
		"https://xn--bcher-kva.example/": "",
	} {
		_, err := config.Parse("issuer.yaml", []byte(strings.Replace(settings, "URI", value, 1)), nil)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), "redirect_uris[0]: ") || !strings.Contains(err.Error(), want)) {
			t.Errorf("Parse with %q = %v, want ...%s...", value, err, want)
		}
	}
	whole := strings.NewReplacer("https://login.acme.im", "https://anmeldung-zürich.example", "URI", "https://acme.im/cb").Replace(settings)
	if _, err := config.Parse("issuer.yaml", []byte(whole), nil); err == nil || !strings.Contains(err.Error(), "write https://xn--anmeldung-zrich-9vb.example") {
		t.Errorf("Parse with a provider that is not ASCII = %v, want the URL to write", err)
	}
}
