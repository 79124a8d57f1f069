package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// renaming lets users of example.com choose another handle.
var renaming = map[string]string{"others": "rename: {by: user, every: 7d}"}

// freshly lets the provider say that logins are of the present.
func (s *site) freshly(t *testing.T) {
	t.Helper()
	s.provider.tamper(t, tampering{idToken: func(_, claims object) { claims["auth_time"] = s.clock.now().Unix() }})
}

// justNow returns a token as it would be after a login at the present time.
func (s *site) justNow(t *testing.T, own string) string {
	t.Helper()
	set := claimsOf(t, own)
	set.AuthTime = s.clock.now()
	return s.signs(t, set)
}

// renameMe asks for another handle.
func (s *site) renameMe(t *testing.T, d *device, own, handle string) answer {
	t.Helper()
	return s.held(t, d, own, http.MethodPut, "/me/handle", object{"handle": handle})
}

// list returns all pages of a list of a user, of one element each.
func (s *site) list(t *testing.T, d *device, own, path string) (list []object) {
	t.Helper()
	for next := path + "?limit=1"; next != ""; {
		var page []object
		page, next = s.devicesPage(t, d, own, next)
		if len(page) > 1 {
			t.Fatalf("GET %s = %d elements, want one at most", path, len(page))
		}
		list = append(list, page...)
	}
	return list
}

// TestProfile holds what a user sees of themselves.
func TestProfile(t *testing.T) {
	s := start(t, renaming)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	s.login(t, newDevice(t), "alice")
	s.login(t, newDevice(t), "bob")
	own := s.forIssuer(t, phone, held, "account").access
	today := s.clock.now().UTC().Format(time.DateOnly)
	want := object{
		"user": held.set.Subject, "handle": "im:%40alice@example.com", "display": "@alice@example.com", "domain": "example.com",
		"created": today, "devices": 2, "sessions": 2, "statements": 0, "rename": object{"by": "user"},
	}
	if a := s.held(t, phone, own, http.MethodGet, "/me", nil); a.status != http.StatusOK || string(encode(a.json)) != string(encode(want)) {
		t.Errorf("GET /me = %v, want %v", a, want)
	}
	wantRefused(t, s.held(t, phone, held.access, http.MethodGet, "/me", nil), http.StatusUnauthorized, "invalid_token") // not for the issuer
	other := s.forIssuer(t, phone, held, "introspect").access
	wantRefused(t, s.held(t, phone, other, http.MethodGet, "/me", nil), http.StatusForbidden, "insufficient_scope")
}

