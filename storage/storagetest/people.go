package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Pages of any size contain every user of a domain once, in byte order, and no user of another domain.
func testUsersByPages(t *testing.T, s storage.Store) {
	want := []string{"", "-a", "A", "B", "a", "aa", "b", "~", "é", "\U0001F98A"}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, id := range slices.Backward(want) {
			here, abroad := user("alice"), user("alice")
			here.ID, abroad.ID, abroad.Domain = id, id+"0", "example.org"
			if err := errors.Join(tx.InsertUser(ctx, here), tx.InsertUser(ctx, abroad)); err != nil {
				return err
			}
		}
		return nil
	})
	want = want[1:] // nothing comes before the first page, and an empty id does not come after it
	for _, limit := range []int{1, 2, 3, len(want), 100} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			var got []string
			for after := ""; ; after = got[len(got)-1] {
				page, err := s.Users(t.Context(), domain, after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("Users = %d users, %v, want %d at most", len(page), err, limit)
				}
				for _, u := range page {
					want := user("alice")
					if want.ID = u.ID; u != want {
						t.Errorf("user = %+v, want %+v", u, want)
					}
					got = append(got, u.ID)
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("ids = %q, want %q", got, want)
			}
		})
	}
	for _, limit := range []int{0, -1} {
		if got, err := s.Users(t.Context(), domain, "", limit); err != nil || len(got) != 0 {
			t.Errorf("Users with limit %d = %v, %v, want none", limit, got, err)
		}
	}
}

// The users of a provider are those with a link to it, each once, whatever other links they have.
func testUsersOfAProvider(t *testing.T, s storage.Store) {
	const here, other = "https://idp.example.com", "https://other.example.com"
	yes, no := true, false
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, u := range []struct {
			id, domain string
			disabled   bool
			issuers    []string
		}{
			{"e", domain, false, []string{here}}, {"d", domain, true, []string{here, here, other}}, {"c", domain, false, []string{other}},
			{"b", domain, true, nil}, {"a", domain, false, []string{other, here}}, {"z", domain, true, []string{here}},
			{"m", "example.org", false, []string{here}},
		} {
			v := user("alice")
			v.ID, v.Domain, v.DisabledAt = u.id, u.domain, time.Time{}
			if u.disabled {
				v.DisabledAt = at
			}
			if err := tx.InsertUser(ctx, v); err != nil {
				return err
			}
			for i, issuer := range u.issuers {
				l := storage.Link{Domain: u.domain, Issuer: issuer, Subject: fmt.Sprint(u.id, i), User: u.id, CreatedAt: at}
				if err := tx.InsertLink(ctx, l); err != nil {
					return err
				}
			}
		}
		return nil
	})
	for _, test := range []struct {
		disabled    *bool
		skip, limit int
		want        string
		count       int
	}{
		{nil, 0, 10, "a d e z", 4}, {nil, 1, 2, "d e", 4}, {nil, 3, 2, "z", 4}, {nil, 4, 2, "", 4}, {nil, 0, 0, "", 4},
		{nil, -1, -1, "", 4}, {nil, -5, 1, "a", 4}, {&yes, 0, 10, "d z", 2}, {&no, 0, 10, "a e", 2}, {&no, 1, 10, "e", 2},
	} {
		got, err := s.ProviderUsers(t.Context(), domain, here, test.disabled, test.skip, test.limit)
		var ids []string
		for _, u := range got {
			ids = append(ids, u.ID)
		}
		if err != nil || strings.Join(ids, " ") != test.want {
			t.Errorf("ProviderUsers from %d, %d at most = %q, %v, want %q", test.skip, test.limit, ids, err, test.want)
		}
		if n, err := s.CountProviderUsers(t.Context(), domain, here, test.disabled); err != nil || n != test.count {
			t.Errorf("CountProviderUsers = %d, %v, want %d", n, err, test.count)
		}
	}
	for domain, issuer := range map[string]string{domain: "https://idp.example.com/", "": here, "example.net": here} {
		if n, err := s.CountProviderUsers(t.Context(), domain, issuer, nil); err != nil || n != 0 {
			t.Errorf("CountProviderUsers of %s in %s = %d, %v, want none", issuer, domain, n, err)
		}
	}
}

