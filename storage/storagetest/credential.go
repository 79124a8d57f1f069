package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

func credentialList(name string) storage.StatusList {
	l := openList("credentials " + name)
	l.Kind = storage.CredentialStatuses
	return l
}

// credential returns a credential with every field set, of a list of its own.
func credential(name string) storage.Credential {
	c := liveCredential(name, 7)
	c.EndedAt, c.EndedReason, c.HandleEndedAt = at.Add(time.Minute), "stolen", at.Add(time.Second)
	return c
}

// liveCredential returns a credential that has not ended, with an entry of the list of its name.
func liveCredential(name string, index int) storage.Credential {
	return storage.Credential{ID: fmt.Sprintf("credential-%s-%d", name, index), Domain: domain, User: "user-" + name,
		Device: "device-" + name, Format: "dc+sd-jwt", JKT: fmt.Sprintf("jkt-%s-%d", name, index), Handle: name,
		Status: storage.StatusEntry{List: credentialList(name).ID, Index: index}, IssuedAt: at, ExpiresAt: at.Add(30 * 24 * time.Hour)}
}

// insertOwner adds a user with a device and a list, for credentials.
func insertOwner(ctx context.Context, tx storage.Tx, name string) error {
	u, d := user(name), device(name)
	u.DisabledAt, d.RemovedAt, d.RemovedReason = time.Time{}, time.Time{}, ""
	return errors.Join(tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d), tx.InsertStatusList(ctx, credentialList(name)))
}

