package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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
	"github.com/imidentity/issuer/statuslist"
)

// A listSigner signs status lists by the key 1.
type listSigner struct{ *ecdsa.PrivateKey }

func (s listSigner) Sign(typ string, claims []byte) (string, error) {
	return jose.Sign(s.PrivateKey, jose.ES256, []byte(`{"typ":"`+typ+`","alg":"ES256","kid":"1"}`), claims)
}

// TestNestedExplainStatus explains tokens that refer to a status list: the command looks at the list, and tells "revoked" from "cannot
// know".
func TestNestedExplainStatus(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, fmt.Appendf(nil, `{"keys":[{"kid":"1","alg":"ES256",%s]}`, jwk[1:]), 0o600); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Second)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	mux.HandleFunc("/status/1", func(w http.ResponseWriter, r *http.Request) {
		list, err := statuslist.New(1, 16)
		if err == nil {
			err = list.Set(7, statuslist.Invalid)
		}
		if err != nil {
			t.Error(err)
			return
		}
		token := statuslist.Token{Issuer: server.URL, Subject: server.URL + r.URL.Path, IssuedAt: now, Expires: now.Add(time.Hour), List: list}
		signed, err := token.Sign(listSigner{key})
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, signed)
	})
	for name, test := range map[string]struct {
		index uint64
		path  string
		code  int
		want  string
	}{
		"valid":   {6, "/status/1", 0, "@alice@example.com"},
		"invalid": {7, "/status/1", 1, "revoked"},
		"outside": {16, "/status/1", 3, "the index is outside the list"},
		"missing": {6, "/status/2", 3, "the list cannot be fetched"},
	} {
		t.Run(name, func(t *testing.T) {
			set := claims.Set{
				Issuer: server.URL, Subject: "im:a11ce@example.com;id-type=user", Handle: "im:%40alice@example.com",
				Audience: []string{"im:example.com"}, ClientID: "app", Scope: "im:handle", JTI: "1", IssuedAt: now, Expires: now.Add(time.Hour),
				JKT: strings.Repeat("A", 43), Status: &claims.Status{Index: test.index, URI: server.URL + test.path},
			}
			token, err := listSigner{key}.Sign("at+jwt", set.AppendJSON(nil))
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("issuer", "nested", "explain", "-", "--peer", "example.com="+server.URL, "--jwks", keys, "--development")
			cmd.Stdin = strings.NewReader(token)
			out, _ := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != test.code || !strings.Contains(string(out), test.want) {
				t.Errorf("issuer nested explain = %v\n%s\nwant %d and %q", cmd.ProcessState, out, test.code, test.want)
			}
		})
	}
}
