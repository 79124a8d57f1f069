package server_test

import (
	"errors"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/trust"
)

// withStatuses are settings with status lists.
var withStatuses = map[string]string{"statuses": "true"}

// statusReader returns a verifier of another party: it knows nothing but the issuer's URL and its tokens.
func (s *site) statusReader(t *testing.T) *statuslist.Reader {
	t.Helper()
	table, err := trust.NewTable(trust.Config{
		Peers: []trust.Peer{{Domain: "example.com", Issuer: s.issuer}}, Client: s.http, ForeignClient: s.http, Now: s.clock.now, Development: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := statuslist.NewReader(statuslist.ReaderConfig{Keys: table, Client: s.http, Bits: 1, AllowHTTP: true, Now: s.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func statusOf(t *testing.T, held tokens) statuslist.Reference {
	t.Helper()
	if held.set.Status == nil {
		t.Fatal("the token has no status")
	}
	return statuslist.Reference{Index: held.set.Status.Index, URI: held.set.Status.URI}
}

// wantStatuses wants the list to say of each token whether its session lives, as a reader finds that has no copy of the list.
func (s *site) wantStatuses(t *testing.T, valid bool, held ...tokens) {
	t.Helper()
	r := s.statusReader(t)
	for i, h := range held {
		err := r.Check(t.Context(), s.issuer, statusOf(t, h))
		var status *statuslist.StatusError
		if valid && err != nil || !valid && (!errors.As(err, &status) || status.Status != statuslist.Invalid) {
			t.Errorf("token %d: Check = %v, want valid %v", i, err, valid)
		}
	}
}

// A verifier reads from the list that a session has ended, however it ended, as soon as that is acknowledged.
func TestStatusList(t *testing.T) {
	s := start(t, withStatuses)
	var held []tokens
	var devices []*device
	for range 4 {
		d := newDevice(t)
		devices, held = append(devices, d), append(held, s.login(t, d, "alice"))
	}
	bobs := newDevice(t)
	bob := s.login(t, bobs, "bob")
	all := append(held, bob)
	seen := make(map[claims.Status]bool)
	for _, h := range all {
		if ref := statusOf(t, h); !strings.HasPrefix(ref.URI, s.issuer+"/status/") || seen[*h.set.Status] {
			t.Errorf("status = %+v, want an entry of its own in a list of the issuer", ref)
		}
		seen[*h.set.Status] = true
	}
	s.wantStatuses(t, true, all...)
	if next := s.refreshed(t, devices[0], held[0].refresh); *next.set.Status != *held[0].set.Status {
		t.Errorf("status after a refresh = %+v, want %+v", next.set.Status, held[0].set.Status)
	} else {
		held[0] = next
	}
	if a := s.introspect(t, peer, held[0].access); a.json["active"] != true || a.json["status"] != nil {
		t.Errorf("introspection = %v, want active, without a status", a)
	}

	// A session, a device, a rename, and a user.
	wantStatus(t, s.revoke(t, app, held[1].refresh), http.StatusOK)
	s.wantStatuses(t, false, held[1])
	s.wantStatuses(t, true, held[0], held[2], held[3], bob)
	wantStatus(t, s.operate(t, http.MethodDelete, "/admin/devices/example.com/"+deviceOf(t, held[2]).Device(), nil), http.StatusOK)
	s.wantStatuses(t, false, held[1], held[2])
	s.wantStatuses(t, true, held[0], held[3], bob)

	user := deviceOf(t, held[0]).Local()
	renamed := url.Values{"domain": {"example.com"}, "handle": {handleOf(t, "renamed")}}
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+user+"/handle", renamed), http.StatusOK)
	s.wantStatuses(t, false, held...)
	s.wantStatuses(t, true, bob)
	now := s.refreshed(t, devices[0], held[0].refresh)
	if *now.set.Status == *held[0].set.Status {
		t.Error("after a rename the session has the same entry, want another")
	}
	s.wantStatuses(t, true, now, bob)
	s.wantStatuses(t, false, held...)

	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+user+"/disable", url.Values{"domain": {"example.com"}}), http.StatusOK)
	s.wantStatuses(t, false, append(held, now)...)
	s.wantStatuses(t, true, bob)

	// A single access token has no entry of its own: that it was revoked is known to introspection alone.
	wantStatus(t, s.revokeBy(t, app, bobs, bob.access), http.StatusOK)
	s.wantInactive(t, bob.access)
	s.wantStatuses(t, true, bob)
}

// The list is served as a public document that can be cached, and made again only if something changed.
func TestStatusListDocument(t *testing.T) {
	s := start(t, withStatuses)
	s.freeze(t)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	uri := statusOf(t, held).URI
	get := func(method, to string, header http.Header) answer {
		t.Helper()
		req := s.request(t, method, to, "")
		for name, values := range header {
			req.Header[name] = values
		}
		return s.send(t, s.http, req)
	}
	first := get(http.MethodGet, uri, nil)
	etag := first.header.Get("ETag")
	for name, want := range map[string]string{
		"Content-Type": "application/statuslist+jwt", "Cache-Control": "public, max-age=60", "Dpop-Nonce": "",
	} {
		if got := first.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	wantShared(t, first)
	token, err := statuslist.Parse(first.body, statuslist.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	now := s.clock.now().Truncate(time.Second)
	if token.Issuer != s.issuer || token.Subject != uri || !token.IssuedAt.Equal(now) || !token.Expires.Equal(now.Add(15*time.Minute)) ||
		token.TTL != time.Minute || token.List.Bits() != 1 || token.List.Len() != 1<<17 {
		t.Errorf("the list is %+v of %d entries", token.Token, token.List.Len())
	}
	// Nothing changed: the same signature, or nothing at all.
	if again := get(http.MethodGet, uri, nil); again.body != first.body || again.header.Get("ETag") != etag {
		t.Error("the list was signed again without a change")
	}
	if a := get(http.MethodGet, uri, http.Header{"If-None-Match": {etag}}); a.status != http.StatusNotModified || a.body != "" {
		t.Errorf("answer to If-None-Match = %v, want 304", a)
	}
	if a := get(http.MethodGet, uri, http.Header{"Range": {"bytes=0-1"}, "If-None-Match": {`"other"`}}); a.status != http.StatusOK || a.body != first.body {
		t.Errorf("answer to a Range = %v, want the whole list", a)
	}
	if a := get(http.MethodHead, uri, nil); a.status != http.StatusOK || a.header.Get("ETag") != etag {
		t.Errorf("answer to HEAD = %v", a)
	}
	if a := get(http.MethodGet, uri+"?time=1686925000", nil); a.status != http.StatusNotImplemented {
		t.Errorf("answer about the past = %v, want 501", a)
	}
	// A revocation in another domain's session changes nothing, one in this list does.
	other := s.login(t, newDevice(t), "bob")
	wantStatus(t, s.revoke(t, app, other.refresh), http.StatusOK)
	changed := get(http.MethodGet, uri, http.Header{"If-None-Match": {etag}})
	if changed.status != http.StatusOK || changed.header.Get("ETag") == etag {
		t.Errorf("answer after a revocation = %v, want another list", changed)
	}
	// Long before it expires it is signed again.
	s.advance(t, 6*time.Minute)
	if a := get(http.MethodGet, uri, http.Header{"If-None-Match": {changed.header.Get("ETag")}}); a.status != http.StatusOK {
		t.Errorf("answer after 6 minutes = %v, want a new signature", a)
	}

	id := uri[strings.LastIndexByte(uri, '/')+1:]
	for _, path := range []string{
		"/status/1", "/status/00000000000", "/status/fffffffffff", "/status/" + strings.ToUpper(id) + "A", "/status/0" + id, "/status/" + id[1:],
		"/status/-" + id[1:], "/status/+" + id[1:], "/status/0x" + id[2:], "/status/" + strings.Repeat("f", 1000), "/status/%00", "/status/" + id[:10] + "_",
	} {
		wantError(t, s.get(t, path), http.StatusNotFound, "not_found")
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete} {
		if a := get(method, uri, nil); a.status != http.StatusMethodNotAllowed {
			t.Errorf("answer to %s = %v, want 405", method, a)
		}
	}
}

// A list by a key that is revoked, or signs no longer, is not served.
func TestStatusListFollowsTheKey(t *testing.T) {
	s := start(t, withStatuses)
	held := s.login(t, newDevice(t), "alice")
	uri := statusOf(t, held).URI
	for range 2 {
		kid := kidOf(t, s.get(t, uri).body)
		if signer := s.signingKey(t); kid != signer {
			t.Errorf("the list is signed by %s, want %s", kid, signer)
		}
		wantStatus(t, s.revokeKey(t, kid), http.StatusOK)
	}
	if kid := kidOf(t, s.get(t, uri).body); kid != s.signingKey(t) {
		t.Errorf("the list is signed by %s, want the key that signs", kid)
	}
	s.wantStatuses(t, true, held)
}

// What the issuer does not know now it does not say: 503, and a verifier cannot know.
func TestStatusListUnknown(t *testing.T) {
	for op, behind := range map[string]bool{"Revocations": true, "EndedStatuses": false, "StatusList": false} {
		t.Run(op, func(t *testing.T) {
			s := start(t, withStatuses)
			held := s.login(t, newDevice(t), "alice")
			r := s.statusReader(t)
			if op == "Revocations" { // also where it has a list, which may be outdated
				s.wantStatuses(t, true, held)
			}
			s.faults.set(op)
			if behind {
				s.clock.advance(3 * time.Second)
			}
			a := s.get(t, statusOf(t, held).URI)
			wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
			if a.header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if err := r.Check(t.Context(), s.issuer, statusOf(t, held)); !errors.Is(err, statuslist.ErrUnreachable) && !errors.Is(err, statuslist.ErrKey) {
				t.Errorf("Check = %v, want that it is not known", err)
			}
			s.faults.set("")
			s.waitReady(t)
			s.wantStatuses(t, true, held)
		})
	}
}

// Sessions from before the setting was switched on get an entry with their next refresh, and keep it. When it is switched off, tokens do
// not refer to it any more, and those from before still find their list.
func TestStatusListSwitchedOn(t *testing.T) {
	for name, replay := range map[string]string{"in one transaction": "memory", "in two": "storage"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]string{"replay": replay})
			d := newDevice(t)
			before := s.login(t, d, "alice")
			if before.set.Status != nil {
				t.Fatalf("status = %+v, want none", before.set.Status)
			}
			s.restart(t, withStatuses)
			first := s.refreshed(t, d, before.refresh)
			repeated := s.refreshed(t, d, before.refresh)
			next := s.refreshed(t, d, first.refresh)
			if a, b, c := *first.set.Status, *repeated.set.Status, *next.set.Status; a != b || a != c {
				t.Errorf("status = %+v, then %+v and %+v, want the same", a, b, c)
			}
			s.wantStatuses(t, true, first)

			s.restart(t, map[string]string{"statuses": "false"})
			last := s.refreshed(t, d, next.refresh)
			if last.set.Status != nil {
				t.Errorf("status = %+v, want none", last.set.Status)
			}
			s.wantStatuses(t, true, first)
			wantStatus(t, s.revoke(t, app, last.refresh), http.StatusOK)
			s.wantStatuses(t, false, first)
		})
	}
}