// withCredentials adds owners, with n credentials each.
func withCredentials(t *testing.T, s storage.Store, n int, names ...string) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, name := range names {
			if err := insertOwner(ctx, tx, name); err != nil {
				return err
			}
			for i := range n {
				if err := tx.InsertCredential(ctx, liveCredential(name, i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func insertCredential(t *testing.T, s storage.Store, c storage.Credential) error {
	t.Helper()
	return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertCredential(ctx, c) })
}

func readCredential(t *testing.T, s storage.Store, id string) storage.Credential {
	t.Helper()
	c, err := s.Credential(t.Context(), id)
	if err != nil {
		t.Fatalf("Credential(%s) = %v, want nil", id, err)
	}
	return c
}

// expectEnds holds the ends in the list of a name to texts such as "1", or "1h" where only the handle has ended, in the order of the
// indexes.
func expectEnds(t *testing.T, s storage.Store, name string, want ...string) {
	t.Helper()
	ends, err := s.CredentialEnds(t.Context(), credentialList(name).ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	last := int64(0)
	for _, e := range ends {
		if e.Number <= last {
			t.Errorf("the number %d comes after %d", e.Number, last)
		}
		last = e.Number
		text := fmt.Sprint(e.Index)
		if e.HandleOnly {
			text += "h"
		}
		got = append(got, text)
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the ends in the list of %s = %v, want %v", name, got, want)
	}
}

func testCredentialsByPages(t *testing.T, s storage.Store) {
	withCredentials(t, s, 3, "alice", "bob")
	ids := func(name string) (ids []string) {
		for i := range 3 {
			ids = append(ids, liveCredential(name, i).ID)
		}
		return ids
	}
	for user, want := range map[string][]string{
		"user-alice": ids("alice"), "": append(ids("alice"), ids("bob")...), "nobody": nil,
	} {
		for _, limit := range []int{1, 2, 3, 6, 7} {
			var got []string
			for after := ""; ; after = got[len(got)-1] {
				page, err := s.Credentials(t.Context(), domain, user, after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("Credentials = %d, %v, want at most %d", len(page), err, limit)
				}
				for _, c := range page {
					got = append(got, c.ID)
				}
				if len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("the credentials of %q by %d = %v, want %v", user, limit, got, want)
			}
		}
	}
	for _, limit := range []int{0, -1} {
		if got, err := s.Credentials(t.Context(), domain, "", "", limit); err != nil || len(got) != 0 {
			t.Errorf("Credentials with limit %d = %v, %v, want none", limit, got, err)
		}
	}
	if got, err := s.Credentials(t.Context(), "example.org", "", "", 10); err != nil || len(got) != 0 {
		t.Errorf("Credentials of another domain = %v, %v, want none", got, err)
	}
}

// Live credentials are found by their key and counted by device and format. Those that ended or expired are not.
func testLiveCredentials(t *testing.T, s storage.Store) {
	withCredentials(t, s, 3, "alice")
	same, other := liveCredential("alice", 3), liveCredential("alice", 4)
	same.JKT, same.ExpiresAt = "jkt-alice-0", at.Add(time.Hour)
	other.JKT, other.Format = "jkt-alice-0", "other"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertCredential(ctx, same), tx.InsertCredential(ctx, other))
	})
	check := func(now time.Time, want storage.CredentialCount, wantByKey ...string) {
		t.Helper()
		found, err := s.CredentialsByKey(t.Context(), domain, "jkt-alice-0", now, 10)
		var got []string
		for _, c := range found {
			got = append(got, c.ID)
		}
		if slices.Sort(got); err != nil || !slices.Equal(got, wantByKey) {
			t.Errorf("CredentialsByKey = %v, %v, want %v", got, err, wantByKey)
		}
		for limit := range 7 {
			for _, most := range []storage.CredentialCount{{Live: limit, All: 10}, {Live: 10, All: limit}, {Live: -1, All: limit}} {
				n, err := s.CountCredentials(t.Context(), domain, "device-alice", "dc+sd-jwt", now, most)
				want := storage.CredentialCount{Live: max(min(want.Live, most.Live), 0), All: min(want.All, most.All)}
				if err != nil || n != want {
					t.Errorf("CountCredentials to %+v = %+v, %v, want %+v", most, n, err, want)
				}
			}
		}
	}
	check(at, storage.CredentialCount{Live: 4, All: 5}, "credential-alice-0", "credential-alice-3", "credential-alice-4")
	check(at.Add(time.Hour), storage.CredentialCount{Live: 3, All: 4}, "credential-alice-0", "credential-alice-4") // one expired
	for _, limit := range []int{0, 2} {
		if got, err := s.CredentialsByKey(t.Context(), domain, "jkt-alice-0", at, limit); err != nil || len(got) != limit {
			t.Errorf("CredentialsByKey to %d = %v, %v", limit, got, err)
		}
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: "credential-alice-0"}, at, "x")
		return err
	})
	check(at, storage.CredentialCount{Live: 3, All: 5}, "credential-alice-3", "credential-alice-4")
	most := storage.CredentialCount{Live: 10, All: 10}
	for _, test := range []struct {
		domain, device, format string
		want                   storage.CredentialCount
	}{
		{"example.org", "device-alice", "dc+sd-jwt", storage.CredentialCount{}},
		{domain, "device-bob", "dc+sd-jwt", storage.CredentialCount{}},
		{domain, "device-alice", "", storage.CredentialCount{All: 5}},
	} {
		if n, err := s.CountCredentials(t.Context(), test.domain, test.device, test.format, at, most); err != nil || n != test.want {
			t.Errorf("CountCredentials = %+v, %v, want %+v", n, err, test)
		}
	}
	if got, err := s.CredentialsByKey(t.Context(), "example.org", "jkt-alice-0", at, 10); err != nil || len(got) != 0 {
		t.Errorf("CredentialsByKey in another domain = %v, %v, want none", got, err)
	}
}

// The credentials of a device are those that have not ended, by id, and then the others, from the last that ended. Expired ones are not
// among them.
func testCredentialsOfADevice(t *testing.T, s storage.Store) {
	withCredentials(t, s, 5, "alice", "bob")
	short := liveCredential("alice", 6)
	short.ExpiresAt = at.Add(time.Hour)
	if err := insertCredential(t, s, short); err != nil {
		t.Fatal(err)
	}
	for i, id := range []string{"credential-alice-3", "credential-alice-1", "credential-bob-0", "credential-alice-2"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: id}, at.Add(time.Duration(i)*time.Second), "x")
			return err
		})
	}
	check := func(domain, device string, now time.Time, limit int, want ...string) {
		t.Helper()
		found, err := s.DeviceCredentials(t.Context(), domain, device, now, limit)
		var got []string
		for _, c := range found {
			got = append(got, strings.TrimPrefix(c.ID, "credential-"))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("DeviceCredentials of %s in %s to %d = %v, %v, want %v", device, domain, limit, got, err, want)
		}
	}
	all := []string{"alice-0", "alice-4", "alice-6", "alice-2", "alice-1", "alice-3"}
	for limit := range len(all) + 2 {
		check(domain, "device-alice", at, limit, all[:min(limit, len(all))]...)
	}
	check(domain, "device-alice", at, -1)
	check(domain, "device-alice", at.Add(time.Hour), 10, "alice-0", "alice-4", "alice-2", "alice-1", "alice-3")
	check(domain, "device-alice", at.Add(31*24*time.Hour), 10)
	check(domain, "device-bob", at, 2, "bob-1", "bob-2")
	check("example.org", "device-alice", at, 10)
	check(domain, "", at, 10)
}

