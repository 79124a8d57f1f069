package server_test

import (
	"net/http"
	"strings"
	"testing"
)

// TestForwardedCounted holds that an operator can see whether the issuer believes her proxy.
func TestForwardedCounted(t *testing.T) {
	for name, test := range map[string]struct {
		trusted string
		want    []string
	}{
		"nobody is trusted":  {"", []string{`{outcome="ignored"} 1`}},
		"others are trusted": {"trusted_proxies: [10.0.0.0/8]", []string{`{outcome="ignored"} 1`}},
		"who asks is":        {"trusted_proxies: [10.0.0.0/8, 127.0.0.0/8]", []string{`{outcome="believed"} 1`, `{outcome="missing"} `}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]string{"more": test.trusted})
			req := s.request(t, http.MethodGet, "/nonce", "")
			req.Header.Set("X-Forwarded-For", "198.51.100.7")
			s.send(t, s.http, req)
			s.get(t, "/nonce")
			text := s.get(t, s.admin+"/metrics").body
			for _, want := range test.want {
				if !strings.Contains(text, "\nissuer_forwarded_total"+want) {
					t.Errorf("metrics without issuer_forwarded_total%s", want)
				}
			}
			if got := strings.Count(text, "\nissuer_forwarded_total{"); got != 4 {
				t.Errorf("metrics have %d outcomes, want all 4", got)
			}
			zero := 0
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "issuer_forwarded_total{") && strings.HasSuffix(line, " 0\n") {
					zero++
				}
			}
			if counted := 4 - zero; counted != len(test.want) {
				t.Errorf("metrics count %d outcomes, want %d", counted, len(test.want))
			}
		})
	}
}
