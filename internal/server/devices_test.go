package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/storage"
)

// devicesOf returns the devices that a user sees, over all pages of a size, by their ids.
func (s *site) devicesOf(t *testing.T, d *device, own string, limit int) map[string]object {
	t.Helper()
	list := make(map[string]object)
	for path := fmt.Sprintf("/me/devices?limit=%d", limit); path != ""; {
		page, next := s.devicesPage(t, d, own, path)
		if len(page) > limit {
			t.Errorf("a page has %d devices, want at most %d", len(page), limit)
		}
		for _, v := range page {
			id, _ := v["id"].(string)
			if list[id] != nil {
				t.Errorf("device %s is listed twice", id)
			}
			list[id] = v
		}
		path = next
	}
	return list
}

// devicesPage returns one page of the devices of a user, and the path of the next one.
func (s *site) devicesPage(t *testing.T, d *device, own, path string) (page []object, next string) {
	t.Helper()
	plain, _, _ := strings.Cut(path, "?")
	req := s.request(t, http.MethodGet, path, "")
	req.Header.Set("Authorization", "DPoP "+own)
	req.Header.Set("DPoP", s.proofFor(t, d.Signer, http.MethodGet, plain, s.nonce(t), own))
	a := s.send(t, s.http, req)
	wantStatus(t, a, http.StatusOK)
	decode(t, []byte(a.body), &page)
	link, ok := strings.CutSuffix(a.header.Get("Link"), `>; rel="next"`)
	if ok {
		next = strings.TrimPrefix(link, "<"+s.issuer)
	}
	return page, next
}

