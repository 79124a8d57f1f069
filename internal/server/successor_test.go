package server_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// noSuccessor is the answer about all tokens about which nothing is told.
const noSuccessor = `{"successor":false}`

// pair is a question about two tokens.
func pair(first, second string) url.Values {
	return url.Values{"token": {first}, "successor_token": {second}}
}

// askSuccessor asks as a client that is told no reasons.
func (s *site) askSuccessor(t *testing.T, c caller, form url.Values) answer {
	t.Helper()
	header, form := http.Header{}, maps.Clone(form)
	c.authenticate(form, header)
	return s.post(t, "/successor", form, header)
}

// A told is the answer to a caller that is told reasons.
type told struct {
	same, successor     bool
	state, reason, path string
}

// wantSuccessor wants an answer to a caller that is told everything, and the same without reasons to one that is not.
func (s *site) wantSuccessor(t *testing.T, name, first, second string, want told) {
	t.Helper()
	d := newDevice(t)
	own := s.service(t, auditor, d, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	a := s.held(t, d, own, http.MethodPost, "/successor", pair(first, second))
	same, known := a.json["same_client"].(bool)
	got := told{same, a.json["successor"] == true, a.text("state"), a.text("reason"), a.text("path")}
	if a.status != http.StatusOK || got != want || known != (want.state != "") {
		t.Errorf("%s: answer = %v, want %+v", name, a, want)
	}
	wantNotStored(t, a)
	if age, ok := a.json["max_age"].(float64); ok != want.successor || age < 0 || age > 5 {
		t.Errorf("%s: max_age = %v, want at most 5 for a successor alone", name, a.json["max_age"])
	}
	bare := s.askSuccessor(t, peer, pair(first, second))
	for _, member := range []string{"state", "reason", "path"} {
		delete(a.json, member)
	}
	delete(a.json, "max_age") // a second may have passed
	delete(bare.json, "max_age")
	if bare.status != http.StatusOK || string(encode(bare.json)) != string(encode(a.json)) {
		t.Errorf("%s: answer = %v without reasons, want %v", name, bare, a.json)
	}
	if want.state == "" && strings.TrimSpace(bare.body) != noSuccessor {
		t.Errorf("%s: answer = %v, want %s", name, bare, noSuccessor)
	}
}

// The answers that are wanted most.
var (
	isSuccessor = told{same: true, successor: true, state: "active"}
	tooOld      = told{same: true, state: "active", reason: "older"}
)

// TestSuccessor holds which token is the successor of which, while nothing but time passes and others log in.
func TestSuccessor(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs := newDevice(t), newDevice(t), newDevice(t)
	first, hers, his := s.account(t, phone, "alice"), s.account(t, tablet, "alice"), s.account(t, bobs, "bob")
	s.advance(t, time.Second)
	second := s.refreshedBy(t, accounts, phone, first)
	again := s.account(t, phone, "alice") // another session of the device
	own := s.forIssuer(t, phone, first, "account")
	for name, test := range map[string]struct {
		first, second string
		want          told
	}{
		"refreshed":                  {first.access, second.access, isSuccessor},
		"of another session":         {first.access, again.access, isSuccessor},
		"the same token":             {second.access, second.access, isSuccessor},
		"the older token":            {second.access, first.access, tooOld},
		"another device":             {first.access, hers.access, told{state: "active", reason: "other_client"}},
		"another user":               {first.access, his.access, told{state: "active", reason: "other_client"}},
		"a token without its device": {first.access, own.access, told{reason: "no_device", path: "successor_token"}},
		"a refresh token":            {first.access, second.refresh, told{}},
		"a refresh token of before":  {first.refresh, second.access, told{}},
		"no token":                   {first.access, "nonsense", told{}},
		"no token before":            {"nonsense", second.access, told{}},
		"no tokens":                  {"nonsense", "nonsense", told{}},
		"a token cut off":            {first.access, second.access[:len(second.access)-2], told{}},
		"with the signature of the other": {first.access, second.access[:strings.LastIndexByte(second.access, '.')] +
			first.access[strings.LastIndexByte(first.access, '.'):], told{}},
	} {
		s.wantSuccessor(t, name, test.first, test.second, test.want)
	}

	// Tokens that the issuer signed, and that no request would get.
	set := second.set
	for name, test := range map[string]struct {
		change func(set *claims.Set)
		want   told // of the changed token as the second
		before told // and as the first, with the unchanged one as the second
	}{
		"another key": {func(set *claims.Set) { set.JKT = newDevice(t).JKT() },
			told{same: true, state: "active", reason: "key_unrecorded"}, told{same: true, state: "active", reason: "key_unrecorded"}},
		"another handle": {func(set *claims.Set) { set.Handle = "im:%40mallory@example.com" },
			told{same: true, state: "active", reason: "handle_unrecorded"}, told{same: true, state: "active", reason: "handle_unrecorded"}},
		"no handle":         {func(set *claims.Set) { set.Handle = "" }, isSuccessor, isSuccessor},
		"no device":         {func(set *claims.Set) { set.Device = "" }, told{reason: "no_device", path: "successor_token"}, told{reason: "no_device", path: "token"}},
		"an earlier time":   {func(set *claims.Set) { set.IssuedAt = set.IssuedAt.Add(-time.Minute) }, tooOld, isSuccessor},
		"an earlier gen":    {func(set *claims.Set) { set.Gen-- }, tooOld, told{same: true, successor: true, state: "superseded"}},
		"no session":        {func(set *claims.Set) { set.SID = "none" }, isSuccessor, told{reason: "revoked", path: "token"}},
		"another's session": {func(set *claims.Set) { set.SID = hers.set.SID }, isSuccessor, told{reason: "revoked", path: "token"}},
		"somebody who acts": {func(set *claims.Set) { set.Actor = &claims.Actor{Subject: bot.id, Issuer: s.issuer, ClientID: bot.id} },
			told{reason: "no_device", path: "successor_token"}, told{reason: "no_device", path: "token"}},
		"another issuer":       {func(set *claims.Set) { set.Issuer += "/" }, told{}, told{}},
		"another domain":       {func(set *claims.Set) { set.Device = strings.Replace(set.Device, ".com", ".org", 1) }, told{}, told{}},
		"another's device":     {func(set *claims.Set) { set.Device = hers.set.Device }, told{state: "active", reason: "other_client"}, told{reason: "revoked", path: "token"}},
		"a device of nobody":   {func(set *claims.Set) { set.Device = strings.Replace(set.Device, "/", "/1", 1) }, told{state: "active", reason: "other_client"}, told{reason: "revoked", path: "token"}},
		"a time in the future": {func(set *claims.Set) { set.IssuedAt = set.IssuedAt.Add(6 * time.Minute) }, told{}, told{}},
		"nothing else":         {func(*claims.Set) {}, isSuccessor, isSuccessor},
	} {
		changed := set
		changed.JTI = "changed " + name
		test.change(&changed)
		token := s.signs(t, changed)
		s.wantSuccessor(t, name, second.access, token, test.want)
		s.wantSuccessor(t, name+", before", token, second.access, test.before)
	}
}

// TestSuccessorExpired holds that an expired token of a live session has successors, and one that was revoked has not: whether it has
// expired since or not.
func TestSuccessorExpired(t *testing.T) {
	s := start(t, nil)
	phone, gone, left, bobs, lost := newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	first, out, removed := s.login(t, phone, "alice"), s.login(t, left, "alice"), s.login(t, gone, "alice")
	his, single := s.login(t, bobs, "bob"), s.login(t, lost, "alice")
	s.advance(t, time.Second)
	in, hisSecond := s.login(t, left, "alice"), s.refreshed(t, bobs, his.refresh)
	wantStatus(t, s.revoke(t, app, out.refresh), http.StatusOK)
	singleSecond := s.refreshed(t, lost, single.refresh)
	wantStatus(t, s.revokeBy(t, app, lost, single.access), http.StatusOK)
	before := s.refreshed(t, gone, removed.refresh)
	s.remove(t, removed.set.Device)
	s.wantSuccessor(t, "session that ended", out.access, in.access, told{reason: "revoked", path: "token"})
	s.wantSuccessor(t, "to a session that ended", in.access, out.access, told{reason: "revoked", path: "successor_token"})
	s.wantSuccessor(t, "revoked token", single.access, singleSecond.access, told{reason: "revoked", path: "token"})
	s.wantSuccessor(t, "to a revoked token", single.access, single.access, told{reason: "revoked", path: "token"})
	s.wantSuccessor(t, "removed device", removed.access, before.access, told{reason: "device_removed", path: "token"})
	wantStatus(t, s.disable(t, "@bob"), http.StatusOK)
	s.wantSuccessor(t, "disabled user", his.access, hisSecond.access, told{reason: "user_disabled", path: "token"})

	s.advance(t, 11*time.Minute)
	second, in := s.refreshed(t, phone, first.refresh), s.refreshed(t, left, in.refresh)
	s.wantSuccessor(t, "expired", first.access, second.access, told{same: true, successor: true, state: "expired"})
	s.wantSuccessor(t, "to an expired one", second.access, first.access, told{reason: "expired", path: "successor_token"})
	s.wantSuccessor(t, "expired, of a session that ended", out.access, in.access, told{reason: "revoked", path: "token"})
	s.wantSuccessor(t, "expired, of a removed device", removed.access, second.access, told{reason: "device_removed", path: "token"})
	s.wantSuccessor(t, "expired, of a disabled user", his.access, second.access, told{reason: "user_disabled", path: "token"})

	// After two hours, all revocations of before are gone. What the rows say stays.
	s.advance(t, 2*time.Hour)
	second, in = s.refreshed(t, phone, second.refresh), s.refreshed(t, left, in.refresh)
	s.wantSuccessor(t, "expired long ago", first.access, second.access, told{same: true, successor: true, state: "expired"})
	s.wantSuccessor(t, "expired long ago, of a session that ended", out.access, in.access, told{reason: "revoked", path: "token"})
	s.wantSuccessor(t, "expired long ago, of a removed device", removed.access, second.access, told{reason: "device_removed", path: "token"})
	s.wantSuccessor(t, "expired long ago, of a disabled user", his.access, second.access, told{reason: "user_disabled", path: "token"})

	// A session that was not used for too long is over, also if its device has another one.
	s.advance(t, 15*24*time.Hour)
	s.providerKeepsTime(t)
	third := s.login(t, phone, "alice")
	s.wantSuccessor(t, "of a session that expired", second.access, third.access, told{reason: "expired", path: "token"})
}

// TestSuccessorChanges holds that handle and key may change if that is recorded, in any number of steps.
func TestSuccessorChanges(t *testing.T) {
	s := start(t, nil)
	phone, next, last := newDevice(t), newDevice(t), newDevice(t)
	held := []tokens{s.account(t, phone, "alice")}
	user := deviceOf(t, held[0]).Local()
	refresh := func(d *device) {
		t.Helper()
		s.advance(t, time.Second)
		held = append(held, s.refreshedBy(t, accounts, d, held[len(held)-1]))
	}
	s.rename(t, user, "alicia")
	s.wantSuccessor(t, "renamed, and not refreshed", held[0].access, held[0].access, told{reason: "handle_changed", path: "successor_token"})
	refresh(phone)
	s.rename(t, user, "alison")
	refresh(phone)
	s.rename(t, user, "alice")
	refresh(phone)
	s.rekeyed(t, phone, next, held[len(held)-1])
	refresh(next)
	s.rekeyed(t, next, last, held[len(held)-1])
	s.rename(t, user, "alicia")
	refresh(last)
	newest := held[len(held)-1]
	if got := held[3].set.Handle; got != held[0].set.Handle {
		t.Errorf("handle = %s, want %s again", got, held[0].set.Handle)
	}
	want := told{same: true, successor: true, state: "superseded"}
	for i, old := range held[:len(held)-1] {
		s.wantSuccessor(t, fmt.Sprintf("from step %d", i), old.access, newest.access, want)
		s.wantSuccessor(t, fmt.Sprintf("back to step %d", i), newest.access, old.access, told{reason: "superseded", path: "successor_token"}.orRenamed(held, i))
	}
	s.wantSuccessor(t, "the newest itself", newest.access, newest.access, isSuccessor)
	s.advance(t, 11*time.Minute)
	refresh(last)
	newest, want.state = held[len(held)-1], "expired"
	for i, old := range held[:len(held)-1] {
		s.wantSuccessor(t, fmt.Sprintf("from step %d, expired", i), old.access, newest.access, want)
	}

	// A new device is no successor.
	s.providerKeepsTime(t)
	s.wantSuccessor(t, "a new login without the key", held[0].access, s.account(t, newDevice(t), "alice").access,
		told{state: "expired", reason: "other_client"})

	// Changes that are not recorded do not count: of the key in the rows, and of the handle.
	d := deviceOf(t, newest)
	forged := newest.set
	forged.JTI, forged.JKT = "forged", newDevice(t).JKT()
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		row, err := tx.Device(ctx, d.Domain(), d.Device())
		if err != nil {
			return err
		}
		row.JKT = forged.JKT
		return tx.UpdateDevice(ctx, row)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.wantSuccessor(t, "a key without a record", newest.access, s.signs(t, forged), told{same: true, state: "active", reason: "key_unrecorded"})
	forged = newest.set
	forged.JTI, forged.Handle = "forged too", "im:%40queen@example.com"
	s.wantSuccessor(t, "a handle without a record", newest.access, s.signs(t, forged), told{same: true, state: "active", reason: "handle_unrecorded"})
}

// providerKeepsTime lets the provider go by the clock of the issuer.
func (s *site) providerKeepsTime(t *testing.T) {
	s.provider.tamper(t, tampering{idToken: func(_, claims object) {
		now := s.clock.now().Unix()
		claims["iat"], claims["auth_time"], claims["exp"] = now, now, now+600
	}})
}

// orRenamed is the reason for an old token: that of the last change of the user, which the revocation of all earlier tokens has.
func (w told) orRenamed(held []tokens, i int) told {
	if held[i].set.Gen < held[len(held)-1].set.Gen {
		w.reason = "handle_changed" // the last change was a rename
	}
	return w
}

// TestSuccessorCallers holds who may ask, and that what one may not know looks like what is not there, and costs the same.
func TestSuccessorCallers(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	first := s.account(t, d, "alice")
	s.advance(t, time.Second)
	second := s.refreshedBy(t, accounts, d, first)
	about := pair(first.access, second.access)
	if a := s.askSuccessor(t, peer, about); a.json["successor"] != true {
		t.Fatalf("answer = %v, want a successor", a)
	}
	for name, a := range map[string]answer{
		"a stranger":                 s.askSuccessor(t, stranger, about),
		"about unknown tokens":       s.askSuccessor(t, peer, pair("a", "b")),
		"about one unknown token":    s.askSuccessor(t, peer, pair("a", second.access)),
		"about another unknown one":  s.askSuccessor(t, peer, pair(first.access, "b")),
		"a stranger, about the same": s.askSuccessor(t, stranger, pair(first.access, first.access)),
	} {
		if a.status != http.StatusOK || strings.TrimSpace(a.body) != noSuccessor {
			t.Errorf("%s: answer = %v, want %s", name, a, noSuccessor)
		}
	}
	// A token cannot vouch for itself.
	own := s.forIssuer(t, d, first, "introspect").access
	if a := s.held(t, d, own, http.MethodPost, "/successor", about); a.json["successor"] != true {
		t.Errorf("answer to the user = %v, want a successor", a)
	}
	for _, form := range []url.Values{pair(own, second.access), pair(first.access, own)} {
		if a := s.held(t, d, own, http.MethodPost, "/successor", form); strings.TrimSpace(a.body) != noSuccessor {
			t.Errorf("answer about the credential of the caller = %v, want %s", a, noSuccessor)
		}
	}

	wantError(t, s.post(t, "/successor", about, nil), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.askSuccessor(t, caller{peer.id, "wrong"}, about), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.askSuccessor(t, app, about), http.StatusUnauthorized, "invalid_client")
	wantError(t, s.askSuccessor(t, mute, about), http.StatusForbidden, "unauthorized_client")
	wantRefused(t, s.held(t, d, s.forIssuer(t, d, first, "account").access, http.MethodPost, "/successor", about),
		http.StatusForbidden, "insufficient_scope")
	wantRefused(t, s.held(t, d, second.access, http.MethodPost, "/successor", about), http.StatusUnauthorized, "invalid_token")
	double := maps.Clone(about)
	double.Set("client_secret", secret)
	wantError(t, s.held(t, d, own, http.MethodPost, "/successor", double), http.StatusBadRequest, "invalid_request")

	// Each question asks the store for as much as every other one.
	s.remove(t, s.login(t, newDevice(t), "alice").set.Device)
	cost := s.asked(func() { s.askSuccessor(t, peer, about) })
	if cost == 0 {
		t.Error("a question asked the store for nothing")
	}
	for name, ask := range map[string]func(){
		"unknown tokens": func() { s.askSuccessor(t, peer, pair("nonsense", "more nonsense")) },
		"a foreign one":  func() { s.askSuccessor(t, stranger, about) },
		"an older one":   func() { s.askSuccessor(t, peer, pair(second.access, first.access)) },
		"one unknown":    func() { s.askSuccessor(t, peer, pair(first.access, "nonsense")) },
		"another one":    func() { s.askSuccessor(t, peer, pair("nonsense", first.access)) },
	} {
		if got := s.asked(ask); got != cost {
			t.Errorf("%s cost %d operations of the store, and a successor %d", name, got, cost)
		}
	}
}

// TestSuccessorRequests holds which requests are well-formed.
func TestSuccessorRequests(t *testing.T) {
	s := start(t, nil)
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		contentType, query, body string
		status                   int
	}{
		"no token":                  {form, "", "successor_token=b", 400},
		"no successor":              {form, "", "token=a", 400},
		"nothing":                   {form, "", "", 400},
		"an empty token":            {form, "", "token=&successor_token=b", 400},
		"a token twice":             {form, "", "token=a&token=a&successor_token=b", 400},
		"a successor twice":         {form, "", "token=a&successor_token=b&successor_token=b", 400},
		"a list":                    {form, "", "tokens=%5B%5D&token=a&successor_token=b", 400},
		"a proof":                   {form, "", "proof=a&token=a&successor_token=b", 400},
		"a presentation":            {form, "", "presentation=a&token=a&successor_token=b", 400},
		"im_along that is no list":  {form, "", "im_along=a&token=a&successor_token=b", 400},
		"JSON":                      {"application/json", "", `{"token":"a","successor_token":"b"}`, 400},
		"in the URL":                {form, "?token=a", "successor_token=b", 400},
		"a token of 1 MiB":          {form, "", "successor_token=b&token=" + strings.Repeat("a", 1<<20), 413},
		"a successor of 1 MiB":      {form, "", "token=a&successor_token=" + strings.Repeat("a", 1<<20), 413},
		"a successor of 37 KiB":     {form, "", "token=a&successor_token=" + strings.Repeat("a", 37<<10), 413},
		"a long token":              {form, "", "successor_token=b&token=" + strings.Repeat("a", 30<<10), 200},
		"a long successor":          {form, "", "token=a&successor_token=" + strings.Repeat("a", 30<<10), 200},
		"an unknown parameter, too": {form, "", "token=a&successor_token=b&c=d", 200},
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(t, http.MethodPost, "/successor"+test.query, test.body)
			req.Header.Set("Content-Type", test.contentType)
			req.Header.Set("Authorization", basic(url.QueryEscape(peer.id), url.QueryEscape(secret)))
			a := s.send(t, s.http, req)
			if test.status == http.StatusOK {
				if a.status != http.StatusOK || strings.TrimSpace(a.body) != noSuccessor {
					t.Errorf("answer = %v, want %s", a, noSuccessor)
				}
				return
			}
			wantError(t, a, test.status, "invalid_request")
		})
	}
}

