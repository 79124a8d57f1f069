package interop_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

// keyring are the keys of the clients that sign assertions, by algorithm, which is the kid too.
type keyring map[string]crypto.Signer

var signers = newKeyring()

func newKeyring() keyring {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return keyring{"ES256": ec, "EdDSA": ed, "RS256": rs}
}

// private writes the private keys for clients.mjs.
func (k keyring) private(t *testing.T) string {
	t.Helper()
	keys := make(map[string][]byte)
	for alg, key := range k {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		keys[alg] = der
	}
	text, err := json.Marshal(keys) // octets become base64
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// file writes one private key as PEM, and returns where.
func (k keyring) file(t *testing.T, alg string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k[alg])
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// settings are those of the clients: web, whose keys are in the settings, and site, which publishes the same.
func (k keyring) settings(t *testing.T) string {
	t.Helper()
	var keys []string
	for alg, key := range k {
		jwk, err := jose.MarshalJWK(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprintf(`%s,"kid":%q,"alg":%q,"use":"sig"}`, jwk[:len(jwk)-1], alg, alg))
	}
	set := `{"keys":[` + strings.Join(keys, ",") + `]}`
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, set)
	}))
	t.Cleanup(site.Close)
	const client = `
  - id: %s
    auth: private_key_jwt
    %s: '%s'
    first_party: true
    require_par: true
    redirect_uris: [http://127.0.0.1/callback]
    grants: [authorization_code, refresh_token, client_credentials]
    scopes: ["im:handle", "im:device", introspect]
    domains: [example.com]
`
	return fmt.Sprintf(client+client, "web", "jwks", set, "site", "jwks_uri", site.URL+"/jwks")
}
