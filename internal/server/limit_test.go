package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// ownWeb is a login of the operator's own app in the web, for which users are not asked for consent.
func ownWeb(d *device) url.Values {
	change := url.Values{"client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}}
	if d != nil {
		change.Set("dpop_jkt", d.JKT())
	}
	return change
}

// removeAt submits the form about the device limit.
func (s *site) removeAt(t *testing.T, b *browser.Browser, state, decision string, ids ...string) answer {
	t.Helper()
	form := url.Values{"state": {state}, "decision": {decision}}
	for _, id := range ids {
		form.Set("remove."+id, "yes")
	}
	req := s.request(t, http.MethodPost, "/login/consent", form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.send(t, b.Client(), req)
}

// webCode returns the code of an answer that leads to the app in the web.
func webCode(t *testing.T, a answer) string {
	t.Helper()
	to, err := a.to()
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), "https://web.example.com/callback?") || !to.Query().Has("code") {
		t.Fatalf("answer = %v to %v, want the app with a code", a, to)
	}
	return to.Query().Get("code")
}

func webForm(code string) url.Values {
	return codeForm(code, url.Values{"redirect_uri": {"https://web.example.com/callback"}})
}

// TestLimitRemoval holds that a user with as many devices as allowed removes some in the login, after a confirmation, and that the login
// goes on.
func TestLimitRemoval(t *testing.T) {
	s := start(t, map[string]string{"devices": "3"})
	phone, tablet, laptop, next := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	bobs := s.login(t, newDevice(t), "bob")
	code := s.code(t, "alice", url.Values{"im_device_name": {"Phone <b>of</b> Alice"}, "im_device_platform": {"android"}})
	held := wantTokens(t, s.token(t, app, phone, codeForm(code, nil)))
	s.advance(t, time.Minute)
	hers := s.login(t, tablet, "alice")
	s.advance(t, time.Minute)
	other := s.login(t, laptop, "alice")
	s.advance(t, time.Minute)
	held = s.refreshedBy(t, app, phone, held) // now it is the tablet that was not seen for the longest time
	id := func(h tokens) string { return deviceOf(t, h).Device() }
	gone := func(h tokens) bool {
		d, err := s.store.Device(t.Context(), "example.com", id(h))
		return err != nil || !d.RemovedAt.IsZero()
	}

	b, page, state := s.atLimit(t, "alice", ownWeb(next))
	var listed []string
	for _, m := range regexp.MustCompile(`name="remove\.([0-9a-f]+)" value="yes"`).FindAllStringSubmatch(page.body, -1) {
		listed = append(listed, m[1])
	}
	if want := id(hers) + " " + id(other) + " " + id(held); strings.Join(listed, " ") != want {
		t.Errorf("devices of the page = %q, want %s", listed, want)
	}
	for _, want := range []string{"Phone <b>of</b> Alice", "Android with app, last used on", "Device without a name", "Other kind of device with app"} {
		if text := words(page); !strings.Contains(text, want) {
			t.Errorf("the page says %q, want %q in it", text, want)
		}
	}
	if strings.Contains(page.body, "Phone <b>") {
		t.Errorf("the page holds markup of others: %s", page.body)
	}

	// What names no device of hers asks again, and changes nothing.
	for _, decision := range []string{"choose", "remove"} {
		for _, ids := range [][]string{nil, {"none"}, {id(bobs)}, {strings.Repeat("f", 300)}} {
			a := s.removeAt(t, b, state, decision, ids...)
			if a.status != http.StatusConflict || !strings.Contains(words(a), "Choose at least one device.") {
				t.Errorf("%s of %q = %v, want the page once more", decision, ids, a)
			}
		}
	}
	many := make([]string, 101)
	for i := range many {
		many[i] = strings.Repeat("f", i+1)
	}
	wantPage(t, s.removeAt(t, b, state, "remove", many...), http.StatusBadRequest)
	wantPage(t, s.removeAt(t, b, state, "Remove", id(hers)), http.StatusBadRequest)
	wantPage(t, s.removeAt(t, s.browser(), state, "remove", id(hers)), http.StatusForbidden)
	wantPage(t, s.removeAt(t, b, strings.Repeat("A", 43), "remove", id(hers)), http.StatusBadRequest)

	// She chooses two, and is asked whether she means it.
	a := s.removeAt(t, b, state, "choose", id(hers), id(other), id(bobs))
	text := words(a)
	if a.status != http.StatusOK || !strings.Contains(text, "Remove these devices?") || strings.Contains(a.body, id(held)) || strings.Contains(a.body, id(bobs)) {
		t.Errorf("answer = %v, want the question about two devices of hers", a)
	}
	if gone(held) || gone(hers) || gone(other) || gone(bobs) {
		t.Fatal("a device was removed without a confirmation")
	}
	events := s.audited(func() { a = s.removeAt(t, b, state, "remove", id(hers), id(other)) })
	code = webCode(t, a)
	if again := s.removeAt(t, b, state, "remove", id(other), id(hers)); webCode(t, again) != code {
		t.Errorf("the second click = %v, want the same code", again)
	}
	removals := 0
	for _, e := range events {
		if strings.HasPrefix(e, "event=device.removed actor=user ") && strings.Contains(e, "client="+webApp.id) {
			removals++
		}
	}
	if removals != 2 || gone(held) || !gone(hers) || !gone(other) {
		t.Errorf("events = %q, want the two devices removed", events)
	}
	for d, h := range map[*device]tokens{tablet: hers, laptop: other} {
		s.wantInactive(t, h.access)
		wantError(t, s.token(t, app, d, refreshForm(h.refresh)), http.StatusBadRequest, "invalid_grant")
	}
	s.wantAlive(t, phone, held)
	wantTokens(t, s.token(t, webApp, next, webForm(code)))
	wantPage(t, s.removeAt(t, b, state, "remove", id(held)), http.StatusBadRequest)
	if gone(held) {
		t.Error("a login that was over removed a device")
	}
}

