package server_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/verdict"
	"github.com/imidentity/issuer/xsign"
)

// A crossSigner is a user with cross-signing keys, at the issuer.
type crossSigner struct {
	*site
	t       *testing.T
	device  *device
	held    tokens
	own     string // a token for the issuer
	id      claims.ID
	phone   claims.ID
	master  crypto.Signer
	listing crypto.Signer // signs the device list
	vouches crypto.Signer // signs vouches
}

func newOwnKey(t *testing.T) crypto.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newCrossSigner signs a person in, and makes keys for them.
func (s *site) newCrossSigner(t *testing.T, person string) *crossSigner {
	t.Helper()
	u := &crossSigner{site: s, t: t, device: newDevice(t), master: newOwnKey(t), listing: newOwnKey(t), vouches: newOwnKey(t)}
	u.held = s.account(t, u.device, person)
	u.own = s.forIssuer(t, u.device, u.held, "account").access
	id, err := u.held.set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	u.id, u.phone = id.User, id.Device
	return u
}

// newCarol is newCrossSigner for a third person.
func (s *site) newCarol(t *testing.T) *crossSigner {
	t.Helper()
	s.namesake(t, "dev-10077", "carol")
	defer s.provider.tamper(t, tampering{})
	return s.newCrossSigner(t, "alice")
}

// bobID returns the identifier of the user of a session.
func bobID(t *testing.T, held tokens) claims.ID {
	t.Helper()
	id, err := held.set.Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.User
}

