package account_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

func TestDisable(t *testing.T) {
	a, store, told := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	bob := mustSignIn(t, a, signIn("2", "bob"))
	for i, u := range []storage.User{alice, alice, bob} {
		d := mustBind(t, a, store, u, fmt.Sprint("key-", i))
		begin(t, store, d, fmt.Sprint("session-", i), time.Now().Add(time.Hour))
	}
	for i, want := range []int{2, 0} { // the second time changes nothing
		u, err := a.Disable(t.Context(), domain, alice.ID)
		if err != nil || u.SessionsEnded != want || u.Changed != (i == 0) || u.DisabledAt.IsZero() || u.Gen != alice.Gen+1 {
			t.Errorf("Disable, time %d = %+v, %d, %v, want her disabled in generation 2 and %d sessions ended", i+1, u, u.SessionsEnded, err, want)
		}
	}
	if len(*told) != 3 || (*told)[0].Kind != storage.RevokeGen || (*told)[0].Gen != alice.Gen+1 || (*told)[0].Reason != "user_disabled" {
		t.Fatalf("revoked %+v, want a row below generation %d, and both sessions", *told, alice.Gen+1)
	}
	for i, row := range (*told)[1:] {
		if row.Kind != storage.RevokeGrant || row.Key != fmt.Sprint("session-", i) {
			t.Errorf("revoked %+v, want session-%d", row, i)
		}
	}
	if _, err := a.SignIn(t.Context(), signIn("1", "alice")); !errors.Is(err, account.ErrDisabled) {
		t.Errorf("SignIn of a disabled user = %v, want %v", err, account.ErrDisabled)
	}
	for id, want := range map[string]string{"session-0": "user_disabled", "session-1": "user_disabled", "session-2": ""} {
		if g, _, _, err := store.Session(t.Context(), id); err != nil || g.EndedReason != want {
			t.Errorf("%s ended by %q, %v, want %q", id, g.EndedReason, err, want)
		}
	}
	for i := range 2 {
		u, err := a.Enable(t.Context(), domain, alice.ID)
		if err != nil || u.Changed != (i == 0) || !u.DisabledAt.IsZero() || u.Gen != alice.Gen+1 {
			t.Errorf("Enable = %+v, %v, want her as she was in generation 2", u, err)
		}
	}
	if u, err := a.SignIn(t.Context(), signIn("1", "alice")); err != nil || u.ID != alice.ID {
		t.Errorf("SignIn of an enabled user = %+v, %v, want %s", u, err, alice.ID)
	}
	if p, err := a.Person(t.Context(), domain, alice.ID); err != nil || len(p.Devices) != 2 || len(p.Sessions) != 0 {
		t.Errorf("Person = %+v, %v, want both devices and no session", p, err)
	}
	if _, err := a.Disable(t.Context(), domain, "nobody"); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("Disable of nobody = %v, want %v", err, account.ErrNoUser)
	}
	if _, err := a.Enable(t.Context(), "example.org", alice.ID); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("Enable through another domain = %v, want %v", err, account.ErrNoUser)
	}
}

func TestPerson(t *testing.T) {
	a, store, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "alice"))
	mustSignIn(t, a, signIn("2", "bob"))
	mustRename(t, a, alice.ID, "alex")
	d := mustBind(t, a, store, alice, "key")
	begin(t, store, d, "lives", time.Now().Add(time.Hour))
	begin(t, store, d, "expired", time.Now().Add(-time.Minute))
	begin(t, store, d, "ended", time.Now().Add(time.Hour))
	mustUpdate(t, store, func(ctx context.Context, tx storage.Tx) error {
		return tx.EndGrant(ctx, "ended", time.Now(), "revoked")
	})
	p, err := a.Person(t.Context(), domain, alice.ID)
	if err != nil {
		t.Fatal(err)
	}
	want := account.Identity{Handle: "im:%40alex@example.com", User: "im:" + alice.ID + "@example.com;id-type=user"}
	if p.Identity != want || p.User.Handle != "alex" {
		t.Errorf("Person = %s, %+v, want alex, %+v", p.User.Handle, p.Identity, want)
	}
	var handles []string
	for _, n := range p.Handles {
		handles = append(handles, fmt.Sprint(n.Local, " ", n.ReleasedAt.IsZero()))
	}
	if slices.Sort(handles); !slices.Equal(handles, []string{"alex true", "alice false"}) {
		t.Errorf("handles = %q, want alex held and alice released", handles)
	}
	if len(p.Links) != 1 || p.Links[0].Subject != "1" || len(p.Devices) != 1 || p.Devices[0].ID != d.ID {
		t.Errorf("links %+v and devices %+v, want one of each", p.Links, p.Devices)
	}
	if len(p.Sessions) != 1 || p.Sessions[0].ID != "lives" {
		t.Errorf("sessions = %+v, want the one that lives", p.Sessions)
	}
	for _, where := range [][2]string{{domain, "nobody"}, {"example.org", alice.ID}, {"example.net", alice.ID}} {
		if _, err := a.Person(t.Context(), where[0], where[1]); !errors.Is(err, account.ErrNoUser) {
			t.Errorf("Person %s in %s = %v, want %v", where[1], where[0], err, account.ErrNoUser)
		}
	}
}

func TestHandleUser(t *testing.T) {
	a, _, _ := people(t)
	alice := mustSignIn(t, a, signIn("1", "bob"))
	mustRename(t, a, alice.ID, "alice")
	for handle, found := range map[string]bool{
		"alice": true, "ALICE": true, "bob": true, "b0b": false, "al.ice": false, "carol": false, "no name": false, "": false,
	} {
		u, err := a.HandleUser(t.Context(), domain, handle)
		if found && (err != nil || u.ID != alice.ID) || !found && !errors.Is(err, account.ErrNoUser) {
			t.Errorf("HandleUser %q = %+v, %v, want found %t", handle, u, err, found)
		}
	}
	if _, err := a.HandleUser(t.Context(), "example.org", "alice"); !errors.Is(err, account.ErrNoUser) {
		t.Errorf("HandleUser in another domain = %v, want %v", err, account.ErrNoUser)
	}
}