// TestSessions holds what a user sees of their sessions, and that they end them.
func TestSessions(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, his := s.account(t, phone, "alice"), s.account(t, bobs, "bob")
	hers, second := s.login(t, tablet, "alice"), s.login(t, tablet, "alice")
	s.advance(t, 30*time.Hour)
	now := s.refreshedBy(t, accounts, phone, held)
	own := s.forIssuer(t, phone, now, "account").access
	list := s.list(t, phone, own, "/me/sessions")
	first, today := s.clock.now().Add(-30*time.Hour).UTC().Format(time.DateOnly), s.clock.now().UTC().Format(time.DateOnly)
	said := object{"day": first, "provider": "dev", "amr": []string{"pwd"}}
	last := s.clock.now().Add(-30*time.Hour + 20*24*time.Hour).UTC().Format(time.DateOnly)
	var got []string
	for _, v := range list {
		got = append(got, string(encode(v)))
	}
	for _, want := range []object{
		{"id": held.set.SID, "device": held.set.Device, "client_id": "account-app", "scope": "im:handle im:device account introspect",
			"audience": []string{"im:example.com"}, "created": first, "last_used": today, "expires": last, "login": said, "current": true},
		{"id": hers.set.SID, "device": hers.set.Device, "client_id": "app", "scope": "im:handle im:device",
			"audience": []string{"im:example.com"}, "created": first, "last_used": first, "expires": last, "login": said, "current": false},
		{"id": second.set.SID, "device": hers.set.Device, "client_id": "app", "scope": "im:handle im:device",
			"audience": []string{"im:example.com"}, "created": first, "last_used": first, "expires": last, "login": said, "current": false},
	} {
		if !slices.Contains(got, string(encode(want))) {
			t.Errorf("sessions = %q, want %v among them", got, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("%d sessions, want three", len(got))
	}

	// One ends, and nothing else.
	path := "/me/sessions/" + hers.set.SID
	events := s.audited(func() {
		for range 2 {
			wantStatus(t, s.held(t, phone, own, http.MethodDelete, path, nil), http.StatusNoContent)
		}
	})
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=session.ended actor=user ") {
		t.Errorf("events = %q, want one", events)
	}
	wantError(t, s.token(t, app, tablet, refreshForm(hers.refresh)), http.StatusBadRequest, "invalid_grant")
	second = s.refreshedBy(t, app, tablet, second)
	for _, foreign := range []string{his.set.SID, "none", "0", strings.Repeat("f", 300)} {
		wantRefused(t, s.held(t, phone, own, http.MethodDelete, "/me/sessions/"+foreign, nil), http.StatusNotFound, "not_found")
	}

	// All others.
	remove := func(query string) answer {
		t.Helper()
		req := s.request(t, http.MethodDelete, "/me/sessions"+query, "")
		req.Header.Set("Authorization", "DPoP "+own)
		req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodDelete, "/me/sessions", s.nonce(t), own))
		return s.send(t, s.http, req)
	}
	for _, query := range []string{"", "?except=all", "?except=current&except=current"} {
		wantError(t, remove(query), http.StatusBadRequest, "invalid_request")
	}
	s.addSessions(t, held, 150)
	ended := 0
	for _, more := range []bool{true, false} {
		a := remove("?except=current")
		n, _ := a.json["ended"].(float64)
		if a.status != http.StatusOK || a.json["more"] != more || n > 100 {
			t.Errorf("answer = %v, want at most 100 ended, and more %t", a, more)
		}
		ended += int(n)
	}
	if list := s.list(t, phone, own, "/me/sessions"); ended != 151 || len(list) != 1 || list[0]["current"] != true {
		t.Errorf("%d sessions ended, and %v are left, want 151 and the current one", ended, list)
	}
	wantError(t, s.token(t, app, tablet, refreshForm(second.refresh)), http.StatusBadRequest, "invalid_grant")
	s.refreshedBy(t, accounts, bobs, his)
	if devices := s.devicesOf(t, phone, own, 50); len(devices) != 2 {
		t.Errorf("devices = %v, want both still", devices)
	}

	// The session itself, last.
	now = s.refreshedBy(t, accounts, phone, now)
	own = s.forIssuer(t, phone, now, "account").access
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/sessions/"+held.set.SID, nil), http.StatusNoContent)
	wantRefused(t, s.held(t, phone, own, http.MethodGet, "/me/sessions", nil), http.StatusUnauthorized, "invalid_token")
}

