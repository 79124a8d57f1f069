package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/nested"
)

// press opens a page of an act in a browser and sends its form, with the value of a field if that has a name.
func (s *site) press(t *testing.T, b *browser.Browser, page, field, value string) answer {
	t.Helper()
	form := url.Values{"csrf": {csrfOf(t, s.look(t, b, page))}}
	if field != "" {
		form.Set(field, value)
	}
	return s.fillIn(t, b, page, form, nil)
}

// deviceID returns the id of the device that holds tokens.
func deviceID(t *testing.T, held tokens) string {
	t.Helper()
	return deviceOf(t, held).Device()
}

// A person sees and changes their devices, who acts for them, and who finds them.
func TestAccountPage(t *testing.T) {
	s := start(t, nil)
	phone, laptop, tablet, bobs := newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	onPhone := s.forIssuer(t, phone, s.account(t, phone, "alice"), "account")
	onLaptop, onTablet, onBobs := s.login(t, laptop, "alice"), s.login(t, tablet, "alice"), s.login(t, bobs, "bob")
	grant := s.held(t, phone, onPhone.access, http.MethodPost, "/me/actors",
		object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle", "expires_in": 3600})
	wantStatus(t, grant, http.StatusCreated)
	delegated := newDevice(t)
	delegation := s.held(t, phone, onPhone.access, http.MethodPost, "/me/delegations", object{
		"jkt": delegated.JKT(), "devices": "*", "count": 2, "lifetime": 600, "depth": 1, "statements": []string{nested.TypeLink}, "expires_in": 3600,
	})
	wantStatus(t, delegation, http.StatusCreated)

	b := s.visiting(t, "alice")
	home := func(want ...string) {
		t.Helper()
		a := s.look(t, b, "/account")
		wantSignedIn(t, a, "alice")
		for _, text := range want {
			text, missing := strings.CutPrefix(text, "no ")
			if strings.Contains(a.body, text) == missing {
				t.Errorf("the page has %q: %v, want %v\n%s", text, missing, !missing, a)
			}
		}
	}
	laptopPage := "/account/devices/" + deviceID(t, onLaptop)
	home(laptopPage, "/account/devices/"+deviceID(t, onTablet), "no "+deviceID(t, onBobs), "/account/actors/"+grant.text("id")+"/withdraw",
		"/account/delegations/"+delegation.text("id")+"/withdraw", "a device was added", "Nobody</span>", time.Now().UTC().Format(time.DateOnly))

	// The name is shown as text.
	const name = `<b>"Büro" & Küche</b>`
	s.wantGone(t, s.press(t, b, laptopPage, "name", name), "/account?done=renamed")
	home("&lt;b&gt;&#34;Büro&#34; &amp; Küche&lt;/b&gt;", "no "+name)
	for _, bad := range []string{"", strings.Repeat("x", 65), "a\u202eb", "a\nb"} {
		a := s.press(t, b, laptopPage, "name", bad)
		if wantPage(t, a, http.StatusBadRequest); !strings.Contains(a.body, `aria-invalid="true"`) || !strings.Contains(a.body, `role="alert"`) {
			t.Errorf("name %q = %v, want the form with the fault", bad, a)
		}
	}
	home("Küche")

	page := s.look(t, b, laptopPage+"/remove")
	for _, text := range []string{"Küche", "Remove this device?", `class="danger"`} {
		if !strings.Contains(page.body, text) {
			t.Errorf("the page that asks = %v, want %q", page, text)
		}
	}
	events := s.audited(func() { s.wantGone(t, s.press(t, b, laptopPage+"/remove", "", ""), "/account?done=removed") })
	if len(events) != 1 || !strings.Contains(events[0], "event=device.removed actor=user") || !strings.Contains(events[0], deviceID(t, onLaptop)) {
		t.Errorf("audit events = %q, want that of the removal", events)
	}
	s.wantEnded(t, laptop, onLaptop)
	s.wantActive(t, onTablet.access)
	home("no "+laptopPage, "a device was removed")
	wantPage(t, s.look(t, b, laptopPage), http.StatusNotFound)

	s.wantGone(t, s.press(t, b, "/account/actors/"+grant.text("id")+"/withdraw", "", ""), "/account?done=withdrawn")
	s.wantGone(t, s.press(t, b, "/account/delegations/"+delegation.text("id")+"/withdraw", "", ""), "/account?done=withdrawn")
	home("no "+grant.text("id"), "no "+delegation.text("id"), "No app or bot acts for you.")

	s.wantGone(t, s.press(t, b, "/account/privacy", "findable_by", "handle"), "/account?done=findable")
	home("Everybody who knows")
	s.wantGone(t, s.press(t, b, "/account/privacy", "findable_by", "nobody"), "/account?done=hidden")
	wantPage(t, s.press(t, b, "/account/privacy", "findable_by", "everybody"), http.StatusBadRequest)
	home("Nobody</span>")

	other := s.visiting(t, "alice")
	home("/account/other-browsers")
	s.wantGone(t, s.press(t, b, "/account/other-browsers", "", ""), "/account?done=browsers_ended")
	wantSignIn(t, s.look(t, other, "/account"))
	home("no /account/other-browsers")

	s.wantGone(t, s.press(t, b, "/account/remove-devices", "", ""), "/account?done=all_removed")
	s.wantEnded(t, tablet, onTablet)
	s.wantActive(t, onBobs.access)
	home("You have no devices.")
	// Only what the issuer says itself is shown as done.
	for done, want := range map[string]string{"removed": "The device is removed", "evil": ""} {
		a := s.look(t, b, "/account?done="+done)
		if shown := strings.Contains(a.body, `role="status"`); shown != (want != "") || strings.Contains(a.body, "evil") || !strings.Contains(a.body, want) {
			t.Errorf("answer to done=%s = %v, want %q", done, a, want)
		}
	}
}

// A dangerous act needs a login of the last five minutes, by the person themselves.
func TestAccountStepUp(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	onPhone := s.login(t, phone, "alice")
	page := "/account/devices/" + deviceID(t, onPhone)
	s.onTime(t, nil)
	b := s.visiting(t, "alice")
	token := csrfOf(t, s.look(t, b, page+"/remove"))
	s.advance(t, 6*time.Minute)
	wantStatus(t, s.look(t, b, page), http.StatusOK) // to rename it is not dangerous
	toProvider := func(a answer) *url.URL {
		t.Helper()
		to, err := a.to()
		if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), s.provider.url) || to.Query().Get("prompt") != "login" ||
			to.Query().Get("max_age") != "0" {
			t.Fatalf("answer = %v to %v, want the provider to ask for a new login", a, to)
		}
		return to
	}
	alive := func() {
		t.Helper()
		onPhone = s.refreshed(t, phone, onPhone.refresh)
	}
	for _, dangerous := range []string{page + "/remove", "/account/remove-devices"} {
		toProvider(s.look(t, b, dangerous))
		toProvider(s.fillIn(t, b, dangerous, url.Values{"csrf": {token}}, nil))
		alive()
	}
	// The provider is held to it: an old login is none.
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		now := s.clock.now().Unix()
		claims["iat"], claims["exp"], claims["auth_time"] = now, now+600, now-400
	}})
	at := func(person string) *url.URL {
		t.Helper()
		back, err := b.Login(t.Context(), toProvider(s.look(t, b, page+"/remove")).String(),
			func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": person, "password": person})
		if err != nil {
			t.Fatal(err)
		}
		return back
	}
	wantPage(t, s.arrive(t, b, at("alice")), http.StatusBadGateway)
	alive()

	// A person who cancels the new login stays signed in, and has done nothing.
	s.wantGone(t, s.arrive(t, b, with(at("alice"), url.Values{"code": nil, "error": {"access_denied"}})), "/account")
	wantSignedIn(t, s.look(t, b, "/account"), "alice")
	alive()

	// Somebody else who signs in does not come to the page of her act.
	s.onTime(t, nil)
	former := s.sessionOf(b)
	s.wantGone(t, s.arrive(t, b, at("alice")), page+"/remove")
	if s.sessionOf(b).Value == former.Value {
		t.Error("the session has the same secret after the new login")
	}
	wantSignIn(t, s.look(t, s.bearing(t, former), "/account"))
	// The form of the former session is none of this one.
	wantPage(t, s.fillIn(t, b, page+"/remove", url.Values{"csrf": {token}}, nil), http.StatusForbidden)
	alive()
	s.advance(t, 6*time.Minute)
	s.wantGone(t, s.arrive(t, b, at("bob")), "/account")
	wantSignedIn(t, s.look(t, b, "/account"), "bob")
	wantPage(t, s.look(t, b, page+"/remove"), http.StatusNotFound)
	alive()

	b = s.visiting(t, "alice")
	s.wantGone(t, s.press(t, b, page+"/remove", "", ""), "/account?done=removed")
	s.wantEnded(t, phone, onPhone)

	// A provider that does not say when the user signed in, and one that is down.
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		now := s.clock.now().Unix()
		claims["iat"], claims["exp"] = now, now+600
		delete(claims, "auth_time")
	}})
	b = s.visiting(t, "alice")
	back, err := b.Login(t.Context(), toProvider(s.look(t, b, "/account/remove-devices")).String(),
		func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) }, map[string]string{"text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	s.provider.tamper(t, tampering{answer: down})
	wantPage(t, s.arrive(t, b, back), http.StatusServiceUnavailable)
	wantSignedIn(t, s.look(t, b, "/account"), "alice")
}