// A credential is issued to a live device of a user who is not disabled and has the handle, with an entry of a list for credentials.
func testInsertCredentialRefused(t *testing.T, s storage.Store) {
	withCredentials(t, s, 1, "alice", "bob", "disabled", "removed", "abroad")
	sessions, ended := openList("sessions"), credentialList("ended")
	ended.EndedAt = at
	abroad := credentialList("elsewhere")
	abroad.Domain = "example.org"
	insertLists(t, s, sessions, ended, abroad)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, d := user("disabled"), device("removed")
		return errors.Join(tx.UpdateUser(ctx, u), tx.UpdateDevice(ctx, d))
	})
	change := func(name string, fn func(c *storage.Credential)) storage.Credential {
		c := liveCredential(name, 5)
		fn(&c)
		return c
	}
	for name, c := range map[string]storage.Credential{
		"the id was used":                 change("alice", func(c *storage.Credential) { c.ID = "credential-bob-0" }),
		"the entry was used":              change("alice", func(c *storage.Credential) { c.Status.Index = 0 }),
		"the user is disabled":            liveCredential("disabled", 5),
		"there is no such user":           change("alice", func(c *storage.Credential) { c.User = "user-nobody" }),
		"there is no such device":         change("alice", func(c *storage.Credential) { c.Device = "device-nobody" }),
		"the device is removed":           liveCredential("removed", 5),
		"the device of another user":      change("alice", func(c *storage.Credential) { c.Device = "device-bob" }),
		"another domain":                  change("alice", func(c *storage.Credential) { c.Domain = "example.org" }),
		"another handle":                  change("alice", func(c *storage.Credential) { c.Handle = "bob" }),
		"there is no such list":           change("alice", func(c *storage.Credential) { c.Status.List++ }),
		"the list is for sessions":        change("alice", func(c *storage.Credential) { c.Status.List = sessions.ID }),
		"the list has ended":              change("alice", func(c *storage.Credential) { c.Status.List = ended.ID }),
		"the list is of another domain":   change("alice", func(c *storage.Credential) { c.Status.List = abroad.ID }),
		"it has no entry":                 change("alice", func(c *storage.Credential) { c.Status = storage.StatusEntry{} }),
		"the device is that of no person": change("alice", func(c *storage.Credential) { c.User, c.Device = "", "" }),
	} {
		if err := insertCredential(t, s, c); err != storage.ErrConflict {
			t.Errorf("%s: InsertCredential = %v, want %v", name, err, storage.ErrConflict)
		}
	}
	// One without a handle does not depend on it. Its list stays until it has expired.
	c := change("alice", func(c *storage.Credential) { c.Handle, c.ExpiresAt = "", at.Add(storage.LongestCredential) })
	if err := insertCredential(t, s, c); err != nil {
		t.Fatal(err)
	}
	l, err := s.StatusList(t.Context(), c.Status.List)
	if want := c.ExpiresAt.Add(storage.CredentialGrace); err != nil || !l.ExpiresAt.Equal(want) {
		t.Errorf("the list expires at %v, %v, want %v", l.ExpiresAt, err, want)
	}
}