// Of many first refreshes at once, all that succeed have the same entry: none is forgotten by a session that could end.
func TestStatusEntryOnceInParallel(t *testing.T) {
	for name, replay := range map[string]string{"in one transaction": "memory", "in two": "storage"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, map[string]string{"replay": replay})
			d := newDevice(t)
			before := s.login(t, d, "alice")
			s.restart(t, withStatuses)
			const callers = 16
			proofs := make([]string, callers)
			for i := range proofs {
				proofs[i] = s.proof(t, d, "")
			}
			answers := make([]answer, callers)
			var all sync.WaitGroup
			for i := range callers {
				all.Go(func() {
					form := refreshForm(before.refresh)
					form.Set("client_id", app.id)
					answers[i] = s.post(t, "/token", form, http.Header{"Dpop": {proofs[i]}})
				})
			}
			all.Wait()
			var held []tokens
			for _, a := range answers {
				if a.status == http.StatusOK {
					held = append(held, wantTokens(t, a))
				} else {
					wantError(t, a, http.StatusServiceUnavailable, "temporarily_unavailable")
				}
			}
			if len(held) == 0 || replay == "memory" && len(held) != callers {
				t.Fatalf("%d of %d refreshes succeeded", len(held), callers)
			}
			for _, h := range held {
				if *h.set.Status != *held[0].set.Status {
					t.Errorf("status = %+v and %+v, want the same", h.set.Status, held[0].set.Status)
				}
			}
			wantStatus(t, s.revoke(t, app, held[0].refresh), http.StatusOK)
			s.wantStatuses(t, false, held...)
		})
	}
}

