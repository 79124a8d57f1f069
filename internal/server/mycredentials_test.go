package server_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/browser"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/trust"
)

// wantStatusOf wants the status list to say this of a credential, as a verifier finds that has no copy of the list.
func (s *site) wantStatusOf(t *testing.T, c obtained, want statuslist.Status) {
	t.Helper()
	status, err := s.credentialStatuses(t).Status(t.Context(), s.issuer, c.ref)
	if err != nil || status != want {
		t.Errorf("status of credential %s = %v, %v, want %v", c.id, status, err, want)
	}
}

// myCredentials returns the credentials of a user by their ids.
func (s *site) myCredentials(t *testing.T, d *device, own string) map[string]object {
	t.Helper()
	list := make(map[string]object)
	for _, v := range s.list(t, d, own, "/me/credentials") {
		list[v["id"].(string)] = v
	}
	return list
}

// TestMyCredentials holds what users see of the credentials of their devices, that they end them, and that they neither see nor end those
// of others.
func TestMyCredentials(t *testing.T) {
	s := start(t, renaming)
	s.freshly(t)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held, hers, his := s.account(t, phone, "alice"), s.account(t, tablet, "alice"), s.account(t, bobs, "bob")
	there := s.signedInTo(t, "example.org", newDevice(t), "alice")
	onPhone, second, onTablet, onBobs := s.obtain(t, phone, "alice"), s.obtain(t, phone, "alice"), s.obtain(t, tablet, "alice"), s.obtain(t, bobs, "bob")
	abroad := s.insertCredential(t, there, nil)
	s.insertCredential(t, held, func(c *storage.Credential) { c.ExpiresAt = s.clock.now() }) // no longer shown
	own := s.forIssuer(t, phone, held, "account").access

	list := s.myCredentials(t, phone, own)
	if got, want := slices.Sorted(maps.Keys(list)), slices.Sorted(slices.Values([]string{onPhone.id, second.id, onTablet.id})); !slices.Equal(got, want) {
		t.Fatalf("credentials = %q, want %q", got, want)
	}
	today, last := s.clock.now().UTC().Format(time.DateOnly), s.clock.now().Add(30*24*time.Hour).UTC().Format(time.DateOnly)
	want := object{
		"id": onPhone.id, "device": held.set.Device, "format": "dc+sd-jwt", "handle": held.set.Handle, "jkt": onPhone.jkt, "issued": today,
		"expires": last, "state": "live",
	}
	if got := list[onPhone.id]; string(encode(got)) != string(encode(want)) {
		t.Errorf("credential = %v, want %v", got, want)
	}
	if got := list[onTablet.id]["device"]; got != hers.set.Device {
		t.Errorf("device = %v, want %v", got, hers.set.Device)
	}

	// One ends, at once, and nothing else.
	s.wantStatusOf(t, onPhone, statuslist.Valid)
	path := "/me/credentials/" + onPhone.id
	events := s.audited(func() {
		for range 2 {
			wantStatus(t, s.held(t, phone, own, http.MethodDelete, path, nil), http.StatusNoContent)
			s.wantStatusOf(t, onPhone, statuslist.Invalid)
		}
	})
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=credential.ended actor=user ") || !strings.Contains(events[0], "credential="+onPhone.id) {
		t.Errorf("events = %q, want one", events)
	}
	ended := s.myCredentials(t, phone, own)[onPhone.id]
	if ended["state"] != "ended" || ended["ended"] != today {
		t.Errorf("credential = %v, want one that ended today", ended)
	}
	// From any device of hers.
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+onTablet.id, nil), http.StatusNoContent)
	s.wantStatusOf(t, onTablet, statuslist.Invalid)

	// Nothing of others, whose existence is not told.
	unknown := s.held(t, phone, own, http.MethodDelete, "/me/credentials/none", nil)
	wantRefused(t, unknown, http.StatusNotFound, "not_found")
	for _, foreign := range []string{onBobs.id, abroad.ID, "0", strings.Repeat("f", 300), "%00", "..%2fdevices", "%f0%28", url.PathEscape(held.set.Device)} {
		a := s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+foreign, nil)
		wantRefused(t, a, http.StatusNotFound, "not_found")
		if a.body != unknown.body {
			t.Errorf("answer about %q = %s, want that about an unknown one: %s", foreign, a.body, unknown.body)
		}
	}
	for _, c := range []obtained{second, onBobs} {
		s.wantStatusOf(t, c, statuslist.Valid)
	}
	if got := s.myCredentials(t, bobs, s.forIssuer(t, bobs, his, "account").access); len(got) != 1 || got[onBobs.id] == nil {
		t.Errorf("credentials of bob = %v, want his own", got)
	}
	for _, query := range []string{"?limit=0", "?limit=51", "?limit=x", "?limit=1&limit=1"} {
		wantRefused(t, s.held(t, phone, own, http.MethodGet, "/me/credentials"+query, nil), http.StatusBadRequest, "invalid_request")
	}

	// Only by a token for the issuer alone, with the scope account, and of a live session.
	for _, refused := range []struct {
		token, code string
		status      int
	}{
		{held.access, "invalid_token", http.StatusUnauthorized},
		{s.forIssuer(t, phone, held, "introspect").access, "insufficient_scope", http.StatusForbidden},
	} {
		wantRefused(t, s.held(t, phone, refused.token, http.MethodGet, "/me/credentials", nil), refused.status, refused.code)
		wantRefused(t, s.held(t, phone, refused.token, http.MethodDelete, "/me/credentials/"+second.id, nil), refused.status, refused.code)
	}
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/sessions/"+held.set.SID, nil), http.StatusNoContent)
	wantRefused(t, s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+second.id, nil), http.StatusUnauthorized, "invalid_token")
	s.wantStatusOf(t, second, statuslist.Valid) // a credential outlives its session
}

