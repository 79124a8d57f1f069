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

// bind gives user a device with the key jkt, as the redemption of a login does.
func bind(ctx context.Context, a *account.Accounts, store storage.Store, user storage.User, jkt string) (storage.Device, error) {
	d, err := a.DeviceFor(ctx, user, jkt)
	if err != nil {
		return d, err
	}
	return d, store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return a.BindDevice(ctx, tx, d) })
}

func TestDevices(t *testing.T) {
	a, store, told := people(t)
	alice, err := a.SignIn(t.Context(), signIn("1", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	bob, err := a.SignIn(t.Context(), signIn("2", "bob"))
	if err != nil {
		t.Fatal(err)
	}
	phone, err := bind(t.Context(), a, store, alice, "key-phone")
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[1-9a-f][0-9a-f]{0,15}$`).MatchString(phone.ID) {
		t.Errorf("device id = %q, want hexadecimal without leading zeros", phone.ID)
	}
	if again, err := bind(t.Context(), a, store, alice, "key-phone"); err != nil || again.ID != phone.ID {
		t.Errorf("the same key again = %+v, %v, want the same device", again, err)
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
	err = store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertGrant(ctx, grant) })
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // removing it twice changes nothing the second time
		if _, err := a.RemoveDevice(t.Context(), domain, phone.ID, "lost"); err != nil {
			t.Fatal(err)
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
	alice, err := a.SignIn(t.Context(), signIn("1", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	var last storage.Device
	for i := range 3 {
		if last, err = bind(t.Context(), a, store, alice, fmt.Sprint("key-", i)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := bind(t.Context(), a, store, alice, "key-more"); !errors.Is(err, account.ErrTooManyDevices) {
		t.Errorf("a fourth device = %v, want %v", err, account.ErrTooManyDevices)
	}
	if _, err := bind(t.Context(), a, store, alice, "key-1"); err != nil {
		t.Errorf("a known device at the limit = %v", err)
	}
	if _, err := a.RemoveDevice(t.Context(), domain, last.ID, "old"); err != nil {
		t.Fatal(err)
	}
	if _, err := bind(t.Context(), a, store, alice, "key-more"); err != nil {
		t.Errorf("a new device in the place of a removed one = %v", err)
	}
}

// A device that is removed between the moment it is found and the transaction that binds it is refused there.
func TestBindRemovedMeanwhile(t *testing.T) {
	a, store, _ := people(t)
	alice, err := a.SignIn(t.Context(), signIn("1", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := bind(t.Context(), a, store, alice, "key")
	if err != nil {
		t.Fatal(err)
	}
	found, err := a.DeviceFor(t.Context(), alice, "key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.RemoveDevice(t.Context(), domain, d.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	err = store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return a.BindDevice(ctx, tx, found) })
	if !errors.Is(err, account.ErrKeyInUse) {
		t.Errorf("BindDevice = %v, want %v", err, account.ErrKeyInUse)
	}
}

// TestMaxDevices holds that a lower limit takes no device away.
func TestMaxDevices(t *testing.T) {
	a, store, _ := people(t)
	alice, err := a.SignIn(t.Context(), signIn("1", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	a.SetMaxDevices(2)
	for _, key := range []string{"key-1", "key-2"} {
		if _, err := bind(t.Context(), a, store, alice, key); err != nil {
			t.Fatal(err)
		}
	}
	a.SetMaxDevices(1)
	if _, err := bind(t.Context(), a, store, alice, "key-1"); err != nil {
		t.Errorf("login of a device that is there = %v, want nil", err)
	}
	if _, err := bind(t.Context(), a, store, alice, "key-3"); !errors.Is(err, account.ErrTooManyDevices) {
		t.Errorf("a new device = %v, want %v", err, account.ErrTooManyDevices)
	}
	a.SetMaxDevices(3)
	if _, err := bind(t.Context(), a, store, alice, "key-3"); err != nil {
		t.Errorf("a new device = %v, want nil", err)
	}
}
