package account_test

import (
	"errors"
	"testing"

	"github.com/imidentity/issuer/account"
)

// TestOtherClaim holds that a person who is known by their sub does not become another user when another claim identifies the users of
// the provider: not before an operator has moved the link, and not at all if they are disabled or removed.
func TestOtherClaim(t *testing.T) {
	a, store, _ := people(t)
	in := func(subject, handle string) account.SignIn {
		s := signIn("oid-"+subject, handle)
		s.Sub = subject
		return s
	}
	alice, bob, carol := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob")), mustSignIn(t, a, signIn("3", "carol"))
	if _, err := a.Disable(t.Context(), domain, bob.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Remove(t.Context(), domain, carol.ID, false); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"1", "2"} {
		if u, err := a.SignIn(t.Context(), in(subject, "another"+subject)); !errors.Is(err, account.ErrOtherClaim) {
			t.Errorf("SignIn of %s = %+v, %v, want %v", subject, u, err, account.ErrOtherClaim)
		}
	}
	if u, err := a.SignIn(t.Context(), in("3", "other")); !errors.Is(err, account.ErrRemoved) {
		t.Errorf("SignIn of carol = %+v, %v, want %v", u, err, account.ErrRemoved)
	}
	iss := signIn("1", "alice").Issuer
	moves := []account.Move{
		{Line: 1, From: account.Subject{Issuer: iss, Subject: "1"}, To: account.Subject{Issuer: iss, Subject: "oid-1"}},
		{Line: 2, User: bob.ID, To: account.Subject{Issuer: iss, Subject: "oid-2"}},
	}
	if _, err := a.Relink(t.Context(), domain, moves, false); err != nil {
		t.Fatal(err)
	}
	if u := mustSignIn(t, a, in("1", "ignored")); u.ID != alice.ID {
		t.Errorf("SignIn = %+v, want alice", u)
	}
	if u, err := a.SignIn(t.Context(), in("2", "other")); !errors.Is(err, account.ErrDisabled) {
		t.Errorf("SignIn of bob = %+v, %v, want %v", u, err, account.ErrDisabled)
	}
	dora := mustSignIn(t, a, in("4", "dora"))
	if got := linked(t, store, iss, "oid-4"); got != dora.ID {
		t.Errorf("oid-4 is linked to %q, want dora", got)
	}
	if got := linked(t, store, iss, "4"); got != "" {
		t.Errorf("the sub of dora is linked to %q, want no user", got)
	}
}

// TestOtherClaimMeanwhile holds the same for a link that is made while the new user waits on a page.
func TestOtherClaimMeanwhile(t *testing.T) {
	a, store, _ := people(t)
	in := signIn("oid-1", "alice")
	in.Sub = "1"
	pending, err := a.PrepareSignIn(t.Context(), in)
	if err != nil || !pending.New {
		t.Fatalf("PrepareSignIn = %+v, %v, want a new user", pending, err)
	}
	mustSignIn(t, a, signIn("1", "alice2"))
	if err := store.Update(t.Context(), pending.Insert); !errors.Is(err, account.ErrOtherClaim) {
		t.Errorf("Insert = %v, want %v", err, account.ErrOtherClaim)
	}
}