// Nothing of another person, or of another domain, can be seen or changed.
func TestAccountOfOthers(t *testing.T) {
	s := start(t, nil)
	phone, abroad := newDevice(t), newDevice(t)
	onPhone := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, onPhone, "account")
	there := s.signedInTo(t, "example.org", abroad, "bob")
	grant := s.held(t, phone, own.access, http.MethodPost, "/me/actors",
		object{"actor": bot.id, "actor_iss": s.issuer, "scope": "im:handle", "expires_in": 3600})
	wantStatus(t, grant, http.StatusCreated)
	b := s.visiting(t, "bob")
	token := csrfOf(t, s.look(t, b, "/account"))
	before := s.rows(t)
	for _, page := range []string{
		"/account/devices/" + deviceID(t, onPhone), "/account/devices/" + deviceID(t, onPhone) + "/remove",
		"/account/devices/" + deviceID(t, there), "/account/devices/" + deviceID(t, there) + "/remove", "/account/devices/none",
		"/account/devices/%2e%2e%2fx", "/account/actors/" + grant.text("id") + "/withdraw", "/account/links/" + grant.text("id") + "/withdraw",
		"/account/delegations/none/withdraw",
	} {
		a := s.look(t, b, page)
		wantPage(t, a, http.StatusNotFound)
		if strings.Contains(a.body, "alice") {
			t.Errorf("answer to %s = %v, which names alice", page, a)
		}
		wantPage(t, s.fillIn(t, b, page, url.Values{"csrf": {token}}, nil), http.StatusNotFound)
	}
	for _, row := range s.rows(t) {
		if strings.Contains(row, "withdrawn") && strings.Contains(row, grant.text("id")) && !contains(before, row) {
			t.Errorf("row %s", row)
		}
	}
	s.wantActive(t, onPhone.access)
	a := s.look(t, s.visiting(t, "alice"), "/account")
	if !strings.Contains(a.body, grant.text("id")) || !strings.Contains(a.body, deviceID(t, onPhone)) {
		t.Errorf("answer = %v, want the device and the grant of alice", a)
	}
}

