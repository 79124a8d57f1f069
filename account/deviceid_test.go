package account_test

import (
	"context"
	"errors"
	"testing"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

// TestDeviceIDIsTaken holds that nobody gets the id of a device that exists, with any key, and that the device stays as it is.
func TestDeviceIDIsTaken(t *testing.T) {
	a, store, _ := people(t)
	alice, bob := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob"))
	phone := mustBind(t, a, store, alice, "key-phone")
	removed := mustBind(t, a, store, alice, "key-removed")
	if _, err := a.RemoveDevice(t.Context(), domain, removed.ID, "lost"); err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]storage.Device{
		"by another user":               {Domain: domain, ID: phone.ID, User: bob.ID, JKT: "key-bob"},
		"by another user, with its key": {Domain: domain, ID: phone.ID, User: bob.ID, JKT: "key-phone"},
		"by its user, with another key": {Domain: domain, ID: phone.ID, User: alice.ID, JKT: "key-other"},
		"of a removed device":           {Domain: domain, ID: removed.ID, User: alice.ID, JKT: "key-other"},
		"of a removed one, by another":  {Domain: domain, ID: removed.ID, User: bob.ID, JKT: "key-bob"},
		"its key under another id":      {Domain: domain, ID: "1f", User: alice.ID, JKT: "key-phone"},
	} {
		t.Run(name, func(t *testing.T) {
			err := store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				_, err := a.BindDevice(ctx, tx, d)
				return err
			})
			if !errors.Is(err, storage.ErrConflict) && !errors.Is(err, account.ErrKeyInUse) {
				t.Errorf("BindDevice = %v, want a conflict or %v", err, account.ErrKeyInUse)
			}
		})
	}
	if again := mustBind(t, a, store, alice, "key-phone"); again.ID != phone.ID {
		t.Errorf("the device is %s, want %s", again.ID, phone.ID)
	}
	for user, want := range map[string]string{alice.ID: phone.ID, bob.ID: ""} {
		list, err := a.Devices(t.Context(), domain, user, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		active := ""
		for _, d := range list {
			if d.RemovedAt.IsZero() {
				active += d.ID
			}
		}
		if active != want {
			t.Errorf("active devices of %s = %q, want %q", user, active, want)
		}
	}
}
