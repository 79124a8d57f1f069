package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// peopleAt is people at a time that the test sets.
func peopleAt(t *testing.T, now func() time.Time) (*account.Accounts, storage.Store) {
	t.Helper()
	_, store, _ := people(t)
	a, err := account.New(account.Config{Store: store, Domains: domains(t), TokenLife: time.Hour, MaxDevices: 3, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a, store
}

func domains(t *testing.T) (list []account.Domain) {
	t.Helper()
	d, err := account.NewDomain(domain, claims.SystemGeneric, false, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(list, d)
}

func mustRemove(t *testing.T, a *account.Accounts, user string, mayReturn bool) account.RemovedUser {
	t.Helper()
	r, err := a.Remove(t.Context(), domain, user, mayReturn)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A removal ends everything of the user, and changes nothing the second time. Other users are not touched.
func TestRemove(t *testing.T) {
	a, store, told := people(t)
	alice, bob := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob"))
	phone, laptop := mustLogin(t, a, store, alice, "phone"), mustLogin(t, a, store, alice, "laptop")
	bobs := mustLogin(t, a, store, bob, "bob")
	mustRename(t, a, alice.ID, "alex")
	if err := state(t.Context(), a, store, alice, "statement", ""); err != nil {
		t.Fatal(err)
	}
	*told = nil
	r := mustRemove(t, a, alice.ID, false)
	if !r.Changed || r.SessionsEnded != 2 || r.ID != alice.ID || r.On.IsZero() || !r.On.Equal(r.On.Truncate(24*time.Hour)) {
		t.Errorf("Remove = %+v, want a change, 2 sessions and a day", r)
	}
	var kinds []string
	for _, row := range *told {
		kinds = append(kinds, string(row.Kind)+" "+row.Key)
		if row.Domain != domain || !row.ExpiresAt.After(time.Now().Add(revocation.LongestToken-time.Minute)) {
			t.Errorf("revocation %+v, want one of the domain that outlives all tokens", row)
		}
	}
	slices.Sort(kinds)
	want := []string{"sid " + phone.ID, "sid " + laptop.ID, "user " + domain + "/" + alice.ID}
	slices.Sort(want)
	if !slices.Equal(kinds, want) {
		t.Errorf("revocations %q, want %q", kinds, want)
	}
	if _, err := a.User(t.Context(), domain, alice.ID); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("User = %v, want %v", err, account.ErrNoUser)
	}
	for _, d := range []storage.Device{phone, laptop} {
		if _, err := store.Device(t.Context(), domain, d.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Device = %v, want %v", err, storage.ErrNotFound)
		}
		if _, _, _, err := store.Session(t.Context(), d.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("Session = %v, want %v", err, storage.ErrNotFound)
		}
	}
	if s, err := store.Statement(t.Context(), "statement"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Statement = %+v, %v, want %v", s, err, storage.ErrNotFound)
	}
	if _, err := store.Removal(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Removal = %v, want a finished one", err)
	}
	*told = nil
	again := mustRemove(t, a, alice.ID, true)
	if again.Changed || !again.On.Equal(r.On) || len(*told) != 0 {
		t.Errorf("the second Remove = %+v and told %v, want no change", again, *told)
	}
	if _, err := a.Remove(t.Context(), domain, "nobody", false); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("Remove of nobody = %v, want %v", err, account.ErrNoUser)
	}
	if _, err := a.Remove(t.Context(), "example.org", bob.ID, false); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("Remove through another domain = %v, want %v", err, account.ErrNoUser)
	}
	if g, _, _, err := store.Session(t.Context(), bobs.ID); err != nil || !g.EndedAt.IsZero() {
		t.Errorf("the session of another user = %+v, %v, want a live one", g, err)
	}
}

// Nobody gets the id, a handle or a look-alike of a handle of a removed user, by signing in, by a rename or by an operator's release.
func TestNamesOfRemovedUsers(t *testing.T) {
	a, _, _ := people(t)
	alice := mustSignIn(t, a, account.SignIn{Domain: domain, Issuer: "https://idp.example.com", Subject: "1", Handle: "alice", User: "E10"})
	mustRename(t, a, alice.ID, "alex")
	mustRename(t, a, alice.ID, "given-away")
	mustRename(t, a, alice.ID, "alice2")
	if _, err := a.ReleaseName(t.Context(), domain, "given-away"); err != nil {
		t.Fatal(err)
	}
	bob := mustSignIn(t, a, signIn("2", "bob"))
	mustRemove(t, a, alice.ID, false)
	for _, name := range []string{"alice", "ALICE", "alex", "a1ex", "alice2", "al\u0131ce", "E10", "e1o"} {
		if _, err := a.SignIn(t.Context(), signIn("new "+name, name)); !refusedName(err) {
			t.Errorf("SignIn as %s = %v, want a refusal", name, err)
		}
		if _, err := a.RenameReserved(t.Context(), domain, bob.ID, name); !refusedName(err) {
			t.Errorf("Rename to %s = %v, want a refusal", name, err)
		}
	}
	for _, name := range []string{"alice", "a1ex", "E10"} {
		if _, err := a.ReleaseName(t.Context(), domain, name); !errors.Is(err, account.ErrRemoved) {
			t.Errorf("ReleaseName of %s = %v, want %v", name, err, account.ErrRemoved)
		}
	}
	for _, id := range []string{"E10", "alex", "ALEX"} {
		in := signIn("id "+id, "free-"+id)
		in.User = id
		if _, err := a.SignIn(t.Context(), in); !errors.Is(err, account.ErrUserTaken) {
			t.Errorf("SignIn with the id %s = %v, want %v", id, err, account.ErrUserTaken)
		}
	}
	// Another id that only looks like hers, a handle that was released, and the same names of another domain are free.
	in := signIn("3", "given-away")
	in.User = "E1O"
	mustSignIn(t, a, in)
	abroad := signIn("1", "alice")
	abroad.Domain, abroad.User = "example.org", "E10"
	mustSignIn(t, a, abroad)
	for name, removed := range map[string]bool{"E10": true, "alice": true, "@alice": false, "alex": true, "bob": false, "nobody": false, "e10": false} {
		day, err := a.RemovedOn(t.Context(), domain, name)
		if removed != (err == nil) || removed == day.IsZero() || err != nil && !errors.Is(err, account.ErrNoUser) {
			t.Errorf("RemovedOn(%s) = %v, %v, want a removed user: %v", name, day, err, removed)
		}
	}
}

func refusedName(err error) bool {
	var bad *claims.Error
	return errors.Is(err, account.ErrHandleTaken) || errors.As(err, &bad)
}

// A removed person is refused at the provider's account that was theirs: for ever, until an operator readmits it, or for as long as a
// login may take.
func TestReturn(t *testing.T) {
	now := time.Now()
	a, store := peopleAt(t, func() time.Time { return now })
	barred, leaver := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob"))
	begun, err := a.PrepareSignIn(t.Context(), signIn("1", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	mustRemove(t, a, barred.ID, false)
	mustRemove(t, a, leaver.ID, true)
	refused := func(subject string, want error) {
		t.Helper()
		if u, err := a.SignIn(t.Context(), signIn(subject, "new-"+subject)); !errors.Is(err, want) {
			t.Errorf("SignIn of %s = %+v, %v, want %v", subject, u, err, want)
		}
	}
	refused("1", account.ErrRemoved)
	refused("2", account.ErrRemoved)
	refused("1", account.ErrDisabled) // callers need not know the difference
	now = now.Add(account.ReturnAfter)
	refused("1", account.ErrRemoved)
	if u := mustSignIn(t, a, signIn("2", "new-2")); u.ID == leaver.ID || u.Gen != 1 {
		t.Errorf("the person who returned = %+v, want a new user", u)
	}
	for range 2 { // a second removal does not free what the first one barred
		mustRemove(t, a, barred.ID, true)
		now = now.Add(account.ReturnAfter)
		refused("1", account.ErrRemoved)
	}
	if err := a.Readmit(t.Context(), domain, "https://idp.example.com", "1"); err != nil {
		t.Fatal(err)
	}
	if err := a.Readmit(t.Context(), domain, "https://idp.example.com", "1"); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("the second Readmit = %v, want %v", err, account.ErrNoUser)
	}
	if u := mustSignIn(t, a, signIn("1", "new-1")); u.ID == barred.ID {
		t.Errorf("the readmitted person = %+v, want a new user", u)
	}
	// A login that was prepared before the removal does not go on.
	if err := store.Update(t.Context(), begun.Insert); !errors.Is(err, account.ErrRemoved) {
		t.Errorf("Insert of a login that began before the removal = %v, want %v", err, account.ErrRemoved)
	}
}

// Logins, renames and removals of one user race: after the removal, nothing of the user is left.
func TestRemovalRaces(t *testing.T) {
	a, store, _ := people(t)
	for round := range 10 {
		subject := fmt.Sprint(round)
		alice := mustSignIn(t, a, signIn(subject, "alice-"+subject))
		mustLogin(t, a, store, alice, "key-"+subject)
		var race sync.WaitGroup
		changed := make(chan bool, 4)
		for i := range 4 {
			race.Go(func() {
				r, err := a.Remove(t.Context(), domain, alice.ID, false)
				if err != nil {
					t.Error(err)
				}
				changed <- r.Changed
			})
			race.Go(func() {
				p, err := a.PrepareSignIn(t.Context(), signIn(subject, "alice-"+subject))
				if err == nil {
					err = store.Update(t.Context(), p.Insert)
				}
				if err != nil && !errors.Is(err, account.ErrRemoved) {
					t.Errorf("a racing login: %v", err)
				}
			})
			race.Go(func() {
				_, err := a.Rename(t.Context(), domain, alice.ID, fmt.Sprintf("other-%d-%d", round, i))
				if err != nil && !errors.Is(err, account.ErrNoUser) {
					t.Errorf("a racing rename: %v", err)
				}
			})
			race.Go(func() {
				_, err := bind(t.Context(), a, store, alice, "key-"+subject)
				if err != nil && !errors.Is(err, storage.ErrConflict) {
					t.Errorf("a racing device: %v", err)
				}
			})
		}
		race.Wait()
		close(changed)
		n := 0
		for c := range changed {
			if c {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d removals changed something, want 1", n)
		}
		names, err := store.Names(t.Context(), domain, alice.ID)
		if err != nil || len(names) != 0 {
			t.Errorf("Names = %v, %v, want none", names, err)
		}
		if u, err := store.LinkedUser(t.Context(), domain, "https://idp.example.com", subject); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("LinkedUser = %+v, %v, want none", u, err)
		}
	}
}

// A user with thousands of rows is removed in small transactions, and an interrupted removal goes on later.
func TestRemovalOfALargeUser(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	const many = 1500
	now := time.Now()
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		for i := range many {
			id := fmt.Sprintf("%04d", i)
			if err := errors.Join(
				tx.InsertDevice(ctx, storage.Device{Domain: domain, ID: id, User: alice.ID, JKT: "jkt " + id, CreatedAt: now}),
				tx.InsertGrant(ctx, storage.Grant{ID: "grant " + id, Domain: domain, User: alice.ID, Device: id, Gen: 1, CreatedAt: now,
					IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour)}),
				tx.InsertUserEvent(ctx, storage.UserEvent{Domain: domain, User: alice.ID, Kind: storage.DeviceAdded, Device: id, At: now}),
			); err != nil {
				return err
			}
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	interrupted, err := account.New(account.Config{
		Store: store, Domains: domains(t), TokenLife: time.Hour, MaxDevices: 3,
		Revoked: func(...storage.Revocation) { cancel() }, // once the first transaction is durable
	})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := interrupted.Remove(ctx, domain, alice.ID, false); err != nil || r.SessionsEnded != many {
		t.Fatalf("Remove = %+v, %v, want %d sessions", r, err, many)
	}
	if left, err := store.Devices(t.Context(), domain, alice.ID); err != nil || len(left) == 0 {
		t.Fatalf("%d devices are left, %v: the removal was not interrupted", len(left), err)
	}
	if _, _, _, err := store.Session(t.Context(), "grant 1499"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Session = %v, want none although its row may be there", err)
	}
	if err := a.FinishRemovals(t.Context()); err != nil {
		t.Fatal(err)
	}
	devices, err1 := store.Devices(t.Context(), domain, alice.ID)
	grants, err2 := store.Grants(t.Context(), domain, alice.ID)
	events, err3 := store.UserEvents(t.Context(), domain, alice.ID, 0, 1)
	if err := errors.Join(err1, err2, err3); err != nil || len(devices)+len(grants)+len(events) != 0 {
		t.Errorf("%d devices, %d grants and %d events are left, %v", len(devices), len(grants), len(events), err)
	}
}

// A user leaves by a live session, after a fresh login.
func TestLeave(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	d := mustLogin(t, a, store, alice, "phone")
	by := account.Owner{Domain: domain, User: alice.ID, SID: d.ID}
	now := time.Now()
	for name, step := range map[string]struct {
		by   account.Owner
		at   time.Time
		want error
	}{
		"old login":             {by, now.Add(-account.StepUpAge - time.Second), account.ErrLoginAge},
		"unknown login":         {by, time.Time{}, account.ErrLoginAge},
		"login in the future":   {by, now.Add(account.StepUpAge + time.Minute), account.ErrLoginAge},
		"no session":            {account.Owner{Domain: domain, User: alice.ID, SID: "other"}, now, account.ErrNoSession},
		"session of another":    {account.Owner{Domain: domain, User: "bob", SID: d.ID}, now, account.ErrNoSession},
		"session, other domain": {account.Owner{Domain: "example.org", User: alice.ID, SID: d.ID}, now, account.ErrNoSession},
	} {
		if _, err := a.Leave(t.Context(), step.by, step.at); !errors.Is(err, step.want) {
			t.Errorf("%s: Leave = %v, want %v", name, err, step.want)
		}
	}
	if _, err := a.User(t.Context(), domain, alice.ID); err != nil {
		t.Fatalf("User after refusals = %v", err)
	}
	if r, err := a.Leave(t.Context(), by, now.Add(-time.Minute)); err != nil || !r.Changed {
		t.Errorf("Leave = %+v, %v, want a change", r, err)
	}
	if _, err := a.Leave(t.Context(), by, now); !errors.Is(err, account.ErrNoSession) {
		t.Errorf("the second Leave = %v, want %v", err, account.ErrNoSession)
	}
}