func contains(rows []string, row string) bool {
	for _, r := range rows {
		if r == row {
			return true
		}
	}
	return false
}

// A form counts only in its session, and with its own fields, for every act.
func TestAccountForms(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	onPhone := s.login(t, phone, "alice")
	b := s.visiting(t, "alice")
	good, foreign := csrfOf(t, s.look(t, b, "/account")), csrfOf(t, s.look(t, s.visiting(t, "alice"), "/account"))
	for page, field := range map[string]string{
		"/account/devices/" + deviceID(t, onPhone): "name", "/account/devices/" + deviceID(t, onPhone) + "/remove": "",
		"/account/remove-devices": "", "/account/privacy": "findable_by", "/account/other-browsers": "",
	} {
		form := func(token string, more ...string) url.Values {
			f := url.Values{"csrf": {token}}
			if field != "" {
				f.Set(field, "handle")
			}
			for i := 0; i < len(more); i += 2 {
				f.Add(more[i], more[i+1])
			}
			return f
		}
		wantPage(t, s.fillIn(t, b, page, form(""), nil), http.StatusForbidden)
		wantPage(t, s.fillIn(t, b, page, form(foreign), nil), http.StatusForbidden)
		wantPage(t, s.fillIn(t, b, page, form(good), http.Header{"Origin": {"https://evil.example"}}), http.StatusForbidden)
		wantPage(t, s.fillIn(t, b, page, form(good), http.Header{"Origin": nil, "Sec-Fetch-Site": {"cross-site"}}), http.StatusForbidden)
		wantPage(t, s.fillIn(t, b, page, form(good, "user", "bob"), nil), http.StatusBadRequest)
		wantPage(t, s.fillIn(t, b, page, form(good, "csrf", good), nil), http.StatusBadRequest)
		wantPage(t, s.fillIn(t, b, page, form(good, "x", strings.Repeat("y", 70<<10)), nil), http.StatusRequestEntityTooLarge)
		wantSignIn(t, s.fillIn(t, s.browser(), page, form(good), nil)) // without the cookie
		// Another site cannot show the page in a frame, nor read it.
		a := s.look(t, b, page)
		wantQuestion(t, a)
		if len(corsHeaders(a)) > 0 {
			t.Errorf("answer with CORS headers %v, want none", corsHeaders(a))
		}
	}
	s.wantActive(t, onPhone.access)
	if a := s.look(t, b, "/account"); !strings.Contains(a.body, "Nobody</span>") || strings.Contains(a.body, "<bdi>handle</bdi>") {
		t.Errorf("answer = %v, want the account unchanged", a)
	}

	// A session that ends does so for the forms that are open, too.
	user := deviceOf(t, onPhone).Local()
	disable := url.Values{"domain": {"example.com"}, "reason": {"left"}}
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/disable", disable), http.StatusOK)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/enable", disable), http.StatusOK)
	wantSignIn(t, s.fillIn(t, b, "/account/devices/"+deviceID(t, onPhone), url.Values{"csrf": {good}, "name": {"Mine"}}, nil))
	if a := s.look(t, s.visiting(t, "alice"), "/account"); strings.Contains(a.body, "Mine") {
		t.Error("the form of an ended session gave the device a name")
	}
}