// TestSuccessorDomains holds that a token of another domain is unknown to callers of one.
func TestSuccessorDomains(t *testing.T) {
	s := start(t, map[string]string{"both": `["example.com", "example.org"]`})
	d := newDevice(t)
	here, abroad := s.signedInTo(t, "example.com", d, "alice"), s.signedInTo(t, "example.org", d, "alice")
	if a := s.askSuccessor(t, peer, pair(here.access, here.access)); a.json["successor"] != true {
		t.Errorf("answer = %v, want a successor", a)
	}
	for _, c := range []caller{peer, stranger} {
		for _, form := range []url.Values{pair(here.access, abroad.access), pair(abroad.access, here.access)} {
			if a := s.askSuccessor(t, c, form); strings.TrimSpace(a.body) != noSuccessor {
				t.Errorf("answer to %s = %v, want %s", c.id, a, noSuccessor)
			}
		}
	}
}

// TestSuccessorKeys holds that a token signed by a retired key has successors, also after the key has left the key set, and that one
// signed by a revoked key has none.
func TestSuccessorKeys(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	first := s.login(t, d, "alice")
	kid := kidOf(t, first.access)
	s.rotate(t, "true")
	second := s.refreshed(t, d, first.refresh)
	if kidOf(t, second.access) == kid {
		t.Fatal("the second token is signed by the first key")
	}
	s.wantSuccessor(t, "retired key", first.access, second.access, isSuccessor)
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		rows, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		for _, row := range rows {
			if row.KID == kid {
				row.Life = time.Hour // of all that it signed
				return tx.UpdateSigningKey(ctx, row)
			}
		}
		return storage.ErrNotFound
	})
	if err != nil {
		t.Fatal(err)
	}
	s.restart(t, nil)
	s.advance(t, 2*time.Hour)
	if s.published(t)[kid].Public != nil {
		t.Error("the key is still in the key set")
	}
	second = s.refreshed(t, d, second.refresh)
	expired := told{same: true, successor: true, state: "expired"}
	s.wantSuccessor(t, "key that left the key set", first.access, second.access, expired)
	wantStatus(t, s.revokeKey(t, kid), http.StatusOK)
	s.wantSuccessor(t, "revoked key", first.access, second.access, told{})
}

