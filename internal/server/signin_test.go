package server_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// TestFirstLogin holds that a person is known by her provider's iss and sub, and by nothing else.
func TestFirstLogin(t *testing.T) {
	s := start(t, nil)
	first := s.login(t, newDevice(t), "alice")
	if first.set.Handle != "im:%40alice@example.com" {
		t.Errorf("handle = %q, want im:%%40alice@example.com", first.set.Handle)
	}
	t.Run("again", func(t *testing.T) {
		again := s.login(t, newDevice(t), "alice")
		if again.set.Subject != first.set.Subject || again.set.Device == first.set.Device {
			t.Errorf("second login is %s on %s, want %s on another device", again.set.Subject, again.set.Device, first.set.Subject)
		}
	})
	t.Run("renamed at the provider", func(t *testing.T) {
		s.provider.tamper(t, tampering{idToken: func(_, claims object) { claims["preferred_username"] = "alice2" }})
		again := s.login(t, newDevice(t), "alice")
		if again.set.Subject != first.set.Subject || again.set.Handle != first.set.Handle {
			t.Errorf("login is %s called %s, want %s called %s", again.set.Subject, again.set.Handle, first.set.Subject, first.set.Handle)
		}
	})
	t.Run("another person", func(t *testing.T) {
		if bob := s.login(t, newDevice(t), "bob"); bob.set.Subject == first.set.Subject {
			t.Error("alice and bob are the same user")
		}
	})
	t.Run("many at once", func(t *testing.T) {
		s.provider.tamper(t, tampering{idToken: func(_, claims object) {
			claims["sub"], claims["preferred_username"] = "dev-10099", "carol"
		}})
		var visits []visit
		for range 6 {
			visits = append(visits, s.visit(t, "alice", nil))
		}
		next := make(chan visit, len(visits))
		for _, v := range visits {
			next <- v
		}
		for _, a := range parallel(len(visits), func() answer {
			v := <-next
			return s.open(t, v.browser, v.callback)
		}) {
			s.wantCode(t, a)
		}
	})
}

// TestNotSignedIn holds that a person whom the domain cannot take is told why, on a page, and that nothing comes of it.
func TestNotSignedIn(t *testing.T) {
	s := start(t, nil)
	s.login(t, newDevice(t), "alice")
	another := func(subject string, change func(claims object)) tampering {
		changed := func(claims object) {
			claims["sub"] = subject
			change(claims)
		}
		return tampering{idToken: func(_, claims object) { changed(claims) }, userinfo: changed}
	}
	for _, test := range []struct {
		name   string
		change func(claims object)
	}{
		{"handle of somebody else", func(object) {}},
		{"handle of somebody else in capitals", func(c object) { c["preferred_username"] = "ALICE" }},
		{"handle that looks like another's", func(c object) { c["preferred_username"] = "аlice" }}, // а is Cyrillic
		{"no handle", func(c object) { delete(c, "preferred_username") }},
		{"empty handle", func(c object) { c["preferred_username"] = "" }},
		{"handle of two words", func(c object) { c["preferred_username"] = "two words" }},
		{"handle with an at sign", func(c object) { c["preferred_username"] = "alice@example.net" }},
		{"handle with a slash", func(c object) { c["preferred_username"] = "alice/laptop" }},
		{"reserved handle", func(c object) { c["preferred_username"] = "admin" }},
		{"handle of 300 characters", func(c object) { c["preferred_username"] = string(make([]byte, 300)) }},
		{"handle that is no text", func(c object) { c["preferred_username"] = 7 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.provider.tamper(t, another(test.name, test.change))
			v := s.visit(t, "alice", nil)
			wantPage(t, s.open(t, v.browser, v.callback), http.StatusConflict)
			s.wantNobody(t, test.name)
		})
	}
	t.Run("user name of two words", func(t *testing.T) {
		v := s.visit(t, "two words", nil)
		wantPage(t, s.open(t, v.browser, v.callback), http.StatusConflict)
		s.wantNobody(t, "dev-10023")
	})
}

// TestDisabledUser holds that a disabled person gets nothing any more: no login, no code redeemed, no refresh.
func TestDisabledUser(t *testing.T) {
	s := start(t, nil)
	d := newDevice(t)
	held := s.login(t, d, "alice")
	code, v := s.code(t, "alice", nil), s.visit(t, "alice", nil)
	u, err := s.store.LinkedUser(t.Context(), "example.com", s.provider.url, "dev-10021")
	if err != nil {
		t.Fatal(err)
	}
	disable := func(at time.Time) {
		u.DisabledAt = at
		err := s.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, u) })
		if err != nil {
			t.Fatal(err)
		}
	}
	disable(time.Now())
	wantPage(t, s.open(t, v.browser, v.callback), http.StatusForbidden)
	wantError(t, s.token(t, app, newDevice(t), codeForm(code, nil)), http.StatusBadRequest, "invalid_grant")
	wantError(t, s.token(t, app, d, refreshForm(held.refresh)), http.StatusBadRequest, "invalid_grant")
	disable(time.Time{})
	wantTokens(t, s.token(t, app, newDevice(t), codeForm(code, nil)))
	s.wantAlive(t, d, held)
}
