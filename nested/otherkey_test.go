package nested_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/trust"
)

// An issuer that has put a new key under an old kid is believed as soon as its keys are fetched again. A failing signature
// makes that happen at most once a minute, and is called bad only by keys that were fetched for it.
func TestReviewE6SignatureRefetches(t *testing.T) {
	var key atomic.Pointer[signer]
	var asked atomic.Int32
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": server.URL, "jwks_uri": server.URL + "/jwks"})
	})
	mux.HandleFunc("GET /jwks", func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		jwk, err := jose.MarshalJWK(key.Load().key.Public())
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"keys":[{"kid":"k",` + string(jwk[1:]) + `]}`))
	})
	clock := now
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "school.example", Issuer: server.URL}}, Client: server.Client(), Development: true,
		Now: func() time.Time { return clock },
	})
	if err != nil {
		t.Fatal(err)
	}
	signedBy := func(name string) *signer {
		s := newSigner(server.URL, name)
		s.kid = "k"
		return s
	}
	old, replaced, thief := signedBy("old"), signedBy("replaced"), signedBy("thief")
	open := func(by *signer) error {
		o := options()
		o.Keys, o.Types = table, []string{nested.TypeMember}
		_, err := nested.Open(t.Context(), member(issuedBy(by), audience(verifier)), o)
		return err
	}
	wantAsked := func(n int32) {
		t.Helper()
		if got := asked.Load(); got != n {
			t.Errorf("asked %d times, want %d", got, n)
		}
	}
	key.Store(old)
	if err := open(old); err != nil {
		t.Fatal(err)
	}
	wantAsked(1)
	key.Store(replaced)
	if err := open(replaced); err != nil {
		t.Errorf("Open = %v by the new key under the old kid", err)
	}
	wantAsked(2)
	wantUnknown(t, open(thief), trust.ErrUnavailable)
	wantAsked(2)
	clock = clock.Add(time.Minute)
	wantRefused(t, "a thief", open(thief), "", nested.CodeSignature)
	wantAsked(3)
	if err := open(replaced); err != nil {
		t.Errorf("Open = %v after a thief", err)
	}
	clock = clock.Add(time.Minute)
	wantRefused(t, "the former key", open(old), "", nested.CodeSignature)
	wantAsked(4)
}
