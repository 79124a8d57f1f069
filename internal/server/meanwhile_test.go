package server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// TestMeanwhile lets something happen between what a request reads and what it writes: no token is given for what was
// true a moment ago. Spent proofs are stored in the database: with those in memory, a refresh reads and writes in one
// transaction, and has no such moment (see the tests of package oauth).
func TestMeanwhile(t *testing.T) {
	s := start(t, stored)
	change := func(t *testing.T, what func(u *storage.User)) {
		u, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, "dev-10021")
		if err != nil {
			t.Fatal(err)
		}
		what(&u)
		err = s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, u) })
		if err != nil {
			t.Fatal(err)
		}
	}
	enable := func(u *storage.User) { u.DisabledAt = time.Time{} }
	for _, test := range []struct {
		name       string
		meanwhile  func(t *testing.T, held tokens)
		refresh    string // the error that it ends with; afterwards is that of the next try, "" for success
		code       string
		afterwards struct{ refresh, code string }
	}{
		{
			name:      "everything before is ended",
			meanwhile: func(t *testing.T, _ tokens) { change(t, func(u *storage.User) { u.Gen++ }) },
			refresh:   "temporarily_unavailable", code: "temporarily_unavailable",
		},
		{
			name:      "renamed",
			meanwhile: func(t *testing.T, _ tokens) { change(t, func(u *storage.User) { u.Handle += "2" }) },
			refresh:   "temporarily_unavailable", code: "temporarily_unavailable",
		},
		{
			name:      "disabled",
			meanwhile: func(t *testing.T, _ tokens) { change(t, func(u *storage.User) { u.DisabledAt = time.Now() }) },
			refresh:   "temporarily_unavailable", code: "temporarily_unavailable",
			afterwards: struct{ refresh, code string }{"invalid_grant", "invalid_grant"},
		},
		{
			name:      "device removed",
			meanwhile: func(t *testing.T, held tokens) { s.remove(t, held.set.Device) },
			refresh:   "invalid_grant", code: "invalid_grant",
			afterwards: struct{ refresh, code string }{"invalid_grant", "invalid_grant"},
		},
		{
			name:       "session revoked",
			meanwhile:  func(t *testing.T, held tokens) { s.revoke(t, app, held.refresh) },
			refresh:    "invalid_grant",
			afterwards: struct{ refresh, code string }{refresh: "invalid_grant"},
		},
	} {
		check := func(t *testing.T, a answer, code string) {
			t.Helper()
			switch code {
			case "":
				wantTokens(t, a)
			case "temporarily_unavailable":
				wantError(t, a, http.StatusServiceUnavailable, code)
			default:
				wantError(t, a, http.StatusBadRequest, code)
			}
		}
		t.Run(test.name+"/refresh", func(t *testing.T) {
			d := newDevice(t)
			held := s.login(t, d, "alice")
			defer change(t, enable)
			s.faults.beforeUpdate(func() { test.meanwhile(t, held) })
			check(t, s.token(t, app, d, refreshForm(held.refresh)), test.refresh)
			check(t, s.token(t, app, d, refreshForm(held.refresh)), test.afterwards.refresh)
		})
		t.Run(test.name+"/code", func(t *testing.T) {
			d := newDevice(t)
			held, code := s.login(t, d, "alice"), s.code(t, "alice", nil)
			defer change(t, enable)
			s.faults.beforeUpdate(func() { test.meanwhile(t, held) })
			check(t, s.token(t, app, d, codeForm(code, nil)), test.code)
			if test.code != "" {
				check(t, s.token(t, app, d, codeForm(code, nil)), test.afterwards.code)
			}
		})
	}
	t.Run("key taken by another person", func(t *testing.T) {
		d := newDevice(t)
		alices, bobs := s.code(t, "alice", nil), s.code(t, "bob", nil)
		s.faults.beforeUpdate(func() { wantTokens(t, s.token(t, app, d, codeForm(bobs, nil))) })
		wantError(t, s.token(t, app, d, codeForm(alices, nil)), http.StatusBadRequest, "invalid_grant")
		wantTokens(t, s.token(t, app, newDevice(t), codeForm(alices, nil)))
	})
	t.Run("code spent", func(t *testing.T) {
		d := newDevice(t)
		code := s.code(t, "alice", nil)
		var held tokens
		s.faults.beforeUpdate(func() { held = wantTokens(t, s.token(t, app, d, codeForm(code, nil))) })
		wantError(t, s.token(t, app, d, codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
		s.wantAlive(t, d, held)
	})
	t.Run("same device logs in twice", func(t *testing.T) {
		d := newDevice(t)
		first, second := s.code(t, "alice", nil), s.code(t, "alice", nil)
		s.faults.beforeUpdate(func() { wantTokens(t, s.token(t, app, d, codeForm(second, nil))) })
		wantError(t, s.token(t, app, d, codeForm(first, nil)), http.StatusServiceUnavailable, "temporarily_unavailable")
		wantTokens(t, s.token(t, app, d, codeForm(first, nil)))
	})
	t.Run("shut out and let in again while a login ends", func(t *testing.T) {
		b, _, state := s.consented(t, "alice", nil)
		s.faults.beforeUpdate(func() {
			wantStatus(t, s.disable(t, "@alice"), http.StatusOK)
			wantStatus(t, s.enable(t, "@alice"), http.StatusOK)
		})
		to, err := s.decide(t, b, state, "allow").to()
		if err != nil || to.Query().Get("error") != "temporarily_unavailable" || to.Query().Has("code") {
			t.Errorf("redirect to %v, %v, want temporarily_unavailable and no code", to, err)
		}
	})
}