// Credentials that match each given field end, once.
func testEndCredentials(t *testing.T, s storage.Store) {
	for i, test := range []struct {
		which func(name string) storage.CredentialsOf
		want  []string
	}{
		{func(name string) storage.CredentialsOf { return storage.CredentialsOf{} }, nil},
		{func(name string) storage.CredentialsOf { return storage.CredentialsOf{User: "user-" + name} }, nil}, // of which domain?
		{func(name string) storage.CredentialsOf { return storage.CredentialsOf{Domain: domain} }, nil},
		{func(name string) storage.CredentialsOf { return storage.CredentialsOf{ID: "credential-" + name + "-1"} }, []string{"1"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{ID: "credential-" + name + "-1", Domain: domain, User: "user-" + name}
		}, []string{"1"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{ID: "credential-" + name + "-1", Domain: "example.org"}
		}, nil},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{ID: "credential-" + name + "-1", Domain: domain, User: "user-other"}
		}, nil},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: domain, Device: "device-" + name}
		}, []string{"0", "1", "2"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: "example.org", Device: "device-" + name}
		}, nil},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: domain, Device: "device-" + name, JKT: "jkt-" + name + "-2"}
		}, []string{"2"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: domain, JKT: "jkt-" + name + "-2"}
		}, []string{"2"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: domain, User: "user-" + name}
		}, []string{"0", "1", "2"}},
		{func(name string) storage.CredentialsOf {
			return storage.CredentialsOf{Domain: domain, User: "user-" + name, Device: "device-other"}
		}, nil},
	} {
		name := fmt.Sprint(i)
		withCredentials(t, s, 3, name)
		for _, want := range []int{len(test.want), 0} {
			write(t, s, func(ctx context.Context, tx storage.Tx) error {
				n, err := tx.EndCredentials(ctx, test.which(name), at.Add(time.Minute), "lost")
				if err == nil && n != want {
					t.Errorf("%d: EndCredentials(%+v) = %d, want %d", i, test.which(name), n, want)
				}
				return err
			})
		}
		expectEnds(t, s, name, test.want...)
		for n := range 3 {
			want := liveCredential(name, n)
			if slices.Contains(test.want, fmt.Sprint(n)) {
				want.EndedAt, want.EndedReason = at.Add(time.Minute), "lost"
			}
			if got := readCredential(t, s, want.ID); got != want {
				t.Errorf("%d: Credential = %+v, want %+v", i, got, want)
			}
		}
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, User: "user-3"}, at.Add(time.Hour), "all")
		return err
	})
	if c := readCredential(t, s, "credential-3-1"); c.EndedReason != "lost" || !c.EndedAt.Equal(at.Add(time.Minute)) {
		t.Errorf("a credential that had ended = %+v, want its first end", c)
	}
	expectEnds(t, s, "3", "0", "1", "2")
}

// A credential ends with its device, its device's key and its user, and for ever.
func testCredentialsEndWithTheirOwners(t *testing.T, s storage.Store) {
	names := []string{"device", "key", "disabled", "removed", "undone", "same"}
	withCredentials(t, s, 2, names...)
	then := at.Add(time.Hour)
	undone := errors.New("undone")
	for name, act := range map[string]func(ctx context.Context, tx storage.Tx) error{
		"device": func(ctx context.Context, tx storage.Tx) error {
			d := device("device")
			d.RemovedAt = then
			return tx.UpdateDevice(ctx, d)
		},
		"key": func(ctx context.Context, tx storage.Tx) error {
			return tx.RekeyDevice(ctx, rekey("key", "jkt-key", "another", time.Hour))
		},
		"disabled": func(ctx context.Context, tx storage.Tx) error {
			u := user("disabled")
			u.DisabledAt = then
			return tx.UpdateUser(ctx, u)
		},
		"removed": func(ctx context.Context, tx storage.Tx) error {
			return tx.BeginRemoval(ctx, storage.Removal{Domain: domain, User: "user-removed", At: then})
		},
		"undone": func(ctx context.Context, tx storage.Tx) error {
			return errors.Join(tx.UpdateDevice(ctx, device("undone")), undone)
		},
		"same": func(ctx context.Context, tx storage.Tx) error { // what does not end them
			u, d := user("same"), device("same")
			u.DisabledAt, u.Gen, d.RemovedAt, d.RemovedReason, d.Name = time.Time{}, 9, time.Time{}, "", "renamed"
			_, err := tx.EndDeviceGrants(ctx, domain, d.ID, then, "x")
			_, err2 := tx.EndUserGrants(ctx, domain, u.ID, then, "x")
			_, err3 := tx.Revoke(ctx, revocation(storage.RevokeGen, domain+"/"+u.ID))
			return errors.Join(tx.UpdateUser(ctx, u), tx.UpdateDevice(ctx, d), err, err2, err3)
		},
	} {
		if err := s.Update(t.Context(), act); err != nil && !errors.Is(err, undone) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for name, reason := range map[string]string{
		"device": "device_removed", "key": "rekeyed", "disabled": "user_disabled", "removed": "user_removed", "undone": "", "same": "",
	} {
		for i := range 2 {
			want := liveCredential(name, i)
			if reason != "" {
				want.EndedAt, want.EndedReason = then, reason
			}
			if got := readCredential(t, s, want.ID); got != want {
				t.Errorf("%s: Credential = %+v, want %+v", name, got, want)
			}
		}
		if reason == "" {
			expectEnds(t, s, name)
		} else {
			expectEnds(t, s, name, "0", "1")
		}
	}
	// A user who is enabled again has none of them back, and a removed user has no row.
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u := user("disabled")
		u.DisabledAt = time.Time{}
		return tx.UpdateUser(ctx, u)
	})
	expectEnds(t, s, "disabled", "0", "1")
	for more := true; more; {
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			more, err = tx.ContinueRemoval(ctx, storage.Removal{Domain: domain, User: "user-removed", At: then}, 2)
			return err
		})
	}
	if got, err := s.Credentials(t.Context(), domain, "user-removed", "", 10); err != nil || len(got) != 0 {
		t.Errorf("the credentials of a removed user = %+v, %v, want none", got, err)
	}
	expectEnds(t, s, "removed", "0", "1")
}