// TestDeviceCredentials holds that a token for credentials alone lists and ends those of its own device, and does nothing else.
func TestDeviceCredentials(t *testing.T) {
	s := start(t, nil)
	s.freshly(t)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held := s.inWallet(t, phone, "alice")
	first, second := s.obtain(t, phone, "alice"), s.obtain(t, phone, "alice")
	onTablet, onBobs := s.obtain(t, tablet, "alice"), s.obtain(t, bobs, "bob")
	s.insertCredential(t, held, func(c *storage.Credential) { c.ExpiresAt = s.clock.now() }) // no longer shown
	getting := s.forCredentials(t, phone, held)

	list := s.myCredentials(t, phone, getting)
	if got, want := slices.Sorted(maps.Keys(list)), slices.Sorted(slices.Values([]string{first.id, second.id})); !slices.Equal(got, want) {
		t.Fatalf("credentials = %q, want those of the device: %q", got, want)
	}
	if v := list[first.id]; v["device"] != held.set.Device || v["jkt"] != first.jkt || v["state"] != "live" {
		t.Errorf("credential = %v, want a live one of the device", v)
	}
	events := s.audited(func() {
		for range 2 {
			wantStatus(t, s.held(t, phone, getting, http.MethodDelete, "/me/credentials/"+first.id, nil), http.StatusNoContent)
			s.wantStatusOf(t, first, statuslist.Invalid)
		}
	})
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=credential.ended actor=user ") || !strings.Contains(events[0], "credential="+first.id) {
		t.Errorf("events = %q, want one", events)
	}
	if v := s.myCredentials(t, phone, getting)[first.id]; v["state"] != "ended" {
		t.Errorf("credential = %v, want it ended", v)
	}

	// Those of the user's other devices are as unknown as those of others.
	unknown := s.held(t, phone, getting, http.MethodDelete, "/me/credentials/none", nil)
	wantRefused(t, unknown, http.StatusNotFound, "not_found")
	for _, c := range []obtained{onTablet, onBobs} {
		if a := s.held(t, phone, getting, http.MethodDelete, "/me/credentials/"+c.id, nil); a.status != unknown.status || a.body != unknown.body {
			t.Errorf("answer about another device = %v, want that about an unknown one", a)
		}
		s.wantStatusOf(t, c, statuslist.Valid)
	}
	for _, path := range []string{"/me", "/me/devices", "/me/sessions", "/me/events", "/me/export", "/me/privacy", "/me/provider-links", "/me/actors"} {
		wantRefused(t, s.held(t, phone, getting, http.MethodGet, path, nil), http.StatusForbidden, "insufficient_scope")
	}
	wantRefused(t, s.held(t, phone, getting, http.MethodDelete, "/me/devices/"+deviceID(t, held), nil), http.StatusForbidden, "insufficient_scope")

	// With both scopes it is as with the account: each device of the user.
	form := s.walletRefresh(held, "account im:credential")
	both := wantTokens(t, s.token(t, wallet, phone, form)).access
	if list := s.myCredentials(t, phone, both); len(list) != 3 || list[onTablet.id] == nil {
		t.Errorf("credentials with both scopes = %v, want those of both devices", list)
	}
	wantStatus(t, s.held(t, phone, both, http.MethodDelete, "/me/credentials/"+onTablet.id, nil), http.StatusNoContent)
	s.wantStatusOf(t, onTablet, statuslist.Invalid)

	// Not with the key of another device, and not after the session.
	wantRefused(t, s.held(t, tablet, getting, http.MethodDelete, "/me/credentials/"+second.id, nil), http.StatusUnauthorized, "invalid_token")
	wantStatus(t, s.held(t, phone, both, http.MethodDelete, "/me/sessions/"+held.set.SID, nil), http.StatusNoContent)
	wantRefused(t, s.held(t, phone, getting, http.MethodDelete, "/me/credentials/"+second.id, nil), http.StatusUnauthorized, "invalid_token")
	wantRefused(t, s.held(t, phone, getting, http.MethodGet, "/me/credentials", nil), http.StatusUnauthorized, "invalid_token")
	s.wantStatusOf(t, second, statuslist.Valid)
}

