package account_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

func TestDevices(t *testing.T) {
	a, store, told := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	phone := mustBind(t, a, store, alice, "key-phone")
	if !regexp.MustCompile(`^[1-9a-f][0-9a-f]{0,15}$`).MatchString(phone.ID) {
		t.Errorf("device id = %q, want hexadecimal without leading zeros", phone.ID)
	}
	if again, err := bind(t.Context(), a, store, alice, "key-phone"); err != nil || again.ID != phone.ID {
		t.Errorf("the same key again = %+v, %v, want the same device", again, err)
	}
	for d, want := range map[storage.Device]bool{phone: false, {Domain: domain, ID: "1", User: alice.ID, JKT: "key-1"}: true} {
		mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
			added, err := a.BindDevice(ctx, tx, d)
			if added != want {
				t.Errorf("BindDevice of %s added a device: %t, want %t", d.ID, added, want)
			}
			return err
		})
	}
	if _, err := bind(t.Context(), a, store, bob, "key-phone"); !errors.Is(err, account.ErrKeyInUse) {
		t.Errorf("another user's key = %v, want %v", err, account.ErrKeyInUse)
	}
	if err := a.KeyUsable(t.Context(), domain, "key-phone"); err != nil {
		t.Errorf("KeyUsable of a live device's key = %v", err)
	}

	grant := storage.Grant{
		ID: "grant", Domain: domain, Client: "app", User: alice.ID, Device: phone.ID, JKT: "key-phone", Gen: 1,
		CreatedAt: time.Now(), IdleAt: time.Now().Add(time.Hour), ExpiresAt: time.Now().Add(time.Hour),
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error { return tx.InsertGrant(ctx, grant) })
	for _, changed := range []bool{true, false} { // removing it again changes nothing
		d, err := a.RemoveDevice(t.Context(), domain, phone.ID, "lost")
		if err != nil || d.Changed != changed || d.User != alice.ID || d.RemovedReason != "lost" {
			t.Errorf("RemoveDevice = %+v, %v, want the device of %s, changed %t", d, err, alice.ID, changed)
		}
	}
	var kinds []string
	for _, r := range *told {
		kinds = append(kinds, string(r.Kind)+" "+r.Key)
	}
	if want := []string{"device " + domain + "/" + phone.ID, "sid grant"}; !slices.Equal(kinds, want) {
		t.Errorf("revoked %q, want %q", kinds, want)
	}
	if g, _, _, err := store.Session(t.Context(), "grant"); err != nil || g.EndedAt.IsZero() {
		t.Errorf("the session of the removed device = %+v, %v, want it ended", g, err)
	}
	if _, err := bind(t.Context(), a, store, alice, "key-phone"); !errors.Is(err, account.ErrKeyInUse) {
		t.Errorf("a removed device's key = %v, want %v", err, account.ErrKeyInUse)
	}
	if err := a.KeyUsable(t.Context(), domain, "key-phone"); !errors.Is(err, account.ErrKeyInUse) {
		t.Errorf("KeyUsable of a removed device's key = %v, want %v", err, account.ErrKeyInUse)
	}
	if _, err := a.RemoveDevice(t.Context(), domain, "feed", "lost"); !errors.Is(err, account.ErrNoDevice) {
		t.Errorf("RemoveDevice of none = %v, want %v", err, account.ErrNoDevice)
	}
	if _, err := a.RemoveDevice(t.Context(), "example.org", phone.ID, "lost"); !errors.Is(err, account.ErrNoDevice) {
		t.Errorf("RemoveDevice through another domain = %v, want %v", err, account.ErrNoDevice)
	}
}

func TestDeviceLimit(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	var last storage.Device
	for i := range 3 {
		last = mustLogin(t, a, store, alice, fmt.Sprint("key-", i))
	}
	if _, err := login(t.Context(), a, store, alice, "key-more"); !errors.Is(err, account.ErrTooManyDevices) {
		t.Errorf("a fourth device = %v, want %v", err, account.ErrTooManyDevices)
	}
	if _, err := login(t.Context(), a, store, alice, "key-1"); err != nil {
		t.Errorf("a known device at the limit = %v", err)
	}
	if _, err := a.RemoveDevice(t.Context(), domain, last.ID, "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := login(t.Context(), a, store, alice, "key-more"); err != nil {
		t.Errorf("a new device in the place of a removed one = %v", err)
	}
}

// A device that is removed between the moment it is found and the transaction that binds it is refused there.
func TestBindRemovedMeanwhile(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	d := mustBind(t, a, store, alice, "key")
	found, err := a.DeviceFor(t.Context(), alice, "key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RemoveDevice(t.Context(), domain, d.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	err = store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		_, err := a.BindDevice(ctx, tx, found)
		return err
	})
	if !errors.Is(err, account.ErrKeyInUse) {
		t.Errorf("BindDevice = %v, want %v", err, account.ErrKeyInUse)
	}
}