// With another handle of the user, the handle of a credential ends, and the rest of it stays good until it ends as a whole.
func testCredentialHandlesEnd(t *testing.T, s storage.Store) {
	withCredentials(t, s, 2, "alice", "bob", "carol")
	without, before := liveCredential("alice", 2), liveCredential("alice", 3)
	without.Handle = ""
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := errors.Join(tx.InsertCredential(ctx, without), tx.InsertCredential(ctx, before)); err != nil {
			return err
		}
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: before.ID}, at, "lost")
		return err
	})
	rename := func(ctx context.Context, tx storage.Tx, name string) error {
		u := user(name)
		u.DisabledAt, u.Handle = time.Time{}, "new "+name
		return tx.UpdateUser(ctx, u)
	}
	then := at.Add(time.Hour)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, want := range []int{2, 0} {
			n, err := tx.EndCredentialHandles(ctx, domain, "user-alice", then)
			if err != nil || n != want {
				t.Errorf("EndCredentialHandles = %d, %v, want %d", n, err, want)
			}
		}
		return errors.Join(rename(ctx, tx, "alice"), rename(ctx, tx, "bob"))
	})
	expectEnds(t, s, "alice", "0h", "1h", "3")
	expectEnds(t, s, "bob", "0h", "1h")
	expectEnds(t, s, "carol")
	for i := range 4 {
		c := readCredential(t, s, liveCredential("alice", i).ID)
		if i < 2 && !c.HandleEndedAt.Equal(then) || i >= 2 && !c.HandleEndedAt.IsZero() || c.EndedAt.IsZero() == (i == 3) {
			t.Errorf("Credential = %+v", c)
		}
	}
	if c := readCredential(t, s, "credential-bob-0"); c.HandleEndedAt.Before(at) || !c.EndedAt.IsZero() {
		t.Errorf("Credential = %+v, want the end of its handle", c)
	}
	// The end of a credential replaces that of its handle, under a number that a follower has not seen.
	list := credentialList("alice").ID
	seen, err := s.CredentialEnds(t.Context(), list, 0)
	if err != nil {
		t.Fatal(err)
	}
	last := seen[len(seen)-1].Number
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: "credential-alice-0"}, then, "lost")
		return err
	})
	more, err := s.CredentialEnds(t.Context(), list, last)
	if err != nil || len(more) != 1 || more[0].Number <= last || more[0].Index != 0 || more[0].HandleOnly {
		t.Errorf("CredentialEnds = %+v, %v, want the end of the first", more, err)
	}
	expectEnds(t, s, "alice", "0", "1h", "3")
}