// addSessions adds live sessions of the device of a login.
func (s *site) addSessions(t *testing.T, held tokens, n int) {
	t.Helper()
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		g, _, _, err := tx.Session(ctx, held.set.SID)
		for i := range n {
			g.ID, g.Status = fmt.Sprintf("session-%d", i), storage.StatusEntry{}
			if err == nil {
				err = tx.InsertGrant(ctx, g)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestProviderLinks holds that a user removes one of several accounts at providers, and not the last one.
func TestProviderLinks(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	s.freshly(t)
	held, his := s.account(t, phone, "alice"), s.account(t, bobs, "bob")
	own := s.forIssuer(t, phone, held, "account").access
	list := s.list(t, phone, own, "/me/provider-links")
	today := s.clock.now().UTC().Format(time.DateOnly)
	if len(list) != 1 || list[0]["provider"] != "dev" || list[0]["iss"] != s.provider.url || list[0]["since"] != today || len(list[0]) != 4 {
		t.Fatalf("links = %v, want one of the provider", list)
	}
	id, _ := list[0]["id"].(string)
	a := s.held(t, phone, own, http.MethodDelete, "/me/provider-links/"+id, nil)
	wantRefused(t, a, http.StatusConflict, "last_link")

	// A second account, at a provider that she has left.
	const former = "https://former.example"
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.InsertLink(ctx, storage.Link{
			Domain: "example.com", Issuer: former, Subject: "alice", User: deviceOf(t, held).Local(), CreatedAt: s.clock.now(),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]string)
	for _, l := range s.list(t, phone, own, "/me/provider-links") {
		if strings.Contains(string(encode(l)), "dev-10021") {
			t.Errorf("link = %v, want no subject", l)
		}
		ids[l["iss"].(string)] = l["id"].(string)
	}
	theirs := s.list(t, bobs, s.forIssuer(t, bobs, his, "account").access, "/me/provider-links")
	for _, foreign := range []string{"none", theirs[0]["id"].(string)} {
		wantRefused(t, s.held(t, phone, own, http.MethodDelete, "/me/provider-links/"+foreign, nil), http.StatusNotFound, "not_found")
	}
	s.advance(t, 5*time.Minute+time.Second)
	own = s.forIssuer(t, phone, held, "account").access
	a = s.held(t, phone, own, http.MethodDelete, "/me/provider-links/"+ids[former], nil)
	wantRefused(t, a, http.StatusUnauthorized, "insufficient_user_authentication")
	hers := s.login(t, tablet, "alice")
	held = s.account(t, phone, "alice")
	own = s.forIssuer(t, phone, held, "account").access

	// Two requests race for the two links: one is left.
	answers := make([]answer, 2)
	var group sync.WaitGroup
	for i, iss := range []string{former, s.provider.url} {
		group.Go(func() { answers[i] = s.held(t, phone, own, http.MethodDelete, "/me/provider-links/"+ids[iss], nil) })
	}
	group.Wait()
	switch {
	case answers[0].status == http.StatusNoContent && answers[1].status != http.StatusNoContent:
		s.wantAlive(t, tablet, hers)
	case answers[1].status == http.StatusNoContent && answers[0].status != http.StatusNoContent: // and all that came from there
		wantError(t, s.token(t, app, tablet, refreshForm(hers.refresh)), http.StatusBadRequest, "invalid_grant")
		s.wantInactive(t, own)
	default:
		t.Errorf("answers = %v, want that one link is left", answers)
	}
}

// TestRenameOwn holds that a user gets another handle, that nobody is logged out, and that the old handle is in no answer.
func TestRenameOwn(t *testing.T) {
	s := start(t, renaming)
	s.freshly(t)
	phone, tablet := newDevice(t), newDevice(t)
	held, hers := s.account(t, phone, "alice"), s.login(t, tablet, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	var a answer
	events := s.audited(func() { a = s.renameMe(t, phone, own, "Alex") })
	if a.status != http.StatusOK || a.text("handle") != "im:%40alex@example.com" || a.text("display") != "@alex@example.com" {
		t.Fatalf("PUT /me/handle = %v, want alex", a)
	}
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=user.renamed actor=user ") || strings.Contains(events[0], "alice") {
		t.Errorf("events = %q, want one without the old handle", events)
	}
	for _, token := range []string{held.access, hers.access} {
		s.wantInactive(t, token)
	}
	wantRefused(t, s.renameMe(t, phone, own, "alexa"), http.StatusUnauthorized, "invalid_token")
	for d, by := range map[*device]caller{phone: accounts, tablet: app} {
		refresh := map[*device]tokens{phone: held, tablet: hers}[d]
		if next := s.refreshedBy(t, by, d, refresh); next.set.Handle != "im:%40alex@example.com" || next.set.Subject != held.set.Subject {
			t.Errorf("refreshed token = %+v, want the new handle of the same user", next.set)
		}
	}
	held = s.account(t, phone, "alice")
	own = s.forIssuer(t, phone, held, "account").access
	for _, path := range []string{"/me", "/me/devices", "/me/sessions", "/me/events", "/me/provider-links", "/me/actors", "/me/delegations", "/me/links"} {
		if a := s.held(t, phone, own, http.MethodGet, path, nil); a.status != http.StatusOK || strings.Contains(a.body, "alice") {
			t.Errorf("GET %s = %v, want no former handle", path, a)
		}
	}
	// The same again changes nothing; another one has to wait, and is not looked up before.
	wantStatus(t, s.renameMe(t, phone, own, "alex"), http.StatusOK)
	s.login(t, newDevice(t), "bob")
	for _, handle := range []string{"alexa", "bob", "alice"} {
		wantRefused(t, s.renameMe(t, phone, own, handle), http.StatusConflict, "rename_too_soon")
	}
	after := s.held(t, phone, own, http.MethodGet, "/me", nil).json["rename"].(object)["after"]
	s.advance(t, 7*24*time.Hour)
	if want := s.clock.now().UTC().Format("2006-01-02"); !strings.HasPrefix(fmt.Sprint(after), want) {
		t.Errorf("rename after %v, want %s", after, want)
	}
	own = s.justNow(t, s.forIssuer(t, phone, held, "account").access)
	wantRefused(t, s.renameMe(t, phone, own, "bob"), http.StatusConflict, "handle_taken")
	wantStatus(t, s.renameMe(t, phone, own, "alice"), http.StatusOK) // her own former one
}

// TestRenameOwnRefused holds who cannot have which handle. Nothing changes then.
func TestRenameOwnRefused(t *testing.T) {
	s := start(t, renaming)
	s.freshly(t)
	phone, bobs := newDevice(t), newDevice(t)
	s.account(t, bobs, "bob")
	user := deviceOf(t, s.account(t, bobs, "bob")).Local()
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {"robert"}}), http.StatusOK)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	for name, test := range map[string]struct {
		body   any
		status int
		code   string
	}{
		"taken":               {object{"handle": "robert"}, 409, "handle_taken"},
		"quarantined":         {object{"handle": "bob"}, 409, "handle_taken"},
		"looks like a taken":  {object{"handle": "rоbert"}, 409, "handle_mixed_script"}, // Cyrillic о
		"confusable taken":    {object{"handle": "r0bert"}, 409, "handle_taken"},
		"id of a user":        {object{"handle": user}, 409, "handle_taken"},
		"reserved":            {object{"handle": "admin"}, 409, "handle_reserved"},
		"looks reserved":      {object{"handle": "adm1n"}, 409, "handle_confusable"},
		"two words":           {object{"handle": "two words"}, 409, "handle_invalid"},
		"long":                {object{"handle": strings.Repeat("a", 300)}, 409, "handle_invalid"},
		"with a domain":       {object{"handle": "alex@example.net"}, 409, "handle_invalid"},
		"empty":               {object{"handle": ""}, 400, "invalid_request"},
		"none":                {object{}, 400, "invalid_request"},
		"a number":            {object{"handle": 7}, 400, "invalid_request"},
		"another member":      {object{"handle": "alex", "user": user}, 400, "invalid_request"},
		"a member twice":      {rawBody(`{"handle":"alex","handle":"alexa"}`), 400, "invalid_request"},
		"a member in case":    {rawBody(`{"Handle":"alex"}`), 400, "invalid_request"},
		"an array":            {rawBody(`["alex"]`), 400, "invalid_request"},
		"a form":              {url.Values{"handle": {"alex"}}, 400, "invalid_request"},
		"oversized":           {rawBody(`{"handle":"` + strings.Repeat("a", 1<<17) + `"}`), 413, "invalid_request"},
		"invalid UTF-8":       {rawBody("{\"handle\":\"\xff\"}"), 400, "invalid_request"},
		"a control character": {object{"handle": "a\u0000b"}, 409, "handle_invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.held(t, phone, own, http.MethodPut, "/me/handle", test.body)
			wantRefused(t, a, test.status, test.code)
			if strings.Contains(a.body, "robert") || strings.Contains(a.body, user) {
				t.Errorf("answer = %v, want nothing about others", a)
			}
		})
	}
	scopes := s.forIssuer(t, phone, held, "introspect").access
	wantRefused(t, s.renameMe(t, phone, scopes, "alex"), http.StatusForbidden, "insufficient_scope")
	wantRefused(t, s.renameMe(t, phone, held.access, "alex"), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, s.renameMe(t, bobs, own, "alex"), http.StatusUnauthorized, "invalid_token") // by another key
	service := s.service(t, auditor, bobs, url.Values{"scope": {"introspect"}, "resource": {s.issuer}})
	wantRefused(t, s.renameMe(t, bobs, service, "alex"), http.StatusForbidden, "insufficient_scope")
	s.advance(t, 5*time.Minute+time.Second)
	own = s.forIssuer(t, phone, held, "account").access
	for _, handle := range []string{"alex", "robert"} { // also what is taken
		wantRefused(t, s.renameMe(t, phone, own, handle), http.StatusUnauthorized, "insufficient_user_authentication")
	}
	if a := s.held(t, phone, own, http.MethodGet, "/me", nil); a.text("display") != "@alice@example.com" {
		t.Errorf("GET /me = %v, want the handle of before", a)
	}
}

