package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// A credentialIssuer signs credentials of example.com, and publishes its keys and a status list whose entries 0 to 3 have these statuses.
type credentialIssuer struct {
	listSigner
	*httptest.Server
	keys string // a file with its JWK Set
}

func newCredentialIssuer(t *testing.T) *credentialIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	set := fmt.Sprintf(`{"keys":[{"kid":"1","use":"sig","alg":"ES256",%s]}`, jwk[1:])
	mux := http.NewServeMux()
	a := &credentialIssuer{listSigner{key}, httptest.NewServer(mux), filepath.Join(t.TempDir(), "keys.json")}
	t.Cleanup(a.Close)
	if err := os.WriteFile(a.keys, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	object := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, text)
		}
	}
	mux.HandleFunc("/.well-known/oauth-authorization-server", object(fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, a.URL, a.URL+"/keys")))
	mux.HandleFunc("/keys", object(set))
	mux.HandleFunc("/status/1", a.list(2))
	mux.HandleFunc("/status/bits", a.list(4))
	return a
}

// list serves a status list.
func (a *credentialIssuer) list(bits int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		list, err := statuslist.New(bits, 16)
		for i := range statuslist.Status(4) {
			if err == nil {
				err = list.Set(uint64(i), i)
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		now := time.Now().Truncate(time.Second)
		token := statuslist.Token{Issuer: a.URL, Subject: a.URL + r.URL.Path, IssuedAt: now, Expires: now.Add(time.Hour), List: list}
		signed, err := token.Sign(a.listSigner)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, signed)
	}
}

// credential returns the credential of a device, whose key is in the file.
func (a *credentialIssuer) credential(t *testing.T, keyFile string, status *statuslist.Reference) string {
	t.Helper()
	if out, err := exec.Command("issuer", "proof", "--key", keyFile, "--thumbprint").CombinedOutput(); err != nil { // makes it
		t.Fatalf("issuer proof: %v\n%s", err, out)
	}
	text, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	vc := sdjwt.VC{
		Issuer: a.URL, ID: "c-1", Device: "im:a11ce/72b@example.com", User: "im:a11ce@example.com;id-type=user", Handle: "im:%40alice@example.com",
		Key: key.(*ecdsa.PrivateKey).Public(), IssuedAt: now, Expires: now.Add(time.Hour), Status: status,
	}
	signed, err := vc.Sign(a, nil)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// TestCredentialVerify verifies a credential with each status and each way to know the issuer: what is printed, and the exit code.
func TestCredentialVerify(t *testing.T) {
	t.Parallel()
	a := newCredentialIssuer(t)
	key := filepath.Join(t.TempDir(), "key.pem")
	for name, test := range map[string]struct {
		index uint64
		path  string
		flags string
		code  int
		want  string
	}{
		"valid":            {0, "/status/1", "", 0, "The credential is valid.\n"},
		"handle":           {0, "/status/1", "--handle", 0, "im:%40alice@example.com, which is @alice@example.com\n"},
		"keys of a file":   {0, "/status/1", "--jwks " + a.keys, 0, "looked up in " + a.URL + "/status/1\n"},
		"ended":            {1, "/status/1", "", 1, "Not valid: the credential has ended."},
		"ended, JSON":      {1, "/status/1", "--json", 1, `"code": "ended"`},
		"never given":      {2, "/status/1", "", 1, "wrong_status"},
		"handle ended":     {3, "/status/1", "", 0, "out of date: im:%40alice@example.com is not the user's any more\n"},
		"handle needed":    {3, "/status/1", "--handle", 1, "Not valid here: the handle is out of date.\n"},
		"handle, JSON":     {3, "/status/1", "--handle --json", 1, `"code": "handle_ended"`},
		"expired":          {0, "/status/1", "--at 2040-01-01T00:00:00Z", 1, "Not valid: the credential has expired.\n"},
		"outside the list": {16, "/status/1", "", 3, "cannot be checked now"},
		"missing list":     {0, "/status/2", "", 3, "cannot be checked now"},
		"list of sessions": {0, "/status/bits", "", 3, "cannot be checked now"},
		"no status":        {0, "", "", 0, "none: the credential cannot end before its time\n"},
		"not presented":    {0, "/status/1", "", 0, "not seen: anyone may have sent the credential\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var status *statuslist.Reference
			if test.path != "" {
				status = &statuslist.Reference{Index: test.index, URI: a.URL + test.path}
			}
			cmd := exec.Command("issuer", append([]string{"credential", "verify", "-", "--no-binding", "--peer", "example.com=" + a.URL, "--development"},
				strings.Fields(test.flags)...)...)
			cmd.Stdin = strings.NewReader(a.credential(t, key, status) + "\n")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("issuer credential verify = %d\n%s\nwant %d and %q", code, out, test.code, test.want)
			}
		})
	}
}

