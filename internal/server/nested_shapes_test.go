package server_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/imidentity/issuer/nested"
)

// opened opens a token as a verifier does who has the keys of the issuer, and asks nobody.
func (s *site) opened(t *testing.T, n nest, types ...string) (*nested.Tree, error) {
	t.Helper()
	return nested.Open(t.Context(), n.token, nested.Options{
		Keys: s.offline(t), Audience: []string{"im:example.com", s.issuer}, Along: n.along, Types: types, Now: s.clock.now, Development: true,
	})
}

// TestSeparateTokens is the first shape of draft-mahy-mimi-identity: a user has a token and a key of her own, and so has her
// device; a verifier checks both together, offline or by asking.
func TestSeparateTokens(t *testing.T) {
	s := start(t, nil)
	phone, wallet := newDevice(t), newDevice(t)
	device := s.account(t, phone, "alice")
	user := wantTokens(t, s.token(t, accounts, wallet, codeForm(s.code(t, "alice", url.Values{
		"client_id": {accounts.id}, "scope": {"im:handle"},
	}), nil)))
	if user.set.Device != "" || user.set.Subject != device.set.Subject {
		t.Fatalf("claims = %+v, want Alice without a device", user.set)
	}
	e := embedding{c: accounts, d: phone, subject: device.access, inside: []inside{{rel: "separate", token: user.access, typ: typeAccess}}}
	s.advance(t, time.Minute)
	n := s.nested(t, e, asDigest)
	set := claimsOf(t, n.token)
	if set.Device != device.set.Device || set.SID != device.set.SID || !set.Expires.Equal(user.set.Expires) && !set.Expires.Equal(device.set.Expires) {
		t.Errorf("claims = %+v, want those of the device %+v, as long as both last", set, device.set)
	}
	a := s.wantLayers(t, n, "tokens[0] separate at+jwt "+device.set.Subject+" checked")
	if a.text("device") != device.set.Device || a.text("scope") != "im:handle" { // the intersection
		t.Errorf("introspection = %v, want the device, and the scope that both have", a)
	}
	tree, err := s.opened(t, n)
	if err != nil || tree.Scope != "im:handle" || len(tree.Subjects) != 1 || tree.Root.Inner[0].Access.JKT != wallet.JKT() {
		t.Errorf("Open = %+v, %v, want the device with its user's token and key", tree, err)
	}
	// Turned round they say nothing.
	a, _ = s.embed(t, embedding{c: accounts, d: wallet, subject: user.access, inside: []inside{{rel: "separate", token: device.access, typ: typeAccess}}}, asValue)
	wantRefusedAt(t, a, "tokens[0]", string(nested.CodeBinding))
	// The session of the user's token ends.
	wantStatus(t, s.revoke(t, accounts, user.refresh), http.StatusOK)
	s.wantOver(t, n, "revoked", "tokens[0]")
	s.wantActive(t, device.access)
	// And that of the device, with all that was made of it.
	user = wantTokens(t, s.token(t, accounts, wallet, codeForm(s.code(t, "alice", url.Values{"client_id": {accounts.id}, "scope": {"im:handle"}}), nil)))
	e.inside[0].token = user.access
	n = s.nested(t, e, asValue)
	s.remove(t, device.set.Device)
	s.wantOver(t, n, "device_removed", "")
	s.wantActive(t, user.access)
}

// TestCombinedToken is the second shape: one token binds handle, user and device to the device's key.
func TestCombinedToken(t *testing.T) {
	s := start(t, nil)
	held := s.login(t, newDevice(t), "alice")
	tree, err := s.opened(t, nest{token: held.access})
	if err != nil || tree.Root.Access.Device != held.set.Device || tree.Root.Access.Handle != held.set.Handle || len(tree.Layers()) != 1 {
		t.Errorf("Open = %+v, %v, want handle, user and device in one token", tree, err)
	}
	if a := s.introspect(t, peer, held.access); a.json["tokens"] != nil || a.text("device") != held.set.Device {
		t.Errorf("introspection = %v, want one token", a)
	}
}

