package server_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// TestMetrics holds that what operators watch is counted, on the admin listener alone, and that nothing there is of a
// client's choosing.
func TestMetrics(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	proof, err := d.Proof(dpop.ProofParams{
		Method: http.MethodPost, URL: s.issuer + "/token", Nonce: s.nonce(t), IssuedAt: s.clock.now().Add(48 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	form := refreshForm(held.refresh)
	form.Set("client_id", app.id)
	a := s.post(t, "/token", form, http.Header{"Dpop": {proof}})
	wantError(t, a, http.StatusBadRequest, "invalid_dpop_proof")
	if now, ok := a.json["server_time"].(float64); !ok || now < float64(s.clock.now().Add(-time.Minute).Unix()) {
		t.Errorf("server_time = %v, want the server's time", a.json["server_time"])
	}
	if !strings.Contains(a.text("error_description"), "ahead of the server") {
		t.Errorf("error_description = %q, want the offset in words", a.text("error_description"))
	}
	wantError(t, s.post(t, "/token", form, http.Header{"Dpop": {proof}, "X-Secret": {"x"}}), http.StatusBadRequest, "invalid_dpop_proof")
	s.send(t, s.http, s.request(t, "SECRETMETHOD", "/token", ""))
	s.get(t, "/secret-path")

	text := s.get(t, s.admin+"/metrics").body
	for _, want := range []string{
		`issuer_requests_total\{method="POST",route="/token",status="200"\} 1`,
		`issuer_requests_total\{method="POST",route="/token",status="400"\} 2`,
		`issuer_requests_total\{method="other",route="/token",status="405"\} 1`,
		`issuer_requests_total\{method="GET",route="none",status="404"\} 1`,
		`issuer_proofs_refused_total\{part="iat"\} 2`,
		`issuer_clock_offset_seconds_count 2`,
		`issuer_request_seconds_count\{route="/token"\} 4`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("metrics without %s", want)
		}
	}
	for _, secret := range []string{"SECRETMETHOD", "secret-path"} {
		if strings.Contains(text, secret) {
			t.Errorf("metrics hold %q", secret)
		}
	}
	if a := s.get(t, "/metrics"); a.status != http.StatusNotFound {
		t.Errorf("GET /metrics in public = %v, want 404", a)
	}
}
