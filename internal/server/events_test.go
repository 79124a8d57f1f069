package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
)

// The clients of testdata/settings.yaml that follow the revocations.
var (
	follower         = caller{id: "follower", secret: secret}
	strangerFollower = caller{id: "stranger-follower", secret: secret}
	feedApp          = caller{id: "feed-app"}
)

// askEvents asks for events as a client that authenticates directly.
func (s *site) askEvents(t *testing.T, c caller, query url.Values) answer {
	t.Helper()
	req := s.request(t, http.MethodGet, "/events?"+query.Encode(), "")
	c.authenticate(url.Values{}, req.Header)
	return s.send(t, s.http, req)
}

// events is askEvents, and wants a page.
func (s *site) events(t *testing.T, c caller, query url.Values) feed.Page {
	t.Helper()
	return wantEvents(t, s.askEvents(t, c, query))
}

func wantEvents(t *testing.T, a answer) (p feed.Page) {
	t.Helper()
	if a.status != http.StatusOK || a.header.Get("Content-Type") != "application/json" || a.header.Get("Cache-Control") != "no-store, no-transform" {
		t.Fatalf("answer = %v of type %q with Cache-Control %q, want a page that is neither stored nor changed",
			a, a.header.Get("Content-Type"), a.header.Get("Cache-Control"))
	}
	decode(t, []byte(a.body), &p)
	if p.Cursor == "" || p.Key == (feed.Key{}) || p.Events == nil {
		t.Fatalf("page = %s, want events, a cursor and a key", a.body)
	}
	return p
}

