package server_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

// TestReloadPeers holds that a peer which is suspended or gone is believed no more from then on, and again when it is back.
func TestReloadPeers(t *testing.T) {
	w := startWorld(t, nil)
	phone := newDevice(t)
	alice := w.account(t, phone, "alice")
	member := w.school.states(t, nested.TypeMember, aTeam, w.issuer, func(s *nested.Statement) { s.Party = alice.set.Subject })
	e := embedding{c: accounts, d: phone, subject: alice.access, inside: []inside{{rel: "member_of", token: member}}}
	embedded := func(good bool) {
		t.Helper()
		if a := w.ask(t, e); (a.status == http.StatusOK) != good || !good && a.status != http.StatusBadRequest {
			t.Errorf("embedding = %v, want it good: %t", a, good)
		}
	}
	embedded(true)
	token := w.ask(t, e).text("access_token")
	w.wantActive(t, token)
	peers := w.fill["peers"]
	for name, without := range map[string]string{
		"suspended": strings.Replace(peers, "domain: school.example,", "domain: school.example, suspended: true,", 1),
		"gone":      "",
	} {
		w.reload(t, map[string]string{"peers": without})
		embedded(false)
		if a := w.introspect(t, peer, token); a.status != http.StatusOK || a.json["active"] != false {
			t.Errorf("%s: introspection = %v, want inactive", name, a)
		}
		w.reload(t, map[string]string{"peers": peers})
		embedded(true)
		w.wantActive(t, token)
	}
}

// TestReloadLimits holds that limits are those of the settings that came last.
func TestReloadLimits(t *testing.T) {
	s := start(t, nil)
	ask := func() int { return s.token(t, peer, newDevice(t), serviceForm).status }
	if status := ask(); status != http.StatusOK {
		t.Fatalf("status = %d, want 200", status)
	}
	s.advance(t, time.Minute) // nothing is owed from before
	s.reload(t, map[string]string{"limits": ", per_client: 1/1m"})
	last := 0
	for range 3 {
		last = ask()
	}
	if last != http.StatusTooManyRequests {
		t.Errorf("status = %d, want 429", last)
	}
	s.advance(t, time.Minute)
	s.reload(t, map[string]string{"limits": ""})
	if status := ask(); status != http.StatusOK {
		t.Errorf("status = %d, want 200 again", status)
	}
}