func signed(t *testing.T, text string, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// keys returns the keys of the user, number seq.
func (u *crossSigner) keys(seq int64, change ...func(*xsign.Keys)) string {
	u.t.Helper()
	now := u.clock.now().Truncate(time.Second)
	k := &xsign.Keys{
		User: u.id, IssuedAt: now, Expires: now.Add(300 * 24 * time.Hour), Seq: seq,
		DeviceSigning: u.listing.Public(), UserSigning: u.vouches.Public(),
	}
	for _, f := range change {
		f(k)
	}
	text, err := k.Sign(u.master)
	return signed(u.t, text, err)
}

// devices returns the list with the phone of the user, number seq.
func (u *crossSigner) devices(seq int64, change ...func(*xsign.Devices)) string {
	u.t.Helper()
	now := u.clock.now().Truncate(time.Second)
	d := &xsign.Devices{
		User: u.id, IssuedAt: now, Expires: now.Add(80 * 24 * time.Hour), Seq: seq,
		Devices: []xsign.Device{{ID: u.phone, Keys: []string{u.device.JKT()}}},
	}
	for _, f := range change {
		f(d)
	}
	text, err := d.Sign(u.listing)
	return signed(u.t, text, err)
}

// vouch returns a vouch for another user.
func (u *crossSigner) vouch(about *crossSigner, public bool, change ...func(*xsign.Vouch)) string {
	u.t.Helper()
	now := u.clock.now().Truncate(time.Second)
	v := &xsign.Vouch{
		By: u.id, User: about.id, IssuedAt: now, Expires: now.Add(100 * 24 * time.Hour), Master: about.thumbprint(), How: "qr", Public: public,
	}
	for _, f := range change {
		f(v)
	}
	text, err := v.Sign(u.vouches)
	return signed(u.t, text, err)
}

func (u *crossSigner) distrust(about *crossSigner, public bool) string {
	u.t.Helper()
	d := &xsign.Distrust{
		By: u.id, User: about.id, IssuedAt: u.clock.now().Truncate(time.Second), Master: about.thumbprint(), Public: public,
	}
	text, err := d.Sign(u.vouches)
	return signed(u.t, text, err)
}

func (u *crossSigner) thumbprint() string {
	u.t.Helper()
	text, err := xsign.Thumbprint(u.master.Public())
	return signed(u.t, text, err)
}

// put sends statements.
func (u *crossSigner) put(body object) answer {
	u.t.Helper()
	return u.site.held(u.t, u.device, u.own, http.MethodPut, "/me/xsign", body)
}

// puts sends statements that must be stored.
func (u *crossSigner) puts(body object) answer {
	u.t.Helper()
	a := u.put(body)
	wantStatus(u.t, a, http.StatusOK)
	return a
}

func (u *crossSigner) opines(thumbprint, statement string) answer {
	u.t.Helper()
	return u.site.held(u.t, u.device, u.own, http.MethodPut, "/me/vouches/"+thumbprint, object{"statement": statement})
}

// shows returns what the user reads of their own.
func (u *crossSigner) shows() (own struct {
	Keys, Devices       string
	Succession, Vouches []string
}) {
	u.t.Helper()
	a := u.site.held(u.t, u.device, u.own, http.MethodGet, "/me/xsign", nil)
	wantStatus(u.t, a, http.StatusOK)
	decode(u.t, []byte(a.body), &own)
	return own
}

// query asks about users, as a client with a secret.
func (s *site) query(t *testing.T, by caller, body any) answer {
	t.Helper()
	text, ok := body.(string)
	if !ok {
		text = string(encode(body))
	}
	req := s.request(t, http.MethodPost, "/xsign/query", text)
	req.Header.Set("Content-Type", "application/json")
	by.authenticate(nil, req.Header)
	return s.send(t, s.http, req)
}

// A crossAnswer is the answer to a question about users.
type crossAnswer struct {
	Users map[string]struct {
		xsign.Bundle
		Vouches []struct {
			User  string
			By    xsign.Bundle
			Vouch string
		}
		MoreVouches bool `json:"more_vouches"`
	}
	Omitted []string
}

func (s *site) bundles(t *testing.T, body any) (found crossAnswer) {
	t.Helper()
	a := s.query(t, peer, body)
	wantStatus(t, a, http.StatusOK)
	decode(t, []byte(a.body), &found)
	return found
}

// TestCrossSigning holds how a user stores keys and lists, and what others get.
func TestCrossSigning(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	if got := u.shows(); got.Keys != "" || got.Devices != "" || got.Succession == nil || got.Vouches == nil {
		t.Errorf("a new user has %+v, want nothing", got)
	}
	if found := s.bundles(t, object{"users": []string{u.id.String()}}); len(found.Users) != 0 {
		t.Errorf("a user without keys = %+v, want no user", found)
	}
	wantRefused(t, u.put(object{"devices": u.devices(1)}), http.StatusConflict, "no_keys")
	keys, list := u.keys(1), u.devices(1)
	events := s.audited(func() { u.puts(object{"keys": keys, "devices": list}) })
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=user.keys_changed actor=user ") || !strings.Contains(events[0], "reason=first") {
		t.Errorf("events = %q, want the first keys", events)
	}
	if got := u.shows(); got.Keys != keys || got.Devices != list {
		t.Errorf("GET /me/xsign = %+v, want what was sent", got)
	}

	// The same again changes nothing; another content with the same number or a lower one is refused.
	events = s.audited(func() { u.puts(object{"keys": keys, "devices": list}) })
	other := u.devices(1, func(d *xsign.Devices) { d.Devices = nil })
	wantRefused(t, u.put(object{"devices": other}), http.StatusConflict, "statement_conflict")
	second := u.devices(3, func(d *xsign.Devices) { d.Devices = nil })
	u.puts(object{"devices": second})
	wantRefused(t, u.put(object{"devices": list}), http.StatusConflict, "statement_conflict")
	wantRefused(t, u.put(object{"keys": u.keys(1, func(k *xsign.Keys) { k.ID = "another" })}), http.StatusConflict, "statement_conflict")
	if len(events) != 0 {
		t.Errorf("events of what is stored already = %q, want none", events)
	}

	// New keys below the same master key.
	before := u.listing
	u.listing = newOwnKey(t)
	wantRefused(t, u.put(object{"keys": u.keys(2)}), http.StatusBadRequest, "invalid_statement") // without a list by the new key
	wantRefused(t, u.put(object{"keys": u.keys(2), "devices": u.devices(2)}), http.StatusConflict, "statement_conflict")
	events = s.audited(func() { u.puts(object{"keys": u.keys(2), "devices": u.devices(4)}) })
	if len(events) != 1 || !strings.HasPrefix(events[0], "event=user.keys_changed ") {
		t.Errorf("events = %q, want changed keys", events)
	}
	u.listing = before
	wantRefused(t, u.put(object{"devices": u.devices(5)}), http.StatusBadRequest, "invalid_statement") // by the former key

	// A device that ends at the issuer stays in the list, which the issuer cannot sign.
	found := s.bundles(t, object{"users": []string{u.id.String()}})
	b := found.Users[u.id.String()].Bundle
	c, err := b.Open(u.id)
	if err != nil || c.Devices == nil || !c.Devices.Has(u.phone, u.device.JKT()) {
		t.Fatalf("the bundle = %+v, %v, want the list with the phone", c, err)
	}
	s.remove(t, u.held.set.Device)
	again := s.bundles(t, object{"users": []string{u.id.String()}}).Users[u.id.String()]
	if again.Devices != b.Devices {
		t.Error("the list has changed with the removal of a device")
	}
	wantStatus(t, u.put(object{"devices": u.devices(9)}), http.StatusUnauthorized)
}