// TestMaxDevices holds that a lower limit takes no device away.
func TestMaxDevices(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	a.SetMaxDevices(2)
	for _, key := range []string{"key-1", "key-2"} {
		mustLogin(t, a, store, alice, key)
	}
	a.SetMaxDevices(1)
	if _, err := login(t.Context(), a, store, alice, "key-1"); err != nil {
		t.Errorf("login of a device that is there = %v, want nil", err)
	}
	if _, err := login(t.Context(), a, store, alice, "key-3"); !errors.Is(err, account.ErrTooManyDevices) {
		t.Errorf("a new device = %v, want %v", err, account.ErrTooManyDevices)
	}
	a.SetMaxDevices(3)
	if _, err := login(t.Context(), a, store, alice, "key-3"); err != nil {
		t.Errorf("a new device = %v, want nil", err)
	}
}

// TestReviewE1UnusableDevicesDoNotCount gives a user three devices, the limit, and ends the use of each in another way:
// then another one fits, and one that comes back counts like a new one.
func TestReviewE1UnusableDevicesDoNotCount(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, tx storage.Tx, d storage.Device) error{
		"signed out": func(ctx context.Context, tx storage.Tx, d storage.Device) error {
			return tx.EndGrant(ctx, d.ID, time.Now(), "logout")
		},
		"idle out": func(ctx context.Context, tx storage.Tx, d storage.Device) error {
			return tx.RotateGrant(ctx, d.ID, 1, time.Now(), time.Now().Add(-time.Second))
		},
		"removed": func(ctx context.Context, tx storage.Tx, d storage.Device) error {
			d.RemovedAt = time.Now()
			return tx.UpdateDevice(ctx, d)
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, store, _ := people(t)
			alice := mustSignIn(t, a, signIn("1", "alice"))
			asNew := storage.Device{Domain: alice.Domain, User: alice.ID}
			var first storage.Device
			for i := range 3 {
				if err := a.DeviceFits(t.Context(), store, asNew); err != nil {
					t.Fatalf("DeviceFits with %d devices = %v, want nil", i, err)
				}
				d, err := login(t.Context(), a, store, alice, fmt.Sprint("key-", i))
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					first = d
				}
			}
			if err := a.DeviceFits(t.Context(), store, asNew); !errors.Is(err, account.ErrTooManyDevices) {
				t.Errorf("DeviceFits at the limit = %v, want %v", err, account.ErrTooManyDevices)
			}
			if err := a.DeviceFits(t.Context(), store, first); err != nil {
				t.Errorf("DeviceFits of an active device at the limit = %v, want nil", err)
			}
			if err := store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return end(ctx, tx, first) }); err != nil {
				t.Fatal(err)
			}
			if err := a.DeviceFits(t.Context(), store, asNew); err != nil {
				t.Errorf("DeviceFits with one unusable device = %v, want nil", err)
			}
			if _, err := login(t.Context(), a, store, alice, "key-more"); err != nil {
				t.Errorf("login with a new key = %v, want nil", err)
			}
			if name == "removed" {
				return
			}
			if _, err := login(t.Context(), a, store, alice, "key-0"); !errors.Is(err, account.ErrTooManyDevices) {
				t.Errorf("login of the device that was given up, at the limit again = %v, want %v", err, account.ErrTooManyDevices)
			}
		})
	}
}

// TestReviewE1DelegatedDevicesCount: a device that a user's own key took in counts for as long as the delegation stands.
func TestReviewE1DelegatedDevicesCount(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	a.SetMaxDevices(1)
	now := time.Now()
	d, err := a.DeviceUnder(t.Context(), alice, "watch", "key-watch", "delegation", 1)
	if err != nil {
		t.Fatal(err)
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		_, err := a.BindDevice(ctx, tx, d)
		return errors.Join(err, tx.InsertStatement(ctx, storage.Statement{
			JTI: "delegation", Domain: domain, User: alice.ID, Type: "im-delegation+jwt", Claims: []byte("{}"),
			CreatedAt: now, ExpiresAt: now.Add(time.Hour),
		}))
	})
	asNew := storage.Device{Domain: alice.Domain, User: alice.ID}
	if err := a.DeviceFits(t.Context(), store, asNew); !errors.Is(err, account.ErrTooManyDevices) {
		t.Errorf("DeviceFits while the delegation stands = %v, want %v", err, account.ErrTooManyDevices)
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		return tx.WithdrawStatement(ctx, "delegation", now, "withdrawn")
	})
	if err := a.DeviceFits(t.Context(), store, asNew); err != nil {
		t.Errorf("DeviceFits after the delegation = %v, want nil", err)
	}
}
