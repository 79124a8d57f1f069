package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/types/api"
)

// administered is the settings of an issuer that speaks TLS, to people and to operators over the network. ops may administer, and rooms
// not.
const administered = `
issuer: https://%[1]s
listen: %[1]s
admin_listen: %[2]s
admin_url: https://%[2]s
tls: {cert_file: cert.pem, key_file: key.pem}
development: true
outbound: {ca_file: cert.pem}
domains:
  - name: acme.im
    providers:
      - {id: corp, issuer: https://127.0.0.1:1, client_id: issuer, authoritative_handles: true}
clients:
  - {id: ops, auth: private_key_jwt, jwks: '%[3]s', grants: [client_credentials], scopes: [admin], domains: [acme.im]}
  - {id: rooms, auth: private_key_jwt, jwks: '%[3]s', grants: [client_credentials], scopes: [introspect], domains: [acme.im]}
  - {id: corp-scim, auth: none, scopes: [scim], domains: [acme.im], scim: {token_sha256: [%[4]x]}}
`

// scimToken is what the OpenID provider sends.
const scimToken = "6f0c1f8f1e0d4c5bb1d7a3c29e5f4a6d8b7c9e0f1a2b3c4d5e6f708192a3b4c5"

// An administered issuer, and what its operators elsewhere have: its URLs and the key of a client.
type administeredIssuer struct {
	*victim
	server string
}