// TestDevices holds what a user sees of their devices, and what they can do with them.
func TestDevices(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs, laptop := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	code := s.code(t, "alice", url.Values{"im_device_name": {"Tablet of Alice"}})
	hers := wantTokens(t, s.token(t, app, tablet, codeForm(code, nil)))
	other, his := s.login(t, laptop, "alice"), s.account(t, bobs, "bob")
	s.advance(t, 30*time.Hour)
	wantStatus(t, s.revoke(t, app, hers.refresh), http.StatusOK)
	now := s.refreshedBy(t, accounts, phone, held)
	own := s.forIssuer(t, phone, now, "account").access
	id := func(h tokens) string { return deviceOf(t, h).Device() }
	said := func(day string) object { return object{"day": day, "provider": "dev", "amr": []string{"pwd"}} }
	first, today := s.clock.now().Add(-30*time.Hour).UTC().Format(time.DateOnly), s.clock.now().UTC().Format(time.DateOnly)
	for _, limit := range []int{1, 2, 3, 50} {
		list := s.devicesOf(t, phone, own, limit)
		if len(list) != 3 {
			t.Fatalf("devices in pages of %d = %v, want three", limit, list)
		}
		for _, want := range []object{
			{"id": id(held), "device": held.set.Device, "client_id": "account-app", "key_alg": "ES256", "jkt": phone.JKT(), "first_seen": first,
				"last_seen": today, "login": said(first), "active": true, "current": true},
			{"id": id(hers), "device": hers.set.Device, "name": "Tablet of Alice", "client_id": "app", "key_alg": "ES256", "jkt": tablet.JKT(),
				"first_seen": first, "last_seen": first, "login": said(first), "active": false, "current": false},
			{"id": id(other), "device": other.set.Device, "client_id": "app", "key_alg": "ES256", "jkt": laptop.JKT(), "first_seen": first,
				"last_seen": first, "login": said(first), "active": true, "current": false},
		} {
			if got := list[want["id"].(string)]; string(encode(got)) != string(encode(want)) {
				t.Errorf("device = %v, want %v", got, want)
			}
		}
	}

	// Another name.
	path := "/me/devices/" + id(other)
	events := s.audited(func() {
		for range 2 {
			wantStatus(t, s.held(t, phone, own, http.MethodPatch, path, object{"name": "Laptop ☕"}), http.StatusNoContent)
		}
	})
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=device.renamed actor=user ") || strings.Contains(events[0], "Laptop") {
		t.Errorf("events = %q, want one without the name", events)
	}
	if got := s.devicesOf(t, phone, own, 50)[id(other)]; got["name"] != "Laptop ☕" {
		t.Errorf("device = %v, want its new name", got)
	}
	for name, body := range map[string]any{
		"no name": object{}, "an empty one": object{"name": ""}, "a long one": object{"name": strings.Repeat("ä", 65)},
		"a control character": object{"name": "a\u0000b"}, "a direction mark": object{"name": "a\u202eb"}, "a number": object{"name": 7},
		"something else, too": object{"name": "a", "jkt": "b"}, "no object": rawBody(`["a"]`), "a name twice": rawBody(`{"name":"a","name":"b"}`),
		"a form": url.Values{"name": {"a"}},
	} {
		if a := s.held(t, phone, own, http.MethodPatch, path, body); a.status != http.StatusBadRequest || a.text("error") != "invalid_request" {
			t.Errorf("name with %s = %v, want it refused", name, a)
		}
	}
	wantStatus(t, s.held(t, phone, own, http.MethodPatch, path, object{"name": strings.Repeat("ä", 64)}), http.StatusNoContent)

	// Removal: the session of the device is over at once, and a removal of a removed device changes nothing.
	events = s.audited(func() {
		for range 2 {
			wantStatus(t, s.held(t, phone, own, http.MethodDelete, path, nil), http.StatusNoContent)
		}
	})
	want := fmt.Sprintf("event=device.removed actor=user domain=example.com user=%s device=%s client=account-app session=%s address=127.0.0.1",
		deviceOf(t, held).Local(), id(other), held.set.SID)
	if len(events) != 1 || !strings.Contains(events[0], `reason="removed by the user"`) {
		t.Errorf("events = %q, want one like %s", events, want)
	}
	for field := range strings.FieldsSeq(want) {
		if len(events) == 1 && !slices.Contains(strings.Fields(events[0]), field) {
			t.Errorf("event = %s, want %s in it", events[0], field)
		}
	}
	wantError(t, s.token(t, app, laptop, refreshForm(other.refresh)), http.StatusBadRequest, "invalid_grant")
	wantRefused(t, s.held(t, phone, own, http.MethodPatch, path, object{"name": "again"}), http.StatusNotFound, "not_found")
	if list := s.devicesOf(t, phone, own, 50); len(list) != 2 || list[id(other)] != nil {
		t.Errorf("devices = %v, want two", list)
	}

	// What is not hers does not exist for her.
	for _, foreign := range []string{id(his), "none", "0", "%2e%2e", strings.Repeat("f", 300)} {
		for _, a := range []answer{
			s.held(t, phone, own, http.MethodPatch, "/me/devices/"+foreign, object{"name": "mine"}),
			s.held(t, phone, own, http.MethodDelete, "/me/devices/"+foreign, nil),
		} {
			wantRefused(t, a, http.StatusNotFound, "not_found")
		}
	}
	if a := s.refreshedBy(t, accounts, bobs, his); a.set.Device != his.set.Device {
		t.Error("the device of somebody else was touched")
	}

	// The device itself, last: nothing of it is left.
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/devices/"+id(held), nil), http.StatusNoContent)
	wantRefused(t, s.held(t, phone, own, http.MethodGet, "/me/devices", nil), http.StatusUnauthorized, "invalid_token")
	wantError(t, s.token(t, accounts, phone, refreshForm(now.refresh)), http.StatusBadRequest, "invalid_grant")
}