// With the name of a former handle, the credentials that state it forget it, and no other does.
func testCredentialsForgetHandles(t *testing.T, s storage.Store) {
	withCredentials(t, s, 2, "alice", "bob")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u := user("alice")
		u.DisabledAt, u.Handle = time.Time{}, "another"
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: "credential-alice-0"}, at, "lost")
		_, err2 := tx.EndCredentialHandles(ctx, domain, u.ID, at)
		present := liveCredential("alice", 2)
		present.Handle = u.Handle
		return errors.Join(err, err2, tx.UpdateUser(ctx, u), tx.InsertName(ctx, nameOf("alice")), tx.InsertCredential(ctx, present))
	})
	expectEnds(t, s, "alice", "0", "1h")
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.DeleteName(ctx, domain, "key-alice") })
	for id, want := range map[string]string{
		"credential-alice-0": "", "credential-alice-1": "", "credential-alice-2": "another", "credential-bob-0": "bob",
	} {
		if got := readCredential(t, s, id).Handle; got != want {
			t.Errorf("%s states the handle %q, want %q", id, got, want)
		}
	}
	expectEnds(t, s, "alice", "0", "1h")
}

// Lists for credentials are apart from those for sessions.
func testCredentialLists(t *testing.T, s storage.Store) {
	sessions, credentials := openList("l"), credentialList("l")
	insertLists(t, s, sessions, credentials)
	again := sessions
	again.Kind = storage.CredentialStatuses
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertStatusList(ctx, again) })
	if err != storage.ErrConflict {
		t.Errorf("InsertStatusList with the id of a list of another kind = %v, want %v", err, storage.ErrConflict)
	}
	for _, l := range []storage.StatusList{sessions, credentials} {
		if got, err := s.StatusList(t.Context(), l.ID); err != nil || got != l {
			t.Errorf("StatusList = %+v, %v, want %+v", got, err, l)
		}
		var got storage.StatusList
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			got, err = tx.TakeStatusEntries(ctx, l.Kind, domain, 5, at)
			return err
		})
		if l.Used += 5; got != l {
			t.Errorf("TakeStatusEntries = %+v, want %+v", got, l)
		}
	}
}

func testSweepTakesCredentials(t *testing.T, s storage.Store) {
	withCredentials(t, s, 4, "alice")
	now := liveCredential("alice", 0).ExpiresAt.Add(storage.CredentialGrace)
	longer := liveCredential("alice", 4)
	longer.ExpiresAt = longer.ExpiresAt.Add(time.Minute)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.InsertCredential(ctx, longer); err != nil {
			return err
		}
		_, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, User: "user-alice"}, at, "lost")
		return err
	})
	sweepAll(t, s, now, 3)
	expectEnds(t, s, "alice", "0", "1", "2", "3", "4")
	sweepAll(t, s, now.Add(time.Second), 3)
	expectEnds(t, s, "alice", "4")
	if got, err := s.Credentials(t.Context(), domain, "", "", 10); err != nil || len(got) != 1 || got[0].ID != longer.ID {
		t.Errorf("Credentials = %+v, %v, want the one that has not expired", got, err)
	}
	sweepAll(t, s, now.Add(2*time.Minute), 3)
	if got, err := s.StatusList(t.Context(), longer.Status.List); err != storage.ErrNotFound {
		t.Errorf("StatusList after the last has expired = %+v, %v, want %v", got, err, storage.ErrNotFound)
	}
}