// TestCrossSigningRefused holds what is not stored: the library's refusals reach the user with their reasons.
func TestCrossSigningRefused(t *testing.T) {
	s := start(t, nil)
	u, bob := s.newCrossSigner(t, "alice"), s.newCrossSigner(t, "bob")
	bob.puts(object{"keys": bob.keys(1)})
	u.puts(object{"keys": u.keys(2), "devices": u.devices(2)})
	before := u.shows()
	signedBy := func(text string, err error) string { t.Helper(); return signed(t, text, err) }
	own := &xsign.Devices{
		User: u.id, IssuedAt: s.clock.now().Truncate(time.Second), Expires: s.clock.now().Add(time.Hour).Truncate(time.Second), Seq: 3,
		Devices: []xsign.Device{{ID: u.phone, Keys: []string{u.device.JKT()}}},
	}
	for name, test := range map[string]struct {
		body object
		says string
	}{
		"keys of another user":        {object{"keys": bob.keys(3)}, "sub: another user"},
		"a list of another user":      {object{"devices": bob.devices(3)}, ""},
		"a list by the master key":    {object{"devices": signedBy(own.Sign(u.master))}, "kid"},
		"a list by the key for users": {object{"devices": signedBy(own.Sign(u.vouches))}, "kid"},
		"keys that have expired": {object{"keys": u.keys(3, func(k *xsign.Keys) {
			k.IssuedAt, k.Expires = k.IssuedAt.Add(-2*time.Hour), k.IssuedAt.Add(-time.Hour)
		})}, "exp: it has expired"},
		"a list of the future": {object{"devices": u.devices(3, func(d *xsign.Devices) {
			d.IssuedAt = d.IssuedAt.Add(time.Hour)
		})}, "iat: in the future"},
		"a device with the master key": {object{"devices": u.devices(3, func(d *xsign.Devices) {
			d.Devices[0].Keys = []string{u.thumbprint()}
		})}, "a device has a key that signs"},
		"keys in place of a list": {object{"devices": u.keys(3)}, "typ"},
		"a list in place of keys": {object{"keys": u.devices(3)}, "typ"},
		"no statement":            {object{"keys": "x"}, "im-keys+jwt"},
		"more than 8 KiB":         {object{"keys": strings.Repeat("x", xsign.MaxStatement+1)}, "im-keys+jwt"},
	} {
		t.Run(name, func(t *testing.T) {
			a := u.put(test.body)
			wantRefused(t, a, http.StatusBadRequest, "invalid_statement")
			if !strings.Contains(a.text("error_description"), test.says) {
				t.Errorf("it says %q, want %q", a.text("error_description"), test.says)
			}
		})
	}
	for name, body := range map[string]any{
		"nothing": object{}, "an unknown member": object{"keys": u.keys(3), "more": "x"}, "no text": object{"keys": 3},
		"repeated": rawBody(`{"keys":"a","keys":"b"}`), "no JSON": rawBody(`{`),
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, s.held(t, u.device, u.own, http.MethodPut, "/me/xsign", body), http.StatusBadRequest, "invalid_request")
		})
	}
	a := s.held(t, u.device, u.own, http.MethodPut, "/me/xsign", rawBody(`{"keys":"`+strings.Repeat("x", 1<<17)+`"}`))
	wantStatus(t, a, http.StatusRequestEntityTooLarge)
	if after := u.shows(); after.Keys != before.Keys || after.Devices != before.Devices {
		t.Error("a refusal has changed what is stored")
	}
	// The neighbours' rules about tokens.
	for _, token := range []string{u.held.access, s.forIssuer(t, u.device, u.held, "introspect").access} {
		if a := s.held(t, u.device, token, http.MethodGet, "/me/xsign", nil); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("GET with another token = %v, want a refusal", a)
		}
	}
}