// TestOtherDevices holds the removal of all devices but one.
func TestOtherDevices(t *testing.T) {
	s := start(t, map[string]string{"devices": "200"})
	phone, bobs := newDevice(t), newDevice(t)
	held, his := s.account(t, phone, "alice"), s.account(t, bobs, "bob")
	own := s.forIssuer(t, phone, held, "account").access
	remove := func(query string) answer {
		t.Helper()
		req := s.request(t, http.MethodDelete, "/me/devices"+query, "")
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodDelete, "/me/devices", s.nonce(t), own))
		return s.send(t, s.http, req)
	}
	for _, query := range []string{"", "?except=", "?except=all", "?except=" + deviceOf(t, held).Device(), "?current=except"} {
		wantError(t, remove(query), http.StatusBadRequest, "invalid_request")
	}
	wantError(t, remove("?except=current&except=current"), http.StatusBadRequest, "invalid_request")
	if a := remove("?except=current"); a.json["removed"] != 0.0 || a.json["more"] != false {
		t.Errorf("answer = %v, want nothing to remove", a)
	}
	others := make([]*device, 3)
	var logins []tokens
	for i := range others {
		others[i] = newDevice(t)
		logins = append(logins, s.login(t, others[i], "alice"))
	}
	var a answer
	events := s.audited(func() { a = remove("?except=current") })
	if a.status != http.StatusOK || a.json["removed"] != 3.0 || a.json["more"] != false || len(events) != 3 {
		t.Errorf("answer = %v with events %q, want three removed", a, events)
	}
	for i, d := range others {
		wantError(t, s.token(t, app, d, refreshForm(logins[i].refresh)), http.StatusBadRequest, "invalid_grant")
		s.wantInactive(t, logins[i].access)
	}
	wantTokens(t, s.token(t, accounts, phone, refreshForm(held.refresh)))
	wantTokens(t, s.token(t, accounts, bobs, refreshForm(his.refresh)))

	// More than one request removes.
	s.addDevices(t, held, 150)
	removed := 0
	for _, more := range []bool{true, false} {
		a := remove("?except=current")
		n, _ := a.json["removed"].(float64)
		if a.status != http.StatusOK || a.json["more"] != more || n > 100 {
			t.Errorf("answer = %v, want at most 100 removed, and more %t", a, more)
		}
		removed += int(n)
	}
	if list := s.devicesOf(t, phone, own, 50); removed != 150 || len(list) != 1 {
		t.Errorf("%d devices were removed and %d are left, want 150 and one", removed, len(list))
	}
}

// addDevices adds devices of a user that never log in.
func (s *site) addDevices(t *testing.T, held tokens, n int) {
	t.Helper()
	id := deviceOf(t, held)
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range n {
			d := storage.Device{
				Domain: id.Domain(), ID: fmt.Sprintf("d%d", i), User: id.Local(), JKT: fmt.Sprintf("key-%d", i), CreatedAt: s.clock.now(),
			}
			if err := tx.InsertDevice(ctx, d); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOtherDevicesRaced lets two devices remove each other: one at most is left, and each request is answered.
func TestOtherDevicesRaced(t *testing.T) {
	s := start(t, nil)
	devices := []*device{newDevice(t), newDevice(t)}
	var held []tokens
	var own []string
	for _, d := range devices {
		held = append(held, s.account(t, d, "alice"))
	}
	for i, d := range devices {
		own = append(own, s.forIssuer(t, d, held[i], "account").access)
	}
	answers := make([]answer, len(devices))
	var group sync.WaitGroup
	for i, d := range devices {
		group.Go(func() {
			other := deviceOf(t, held[1-i]).Device()
			answers[i] = s.held(t, d, own[i], http.MethodDelete, "/me/devices/"+other, nil)
		})
	}
	group.Wait()
	won := 0
	for i, a := range answers {
		switch a.status {
		case http.StatusNoContent:
			won++
			wantTokens(t, s.token(t, accounts, devices[i], refreshForm(held[i].refresh)))
		case http.StatusForbidden, http.StatusUnauthorized: // it was removed first
			wantError(t, s.token(t, accounts, devices[i], refreshForm(held[i].refresh)), http.StatusBadRequest, "invalid_grant")
		default:
			t.Errorf("answer = %v, want 204, 403 or 401", a)
		}
	}
	if won != 1 {
		t.Errorf("%d devices were removed, want one", won)
	}
}

// TestDevicesRefused holds who cannot see or change devices, and malformed requests for pages.
func TestDevicesRefused(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	device := deviceOf(t, held).Device()
	for name, test := range map[string]struct {
		token  string
		status int
		code   string
	}{
		"a token for others": {held.access, 401, "invalid_token"},
		"without the scope":  {s.forIssuer(t, phone, held, "introspect").access, 403, "insufficient_scope"},
	} {
		for _, a := range []answer{
			s.held(t, phone, test.token, http.MethodGet, "/me/devices", nil),
			s.held(t, phone, test.token, http.MethodPatch, "/me/devices/"+device, object{"name": "x"}),
			s.held(t, phone, test.token, http.MethodDelete, "/me/devices/"+device, nil),
			s.held(t, phone, test.token, http.MethodDelete, "/me/devices", nil),
		} {
			if a.status != test.status || a.text("error") != test.code {
				t.Errorf("%s: answer = %v, want %d %s", name, a, test.status, test.code)
			}
		}
	}
	set := claimsOf(t, own)
	set.JTI, set.SID = "no session", "none"
	wantRefused(t, s.held(t, phone, s.signs(t, set), http.MethodGet, "/me/devices", nil), http.StatusForbidden, "access_denied")
	wantRefused(t, s.held(t, phone, s.signs(t, set), http.MethodDelete, "/me/devices/"+device, nil), http.StatusForbidden, "access_denied")
	for _, query := range []string{"limit=0", "limit=51", "limit=-1", "limit=x", "limit=1&limit=1"} {
		req := s.request(t, http.MethodGet, "/me/devices?"+query, "")
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodGet, "/me/devices", s.nonce(t), own))
		wantError(t, s.send(t, s.http, req), http.StatusBadRequest, "invalid_request")
	}
	if page, next := s.devicesPage(t, phone, own, "/me/devices?cursor=~"); len(page) != 0 || next != "" {
		t.Errorf("page after the last device = %v, %q, want none", page, next)
	}
	if list := s.devicesOf(t, phone, own, 50); len(list) != 1 {
		t.Errorf("devices = %v, want one", list)
	}
}

