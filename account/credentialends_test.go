package account_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

// issuing makes credentials, each with an entry of one list.
type issuing struct {
	t     *testing.T
	store storage.Store
	next  int
}

func issue(t *testing.T, store storage.Store) *issuing {
	t.Helper()
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		return tx.InsertStatusList(ctx, storage.StatusList{
			ID: 1, Kind: storage.CredentialStatuses, Domain: domain, Size: 1024, Available: 768, Used: 768, CreatedAt: time.Now(),
			ExpiresAt: time.Now().Add(time.Hour),
		})
	})
	return &issuing{t: t, store: store}
}

// to issues a credential with a key to a device, which states a handle unless that is empty.
func (i *issuing) to(d storage.Device, jkt, handle string, life time.Duration) storage.Credential {
	i.t.Helper()
	i.next++
	c := storage.Credential{
		ID: fmt.Sprint("credential ", i.next), Domain: d.Domain, User: d.User, Device: d.ID, Format: "dc+sd-jwt", JKT: jkt, Handle: handle,
		Status: storage.StatusEntry{List: 1, Index: i.next}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(life),
	}
	mustUpdate(i.t, i.store, func(ctx context.Context, tx storage.Tx) error { return tx.InsertCredential(ctx, c) })
	return c
}

// state returns what a list shows of a credential.
func (i *issuing) state(c storage.Credential) string {
	i.t.Helper()
	ends, err := i.store.CredentialEnds(i.t.Context(), 1, 0)
	if err != nil {
		i.t.Fatal(err)
	}
	for _, e := range ends {
		switch {
		case e.Index == c.Status.Index && e.HandleOnly:
			return "handle"
		case e.Index == c.Status.Index:
			return "ended"
		}
	}
	return "good"
}

// rekeying returns the request of a device for another key. Its session has the id of the device.
func rekeying(t *testing.T, a *account.Accounts, u storage.User, d storage.Device, jkt string) account.Rekey {
	t.Helper()
	id, err := a.Identify(u, d)
	if err != nil {
		t.Fatal(err)
	}
	return account.Rekey{
		Domain: domain, User: u.ID, Device: d.ID, SID: d.ID, Gen: u.Gen, AuthTime: time.Now(), Holder: d.JKT, URI: id.Device,
		OldJKT: d.JKT, NewJKT: jkt, Alg: "ES256",
	}
}

// A credential ends with its device, the device's key and its user. A rename ends the handle of those that state one. Nothing ends with
// a session. Each end comes with a revocation, by which every node makes the list anew.
func TestCredentialsEnd(t *testing.T) {
	for name, test := range map[string]struct {
		act  func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error
		want string // of the credential with a handle, and of the one without
		// other is what becomes of the credential of another device of the user.
		other string
	}{
		"removal of the device": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.RemoveDevice(ctx, domain, d.ID, "lost")
			return err
		}, "ended ended", "good"},
		"removal of the device by its user": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.RemoveDeviceOf(ctx, u, d.ID, "lost", func(context.Context, storage.Tx) error { return nil })
			return err
		}, "ended ended", "good"},
		"another key": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Rekey(ctx, rekeying(t, a, u, d, "key-new"))
			return err
		}, "ended ended", "good"},
		"disabled": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Disable(ctx, domain, u.ID)
			return err
		}, "ended ended", "ended"},
		"disabled and enabled": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Disable(ctx, domain, u.ID)
			_, err2 := a.Enable(ctx, domain, u.ID)
			return errors.Join(err, err2)
		}, "ended ended", "ended"},
		"removal of the user": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Remove(ctx, domain, u.ID, false)
			return err
		}, "ended ended", "ended"},
		"erasure of the user": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Erase(ctx, domain, u.ID, true)
			return err
		}, "ended ended", "ended"},
		"rename": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Rename(ctx, domain, u.ID, "alicia")
			return err
		}, "handle good", "handle"},
		"rename and back": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Rename(ctx, domain, u.ID, "alicia")
			_, err2 := a.Rename(ctx, domain, u.ID, "alice")
			return errors.Join(err, err2)
		}, "handle good", "handle"},
		"end of the session": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			return a.EndOwnSession(ctx, account.Owner{Domain: domain, User: u.ID, SID: d.ID}, d.ID)
		}, "good good", "good"},
		"logout at the provider": {func(ctx context.Context, a *account.Accounts, u storage.User, d storage.Device) error {
			_, err := a.Logout(ctx, account.Logout{
				Domain: domain, Issuer: "https://idp.example.com", Subject: "1", At: time.Now(), SpentUntil: time.Now().Add(time.Hour),
			})
			return err
		}, "good good", "good"},
	} {
		t.Run(name, func(t *testing.T) {
			a, store, told := people(t)
			u := mustSignIn(t, a, signIn("1", "alice"))
			d, second := mustLogin(t, a, store, u, "key-phone"), mustLogin(t, a, store, u, "key-tablet")
			bob := mustSignIn(t, a, signIn("2", "bob"))
			i := issue(t, store)
			with, without := i.to(d, "key-phone", "alice", time.Hour), i.to(d, "key-of-mls", "", time.Hour)
			other, others := i.to(second, "key-tablet", "alice", time.Hour), i.to(mustLogin(t, a, store, bob, "key-bob"), "key-bob", "bob", time.Hour)
			*told = nil
			if err := test.act(t.Context(), a, u, d); err != nil {
				t.Fatal(err)
			}
			if got := i.state(with) + " " + i.state(without); got != test.want {
				t.Errorf("the credentials of the device are %s, want %s", got, test.want)
			}
			if got := i.state(other); got != test.other {
				t.Errorf("the credential of another device is %s, want %s", got, test.other)
			}
			if got := i.state(others); got != "good" {
				t.Errorf("the credential of another user is %s", got)
			}
			if test.want != "good good" && len(*told) == 0 {
				t.Error("no revocation tells of the end")
			}
		})
	}
}