// newAdministered starts an issuer with a listener for operators over the network.
func newAdministered(t *testing.T) *administeredIssuer {
	t.Helper()
	v := &victim{folder: t.TempDir(), listen: freeAddress(t)}
	v.issuer, v.data = "https://"+v.listen, filepath.Join(v.folder, "data")
	v.database = filepath.Join(v.data, "issuer.db")
	i := &administeredIssuer{v, "https://" + freeAddress(t)}
	ownCertificate(t, v.folder)
	jwks, err := exec.Command("issuer", "assertion", "--key", filepath.Join(v.folder, "ops.pem"), "--jwks").Output()
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf(administered, v.listen, strings.TrimPrefix(i.server, "https://"), strings.TrimSpace(string(jwks)), sha256.Sum256([]byte(scimToken)))
	if err := os.WriteFile(v.config(), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	v.start(t)
	return i
}

// ownCertificate writes a certificate for 127.0.0.1, which is its own authority, and its key.
func ownCertificate(t *testing.T, folder string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	replace(t, filepath.Join(folder, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	replace(t, filepath.Join(folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

// operate runs a command elsewhere, with further variables, and returns what it prints and its exit code.
func (i *administeredIssuer) operate(t *testing.T, env []string, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.Command("issuer", args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(i.folder, "cert.pem"))
	cmd.Env = append(cmd.Env, env...)
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// TestOperatorsOverTheNetwork runs the commands for operators from another machine, as it were: over TLS, with the key of a client.
func TestOperatorsOverTheNetwork(t *testing.T) {
	t.Parallel()
	i := newAdministered(t)
	env := []string{"ISSUER_SERVER=" + i.server, "ISSUER_KEY=" + filepath.Join(i.folder, "ops.pem"), "ISSUER_CLIENT=ops"}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"keys", "list"}, " signing "},
		{[]string{"keys", "rotate"}, "is published, and signs from"},
		{[]string{"clients", "list"}, "rooms"},
		{[]string{"clients", "add", "--id", "desk", "--auth", "secret", "--domain", "acme.im", "--grant", "client_credentials"}, "The secret, shown only once: "},
		{[]string{"clients", "rotate-secret", "desk"}, "The old secret is valid until "},
		{[]string{"clients", "remove", "desk"}, "Removed client desk."},
		{[]string{"users", "list"}, "HANDLE"},
		{[]string{"devices", "list"}, "DEVICE"},
		{[]string{"sessions", "list"}, "SESSION"},
		{[]string{"statements", "list"}, "STATEMENT"},
	} {
		if out, code := i.operate(t, env, test.args...); code != 0 || !strings.Contains(out, test.want) {
			t.Errorf("issuer %v = %d\n%s\nwant %q", test.args, code, out, test.want)
		}
	}
	// The document says the same, with names of its own.
	script := strings.Join(blocks(t, root+"/docs/operate.md", "bash"), "\n")
	if !strings.Contains(script, "https://im-id.your-domain.tld:9443") {
		t.Errorf("docs/operate.md has no block with its URL for operators:\n%s", script)
	}
	script = strings.ReplaceAll(script, "https://im-id.your-domain.tld:9443", i.server)
	create := `curl -sfk -o created ` + i.issuer + `/scim/v2/Users -H 'Content-Type: application/scim+json' -H 'Authorization: Bearer ` + scimToken +
		`' -d '{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"alice@acme.im","externalId":"1"}'`
	script = create + "\n" + script
	shell := exec.Command("bash", "-eu", "-o", "pipefail", "-c", script)
	shell.Dir, shell.Env = i.folder, append(os.Environ(), "SSL_CERT_FILE="+filepath.Join(i.folder, "cert.pem"))
	text, err := shell.CombinedOutput()
	at := 0
	for _, want := range []string{
		`{"keys":[`, " signing ", "rooms", "HANDLE", "  alice  ", "im:%40alice@acme.im", "SESSION", "1 user would be disabled", "1 user disabled",
		"is erased", "are whole",
	} {
		n := strings.Index(string(text)[at:], want)
		if err != nil || n < 0 {
			t.Fatalf("%v: no %q after\n%s\nin\n%s", err, want, text[:at], text)
		}
		at += n
	}
	// Flags say the same as variables, and the socket is used where a flag names it.
	out, code := i.operate(t, nil, "keys", "list", "--server", i.server+"/", "--key", filepath.Join(i.folder, "ops.pem"), "--client", "ops", "--json")
	var list []api.Key
	if err := json.Unmarshal([]byte(out), &list); code != 0 || err != nil || len(list) != 2 {
		t.Errorf("keys by flags = %d %v\n%s\nwant two keys", code, err, out)
	}
	if out, code := i.operate(t, append(env, "ISSUER_SERVER=https://127.0.0.1:1"), "keys", "list", "--config", i.config()); code != 0 {
		t.Errorf("keys at the socket = %d\n%s", code, out)
	}
	if out, code := i.operate(t, env, "config", "check", i.config()); code != 0 {
		t.Errorf("config check with the variables of the command line = %d\n%s", code, out)
	}

	key := filepath.Join(i.folder, "ops.pem")
	other := filepath.Join(t.TempDir(), "other.pem")
	if out, code := i.operate(t, nil, "assertion", "--key", other, "--jwks"); code != 0 {
		t.Fatal(out)
	}
	for name, test := range map[string]struct {
		args []string
		code int
		want string
	}{
		"the public URL": {[]string{"--server", i.issuer, "--key", key, "--client", "ops"}, 2,
			"is not the listener for operators of an issuer: it has no metadata of a protected resource: --server takes the admin_url"},
		"no scope": {[]string{"--server", i.server, "--key", key, "--client", "rooms"}, 1,
			"the client rooms is not registered for the scope admin: add admin to the scopes of that client"},
		"nobody there":  {[]string{"--server", "https://127.0.0.1:1", "--key", key, "--client", "ops"}, 3, "no issuer answers at https://127.0.0.1:1"},
		"another key":   {[]string{"--server", i.server, "--key", other, "--client", "ops"}, 1, "client"},
		"plain":         {[]string{"--server", "http://admin.acme.im", "--key", key, "--client", "ops"}, 2, "the URL is not https"},
		"a path":        {[]string{"--server", i.server + "/admin", "--key", key, "--client", "ops"}, 2, "more than a host and a port"},
		"no key":        {[]string{"--server", i.server, "--client", "ops"}, 2, "--server needs --key FILE, or ISSUER_KEY"},
		"no client":     {[]string{"--server", i.server, "--key", key}, 2, "--server needs --client ID, or ISSUER_CLIENT"},
		"no such file":  {[]string{"--server", i.server, "--key", "nowhere.pem", "--client", "ops"}, 2, "nowhere.pem"},
		"no server":     {[]string{"--key", key, "--client", "ops"}, 2, "--key and --client go with --server URL"},
		"two addresses": {[]string{"--server", i.server, "--data", "data"}, 2, "--server"},
	} {
		if out, code := i.operate(t, nil, append([]string{"keys", "list"}, test.args...)...); code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("%s: exit code %d\n%s\nwant %d and %q", name, code, out, test.code, test.want)
		}
	}
	if out, code := i.operate(t, env, "backup", "--to", "backup.db"); code != 2 || !strings.Contains(out, "at the admin socket") {
		t.Errorf("backup = %d\n%s\nwant 2: only at the socket", code, out)
	}
	i.stop(t)
}