// TestRenameByAdminOnly holds that users do not rename themselves unless their domain lets them.
func TestRenameByAdminOnly(t *testing.T) {
	s := start(t, nil)
	s.freshly(t)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	s.login(t, newDevice(t), "bob")
	for _, handle := range []string{"alex", "bob", "two words"} {
		wantRefused(t, s.renameMe(t, phone, own, handle), http.StatusForbidden, "access_denied")
	}
}

// TestRenameOwnRaced lets two devices of a user and another user race for handles: the user is renamed once, and each handle is had
// by one user.
func TestRenameOwnRaced(t *testing.T) {
	s := start(t, renaming)
	s.freshly(t)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	requests := []struct {
		d      *device
		held   tokens
		handle string
	}{
		{phone, s.account(t, phone, "alice"), "alex"}, {tablet, s.account(t, tablet, "alice"), "alexa"}, {bobs, s.account(t, bobs, "bob"), "alex"},
	}
	own := make([]string, len(requests))
	for i, r := range requests {
		own[i] = s.forIssuer(t, r.d, r.held, "account").access
	}
	answers := make([]answer, len(requests))
	var group sync.WaitGroup
	for i, r := range requests {
		group.Go(func() { answers[i] = s.renameMe(t, r.d, own[i], r.handle) })
	}
	group.Wait()
	won := make(map[string]int)
	for i, a := range answers {
		switch {
		case a.status == http.StatusOK:
			won[requests[i].held.set.Subject]++
			won[requests[i].handle]++
		case a.status == http.StatusConflict && a.text("error") == "handle_taken" && requests[i].handle == "alex":
		case a.status == http.StatusUnauthorized && a.text("error") == "invalid_token" && requests[i].d != bobs:
		default:
			t.Errorf("answer = %v", a)
		}
	}
	for who, n := range won {
		if n != 1 {
			t.Errorf("%s won %d times, want once", who, n)
		}
	}
	if len(won) < 2 {
		t.Errorf("won = %v, want at least one rename", won)
	}
	for _, r := range requests {
		s.refreshedBy(t, accounts, r.d, r.held)
	}
}