// TestMasterKeys holds who can replace a master key, and that others can follow the keys.
func TestMasterKeys(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	u.puts(object{"keys": u.keys(1), "devices": u.devices(1)})
	s.advance(t, 6*time.Minute)
	u.held = s.refreshedBy(t, accounts, u.device, u.held)
	u.own = s.forIssuer(t, u.device, u.held, "account").access
	bundle := func() *xsign.Bundle {
		b := s.bundles(t, object{"users": []string{u.id.String()}}).Users[u.id.String()].Bundle
		return &b
	}
	verify := func(pins xsign.Pins) (verdict.Verdict, xsign.Pins) {
		t.Helper()
		v, next, err := xsign.Verify(xsign.Query{
			About:  verdict.About{User: u.id, Device: u.phone, JKT: u.device.JKT()},
			Bundle: bundle(), Pins: pins,
		}, s.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return v, next
	}
	pins := xsign.Pins{}.ByHand(u.id, u.thumbprint(), s.clock.now())
	if v, _ := verify(pins); v.User.Result != verdict.Good || v.Device.Result != verdict.Good {
		t.Fatalf("verdict = %+v, want good", v)
	}

	// Without a fresh login, no other master key: with and without succession.
	first := u.thumbprint()
	succeed := func(s *xsign.Succession) string {
		former := u.master
		u.master = newOwnKey(t)
		s.User, s.IssuedAt, s.Next = u.id, u.clock.now().Truncate(time.Second), u.thumbprint()
		text, err := s.Sign(former)
		return signed(t, text, err)
	}
	link := succeed(&xsign.Succession{})
	old := u.own
	for _, by := range []string{link, ""} {
		a := u.put(object{"keys": u.keys(1, func(k *xsign.Keys) { k.Succeeds = by }), "devices": u.devices(2)})
		wantRefused(t, a, http.StatusUnauthorized, "insufficient_user_authentication")
	}
	u.own = s.justNow(t, old)
	keys := u.keys(1, func(k *xsign.Keys) { k.Succeeds = link })
	u.puts(object{"keys": keys}) // the device-signing key stays, and so does the list
	// The old list does not come back under the new key.
	wantRefused(t, u.put(object{"devices": u.devices(1, func(d *xsign.Devices) { d.Devices = nil })}), http.StatusConflict, "statement_conflict")
	if v, _ := verify(pins); v.User.Result != verdict.Good || v.Device.Result != verdict.Good {
		t.Errorf("verdict after a succession = %+v, want good", v)
	}
	wantRefused(t, u.put(object{"keys": u.keys(2)}), http.StatusBadRequest, "invalid_statement") // it forgets the former master key

	// Two more: verifiers that were away follow, and the chain is bounded.
	for range xsign.MaxSuccession - 1 {
		next := succeed(&xsign.Succession{})
		events := s.audited(func() { u.puts(object{"keys": u.keys(1, func(k *xsign.Keys) { k.Succeeds = next })}) })
		if len(events) != 1 || !strings.HasPrefix(events[0], "event=user.master_changed ") || !strings.Contains(events[0], "reason=succession") {
			t.Fatalf("events = %q, want a succession", events)
		}
	}
	if b := bundle(); len(b.Succession) != xsign.MaxSuccession-1 {
		t.Errorf("%d earlier successions, want %d", len(b.Succession), xsign.MaxSuccession-1)
	}
	if v, _ := verify(pins); v.User.Result != verdict.Good {
		t.Errorf("verdict after %d successions = %+v, want good", xsign.MaxSuccession, v.User)
	}
	next := succeed(&xsign.Succession{})
	u.puts(object{"keys": u.keys(1, func(k *xsign.Keys) { k.Succeeds = next })})
	if v, _ := verify(pins); v.User.Code != verdict.CodeMaster {
		t.Errorf("verdict after one more = %+v, want another master key", v.User)
	}
	// A succession by another key than the stored one is refused, and so is a circle.
	stranger := newOwnKey(t)
	foreign := &xsign.Succession{User: u.id, IssuedAt: s.clock.now().Truncate(time.Second), Next: u.thumbprint()}
	u.master = newOwnKey(t)
	foreign.Next = u.thumbprint()
	text, err := foreign.Sign(stranger)
	a := u.put(object{"keys": u.keys(1, func(k *xsign.Keys) { k.Succeeds = signed(t, text, err) })})
	wantRefused(t, a, http.StatusBadRequest, "invalid_statement")

	// Anew, without succession: contacts are told.
	events := s.audited(func() { u.puts(object{"keys": u.keys(1)}) })
	if len(events) != 1 || !strings.Contains(events[0], `reason="without succession"`) {
		t.Errorf("events = %q, want a new master key", events)
	}
	if b := bundle(); len(b.Succession) != 0 {
		t.Errorf("%d earlier successions of a new identity, want none", len(b.Succession))
	}
	if v, _ := verify(pins); v.User.Result != verdict.Bad || v.User.Code != verdict.CodeMaster {
		t.Errorf("verdict = %+v, want another master key than %s", v.User, first)
	}
	if rows := s.recordsOf(t, s.held(t, u.device, u.own, http.MethodGet, "/me/export", nil).body)["signed_documents"]; len(rows) != 2 {
		t.Errorf("the export has %d statements, want keys and devices", len(rows))
	}
}

// TestCrossSigningRaced holds that of two lists with one number one is stored, on whichever node they arrive.
func TestCrossSigningRaced(t *testing.T) {
	for name, test := range map[string]struct {
		fill    func(t *testing.T) map[string]string
		further int
	}{
		"one node on SQLite":      {func(*testing.T) map[string]string { return nil }, 0},
		"two nodes on PostgreSQL": {onPostgres, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.fill(t))
			s.balance(t, test.further)
			u := s.newCrossSigner(t, "alice")
			u.puts(object{"keys": u.keys(1), "devices": u.devices(1)})
			for seq := int64(2); seq < 6; seq++ {
				lists := []string{u.devices(seq), u.devices(seq, func(d *xsign.Devices) { d.Devices = nil })}
				var answers [2]answer
				var racing sync.WaitGroup
				for i, list := range lists {
					racing.Go(func() { answers[i] = u.put(object{"devices": list}) })
				}
				racing.Wait()
				won := slices.IndexFunc(answers[:], func(a answer) bool { return a.status == http.StatusOK })
				if won < 0 || answers[1-won].status != http.StatusConflict || u.shows().Devices != lists[won] {
					t.Errorf("two lists %d = %v, want that one is stored", seq, answers)
				}
			}
		})
	}
}