// manage lists, renames and removes devices.
func manage(t *testing.T, s *site) []step {
	phone, tablet, laptop := newDevice(t), newDevice(t), newDevice(t)
	held, hers, other := s.account(t, phone, "alice"), s.login(t, tablet, "alice"), s.login(t, laptop, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	path := "/me/devices/" + deviceOf(t, hers).Device()
	status := func(want int) func(answer) { return func(a answer) { wantStatus(t, a, want) } }
	return []step{
		{name: "list", ask: func() answer { return s.held(t, phone, own, http.MethodGet, "/me/devices", nil) }, good: status(http.StatusOK)},
		{name: "events", ask: func() answer { return s.askMyEvents(t, phone, own, "since=1") }, good: status(http.StatusOK)},
		{
			name: "other name",
			ask:  func() answer { return s.held(t, phone, own, http.MethodPatch, path, object{"name": "x"}) },
			good: status(http.StatusNoContent),
		},
		{
			name: "removal",
			ask:  func() answer { return s.held(t, phone, own, http.MethodDelete, path, nil) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusNoContent)
				s.soonEnded(t, tablet, hers)
			},
		},
		{
			name: "removal of all others",
			ask: func() answer {
				req := s.request(t, http.MethodDelete, "/me/devices?except=current", "")
				req.Header.Set("Authorization", "DPoP "+own)
				req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodDelete, "/me/devices", s.nonce(t), own))
				return s.send(t, s.http, req)
			},
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.soonEnded(t, laptop, other)
			},
		},
	}
}

// TestDevicePlatform holds where the hint at the kind of a device comes from, and that a device shows what the provider said of its
// last login.
func TestDevicePlatform(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		claims["acr"], claims["amr"] = "urn:example:mfa", []string{"pwd", "otp"}
	}})
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	const firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
	want := map[string]string{deviceOf(t, held).Device(): ""}
	for _, test := range []struct{ agent, said, want string }{
		{firefox, "", "linux"}, {firefox, "tv", "tv"}, {"", "web", "web"}, {"curl/8", "", ""},
	} {
		change := url.Values{}
		if test.said != "" {
			change.Set("im_device_platform", test.said)
		}
		b := s.browser()
		b.Client().Transport = agentAs{test.agent, b.Client().Transport}
		to, err := b.Login(t.Context(), s.issuer+"/authorize?"+authorization(change).Encode(), browser.To(redirectURI),
			map[string]string{"text": "alice", "password": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		d := newDevice(t)
		got := wantTokens(t, s.token(t, app, d, codeForm(to.Query().Get("code"), nil)))
		want[deviceOf(t, got).Device()] = test.want
	}
	for id, got := range s.devicesOf(t, phone, own, 50) {
		if platform, _ := got["platform"].(string); platform != want[id] {
			t.Errorf("device = %v, want the platform %q", got, want[id])
		}
		if login := string(encode(got["login"])); !strings.Contains(login, `"acr":"urn:example:mfa","amr":["pwd","otp"]`) {
			t.Errorf("login = %s, want what the provider said", login)
		}
	}
}

// agentAs sends requests with a User-Agent header.
type agentAs struct {
	agent string
	http.RoundTripper
}

func (a agentAs) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", a.agent)
	return a.RoundTripper.RoundTrip(r)
}
