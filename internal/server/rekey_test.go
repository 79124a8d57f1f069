package server_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// A rekeying is a request of a device for another key.
type rekeying struct {
	by, to      *device // whose keys make the proof and the statement
	token       string
	id          string // of the device in the path
	params      dpop.RekeyParams
	contentType string
	body        string // in place of the statement
	proof       string // in place of a good one
}

// rekeyingOf is a good request of the device by which tokens of a login are held, with a token for the issuer.
func (s *site) rekeyingOf(t *testing.T, by, to *device, held tokens, own string) rekeying {
	t.Helper()
	return rekeying{
		by: by, to: to, token: own, id: deviceOf(t, held).Device(), contentType: "application/im-rekey+jwt",
		params: dpop.RekeyParams{Audience: s.issuer, Device: held.set.Device, OldJKT: by.JKT()},
	}
}

// statement signs what the new key states.
func (s *site) statement(t *testing.T, r rekeying) string {
	t.Helper()
	if r.params.Nonce == "" {
		r.params.Nonce = s.nonce(t)
	}
	r.params.IssuedAt = s.clock.now()
	text, err := r.to.Rekey(r.params)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// askRekey sends a request for another key.
func (s *site) askRekey(t *testing.T, r rekeying) answer {
	t.Helper()
	if r.body == "" {
		r.body = s.statement(t, r)
	}
	path := "/me/devices/" + r.id + "/key"
	if r.proof == "" {
		r.proof = s.proofFor(t, r.by.Signer, http.MethodPost, path, s.nonce(t), r.token)
	}
	req := s.request(t, http.MethodPost, path, r.body)
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	if r.token != "" {
		req.Header.Set("Authorization", "DPoP "+r.token)
	}
	req.Header.Set("DPoP", r.proof)
	return s.send(t, s.http, req)
}

// rekeyed replaces the key of a device.
func (s *site) rekeyed(t *testing.T, by, to *device, held tokens) {
	t.Helper()
	a := s.askRekey(t, s.rekeyingOf(t, by, to, held, s.forIssuer(t, by, held, "account").access))
	if a.status != http.StatusOK || a.text("jkt") != to.JKT() || a.text("old_jkt") != by.JKT() {
		t.Fatalf("POST /me/devices/{id}/key = %v, want 200 with the new key", a)
	}
}

// TestRekey holds that a device goes on with another key: same device, same session, and nothing with the old key.
func TestRekey(t *testing.T) {
	s := start(t, nil)
	phone, next, tablet := newDevice(t), newDevice(t), newDevice(t)
	held, other, hers := s.account(t, phone, "alice"), s.login(t, phone, "alice"), s.account(t, tablet, "alice")
	own := s.forIssuer(t, phone, held, "account")
	r := s.rekeyingOf(t, phone, next, held, own.access)
	var a answer
	events := s.audited(func() { a = s.askRekey(t, r) })
	if a.status != http.StatusOK || a.text("device") != held.set.Device || a.text("jkt") != next.JKT() || a.text("old_jkt") != phone.JKT() {
		t.Fatalf("answer = %v, want the device with its new key", a)
	}
	if at, err := time.Parse(time.RFC3339, a.text("replaced_at")); err != nil || s.clock.now().Sub(at).Abs() > time.Minute {
		t.Errorf("replaced_at = %q, want the present time", a.text("replaced_at"))
	}
	want := fmt.Sprintf("event=device.rekeyed actor=user domain=example.com user=%s device=%s client=account-app session=%s id=%s address=127.0.0.1",
		deviceOf(t, held).Local(), r.id, held.set.SID, a.header.Get("X-Request-Id"))
	if len(events) != 1 || !sameWords(events[0], want) {
		t.Errorf("events = %q, want %q", events, want)
	}

	// What the old key holds is over. The device continues with the new one: same id, same session, nobody is logged out.
	s.wantInactive(t, held.access)
	s.wantInactive(t, other.access)
	for name, a := range map[string]answer{
		"refresh with the old key":            s.token(t, accounts, phone, refreshForm(held.refresh)),
		"refresh of another session with it":  s.token(t, app, phone, refreshForm(other.refresh)),
		"a new login with it":                 s.token(t, app, phone, codeForm(s.code(t, "alice", nil), nil)),
		"a login of somebody else with it":    s.token(t, app, phone, codeForm(s.code(t, "bob", nil), nil)),
		"refresh of the tablet's with no key": s.token(t, accounts, next, refreshForm(hers.refresh)),
	} {
		if a.status != http.StatusBadRequest || a.text("error") != "invalid_grant" {
			t.Errorf("%s = %v, want invalid_grant", name, a)
		}
	}
	if a := s.push(t, phone, nil); a.status != http.StatusBadRequest {
		t.Errorf("pushed request with the old key = %v, want it refused", a)
	}
	now := wantTokens(t, s.token(t, accounts, next, refreshForm(held.refresh)))
	second := s.refreshed(t, next, other.refresh)
	for _, got := range []tokens{now, second} {
		s.wantActive(t, got.access)
		if got.set.Device != held.set.Device || got.set.JKT != next.JKT() || got.set.Gen != held.set.Gen+1 {
			t.Errorf("token = %+v, want one of the same device with the new key", got.set)
		}
	}
	if now.set.SID != held.set.SID || second.set.SID != other.set.SID {
		t.Error("the sessions changed")
	}
	wantTokens(t, s.token(t, accounts, tablet, refreshForm(hers.refresh)))
	if again := s.login(t, next, "alice"); again.set.Device != held.set.Device {
		t.Errorf("login with the new key = %s, want the device %s", again.set.Device, held.set.Device)
	}

	// A second replacement, by the new key.
	third := newDevice(t)
	s.rekeyed(t, next, third, now)
	if got := wantTokens(t, s.token(t, accounts, third, refreshForm(now.refresh))); got.set.Device != held.set.Device {
		t.Errorf("device = %s, want %s", got.set.Device, held.set.Device)
	}
	// Removing the device ends what the newest key holds.
	s.remove(t, held.set.Device)
	wantError(t, s.token(t, accounts, third, refreshForm(now.refresh)), http.StatusBadRequest, "invalid_grant")
	for _, d := range []*device{phone, next, third} {
		wantError(t, s.token(t, app, d, codeForm(s.code(t, "alice", nil), nil)), http.StatusBadRequest, "invalid_grant")
	}
}

// sameWords compares the fields of two lines in any order.
func sameWords(a, b string) bool {
	x, y := strings.Fields(a), strings.Fields(b)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// TestRekeyAgain holds that a device that lost the answer may repeat the request, with the old key or the new one, and changes nothing
// by that. Once there is a third key, the same request is refused.
func TestRekeyAgain(t *testing.T) {
	s := start(t, nil)
	phone, next, third := newDevice(t), newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	old := s.rekeyingOf(t, phone, next, held, s.forIssuer(t, phone, held, "account").access)
	first := s.askRekey(t, old)
	wantStatus(t, first, http.StatusOK)
	now := wantTokens(t, s.token(t, accounts, next, refreshForm(held.refresh)))
	own := s.forIssuer(t, next, now, "account")
	fresh := old
	fresh.by, fresh.token = next, own.access
	same := old
	same.body = s.statement(t, old)
	before := s.rows(t)
	events := s.audited(func() {
		for name, r := range map[string]rekeying{
			"with the old key": old, "with the new key": fresh, "with a statement that was sent": same, "and the same again": same,
		} {
			if a := s.askRekey(t, r); a.body != first.body {
				t.Errorf("%s = %v, want %v", name, a, first)
			}
		}
	})
	if len(events) != 0 || !slices.Equal(before, s.rows(t)) {
		t.Errorf("repeated requests changed rows or recorded %q", events)
	}
	// A request that was done is no other request.
	for name, change := range map[string]func(r *rekeying){
		"to another key":      func(r *rekeying) { r.to = third },
		"from another key":    func(r *rekeying) { r.params.OldJKT = third.JKT() },
		"of another device":   func(r *rekeying) { r.id = "1" },
		"by a key beside it":  func(r *rekeying) { r.by = third },
		"by a stolen request": func(r *rekeying) { r.to = phone },
	} {
		r := old
		change(&r)
		if a := s.askRekey(t, r); a.status == http.StatusOK {
			t.Errorf("%s = %v, want a refusal", name, a)
		}
	}

	s.rekeyed(t, next, third, now)
	for name, r := range map[string]rekeying{"with the old key": old, "with the new key": fresh} {
		wantRefused(t, s.askRekey(t, r), http.StatusUnauthorized, "invalid_token")
		if d, err := s.store.DeviceByKey(t.Context(), "example.com", phone.JKT()); err != nil || d.JKT != third.JKT() {
			t.Errorf("%s: device = %+v, %v, want its third key", name, d, err)
		}
	}
}

// TestRekeyRefused holds who cannot replace the key of a device, and that a refusal changes nothing.
func TestRekeyRefused(t *testing.T) {
	s := start(t, nil)
	phone, tablet, bobs, next, gone := newDevice(t), newDevice(t), newDevice(t), newDevice(t), newDevice(t)
	held, hers, his := s.account(t, phone, "alice"), s.account(t, tablet, "alice"), s.account(t, bobs, "bob")
	s.remove(t, s.login(t, gone, "alice").set.Device)
	former := newDevice(t)
	was := s.account(t, former, "alice")
	s.rekeyed(t, former, newDevice(t), was)
	own := s.forIssuer(t, phone, held, "account")
	elsewhere := func(issuer string) func(r *rekeying) { return func(r *rekeying) { r.params.Audience = issuer } }
	signed := func(change func(header, claims object)) func(r *rekeying) {
		return func(r *rekeying) {
			jwk, err := jose.MarshalJWK(next.key.Public())
			if err != nil {
				t.Fatal(err)
			}
			header := object{"typ": "im-rekey+jwt", "alg": "ES256", "jwk": json.RawMessage(jwk)}
			claims := object{
				"aud": s.issuer, "device": held.set.Device, "old_jkt": phone.JKT(), "nonce": s.nonce(t), "iat": s.clock.now().Unix(), "jti": "1",
			}
			change(header, claims)
			h, err := json.Marshal(header)
			if err != nil {
				t.Fatal(err)
			}
			c, err := json.Marshal(claims)
			if err != nil {
				t.Fatal(err)
			}
			if r.body, err = jose.Sign(next.key, jose.ES256, h, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name   string
		change func(r *rekeying)
		status int
		code   string
	}{
		{"without the old key", func(r *rekeying) { r.by = next }, 401, "invalid_token"},
		{"with the key of another device of hers", func(r *rekeying) { r.by = tablet }, 401, "invalid_token"},
		{"without a token", func(r *rekeying) { r.token = "" }, 401, ""},
		{"with the token of another device of hers", func(r *rekeying) {
			r.by, r.token = tablet, s.forIssuer(t, tablet, hers, "account").access
		}, 403, "access_denied"},
		{"with the token of somebody else", func(r *rekeying) {
			r.by, r.token = bobs, s.forIssuer(t, bobs, his, "account").access
		}, 403, "access_denied"},
		{"of no device", func(r *rekeying) { r.id = "none" }, 403, "access_denied"},
		{"with a token for others", func(r *rekeying) { r.token = held.access }, 401, "invalid_token"},
		{"without the scope", func(r *rekeying) { r.token = s.forIssuer(t, phone, held, "introspect").access }, 403, "insufficient_scope"},
		{"with a refresh token", func(r *rekeying) { r.token = held.refresh }, 401, "invalid_token"},
		{"with a used proof", func(r *rekeying) {
			r.proof = s.proofFor(t, phone.Signer, http.MethodPost, "/me/devices/"+r.id+"/key", s.nonce(t), r.token)
			spent := *r
			spent.body = "used"
			s.askRekey(t, spent)
		}, 401, "invalid_dpop_proof"},
		{"with a proof for another path", func(r *rekeying) {
			r.proof = s.proofFor(t, phone.Signer, http.MethodPost, "/me/devices/1/key", s.nonce(t), r.token)
		}, 401, "invalid_dpop_proof"},

		{"to the same key", func(r *rekeying) { r.to = phone }, 400, "invalid_rekey"},
		{"to the key of another device of hers", func(r *rekeying) { r.to = tablet }, 400, "invalid_rekey"},
		{"to the key of somebody else", func(r *rekeying) { r.to = bobs }, 400, "invalid_rekey"},
		{"to the key of a removed device", func(r *rekeying) { r.to = gone }, 400, "invalid_rekey"},
		{"to a replaced key", func(r *rekeying) { r.to = former }, 400, "invalid_rekey"},
		{"for another device", func(r *rekeying) { r.params.Device = hers.set.Device }, 400, "invalid_rekey"},
		{"for a device in another spelling", func(r *rekeying) { r.params.Device = strings.ToUpper(r.params.Device) }, 400, "invalid_rekey"},
		{"for no device", func(r *rekeying) { r.params.Device = "" }, 400, "invalid_rekey"},
		{"from another key", func(r *rekeying) { r.params.OldJKT = tablet.JKT() }, 400, "invalid_rekey"},
		{"for another issuer", elsewhere("https://issuer.example.net"), 400, "invalid_rekey"},
		{"for the issuer with a slash", elsewhere(s.issuer + "/"), 400, "invalid_rekey"},
		{"with an old nonce", func(r *rekeying) { r.params.Nonce = "old" }, 400, "use_dpop_nonce"},
		{"without a nonce", signed(func(_, c object) { delete(c, "nonce") }), 400, "use_dpop_nonce"},
		{"with a nonce that is a number", signed(func(_, c object) { c["nonce"] = 1 }), 400, "invalid_rekey"},
		{"of another type", signed(func(h, _ object) { h["typ"] = "dpop+jwt" }), 400, "invalid_rekey"},
		{"of no type", signed(func(h, _ object) { delete(h, "typ") }), 400, "invalid_rekey"},
		{"with an algorithm that is off", signed(func(h, _ object) { h["alg"] = "RS256" }), 400, "invalid_rekey"},
		{"without an algorithm", signed(func(h, _ object) { h["alg"] = "none" }), 400, "invalid_rekey"},
		{"with a key that did not sign", signed(func(h, _ object) {
			jwk, err := jose.MarshalJWK(newKey(t).Public())
			if err != nil {
				t.Fatal(err)
			}
			h["jwk"] = json.RawMessage(jwk)
		}), 400, "invalid_rekey"},
		{"with a private key", signed(func(h, _ object) { h["jwk"] = object{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"} }),
			400, "invalid_rekey"},
		{"dated two days ago", signed(func(_, c object) { c["iat"] = s.clock.now().Add(-48 * time.Hour).Unix() }), 400, "invalid_rekey"},
		{"without a jti", signed(func(_, c object) { delete(c, "jti") }), 400, "invalid_rekey"},
		{"with a claim twice", func(r *rekeying) {
			r.body = s.statement(t, *r)
			parts := strings.Split(r.body, ".")
			payload, err := base64.RawURLEncoding.DecodeString(parts[1])
			if err != nil {
				t.Fatal(err)
			}
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(`{"old_jkt":"x",` + string(payload[1:])))
			r.body = strings.Join(parts, ".")
		}, 400, "invalid_rekey"},
		{"cut off", func(r *rekeying) { text := s.statement(t, *r); r.body = text[:len(text)-9] }, 400, "invalid_rekey"},
		{"with a line feed", func(r *rekeying) { r.body = s.statement(t, *r) + "\n" }, 400, "invalid_rekey"},
		{"as the proof itself", func(r *rekeying) {
			r.body = s.proofFor(t, next.Signer, http.MethodPost, "/me/devices/"+r.id+"/key", s.nonce(t), r.token)
		}, 400, "invalid_rekey"},
		{"as JSON", func(r *rekeying) { r.contentType = "application/json" }, 400, "invalid_request"},
		{"without a content type", func(r *rekeying) { r.contentType = "" }, 400, "invalid_request"},
		{"too large", func(r *rekeying) { r.body = strings.Repeat("A", 8<<10+1) }, 413, "invalid_request"},
		{"of 1 MiB", func(r *rekeying) { r.body = strings.Repeat("A", 1<<20) }, 413, "invalid_request"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := s.rekeyingOf(t, phone, next, held, own.access)
			test.change(&r)
			before := s.rows(t)
			a := s.askRekey(t, r)
			if a.status != test.status || a.text("error") != test.code {
				t.Errorf("answer = %v, want %d %s", a, test.status, test.code)
			}
			if !slices.Equal(before, s.rows(t)) {
				t.Error("rows changed")
			}
		})
	}
	t.Run("with a used statement", func(t *testing.T) {
		r := s.rekeyingOf(t, phone, next, held, own.access)
		r.body = s.statement(t, r)
		s.faults.set("RekeyDevice")
		wantError(t, s.askRekey(t, r), http.StatusServiceUnavailable, "temporarily_unavailable")
		s.faults.set("")
		wantError(t, s.askRekey(t, r), http.StatusBadRequest, "invalid_rekey")
	})
	t.Run("of somebody who acts for her", func(t *testing.T) {
		set := own.set
		set.JTI += "x"
		set.Actor = &claims.Actor{Subject: bot.id, Issuer: s.issuer, ClientID: bot.id}
		r := s.rekeyingOf(t, phone, next, held, own.access)
		r.token = s.signs(t, set)
		wantRefused(t, s.askRekey(t, r), http.StatusForbidden, "access_denied")
	})
	t.Run("and at last a good one", func(t *testing.T) {
		wantStatus(t, s.askRekey(t, s.rekeyingOf(t, phone, next, held, own.access)), http.StatusOK)
	})
}

// TestRekeyStepUp holds that the user must have logged in within five minutes (RFC 9470 §3).
func TestRekeyStepUp(t *testing.T) {
	s := start(t, nil)
	phone, next := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	s.advance(t, 5*time.Minute+time.Second)
	r := s.rekeyingOf(t, phone, next, held, s.forIssuer(t, phone, held, "account").access)
	a := s.askRekey(t, r)
	wantRefused(t, a, http.StatusUnauthorized, "insufficient_user_authentication")
	for _, part := range []string{`error="insufficient_user_authentication"`, `max_age="300"`} {
		if challenge := a.header.Get("WWW-Authenticate"); !strings.Contains(challenge, part) {
			t.Errorf("WWW-Authenticate = %q, want %s", challenge, part)
		}
	}
	// The old login does not count, whether its token says when it was or not.
	set := claimsOf(t, r.token)
	for name, at := range map[string]time.Time{"never": {}, "in an hour": s.clock.now().Add(time.Hour)} {
		set.JTI, set.AuthTime = name, at
		r.token = s.signs(t, set)
		if a := s.askRekey(t, r); a.text("error") != "insufficient_user_authentication" {
			t.Errorf("with a login %s = %v, want it refused", name, a)
		}
	}
	// What is not known to be hers is not told before she has logged in.
	r.to, r.token = phone, s.forIssuer(t, phone, held, "account").access
	wantRefused(t, s.askRekey(t, r), http.StatusUnauthorized, "insufficient_user_authentication")

	s.provider.tamper(t, tampering{idToken: func(_, claims object) { claims["auth_time"] = s.clock.now().Unix() }})
	again := s.account(t, phone, "alice")
	r = s.rekeyingOf(t, phone, next, again, s.forIssuer(t, phone, again, "account").access)
	wantStatus(t, s.askRekey(t, r), http.StatusOK)
	wantTokens(t, s.token(t, accounts, next, refreshForm(held.refresh))) // the older session of the device, too
}

// TestRekeyRaced lets many requests for different keys race: one wins, and the device has its key.
func TestRekeyRaced(t *testing.T) {
	s := start(t, nil)
	phone := newDevice(t)
	held := s.account(t, phone, "alice")
	own := s.forIssuer(t, phone, held, "account")
	const racers = 8
	requests := make([]rekeying, racers)
	for i := range requests {
		requests[i] = s.rekeyingOf(t, phone, newDevice(t), held, own.access)
	}
	twin := requests[0] // the same request by the same device, twice at once
	requests = append(requests, twin)
	answers := make([]answer, len(requests))
	var group sync.WaitGroup
	for i := range requests {
		group.Go(func() { answers[i] = s.askRekey(t, requests[i]) })
	}
	group.Wait()
	won := make(map[string]bool)
	for i, a := range answers {
		switch {
		case a.status == http.StatusOK:
			won[requests[i].to.JKT()] = true
		case a.status != http.StatusUnauthorized || a.text("error") != "invalid_token":
			t.Errorf("answer = %v, want 200 or 401 invalid_token", a)
		}
	}
	rekeys, err := s.store.Rekeys(t.Context(), "example.com", deviceOf(t, held).Device())
	if err != nil || len(rekeys) != 1 || len(won) != 1 || !won[rekeys[0].NewJKT] {
		t.Fatalf("%d keys won and %+v are recorded (%v), want one", len(won), rekeys, err)
	}
	for _, r := range requests {
		a := s.token(t, accounts, r.to, refreshForm(held.refresh))
		if good := a.status == http.StatusOK; good != won[r.to.JKT()] {
			t.Errorf("refresh with the key of a racer = %v, and it won: %t", a, won[r.to.JKT()])
		}
	}
}

// TestRekeyMeanwhile replaces the key between what a token request reads and what it writes: nothing is issued to the old key.
func TestRekeyMeanwhile(t *testing.T) {
	s := start(t, stored)
	for name, ask := range map[string]func(d *device, refresh, code string) answer{
		"refresh": func(d *device, refresh, _ string) answer { return s.token(t, accounts, d, refreshForm(refresh)) },
		"code":    func(d *device, _, code string) answer { return s.token(t, app, d, codeForm(code, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			phone, next := newDevice(t), newDevice(t)
			held := s.account(t, phone, "alice")
			own, code := s.forIssuer(t, phone, held, "account"), s.code(t, "alice", nil)
			r := s.rekeyingOf(t, phone, next, held, own.access)
			s.faults.beforeUpdate(func() { wantStatus(t, s.askRekey(t, r), http.StatusOK) })
			wantError(t, ask(phone, own.refresh, code), http.StatusServiceUnavailable, "temporarily_unavailable")
			wantError(t, ask(phone, own.refresh, code), http.StatusBadRequest, "invalid_grant")
			wantTokens(t, s.token(t, accounts, next, refreshForm(own.refresh)))
		})
	}
}

// TestRekeyEndsDelegations holds that a delegation to the old key ends, with the devices under it, and that a late repetition of the
// login's own request ends nothing.
func TestRekeyEndsDelegations(t *testing.T) {
	s := start(t, nil)
	phone, next := newDevice(t), newDevice(t)
	tablet := newDevice(t)
	hers := s.account(t, tablet, "alice")
	id, _ := s.made(t, tablet, hers, "delegations", object{"jkt": phone.JKT(), "devices": "tv", "count": 1, "depth": 1, "lifetime": 600, "audience": []string{s.issuer}})
	code := s.code(t, "alice", url.Values{"client_id": {accounts.id}, "scope": {"im:handle im:device account"}})
	held := wantTokens(t, s.token(t, accounts, phone, codeForm(code, nil)))
	s.rekeyed(t, phone, next, held)
	st, err := s.store.Statement(t.Context(), id)
	if err != nil || st.Type != nested.TypeDelegation || st.WithdrawnAt.IsZero() {
		t.Errorf("delegation to the old key = %+v, %v, want it withdrawn", st, err)
	}
	wantError(t, s.token(t, accounts, phone, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	wantTokens(t, s.token(t, accounts, next, refreshForm(held.refresh)))
}

// TestRekeyLimit holds that the records of one device are bounded.
func TestRekeyLimit(t *testing.T) {
	s := start(t, nil)
	phone, next := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	d := deviceOf(t, held)
	err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		key := phone.JKT()
		for i := range 1000 {
			to := fmt.Sprintf("key-%d", i)
			if i == 999 {
				to = next.JKT()
			}
			r := storage.Rekey{Domain: d.Domain(), Device: d.Device(), OldJKT: key, NewJKT: to, At: s.clock.now()}
			if err := tx.RekeyDevice(ctx, r); err != nil {
				return err
			}
			key = to
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	own := s.forIssuer(t, next, held, "account")
	wantRefused(t, s.askRekey(t, s.rekeyingOf(t, next, newDevice(t), held, own.access)), http.StatusForbidden, "access_denied")
}

// rekeyingOnce replaces the key of a device. A request whose answer was lost is sent again with the same key.
func rekeyingOnce(t *testing.T, s *site) []step {
	phone, next := newDevice(t), newDevice(t)
	held := s.account(t, phone, "alice")
	r := s.rekeyingOf(t, phone, next, held, s.forIssuer(t, phone, held, "account").access)
	return []step{{
		name: "replacement of a key",
		ask:  func() answer { return s.askRekey(t, r) },
		good: func(a answer) {
			if a.status != http.StatusOK || a.text("jkt") != next.JKT() {
				t.Errorf("answer = %v, want the new key", a)
			}
			s.faults.quietly(func() {
				wantError(t, s.token(t, accounts, phone, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
				wantTokens(t, s.token(t, accounts, next, refreshForm(held.refresh)))
			})
			s.soonInactive(t, held.access)
		},
	}}
}
