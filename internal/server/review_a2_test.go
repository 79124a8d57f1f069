package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// smallPool are settings with room for 100 pending logins, behind a proxy, without limits of requests.
func smallPool() map[string]string {
	fill := limits("off", "off", "off")
	fill["limits"] += ", waiting_logins: 100"
	return fill
}

// beginFrom opens /authorize, and pushFrom pushes a request, from an address.
func (s *site) beginFrom(t *testing.T, address string, query url.Values) answer {
	t.Helper()
	req := s.request(t, http.MethodGet, "/authorize?"+query.Encode(), "")
	req.Header = from(address)
	return s.send(t, s.http, req)
}

func (s *site) pushFrom(t *testing.T, address string, c caller, change url.Values) answer {
	t.Helper()
	header, form := from(address), authorization(change)
	c.authenticate(form, header)
	return s.post(t, "/par", form, header)
}

// pending counts the rows of pending logins and pushed requests.
func (s *site) pending(t *testing.T) int {
	t.Helper()
	return int(sqlitetest.Count(t, s.database(),
		// Answers to decisions are no pending logins. They stay for a minute, each in the place of one.
		`SELECT (SELECT count(*) FROM logins WHERE coalesce(CAST(person AS TEXT), '') NOT LIKE '{"step":"answered"%') + (SELECT count(*) FROM pushed)`))
}

// TestReviewA2OneNetworkCannotFillThePool holds that an address, or an IPv6 network, stores a tenth of the pending logins
// and no more, and that everybody else can still log in.
func TestReviewA2OneNetworkCannotFillThePool(t *testing.T) {
	s := start(t, smallPool())
	for _, flood := range []struct{ name, address string }{{"IPv4", "203.0.113.7"}, {"IPv6", "2001:db8:7::%x"}} {
		before := s.pending(t)
		refused := 0
		for i := range 30 {
			address := flood.address
			if flood.name == "IPv6" {
				address = fmt.Sprintf(flood.address, i+1)
			}
			a := s.beginFrom(t, address, authorization(nil))
			if i%2 == 1 {
				a = s.pushFrom(t, address, app, nil)
			}
			if a.status == http.StatusTooManyRequests {
				refused++
				wantLimited(t, a, i%2 == 0)
			}
		}
		if stored := s.pending(t) - before; stored != 10 || refused == 0 {
			t.Errorf("%s: one network stored %d rows, and was refused %d times, want 10 rows", flood.name, stored, refused)
		}
	}
	if a := s.beginFrom(t, "198.51.100.1", authorization(nil)); a.status != http.StatusSeeOther {
		t.Errorf("answer = %v to another address, want a redirect", a)
	}
	if got := s.metrics(t)[`issuer_requests_limited_total{by="logins"}`]; got == 0 {
		t.Error("the refusals were not counted")
	}
}

// TestReviewA2FinishedLoginsFreePlaces holds that people who share an address, as all do behind a proxy that is not in
// trusted_proxies, log in one after the other without end: a login that is over takes no place.
func TestReviewA2FinishedLoginsFreePlaces(t *testing.T) {
	s := start(t, smallPool())
	for range 25 {
		s.code(t, "alice", nil)
	}
	for range 25 {
		if q := s.pushedLogin(t, s.pushed(t, nil, nil)); q.Get("code") == "" {
			t.Fatalf("authorization answer = %v, want a code", q)
		}
	}
	if n := s.pending(t); n != 0 {
		t.Errorf("%d rows are left, want none", n)
	}
}

// TestReviewA2ReservedForClients holds that clients that authenticate can still log people in when everybody else has filled
// the pool, and that one of them cannot take what is reserved for all.
func TestReviewA2ReservedForClients(t *testing.T) {
	s := start(t, smallPool())
	full := 0
	for i := range 300 {
		if a := s.beginFrom(t, fmt.Sprintf("203.0.%d.%d", i/200, i%200), authorization(nil)); a.status == http.StatusServiceUnavailable {
			full++
			wantPage(t, a, http.StatusServiceUnavailable)
		}
	}
	if n := s.pending(t); n != 90 || full == 0 {
		t.Fatalf("everybody stored %d rows, and %d found the pool full, want 90", n, full)
	}
	web := url.Values{"client_id": {webApp.id}, "redirect_uri": {"https://web.example.com/callback"}}
	a := s.pushFrom(t, "192.0.2.1", webApp, web)
	if a.status != http.StatusCreated {
		t.Fatalf("answer = %v to an authenticated client, want 201", a)
	}
	query := url.Values{"client_id": {webApp.id}, "request_uri": {a.text("request_uri")}}
	if a := s.beginFrom(t, "198.51.100.9", query); a.status != http.StatusSeeOther {
		t.Errorf("answer = %v to a login that it pushed, want a redirect", a)
	}
	for range 20 {
		s.pushFrom(t, "192.0.2.1", webApp, web)
	}
	desk := url.Values{"client_id": {deskApp.id}}
	if a := s.pushFrom(t, "192.0.2.2", deskApp, desk); a.status != http.StatusCreated {
		t.Errorf("answer = %v to another authenticated client, want 201", a)
	}
	if n := s.pending(t); n > 100 {
		t.Errorf("%d rows are stored, want 100 at most", n)
	}
}