// TestRenameByProvider holds that a domain can follow the handles of its authoritative provider, and that a handle that cannot be had
// refuses no login.
func TestRenameByProvider(t *testing.T) {
	s := start(t, map[string]string{"others": "rename: {by: provider}"})
	phone, tablet := newDevice(t), newDevice(t)
	held := s.login(t, phone, "alice")
	s.login(t, newDevice(t), "bob")
	called := func(handle any) tokens {
		t.Helper()
		said := func(claims object) { claims["preferred_username"] = handle }
		s.provider.tamper(t, tampering{idToken: func(_, claims object) { said(claims) }, userinfo: said})
		return s.login(t, tablet, "alice")
	}
	var next tokens
	events := s.audited(func() { next = called("Alex") })
	if next.set.Handle != "im:%40alex@example.com" || next.set.Subject != held.set.Subject {
		t.Errorf("token = %+v, want the handle that the provider named", next.set)
	}
	if !slices.ContainsFunc(events, func(e string) bool {
		return strings.HasPrefix(e, "event=user.renamed actor=provider ") && strings.Contains(e, "handle=alex")
	}) {
		t.Errorf("events = %q, want the rename by the provider", events)
	}
	s.wantInactive(t, held.access)
	if again := s.refreshed(t, phone, held.refresh); again.set.Handle != "im:%40alex@example.com" {
		t.Errorf("refreshed token = %+v, want the new handle", again.set)
	}
	for _, handle := range []any{"bob", "admin", "two words", "", 7, "alex"} {
		var kept tokens
		events := s.audited(func() { kept = called(handle) })
		if kept.set.Handle != "im:%40alex@example.com" {
			t.Errorf("token = %+v after the provider named %v, want the handle kept", kept.set, handle)
		}
		if slices.ContainsFunc(events, func(e string) bool { return strings.Contains(e, "user.renamed") }) {
			t.Errorf("events = %q, want no rename", events)
		}
	}
	if back := called("alice"); back.set.Handle != "im:%40alice@example.com" {
		t.Errorf("token = %+v, want the former handle again", back.set)
	}
	own := s.account(t, phone, "alice")
	wantRefused(t, s.renameMe(t, phone, s.forIssuer(t, phone, own, "account").access, "alex"), http.StatusForbidden, "access_denied")
}