// Links, names and grants are those of one user only, oldest first, ended or not.
func testWhatBelongsToAUser(t *testing.T, s storage.Store) {
	const user = "user-alice"
	var (
		links  []storage.Link
		names  []storage.Name
		grants []storage.Grant
	)
	for i, name := range []string{"c", "a", "b"} {
		age := time.Duration(i) * time.Hour
		l, n, g := link(name), nameOf(name), liveGrant(name)
		l.User, n.User, g.User = user, user, user
		l.CreatedAt, n.TakenAt, g.CreatedAt = at.Add(age), at.Add(age), at.Add(age)
		links, names, grants = append(links, l), append(names, n), append(grants, g)
	}
	names[1].ReleasedAt = time.Time{}
	grants[1].EndedAt, grants[1].EndedReason = at.Add(time.Minute), "logout"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for i, l := range slices.Backward(links) {
			n, g := names[i], grants[i]
			for _, d := range []string{domain, "example.org"} {
				if l.Domain, n.Domain, g.Domain = d, d, d; d != domain {
					g.ID += " abroad"
				}
				if err := errors.Join(tx.InsertLink(ctx, l), tx.InsertName(ctx, n), tx.InsertGrant(ctx, g)); err != nil {
					return err
				}
			}
		}
		return errors.Join(tx.InsertLink(ctx, link("bob")), tx.InsertName(ctx, nameOf("bob")), tx.InsertGrant(ctx, liveGrant("bob")))
	})
	if got, err := s.Links(t.Context(), domain, user); err != nil || !reflect.DeepEqual(got, links) {
		t.Errorf("Links = %+v, %v, want %+v", got, err, links)
	}
	if got, err := s.Names(t.Context(), domain, user); err != nil || !reflect.DeepEqual(got, names) {
		t.Errorf("Names = %+v, %v, want %+v", got, err, names)
	}
	if got, err := s.Grants(t.Context(), domain, user); err != nil || !reflect.DeepEqual(got, grants) {
		t.Errorf("Grants = %+v, %v, want %+v", got, err, grants)
	}
}

func testEndUserGrants(t *testing.T, s storage.Store) {
	withSession(t, s, "alice", liveGrant("alice"))
	withSession(t, s, "bob", liveGrant("bob"))
	tablet, over, abroad := liveGrant("alice"), endedGrant("alice"), liveGrant("alice")
	tablet.ID, tablet.Device = "grant-tablet", "device-tablet"
	over.ID = "grant-over"
	abroad.ID, abroad.Domain = "grant-abroad", "example.org"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, d, second := user("alice"), device("alice"), device("tablet")
		u.Domain, d.Domain, second.User = abroad.Domain, abroad.Domain, tablet.User
		return errors.Join(tx.InsertDevice(ctx, second), tx.InsertGrant(ctx, tablet), tx.InsertGrant(ctx, over),
			tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d), tx.InsertGrant(ctx, abroad))
	})
	bobs, spent, expired, fresh := freshCode("bob"), spentCode("tablet"), freshCode("over"), freshCode("alice")
	spent.User, expired.User, expired.ExpiresAt = "user-alice", "user-alice", at.Add(-time.Second)
	there := freshCode("abroad")
	there.User, there.Domain = "user-alice", abroad.Domain
	write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
		for _, c := range []storage.Code{bobs, spent, expired, fresh, there} {
			err = errors.Join(err, tx.InsertCode(ctx, c))
		}
		return err
	})
	for _, want := range [][]string{{"grant-alice", "grant-tablet"}, nil} { // the second time nothing is left to end
		var ended []string
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			ended, err = tx.EndUserGrants(ctx, domain, "user-alice", at, "user_disabled")
			slices.Sort(ended)
			return err
		})
		if !slices.Equal(ended, want) {
			t.Errorf("EndUserGrants ended %q, want %q", ended, want)
		}
	}
	for id, want := range map[string]string{
		"grant-alice": "user_disabled", "grant-tablet": "user_disabled", "grant-over": "logout", "grant-bob": "",
		"grant-abroad": "",
	} {
		if got := grant(t, s, id).EndedReason; got != want {
			t.Errorf("%s ended by %q, want %q", id, got, want)
		}
	}
	// Only the unspent code is deleted. The spent one still names its grant.
	for _, c := range []storage.Code{bobs, spent, expired, there} {
		if got, err := s.Code(t.Context(), c.Hash); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("Code = %+v, %v, want %+v", got, err, c)
		}
	}
	if got, err := s.Code(t.Context(), fresh.Hash); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Code = %+v, %v, want %v", got, err, storage.ErrNotFound)
	}
}

