package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
)

// TestNestedExplain runs issuer nested explain on vectors: what it prints, and with which exit code it refuses.
func TestNestedExplain(t *testing.T) {
	const vectors = root + "/nested/testdata/"
	var issuers map[string]struct {
		Domains []string        `json:"domains"`
		Keys    json.RawMessage `json:"keys"`
	}
	read(t, vectors+"issuers.json", &issuers)
	dir := t.TempDir()
	var flags []string
	for issuer, peer := range issuers {
		file := filepath.Join(dir, strings.NewReplacer("/", "-", ":", "-").Replace(issuer))
		if err := os.WriteFile(file, append(append([]byte(`{"keys":`), peer.Keys...), '}'), 0o600); err != nil {
			t.Fatal(err)
		}
		flags = append(flags, "--jwks", issuer+"="+file)
		for _, domain := range peer.Domains {
			flags = append(flags, "--peer", domain+"="+issuer)
		}
	}
	for _, test := range []struct {
		vector, more string
		code         int
		want         string
	}{
		{"acts-for", "", 0, "acts for"},
		{"acts-for", "--json", 0, `"rel": "acts_for"`},
		{"acts-for", "--audience=im:elsewhere.example", 1, "is not valid"},
		{"inner-expired", "", 1, "tokens[0]: expired"},
		{"bomb", "", 1, "is not valid"},
		{"cascade", "", 0, "signed with the user's own key"},
		{"by-digest", "", 0, "acts for"},
		{"njwt", "--njwt=acts_for", 0, "acts for"},
		{"njwt", "", 1, "is not valid"},
	} {
		t.Run(test.vector+test.more, func(t *testing.T) {
			var v struct {
				Token string   `json:"token"`
				Along []string `json:"along"`
				Now   int64    `json:"now"`
			}
			read(t, vectors+"vectors/"+test.vector+".json", &v)
			args := append([]string{"nested", "explain", "-", "--development", "--at", time.Unix(v.Now, 0).UTC().Format(time.RFC3339)}, flags...)
			if test.more != "" {
				args = append(args, test.more)
			}
			for i, token := range v.Along {
				file := filepath.Join(t.TempDir(), fmt.Sprint(i))
				if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				args = append(args, "--along", file)
			}
			cmd := exec.Command("issuer", args...)
			cmd.Stdin = strings.NewReader(v.Token + "\n")
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("issuer nested explain = %d\n%s\nwant %d and %q", code, out, test.code, test.want)
			}
		})
	}
}

// TestNestedExplainPeers names issuers in each way: a domain that names none now is no "no".
func TestNestedExplainPeers(t *testing.T) {
	t.Parallel()
	var v struct {
		Token string `json:"token"`
	}
	read(t, root+"/nested/testdata/vectors/acts-for.json", &v)
	keys := filepath.Join(t.TempDir(), "keys.json")
	if err := os.WriteFile(keys, []byte(`{"keys":[]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		flags []string
		code  int
		want  string
	}{
		{[]string{"--peer", "localhost"}, 3, "cannot be checked now"}, // nothing answers there
		{[]string{"--peer", "example.com="}, 2, `--peer example.com= names no URL`},
		{[]string{"--peer", "example.com", "--jwks", keys}, 2, "write --peer example.com=URL"},
		{[]string{"--peer", "example.com", "--peer", "example.com=https://im-id.example.com"}, 2, "example.com is listed without an issuer"},
	} {
		cmd := exec.Command("issuer", append([]string{"nested", "explain", "-", "--development"}, test.flags...)...)
		cmd.Stdin = strings.NewReader(v.Token)
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState == nil {
			t.Fatal(err)
		}
		if code := cmd.ProcessState.ExitCode(); code != test.code || !strings.Contains(string(out), test.want) {
			t.Errorf("issuer nested explain %q = %d\n%s\nwant %d and %q", test.flags, code, out, test.code, test.want)
		}
	}
}

// TestNestedExplainAsks explains a token with the keys that its issuer publishes.
func TestNestedExplainAsks(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	var issuer string
	up := true
	mux := http.NewServeMux()
	answer := func(path string, body func() string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if !up {
				http.Error(w, "down", http.StatusServiceUnavailable)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, body())
		})
	}
	answer("/.well-known/oauth-authorization-server", func() string { return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, issuer, issuer+"/keys") })
	answer("/keys", func() string { return fmt.Sprintf(`{"keys":[{"kid":"1","use":"sig","alg":"ES256",%s]}`, jwk[1:]) })
	server := httptest.NewServer(mux)
	defer server.Close()
	issuer = server.URL
	now := time.Now().Truncate(time.Second)
	set := claims.Set{
		Issuer: issuer, Subject: "im:a11ce@example.com;id-type=user", Handle: "im:%40alice@example.com", Audience: []string{"im:example.com"},
		ClientID: "app", Scope: "im:handle", JTI: "1", IssuedAt: now, Expires: now.Add(time.Hour), JKT: strings.Repeat("A", 43),
	}
	token, err := jose.Sign(key, jose.ES256, []byte(`{"typ":"at+jwt","alg":"ES256","kid":"1"}`), set.AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	explain := func(code int, want string, flags ...string) {
		t.Helper()
		cmd := exec.Command("issuer", append([]string{"nested", "explain", "-", "--peer", "example.com=" + issuer}, flags...)...)
		cmd.Stdin = strings.NewReader(token)
		out, _ := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != code || !strings.Contains(string(out), want) {
			t.Errorf("issuer nested explain %q = %v\n%s\nwant %d and %q", flags, cmd.ProcessState, out, code, want)
		}
	}
	explain(0, "@alice@example.com", "--development")
	explain(2, "reserved_domain") // example.com is for development alone
	up = false
	explain(3, "cannot be checked now", "--development") // no "no"
}

func read(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}