// TestCredentialsOfRevokedKey holds what docs/credentials.md says about credentials whose signing key was revoked: they are refused, are still
// listed as live and count, and the token with which the device gets others ends them.
func TestCredentialsOfRevokedKey(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.inWallet(t, phone, "alice")
	getting := s.forCredentials(t, phone, held)
	list := wantCredentials(t, s.askCredentials(t, phone, getting, s.keyProofs(t, 5)...), 5)
	if _, err := s.verifyCredential(t, list[0]); !credential.Stands(err) {
		t.Fatalf("credential = %v, want it good", err)
	}
	wantStatus(t, s.revokeKey(t, kidOf(t, getting)), http.StatusOK)
	if _, err := s.verifyCredential(t, list[0]); credential.Stands(err) {
		t.Errorf("credential of a revoked key = %v, want it refused", err)
	}
	getting = s.forCredentials(t, phone, s.refreshedBy(t, wallet, phone, held))
	a := s.askCredentials(t, phone, getting, s.keyProof(t, newDevice(t).Signer))
	wantRefused(t, a, http.StatusBadRequest, "credential_request_denied")
	for id, v := range s.myCredentials(t, phone, getting) {
		if v["state"] != "live" {
			t.Errorf("credential = %v, want it live", v)
		}
		wantStatus(t, s.held(t, phone, getting, http.MethodDelete, "/me/credentials/"+id, nil), http.StatusNoContent)
	}
	if c, _ := s.tryObtain(t, phone, getting); c.id == "" {
		t.Error("no credential after the old ones ended")
	}
}