func testRenameKey(t *testing.T, s storage.Store) {
	alice, bob, carol := nameOf("alice"), nameOf("bob"), nameOf("carol")
	alice.Tables, bob.Tables, carol.Tables = "1", "2", "3"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertName(ctx, alice), tx.InsertName(ctx, bob), tx.InsertName(ctx, carol))
	})
	old := func(limit int) (locals []string) {
		t.Helper()
		names, err := s.OldNames(t.Context(), "2", limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			locals = append(locals, n.Local)
		}
		slices.Sort(locals)
		return locals
	}
	if got, few := old(9), old(1); !slices.Equal(got, []string{"alice", "carol"}) || len(few) != 1 {
		t.Errorf("OldNames = %q, and %q of one, want those of other tables on either side", got, few)
	}
	rename := func(n storage.Name, key string) error {
		n.Tables = "2"
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.RenameKey(ctx, n, key) })
	}
	nobody := nameOf("nobody")
	for _, test := range []struct {
		n    storage.Name
		key  string
		want error
	}{{alice, bob.Key, storage.ErrConflict}, {nobody, "free", storage.ErrNotFound}, {alice, "free", nil}, {carol, carol.Key, nil}} {
		if err := rename(test.n, test.key); err != test.want {
			t.Errorf("RenameKey of %s to %s = %v, want %v", test.n.Local, test.key, err, test.want)
		}
	}
	alice.Key, alice.Tables, carol.Tables = "free", "2", "2"
	for _, want := range []storage.Name{alice, bob, carol} {
		if got, err := s.Name(t.Context(), domain, want.Key); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Name = %+v, %v, want %+v", got, err, want)
		}
	}
	if got := old(9); len(got) != 0 {
		t.Errorf("OldNames = %q, want none", got)
	}
}

// A link is removed by its exact issuer and subject, and the account can be linked again.
func testDeleteLink(t *testing.T, s storage.Store) {
	alice, abroad, other, bob := link("alice"), link("alice"), link("alice"), link("bob")
	abroad.Domain, other.Subject = "example.org", strings.ToUpper(alice.Subject)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertLink(ctx, alice), tx.InsertLink(ctx, abroad), tx.InsertLink(ctx, other), tx.InsertLink(ctx, bob))
	})
	remove := func(ctx context.Context, tx storage.Tx) error {
		return tx.DeleteLink(ctx, domain, alice.Issuer, alice.Subject)
	}
	write(t, s, remove)
	if err := s.Update(t.Context(), remove); err != storage.ErrNotFound {
		t.Errorf("DeleteLink of what is gone = %v, want %v", err, storage.ErrNotFound)
	}
	for _, want := range [][]storage.Link{{other}, {abroad}, {bob}} {
		if got, err := s.Links(t.Context(), want[0].Domain, want[0].User); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Links = %+v, %v, want %+v", got, err, want)
		}
	}
	alice.User = bob.User
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertLink(ctx, alice) })
}

// Two names with the same local part are never held in a domain at the same time, whatever their keys are.
func testNameIsHeldOnce(t *testing.T, s storage.Store) {
	first, second, abroad := nameOf("alice"), nameOf("alice"), nameOf("alice")
	first.ReleasedAt, abroad.ReleasedAt = time.Time{}, time.Time{}
	second.Key, abroad.Domain = "another key", "example.org"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertName(ctx, first), tx.InsertName(ctx, second), tx.InsertName(ctx, abroad))
	})
	hold := func(ctx context.Context, tx storage.Tx) error {
		n := second
		n.ReleasedAt = time.Time{}
		return tx.UpdateName(ctx, n)
	}
	if err := s.Update(t.Context(), hold); err != storage.ErrConflict {
		t.Errorf("UpdateName = %v, want %v", err, storage.ErrConflict)
	}
	third := first
	third.Key = "a third key"
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertName(ctx, third) })
	if err != storage.ErrConflict {
		t.Errorf("InsertName = %v, want %v", err, storage.ErrConflict)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		first.ReleasedAt = at
		return errors.Join(tx.UpdateName(ctx, first), hold(ctx, tx))
	})
}
