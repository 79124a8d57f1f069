package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/jose"
)

// Credentials proves each key with a nonce, and replaces a nonce that has expired once.
func TestCredentials(t *testing.T) {
	var keys []*dpop.Signer
	for range 3 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := dpop.NewSigner(key, "")
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, signer)
	}
	for name, test := range map[string]struct {
		stale   int // how many nonces the issuer does not accept
		answer  string
		want    []string
		refused string
	}{
		"good":                 {0, `{"credentials":[{"credential":"a"},{"credential":"b"}]}`, []string{"a", "b"}, ""},
		"a stale nonce":        {1, `{"credentials":[{"credential":"a"},{"credential":"b"}]}`, []string{"a", "b"}, ""},
		"stale nonces":         {2, `{"credentials":[{"credential":"a"},{"credential":"b"}]}`, nil, "invalid_nonce"},
		"too few credentials":  {0, `{"credentials":[{"credential":"a"}]}`, nil, "1 credentials for 2 keys"},
		"deferred":             {0, `{"transaction_id":"x","interval":5}`, nil, "0 credentials for 2 keys"},
		"no answer of a kind":  {0, `[]`, nil, "read the answer"},
		"too many credentials": {0, `{"credentials":[{"credential":"a"},{"credential":"b"},{"credential":"c"}]}`, nil, "3 credentials for 2 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			nonces, seen := 0, []string(nil)
			mux := http.NewServeMux()
			server := httptest.NewServer(mux)
			defer server.Close()
			say := func(w http.ResponseWriter, status int, text string) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				fmt.Fprint(w, text)
			}
			mux.HandleFunc("GET /.well-known/openid-credential-issuer/im", func(w http.ResponseWriter, _ *http.Request) {
				say(w, http.StatusOK, fmt.Sprintf(`{"credential_issuer":"%[1]s/im","credential_endpoint":"%[1]s/c","nonce_endpoint":"%[1]s/n"}`, server.URL))
			})
			mux.HandleFunc("POST /n", func(w http.ResponseWriter, _ *http.Request) {
				nonces++
				say(w, http.StatusOK, fmt.Sprintf(`{"c_nonce":"n%d"}`, nonces))
			})
			mux.HandleFunc("POST /c", func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				var request struct {
					ID     string `json:"credential_configuration_id"`
					Proofs struct{ JWT []string }
				}
				if err = errors.Join(err, json.Unmarshal(body, &request)); err != nil || request.ID != "im-device" ||
					r.Header.Get("Authorization") != "DPoP token" || len(request.Proofs.JWT) != 2 {
					t.Errorf("the request is %s, %v", body, err)
				}
				for i, text := range request.Proofs.JWT {
					proof, err := jose.ParseCompact(text, jose.Limits{})
					if err != nil || proof.Header.Typ != jose.TypeKeyProof {
						t.Errorf("key proof %d is %q, %v", i, text, err)
						continue
					}
					seen = append(seen, string(proof.Payload))
				}
				if nonces <= test.stale {
					say(w, http.StatusBadRequest, `{"error":"invalid_nonce"}`)
					return
				}
				say(w, http.StatusOK, test.answer)
			})
			meta, err := client.DiscoverCredentials(t.Context(), server.Client(), server.URL+"/im")
			if err != nil {
				t.Fatal(err)
			}
			app := client.Client{ID: "app", HTTP: server.Client()}
			got, err := app.Credentials(t.Context(), meta, client.CredentialRequest{Configuration: "im-device", AccessToken: "token", Keys: keys[:2]})
			if !slices.Equal(got, test.want) || (err == nil) != (test.refused == "") || err != nil && !strings.Contains(err.Error(), test.refused) {
				t.Errorf("Credentials = %q, %v, want %q, %q", got, err, test.want, test.refused)
			}
			for i, claims := range seen {
				for _, want := range []string{`"iss":"app"`, `"aud":"` + server.URL + `/im"`, fmt.Sprintf(`"nonce":"n%d"`, 1+i/2)} {
					if !strings.Contains(claims, want) {
						t.Errorf("key proof %d has the claims %s, want %s", i, claims, want)
					}
				}
			}
		})
	}
}

// DiscoverCredentials refuses the metadata of another issuer, and those without endpoints.
func TestDiscoverCredentials(t *testing.T) {
	var answer string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	}))
	defer server.Close()
	for text, want := range map[string]string{
		`{"credential_issuer":"https://other.example","credential_endpoint":"x","nonce_endpoint":"y"}`: "another issuer's",
		`{"credential_issuer":"` + server.URL + `","credential_endpoint":"x"}`:                         "no endpoints",
		`{"credential_issuer":"` + server.URL + `","nonce_endpoint":"x"}`:                              "no endpoints",
	} {
		answer = text
		if _, err := client.DiscoverCredentials(t.Context(), server.Client(), server.URL); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("DiscoverCredentials of %s = %v, want %q", text, err, want)
		}
	}
}