// TestReviewA2ChoicesArePending holds that the page of choices begins no logins past the pool.
func TestReviewA2ChoicesArePending(t *testing.T) {
	s := start(t, smallPool())
	b := s.browser()
	state := wantChoice(t, s.askToLogIn(t, b, url.Values{"client_id": {twoApp.id}}), "domain", "two.example", "example.org")
	var last answer
	for range 40 {
		last = s.pick(t, b, state, url.Values{"domain": {"example.org"}})
	}
	wantLimited(t, last, true)
	if n := s.pending(t); n != 10 {
		t.Errorf("%d rows are stored, want 10", n)
	}
}

// TestReviewA2PushedRowsExpire holds that a pushed request is stored for as long as expires_in says, and that a login that
// began with it in time goes on after it is gone, and leads to one code.
func TestReviewA2PushedRowsExpire(t *testing.T) {
	s := start(t, nil)
	uri := s.pushed(t, nil, nil)
	s.advance(t, 5*time.Minute-time.Second)
	var visits []visit
	for range 2 {
		visits = append(visits, s.visit(t, "alice", url.Values{"request_uri": {uri}}))
	}
	s.advance(t, time.Minute)
	sweep := func(ctx context.Context, tx storage.Tx) error { return sweepAll(ctx, tx, s.clock.now()) }
	if err := s.store.Update(t.Context(), sweep); err != nil {
		t.Fatal(err)
	}
	if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM pushed"); n != 0 {
		t.Errorf("%d pushed requests are stored a minute after they expired, want none", n)
	}
	wantPage(t, s.refer(t, app.id, uri), http.StatusBadRequest)
	s.wantCode(t, s.open(t, visits[0].browser, visits[0].callback))
	to, err := s.open(t, visits[1].browser, visits[1].callback).to()
	if err != nil || to.Query().Get("error") != "invalid_request_uri" {
		t.Errorf("the second login leads to %v, %v, want invalid_request_uri", to, err)
	}
}

// TestReviewA2RefusalsKeepTheirPlace holds that refused logins, which anybody can make, store no more than the pool has
// places: the record that a pushed request is spent takes the place of its login.
func TestReviewA2RefusalsKeepTheirPlace(t *testing.T) {
	s := start(t, smallPool())
	begin := func() bool {
		a := s.push(t, nil, nil)
		if a.status == http.StatusTooManyRequests {
			return false
		}
		b := s.browser()
		query := url.Values{"client_id": {app.id}, "request_uri": {a.text("request_uri")}}
		a = s.send(t, b.Client(), s.request(t, http.MethodGet, "/authorize?"+query.Encode(), ""))
		if a.status == http.StatusTooManyRequests {
			return false
		}
		to, err := a.to()
		if err != nil {
			t.Fatal(err)
		}
		back := url.Values{"state": {to.Query().Get("state")}, "error": {"access_denied"}}
		callback := mustParse(t, s.provider.callback+"dev?"+back.Encode())
		s.wantRedirect(t, s.arrive(t, b, callback), redirectURI, appState, "access_denied")
		return true
	}
	for i := 0; begin(); i++ {
		if n := sqlitetest.Count(t, s.database(), "SELECT count(*) FROM spent_ids"); n > 10 || i == 15 {
			t.Fatalf("%d rows are stored after %d refusals, want 10 at most", n, i+1)
		}
	}
}

// TestReviewA2OldRowsCount holds that rows from before a restart take places, too.
func TestReviewA2OldRowsCount(t *testing.T) {
	s := start(t, smallPool())
	for i := range 60 {
		s.beginFrom(t, fmt.Sprintf("203.0.113.%d", i), authorization(nil))
	}
	s.restart(t, nil)
	for i := range 60 {
		s.beginFrom(t, fmt.Sprintf("198.51.100.%d", i), authorization(nil))
	}
	if n := s.pending(t); n != 90 {
		t.Errorf("%d rows are stored, want 90", n)
	}
}

// TestReviewA2PlacesStayWithTheirHolder holds that a login which goes on from another address is counted for the address that
// began it: nobody collects places there that were not checked.
func TestReviewA2PlacesStayWithTheirHolder(t *testing.T) {
	s := start(t, smallPool())
	begun := 0
	for range 15 {
		b := s.browser()
		a := s.askToLogIn(t, b, nil)
		if a.status == http.StatusTooManyRequests {
			break
		}
		begun++
		to, err := a.to()
		if err != nil {
			t.Fatal(err)
		}
		back, err := b.Login(t.Context(), to.String(), func(u *url.URL) bool { return strings.HasPrefix(u.String(), s.provider.callback) },
			map[string]string{"text": "alice", "password": "alice"})
		if err != nil {
			t.Fatal(err)
		}
		req := s.request(t, http.MethodGet, back.String(), "")
		req.Header.Set("X-Forwarded-For", "203.0.113.9")
		if a := s.send(t, b.Client(), req); a.status != http.StatusSeeOther { // to the page that asks for consent
			t.Fatalf("answer = %v, want a redirect", a)
		}
	}
	if n := s.pending(t); begun != 10 || n != 10 {
		t.Errorf("%d logins were begun, and %d rows are stored, want 10", begun, n)
	}
	if a := s.beginFrom(t, "203.0.113.9", authorization(nil)); a.status != http.StatusSeeOther {
		t.Errorf("answer = %v to the other address, want a redirect", a)
	}
}