// No entry is given twice: not after a restart, and not after a restore from a backup, when all from before have ended.
func TestStatusEntriesAreNotReused(t *testing.T) {
	s := start(t, withStatuses)
	seen := make(map[claims.Status]bool)
	var before []tokens
	login := func() tokens {
		t.Helper()
		held := s.login(t, newDevice(t), "alice")
		if seen[*held.set.Status] {
			t.Errorf("the entry %+v was given twice", held.set.Status)
		}
		seen[*held.set.Status] = true
		return held
	}
	for range 3 {
		before = append(before, login(), login())
		s.restart(t, nil)
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/backup", url.Values{"to": {backup}}), http.StatusOK)
	before = append(before, login())
	s.wantStatuses(t, true, before...)

	s.stop(t)
	if _, err := sqlite.Restore(t.Context(), s.database(), backup, sqlite.RestoreOptions{Now: s.clock.now}); err != nil {
		t.Fatal(err)
	}
	s.serve(t, listen(t, strings.TrimPrefix(s.issuer, "http://")), listen(t, strings.TrimPrefix(s.admin, "http://")))
	s.waitReady(t)
	after := login()
	if after.set.Status.URI == before[0].set.Status.URI {
		t.Error("after the restore the list is the same, want another")
	}
	s.wantStatuses(t, false, before...)
	s.wantStatuses(t, true, after)
}

// Lists belong to one domain, and only its sessions refer to them.
func TestStatusListOfOneDomain(t *testing.T) {
	s := start(t, withStatuses)
	if held := s.login(t, newDevice(t), "alice"); held.set.Status == nil {
		t.Error("no status in a domain that has a list")
	}
	d := newDevice(t)
	code := s.code(t, "bob", url.Values{"client_id": {manyApp.id}, "im_domain": {"generic.example"}})
	other := wantTokens(t, s.token(t, manyApp, d, codeForm(code, nil)))
	if other.set.Status != nil || s.refreshedAs(t, manyApp, d, other.refresh).set.Status != nil {
		t.Errorf("status = %+v in a domain without a list", other.set.Status)
	}
	a := s.token(t, peer, d, url.Values{"grant_type": {"client_credentials"}})
	if wantStatus(t, a, http.StatusOK); claimsOf(t, a.text("access_token")).Status != nil {
		t.Errorf("answer = %v, want a token of a service, without a status", a)
	}
}

// listed is a refresh of a session that lost its entry in a status list, and so gets another, and the list of the new one.
func listed(t *testing.T, s *site) []step {
	s.namesake(t, "person "+t.Name(), handleOf(t, "person"))
	d := newDevice(t)
	held := s.login(t, d, "alice")
	rename := url.Values{"domain": {"example.com"}, "handle": {handleOf(t, "renamed")}}
	wantStatus(t, s.operate(t, http.MethodPut, "/admin/users/"+deviceOf(t, held).Local()+"/handle", rename), http.StatusOK)
	var next tokens
	return []step{
		{
			name: "refresh",
			ask:  func() answer { return s.token(t, app, d, refreshForm(held.refresh)) },
			good: func(a answer) {
				if next = wantTokens(t, a); *next.set.Status == *held.set.Status {
					t.Errorf("status = %+v, want another", next.set.Status)
				}
			},
		},
		{
			name: "status list",
			ask:  func() answer { return s.get(t, next.set.Status.URI) },
			good: func(a answer) {
				wantStatus(t, a, http.StatusOK)
				s.faults.quietly(func() {
					s.wantStatuses(t, false, held)
					s.wantStatuses(t, true, next)
				})
			},
		},
		{
			name: "status list that does not exist",
			ask:  func() answer { return s.get(t, "/status/00000000001") },
			good: func(a answer) { wantError(t, a, http.StatusNotFound, "not_found") },
		},
	}
}