// TestVouches holds how vouches and distrusts are stored, and who sees them.
func TestVouches(t *testing.T) {
	s := start(t, nil)
	u, bob, carol := s.newCrossSigner(t, "alice"), s.newCrossSigner(t, "bob"), s.newCarol(t)
	wantRefused(t, u.opines(bob.thumbprint(), u.vouch(bob, true)), http.StatusConflict, "no_keys")
	for _, one := range []*crossSigner{u, bob, carol} {
		one.puts(object{"keys": one.keys(1), "devices": one.devices(1)})
	}
	public, private, distrust := u.vouch(bob, true), u.vouch(carol, false), bob.distrust(carol, true)
	wantStatus(t, u.opines(bob.thumbprint(), public), http.StatusNoContent)
	wantStatus(t, u.opines(bob.thumbprint(), public), http.StatusNoContent) // again
	wantStatus(t, u.opines(carol.thumbprint(), private), http.StatusNoContent)
	wantStatus(t, bob.opines(carol.thumbprint(), distrust), http.StatusNoContent)
	if got := u.shows().Vouches; !slices.Equal(got, []string{public, private}) && !slices.Equal(got, []string{private, public}) {
		t.Errorf("the author sees %q, want both", got)
	}
	found := s.bundles(t, object{"users": []string{bob.id.String(), carol.id.String()}})
	about := found.Users[bob.id.String()]
	if len(about.Vouches) != 1 || about.Vouches[0].Vouch != public || about.Vouches[0].User != u.id.String() || about.MoreVouches {
		t.Fatalf("vouches about Bob = %+v, want the public one", about)
	}
	if n := len(found.Users[carol.id.String()].Vouches); n != 0 {
		t.Errorf("%d vouches about Carol, want none: they are private or a distrust", n)
	}
	// It is what a verifier needs who has verified and marked Alice.
	pins := xsign.Pins{}.ByHand(u.id, u.thumbprint(), s.clock.now())
	pin, _ := pins.Of(u.id)
	pin.Introducer = true
	v, _, err := xsign.Verify(xsign.Query{
		About: verdict.About{User: bob.id}, Bundle: &about.Bundle, Pins: pins.With(u.id, pin),
		Introductions: []xsign.Introduction{{By: about.Vouches[0].By, User: u.id, Vouch: about.Vouches[0].Vouch}},
		Require:       verdict.XSignRequirements{Hops: 2, Introducers: 1},
	}, s.clock.now())
	if err != nil || v.User.Result != verdict.Good {
		t.Errorf("Verify = %+v, %v, want good by the introduction", v.User, err)
	}
	// By author.
	for by, want := range map[string]int{u.id.String(): 1, carol.id.String(): 0} {
		if n := len(s.bundles(t, object{"users": []string{bob.id.String()}, "by": []string{by}}).Users[bob.id.String()].Vouches); n != want {
			t.Errorf("%d vouches by %s, want %d", n, by, want)
		}
	}

	for name, test := range map[string]struct{ thumbprint, statement string }{
		"another path":                {carol.thumbprint(), u.vouch(bob, true)},
		"by another user":             {carol.thumbprint(), bob.vouch(carol, true)},
		"by the master key":           {bob.thumbprint(), func() string { u := *u; u.vouches = u.master; return u.vouch(bob, true) }()},
		"a device list":               {bob.thumbprint(), u.devices(2)},
		"no statement":                {bob.thumbprint(), "x"},
		"expired":                     {bob.thumbprint(), u.vouch(bob, true, func(v *xsign.Vouch) { v.IssuedAt, v.Expires = v.IssuedAt.Add(-2*time.Hour), v.IssuedAt.Add(-time.Hour) })},
		"in the name of another user": {carol.thumbprint(), u.vouch(carol, true, func(v *xsign.Vouch) { v.By = bob.id })},
	} {
		t.Run(name, func(t *testing.T) {
			wantRefused(t, u.opines(test.thumbprint, test.statement), http.StatusBadRequest, "invalid_statement")
		})
	}
	// A newer one replaces it, and an older one does not come back.
	s.advance(t, 2*time.Second)
	wantStatus(t, u.opines(bob.thumbprint(), u.distrust(bob, true)), http.StatusNoContent)
	wantRefused(t, u.opines(bob.thumbprint(), public), http.StatusConflict, "statement_conflict")
	if n := len(s.bundles(t, object{"users": []string{bob.id.String()}}).Users[bob.id.String()].Vouches); n != 0 {
		t.Errorf("%d vouches about Bob, want none", n)
	}
	path := "/me/vouches/" + carol.thumbprint()
	wantStatus(t, s.held(t, u.device, u.own, http.MethodDelete, path, nil), http.StatusNoContent)
	wantRefused(t, s.held(t, u.device, u.own, http.MethodDelete, path, nil), http.StatusNotFound, "not_found")
	if n := len(u.shows().Vouches); n != 1 {
		t.Errorf("%d vouches are left, want one", n)
	}

	// What a disabled user vouches for is not told, and the erasure of a user takes what others say of them.
	wantStatus(t, bob.opines(u.thumbprint(), bob.vouch(u, true)), http.StatusNoContent)
	wantStatus(t, carol.opines(u.thumbprint(), carol.vouch(u, false)), http.StatusNoContent)
	wantStatus(t, s.operate(t, http.MethodPost, "/admin/users/"+bob.id.Local()+"/disable", map[string][]string{"domain": {"example.com"}}), http.StatusOK)
	if n := len(s.bundles(t, object{"users": []string{u.id.String()}}).Users[u.id.String()].Vouches); n != 0 {
		t.Errorf("%d vouches by a disabled user, want none", n)
	}
	a := s.operate(t, http.MethodPost, "/admin/users/"+u.id.Local()+"/erase", map[string][]string{"domain": {"example.com"}, "confirm": {"true"}})
	wantStatus(t, a, http.StatusOK)
	if n := len(carol.shows().Vouches); n != 0 {
		t.Errorf("%d vouches about a user who was erased, want none", n)
	}
	for _, row := range s.rows(t) {
		if strings.HasPrefix(row, "signed_documents ") && strings.Contains(row, u.id.Local()) {
			t.Errorf("the row %.120q names a user who was erased", row)
		}
	}
}

