package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A logout ends the sessions and the codes that it is about and no others, and is found by later logins.
func testEndLogin(t *testing.T, s storage.Store) {
	const issuer = "https://login.example.com"
	sid := func(g storage.Grant, id, sid string) storage.Grant { g.ID, g.UpstreamSID = id, sid; return g }
	elsewhere := sid(liveGrant("alice"), "grant-elsewhere", "one")
	elsewhere.Issuer = "https://idp.example.net"
	abroad := sid(liveGrant("alice"), "grant-abroad", "one")
	abroad.Domain = "example.org"
	over := sid(endedGrant("alice"), "grant-over", "one")
	withSession(t, s, "alice", sid(liveGrant("alice"), "grant-one", "one"))
	withSession(t, s, "bob", sid(liveGrant("bob"), "grant-bob", "three"))
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, d := user("alice"), device("alice")
		u.Domain, d.Domain = abroad.Domain, abroad.Domain
		return errors.Join(tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d), tx.InsertGrant(ctx, abroad), tx.InsertGrant(ctx, over),
			tx.InsertGrant(ctx, elsewhere), tx.InsertGrant(ctx, sid(liveGrant("alice"), "grant-two", "two")),
			tx.InsertGrant(ctx, sid(liveGrant("alice"), "grant-none", "")))
	})
	codes := map[string]storage.Code{}
	for name, of := range map[string]string{"one": "one", "two": "two", "none": "", "spent": "one", "expired": "one", "bob": "three"} {
		c := freshCode(name)
		if c.User, c.UpstreamSID = "user-alice", of; name == "bob" {
			c.User = "user-bob"
		}
		switch name {
		case "spent":
			c.SpentAt, c.Grant = at, "grant-one"
		case "expired":
			c.ExpiresAt = at.Add(-time.Second)
		}
		codes[name] = c
		write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.InsertCode(ctx, c) })
	}
	end := func(l storage.Logout, grants, dropped []string) {
		t.Helper()
		l.Domain, l.Issuer, l.At, l.ExpiresAt = domain, issuer, at, at.Add(time.Hour)
		var ids []string
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			ids = nil
			ended, err := tx.EndLogin(ctx, l, at, "provider_logout")
			for _, g := range ended {
				if ids = append(ids, g.ID); g.EndedReason != "provider_logout" || !g.EndedAt.Equal(at) || g.Domain != domain {
					t.Errorf("EndLogin returned %+v, want an ended grant of %s", g, domain)
				}
			}
			slices.Sort(ids)
			return err
		})
		if !slices.Equal(ids, grants) {
			t.Errorf("EndLogin of %+v ended %q, want %q", l, ids, grants)
		}
		for name, c := range codes {
			_, err := s.Code(t.Context(), c.Hash)
			if want := slices.Contains(dropped, name); errors.Is(err, storage.ErrNotFound) != want {
				t.Errorf("after %+v, Code of %s = %v, want it dropped: %v", l, name, err, want)
			}
			if err != nil {
				delete(codes, name)
			}
		}
	}
	loggedOut := func(subject, sid string, since time.Time, want bool) {
		t.Helper()
		if got, err := s.LoggedOut(t.Context(), domain, issuer, subject, sid, since); err != nil || got != want {
			t.Errorf("LoggedOut of %q in %q since %v = %v, %v, want %v", subject, sid, since, got, err, want)
		}
	}
	end(storage.Logout{}, nil, nil)
	end(storage.Logout{Subject: "nobody"}, nil, nil)
	end(storage.Logout{SID: "unknown"}, nil, nil)
	loggedOut("alice", "", at, false)
	loggedOut("alice", "unknown", at, true)
	end(storage.Logout{SID: "three"}, []string{"grant-bob"}, []string{"bob"})
	end(storage.Logout{Subject: "alice", User: "user-alice", SID: "one"}, []string{"grant-none", "grant-one"}, []string{"none", "one"})
	loggedOut("alice", "two", at, false)
	loggedOut("alice", "one", at, true)
	loggedOut("alice", "one", at.Add(time.Second), false)
	loggedOut("alice", "", at, true)
	loggedOut("bob", "", at, false)
	end(storage.Logout{Subject: "alice", User: "user-alice"}, []string{"grant-two"}, []string{"two"})
	loggedOut("alice", "two", at, true)
	end(storage.Logout{Subject: "alice", User: "user-alice"}, nil, nil)
	for _, id := range []string{"grant-elsewhere", "grant-abroad"} {
		if g := grant(t, s, id); !g.EndedAt.IsZero() {
			t.Errorf("%s has ended, want it untouched", id)
		}
	}
	if got, err := s.LoggedOut(t.Context(), abroad.Domain, issuer, "alice", "one", at); err != nil || got {
		t.Errorf("LoggedOut in another domain = %v, %v, want false", got, err)
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		_, _, err := tx.Sweep(ctx, at.Add(2*time.Hour), storage.Retention{}, storage.SweepPosition{}, 1000)
		for from := (storage.SweepPosition{Table: 2}); err == nil && from != (storage.SweepPosition{}); {
			from, _, err = tx.Sweep(ctx, at.Add(2*time.Hour), storage.Retention{}, from, 1000)
		}
		return err
	})
	loggedOut("alice", "one", at, false)
}
