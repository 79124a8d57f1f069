package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestReviewE3ForwardedWithPorts: behind a proxy each client has limits of its own, however the proxy writes addresses.
func TestReviewE3ForwardedWithPorts(t *testing.T) {
	s := start(t, limits("3/30s", "off", "off"))
	s.freeze(t)
	send := func(field, value string) answer {
		req := s.request(t, http.MethodPost, "/token", "")
		req.Header.Set(field, value)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return s.send(t, s.http, req)
	}
	for i, test := range []struct{ field, one, other string }{
		{"X-Forwarded-For", "203.0.113.1:%d", "203.0.113.2:%d"},
		{"X-Forwarded-For", "[2001:db8:0:1::1]:%d", "[2001:db8:0:2::1]:%d"},
		{"X-Forwarded-For", "198.51.100.9, 203.0.113.3:%d, 127.0.0.2:1", "198.51.100.9, 203.0.113.4:%d, 127.0.0.2:1"},
		{"Forwarded", `for="203.0.113.5:%d"`, `for="203.0.113.6:%d"`},
		{"Forwarded", `for="[2001:db8:0:3::1]:%d";proto=https`, `for="[2001:db8:0:4::1]:%d";proto=https`},
	} {
		for port := range 3 {
			if a := send(test.field, fmt.Sprintf(test.one, 40001+port)); a.status != http.StatusBadRequest {
				t.Fatalf("%d: answer = %v, want 400: no other client has the address", i, a)
			}
		}
		wantLimited(t, send(test.field, fmt.Sprintf(test.one, 40009)), false)
		if a := send(test.field, fmt.Sprintf(test.other, 40001)); a.status != http.StatusBadRequest {
			t.Errorf("%d: answer to another client = %v, want 400", i, a)
		}
	}
	for _, node := range []string{"unknown", "_hidden:40001"} { // these cannot be told apart, and the operator can see it
		send("X-Forwarded-For", node)
		send("Forwarded", "for="+strings.ReplaceAll(node, ":", "_"))
	}
	if text := s.get(t, s.admin+"/metrics").body; !strings.Contains(text, `issuer_forwarded_total{outcome="unreadable"} 4`+"\n") {
		t.Error("metrics do not count 4 unreadable headers")
	}
}
