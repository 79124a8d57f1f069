package forwardauth_test

import (
	"net/http"
	"testing"

	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/gateway/forwardauth"
	"github.com/imidentity/issuer/internal/jose"
)

// discard is a response that nobody reads.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkAnswer is the answer to a question about a token that was seen before, with a new proof: without HTTP.
func BenchmarkAnswer(b *testing.B) {
	w := newWorld(b, forwardauth.Nginx)
	token := w.token(b, nil)
	questions := make([]*http.Request, b.N)
	for i := range questions {
		questions[i] = question(forwardauth.Nginx, "GET", "https", "chat.a.example", "/rooms/7")
		w.sign(b, questions[i], token, "GET", chat+"/rooms/7")
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, q := range questions {
		a := w.handler.Ask(q)
		if a.Decision.Outcome != gateway.Allowed {
			b.Fatal(a.Decision.Reason)
		}
		a.Write(&discard{make(http.Header)})
	}
}

// BenchmarkIdentity signs an identity.
func BenchmarkIdentity(b *testing.B) {
	s := newSigner(b, ecKey(b))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Sign(&alice, "rooms", rooms); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSignature is the signature in [BenchmarkIdentity].
func BenchmarkSignature(b *testing.B) {
	key := ecKey(b)
	payload := make([]byte, 600)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := jose.Sign(key, jose.ES256, []byte(`{"typ":"im-identity+jwt","alg":"ES256"}`), payload); err != nil {
			b.Fatal(err)
		}
	}
}
