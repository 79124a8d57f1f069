package server_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// relink sends a file of moves in two.example.
func (s *site) relink(t *testing.T, file string, dry bool) answer {
	t.Helper()
	query := url.Values{"domain": {"two.example"}, "dry_run": {fmt.Sprint(dry)}}
	return s.send(t, s.http, s.request(t, http.MethodPost, s.admin+"/admin/links?"+query.Encode(), file))
}

// After a change of provider a person signs in at the new one and is the same user, with the same handle and device.
func TestReviewC3RelinkToNewProvider(t *testing.T) {
	s := start(t, withGuests)
	at := func(d *device, provider string) tokens {
		t.Helper()
		code := s.code(t, "alice", url.Values{"client_id": {twoApp.id}, "im_domain": {"two.example"}, "im_provider": {provider}})
		return wantTokens(t, s.token(t, twoApp, d, codeForm(code, nil)))
	}
	d := newDevice(t)
	first := at(d, "staff")
	move := fmt.Sprintf(`{"from": {"iss": %q, "sub": "dev-10021"}, "to": {"iss": %q, "sub": "dev-10021"}}`+"\n", s.provider.url, s.guests.url)
	for _, dry := range []bool{true, false} {
		a := s.relink(t, move, dry)
		wantStatus(t, a, http.StatusOK)
		if moves := a.json["moves"].([]any); len(moves) != 1 || a.json["dry_run"] != dry {
			t.Errorf("answer = %v, want one move", a)
		}
		_, err := s.store.LinkedUser(t.Context(), "two.example", s.guests.url, "dev-10021")
		if (err != nil) != dry {
			t.Errorf("after dry run %v: LinkedUser = %v", dry, err)
		}
	}
	if a := s.relink(t, move, false); a.status != http.StatusConflict || a.text("error") != "relink_refused" {
		t.Errorf("the same move again = %v, want 409 relink_refused", a)
	}
	again := at(d, "guests")
	if again.set.Subject != first.set.Subject || again.set.Handle != first.set.Handle || again.set.Device != first.set.Device {
		t.Errorf("login at the new provider = %s, %s, want %s, %s", again.set.Subject, again.set.Device, first.set.Subject, first.set.Device)
	}
	for _, file := range []string{
		"", "{}", "\n" + move, move + "\n", move[1:], strings.Replace(move, "from", "From", 1), `{"user": "", "to": {"iss": "a", "sub": "b"}}`,
		`{"from": {"iss": "a", "sub": "b"}}`, `{"from": {"iss": "a", "sub": "b"}, "to": {"iss": "a", "sub": "b"}, "user": "c"}`,
		`{"from": {"iss": "a", "sub": 1}, "to": {"iss": "a", "sub": "b"}}`, `{"user": "a", "to": {"iss": "a", "sub": ""}}`,
		`{"user": "a", "to": {"iss": "a", "sub": "` + strings.Repeat("b", 256) + `"}}`, `{"user": "a", "user": "b", "to": {"iss": "a", "sub": "b"}}`,
		`{"user": "a", "to": {"iss": "a", "sub": "b", "email": "c"}}`, move + move,
	} {
		if a := s.relink(t, file, false); a.status != http.StatusConflict && !(file == "" && a.status == http.StatusBadRequest) {
			t.Errorf("relink by %q = %v, want a refusal", file, a)
		}
	}
	if a := s.relink(t, move+`{"from"`, false); !strings.Contains(a.text("error_description"), "line 2:") {
		t.Errorf("answer = %v, want the number of the line", a)
	}
	wantStatus(t, s.relink(t, strings.Repeat(" ", 257<<10), false), http.StatusRequestEntityTooLarge)
}