// TestCredentialsEndWithTheRest holds that a credential ends with its device, its key and its user, that only its handle ends with a
// rename, and that the status list says so with the answer.
func TestCredentialsEndWithTheRest(t *testing.T) {
	s := start(t, renaming)
	s.freshly(t)
	phone, tablet, laptop := newDevice(t), newDevice(t), newDevice(t)
	held, hers := s.account(t, phone, "alice"), s.account(t, tablet, "alice")
	onPhone, onTablet, onLaptop := s.obtain(t, phone, "alice"), s.obtain(t, tablet, "alice"), s.obtain(t, laptop, "alice")
	own := s.forIssuer(t, phone, held, "account").access

	// A rename: the handle alone, and the former one is in no answer. One that has ended before, or that states no handle, stays so.
	early, bare := s.obtain(t, phone, "alice"), s.insertCredential(t, held, func(c *storage.Credential) { c.Handle = "" })
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+early.id, nil), http.StatusNoContent)
	wantStatus(t, s.renameMe(t, phone, own, "alex"), http.StatusOK)
	for _, c := range []obtained{onPhone, onTablet, onLaptop} {
		s.wantStatusOf(t, c, credential.StatusHandleEnded)
	}
	held = s.refreshedBy(t, accounts, phone, held)
	own = s.forIssuer(t, phone, held, "account").access
	for id, v := range s.myCredentials(t, phone, own) {
		want := map[string]string{early.id: "ended", bare.ID: "live"}[id]
		if want == "" {
			want = "handle_ended"
		}
		if v["state"] != want || v["handle"] != nil || (v["ended"] != nil) != (want == "ended") || strings.Contains(string(encode(v)), "alice") {
			t.Errorf("credential %s = %v, want %s without a handle", id, v, want)
		}
	}
	s.wantStatusOf(t, early, statuslist.Invalid)
	anew := s.obtain(t, phone, "alice")
	s.wantStatusOf(t, anew, statuslist.Valid)
	if v := s.myCredentials(t, phone, own)[anew.id]; v["handle"] != "im:%40alex@example.com" || v["state"] != "live" {
		t.Errorf("new credential = %v, want a live one with the new handle", v)
	}

	// The device, by its user.
	wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/devices/"+deviceID(t, hers), nil), http.StatusNoContent)
	s.wantStatusOf(t, onTablet, statuslist.Invalid)
	if v := s.myCredentials(t, phone, own)[onTablet.id]; v["state"] != "ended" {
		t.Errorf("credential of a removed device = %v, want it ended", v)
	}
	s.wantStatusOf(t, onPhone, credential.StatusHandleEnded)

	// The key.
	next := newDevice(t)
	s.rekeyed(t, phone, next, held)
	s.wantStatusOf(t, onPhone, statuslist.Invalid)
	s.wantStatusOf(t, anew, statuslist.Invalid)
	s.wantStatusOf(t, onLaptop, credential.StatusHandleEnded)

	// The user.
	user := deviceOf(t, held).Local()
	wantStatus(t, s.disable(t, user), http.StatusOK)
	s.wantStatusOf(t, onLaptop, statuslist.Invalid)
	wantStatus(t, s.enable(t, user), http.StatusOK)
	for _, c := range []obtained{onPhone, onTablet, onLaptop, anew} {
		s.wantStatusOf(t, c, statuslist.Invalid) // for ever
	}
	last := s.obtain(t, laptop, "alice")
	s.wantStatusOf(t, last, statuslist.Valid)
	wantStatus(t, s.removeUser(t, user), http.StatusOK)
	for _, c := range []obtained{onPhone, onTablet, onLaptop, anew, last} {
		s.wantStatusOf(t, c, statuslist.Invalid)
	}
}