// TestCredentialVerifyForeign refuses a credential of an issuer that may not speak for the domain, and cannot know without the keys.
func TestCredentialVerifyForeign(t *testing.T) {
	t.Parallel()
	a := newCredentialIssuer(t)
	text := a.credential(t, filepath.Join(t.TempDir(), "key.pem"), nil)
	for peer, test := range map[string]struct {
		code int
		want string
	}{
		"example.org=" + a.URL:           {1, string(credential.CodeDomain)},
		"example.com=http://127.0.0.1:1": {1, string(credential.CodeIssuer)},
		"localhost":                      {3, "cannot be checked now"}, // it names no issuer now
	} {
		cmd := exec.Command("issuer", "credential", "verify", "-", "--no-binding", "--peer", peer, "--development")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
			t.Errorf("issuer credential verify --peer %s = %d\n%s\nwant %d and %q", peer, code, out, test.code, test.want)
		}
	}
	a.Close()
	cmd := exec.Command("issuer", "credential", "verify", "-", "--no-binding", "--peer", "example.com="+a.URL, "--development", "--json")
	cmd.Stdin = strings.NewReader(text)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 3 || json.Valid(out) {
		t.Errorf("issuer credential verify without the issuer = %v\n%s\nwant exit code 3 and no answer", cmd.ProcessState, out)
	}
}

// TestCredentialPresent shows a credential with and without the handle, and refuses what could not be verified.
func TestCredentialPresent(t *testing.T) {
	t.Parallel()
	a := newCredentialIssuer(t)
	dir := t.TempDir()
	key, other, file := filepath.Join(dir, "key.pem"), filepath.Join(dir, "other.pem"), filepath.Join(dir, "credential.txt")
	a.credential(t, other, nil)
	if err := os.WriteFile(file, []byte(a.credential(t, key, nil)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(in string, args ...string) (string, int) {
		t.Helper()
		cmd := exec.Command("issuer", append([]string{"credential"}, args...)...)
		cmd.Stdin = strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	verify := []string{"verify", "-", "--peer", "example.com=" + a.URL, "--development", "--audience", "im:example.org", "--nonce", "-n"}
	present := []string{"present", file, "--key", key, "--audience", "im:example.org", "--nonce", "-n"}
	hidden, code := run("", present...)
	if code != 0 || strings.Count(hidden, "~") != 1 {
		t.Fatalf("issuer credential present = %d, %s", code, hidden)
	}
	shown, code := run("", append(present, "--show-handle")...)
	if code != 0 || strings.Count(shown, "~") != 2 {
		t.Fatalf("issuer credential present --show-handle = %d, %s", code, shown)
	}
	for _, test := range []struct {
		in, want string
		code     int
		args     []string
	}{
		{hidden, "  handle  not shown\n", 0, verify},
		{hidden, `"presented": true`, 0, append(verify, "--json")},
		{hidden, "the handle is not shown", 1, append(verify, "--handle")},
		{shown, "holds the key, and made the presentation for im:example.org", 0, append(verify, "--handle")},
		{shown, "key binding: wrong_nonce", 1, append(verify[:len(verify)-1:len(verify)-1], "other")},
		{shown[:len(shown)-6] + "AAAA\n", "key binding: ", 1, verify},
		{shown, "key binding: bad_binding", 1, append(verify[:len(verify)-4:len(verify)-4], "--no-binding")},
		{"", `it has no "~"`, 1, []string{"show", key}},
		{shown, "  aud      im:example.org\n", 0, []string{"show", "-"}},
		{shown, `"signed": true`, 0, []string{"show", "-", "--json"}},
		{strings.Replace(hidden, "~", "~WyJzIiwieCIsMV0~", 1), "disclosure without a digest in the claims\n", 0, []string{"show", "-"}},
		{shown, "is a presentation already", 1, []string{"present", "-", "--key", key, "--audience", "a", "--nonce", "n"}},
		{"", "is bound to another key", 2, []string{"present", file, "--key", other, "--audience", "a", "--nonce", "n"}},
		{"", "no such file", 2, []string{"present", file, "--key", filepath.Join(dir, "new.pem"), "--audience", "a", "--nonce", "n"}},
		{"", "holds no credential", 1, []string{"present", key, "--key", key, "--audience", "a", "--nonce", "n"}},
	} {
		if out, code := run(test.in, test.args...); code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("issuer credential %q = %d\n%s\nwant %d and %q", test.args, code, out, test.code, test.want)
		}
	}
}
