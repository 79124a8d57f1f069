package storagetest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// askedDeviceCode returns a device code that waits for a decision, and is bound to no key.
func askedDeviceCode(name string) storage.DeviceCode {
	return storage.DeviceCode{Hash: digest("device code " + name), UserCode: digest("user code " + name), Client: "tv",
		Request: url.Values{"scope": {"im:handle"}, "resource": {"a", "b"}, "im_device_name": {"TV of " + name}}, Network: "192.0.2.0/24",
		CreatedAt: at, ExpiresAt: at.Add(10 * time.Minute)}
}

// allowedDeviceCode returns one with every field set but those of its redemption.
func allowedDeviceCode(name string) storage.DeviceCode {
	c := askedDeviceCode(name)
	c.JKT, c.DecidedAt, c.Allowed = "jkt-tv-"+name, at.Add(time.Minute), true
	c.Domain, c.User, c.Device = domain, "user-"+name, "device-"+name
	c.Issuer, c.UpstreamSID, c.AuthTime, c.ACR, c.AMR = "https://login.example.com", "upstream-"+name, at, "urn:acr:2", []string{"pwd"}
	c.UpstreamToken = "token-" + name
	return c
}

func insertDeviceCodes(t *testing.T, s storage.Store, codes ...storage.DeviceCode) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
		for _, c := range codes {
			err = errors.Join(err, tx.InsertDeviceCode(ctx, c))
		}
		return err
	})
}

// wantDeviceCode wants a device code as it is, by either of its codes.
func wantDeviceCode(t *testing.T, s storage.Store, want storage.DeviceCode) {
	t.Helper()
	if got, err := s.DeviceCode(t.Context(), want.Hash); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("DeviceCode = %+v, %v, want %+v", got, err, want)
	}
	if got, err := s.DeviceCodeOf(t.Context(), want.UserCode); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("DeviceCodeOf = %+v, %v, want %+v", got, err, want)
	}
}

func testDeviceCodeBoundOnceInParallel(t *testing.T, s storage.Store) {
	c := askedDeviceCode("alice")
	insertDeviceCodes(t, s, c)
	again := askedDeviceCode("bob")
	again.UserCode = c.UserCode
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertDeviceCode(ctx, again) }); err !=
		storage.ErrConflict {
		t.Errorf("InsertDeviceCode with a user code that is taken = %v, want %v", err, storage.ErrConflict)
	}
	bind := func(jkt string) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.BindDeviceCode(ctx, c.Hash, jkt) })
	}
	errs := race(32, func(i int) error { return bind(fmt.Sprint(i)) })
	oneWinner(t, errs, storage.ErrConflict)
	for i, err := range errs {
		if err == nil {
			c.JKT = fmt.Sprint(i)
		}
	}
	if err := bind(c.JKT); err != nil {
		t.Errorf("BindDeviceCode to the same key = %v, want nil", err)
	}
	wantDeviceCode(t, s, c)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.BindDeviceCode(ctx, digest("never made"), "jkt")
	})
	if err != storage.ErrNotFound {
		t.Errorf("BindDeviceCode = %v, want %v", err, storage.ErrNotFound)
	}
}

func testDeviceCodeDecidedOnceInParallel(t *testing.T, s storage.Store) {
	c := askedDeviceCode("alice")
	insertDeviceCodes(t, s, c, askedDeviceCode("bob"))
	choices := make([]storage.DeviceCode, 32)
	errs := race(len(choices), func(i int) error {
		d := allowedDeviceCode(fmt.Sprint(i))
		if i%2 == 1 {
			d = c
			d.DecidedAt = at.Add(time.Duration(i) * time.Second)
		}
		d.Hash, d.UserCode, d.Request, d.JKT = c.Hash, c.UserCode, c.Request, c.JKT
		choices[i] = d
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.DecideDeviceCode(ctx, d) })
	})
	oneWinner(t, errs, storage.ErrConflict)
	for i, err := range errs {
		if err == nil {
			c = choices[i]
		}
	}
	wantDeviceCode(t, s, c)
	wantDeviceCode(t, s, askedDeviceCode("bob"))
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return tx.DecideDeviceCode(ctx, allowedDeviceCode("nobody"))
	})
	if err != storage.ErrNotFound {
		t.Errorf("DecideDeviceCode = %v, want %v", err, storage.ErrNotFound)
	}
}

