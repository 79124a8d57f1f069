package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// keeping fills a retention into the settings. The sweep runs all the time.
func keeping(retention string) map[string]string {
	return map[string]string{"background": "fast", "more": "retention: {" + retention + "}"}
}

// laterKeeping starts the issuer again after some time, with a retention.
func (s *site) laterKeeping(t *testing.T, by time.Duration, retention string) {
	t.Helper()
	s.stop(t)
	s.clock.advance(by)
	maps.Copy(s.fill, keeping(retention))
	s.serve(t, listen(t, s.issuer[len("http://"):]), listen(t, s.admin[len("http://"):]))
	s.waitReady(t)
	s.swept(t)
}

// swept waits until two sweeps that began after this moment are over: each removes a row that has just expired.
func (s *site) swept(t *testing.T) {
	t.Helper()
	for n := range 2 {
		id := [32]byte{0xff, byte(n)}
		err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.InsertPushed(ctx, storage.Pushed{URI: id, ExpiresAt: s.clock.now().Add(-time.Minute)})
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 1000 {
			if _, err = s.store.Pushed(t.Context(), id); err == storage.ErrNotFound {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err != storage.ErrNotFound {
			t.Fatalf("no sweep has come: %v", err)
		}
	}
}

// endedSessions returns the ids and ends of the sessions of a user that ended, as operators are shown them.
func (s *site) endedSessions(t *testing.T, user string) map[string]string {
	t.Helper()
	a := s.operate(t, http.MethodGet, "/admin/sessions", url.Values{"domain": {"example.com"}, "user": {user}, "ended": {"true"}})
	wantStatus(t, a, http.StatusOK)
	var list []struct {
		SID       string `json:"sid"`
		EndedAt   string `json:"ended_at"`
		ExpiresAt string `json:"expires_at"`
		Reason    string `json:"ended_reason"`
	}
	if err := json.Unmarshal([]byte(a.body), &list); err != nil {
		t.Fatal(err)
	}
	ended := make(map[string]string)
	for _, e := range list {
		if e.EndedAt == "" || e.EndedAt != e.ExpiresAt {
			t.Errorf("session = %+v, want the end in both times", e)
		}
		ended[e.SID] = e.Reason
	}
	return ended
}

// exportOf returns the records of the export of a user, by table.
func (s *site) exportOf(t *testing.T, user string) map[string][]json.RawMessage {
	t.Helper()
	a := s.operate(t, http.MethodGet, "/admin/users/"+user+"/export", url.Values{"domain": {"example.com"}})
	wantStatus(t, a, http.StatusOK)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.text("export"), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		Records map[string][]json.RawMessage `json:"records"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims.Records
}

// TestRetentionOfSessions: a session that ended is shown until its time has come, by the setting of now, and is never taken for one that
// is live.
func TestRetentionOfSessions(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, keeping("sessions: 30d"))
	d, other, lazy := newDevice(t), newDevice(t), newDevice(t)
	held, gone, idle := s.login(t, d, "alice"), s.login(t, other, "alice"), s.login(t, lazy, "alice")
	user := deviceOf(t, held).Local()
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/sessions/example.com/"+gone.set.SID, url.Values{"reason": {"lost"}}), http.StatusOK)
	s.laterKeeping(t, 8*day, "sessions: 30d")
	held = s.refreshed(t, d, held.refresh) // lazy does not
	s.laterKeeping(t, 7*day, "sessions: 30d")
	check := func(when string, want ...string) {
		t.Helper()
		got := s.endedSessions(t, user)
		if len(got) != len(want)/2 {
			t.Errorf("%s: sessions that ended = %v, want %v", when, got, want)
		}
		for i := 0; i < len(want); i += 2 {
			if got[want[i]] != want[i+1] {
				t.Errorf("%s: sessions that ended = %v, want %v", when, got, want)
			}
		}
		if kept := s.exportOf(t, user)["ended_grants"]; len(kept) != len(want)/2 {
			t.Errorf("%s: the export has %s, want %d", when, kept, len(want)/2)
		}
		a := s.operate(t, http.MethodGet, "/admin/sessions", url.Values{"domain": {"example.com"}, "user": {user}})
		if strings.Count(a.body, `"sid"`) != 1 || !strings.Contains(a.body, held.set.SID) {
			t.Errorf("%s: live sessions = %s, want the one that was refreshed", when, a.body)
		}
	}
	check("15 days later", gone.set.SID, "lost", idle.set.SID, "expired")
	wantError(t, s.token(t, app, other, refreshForm(gone.refresh)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, app, lazy, refreshForm(idle.refresh)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.operate(t, http.MethodDelete, "/admin/sessions/example.com/"+gone.set.SID, nil), http.StatusNotFound, "not_found")
	s.wantInactive(t, gone.access)

	s.laterKeeping(t, 0, "sessions: 10d")
	check("with a shorter time", idle.set.SID, "expired")
	s.laterKeeping(t, 0, "sessions: 0s")
	check("with no time")
}

// TestRetentionOfEvents: an event is told until its time has come, by the setting of now.
func TestRetentionOfEvents(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, keeping("events: 3d"))
	d := newDevice(t)
	held := s.account(t, d, "alice")
	check := func(when string, want int) {
		t.Helper()
		own := s.forIssuer(t, d, held, "account")
		held.refresh = own.refresh
		if got := eventsIn(t, s.askMyEvents(t, d, own.access, "since=0")); len(got) != want {
			t.Errorf("%s: %d events, want %d: %q", when, len(got), want, got)
		}
	}
	s.laterKeeping(t, 3*day-time.Hour, "events: 3d")
	check("an hour before", 1)
	s.laterKeeping(t, 2*day, "events: 5d")
	check("an hour before, with a longer time", 1)
	s.laterKeeping(t, 0, "events: 4d")
	check("with a shorter time", 0)
	wantStatus(t, s.askMyEvents(t, d, s.forIssuer(t, d, held, "account").access, "since=1"), http.StatusOK) // its number is known
}

// TestRetentionOfDevices: a removed device is shown until its time has come, then nobody sees it any more; and its key never comes back.
func TestRetentionOfDevices(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, keeping("devices: 30d"))
	d, lost := newDevice(t), newDevice(t)
	held, gone := s.login(t, d, "alice"), s.login(t, lost, "alice")
	user, id := deviceOf(t, held).Local(), deviceOf(t, gone).Device()
	s.remove(t, gone.set.Device)
	shown := func() bool {
		t.Helper()
		a := s.operate(t, http.MethodGet, "/admin/devices", url.Values{"domain": {"example.com"}, "user": {user}})
		wantStatus(t, a, http.StatusOK)
		one := s.operate(t, http.MethodGet, "/admin/devices/example.com/"+id, nil)
		if in := strings.Contains(a.body, `"`+id+`"`); in != (one.status == http.StatusOK) {
			t.Errorf("in the list: %v, alone: %v", in, one)
		}
		return one.status == http.StatusOK
	}
	refused := func() {
		t.Helper()
		a := s.push(t, lost, nil)
		if wantError(t, a, http.StatusBadRequest, "invalid_request"); !strings.Contains(a.body, "The key belongs to another device") {
			t.Errorf("answer = %v, want a refusal of the key", a)
		}
		s.pushed(t, newDevice(t), nil)
	}
	if s.laterKeeping(t, 30*day-time.Hour, "devices: 30d"); !shown() {
		t.Error("the device is gone before its time")
	}
	refused()
	if s.laterKeeping(t, 60*day, "devices: never"); !shown() {
		t.Error("the device is gone where removed devices are kept")
	}
	if s.laterKeeping(t, 0, "devices: 31d"); shown() {
		t.Error("the device is shown after its time")
	}
	refused()
	records := s.exportOf(t, user)
	if left := fmt.Sprintf("%s", records["removed_keys"]); len(records["removed_keys"]) != 1 || !strings.Contains(left, `"`+id+`"`) {
		t.Errorf("removed keys in the export = %s, want one", left)
	}
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/erase", url.Values{"domain": {"example.com"}, "confirm": {"true"}}), http.StatusOK)
	left, err := s.store.PersonalRecords(t.Context(), "example.com", user)
	for _, r := range left {
		if err != nil || len(r.Rows) > 0 && r.Name != "audit" && r.Name != "revocations" {
			t.Errorf("after the erasure: %v, %v", r, err)
		}
	}
}

// TestRetentionOfNames: a former handle is known until its time has come, then nothing names it any more; and nobody takes it, not even the
// user who had it.
func TestRetentionOfNames(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, keeping("names: never"))
	held := s.login(t, newDevice(t), "alice")
	guest := s.login(t, newDevice(t), "bob")
	user, other := deviceOf(t, held).Local(), deviceOf(t, guest).Local()
	put := func(user, handle string) answer {
		t.Helper()
		return s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {handle}})
	}
	wantStatus(t, put(user, "Alexandra"), http.StatusOK)
	wantStatus(t, put(user, "alex"), http.StatusOK)
	release := func(handle string) answer {
		t.Helper()
		return s.operate(t, http.MethodDelete, "/admin/names", url.Values{"domain": {"example.com"}, "handle": {handle}})
	}
	wantStatus(t, put(other, "bobby"), http.StatusOK)
	wantStatus(t, release("bob"), http.StatusOK)
	known := func() string {
		t.Helper()
		return fmt.Sprintf("%s %s", s.exportOf(t, user)["names"], s.exportOf(t, other)["names"])
	}
	refused := func(handles ...string) {
		t.Helper()
		for _, handle := range handles {
			for _, u := range []string{user, other} {
				if a := put(u, handle); a.status == http.StatusOK {
					t.Errorf("%s took the former handle %s: %v", u, handle, a)
				}
			}
		}
	}
	s.laterKeeping(t, 30*day-time.Hour, "names: 30d")
	if list := known(); !strings.Contains(list, `"alice"`) || !strings.Contains(list, `"alexandra"`) || !strings.Contains(list, `"bob"`) {
		t.Errorf("names before their time = %s", list)
	}
	s.laterKeeping(t, 2*time.Hour, "names: 30d")
	if list := known(); strings.Contains(list, `"alice"`) || strings.Contains(list, `"alexandra"`) || strings.Contains(list, `"bob"`) ||
		!strings.Contains(list, `"alex"`) || !strings.Contains(list, `"bobby"`) {
		t.Errorf("names after their time = %s, want the present ones", list)
	}
	refused("alice", "ALICE", "аlice", "alexandra") // the third begins with a Cyrillic letter
	if a := release("alice"); a.status == http.StatusOK || !strings.Contains(a.body, "retention.names") {
		t.Errorf("release of a forgotten handle = %v, want a refusal", a)
	}
	wantStatus(t, put(other, "bob"), http.StatusOK) // it was released
	wantStatus(t, put(user, "lexi"), http.StatusOK)
	s.operate(t, http.MethodPost, "/admin/users/"+user+"/erase", url.Values{"domain": {"example.com"}, "confirm": {"true"}})
	if a := put(other, "alice"); a.status == http.StatusOK {
		t.Errorf("a former handle of a removed user was taken: %v", a)
	}
}

// TestRetentionOfAuditDetails: the values beside a record go when their time has come, and the record stays.
func TestRetentionOfAuditDetails(t *testing.T) {
	const day = 24 * time.Hour
	s := start(t, keeping("audit_details: never"))
	s.login(t, newDevice(t), "alice")
	beside := func() (all, with int) {
		t.Helper()
		for line := range strings.Lines(s.exported(t).body) {
			if strings.Contains(line, `"record":`) {
				if all++; strings.Contains(line, `"address":"127.0.0.1"`) {
					with++
				}
			}
		}
		return all, with
	}
	before, addresses := beside()
	if addresses == 0 {
		t.Fatal("no record has an address beside it")
	}
	s.laterKeeping(t, 3*day, "audit_details: 4d")
	if all, with := beside(); all < before || with != addresses {
		t.Errorf("%d of %d records have an address before its time, want %d of %d", with, all, addresses, before)
	}
	s.laterKeeping(t, 0, "audit: 3650d, audit_details: 2d")
	if all, with := beside(); all < before || with != 0 {
		t.Errorf("%d of %d records have an address after its time, want none of at least %d", with, all, before)
	}
}
