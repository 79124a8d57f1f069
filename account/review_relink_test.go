package account_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

const oldIdP, newIdP = "https://idp.example.com", "https://new.example.com"

// linked returns who is linked to an account at a provider, "" if nobody is.
func linked(t *testing.T, store storage.Store, iss, sub string) string {
	t.Helper()
	u, err := store.LinkedUser(t.Context(), domain, iss, sub)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	return u.ID
}

// Links move all together or not at all; accounts may be swapped; a dry run changes nothing.
func TestReviewC3Relink(t *testing.T) {
	a, store, _ := people(t)
	alice, bob, carol := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob")), mustSignIn(t, a, signIn("3", "carol"))
	at := func(iss, sub string) account.Subject { return account.Subject{Issuer: iss, Subject: sub} }
	moves := []account.Move{
		{Line: 1, From: at(oldIdP, "1"), To: at(oldIdP, "2")},
		{Line: 2, From: at(oldIdP, "2"), To: at(oldIdP, "1")},
		{Line: 3, User: carol.ID, To: at(newIdP, "c")},
	}
	want := func(when string, users map[account.Subject]string) {
		t.Helper()
		for s, id := range users {
			if got := linked(t, store, s.Issuer, s.Subject); got != id {
				t.Errorf("%s: %s is linked to %q, want %q", when, s, got, id)
			}
		}
	}
	before := map[account.Subject]string{at(oldIdP, "1"): alice.ID, at(oldIdP, "2"): bob.ID, at(oldIdP, "3"): carol.ID, at(newIdP, "c"): ""}
	if done, err := a.Relink(t.Context(), domain, moves, true); err != nil || len(done) != 3 || done[2].From != at(oldIdP, "3") || done[0].User != alice.ID {
		t.Fatalf("dry run = %+v, %v, want three moves", done, err)
	}
	want("after a dry run", before)
	if _, err := a.Relink(t.Context(), domain, append(moves, account.Move{Line: 4, From: at(oldIdP, "9"), To: at(newIdP, "9")}), false); err == nil {
		t.Error("Relink with a wrong line = nil, want an error")
	}
	want("after a refusal", before)
	if _, err := a.Relink(t.Context(), domain, moves, false); err != nil {
		t.Fatal(err)
	}
	want("after the moves", map[account.Subject]string{
		at(oldIdP, "1"): bob.ID, at(oldIdP, "2"): alice.ID, at(oldIdP, "3"): "", at(newIdP, "c"): carol.ID,
	})
	if u := mustSignIn(t, a, account.SignIn{Domain: domain, Issuer: newIdP, Subject: "c", Handle: "other"}); u.ID != carol.ID {
		t.Errorf("SignIn = %+v, want carol", u)
	}
	// Two accounts of one person become one: the link of the second goes to the first.
	done, err := a.Relink(t.Context(), domain, []account.Move{{Line: 1, From: at(newIdP, "c"), User: alice.ID}}, false)
	if err != nil || len(done) != 1 || done[0].Former != carol.ID || done[0].User != alice.ID {
		t.Fatalf("Relink = %+v, %v, want the link moved from carol to alice", done, err)
	}
	want("after the merge", map[account.Subject]string{at(oldIdP, "2"): alice.ID, at(newIdP, "c"): alice.ID})
	// Whoever has two links or none has to be told apart.
	for _, user := range []string{alice.ID, carol.ID} {
		if _, err := a.Relink(t.Context(), domain, []account.Move{{Line: 1, User: user, To: at(newIdP, "x")}}, false); err == nil || !strings.Contains(err.Error(), "links") {
			t.Errorf("Relink of %s = %v, want a question for the link", user, err)
		}
	}
}

// Every line that cannot be applied is refused by its number.
func TestReviewC3RelinkRefused(t *testing.T) {
	a, store, _ := people(t)
	alice, bob := mustSignIn(t, a, signIn("1", "alice")), mustSignIn(t, a, signIn("2", "bob"))
	at := func(iss, sub string) account.Subject { return account.Subject{Issuer: iss, Subject: sub} }
	for name, moves := range map[string][]account.Move{
		"no such user":         {{Line: 7, User: "nobody", To: at(newIdP, "x")}},
		"no such link":         {{Line: 7, From: at(oldIdP, "9"), To: at(newIdP, "x")}},
		"another spelling":     {{Line: 7, From: at(oldIdP+"/", "1"), To: at(newIdP, "x")}},
		"linked already":       {{Line: 7, From: at(oldIdP, "1"), To: at(oldIdP, "2")}},
		"the same":             {{Line: 7, From: at(oldIdP, "1"), To: at(oldIdP, "1")}},
		"the same user":        {{Line: 7, From: at(oldIdP, "1"), User: alice.ID}},
		"one link twice":       {{Line: 1, From: at(oldIdP, "1"), To: at(newIdP, "x")}, {Line: 7, From: at(oldIdP, "1"), To: at(newIdP, "y")}},
		"one link in two ways": {{Line: 1, User: alice.ID, To: at(newIdP, "x")}, {Line: 7, From: at(oldIdP, "1"), User: bob.ID}},
		"one account twice":    {{Line: 1, From: at(oldIdP, "1"), To: at(newIdP, "x")}, {Line: 7, From: at(oldIdP, "2"), To: at(newIdP, "x")}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := a.Relink(t.Context(), domain, moves, false)
			faults := account.MoveFaults(nil)
			if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Line != 7 {
				t.Errorf("Relink = %v, want a fault of line 7", err)
			}
			if linked(t, store, oldIdP, "1") != alice.ID || linked(t, store, oldIdP, "2") != bob.ID {
				t.Error("the links moved")
			}
		})
	}
	many := make([]account.Move, account.MaxMoves+1)
	for i := range many {
		many[i] = account.Move{Line: i + 1, From: at(oldIdP, fmt.Sprint(i)), To: at(newIdP, fmt.Sprint(i))}
	}
	faults := account.MoveFaults(nil)
	if _, err := a.Relink(t.Context(), domain, many, false); !errors.As(err, &faults) || len(faults) != 1 || faults[0].Line != account.MaxMoves+1 {
		t.Errorf("Relink of too many = %v, want a fault of the first line beyond", err)
	}
}