// TestVouchesAreBounded holds that a user has 1000 vouches and distrusts at most, and an answer a few of those about one user.
func TestVouchesAreBounded(t *testing.T) {
	s := start(t, nil)
	u, bob := s.newCrossSigner(t, "alice"), s.newCrossSigner(t, "bob")
	u.puts(object{"keys": u.keys(1)})
	bob.puts(object{"keys": bob.keys(1)})
	now := s.clock.now()
	mustPut := func(n int, row func(i int) storage.SignedDocument) {
		t.Helper()
		for i := range n {
			if err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.PutSignedDocument(ctx, row(i)) }); err != nil {
				t.Fatal(err)
			}
		}
	}
	mustPut(xsign.MaxOwn-1, func(i int) storage.SignedDocument {
		return storage.SignedDocument{Domain: "example.com", User: u.id.Local(), Kind: storage.DocumentOpinion, Key: fmt.Sprint(i),
			Subject: bob.id.MIMI(), Public: true, Content: "x", CreatedAt: now.Add(-time.Hour), ChangedAt: now}
	})
	wantStatus(t, u.opines(bob.thumbprint(), u.vouch(bob, true)), http.StatusNoContent)
	s.advance(t, 2*time.Second)
	wantStatus(t, u.opines(bob.thumbprint(), u.vouch(bob, true)), http.StatusNoContent) // replaced
	third := s.newCarol(t)
	wantRefused(t, u.opines(third.thumbprint(), u.vouch(third, true)), http.StatusConflict, "too_many_vouches")
	if n := len(u.shows().Vouches); n != xsign.MaxOwn {
		t.Errorf("%d vouches, want %d", n, xsign.MaxOwn)
	}
	about := s.bundles(t, object{"users": []string{bob.id.String()}}).Users[bob.id.String()]
	if len(about.Vouches) != 20 || !about.MoreVouches {
		t.Errorf("%d vouches about a user, more: %t, want 20 and more", len(about.Vouches), about.MoreVouches)
	}

	// A hundred users with the largest statements do not make the answer as large as they are.
	large := strings.Repeat("x", xsign.MaxStatement)
	var users []string
	if err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		users = nil
		for i := range 100 {
			id := fmt.Sprintf("large%03d", i)
			users = append(users, "im:"+id+"@example.com;id-type=user")
			if err := tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: id, Handle: id, CreatedAt: now}); err != nil {
				return err
			}
			for n, kind := range []storage.DocumentKind{storage.DocumentKeys, storage.DocumentDevices, storage.DocumentSuccession} {
				d := storage.SignedDocument{Domain: "example.com", User: id, Kind: kind, Content: large, CreatedAt: now, ChangedAt: now}
				if kind == storage.DocumentSuccession {
					d.Key = fmt.Sprint(n)
				}
				if err := tx.PutSignedDocument(ctx, d); err != nil {
					return err
				}
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for rounds := 0; len(users) > 0 && rounds < 10; rounds++ {
		a := s.query(t, peer, object{"users": users})
		wantStatus(t, a, http.StatusOK)
		if len(a.body) > 3<<19 {
			t.Errorf("the answer has %d bytes", len(a.body))
		}
		var found crossAnswer
		decode(t, []byte(a.body), &found)
		for id := range found.Users {
			seen[id] = true
		}
		users = found.Omitted
	}
	if len(seen) != 100 {
		t.Errorf("%d users in all answers, want 100", len(seen))
	}
}