// A device that is removed by several forms at once is removed once.
func TestAccountRemovalRaced(t *testing.T) {
	s := start(t, nil)
	for range 3 {
		phone := newDevice(t)
		onPhone := s.login(t, phone, "alice")
		page := "/account/devices/" + deviceID(t, onPhone) + "/remove"
		b := s.visiting(t, "alice")
		token := csrfOf(t, s.look(t, b, page))
		var done, missing int
		events := s.audited(func() {
			for _, a := range parallel(6, func() answer { return s.fillIn(t, b, page, url.Values{"csrf": {token}}, nil) }) {
				switch a.status {
				case http.StatusSeeOther:
					done++
				case http.StatusNotFound:
					missing++
				default:
					t.Errorf("answer = %v, want a redirect, or 404 once it is removed", a)
				}
			}
		})
		if done == 0 || done+missing != 6 || len(events) != 1 {
			t.Errorf("%d redirects, %d not found, events %q, want one removal", done, missing, events)
		}
		s.wantEnded(t, phone, onPhone)
	}
}

// A person who leaves types their handle, and is gone for ever.
func TestAccountLeave(t *testing.T) {
	s := start(t, nil)
	phone, bobs := newDevice(t), newDevice(t)
	onPhone, onBobs := s.login(t, phone, "alice"), s.login(t, bobs, "bob")
	b, other := s.visiting(t, "alice"), s.visiting(t, "alice")
	for _, typed := range []string{"", "alice", "@bob@example.com", "@ALICE@example.com", "@alice@example.com.", "on"} {
		a := s.press(t, b, "/account/leave", "confirm", typed)
		if wantPage(t, a, http.StatusBadRequest); !strings.Contains(a.body, `role="alert"`) || !strings.Contains(a.body, `aria-invalid="true"`) {
			t.Errorf("%q = %v, want the form with the fault", typed, a)
		}
	}
	s.wantActive(t, onPhone.access)
	cookie := s.sessionOf(b)
	var a answer
	events := s.audited(func() { a = s.press(t, b, "/account/leave", "confirm", " @alice@example.com ") })
	s.wantGone(t, a, "/account/signed-out?because=left")
	if len(events) != 1 || !strings.Contains(events[0], "event=user.removed actor=user") || !strings.Contains(events[0], "address=") {
		t.Errorf("audit events = %q, want that of the removal", events)
	}
	if s.sessionOf(b) != nil {
		t.Error("the browser still has the cookie")
	}
	if a := s.look(t, b, "/account/signed-out?because=left"); !strings.Contains(a.body, "Your account is deleted") || strings.Contains(a.body, "Sign in") {
		t.Errorf("answer = %v, want the page for people who left", a)
	}
	s.wantEnded(t, phone, onPhone)
	wantSignIn(t, s.look(t, s.bearing(t, cookie), "/account"))
	wantSignIn(t, s.look(t, other, "/account"))
	s.wantActive(t, onBobs.access)
	// The way back does not lead into a session.
	callback, err := b.Login(t.Context(), s.issuer+"/account", func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
		map[string]string{"domain": "example.com", "text": "alice", "password": "alice"})
	if err != nil {
		t.Fatal(err)
	}
	if a := s.arrive(t, b, callback); a.status/100 != 4 || s.sessionOf(b) != nil {
		t.Errorf("answer = %v, want no session for a person who has just left", a)
	}
}