func testDeviceCodeSpentOnceInParallel(t *testing.T, s storage.Store) {
	spend := func(c storage.DeviceCode, jkt, grant string) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			return tx.SpendDeviceCode(ctx, c.Hash, jkt, at, grant)
		})
	}
	bound, free, asked, denied := allowedDeviceCode("alice"), allowedDeviceCode("bob"), askedDeviceCode("carol"), askedDeviceCode("dan")
	free.JKT, denied.DecidedAt = "", at
	insertDeviceCodes(t, s, bound, free, asked, denied)
	for _, c := range []storage.DeviceCode{asked, denied} {
		if err := spend(c, "jkt", "g"); err != storage.ErrConflict {
			t.Errorf("SpendDeviceCode without permission = %v, want %v", err, storage.ErrConflict)
		}
		wantDeviceCode(t, s, c)
	}
	if err := spend(bound, "another", "g"); err != storage.ErrConflict {
		t.Errorf("SpendDeviceCode by another key = %v, want %v", err, storage.ErrConflict)
	}
	if err := spend(allowedDeviceCode("nobody"), "jkt", "g"); err != storage.ErrNotFound {
		t.Errorf("SpendDeviceCode = %v, want %v", err, storage.ErrNotFound)
	}
	for _, c := range []storage.DeviceCode{bound, free} {
		errs := race(32, func(i int) error {
			jkt := c.JKT
			if jkt == "" {
				jkt = "jkt-" + fmt.Sprint(i)
			}
			return spend(c, jkt, fmt.Sprint(i))
		})
		oneWinner(t, errs, storage.ErrConflict)
		for i, err := range errs {
			if err == nil {
				if c.SpentAt, c.Grant = at, fmt.Sprint(i); c.JKT == "" {
					c.JKT = "jkt-" + fmt.Sprint(i)
				}
			}
		}
		wantDeviceCode(t, s, c)
	}
}

// What ends the sessions of a user ends the device codes that wait to be redeemed by them, and no others.
func testDeviceCodesEnd(t *testing.T, s storage.Store) {
	const issuer = "https://login.example.com"
	spent, abroad, elsewhere, asked := allowedDeviceCode("spent"), allowedDeviceCode("abroad"), allowedDeviceCode("elsewhere"),
		askedDeviceCode("asked")
	spent.User, spent.Device, spent.UpstreamSID, spent.SpentAt, spent.Grant = "user-alice", "device-alice", "upstream-alice", at, "grant"
	abroad.Domain, abroad.User, abroad.Device, abroad.UpstreamSID = "example.org", "user-alice", "device-alice", "upstream-alice"
	elsewhere.Issuer, elsewhere.User, elsewhere.UpstreamSID = "https://idp.example.net", "user-alice", "upstream-alice"
	inBrowser := allowedDeviceCode("browser")
	inBrowser.Device = ""
	logout := func(l storage.Logout) func(ctx context.Context, tx storage.Tx) error {
		return func(ctx context.Context, tx storage.Tx) error {
			l.Domain, l.Issuer, l.At, l.ExpiresAt = domain, issuer, at, at.Add(time.Hour)
			_, err := tx.EndLogin(ctx, l, at, "provider_logout")
			return err
		}
	}
	insertDeviceCodes(t, s, spent, abroad, elsewhere, asked, inBrowser)
	for name, test := range map[string]struct {
		end       func(ctx context.Context, tx storage.Tx) error
		elsewhere bool // ends with it
	}{
		"user": {func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndUserGrants(ctx, domain, "user-alice", at, "user_disabled")
			return err
		}, true},
		"device": {func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndDeviceGrants(ctx, domain, "device-alice", at, "device_removed")
			return errors.Join(err, func() error { _, err := tx.EndDeviceGrants(ctx, domain, "", at, "none"); return err }())
		}, false},
		"subject":             {logout(storage.Logout{Subject: "alice", User: "user-alice"}), false},
		"subject and session": {logout(storage.Logout{Subject: "alice", User: "user-alice", SID: "upstream-alice"}), false},
		"session":             {logout(storage.Logout{SID: "upstream-alice"}), false},
	} {
		insertDeviceCodes(t, s, allowedDeviceCode("alice"))
		write(t, s, test.end)
		if _, err := s.DeviceCode(t.Context(), digest("device code alice")); err != storage.ErrNotFound {
			t.Errorf("%s: DeviceCode = %v, want %v", name, err, storage.ErrNotFound)
		}
		if test.elsewhere {
			if _, err := s.DeviceCode(t.Context(), elsewhere.Hash); err != storage.ErrNotFound {
				t.Errorf("%s: DeviceCode = %v, want %v", name, err, storage.ErrNotFound)
			}
			insertDeviceCodes(t, s, elsewhere)
		}
		for _, c := range []storage.DeviceCode{spent, abroad, elsewhere, asked, inBrowser} {
			wantDeviceCode(t, s, c)
		}
	}
}

func testDeviceCodesAreSwept(t *testing.T, s storage.Store) {
	gone, stays := askedDeviceCode("gone"), allowedDeviceCode("stays")
	gone.ExpiresAt, stays.ExpiresAt = at.Add(-storage.DeviceCodeGrace-time.Millisecond), at.Add(-storage.DeviceCodeGrace)
	insertDeviceCodes(t, s, gone, stays)
	if n, err := s.Waiting(t.Context()); n != 2 || err != nil {
		t.Errorf("Waiting = %d, %v, want 2", n, err)
	}
	sweepAll(t, s, at, 2)
	if _, err := s.DeviceCode(t.Context(), gone.Hash); err != storage.ErrNotFound {
		t.Errorf("DeviceCode = %v, want %v", err, storage.ErrNotFound)
	}
	wantDeviceCode(t, s, stays)
}
