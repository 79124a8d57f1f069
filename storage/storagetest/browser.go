package storagetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// withBrowsers stores browser sessions and their users.
func withBrowsers(t *testing.T, s storage.Store, list ...storage.BrowserSession) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, b := range list {
			u := user("x")
			if u.Domain, u.ID = b.Domain, b.User; !stored(ctx, tx, u) {
				if err := tx.InsertUser(ctx, u); err != nil {
					return err
				}
			}
			if err := tx.InsertBrowserSession(ctx, b); err != nil {
				return err
			}
		}
		return nil
	})
}

func stored(ctx context.Context, r storage.Reader, u storage.User) bool {
	_, err := r.User(ctx, u.Domain, u.ID)
	return err == nil
}

// browsers returns the names of the browser sessions that are stored, of those in a list.
func browsers(t *testing.T, s storage.Store, of map[string]storage.BrowserSession) (names []string) {
	t.Helper()
	for name, b := range of {
		if _, _, err := s.BrowserSession(t.Context(), b.Hash); err == nil {
			names = append(names, name)
		} else if !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("BrowserSession = %v, want nil or %v", err, storage.ErrNotFound)
		}
	}
	slices.Sort(names)
	return names
}

// Sessions are listed in the order of their use, which only Touch changes; Trim keeps those that were used last.
func testBrowserSessions(t *testing.T, s storage.Store) {
	of := make(map[string]storage.BrowserSession)
	for i, name := range []string{"a", "b", "c", "d"} {
		b := browserSession(name)
		b.User, b.UsedAt = "user-alice", at.Add(time.Duration(i)*time.Second)
		of[name] = b
	}
	bob, abroad := browserSession("bob"), browserSession("abroad")
	abroad.Domain, abroad.User = "example.org", "user-alice"
	of["bob"], of["abroad"] = bob, abroad
	for _, b := range of {
		withBrowsers(t, s, b)
	}
	touched := of["a"]
	touched.UsedAt, touched.IdleAt = at.Add(time.Minute), at.Add(16*time.Minute)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.TouchBrowserSession(ctx, digest("nothing"), at, at); err != storage.ErrNotFound {
			t.Errorf("TouchBrowserSession = %v, want %v", err, storage.ErrNotFound)
		}
		if err := tx.DeleteBrowserSession(ctx, digest("nothing")); err != storage.ErrNotFound {
			t.Errorf("DeleteBrowserSession = %v, want %v", err, storage.ErrNotFound)
		}
		return tx.TouchBrowserSession(ctx, touched.Hash, touched.UsedAt, touched.IdleAt)
	})
	want := []storage.BrowserSession{of["b"], of["c"], of["d"], touched}
	if got, err := s.BrowserSessions(t.Context(), domain, "user-alice"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("BrowserSessions = %+v, %v, want %+v", got, err, want)
	}
	if got, err := s.BrowserSessions(t.Context(), domain, "nobody"); err != nil || len(got) != 0 {
		t.Errorf("BrowserSessions of nobody = %+v, %v, want none", got, err)
	}
	for _, step := range []struct {
		keep int
		left []string
	}{{4, []string{"a", "abroad", "b", "bob", "c", "d"}}, {2, []string{"a", "abroad", "bob", "d"}}, {0, []string{"abroad", "bob"}}} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return tx.TrimBrowserSessions(ctx, domain, "user-alice", step.keep)
		})
		if got := browsers(t, s, of); !slices.Equal(got, step.left) {
			t.Errorf("after a trim to %d are left %q, want %q", step.keep, got, step.left)
		}
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.DeleteBrowserSession(ctx, bob.Hash) })
	if got := browsers(t, s, of); !slices.Equal(got, []string{"abroad"}) {
		t.Errorf("after a deletion are left %q, want abroad", got)
	}
}

// Sessions end with the user's other sessions, with a logout that is about them, and by the sweep.
func testBrowserSessionsEnd(t *testing.T, s storage.Store) {
	of := make(map[string]storage.BrowserSession)
	add := func(name string, change func(b *storage.BrowserSession)) {
		b := browserSession(name)
		b.User = "user-alice"
		change(&b)
		of[name] = b
		withBrowsers(t, s, b)
	}
	add("one", func(b *storage.BrowserSession) { b.UpstreamSID = "one" })
	add("two", func(b *storage.BrowserSession) { b.UpstreamSID = "two" })
	add("none", func(b *storage.BrowserSession) { b.UpstreamSID = "" })
	add("elsewhere", func(b *storage.BrowserSession) { b.UpstreamSID, b.Issuer = "one", "https://idp.example.net" })
	add("abroad", func(b *storage.BrowserSession) { b.UpstreamSID, b.Domain = "one", "example.org" })
	add("bob", func(b *storage.BrowserSession) { b.UpstreamSID, b.User = "three", "user-bob" })
	add("idle", func(b *storage.BrowserSession) { b.User, b.IdleAt = "user-carol", at.Add(-time.Millisecond) })
	add("late", func(b *storage.BrowserSession) { b.User, b.IdleAt = "user-carol", at })
	end := func(l storage.Logout, left ...string) {
		t.Helper()
		l.Domain, l.Issuer, l.At, l.ExpiresAt = domain, "https://login.example.com", at, at.Add(time.Hour)
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndLogin(ctx, l, at, "provider_logout")
			return err
		})
		if got := browsers(t, s, of); !slices.Equal(got, left) {
			t.Errorf("after %+v are left %q, want %q", l, got, left)
		}
	}
	sweepAll(t, s, at, 1)
	end(storage.Logout{Subject: "nobody"}, "abroad", "bob", "elsewhere", "late", "none", "one", "two")
	end(storage.Logout{SID: "three"}, "abroad", "elsewhere", "late", "none", "one", "two")
	end(storage.Logout{Subject: "alice", User: "user-alice", SID: "one"}, "abroad", "elsewhere", "late", "two")
	end(storage.Logout{Subject: "alice", User: "user-alice"}, "abroad", "elsewhere", "late")
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.EndUserGrants(ctx, domain, "user-alice", at, "user_disabled")
		return err
	})
	if got := browsers(t, s, of); !slices.Equal(got, []string{"abroad", "late"}) {
		t.Errorf("after the end of alice's sessions are left %q, want abroad and late", got)
	}
}
