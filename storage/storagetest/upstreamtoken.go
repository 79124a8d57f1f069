package storagetest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// upstreamToken is the one that the other fixtures of a name have.
func upstreamToken(name string) storage.UpstreamToken {
	return storage.UpstreamToken{ID: "token-" + name, Domain: domain, User: "user-" + name, Provider: "main",
		Sealed: []byte("sealed \x00\xff " + name), State: storage.UpstreamUnsure, Number: 3, CreatedAt: at, CheckedAt: at.Add(time.Hour),
		RetryAt: at.Add(2 * time.Hour)}
}

// wantUpstreamToken wants the token of a name to be stored, or not.
func wantUpstreamToken(t *testing.T, s storage.Store, name string, stored bool) {
	t.Helper()
	_, err := s.UpstreamToken(t.Context(), upstreamToken(name).ID)
	if stored && err != nil || !stored && err != storage.ErrNotFound {
		t.Errorf("UpstreamToken of %s = %v, want it stored: %v", name, err, stored)
	}
}

func testUpstreamTokenIsChangedOnceInParallel(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return tx.InsertUpstreamToken(ctx, upstreamToken("alice"))
	})
	changed := upstreamToken("alice")
	changed.Sealed, changed.State, changed.CheckedAt, changed.RetryAt = nil, storage.UpstreamLost, at.Add(3*time.Hour), time.Time{}
	var won, lost int
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUpstreamToken(ctx, changed) })
			mu.Lock()
			defer mu.Unlock()
			switch err {
			case nil:
				won++
			case storage.ErrConflict:
				lost++
			default:
				t.Errorf("UpdateUpstreamToken = %v, want nil or %v", err, storage.ErrConflict)
			}
		})
	}
	all.Wait()
	if won != 1 || lost != 7 {
		t.Errorf("%d updates were made and %d conflicted, want 1 and 7", won, lost)
	}
	changed.Number++
	if got, err := s.UpstreamToken(t.Context(), changed.ID); err != nil || len(got.Sealed) != 0 {
		t.Errorf("UpstreamToken = %+v, %v, want %+v", got, err, changed)
	} else if got.Sealed = nil; !reflect.DeepEqual(got, changed) {
		t.Errorf("UpstreamToken = %+v, want %+v", got, changed)
	}
	nobody := upstreamToken("nobody")
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUpstreamToken(ctx, nobody) })
	if err != storage.ErrConflict {
		t.Errorf("UpdateUpstreamToken of none = %v, want %v", err, storage.ErrConflict)
	}
}

// The end of a token ends what names it, and nothing else.
func testUpstreamTokenEnds(t *testing.T, s storage.Store) {
	add := func(name, token string) {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			u, d, g, c, e, b := user(name), device(name), liveGrant(name), freshCode(name), allowedDeviceCode(name), browserSession(name)
			g.UpstreamToken, c.UpstreamToken, e.UpstreamToken, b.UpstreamToken = token, token, token, token
			return errors.Join(tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d), tx.InsertGrant(ctx, g), tx.InsertCode(ctx, c),
				tx.InsertDeviceCode(ctx, e), tx.InsertBrowserSession(ctx, b))
		})
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUpstreamToken(ctx, upstreamToken("alice")), tx.InsertUpstreamToken(ctx, upstreamToken("bob")))
	})
	add("alice", "token-alice")
	add("tv", "token-alice")
	add("bob", "token-bob")
	add("carol", "")
	for _, id := range []string{"", "token-nobody"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			ended, err := tx.EndUpstreamToken(ctx, id, at, "refused")
			if len(ended) != 0 {
				t.Errorf("EndUpstreamToken of %q ended %+v, want nothing", id, ended)
			}
			return err
		})
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		ended, err := tx.EndUpstreamToken(ctx, "token-alice", at.Add(time.Minute), "refused")
		var ids []string
		for _, g := range ended {
			ids = append(ids, g.ID)
			if !g.EndedAt.Equal(at.Add(time.Minute)) || g.EndedReason != "refused" {
				t.Errorf("ended grant = %+v, want the time and the reason of the end", g)
			}
		}
		if slices.Sort(ids); !slices.Equal(ids, []string{"grant-alice", "grant-tv"}) {
			t.Errorf("EndUpstreamToken ended %q, want those of alice and tv", ids)
		}
		return err
	})
	wantUpstreamToken(t, s, "alice", false)
	wantUpstreamToken(t, s, "bob", true)
	for name, live := range map[string]bool{"alice": false, "tv": false, "bob": true, "carol": true} {
		g, _, _, err := s.Session(t.Context(), "grant-"+name)
		if err != nil || g.EndedAt.IsZero() != live {
			t.Errorf("grant of %s = %+v, %v, want it live: %v", name, g, err, live)
		}
		_, code := s.Code(t.Context(), freshCode(name).Hash)
		_, device := s.DeviceCode(t.Context(), allowedDeviceCode(name).Hash)
		_, _, browser := s.BrowserSession(t.Context(), browserSession(name).Hash)
		for what, err := range map[string]error{"code": code, "device code": device, "browser session": browser} {
			if live && err != nil || !live && err != storage.ErrNotFound {
				t.Errorf("%s of %s = %v, want it stored: %v", what, name, err, live)
			}
		}
	}
}

