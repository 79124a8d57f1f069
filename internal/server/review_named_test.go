package server_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestReviewD5RefusalsNameTheValue holds that a refusal of a scope or a resource names it, cut short and in the characters of
// RFC 6749 §5.2.
func TestReviewD5RefusalsNameTheValue(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	refresh := func(name, value string) answer {
		form := refreshForm(held.refresh)
		form.Set(name, value)
		return s.token(t, app, d, form)
	}
	long := "https://rooms.example/" + strings.Repeat("x", 4000)
	for name, test := range map[string]struct {
		a    answer
		want string
	}{
		"scope at /par":      {s.push(t, nil, url.Values{"scope": {"im:handle everything"}}), "'everything'"},
		"resource at /par":   {s.push(t, nil, url.Values{"resource": {"https://peer.example.net"}}), "'https://peer.example.net'"},
		"scope at /token":    {refresh("scope", "introspect"), "'introspect'"},
		"resource at /token": {refresh("resource", "https://peer.example.net"), "'https://peer.example.net'"},
		"odd characters":     {s.push(t, nil, url.Values{"scope": {"a\"b\\c\x01ü"}}), "'a'b'c??'"},
		"long":               {s.push(t, nil, url.Values{"resource": {long}}), "'" + long[:80] + "...'"},
	} {
		t.Run(name, func(t *testing.T) {
			text := test.a.text("error_description")
			if test.a.status != http.StatusBadRequest || !strings.Contains(text, test.want) || len(text) > 400 {
				t.Errorf("answer = %v, want 400 and %s in the description", test.a, test.want)
			}
			for _, r := range text {
				if r < ' ' || r > '~' || r == '"' || r == '\\' {
					t.Errorf("error_description holds %q", r)
				}
			}
		})
	}
}
