package gateway_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/gateway"
)

// verification measures a bare P-256 verification: V.
func verification(b *testing.B) time.Duration {
	b.Helper()
	key := newKey(b)
	digest := sha256.Sum256([]byte("payload"))
	signature, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	const n = 500
	began := time.Now()
	for range n {
		if !ecdsa.VerifyASN1(&key.PublicKey, digest[:], signature) {
			b.Fatal("the signature does not verify")
		}
	}
	return time.Since(began) / n
}

// cases are those of the benchmarks: whether the token was seen before, and how many devices there are. A device that sends many proofs
// has a table of its key.
var cases = []struct {
	name    string
	seen    bool
	devices int
}{
	{"seen before, new proof", true, 2000},
	{"seen before, new proof, busy device", true, 1},
	{"first sight", false, 2000},
}

// BenchmarkDecide decides about requests with a new proof. It reports how many verifications a decision costs, V: the goals are 1.35 for a
// token that was seen before and 2.8 for a new one, beside the bare HTTP request.
func BenchmarkDecide(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			devices := make([]*device, c.devices)
			tokens := make([]string, c.devices)
			for i := range devices {
				devices[i] = newDevice(b, fmt.Sprint("u", i))
				tokens[i] = w.a.issue(b, devices[i])
				if c.seen {
					w.ask(b, devices[i], tokens[i], nil)
				}
			}
			one := verification(b)
			var spent time.Duration
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; {
				b.StopTimer()
				var requests []gateway.Request // in parts, so that their nonces are good
				for ; len(requests) < 500 && n < b.N; n++ {
					i := n % len(devices)
					if !c.seen {
						tokens[i] = w.a.issue(b, devices[i])
					}
					requests = append(requests, w.request(b, devices[i], "GET", tokens[i]))
				}
				b.StartTimer()
				began := time.Now()
				for i := range requests {
					if d := w.Decide(b.Context(), requests[i], nil); d.Reason != gateway.ReasonAllowed || d.Seen != c.seen {
						b.Fatal(d.Reason, d.Explanation, d.Seen)
					}
				}
				spent += time.Since(began)
			}
			b.ReportMetric(float64(spent)/float64(b.N)/float64(one), "V/op")
		})
	}
}

// BenchmarkGuard sends requests to a handler behind a guard, and the same ones to the bare handler: H. It reports what the guard adds, in
// verifications.
func BenchmarkGuard(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			w := newWorld(b)
			hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
			bare := httptest.NewServer(hello)
			defer bare.Close()
			guard, err := gateway.NewGuard(gateway.GuardConfig{Verifier: w.Verifier, PublicURL: "https://chat.a.example"})
			if err != nil {
				b.Fatal(err)
			}
			protect, err := guard.Middleware(nil)
			if err != nil {
				b.Fatal(err)
			}
			server := httptest.NewServer(protect(hello))
			defer server.Close()
			client := &http.Client{Transport: &http.Transport{}}
			send := func(to string, r *http.Request) {
				r.URL.Host = to[len("http://"):]
				answer, err := client.Do(r)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					b.Fatal(answer.Status, answer.Header)
				}
			}
			devices := make([]*device, c.devices)
			tokens := make([]string, c.devices)
			for i := range devices {
				devices[i] = newDevice(b, fmt.Sprint("u", i))
				tokens[i] = w.a.issue(b, devices[i])
				if c.seen {
					w.ask(b, devices[i], tokens[i], nil)
				}
			}
			request := func(n int) *http.Request {
				i := n % len(devices)
				if !c.seen {
					tokens[i] = w.a.issue(b, devices[i])
				}
				proof, err := devices[i].Proof(dpop.ProofParams{
					Method: "GET", URL: chat, Nonce: w.nonce(b), AccessToken: tokens[i], IssuedAt: w.clock.now(),
				})
				if err != nil {
					b.Fatal(err)
				}
				r, err := http.NewRequest("GET", server.URL+"/rooms/1", nil)
				if err != nil {
					b.Fatal(err)
				}
				r.Header.Set("Authorization", "DPoP "+tokens[i])
				r.Header.Set("DPoP", proof)
				return r
			}
			one := verification(b)
			var guarded, floor time.Duration
			b.ResetTimer()
			for n := 0; n < b.N; {
				b.StopTimer()
				var requests []*http.Request
				for ; len(requests) < 500 && n < b.N; n++ {
					requests = append(requests, request(n))
				}
				began := time.Now()
				for _, r := range requests {
					send(bare.URL, r)
				}
				floor += time.Since(began)
				b.StartTimer()
				began = time.Now()
				for _, r := range requests {
					send(server.URL, r)
				}
				guarded += time.Since(began)
			}
			b.ReportMetric(float64(guarded-floor)/float64(b.N)/float64(one), "V/op")
			b.ReportMetric(float64(floor)/float64(b.N)/float64(one), "H/V")
		})
	}
}
