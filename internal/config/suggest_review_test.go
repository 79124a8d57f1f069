package config_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

var suggestion = regexp.MustCompile(`(?:did you mean |write )"?([\w.:-]+)"?\??$`)

// A value that an error suggests is accepted.
func TestReviewD7Suggestions(t *testing.T) {
	name := filepath.Join(t.TempDir(), "issuer.yaml")
	writeFile(t, filepath.Join(filepath.Dir(name), "data/kek"), strings.Repeat("0", 64))
	const domain = `{name: acme.im, providers: [{id: p, issuer: "https://login.acme.im", client_id: x}]}`
	domains := func(name string) string { return strings.Replace(domain, "acme.im,", name+",", 1) }
	client := func(domains string) string {
		return "\nclients: [{id: a, auth: secret, secret_sha256: " + strings.Repeat("1", 64) + ", domains: [" + domains + "]}]"
	}
	for _, c := range []struct{ text, wrong, want string }{
		{"domains: [" + domains("Acme.im") + "]", "Acme.im", "acme.im"},
		{"domains: [" + domains("bücher.im") + "]", "bücher.im", "xn--bcher-kva.im"},
		{"domains: [" + domains("acme.im.") + "]", "acme.im.", "acme.im"},
		{"domains: [" + domains("Example.com") + "]", "Example.com", ""},
		{"domains: [" + domains("Bücher.Invalid") + "]", "Bücher.Invalid", ""},
		{"domains: [" + domains("Acme_Rocket.im") + "]", "Acme_Rocket.im", ""},
		{"domains: [" + domains("192.0.2.1.") + "]", "192.0.2.1.", ""},
		{"domains: [" + domain + "]" + client("acme.mi"), "acme.mi", "acme.im"},
		{"domains: [" + domain + "]" + client("acme.im, acme.mi"), "acme.mi", ""},
		{"domains: [" + domain + ", " + domains("example.com") + "]" + client("example.cm"), "example.cm", ""},
		{"domains: [" + domain + "]\nlogg: {level: info}", "logg", "log"},
		{"domains: [" + domain + "]\nlog: {level: info}\nlogg: {level: debug}", "logg", ""},
		{"domains: [" + domain + "]\ndpop: {algorithms: [ES265]}", "ES265", "ES256"},
		{"domains: [" + domain + "]\ndpop: {algorithms: [ES256, ES265]}", "ES265", ""},
	} {
		parse := func(text string) []string {
			_, err := config.Parse(name, []byte("issuer: https://id.acme.im\n"+text+"\n"), nil)
			if err == nil {
				return nil
			}
			return strings.Split(err.Error(), "\n")
		}
		var got string
		lines := parse(c.text)
		for _, line := range lines {
			if m := suggestion.FindStringSubmatch(line); m != nil && strings.Contains(line, c.wrong) {
				got = m[1]
			}
		}
		if got != c.want {
			t.Errorf("%s: suggested %q for %q, want %q:\n%s", c.text, got, c.wrong, c.want, strings.Join(lines, "\n"))
		}
		if len(lines) == 0 {
			t.Errorf("%s: is not refused", c.text)
		}
		if got == "" {
			continue
		}
		if again := parse(strings.Replace(c.text, c.wrong, got, 1)); again != nil {
			t.Errorf("%s: with %q, as suggested: %q", c.text, got, again)
		}
	}
}
