package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/dpop"
)

// BenchmarkCredential issues credentials to 16 devices at once, each durable in SQLite. The time is that of all callers together for one
// credential. A device gets few credentials, so there are many devices: run it with -benchtime of at most 4000x.
func BenchmarkCredential(b *testing.B) {
	const callers, each = 16, 5
	h := newBench(b)
	verify, sign := floor(b)
	ask := func(method, path, body string, header http.Header) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		if header != nil {
			r.Header = header
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	proof := func(signer *dpop.Signer, method, path, token string) http.Header {
		text, err := signer.Proof(dpop.ProofParams{
			Method: method, URL: h.issuer + path, AccessToken: token, Nonce: ask(http.MethodGet, "/nonce", "", nil).Header().Get("DPoP-Nonce"),
		})
		if err != nil {
			b.Fatal(err)
		}
		return http.Header{"Authorization": {"DPoP " + token}, "Dpop": {text}, "Content-Type": {"application/json"}}
	}
	headers, bodies := make([]http.Header, 0, b.N+each), make([]string, 0, b.N+each)
	var device *dpop.Signer
	var token string
	for n := range b.N {
		if n%each == 0 {
			device = newSigner(b)
			token = h.login(b, device, url.Values{"scope": {"im:credential account"}, "resource": {h.issuer}}).AccessToken
			ask(http.MethodGet, "/me/links", "", proof(device, http.MethodGet, "/me/links", token)) // the issuer has seen the token
		}
		var nonce struct {
			Text string `json:"c_nonce"`
		}
		if err := json.Unmarshal(ask(http.MethodPost, "/credential/nonce", "", nil).Body.Bytes(), &nonce); err != nil {
			b.Fatal(err)
		}
		text, err := newSigner(b).KeyProof(dpop.KeyProofParams{Audience: h.issuer, Client: "app", Nonce: nonce.Text})
		if err != nil {
			b.Fatal(err)
		}
		headers = append(headers, proof(device, http.MethodPost, "/credential", token))
		bodies = append(bodies, fmt.Sprintf(`{"credential_configuration_id":"im-device","proofs":{"jwt":[%q]}}`, text))
	}
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for n := i; n < b.N; n += callers {
				if w := ask(http.MethodPost, "/credential", bodies[n], headers[n]); w.Code != http.StatusOK {
					b.Errorf("POST /credential = %d %s", w.Code, w.Body)
				}
			}
		})
	}
	wg.Wait()
	reportRatio(b, verify+sign)
}
