package signin_test

import (
	"errors"
	"net/url"
	"sync"
	"testing"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// Of two requests that end one step, one goes on. Repeats of a form get its answer; others learn that the login is over.
func TestRaces(t *testing.T) {
	w := open(t, nil)
	t.Run("two callbacks", func(t *testing.T) {
		u := w.user("alice")
		token, in := u.arrive(t, "own", nil)
		// The provider gives the second one an error; it ends the login while the first waits for the database.
		second := signin.Return{Provider: "dev", Query: url.Values{"state": {token}, "error": {"access_denied"}}}
		if iss := in.Query.Get("iss"); iss != "" {
			second.Query.Set("iss", iss)
		}
		other := w.user("alice")
		other.cookies[token] = u.cookies[token]
		w.once(func() { wantRefused(t, good[signin.Refuse](t, other, token, second), oauth.CodeAccessDenied) })
		u.wantPage(t, token, in, signin.Over)
		if got := w.linked(t, "alice"); got.ID != "" {
			t.Errorf("the callback that was late created %+v", got)
		}
	})
	t.Run("two first logins of one person", func(t *testing.T) {
		w.events()
		first, second := w.user("alice"), w.user("alice")
		token, in := first.arrive(t, "own", nil)
		w.once(func() {
			token, in := second.arrive(t, "own", nil)
			wantCode(t, good[signin.Redirect](t, second, token, in))
		})
		wantCode(t, good[signin.Redirect](t, first, token, in))
		if n := sqlitetest.Count(t, w.path, "SELECT count(*) FROM users"); n != 1 {
			t.Errorf("there are %d users, want 1", n)
		}
		if got, want := w.events(), "user.created user.signed_in user.signed_in"; got != want {
			t.Errorf("audit events = %q, want %q", got, want)
		}
	})
	t.Run("one decision twice", func(t *testing.T) {
		u := w.user("alice")
		token := u.asked(t, "guest", nil)
		var early signin.Redirect
		w.once(func() { early = good[signin.Redirect](t, u, token, signin.Decide{Allow: true}) })
		late := good[signin.Redirect](t, u, token, signin.Decide{Allow: true})
		if wantCode(t, early) != wantCode(t, late) {
			t.Errorf("two answers, %s and %s, want one", early.Location, late.Location)
		}
	})
	t.Run("two decisions", func(t *testing.T) {
		u := w.user("alice")
		token := u.asked(t, "guest", nil)
		w.once(func() { wantRefused(t, good[signin.Refuse](t, u, token, signin.Decide{}), oauth.CodeAccessDenied) })
		u.wantPage(t, token, signin.Decide{Allow: true}, signin.Over)
	})
	t.Run("a handle that is taken meanwhile", func(t *testing.T) {
		first, second := w.user("Alice"), w.user("bob")
		token, in := first.arrive(t, "own", nil)
		page := good[signin.Ask](t, first, token, in).Token
		w.once(func() {
			token, in := second.arrive(t, "own", nil)
			wantCode(t, good[signin.Redirect](t, second, token, in))
		})
		ask := good[signin.Ask](t, first, page, signin.ChooseHandle{Handle: "Bob"})
		q := ask.Question.(signin.HandleQuestion)
		if ask.Token != page || !errors.Is(q.Fault, account.ErrHandleTaken) || q.Result != "@bob@example.com" {
			t.Errorf("asked %+v on page %s, want the same page with %v", q, ask.Token, account.ErrHandleTaken)
		}
		wantCode(t, good[signin.Redirect](t, first, page, signin.ChooseHandle{Handle: "bobby"}))
	})
}

// Requests that come at once are as good as requests that come one after the other.
func TestParallel(t *testing.T) {
	w := open(t, nil)
	const n = 6
	t.Run("first logins of one person", func(t *testing.T) {
		users, tokens, ins := make([]*user, n), make([]string, n), make([]signin.Return, n)
		for i := range n {
			users[i] = w.user("alice")
			tokens[i], ins[i] = users[i].arrive(t, "own", nil)
		}
		outcomes := make([]signin.Outcome, n)
		parallel(n, func(i int) { outcomes[i], _ = users[i].send(t, tokens[i], ins[i]) })
		for _, out := range outcomes {
			if r, ok := out.(signin.Redirect); ok {
				wantCode(t, r)
			} else {
				t.Errorf("outcome = %#v, want a redirect with a code", out)
			}
		}
		if n := sqlitetest.Count(t, w.path, "SELECT count(*) FROM users"); n != 1 {
			t.Errorf("there are %d users, want 1", n)
		}
	})
	t.Run("one decision", func(t *testing.T) {
		u := w.user("alice")
		token := u.asked(t, "guest", nil)
		outcomes := make([]signin.Outcome, n)
		parallel(n, func(i int) { outcomes[i], _ = u.send(t, token, signin.Decide{Allow: true}) })
		for _, out := range outcomes {
			if locationOf(out) == "" || locationOf(out) != locationOf(outcomes[0]) {
				t.Errorf("outcomes = %#v and %#v, want one redirect", outcomes[0], out)
			}
		}
	})
}

// parallel runs fn n times at once.
func parallel(n int, fn func(i int)) {
	var running sync.WaitGroup
	for i := range n {
		running.Go(func() { fn(i) })
	}
	running.Wait()
}