// A reader that asks for ends above the last number that it read misses none, however they race.
func testCredentialEndsAreFollowedWhileRacing(t *testing.T, s storage.Store) {
	const callers, each = 8, 12
	withCredentials(t, s, callers*each, "alice")
	list := credentialList("alice").ID
	var running atomic.Int32
	running.Store(callers)
	followed := make(map[int]int)
	errs := race(callers+1, func(i int) error {
		if i == callers {
			for cursor, finished := int64(0), false; !finished; {
				finished = running.Load() == 0 // then this is the last look, at all there is
				ends, err := s.CredentialEnds(t.Context(), list, cursor)
				if err != nil {
					return err
				}
				for _, e := range ends {
					if e.Number <= cursor {
						return fmt.Errorf("found %d after %d", e.Number, cursor)
					}
					cursor = e.Number
					followed[e.Index]++
				}
			}
			return nil
		}
		defer running.Add(-1)
		for n := range each {
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				if n%3 == 0 {
					if _, err := tx.Revoke(ctx, revocation(storage.RevokeToken, fmt.Sprint(i, n))); err != nil {
						return err
					}
				}
				_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: liveCredential("alice", i*each+n).ID}, at, "lost")
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for i := range callers * each {
		if followed[i] != 1 {
			t.Errorf("the end of %d was followed %d times, want once", i, followed[i])
		}
	}
}

// Of requests that issue to a device while it is removed, those that come first are ended by the removal, and the others are refused: no
// credential of a removed device is live.
func testCredentialsRaceWithRemoval(t *testing.T, s storage.Store) {
	const rounds, callers = 6, 8
	issued, refused := 0, 0
	for round := range rounds {
		name := fmt.Sprint("round", round)
		withCredentials(t, s, 0, name)
		var started atomic.Int32
		first := make(chan struct{})
		counts := make([]int, callers)
		errs := race(callers+1, func(i int) error {
			if i == callers {
				<-first // some have been issued, and others are being
				return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					d, err := tx.Device(ctx, domain, "device-"+name)
					if err != nil {
						return err
					}
					d.RemovedAt, d.RemovedReason = at, "lost"
					return tx.UpdateDevice(ctx, d)
				})
			}
			for n := 0; ; n++ {
				c := liveCredential(name, i*10_000+n)
				switch err := insertCredential(t, s, c); err {
				case nil:
					if counts[i]++; started.Add(1) == 3 {
						close(first)
					}
				case storage.ErrConflict:
					return nil
				default:
					return err
				}
			}
		})
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		all, err := s.Credentials(t.Context(), domain, "user-"+name, "", 100_000)
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := 0
		for _, n := range counts {
			acknowledged += n
		}
		ends, err := s.CredentialEnds(t.Context(), credentialList(name).ID, 0)
		if err != nil || len(all) != acknowledged || len(ends) != acknowledged {
			t.Errorf("%d were acknowledged, %d are stored, %d have ended, %v", acknowledged, len(all), len(ends), err)
		}
		for _, c := range all {
			if c.EndedAt.IsZero() {
				t.Errorf("the credential %s of a removed device is live", c.ID)
			}
		}
		issued, refused = issued+acknowledged, refused+callers
	}
	if issued < 3*rounds || refused != rounds*callers {
		t.Errorf("%d were issued before a removal, %d refused after it", issued, refused)
	}
}

// Of requests that race for the last place of a device, one gets it.
func testCredentialLimitInParallel(t *testing.T, s storage.Store) {
	const limit = 5
	withCredentials(t, s, limit-1, "alice")
	full := errors.New("full")
	errs := race(16, func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			c := liveCredential("alice", 100+i)
			n, err := tx.CountCredentials(ctx, c.Domain, c.Device, c.Format, at, storage.CredentialCount{Live: limit})
			if err != nil {
				return err
			}
			if n.Live == limit {
				return full
			}
			return tx.InsertCredential(ctx, c)
		})
	})
	oneWinner(t, errs, full)
	n, err := s.CountCredentials(t.Context(), domain, "device-alice", "dc+sd-jwt", at, storage.CredentialCount{Live: 100, All: 100})
	if want := (storage.CredentialCount{Live: limit, All: limit}); err != nil || n != want {
		t.Errorf("CountCredentials = %+v, %v, want %+v", n, err, want)
	}
}

// Of a login with a new key and a credential for another device with the same key, one is refused.
func testCredentialKeyInParallel(t *testing.T, s storage.Store) {
	for round := range 8 {
		name := fmt.Sprint("round", round)
		withCredentials(t, s, 0, name)
		taken := errors.New("taken")
		oneWinner(t, race(2, func(i int) error {
			return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				key := "key " + name
				_, err := tx.DeviceByKey(ctx, domain, key)
				found, err2 := tx.CredentialsByKey(ctx, domain, key, at, 1)
				if err == nil || len(found) > 0 {
					return taken
				} else if !errors.Is(err, storage.ErrNotFound) || err2 != nil {
					return errors.Join(err, err2)
				}
				if i == 0 {
					d := device(strings.ToUpper(name))
					d.JKT = key
					return tx.InsertDevice(ctx, d)
				}
				c := liveCredential(name, 1)
				c.JKT = key
				return tx.InsertCredential(ctx, c)
			})
		}), taken)
	}
}