// TestCascade is the third shape: a user's key signs a statement about a device offline, anybody can check it offline under
// the delegation, the issuer countersigns it when it is asked, and without the delegation all the devices under it end.
func TestCascade(t *testing.T) {
	s := start(t, nil)
	phone, key := newDevice(t), newKey(t)
	alice := s.account(t, phone, "alice")
	id, delegation := s.made(t, phone, alice, "delegations", delegating(t, key))
	type member struct {
		*device
		statement inside
		nest      nest
	}
	var devices []member
	for i, name := range []string{"07a", "07b"} {
		d := newDevice(t)
		devices = append(devices, member{device: d, statement: s.device(t, key, alice.set, delegation, d.JKT(), name, i+1, nil)})
	}
	// Offline, the issuer never having heard of the device.
	tree, err := s.opened(t, nest{token: devices[0].statement.token}, nested.TypeDevice)
	if err != nil || tree.Root.Statement.JKT != devices[0].JKT() || len(tree.Layers()) != 2 {
		t.Errorf("Open = %+v, %v, want the device under the delegation", tree, err)
	}
	for i := range devices {
		d := &devices[i]
		ask := embedding{c: accounts, d: d.device, inside: []inside{d.statement}}
		d.nest = s.nested(t, ask, asValue)
		set := claimsOf(t, d.nest.token)
		if set.Subject != alice.set.Subject || set.Handle != alice.set.Handle || set.JKT != d.JKT() || set.Expires.Sub(set.IssuedAt) > 10*time.Minute {
			t.Errorf("claims = %+v, want Alice's device for ten minutes", set)
		}
		s.wantLayers(t, d.nest,
			"tokens[0] attested_by im-device+jwt "+alice.set.Subject+" checked",
			"tokens[0].tokens[0] cascade im-delegation+jwt "+alice.set.Subject+" checked")
		// The token checks offline, too, and the device narrows it.
		if _, err := s.opened(t, d.nest); err != nil {
			t.Errorf("Open = %v, want the token to hold", err)
		}
		narrow := issued(t, s.token(t, accounts, d.device, exchanging(d.nest.token, typeAccess, "", nil)))
		s.wantActive(t, narrow)
		// Without the device it would outlive the device's removal: that is refused.
		wantRefusedAt(t, s.token(t, accounts, d.device, exchanging(d.nest.token, typeAccess, "", url.Values{"scope": {"im:handle"}})), "tokens[0]", string(nested.CodeBinding))
		// It has no session: there is nothing for it in her account.
		wantRefused(t, s.held(t, d.device, d.nest.token, http.MethodGet, "/me/actors", nil), http.StatusUnauthorized, "invalid_token")
	}
	list := s.operate(t, http.MethodGet, "/admin/devices", url.Values{"domain": {"example.com"}})
	if list.status != http.StatusOK {
		t.Errorf("GET /admin/devices = %v", list)
	}
	// One device is removed: it alone ends, and its number is not free.
	s.remove(t, claimsOf(t, devices[0].nest.token).Device)
	s.wantOver(t, devices[0].nest, "device_removed", "")
	s.wantActive(t, devices[1].nest.token)
	wantRefusedAt(t, s.ask(t, embedding{c: accounts, d: devices[0].device, inside: []inside{devices[0].statement}}), "tokens[0]", string(nested.CodeBinding))
	// Across a restart nothing is forgotten.
	s.restart(t, nil)
	s.wantInactive(t, devices[0].nest.token)
	again := s.nested(t, embedding{c: accounts, d: devices[1].device, inside: []inside{devices[1].statement}}, asJSON)
	if a, b := claimsOf(t, again.token), claimsOf(t, devices[1].nest.token); a.Device != b.Device || a.SID != b.SID || a.JTI == b.JTI {
		t.Errorf("claims = %+v, want another token of %+v", a, b)
	}
	// The key logs in by itself meanwhile: it is the same device.
	logged := s.account(t, devices[1].device, "alice")
	if logged.set.Device != claimsOf(t, again.token).Device {
		t.Errorf("device = %q after a login, want %q", logged.set.Device, claimsOf(t, again.token).Device)
	}
	// The delegation is withdrawn, and with it go all devices under it.
	s.withdrawn(t, phone, alice, "delegations", id)
	for _, n := range []nest{devices[1].nest, again, {token: logged.access}} {
		s.wantOver(t, n, "device_removed", "")
	}
	wantError(t, s.token(t, accounts, devices[1].device, refreshForm(logged.refresh)), http.StatusBadRequest, "invalid_grant")
	wantRefusedAt(t, s.ask(t, embedding{c: accounts, d: devices[1].device, inside: []inside{devices[1].statement}}), "tokens[0].tokens[0]", string(nested.CodeRevoked))
	s.wantActive(t, alice.access)
	// Offline it checks until it expires: who wants to know asks.
	if _, err := s.opened(t, nest{token: devices[1].statement.token}, nested.TypeDevice); err != nil {
		t.Errorf("Open = %v, want it to hold offline", err)
	}
	s.advance(t, time.Hour)
	if _, err := s.opened(t, nest{token: devices[1].statement.token}, nested.TypeDevice); err == nil {
		t.Error("Open = nil after the end of the statement, want an error")
	}
}