// TestCrossQuery holds who may ask, and what a question may be.
func TestCrossQuery(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	u.puts(object{"keys": u.keys(1)})
	id := u.id.String()
	if a := s.query(t, peer, object{"users": []string{id, "im:nobody@example.com;id-type=user", "im:x@elsewhere.example;id-type=user", id}}); a.status !=
		http.StatusOK || len(a.json["users"].(map[string]any)) != 1 {
		t.Errorf("question = %v, want the one user", a)
	}
	// A user asks with an own token.
	reader := s.forIssuer(t, u.device, u.held, "introspect").access
	a := s.held(t, u.device, reader, http.MethodPost, "/xsign/query", object{"users": []string{id}})
	if a.status != http.StatusOK || len(a.json["users"].(map[string]any)) != 1 {
		t.Errorf("question of a user = %v, want the user", a)
	}
	wantStatus(t, s.held(t, u.device, u.own, http.MethodPost, "/xsign/query", object{"users": []string{id}}), http.StatusForbidden)
	wantError(t, s.query(t, mute, object{"users": []string{id}}), http.StatusForbidden, "unauthorized_client")
	wantStatus(t, s.query(t, caller{id: "peer", secret: "wrong"}, object{"users": []string{id}}), http.StatusUnauthorized)
	body := object{"users": []string{id}, "client_id": "peer", "client_secret": secret}
	req := s.request(t, http.MethodPost, "/xsign/query", string(encode(body)))
	req.Header.Set("Content-Type", "application/json")
	wantStatus(t, s.send(t, s.http, req), http.StatusOK)

	many := func(n int) (list []string) {
		for i := range n {
			list = append(list, fmt.Sprintf("im:u%d@example.com;id-type=user", i))
		}
		return list
	}
	wantStatus(t, s.query(t, peer, object{"users": many(100)}), http.StatusOK)
	for name, body := range map[string]any{
		"101 users": object{"users": many(101)}, "no user": object{"users": []string{}}, "no member": object{},
		"a handle": object{"users": []string{"im:%40alice@example.com"}}, "a device": object{"users": []string{u.held.set.Device}},
		"no URI": object{"users": []string{"alice"}}, "an empty text": object{"users": []string{""}}, "no array": object{"users": id},
		"21 authors": object{"users": []string{id}, "by": many(21)}, "too many pairs": object{"users": many(21), "by": many(20)},
		"an unknown member": object{"users": []string{id}, "handles": []string{}}, "repeated": `{"users":["` + id + `"],"users":[]}`,
		"a form": "users=" + id,
	} {
		t.Run(name, func(t *testing.T) {
			wantError(t, s.query(t, peer, body), http.StatusBadRequest, "invalid_request")
		})
	}
}

// TestCrossQueryWithheld holds that a caller who is not told who users are does not learn it by the keys of their devices.
func TestCrossQueryWithheld(t *testing.T) {
	fill := withReleases()
	told := caller{id: "told", secret: secret}
	fill["peers"] += fmt.Sprintf("  - {id: told, auth: secret, secret_sha256: %x, domains: [example.com], scopes: [introspect], "+
		"introspection: {claims: [sub, device, act, xsign]}}\n", sha256.Sum256([]byte(secret)))
	s := start(t, fill)
	u := s.newCrossSigner(t, "alice")
	u.puts(object{"keys": u.keys(1), "devices": u.devices(1)})
	body := object{"users": []string{u.id.String()}}
	for _, by := range []caller{statistician, counter} {
		wantError(t, s.query(t, by, body), http.StatusForbidden, "access_denied")
	}
	for _, by := range []caller{peer, told} {
		wantStatus(t, s.query(t, by, body), http.StatusOK)
	}
}