// TestCredentialEndsRace has a user, with two devices, an operator and a removal of the device end the same credentials at once: each
// credential has one end, with one event.
func TestCredentialEndsRace(t *testing.T) {
	s := start(t, nil)
	phone, tablet := newDevice(t), newDevice(t)
	held, hers := s.account(t, phone, "alice"), s.account(t, tablet, "alice")
	own, also := s.forIssuer(t, phone, held, "account").access, s.forIssuer(t, tablet, hers, "account").access
	list := make([]obtained, 4)
	for i := range list {
		list[i] = s.obtain(t, phone, "alice")
	}
	events := s.audited(func() {
		var group sync.WaitGroup
		for _, c := range list {
			path := "/me/credentials/" + c.id
			group.Go(func() {
				wantOneOf(t, s.held(t, phone, own, http.MethodDelete, path, nil), http.StatusNoContent, http.StatusUnauthorized, http.StatusForbidden)
			})
			group.Go(func() { wantOneOf(t, s.held(t, tablet, also, http.MethodDelete, path, nil), http.StatusNoContent) })
			group.Go(func() {
				wantOneOf(t, s.operate(t, http.MethodDelete, "/admin/credentials/example.com/"+c.id, url.Values{"reason": {"copied"}}), http.StatusOK)
			})
		}
		group.Go(func() {
			wantOneOf(t, s.held(t, tablet, also, http.MethodDelete, "/me/devices/"+deviceID(t, held), nil), http.StatusNoContent)
		})
		group.Wait()
	})
	count := make(map[string]int)
	for _, e := range events {
		for _, c := range list {
			if strings.Contains(e, "credential="+c.id) {
				count[c.id]++
			}
		}
	}
	for _, c := range list {
		s.wantStatusOf(t, c, statuslist.Invalid)
		if count[c.id] > 1 {
			t.Errorf("%d events of the end of %s, want one, or none if it ended with its device", count[c.id], c.id)
		}
	}
	for id, v := range s.myCredentials(t, tablet, also) {
		if v["state"] != "ended" {
			t.Errorf("credential %s = %v, want it ended", id, v)
		}
	}
	t.Logf("%d of %d credentials ended by themselves, the others with their device", len(count), len(list))
}

func wantOneOf(t *testing.T, a answer, statuses ...int) {
	t.Helper()
	if !slices.Contains(statuses, a.status) {
		t.Errorf("answer = %v, want one of %v", a, statuses)
	}
}

