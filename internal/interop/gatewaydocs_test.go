package interop_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/config"
)

// TestGatewayDocument compares the configurations in docs/gateway.md with the files that TestGateways runs.
func TestGatewayDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]string)
	for _, m := range fences.FindAllStringSubmatch(string(text), -1) {
		shown[m[1]] += m[2]
	}
	for language, file := range map[string]string{
		"nginx": "nginx/im-gateway.conf", "caddy": "caddy/Caddyfile", "haproxy": "haproxy/haproxy.cfg", "lua": "haproxy/im-gateway.lua",
	} {
		if want, err := os.ReadFile("../../contrib/gateway/" + file); err != nil || shown[language] != string(want) {
			t.Errorf("docs/gateway.md shows another %s (%v)", file, err)
		}
	}
}

// TestFederationDocument reads the settings that docs/federation.md shows, for real names.
func TestFederationDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/federation.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, map[string]string{"gateway-client-secret": secret, "identity.pem": identityKey(t), "kek": hex.EncodeToString(random(t, 32))})
	var shown []string
	for _, m := range fences.FindAllStringSubmatch(strings.ReplaceAll(string(text), ".example", ".acme.im"), -1) {
		if m[1] == "yaml" {
			shown = append(shown, m[2])
		}
	}
	if len(shown) != 2 {
		t.Fatalf("docs/federation.md has %d blocks of settings, want those of an issuer and of a gateway", len(shown))
	}
	server := "issuer: https://id.a.acme.im\nkek_file: kek\ndomains:\n  - name: a.acme.im\n    providers:\n" +
		"      - {id: corp, issuer: \"https://login.a.acme.im\", client_id: issuer, client_secret_file: gateway-client-secret}\n"
	if _, err := config.Parse(filepath.Join(dir, "issuer.yaml"), []byte(server+shown[0]), nil); err != nil {
		t.Errorf("the settings of the issuer: %v", err)
	}
	if _, err := config.ParseGateway(filepath.Join(dir, "gateway.yaml"), []byte(shown[1]), nil); err != nil {
		t.Errorf("the settings of the gateway: %v", err)
	}
}