// The key of a live credential is no key for a new device, nor another key for a device that did not get the credential.
func TestKeyOfACredential(t *testing.T) {
	a, store, _ := people(t)
	u := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	d, second := mustLogin(t, a, store, u, "key-phone"), mustLogin(t, a, store, u, "key-tablet")
	i := issue(t, store)
	held := i.to(d, "key-of-mls", "", time.Hour)
	i.to(d, "key-expired", "", time.Nanosecond)
	i.to(d, "key-phone", "", time.Hour) // its own key

	refused := func(jkt string, want error) {
		t.Helper()
		if err := a.KeyUsable(t.Context(), domain, jkt); !errors.Is(err, want) {
			t.Errorf("KeyUsable of %s = %v, want %v", jkt, err, want)
		}
		for _, user := range []storage.User{u, bob} {
			if _, err := a.DeviceFor(t.Context(), user, jkt); !errors.Is(err, want) {
				t.Errorf("DeviceFor %s with %s = %v, want %v", user.Handle, jkt, err, want)
			}
		}
		if _, err := a.DeviceUnder(t.Context(), u, "robot", jkt, "delegation", 1); !errors.Is(err, want) {
			t.Errorf("DeviceUnder with %s = %v, want %v", jkt, err, want)
		}
		undone := errors.New("undone")
		err := store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { // issued after DeviceFor
			_, err := a.BindDevice(ctx, tx, storage.Device{Domain: domain, ID: "1f", User: bob.ID, JKT: jkt, CreatedAt: time.Now()})
			if !errors.Is(err, want) {
				t.Errorf("BindDevice with %s = %v, want %v", jkt, err, want)
			}
			return undone
		})
		if !errors.Is(err, undone) {
			t.Error(err)
		}
		if _, err := a.MayRekey(t.Context(), rekeying(t, a, u, second, jkt)); !errors.Is(err, want) {
			t.Errorf("MayRekey to %s = %v, want %v", jkt, err, want)
		}
	}
	refused("key-of-mls", account.ErrKeyInUse)
	refused("key-expired", nil)
	if _, err := a.MayRekey(t.Context(), rekeying(t, a, u, d, "key-of-mls")); err != nil {
		t.Errorf("MayRekey of the device that has the credential = %v", err)
	}
	if err := a.KeyUsable(t.Context(), domain, "key-phone"); err != nil {
		t.Errorf("KeyUsable of the key of a device with a credential = %v", err)
	}
	if err := a.KeyUsable(t.Context(), "example.org", "key-of-mls"); err != nil {
		t.Errorf("KeyUsable in another domain = %v", err)
	}
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: held.ID}, time.Now(), "test")
		return err
	})
	refused("key-of-mls", nil)
}

// A login with a key races with a credential for another device with that key: one of them is refused, so no two devices have one key.
func TestKeyOfACredentialRaced(t *testing.T) {
	a, store, _ := people(t)
	u := mustSignIn(t, a, signIn("1", "alice"))
	phone := mustLogin(t, a, store, u, "key-phone")
	i := issue(t, store)
	bound, issued := 0, 0
	for round := 0; round < 200 && (bound == 0 || issued == 0 || round < 20); round++ {
		bob := mustSignIn(t, a, signIn(fmt.Sprint("bob ", round), fmt.Sprint("bob", round)))
		jkt := fmt.Sprint("key ", round)
		d, err := a.DeviceFor(t.Context(), bob, jkt)
		if err != nil {
			t.Fatal(err)
		}
		taken := errors.New("taken")
		i.next++
		c := storage.Credential{
			ID: fmt.Sprint("raced ", round), Domain: domain, User: u.ID, Device: phone.ID, Format: "dc+sd-jwt", JKT: jkt,
			Status: storage.StatusEntry{List: 1, Index: i.next}, IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour),
		}
		errs := map[bool]chan error{true: make(chan error, 1), false: make(chan error, 1)}
		for _, login := range []bool{round%2 == 0, round%2 != 0} { // each begins every other time
			go func() {
				errs[login] <- store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					if login {
						_, err := a.BindDevice(ctx, tx, d)
						return err
					}
					if _, err := tx.DeviceByKey(ctx, domain, jkt); err == nil {
						return taken
					} else if !errors.Is(err, storage.ErrNotFound) {
						return err
					}
					return tx.InsertCredential(ctx, c)
				})
			}()
		}
		err = <-errs[true]
		switch other := <-errs[false]; {
		case err == nil && errors.Is(other, taken):
			bound++
		case other == nil && errors.Is(err, account.ErrKeyInUse):
			issued++
		default:
			t.Fatalf("the login = %v and the credential = %v, want one of them refused", err, other)
		}
	}
	if bound == 0 || issued == 0 {
		t.Errorf("%d logins and %d credentials were first", bound, issued)
	}
}