// TestSuccessorUnknown holds that what cannot be known now is answered 503, whatever was asked.
func TestSuccessorUnknown(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	first := s.login(t, d, "alice")
	second := s.refreshed(t, d, first.refresh)
	forms := []url.Values{pair(first.access, second.access), pair("nonsense", second.access), pair("nonsense", "nonsense")}
	for _, op := range []string{"View", "Session", "Names", "Rekeys", "Device", "User", "Statement"} {
		s.faults.set(op)
		for _, form := range forms {
			wantError(t, s.askSuccessor(t, peer, form), http.StatusServiceUnavailable, "temporarily_unavailable")
		}
	}
	s.faults.set("Revocations")
	s.clock.advance(10 * time.Second) // the mirror is behind
	for _, form := range forms {
		wantError(t, s.askSuccessor(t, peer, form), http.StatusServiceUnavailable, "temporarily_unavailable")
	}
	s.faults.set("")
	s.waitReady(t)
	if a := s.askSuccessor(t, peer, forms[0]); a.json["successor"] != true {
		t.Errorf("answer = %v, want a successor", a)
	}
}

// TestSuccessorSigned holds signed answers: what they say, about which tokens, and for whom.
func TestSuccessorSigned(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	first := s.login(t, d, "alice")
	s.advance(t, time.Second)
	second := s.refreshed(t, d, first.refresh)
	const media = "application/im-successor+jwt"
	machine := newDevice(t)
	own := s.service(t, auditor, machine, url.Values{"resource": {s.issuer}, "scope": {"introspect introspect:domain introspect:reason"}})
	for _, test := range []struct {
		first, second string
		want          string
		told          string
	}{
		{first.access, second.access, `{"max_age":5,"same_client":true,"successor":true}`,
			`{"max_age":5,"same_client":true,"state":"active","successor":true}`},
		{second.access, first.access, `{"same_client":true,"successor":false}`,
			`{"reason":"older","same_client":true,"state":"active","successor":false}`},
		{"nonsense", first.access, noSuccessor, noSuccessor},
	} {
		for c, a := range map[string]answer{
			peer.id:    s.asking(t, peer, "/successor", pair(test.first, test.second), media),
			auditor.id: s.heldAccepting(t, machine, own, "/successor", pair(test.first, test.second), media),
		} {
			claims := s.openedJWT(t, a, media, "im-successor+jwt", "ES256")
			want := test.want
			if c == auditor.id {
				want = test.told
			}
			iat, _ := claims["iat"].(float64)
			if age := s.clock.now().Unix() - int64(iat); claims["iss"] != s.issuer || claims["aud"] != c || age < 0 || age > 60 ||
				claims["ath"] != dpop.ATH(test.first) || claims["successor_ath"] != dpop.ATH(test.second) ||
				string(encode(claims["im_successor"])) != want || len(claims) != 6 {
				t.Errorf("claims = %v, want %s for %s", claims, want, c)
			}
		}
	}
	if a := s.asking(t, peer, "/successor", pair(first.access, second.access), mediaSigned); !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		t.Errorf("answer as %s, want JSON", a.header.Get("Content-Type"))
	}
}

// successors asks about two tokens.
func successors(t *testing.T, s *site) []step {
	d := newDevice(t)
	first := s.login(t, d, "alice")
	second := s.refreshed(t, d, first.refresh)
	return []step{{
		name: "question about a successor",
		ask:  func() answer { return s.askSuccessor(t, peer, pair(first.access, second.access)) },
		good: func(a answer) {
			if a.status != http.StatusOK || a.json["successor"] != true {
				t.Errorf("answer = %v, want a successor", a)
			}
		},
	}}
}