// manageSelf is a flow of a user who looks at their account and changes it.
func manageSelf(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "self"))
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	link := storage.Link{Domain: "example.com", Issuer: "https://former.example", Subject: t.Name(), User: deviceOf(t, held).Local()}
	one := "session of " + held.set.SID
	var path string
	s.faults.quietly(func() {
		err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			g, _, _, err := tx.Session(ctx, held.set.SID)
			if err != nil {
				return err
			}
			other := g
			g.ID, other.ID = one, "other "+one
			return errors.Join(tx.InsertLink(ctx, link), tx.InsertGrant(ctx, g), tx.InsertGrant(ctx, other))
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range s.list(t, phone, own, "/me/provider-links") {
			if v["iss"] == link.Issuer {
				path = "/me/provider-links/" + v["id"].(string)
			}
		}
	})
	ask := func(method, path string, body any) func() answer {
		return func() answer { return s.held(t, phone, own, method, path, body) }
	}
	status := func(want int) func(answer) { return func(a answer) { wantStatus(t, a, want) } }
	ended := func(id string, want int) func(answer) {
		return func(a answer) {
			wantStatus(t, a, want)
			if g, _, _, err := s.store.Session(t.Context(), id); err != nil || g.EndedAt.IsZero() {
				t.Errorf("session = %+v, %v, want it ended", g, err)
			}
		}
	}
	return []step{
		{name: "profile", ask: ask(http.MethodGet, "/me", nil), good: status(http.StatusOK)},
		{name: "sessions", ask: ask(http.MethodGet, "/me/sessions", nil), good: status(http.StatusOK)},
		{name: "links", ask: ask(http.MethodGet, "/me/provider-links", nil), good: status(http.StatusOK)},
		{
			name: "end of a session", ask: ask(http.MethodDelete, "/me/sessions/"+url.PathEscape(one), nil),
			good: ended(one, http.StatusNoContent),
		},
		{
			name: "end of all others",
			ask: func() answer {
				req := s.request(t, http.MethodDelete, "/me/sessions?except=current", "")
				req.Header.Set("Authorization", "DPoP "+own)
				req.Header.Set("DPoP", s.proofFor(t, phone.Signer, http.MethodDelete, "/me/sessions", s.nonce(t), own))
				return s.send(t, s.http, req)
			},
			good: ended("other "+one, http.StatusOK),
		},
		{
			name: "removal of a link",
			ask:  func() answer { return s.held(t, phone, own, http.MethodDelete, path, nil) },
			good: func(a answer) {
				if a.status != http.StatusNotFound { // removed, and the answer was lost
					wantStatus(t, a, http.StatusNoContent)
				}
			},
		},
		{
			name:  "other handle",
			ready: func() { own = s.forIssuer(t, phone, held, "account").access },
			ask:   func() answer { return s.renameMe(t, phone, own, handleOf(t, "other")) },
			good:  status(http.StatusOK),
			again: func(bool) answer { // the old token is of an earlier generation if only the answer was lost
				s.faults.quietly(func() { own = s.forIssuer(t, phone, held, "account").access })
				return s.renameMe(t, phone, own, handleOf(t, "other"))
			},
		},
	}
}

// followProvider is a flow of a login after which a user has another handle.
func followProvider(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "former"))
	s.code(t, "alice", nil)
	s.namesake(t, "person "+t.Name(), handleOf(t, "latter"))
	v := s.visit(t, "alice", nil)
	enter := func() answer { return s.open(t, v.browser, v.callback) }
	return []step{{
		name: "callback", page: true, ask: enter,
		good: func(a answer) { wantStatus(t, a, http.StatusSeeOther) },
		again: func(bool) answer { // the provider accepts its code once
			s.faults.quietly(func() { v = s.visit(t, "alice", nil) })
			return enter()
		},
	}}
}
