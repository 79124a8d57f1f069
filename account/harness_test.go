package account_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

const domain = "example.com"

// people returns accounts in a real database, and the revocations that they reported.
func people(t *testing.T) (*account.Accounts, storage.Store, *[]storage.Revocation) {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex // of told: tests that race read it when all goroutines have ended
	var told []storage.Revocation
	var domains []account.Domain
	for _, name := range []string{domain, "example.org"} {
		d, err := account.NewDomain(name, claims.SystemGeneric, false, true, nil)
		if err != nil {
			t.Fatal(err)
		}
		domains = append(domains, d)
	}
	a, err := account.New(account.Config{
		Store: store, Domains: domains, TokenLife: time.Hour, MaxDevices: 3,
		Revoked: func(rows ...storage.Revocation) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, rows...)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, store, &told
}

// signIn is a sign-in at one provider.
func signIn(subject, handle string) account.SignIn {
	return account.SignIn{Domain: domain, Issuer: "https://idp.example.com", Subject: subject, Handle: handle}
}

// mustSignIn signs a user in. Like the other functions of this name, it ends the test if it fails.
func mustSignIn(t *testing.T, a *account.Accounts, in account.SignIn) storage.User {
	t.Helper()
	u, err := a.SignIn(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustRename(t *testing.T, a *account.Accounts, user, to string) {
	t.Helper()
	if u, err := a.Rename(t.Context(), domain, user, to); err != nil || u.Handle != to {
		t.Fatalf("Rename to %s = %+v, %v", to, u, err)
	}
}

// bind gives user a device with the key jkt, as the redemption of a login does.
func bind(ctx context.Context, a *account.Accounts, store storage.Store, user storage.User, jkt string) (storage.Device, error) {
	d, err := a.DeviceFor(ctx, user, jkt)
	if err != nil {
		return d, err
	}
	return d, store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		_, err := a.BindDevice(ctx, tx, d)
		return err
	})
}

// login is bind with the session that such a login begins. Its id is that of the device.
func login(ctx context.Context, a *account.Accounts, store storage.Store, user storage.User, jkt string) (storage.Device, error) {
	d, err := a.DeviceFor(ctx, user, jkt)
	if err != nil {
		return d, err
	}
	now := time.Now()
	return d, store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if _, err := a.BindDevice(ctx, tx, d); err != nil {
			return err
		}
		err := tx.InsertGrant(ctx, storage.Grant{
			ID: d.ID, Domain: d.Domain, Client: "app", User: d.User, Device: d.ID, JKT: jkt, Gen: 1,
			CreatedAt: now, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour),
		})
		if errors.Is(err, storage.ErrConflict) { // it has one
			return nil
		}
		return err
	})
}

func mustBind(t *testing.T, a *account.Accounts, store storage.Store, user storage.User, jkt string) storage.Device {
	t.Helper()
	d, err := bind(t.Context(), a, store, user, jkt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mustLogin(t *testing.T, a *account.Accounts, store storage.Store, user storage.User, jkt string) storage.Device {
	t.Helper()
	d, err := login(t.Context(), a, store, user, jkt)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// begin gives a device a session.
func begin(t *testing.T, store storage.Store, d storage.Device, id string, until time.Time) {
	t.Helper()
	g := storage.Grant{
		ID: id, Domain: d.Domain, Client: "app", User: d.User, Device: d.ID, JKT: d.JKT, Gen: 1,
		CreatedAt: time.Now(), IdleAt: until, ExpiresAt: until,
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error { return tx.InsertGrant(ctx, g) })
}

func mustUpdate(t *testing.T, store storage.Store, fn func(ctx context.Context, tx storage.Tx) error) {
	t.Helper()
	if err := store.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