// TestCredentialsReplaced has a device get and end credentials at once: no more are live than it may have, and each that was ended stays so.
func TestCredentialsReplaced(t *testing.T) {
	const workers, rounds, most = 6, 4, 5
	s := start(t, map[string]string{"limits": ", per_user: off, per_user_client: off"})
	phone := newDevice(t)
	own := s.forIssuer(t, phone, s.account(t, phone, "alice"), "account").access
	getting := s.forCredentials(t, phone, s.inWallet(t, phone, "alice"))
	var mu sync.Mutex
	var live, ended []obtained
	full := 0
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for range rounds {
				c, a := s.tryObtain(t, phone, getting)
				if a.status != http.StatusOK {
					wantRefused(t, a, http.StatusBadRequest, "credential_request_denied")
					mu.Lock()
					full++
					mu.Unlock()
				}
				mu.Lock()
				if a.status == http.StatusOK {
					live = append(live, c)
				}
				var end obtained
				if len(live) > 3 {
					end, live = live[0], live[1:]
				}
				mu.Unlock()
				if end.id != "" {
					wantStatus(t, s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+end.id, nil), http.StatusNoContent)
					mu.Lock()
					ended = append(ended, end)
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	list := s.myCredentials(t, phone, own)
	if len(list) != len(live)+len(ended) || len(live) > most {
		t.Errorf("%d credentials are listed, %d live and %d ended, want all of them and at most %d live", len(list), len(live), len(ended), most)
	}
	for _, c := range ended {
		if s.wantStatusOf(t, c, statuslist.Invalid); list[c.id]["state"] != "ended" {
			t.Errorf("credential = %v, want it ended", list[c.id])
		}
	}
	for _, c := range live {
		s.wantStatusOf(t, c, statuslist.Valid)
	}
	t.Logf("%d were ended, and %d requests refused at the limit", len(ended), full)
}

// TestCredentialsOnThePage holds that the page of a device shows its credentials, and that one ends by the form of a page.
func TestCredentialsOnThePage(t *testing.T) {
	s := start(t, renaming)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	first, second, other, onBobs := s.obtain(t, phone, "alice"), s.obtain(t, phone, "alice"), s.obtain(t, tablet, "alice"), s.obtain(t, bobs, "bob")
	b := s.visiting(t, "alice")
	page := "/account/devices/" + deviceID(t, held)
	end := func(c obtained) string { return "/account/credentials/" + c.id + "/end" }
	shows := func(page string, texts ...string) {
		t.Helper()
		a := s.look(t, b, page)
		wantStatus(t, a, http.StatusOK)
		for _, text := range texts {
			text, missing := strings.CutPrefix(text, "no ")
			if strings.Contains(a.body, text) == missing {
				t.Errorf("%s has %q: %v, want %v\n%s", page, text, missing, !missing, a)
			}
		}
	}
	shows(page, "Credentials", "<code>dc&#43;sd-jwt</code>", "since ", "until ", end(first), end(second), "no "+end(other), "no "+end(onBobs),
		"no ended on", "no former name")

	shows(end(first), "End this credential?", "<code>dc&#43;sd-jwt</code>", "Valid since", "Valid until")
	s.wantGone(t, s.press(t, b, end(first), "", ""), "/account?done=credential_ended")
	shows("/account?done=credential_ended", "The credential has ended.")
	s.wantStatusOf(t, first, statuslist.Invalid)
	s.wantStatusOf(t, second, statuslist.Valid)
	shows(page, "ended on", "no "+end(first), end(second))
	wantPage(t, s.look(t, b, end(first)), http.StatusNotFound)

	// The form counts only with its token, for one's own.
	token := csrfOf(t, s.look(t, b, "/account"))
	for _, foreign := range []string{end(onBobs), "/account/credentials/none/end"} {
		wantPage(t, s.look(t, b, foreign), http.StatusNotFound)
		wantPage(t, s.fillIn(t, b, foreign, url.Values{"csrf": {token}}, nil), http.StatusNotFound)
	}
	wantPage(t, s.fillIn(t, b, end(second), url.Values{"csrf": {"forged"}}, nil), http.StatusForbidden)
	wantPage(t, s.fillIn(t, b, end(second), url.Values{}, nil), http.StatusForbidden)
	s.wantStatusOf(t, second, statuslist.Valid)
	s.wantStatusOf(t, onBobs, statuslist.Valid)

	user := deviceOf(t, held).Local()
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", url.Values{"domain": {"example.com"}, "handle": {"alexandra"}}), http.StatusOK)
	shows(page, "states your former name", "no alice")
	shows(end(second), "states your former name", "no alice")
}

// endingCredentials is a flow of TestStoreFails: a user and an operator look at credentials and end them.
func endingCredentials(t *testing.T, s *site) []step {
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account").access
	var first, second storage.Credential
	var b *browser.Browser
	s.faults.quietly(func() {
		b = s.visiting(t, "alice")
		first, second = s.insertCredential(t, held, nil), s.insertCredential(t, held, nil)
	})
	ended := func(c storage.Credential, want int) func(answer) {
		return func(a answer) {
			wantStatus(t, a, want)
			if stored, err := s.store.Credential(t.Context(), c.ID); err != nil || stored.EndedAt.IsZero() {
				t.Errorf("credential = %+v, %v, want it ended", stored, err)
			}
		}
	}
	good := func(a answer) { wantStatus(t, a, http.StatusOK) }
	path := "/admin/credentials/example.com/" + second.ID
	return []step{
		{name: "list", ask: func() answer { return s.held(t, phone, own, http.MethodGet, "/me/credentials", nil) }, good: good},
		{
			name: "page of the device", page: true, good: good,
			ask: func() answer { return s.look(t, b, "/account/devices/"+deviceID(t, held)) },
		},
		{
			name: "end by the user", ask: func() answer { return s.held(t, phone, own, http.MethodDelete, "/me/credentials/"+first.ID, nil) },
			good: ended(first, http.StatusNoContent),
		},
		{name: "status list", ask: func() answer { return s.get(t, fmt.Sprintf("%s/status/%011x", s.issuer, first.Status.List)) }, good: good},
		{
			name: "list for operators",
			ask: func() answer {
				return s.operate(t, http.MethodGet, "/admin/credentials", url.Values{"domain": {"example.com"}, "device": {deviceID(t, held)}})
			},
			good: good,
		},
		{
			name: "end by an operator", ask: func() answer { return s.operate(t, http.MethodDelete, path, url.Values{"reason": {"copied"}}) },
			good: ended(second, http.StatusOK),
		},
	}
}

// An obtained credential is one that a device has.
type obtained struct {
	id, jkt string
	ref     statuslist.Reference
}

// credentialStatuses returns a verifier of credentials of another party, which has no copy of a list.
func (s *site) credentialStatuses(t *testing.T) *statuslist.Reader {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: s.http, ForeignClient: s.http, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: s.http, Bits: 2, AllowHTTP: true, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// insertCredential stores a credential of the device of a login, as the issuer would have issued it, with changes.
func (s *site) insertCredential(t *testing.T, held tokens, change func(c *storage.Credential)) storage.Credential {
	t.Helper()
	id, err := held.set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now()
	c := storage.Credential{
		ID: rand.Text(), Domain: id.Device.Domain(), User: id.Device.Local(), Device: id.Device.Device(), Format: "dc+sd-jwt", JKT: rand.Text(),
		Handle: id.Handle.Local(), IssuedAt: now, ExpiresAt: now.Add(30 * 24 * time.Hour),
	}
	err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		list, err := tx.TakeStatusEntries(ctx, storage.CredentialStatuses, c.Domain, 1, now.Add(100*24*time.Hour))
		if errors.Is(err, storage.ErrNotFound) {
			list = storage.StatusList{
				ID: now.UnixNano()%storage.MaxStatusListID + 1, Kind: storage.CredentialStatuses, Domain: c.Domain, Size: 1 << 17, Available: 1 << 16,
				CreatedAt: now, ExpiresAt: now.Add(100 * 24 * time.Hour),
			}
			if err := tx.InsertStatusList(ctx, list); err != nil {
				return err
			}
			list, err = tx.TakeStatusEntries(ctx, storage.CredentialStatuses, c.Domain, 1, list.ExpiresAt)
		}
		if err != nil {
			return err
		}
		c.Status = storage.StatusEntry{List: list.ID, Index: list.Used}
		if change != nil {
			change(&c)
		}
		return tx.InsertCredential(ctx, c)
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// obtain gets a credential for a new key, with the device of a person.
func (s *site) obtain(t *testing.T, d *device, person string) obtained {
	t.Helper()
	c, a := s.tryObtain(t, d, s.forCredentials(t, d, s.inWallet(t, d, person)))
	if a.status != http.StatusOK {
		t.Fatalf("answer = %v, want a credential", a)
	}
	return c
}

// tryObtain is obtain with a token for credentials. The request may be refused.
func (s *site) tryObtain(t *testing.T, d *device, token string) (obtained, answer) {
	t.Helper()
	a := s.askCredentials(t, d, token, s.keyProof(t, newDevice(t).Signer))
	if a.status != http.StatusOK {
		return obtained{}, a
	}
	c, err := s.verifyCredential(t, wantCredentials(t, a, 1)[0])
	if !credential.Stands(err) || c.Status == nil { // it may have ended meanwhile
		t.Errorf("credential = %+v, %v, want a good one with a status", c, err)
		return obtained{}, a
	}
	return obtained{c.ID, c.JKT, *c.Status}, a
}
