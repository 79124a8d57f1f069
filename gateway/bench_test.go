package gateway_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/gateway"
)

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

// A traffic is the requests of a benchmark, with the measure for their cost: V, a bare P-256 verification.
type traffic struct {
	*world
	seen      bool
	devices   []*device
	tokens    []string
	next      int
	key       *ecdsa.PrivateKey
	digest    [sha256.Size]byte
	signature []byte
}

func newTraffic(b *testing.B, seen bool, devices int) *traffic {
	b.Helper()
	s := &traffic{world: newWorld(b), seen: seen, key: newKey(b), digest: sha256.Sum256([]byte("payload"))}
	for i := range devices {
		s.devices = append(s.devices, newDevice(b, fmt.Sprint("u", i)))
		s.tokens = append(s.tokens, s.a.issue(b, s.devices[i]))
		if seen {
			want(b, s.ask(b, s.devices[i], s.tokens[i], nil), gateway.ReasonAllowed)
		}
	}
	var err error
	if s.signature, err = ecdsa.SignASN1(rand.Reader, s.key, s.digest[:]); err != nil {
		b.Fatal(err)
	}
	for range 40 { // tables are made within them
		r := s.request(b)
		want(b, s.Decide(b.Context(), r, nil), gateway.ReasonAllowed)
	}
	return s
}

// request returns the next request.
func (s *traffic) request(b *testing.B) gateway.Request {
	b.Helper()
	i := s.next % len(s.devices)
	s.next++
	if !s.seen {
		s.tokens[i] = s.a.issue(b, s.devices[i])
	}
	return s.world.request(b, s.devices[i], "GET", s.tokens[i])
}

// verify is V.
func (s *traffic) verify(b *testing.B) {
	if !ecdsa.VerifyASN1(&s.key.PublicKey, s.digest[:], s.signature) {
		b.Fatal("the bare signature does not verify")
	}
}

// median returns the middle of the times: a few that other programs on the machine have made long do not count.
func median(times []time.Duration) float64 {
	slices.Sort(times)
	return float64(times[len(times)/2])
}

// timed returns how long fn takes.
func timed(fn func()) time.Duration {
	began := time.Now()
	fn()
	return time.Since(began)
}

// BenchmarkDecide decides about requests with a new proof and, in the same run, verifies bare signatures. It reports how many
// verifications a decision costs: the goals are 1.35 for a token that was seen before, and 2.8 for a new one, beside the HTTP request.
func BenchmarkDecide(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			s := newTraffic(b, c.seen, c.devices)
			var decide, verify []time.Duration
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				r := s.request(b)
				verify = append(verify, timed(func() { s.verify(b) }))
				b.StartTimer()
				decide = append(decide, timed(func() {
					if d := s.Decide(b.Context(), r, nil); d.Reason != gateway.ReasonAllowed || d.Seen != c.seen {
						b.Fatal(d.Reason, d.Explanation, d.Seen)
					}
				}))
			}
			b.ReportMetric(median(decide)/median(verify), "x-bare-verify")
		})
	}
}

// BenchmarkGuard sends requests to a handler behind a guard and, in the same run, the same ones to the bare handler, H, and verifies bare
// signatures. It reports what the guard adds to H, in verifications.
func BenchmarkGuard(b *testing.B) {
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			s := newTraffic(b, c.seen, c.devices)
			hello := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
			guard, err := gateway.NewGuard(gateway.GuardConfig{Verifier: s.Verifier, PublicURL: "https://chat.a.example"})
			if err != nil {
				b.Fatal(err)
			}
			protect, err := guard.Middleware(nil)
			if err != nil {
				b.Fatal(err)
			}
			bare, guarded := httptest.NewServer(hello), httptest.NewServer(protect(hello))
			defer bare.Close()
			defer guarded.Close()
			client := &http.Client{Transport: &http.Transport{}}
			send := func(server *httptest.Server, r gateway.Request) {
				request, err := http.NewRequest(r.Method, server.URL+"/rooms/1", nil)
				if err != nil {
					b.Fatal(err)
				}
				request.Header["Authorization"], request.Header["Dpop"] = r.Authorization, r.DPoP
				answer, err := client.Do(request)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
				if answer.StatusCode != http.StatusOK {
					b.Fatal(answer.Status, answer.Header)
				}
			}
			var floor, all, verify []time.Duration
			for b.Loop() {
				b.StopTimer()
				r := s.request(b)
				floor = append(floor, timed(func() { send(bare, r) }))
				verify = append(verify, timed(func() { s.verify(b) }))
				b.StartTimer()
				all = append(all, timed(func() { send(guarded, r) }))
			}
			b.ReportMetric((median(all)-median(floor))/median(verify), "x-bare-verify")
			b.ReportMetric(median(floor)/median(verify), "H/V")
		})
	}
}