// TestLimitRemovalAsksConsent holds that a user who removed a device is still asked for consent where that is needed, and that a device
// whose place was taken meanwhile gets no session.
func TestLimitRemovalAsksConsent(t *testing.T) {
	s := start(t, map[string]string{"devices": "1"})
	held := s.login(t, newDevice(t), "alice")
	b, _, state := s.atLimit(t, "alice", url.Values{"dpop_jkt": {newDevice(t).JKT()}})
	codes := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes")
	a := s.removeAt(t, b, state, "remove", deviceOf(t, held).Device())
	to, err := a.to()
	if err != nil || !strings.HasPrefix(to.String(), s.issuer+"/login/consent?") {
		t.Fatalf("answer = %v to %v, want the page that asks for consent", a, to)
	}
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM codes"); n != codes {
		t.Errorf("%d codes were made before consent", n-codes)
	}
	page := s.send(t, b.Client(), s.request(t, http.MethodGet, to.String(), ""))
	if !strings.Contains(words(page), "to act as you?") {
		t.Errorf("page = %v, want the question", page)
	}
	s.login(t, newDevice(t), "alice") // takes the place
	page = s.send(t, b.Client(), s.request(t, http.MethodGet, to.String(), ""))
	if !strings.Contains(words(page), "Device limit reached") {
		t.Errorf("page = %v, want the limit once more", page)
	}
}

// TestLimitRemovalRaced lets two logins take the place of one device: each gets a code, and the transaction that redeems it decides.
func TestLimitRemovalRaced(t *testing.T) {
	s := start(t, map[string]string{"devices": "1"})
	held := s.login(t, newDevice(t), "alice")
	keys := []*device{newDevice(t), newDevice(t)}
	states, browsers := make([]string, 2), make([]*browser.Browser, 2)
	for i, d := range keys {
		browsers[i], _, states[i] = s.atLimit(t, "alice", ownWeb(d))
	}
	next := make(chan int, 2)
	next <- 0
	next <- 1
	codes := make([]string, 2)
	parallel(2, func() answer {
		i := <-next
		a := s.removeAt(t, browsers[i], states[i], "remove", deviceOf(t, held).Device())
		if to, err := a.to(); err == nil {
			codes[i] = to.Query().Get("code")
		}
		next <- i
		return a
	})
	won := 0
	for _, a := range parallel(2, func() answer {
		i := <-next
		return s.token(t, webApp, keys[i], webForm(codes[i]))
	}) {
		switch {
		case a.status == http.StatusOK:
			won++
		case a.status != http.StatusBadRequest || a.text("error") != "invalid_grant" || !strings.Contains(a.text("error_description"), "as many devices"):
			t.Errorf("answer = %v, want a session or the limit", a)
		}
	}
	if won != 1 {
		t.Errorf("%d devices took one place, want one", won)
	}
}

// TestLimitRemovalFailsHalfway holds that a failure after the first of two removals is not told as one that changed nothing, and that the
// same request goes on.
func TestLimitRemovalFailsHalfway(t *testing.T) {
	s := start(t, map[string]string{"devices": "2"})
	one, two := deviceOf(t, s.login(t, newDevice(t), "alice")).Device(), deviceOf(t, s.login(t, newDevice(t), "alice")).Device()
	b, _, state := s.atLimit(t, "alice", ownWeb(newDevice(t)))
	gone := func(id string) bool {
		d, err := s.store.Device(t.Context(), "example.com", id)
		return err != nil || !d.RemovedAt.IsZero()
	}
	s.faults.set("UpdateDevice")
	a := s.removeAt(t, b, state, "remove", one, two)
	if wantPage(t, a, http.StatusServiceUnavailable); !strings.Contains(words(a), "nothing was changed") || gone(one) || gone(two) {
		t.Errorf("answer = %q, want that nothing was changed", words(a))
	}
	s.faults.set("")
	s.faults.beforeUpdate(func() { s.faults.beforeUpdate(func() { s.faults.set("UpdateDevice") }) })
	a = s.removeAt(t, b, state, "remove", one, two)
	if wantPage(t, a, http.StatusServiceUnavailable); gone(one) == gone(two) {
		t.Fatalf("devices are gone: %v and %v, want one", gone(one), gone(two))
	}
	if text := words(a); strings.Contains(text, "nothing was changed") || !strings.Contains(text, "Some of the devices that you chose are removed already") {
		t.Errorf("answer = %q, want that a device is gone", text)
	}
	s.faults.set("InsertCode") // all devices are gone, and the login does not go on
	a = s.removeAt(t, b, state, "remove", one, two)
	if wantPage(t, a, http.StatusServiceUnavailable); !strings.Contains(words(a), "removed already") || !gone(one) || !gone(two) {
		t.Errorf("answer = %q, want that devices are gone", words(a))
	}
	s.faults.set("")
	webCode(t, s.removeAt(t, b, state, "remove", one, two))
}

// removingAtLimit is a login in which a user removes a device.
func removingAtLimit(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "limited"))
	held := s.login(t, newDevice(t), "alice")
	d := newDevice(t)
	b, _, state := s.atLimit(t, "alice", ownWeb(d))
	id := deviceOf(t, held).Device()
	return []step{
		{
			name: "choice", page: true, ask: func() answer { return s.removeAt(t, b, state, "choose", id) },
			good: func(a answer) { wantStatus(t, a, http.StatusOK) },
		},
		{
			name: "removal", page: true, ask: func() answer { return s.removeAt(t, b, state, "remove", id) },
			good: func(a answer) { webCode(t, a) },
		},
	}
}