// A person takes another name where the domain lets them. Nobody is signed out, and the old name is nobody else's.
func TestAccountName(t *testing.T) {
	s := start(t, renaming)
	phone := newDevice(t)
	onPhone := s.login(t, phone, "alice")
	s.login(t, newDevice(t), "bob")
	b := s.visiting(t, "alice")
	if a := s.look(t, b, "/account"); !strings.Contains(a.body, `href="/account/name"`) {
		t.Errorf("answer = %v, want a link to the page for another name", a)
	}
	for name, want := range map[string]string{
		"": "not allowed", "bob": "Somebody else", "admin": "reserved", "two words": "not allowed", "аlice": "", strings.Repeat("a", 300): "",
	} {
		a := s.press(t, b, "/account/name", "handle", name)
		if wantPage(t, a, http.StatusConflict); !strings.Contains(a.body, want) || !strings.Contains(a.body, `aria-invalid="true"`) {
			t.Errorf("name %q = %v, want %q at the field", name, a, want)
		}
	}
	events := s.audited(func() { s.wantGone(t, s.press(t, b, "/account/name", "handle", "carol"), "/account?done=name") })
	if len(events) != 1 || !strings.Contains(events[0], "event=user.renamed actor=user") {
		t.Errorf("audit events = %q, want that of the new name", events)
	}
	wantSignedIn(t, s.look(t, b, "/account"), "carol")
	if next := s.refreshed(t, phone, onPhone.refresh); next.set.Handle != "im:%40carol@example.com" {
		t.Errorf("handle = %q, want the new one", next.set.Handle)
	}
	a := s.press(t, b, "/account/name", "handle", "caroline")
	if wantPage(t, a, http.StatusConflict); !strings.Contains(a.body, "a short time ago") {
		t.Errorf("answer = %v, want that it is too soon", a)
	}
	wantPage(t, s.press(t, s.visiting(t, "bob"), "/account/name", "handle", "alice"), http.StatusConflict)

	// Where the domain does not let people choose, there is no such page.
	t.Run("not here", func(t *testing.T) {
		s := start(t, nil)
		b := s.visiting(t, "alice")
		page := s.look(t, b, "/account")
		if strings.Contains(page.body, "/account/name") {
			t.Errorf("answer = %v, want no link to the page for another name", page)
		}
		wantPage(t, s.look(t, b, "/account/name"), http.StatusNotFound)
		wantPage(t, s.fillIn(t, b, "/account/name", url.Values{"csrf": {csrfOf(t, page)}, "handle": {"carol"}}, nil), http.StatusNotFound)
		wantSignedIn(t, s.look(t, b, "/account"), "alice")
	})
}