// boundHeader is the header of a GET with a token and a proof by its key.
func (s *site) boundHeader(t *testing.T, d *device, token, path string) http.Header {
	t.Helper()
	proof, err := d.Proof(dpop.ProofParams{
		Method: http.MethodGet, URL: s.issuer + path, Nonce: s.nonce(t), AccessToken: token, IssuedAt: s.clock.now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return http.Header{"Authorization": {"DPoP " + token}, "Dpop": {proof}}
}

// after is the query for the events after a page, for which the caller waits.
func after(p feed.Page) url.Values { return url.Values{"after": {p.Cursor}, "wait": {"60"}} }

// subject is what an event may be about, as introspection answers and the token itself tell it.
func subject(t *testing.T, held tokens) feed.Subject {
	t.Helper()
	set := claimsOf(t, held.access)
	return feed.Subject{JTI: set.JTI, SID: set.SID, Device: set.Device, Sub: set.Subject, ClientID: set.ClientID, KID: kidOf(t, held.access), Gen: set.Gen}
}

// matching returns the kinds of the events that end a token.
func matching(p feed.Page, s feed.Subject) (kinds []feed.Kind) {
	for _, e := range p.Events {
		if p.Key.Matches(e, s) {
			kinds = append(kinds, e.Kind)
		}
	}
	return kinds
}

// TestEvents holds that whatever ends tokens is told to a caller that waits: which tokens, and in the order in which they end.
func TestEvents(t *testing.T) {
	s := start(t, nil)
	d, other := newDevice(t), newDevice(t)
	held, another := s.login(t, d, "alice"), s.login(t, other, "alice")
	bob := s.login(t, newDevice(t), "bob")
	page := s.events(t, follower, nil)
	if len(page.Events) != 0 || page.More || !slices.Equal(page.Domains, []string{"example.com"}) {
		t.Fatalf("first page = %+v, want no events, of example.com", page)
	}
	next := func(do func()) feed.Page {
		t.Helper()
		waiting := make(chan answer, 1)
		go func() { waiting <- s.askEvents(t, follower, after(page)) }()
		s.waitFollowers(t, 1)
		do()
		page = wantEvents(t, <-waiting)
		for page.More {
			more := s.events(t, follower, url.Values{"after": {page.Cursor}})
			more.Events = append(page.Events, more.Events...)
			page = more
		}
		return page
	}
	wantKinds := func(p feed.Page, held tokens, want ...feed.Kind) {
		t.Helper()
		if got := matching(p, subject(t, held)); !slices.Equal(got, want) {
			t.Errorf("events that end the token = %v, want %v", got, want)
		}
	}

	second := s.refreshed(t, d, held.refresh)
	p := next(func() { s.revokeBy(t, app, d, held.access) })
	wantKinds(p, held, feed.Token)
	wantKinds(p, second)
	wantKinds(p, bob)

	p = next(func() { s.remove(t, another.set.Device) })
	wantKinds(p, another, feed.Device, feed.Session)
	wantKinds(p, second)

	p = next(func() { s.revoke(t, app, second.refresh) })
	wantKinds(p, second, feed.Session)

	user := bob.set.Subject
	id := deviceOf(t, bob).Local()
	p = next(func() { s.rename(t, id, "robert") })
	wantKinds(p, bob, feed.Generation)
	renamed := subject(t, bob)
	if renamed.Gen++; len(matching(p, renamed)) != 0 {
		t.Errorf("events = %+v, want none that ends a token of the new generation", p.Events)
	}
	if renamed.Gen = 0; !slices.Equal(matching(p, renamed), []feed.Kind{feed.Generation}) {
		t.Errorf("events = %+v, want one that ends a token whose generation is not known", p.Events)
	}

	p = next(func() { s.disable(t, id) })
	wantKinds(p, bob, feed.Generation, feed.Session)

	kid := kidOf(t, bob.access)
	s.rotate(t, "true")
	p = next(func() { s.revokeKey(t, kid) })
	wantKinds(p, bob, feed.SigningKey)
	wantKinds(p, second, feed.SigningKey)

	if e := p.Events[0]; e.Hash != p.Key.Hash(feed.SigningKey, kid) || e.Expires == 0 {
		t.Errorf("event = %+v, want the hash of the key and when the last token has expired", e)
	}
	if text, _ := json.Marshal(p); strings.Contains(string(text), kid) || strings.Contains(string(text), user) {
		t.Errorf("page = %s, want no plain ids", text)
	}
}

// rename gives a user of example.com another handle, as an operator.
func (s *site) rename(t *testing.T, id, handle string) {
	t.Helper()
	a := s.operate(t, http.MethodPut, "/admin/users/"+id+"/handle", url.Values{"domain": {"example.com"}, "handle": {handle}})
	if a.status != http.StatusOK {
		t.Fatalf("renaming = %v, want 200", a)
	}
}

// TestEventsOfAClient holds that the end of a client is told to those who follow one of its domains.
func TestEventsOfAClient(t *testing.T) {
	s := start(t, nil)
	c := s.registered(t, newService("bridge"))
	token := s.service(t, c, newDevice(t), nil)
	ours, others := s.events(t, follower, nil), s.events(t, strangerFollower, nil)
	s.unregister(t, c.id)
	ours = s.events(t, follower, after(ours))
	if got := matching(ours, feed.Subject{ClientID: c.id}); !slices.Equal(got, []feed.Kind{feed.Client}) {
		t.Errorf("events = %v, want one about the client", ours.Events)
	}
	if p := s.events(t, strangerFollower, url.Values{"after": {others.Cursor}}); len(p.Events) != 0 {
		t.Errorf("events for another domain = %+v, want none", p.Events)
	}
	s.wantInactive(t, token)
	// The token of a service is of no user, and is revoked in the domains of its client.
	token = s.token(t, mute, nil, url.Values{"grant_type": {"client_credentials"}}).text("access_token")
	s.revoke(t, mute, token)
	ours = s.events(t, follower, after(ours))
	if got := matching(ours, feed.Subject{JTI: claimsOf(t, token).JTI}); !slices.Equal(got, []feed.Kind{feed.Token}) {
		t.Errorf("events = %v, want one about the token", ours.Events)
	}
	if p := s.events(t, strangerFollower, url.Values{"after": {others.Cursor}}); len(p.Events) != 0 {
		t.Errorf("events for another domain = %+v, want none", p.Events)
	}
}

// TestEventsOfOthers holds that a caller learns nothing of the events of other domains: neither what they are, nor how many, nor
// that there were any.
func TestEventsOfOthers(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	alice := s.login(t, d, "alice")
	ours, others := s.events(t, follower, nil), s.events(t, strangerFollower, nil)
	if ours.Key == others.Key {
		t.Error("two callers have one key for their hashes")
	}
	waiting := make(chan answer, 1)
	go func() {
		waiting <- s.askEvents(t, strangerFollower, url.Values{"after": {others.Cursor}, "wait": {"2"}})
	}()
	s.remove(t, alice.set.Device)
	if p := s.events(t, follower, after(ours)); len(matching(p, subject(t, alice))) == 0 {
		t.Errorf("events = %+v, want the device", p.Events)
	}
	select {
	case a := <-waiting:
		t.Errorf("answer = %v to a caller of another domain, want none before the time is over", a)
	case <-time.After(time.Second): // the other caller was answered, and the answer to this one needs no longer
	}
	next := wantEvents(t, <-waiting)
	if len(next.Events) != 0 || next.More {
		t.Errorf("page = %+v, want no events", next)
	}
	// Positions do not show whether something happened, either: each text is another one, of one length.
	still := s.events(t, strangerFollower, url.Values{"after": {next.Cursor}})
	if still.Cursor == next.Cursor || next.Cursor == others.Cursor || len(still.Cursor) != len(next.Cursor) || len(next.Cursor) != len(others.Cursor) {
		t.Errorf("cursors = %q, %q and %q, want three texts of one length", others.Cursor, next.Cursor, still.Cursor)
	}
	// The domain of a caller may have another name for the same person.
	org := s.signedInTo(t, "example.org", newDevice(t), "alice")
	s.remove(t, org.set.Device)
	if p := s.events(t, strangerFollower, after(still)); len(matching(p, subject(t, org))) == 0 || len(matching(p, subject(t, alice))) != 0 {
		t.Errorf("events = %+v, want the device of example.org alone", p.Events)
	}
}

// signedInTo logs a person in to a domain of an app that has two.
func (s *site) signedInTo(t *testing.T, domain string, d *device, person string) tokens {
	t.Helper()
	code := s.code(t, person, url.Values{"client_id": {bothApp.id}, "im_domain": {domain}})
	return wantTokens(t, s.token(t, bothApp, d, codeForm(code, nil)))
}

// TestEventsInPages holds that a caller gets each event once, in order, whatever the size of the pages, and that the order and the
// positions are the same after a restart.
func TestEventsInPages(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	page := s.events(t, follower, nil)
	first := page
	var ended []feed.Subject
	held := s.login(t, d, "alice")
	for range 7 {
		ended = append(ended, subject(t, held))
		next := s.refreshed(t, d, held.refresh)
		s.revokeBy(t, app, d, held.access)
		held = next
	}
	read := func(page feed.Page, limit string) (list []feed.Event) {
		t.Helper()
		for page.More = true; page.More; {
			page = s.events(t, follower, url.Values{"after": {page.Cursor}, "limit": {limit}})
			if fmt.Sprint(len(page.Events)) > limit {
				t.Fatalf("page of %d events, want at most %s", len(page.Events), limit)
			}
			list = append(list, page.Events...)
		}
		return list
	}
	wait := s.events(t, follower, after(first))
	for range 1000 { // the last one may be on its way
		if len(read(first, "9")) == len(ended) {
			break
		}
		wait = s.events(t, follower, url.Values{"after": {wait.Cursor}, "wait": {"1"}})
	}
	all := read(first, "9")
	for i, e := range all {
		if len(all) != len(ended) || !page.Key.Matches(e, ended[i]) {
			t.Fatalf("events = %+v, want the %d tokens in their order", all, len(ended))
		}
	}
	for _, limit := range []string{"1", "2", "3"} {
		if got := read(first, limit); !slices.Equal(got, all) {
			t.Errorf("events in pages of %s = %+v, want %+v", limit, got, all)
		}
	}
	middle := s.events(t, follower, url.Values{"after": {first.Cursor}, "limit": {"3"}})

	s.restart(t, nil)
	if got := read(first, "2"); !slices.Equal(got, all) {
		t.Errorf("events after a restart = %+v, want %+v", got, all)
	}
	if got := read(middle, "2"); !slices.Equal(got, all[3:]) {
		t.Errorf("events after a restart = %+v, want %+v", got, all[3:])
	}
	if again := s.events(t, follower, nil); again.Key != first.Key || len(again.Events) != 0 {
		t.Errorf("page = %+v after a restart, want the same key and no events", again)
	}
	s.revokeBy(t, app, d, held.access)
	if p := s.events(t, follower, url.Values{"after": {middle.Cursor}, "wait": {"60"}}); p.More || len(p.Events) < 4 {
		t.Errorf("events = %+v, want at least four", p.Events)
	}
}

// TestEventsReplaced holds what a caller gets that comes back late: of several revocations of one thing the last, and none whose
// tokens have all expired.
func TestEventsReplaced(t *testing.T) {
	s := start(t, nil)
	alice := s.login(t, newDevice(t), "alice")
	id := deviceOf(t, alice).Local()
	first := s.events(t, follower, nil)
	s.rename(t, id, "alicia")
	live := s.events(t, follower, after(first))
	s.rename(t, id, "alison")
	live.Events = append(live.Events, s.events(t, follower, after(live)).Events...)
	s.restart(t, nil)
	late := s.events(t, follower, url.Values{"after": {first.Cursor}})
	if len(late.Events) != 1 || len(live.Events) != 2 || late.Events[0].Gen != live.Events[1].Gen {
		t.Fatalf("events = %+v, and after a restart %+v, want two and the last of them", live.Events, late.Events)
	}
	s.advance(t, 64*time.Minute) // the tokens have expired, and no clock of another node can be so wrong any more
	s.restart(t, map[string]string{"background": "fast"})
	s.advance(t, 30*time.Second)
	if p := s.events(t, follower, url.Values{"after": {first.Cursor}}); len(p.Events) != 1 {
		t.Errorf("events = %+v, want the one that is still kept", p.Events)
	}
	now := s.events(t, follower, nil)
	s.advance(t, time.Minute)
	wantError(t, s.askEvents(t, follower, url.Values{"after": {first.Cursor}}), http.StatusGone, "fresh_start_required")
	if p := s.events(t, follower, url.Values{"after": {now.Cursor}}); len(p.Events) != 0 {
		t.Errorf("events = %+v, want none", p.Events)
	}
}

// TestEventsCallers holds who may follow the revocations.
func TestEventsCallers(t *testing.T) {
	s := start(t, nil)
	ask := func(header http.Header, query string) answer {
		req := s.request(t, http.MethodGet, "/events"+query, "")
		req.Header = header
		return s.send(t, s.http, req)
	}
	good := basic(follower.id, url.QueryEscape(secret))
	for _, test := range []struct {
		name   string
		auth   []string
		query  string
		status int
		code   string
	}{
		{"no caller", nil, "", 401, "invalid_client"},
		{"unknown", []string{basic("nobody", "wrong")}, "", 401, "invalid_client"},
		{"wrong secret", []string{basic(follower.id, "wrong")}, "", 401, "invalid_client"},
		{"public client", []string{basic(app.id, "")}, "", 401, "invalid_client"},
		{"not registered for it", []string{basic(peer.id, url.QueryEscape(secret))}, "", 403, "unauthorized_client"},
		{"twice", []string{good, good}, "", 400, "invalid_request"},
		{"secret in the URL", nil, "?client_id=follower&client_secret=" + url.QueryEscape(secret), 400, "invalid_request"},
		{"and in the header", []string{good}, "?client_secret=" + url.QueryEscape(secret), 400, "invalid_request"},
		{"assertion in the URL", nil, "?client_assertion=e30.e30.AAAA", 400, "invalid_request"},
		{"token in the URL", nil, "?access_token=e30.e30.AAAA", 400, "invalid_request"},
		{"client id in the URL", nil, "?client_id=app", 401, "invalid_client"},
		{"not base64", []string{"Basic %%%"}, "", 401, "invalid_client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantError(t, ask(http.Header{"Authorization": test.auth}, test.query), test.status, test.code)
		})
	}

	d := newDevice(t)
	own := url.Values{"resource": {s.issuer}}
	token := s.service(t, follower, d, own)
	page := wantEvents(t, s.held(t, d, token, http.MethodGet, "/events", nil))
	if direct := s.events(t, follower, nil); direct.Key != page.Key {
		t.Error("a client and its token have two keys")
	}
	s.events(t, follower, url.Values{"after": {page.Cursor}})
	t.Run("bearer", func(t *testing.T) {
		wantRefused(t, ask(http.Header{"Authorization": {"Bearer " + token}}, ""), http.StatusUnauthorized, "invalid_token")
	})
	t.Run("no proof", func(t *testing.T) {
		wantRefused(t, ask(http.Header{"Authorization": {"DPoP " + token}}, ""), http.StatusUnauthorized, "invalid_dpop_proof")
	})
	t.Run("of another key", func(t *testing.T) {
		wantRefused(t, s.held(t, newDevice(t), token, http.MethodGet, "/events", nil), http.StatusUnauthorized, "invalid_token")
	})
	t.Run("for others too", func(t *testing.T) {
		wide := s.service(t, follower, d, nil) // for the domain
		wantRefused(t, s.held(t, d, wide, http.MethodGet, "/events", nil), http.StatusUnauthorized, "invalid_token")
	})
	t.Run("of another scope", func(t *testing.T) {
		a := s.held(t, d, s.service(t, peer, d, own), http.MethodGet, "/events", nil)
		wantRefused(t, a, http.StatusForbidden, "insufficient_scope")
	})
	t.Run("replayed proof", func(t *testing.T) {
		header := s.boundHeader(t, d, token, "/events")
		wantEvents(t, ask(header, ""))
		wantRefused(t, ask(header, ""), http.StatusUnauthorized, "invalid_dpop_proof")
	})
	t.Run("of a user", func(t *testing.T) {
		phone := newDevice(t)
		code := s.code(t, "alice", url.Values{"client_id": {feedApp.id}, "scope": {"im:handle im:device feed"}})
		held := wantTokens(t, s.token(t, feedApp, phone, codeForm(code, nil)))
		form := refreshForm(held.refresh)
		form.Set("resource", s.issuer)
		form.Set("scope", "feed")
		own := wantTokens(t, s.token(t, feedApp, phone, form))
		p := wantEvents(t, s.held(t, phone, own.access, http.MethodGet, "/events", nil))
		if p.Key == page.Key || !slices.Equal(p.Domains, []string{"example.com"}) {
			t.Errorf("page = %+v, want a key of the user's own and the domain of the user", p)
		}
		wantError(t, s.askEvents(t, follower, url.Values{"after": {p.Cursor}}), http.StatusBadRequest, "invalid_cursor")
	})
}

// TestEventsWrongInput holds that each wrong parameter is refused with words for it.
func TestEventsWrongInput(t *testing.T) {
	s := start(t, nil)
	page := s.events(t, follower, nil)
	flipped := []byte(page.Cursor)
	flipped[20] ^= 1
	for _, test := range []struct {
		name, parameter, value string
		status                 int
		code                   string
	}{
		{"no number", "wait", "soon", 400, "invalid_request"},
		{"fraction", "wait", "1.5", 400, "invalid_request"},
		{"negative", "wait", "-1", 400, "invalid_request"},
		{"too long", "wait", "61", 400, "invalid_request"},
		{"sign", "wait", "+1", 400, "invalid_request"},
		{"leading zero", "wait", "01", 400, "invalid_request"},
		{"huge", "wait", strings.Repeat("9", 100), 400, "invalid_request"},
		{"no events", "limit", "0", 400, "invalid_request"},
		{"too many events", "limit", "501", 400, "invalid_request"},
		{"a number", "after", "1", 400, "invalid_cursor"},
		{"cut short", "after", page.Cursor[:len(page.Cursor)-1], 400, "invalid_cursor"},
		{"longer", "after", page.Cursor + "A", 400, "invalid_cursor"},
		{"changed", "after", string(flipped), 400, "invalid_cursor"},
		{"not base64url", "after", strings.Repeat("+", len(page.Cursor)), 400, "invalid_cursor"},
		{"of another caller", "after", s.events(t, strangerFollower, nil).Cursor, 400, "invalid_cursor"},
		{"very long", "after", strings.Repeat("A", 9000), 413, "invalid_request"},
	} {
		t.Run(test.parameter+" "+test.name, func(t *testing.T) {
			wantError(t, s.askEvents(t, follower, url.Values{test.parameter: {test.value}}), test.status, test.code)
		})
	}
	t.Run("repeated", func(t *testing.T) {
		wantError(t, s.askEvents(t, follower, url.Values{"after": {page.Cursor, page.Cursor}}), http.StatusBadRequest, "invalid_request")
	})
	t.Run("of another issuer", func(t *testing.T) {
		elsewhere := start(t, nil)
		wantError(t, elsewhere.askEvents(t, follower, url.Values{"after": {page.Cursor}}), http.StatusBadRequest, "invalid_cursor")
	})
	t.Run("method", func(t *testing.T) {
		wantError(t, s.post(t, "/events", url.Values{}, http.Header{}), http.StatusMethodNotAllowed, "invalid_request")
	})
	t.Run("head", func(t *testing.T) {
		req := s.request(t, http.MethodHead, "/events", "")
		follower.authenticate(url.Values{}, req.Header)
		if a := s.send(t, s.http, req); a.status != http.StatusOK || a.body != "" {
			t.Errorf("answer = %v, want 200 without a body", a)
		}
	})
}

// TestEventsOfADatabaseSetBack holds that a position which the database has not come to is no position of it.
func TestEventsOfADatabaseSetBack(t *testing.T) {
	s := start(t, nil)
	s.freeze(t)
	held := s.login(t, newDevice(t), "alice")
	before := s.events(t, follower, nil)
	s.stop(t)
	saved, err := os.ReadFile(s.database())
	if err != nil {
		t.Fatal(err)
	}
	again := func() {
		s.serve(t, listen(t, s.issuer[len("http://"):]), listen(t, s.admin[len("http://"):]))
		s.waitReady(t)
	}
	again()
	s.remove(t, held.set.Device)
	later := s.events(t, follower, after(before))
	s.stop(t)
	if files, err := filepath.Glob(s.database() + "-*"); err != nil || len(files) > 0 {
		t.Fatalf("the closed database left %v, %v", files, err)
	}
	if err := os.WriteFile(s.database(), saved, 0o600); err != nil {
		t.Fatal(err)
	}
	again()
	// Another process might still be ahead.
	wantError(t, s.askEvents(t, follower, url.Values{"after": {later.Cursor}}), http.StatusServiceUnavailable, "temporarily_unavailable")
	s.advance(t, 5*time.Second)
	wantError(t, s.askEvents(t, follower, url.Values{"after": {later.Cursor}}), http.StatusGone, "fresh_start_required")
	s.events(t, follower, url.Values{"after": {before.Cursor}})
}

// TestEventsUnknown holds that a caller never takes silence for news: while the issuer does not know whether something was revoked,
// it says so, also to those who wait already.
func TestEventsUnknown(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	page := s.events(t, follower, nil)
	waiting := make(chan answer, 1)
	go func() { waiting <- s.askEvents(t, follower, after(page)) }()
	s.waitFollowers(t, 1)
	s.faults.set("Revocations")
	s.clock.advance(3 * time.Second)
	wantError(t, <-waiting, http.StatusServiceUnavailable, "temporarily_unavailable")
	for _, query := range []url.Values{nil, after(page), {"after": {page.Cursor}}} {
		wantError(t, s.askEvents(t, follower, query), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	s.remove(t, held.set.Device)
	s.faults.set("")
	s.waitReady(t)
	if p := s.events(t, follower, after(page)); len(matching(p, subject(t, held))) == 0 {
		t.Errorf("events = %+v, want what happened meanwhile", p.Events)
	}
}

// TestEventsCutOff holds that a caller that may no longer follow is cut off while it waits.
func TestEventsCutOff(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	waits := func(ask func() answer) chan answer {
		waiting := make(chan answer, 1)
		go func() { waiting <- ask() }()
		s.waitFollowers(t, 1)
		return waiting
	}
	direct := func() answer { return s.askEvents(t, follower, after(s.events(t, follower, nil))) }
	token := s.service(t, follower, d, url.Values{"resource": {s.issuer}})
	bound := func(query url.Values) func() answer {
		req := s.request(t, http.MethodGet, "/events?"+query.Encode(), "")
		req.Header = s.boundHeader(t, d, token, "/events")
		return func() answer { return s.send(t, s.http, req) }
	}

	t.Run("token revoked", func(t *testing.T) {
		waiting := waits(bound(after(s.events(t, follower, nil))))
		s.revoke(t, follower, token)
		wantRefused(t, <-waiting, http.StatusUnauthorized, "invalid_token")
	})
	token = s.service(t, follower, d, url.Values{"resource": {s.issuer}})
	t.Run("token expires", func(t *testing.T) {
		waiting := waits(bound(after(s.events(t, follower, nil))))
		s.clock.advance(11 * time.Minute)
		wantRefused(t, <-waiting, http.StatusUnauthorized, "invalid_token")
		s.waitReady(t)
	})
	t.Run("domains change", func(t *testing.T) {
		page := s.events(t, follower, nil)
		waiting := waits(func() answer { return s.askEvents(t, follower, after(page)) })
		s.reload(t, map[string]string{"followed": "[example.com, example.org]"})
		if p := wantEvents(t, <-waiting); len(p.Events) != 0 || !p.More {
			t.Errorf("page = %+v, want no events and the advice to ask again", p)
		}
		wantError(t, s.askEvents(t, follower, after(page)), http.StatusGone, "fresh_start_required")
	})
	t.Run("scope is taken away", func(t *testing.T) {
		waiting := waits(direct)
		s.reload(t, map[string]string{"feed": "[introspect]"})
		wantError(t, <-waiting, http.StatusForbidden, "unauthorized_client")
		wantError(t, s.askEvents(t, follower, nil), http.StatusForbidden, "unauthorized_client")
		s.reload(t, map[string]string{"feed": "[feed]"})
	})
}

// TestEventsEndAtShutdown holds that callers who wait do not keep the issuer from stopping.
func TestEventsEndAtShutdown(t *testing.T) {
	s := start(t, nil)
	page := s.events(t, follower, nil)
	var waiting sync.WaitGroup
	for range 4 {
		waiting.Go(func() {
			req := s.request(t, http.MethodGet, "/events?"+after(page).Encode(), "")
			follower.authenticate(url.Values{}, req.Header)
			if resp, err := s.http.Do(req); err != nil {
				t.Errorf("waiting for events: %v, want an answer", err)
			} else {
				_ = resp.Body.Close()
			}
		})
	}
	s.waitFollowers(t, 4)
	s.stop(t) // it fails the test if requests had to be given up
	waiting.Wait()
	s.serve(t, listen(t, s.issuer[len("http://"):]), listen(t, s.admin[len("http://"):]))
	s.waitReady(t)
	s.events(t, follower, url.Values{"after": {page.Cursor}})
}

// waitFollowers waits until a number of requests wait for events.
func (s *site) waitFollowers(t *testing.T, n float64) {
	t.Helper()
	for range 10_000 {
		if s.metrics(t)[`issuer_feed_waiting{form="poll"}`]+s.metrics(t)[`issuer_feed_waiting{form="stream"}`] >= n {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("fewer than %v requests wait for events", n)
}

// TestEventsBounds holds that a caller, and all together, have so many requests open and no more.
func TestEventsBounds(t *testing.T) {
	s := start(t, nil)
	page := s.events(t, follower, nil)
	var waiting sync.WaitGroup
	answers := make(chan answer, 16)
	for range 16 {
		waiting.Go(func() { answers <- s.askEvents(t, follower, after(page)) })
	}
	s.waitFollowers(t, 16)
	refused := s.askEvents(t, follower, after(page))
	wantError(t, refused, http.StatusTooManyRequests, "temporarily_unavailable")
	if refused.header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	s.events(t, strangerFollower, nil) // another caller has its own
	s.remove(t, s.login(t, newDevice(t), "alice").set.Device)
	waiting.Wait()
	close(answers)
	for a := range answers {
		if p := wantEvents(t, a); len(p.Events) == 0 {
			t.Error("a caller who waited got no event")
		}
	}
	if m := s.metrics(t); m["issuer_feed_events_total"] < 16 || m["issuer_feed_delay_seconds_count"] != m["issuer_feed_events_total"] {
		t.Errorf("%v events with %v delays, want at least one for each caller who waited", m["issuer_feed_events_total"], m["issuer_feed_delay_seconds_count"])
	}
	s.events(t, follower, nil)
}

// TestEventsRace lets many callers wait and follow while tokens end: each of them sees every end, in one order.
func TestEventsRace(t *testing.T) {
	const readers, writers, rounds = 8, 4, 5
	s := start(t, nil)
	first := s.events(t, follower, nil)
	var writing, reading sync.WaitGroup
	var mu sync.Mutex
	var ended []feed.Subject
	for range writers {
		writing.Go(func() {
			d := newDevice(t)
			held := s.login(t, d, "alice")
			for range rounds {
				next := s.refreshed(t, d, held.refresh)
				if a := s.revokeBy(t, app, d, held.access); a.status != http.StatusOK {
					t.Errorf("revocation = %v, want 200", a)
				}
				mu.Lock()
				ended = append(ended, subject(t, held))
				mu.Unlock()
				held = next
			}
		})
	}
	seen := make([][]feed.Event, readers)
	for i := range readers {
		reading.Go(func() {
			for page := first; len(seen[i]) < writers*rounds && !t.Failed(); {
				page = s.events(t, follower, url.Values{"after": {page.Cursor}, "wait": {"20"}, "limit": {fmt.Sprint(1 + i)}})
				seen[i] = append(seen[i], page.Events...)
			}
		})
	}
	writing.Wait()
	reading.Wait()
	for i := range seen {
		if !slices.Equal(seen[i], seen[0]) {
			t.Errorf("caller %d saw %d events, caller 0 %d others, or in another order", i, len(seen[i]), len(seen[0]))
		}
	}
	for _, subject := range ended {
		if !slices.ContainsFunc(seen[0], func(e feed.Event) bool { return first.Key.Matches(e, subject) }) {
			t.Errorf("no event ends the token %s", subject.JTI)
		}
	}
}