// TestIntrospectedCrossSigning holds what introspection tells about the cross signing of a device, and whom.
func TestIntrospectedCrossSigning(t *testing.T) {
	s := start(t, nil)
	u := s.newCrossSigner(t, "alice")
	fact := func() (x struct {
		Master string
		Seq    int64
		Listed bool
	}, ok bool) {
		t.Helper()
		a := s.introspect(t, peer, u.held.access)
		if a.json["active"] != true {
			t.Fatalf("introspection = %v, want active", a)
		}
		raw, ok := a.json["xsign"]
		if ok {
			decode(t, encode(raw), &x)
		}
		return x, ok
	}
	if _, ok := fact(); ok {
		t.Error("a user without keys has the member xsign")
	}
	u.puts(object{"keys": u.keys(1)})
	if x, ok := fact(); !ok || x.Master != u.thumbprint() || x.Seq != 0 || x.Listed {
		t.Errorf("xsign = %+v, %t, want the master key alone", x, ok)
	}
	u.puts(object{"devices": u.devices(4)})
	if x, _ := fact(); x.Seq != 4 || !x.Listed {
		t.Errorf("xsign = %+v, want list 4 with the device", x)
	}
	u.puts(object{"devices": u.devices(5, func(d *xsign.Devices) { d.Devices[0].Keys = []string{newDevice(t).JKT()} })})
	if x, _ := fact(); x.Seq != 5 || x.Listed {
		t.Errorf("xsign = %+v, want list 5 without the key", x)
	}
	raw, err := json.Marshal(s.introspect(t, peer, s.login(t, newDevice(t), "bob").access).json)
	if err != nil || strings.Contains(string(raw), "xsign") {
		t.Errorf("introspection of another user = %s, %v, want no xsign", raw, err)
	}
}

// TestIntrospectedCrossSigningElsewhere holds that what one node has stored is told by another in time.
func TestIntrospectedCrossSigningElsewhere(t *testing.T) {
	s := start(t, onPostgres(t))
	s.balance(t, 1)
	u := s.newCrossSigner(t, "alice")
	listed := func() (n int) {
		for range 4 {
			a := s.introspect(t, peer, u.held.access)
			for i := 0; a.status == http.StatusServiceUnavailable && i < 1000; i++ { // the node has not read since the clock has moved
				time.Sleep(5 * time.Millisecond)
				a = s.introspect(t, peer, u.held.access)
			}
			if x, _ := a.json["xsign"].(map[string]any); x["listed"] == true {
				n++
			}
		}
		return n
	}
	if listed() != 0 {
		t.Error("a device is listed before there is a list")
	}
	u.puts(object{"keys": u.keys(1), "devices": u.devices(1)})
	s.advance(t, 6*time.Second)
	if n := listed(); n != 4 {
		t.Errorf("%d of 4 answers say that the device is listed", n)
	}
}

// TestRollbackOfAnIssuer holds that a verifier finds out when an issuer was set back to a backup, and that the user's app can store its
// list again.
func TestRollbackOfAnIssuer(t *testing.T) {
	s := start(t, nil)
	far := startBeside(t, nil)
	u := s.newCrossSigner(t, "alice")
	older := object{"keys": u.keys(1), "devices": u.devices(1)}
	u.puts(older)
	newer := u.devices(2, func(d *xsign.Devices) { d.Devices = nil }) // the phone is lost
	u.puts(object{"devices": newer})
	verify := func(b xsign.Bundle, pins xsign.Pins) (verdict.Verdict, xsign.Pins) {
		t.Helper()
		v, next, err := xsign.Verify(xsign.Query{
			About: verdict.About{User: u.id, Device: u.phone, JKT: u.device.JKT()}, Bundle: &b, Pins: pins,
		}, s.clock.now())
		if err != nil {
			t.Fatal(err)
		}
		return v, next
	}
	pins := xsign.Pins{}.ByHand(u.id, u.thumbprint(), s.clock.now())
	v, pins := verify(s.bundles(t, object{"users": []string{u.id.String()}}).Users[u.id.String()].Bundle, pins)
	if v.Device.Result != verdict.Bad || v.Device.Code != verdict.CodeNotListed {
		t.Fatalf("the lost phone = %+v, want not listed", v.Device)
	}
	// Another issuer has the same user, as of before.
	if err := far.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: u.id.Local(), Handle: "alice", CreatedAt: far.clock.now()}); err != nil {
			return err
		}
		for kind, text := range map[storage.DocumentKind]string{
			storage.DocumentKeys: older["keys"].(string), storage.DocumentDevices: older["devices"].(string),
		} {
			d := storage.SignedDocument{Domain: "example.com", User: u.id.Local(), Kind: kind, Seq: 1, Content: text, CreatedAt: far.clock.now()}
			if err := tx.PutSignedDocument(ctx, d); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	old := far.bundles(t, object{"users": []string{u.id.String()}}).Users[u.id.String()].Bundle
	if v, _ := verify(old, pins); v.Device.Result != verdict.Unknown || v.Device.Code != verdict.Code(xsign.CodeOlder) {
		t.Errorf("the lost phone at the issuer with the older list = %+v, want that the rollback is found", v.Device)
	}
	if v, _ := verify(old, nil); v.Device.Result == verdict.Good {
		t.Errorf("a verifier without memory = %+v, want nothing good", v.Device)
	}
}