// A person signs out an app. Its device stays, and so do other people's apps.
func TestAccountEndSession(t *testing.T) {
	s := start(t, nil)
	phone, bobs := newDevice(t), newDevice(t)
	onPhone, onBobs := s.login(t, phone, "alice"), s.login(t, bobs, "bob")
	b := s.visiting(t, "alice")
	page := "/account/sessions/" + onPhone.set.SID + "/end"
	if a := s.look(t, b, "/account/devices/"+deviceID(t, onPhone)); !strings.Contains(a.body, `href="`+page+`"`) {
		t.Errorf("answer = %v, want a link to the end of the session", a)
	}
	wantPage(t, s.look(t, b, "/account/sessions/"+onBobs.set.SID+"/end"), http.StatusNotFound)
	token := csrfOf(t, s.look(t, b, page))
	wantPage(t, s.fillIn(t, b, "/account/sessions/"+onBobs.set.SID+"/end", url.Values{"csrf": {token}}, nil), http.StatusNotFound)
	s.wantGone(t, s.fillIn(t, b, page, url.Values{"csrf": {token}}, nil), "/account?done=session_ended")
	s.wantEnded(t, phone, onPhone)
	s.wantActive(t, onBobs.access)
	wantPage(t, s.look(t, b, page), http.StatusNotFound)
	if a := s.look(t, b, "/account"); !strings.Contains(a.body, deviceID(t, onPhone)) || !strings.Contains(a.body, "signed out</span>") {
		t.Errorf("answer = %v, want the device, signed out", a)
	}
}

// A person takes their data with them, after a fresh login, and those of nobody else.
func TestAccountExport(t *testing.T) {
	s := start(t, nil)
	onPhone, onBobs := s.login(t, newDevice(t), "alice"), s.login(t, newDevice(t), "bob")
	s.onTime(t, nil)
	b := s.visiting(t, "alice")
	token := csrfOf(t, s.look(t, b, "/account/export"))
	events := s.audited(func() {
		a := s.fillIn(t, b, "/account/export", url.Values{"csrf": {token}}, nil)
		wantStatus(t, a, http.StatusOK)
		wantNotStored(t, a)
		if a.header.Get("Content-Disposition") != `attachment; filename="account.json"` || a.header.Get("Content-Type") != "application/json" ||
			a.text("handle") != "im:%40alice@example.com" || !strings.Contains(a.body, deviceID(t, onPhone)) ||
			strings.Contains(a.body, deviceID(t, onBobs)) || strings.Contains(a.body, s.sessionOf(b).Value) {
			t.Errorf("answer %v with headers %v, want the data of alice in a file", a, a.header)
		}
	})
	if len(events) != 1 || !strings.Contains(events[0], "event=user.exported actor=user") {
		t.Errorf("audit events = %q, want that of the export", events)
	}
	for _, form := range []url.Values{{}, {"csrf": {strings.Repeat("A", 43)}}} {
		wantPage(t, s.fillIn(t, b, "/account/export", form, nil), http.StatusForbidden)
	}
	s.advance(t, 6*time.Minute)
	a := s.fillIn(t, b, "/account/export", url.Values{"csrf": {token}}, nil)
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), s.provider.url) {
		t.Errorf("answer = %v, want a new login at the provider", a)
	}
}

// Below a path of the host, all pages and redirects stay below it.
func TestAccountBelowPath(t *testing.T) {
	s := start(t, map[string]string{"prefix": "/id"})
	phone := newDevice(t)
	onPhone := s.login(t, phone, "alice")
	s.onTime(t, nil)
	b := s.browser()
	if to := s.comeHere(t, b, "/account", "alice"); to != "/id/account" {
		t.Fatalf("the browser goes on to %s, want /id/account", to)
	}
	page := s.look(t, b, "/account")
	wantSignedIn(t, page, "alice")
	for _, link := range regexp.MustCompile(`(?:href|action)="(/[^"]*)"`).FindAllStringSubmatch(page.body, -1) {
		if !strings.HasPrefix(link[1], "/id/account") {
			t.Errorf("the page leads to %s, want it below /id/account", link[1])
		}
	}
	s.wantGone(t, s.press(t, b, "/account/devices/"+deviceID(t, onPhone)+"/remove", "", ""), "/id/account?done=removed")
	s.wantEnded(t, phone, onPhone)
}