// A token is deleted when the last of the records that name it has ended.
func testUpstreamTokenGoesWithTheLast(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		g, c, e, b := liveGrant("alice"), freshCode("alice"), allowedDeviceCode("alice"), browserSession("alice")
		ended := endedGrant("bob")
		ended.UpstreamToken = g.UpstreamToken
		return errors.Join(tx.InsertUser(ctx, user("alice")), tx.InsertDevice(ctx, device("alice")),
			tx.InsertUpstreamToken(ctx, upstreamToken("alice")), tx.InsertUpstreamToken(ctx, upstreamToken("carol")),
			tx.InsertCode(ctx, c), tx.InsertDeviceCode(ctx, e), tx.InsertBrowserSession(ctx, b),
			tx.SpendCode(ctx, c.Hash, at, g.ID), tx.InsertGrant(ctx, g), tx.InsertGrant(ctx, ended))
	})
	for _, step := range []struct {
		name string
		do   func(ctx context.Context, tx storage.Tx) error
		left bool
	}{
		{"the browser session", func(ctx context.Context, tx storage.Tx) error {
			return tx.DeleteBrowserSession(ctx, browserSession("alice").Hash)
		}, true},
		{"the grant", func(ctx context.Context, tx storage.Tx) error {
			return tx.EndGrant(ctx, "grant-alice", at, "logout")
		}, true},
		{"the device code", func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.EndDeviceGrants(ctx, domain, "device-alice", at, "removed")
			return err
		}, false},
	} {
		write(t, s, step.do)
		if t.Logf("after the end of %s", step.name); t.Failed() {
			break
		}
		wantUpstreamToken(t, s, "alice", step.left)
	}

	// Expired ones count until they are swept.
	for _, name := range []string{"grant", "code", "device code", "browser"} {
		token := upstreamToken(name)
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			if err := errors.Join(tx.InsertUser(ctx, user(name)), tx.InsertUpstreamToken(ctx, token)); err != nil {
				return err
			}
			switch name {
			case "grant":
				return errors.Join(tx.InsertDevice(ctx, device(name)), tx.InsertGrant(ctx, liveGrant(name)))
			case "code":
				return tx.InsertCode(ctx, freshCode(name))
			case "device code":
				return tx.InsertDeviceCode(ctx, allowedDeviceCode(name))
			}
			return tx.InsertBrowserSession(ctx, browserSession(name))
		})
		sweepAll(t, s, at, 3)
		wantUpstreamToken(t, s, name, true)
	}
	sweepAll(t, s, at.Add(30*24*time.Hour), 3)
	for _, name := range []string{"grant", "code", "device code", "browser"} {
		wantUpstreamToken(t, s, name, false)
	}

	// A removal deletes those of its user.
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		r := storage.Removal{Domain: domain, User: "user-carol", At: at}
		if err := errors.Join(tx.InsertUser(ctx, user("carol")), tx.BeginRemoval(ctx, r)); err != nil {
			return err
		}
		_, err := tx.ContinueRemoval(ctx, r, 100)
		return err
	})
	wantUpstreamToken(t, s, "carol", false)
}
