package signin_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// A login is three updates at most, also the first one of a user; the redemption of the code is one more.
func TestUpdates(t *testing.T) {
	for _, test := range []struct {
		name    string
		client  string
		change  url.Values
		updates int
		events  string
		whole   func(t *testing.T, u *user, token string, in signin.Return)
	}{
		{"without consent", "own", nil, 2, "user.created user.signed_in",
			func(t *testing.T, u *user, token string, in signin.Return) {
				wantCode(t, good[signin.Redirect](t, u, token, in))
			}},
		{"with consent", "guest", nil, 3, "user.created consent.given user.signed_in",
			func(t *testing.T, u *user, token string, in signin.Return) {
				page := consentIn(t, good[signin.Redirect](t, u, token, in))
				good[signin.Ask](t, u, page, signin.ShowConsent{})
				wantCode(t, good[signin.Redirect](t, u, page, signin.Decide{Allow: true}))
			}},
		{"denied", "guest", nil, 3, "user.created consent.denied",
			func(t *testing.T, u *user, token string, in signin.Return) {
				page := consentIn(t, good[signin.Redirect](t, u, token, in))
				wantRefused(t, good[signin.Refuse](t, u, page, signin.Decide{}), oauth.CodeAccessDenied)
			}},
		{"refused", "guest", url.Values{"max_age": {"1000"}}, 2, "",
			func(t *testing.T, u *user, token string, in signin.Return) {
				in.Query.Del("code")
				in.Query.Set("error", "access_denied")
				wantRefused(t, good[signin.Refuse](t, u, token, in), oauth.CodeAccessDenied)
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := open(t, nil)
			u := w.user("alice")
			updates := w.count("Committed", func() {
				token, in := u.arrive(t, test.client, test.change)
				test.whole(t, u, token, in)
			})
			if updates != test.updates {
				t.Errorf("%d updates, want %d", updates, test.updates)
			}
			if got := w.events(); got != test.events {
				t.Errorf("audit events = %q, want %q", got, test.events)
			}
		})
	}
}

// Each input is accepted at its steps, from the browser that the login belongs to, in time; everywhere else it changes nothing.
func TestSteps(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	alice, stranger := w.user("alice"), w.user("bob")
	at := make(map[string]string) // the state of a login at each step
	ask := good[signin.Ask](t, alice, "", request("two", nil))
	at["choose"] = ask.Token
	at["provider"], _ = alice.arrive(t, "own", nil)
	var in signin.Return
	at["again"], in = alice.arrive(t, "own", nil)
	w.fail("/oauth/token")
	alice.wantPage(t, at["again"], in, signin.ProviderDown)
	w.fail("")
	namesake := w.user("Alice")
	token, in := namesake.arrive(t, "own", nil)
	at["handle"] = good[signin.Ask](t, namesake, token, in).Token
	at["consent"] = alice.asked(t, "guest", nil)
	alice.cookies[at["handle"]] = namesake.cookies[at["handle"]]

	inputs := map[string]struct {
		in    signin.Input
		steps []string
	}{
		"Return":       {signin.Return{Provider: "dev", Query: url.Values{}}, []string{"provider", "again"}},
		"Choose":       {signin.ChoosePlace{}, []string{"choose"}},
		"ChooseHandle": {signin.ChooseHandle{}, []string{"handle"}},
		"ShowConsent":  {signin.ShowConsent{}, []string{"consent"}},
		"Decide":       {signin.Decide{}, []string{"consent"}},
		"Cancel":       {signin.Cancel{}, []string{"choose", "handle"}},
		"UseAnother":   {signin.UseAnother{}, []string{"handle", "consent"}},
	}
	before := sqlitetest.Rows(t, w.path)
	for name, input := range inputs {
		for step, token := range at {
			if slices.Contains(input.steps, step) {
				t.Run(name+" at "+step+" of another browser", func(t *testing.T) {
					stranger.wantPage(t, token, input.in, signin.Elsewhere)
					stranger.cookies[token] = alice.cookies[at["choose"]] + "x"
					stranger.wantPage(t, token, input.in, signin.Elsewhere)
				})
				continue
			}
			t.Run(name+" at "+step, func(t *testing.T) { alice.wantPage(t, token, input.in, signin.Over) })
		}
		t.Run(name+" of no login", func(t *testing.T) {
			alice.wantPage(t, "", input.in, signin.Over)
			alice.wantPage(t, strings.Repeat("A", 43), input.in, signin.Over)
		})
	}
	if changes := sqlitetest.Changes(before, sqlitetest.Rows(t, w.path)); len(changes) > 0 {
		t.Errorf("rows changed: %v", changes)
	}
	w.advance(10 * time.Minute)
	for name, input := range inputs {
		for _, step := range input.steps {
			t.Run(name+" at "+step+" too late", func(t *testing.T) { alice.wantPage(t, at[step], input.in, signin.Over) })
		}
	}
}

// known signs a user in, who has an account then.
func (w *world) known(t testing.TB, name string) storage.User {
	t.Helper()
	u := w.user(name)
	token, in := u.arrive(t, "own", nil)
	wantCode(t, good[signin.Redirect](t, u, token, in))
	w.events()
	return w.linked(t, name)
}

func (w *world) linked(t testing.TB, name string) storage.User {
	t.Helper()
	subject := map[string]string{"alice": "dev-10021", "bob": "dev-10022", "Alice": "dev-10023"}[name]
	u, err := w.store.LinkedUser(t.Context(), "example.com", w.idp, subject)
	if err != nil && err != storage.ErrNotFound {
		t.Fatal(err)
	}
	return u
}

// A form that is sent again has the same answer in the same browser for as long as a code lives; another decision has none.
func TestFormTwice(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	consenting := func(t *testing.T) (*user, string) {
		u := w.user("alice")
		return u, u.asked(t, "guest", nil)
	}
	for name, test := range map[string]struct {
		begin     func(t *testing.T) (*user, string)
		in, other signin.Input
	}{
		"allow": {consenting, signin.Decide{Allow: true}, signin.Decide{}},
		"deny":  {consenting, signin.Decide{}, signin.Decide{Allow: true}},
		"cancel": {func(t *testing.T) (*user, string) {
			u := w.user("alice")
			return u, good[signin.Ask](t, u, "", request("two", nil)).Token
		}, signin.Cancel{}, signin.ChooseHandle{Handle: "cancel"}},
		"handle": {func(t *testing.T) (*user, string) {
			u := w.user("Alice")
			token, in := u.arrive(t, "guest", nil)
			return u, good[signin.Ask](t, u, token, in).Token
		}, signin.ChooseHandle{Handle: "carol"}, signin.ChooseHandle{Handle: "carola"}},
	} {
		t.Run(name, func(t *testing.T) {
			u, token := test.begin(t)
			cookie := u.cookies[token]
			first, err := u.send(t, token, test.in)
			if err != nil {
				t.Fatal(err)
			}
			codes := sqlitetest.Count(t, w.path, "SELECT count(*) FROM codes")
			for range 2 {
				again := good[signin.Redirect](t, u, token, test.in)
				if again.Location == "" || again.Location != locationOf(first) {
					t.Errorf("the second answer leads to %q, want %q", again.Location, locationOf(first))
				}
				if next := cookies(first)[0]; name == "handle" && (len(again.Cookies) != 1 || again.Cookies[0] != next) {
					t.Errorf("the second answer sets the cookies %v, want that of the next page, %v", again.Cookies, next)
				}
			}
			if u.cookies[token] != cookie {
				t.Error("the cookie of the form is gone, so that its answer cannot be had again")
			}
			if n := sqlitetest.Count(t, w.path, "SELECT count(*) FROM codes"); n != codes {
				t.Errorf("there are %d codes, want %d", n, codes)
			}
			code := strings.TrimPrefix(locationOf(first), home)
			for _, row := range sqlitetest.Rows(t, w.path) {
				if strings.Contains(row, code) {
					t.Errorf("the database holds the answer: %s", row)
				}
			}
			u.wantPage(t, token, test.other, signin.Over)
			w.user("bob").wantPage(t, token, test.in, signin.Elsewhere)
			w.advance(time.Minute)
			u.wantPage(t, token, test.in, signin.Over)
		})
	}
}

func locationOf(out signin.Outcome) string {
	switch o := out.(type) {
	case signin.Redirect:
		return o.Location
	case signin.Refuse:
		return o.Err.Location
	}
	return ""
}

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

// Whatever operation of the store fails, nothing of the step is stored, and a form can be sent again. If only the answer of
// the store was lost, the form gets its answer.
func TestStoreFails(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		name  string
		least int
		begin func(t *testing.T, u *user) (token string, in signin.Input)
	}{
		"callback": {"bob", 9, func(t *testing.T, u *user) (string, signin.Input) { return in2(u.arrive(t, "guest", nil)) }},
		"decision": {"alice", 8, func(t *testing.T, u *user) (string, signin.Input) {
			return u.asked(t, "guest", nil), signin.Decide{Allow: true}
		}},
		"refusal": {"alice", 5, func(t *testing.T, u *user) (string, signin.Input) { return u.asked(t, "guest", nil), signin.Decide{} }},
		"handle": {"Alice", 9, func(t *testing.T, u *user) (string, signin.Input) {
			token, in := u.arrive(t, "guest", nil)
			return good[signin.Ask](t, u, token, in).Token, signin.ChooseHandle{Handle: "carol"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := 1
			for ; ; n++ {
				w := open(t, nil)
				w.known(t, "alice")
				u := w.user(test.name)
				token, in := test.begin(t, u)
				before := sqlitetest.Rows(t, w.path)
				asked, failed := 0, ""
				w.before = func(op string) error {
					if asked++; asked == n {
						failed = op
						return broken
					}
					return nil
				}
				_, err := u.send(t, token, in)
				w.before = nil
				if failed == "" {
					break
				}
				if !errors.Is(err, broken) {
					t.Errorf("%s failed, and Advance = %v, want %v", failed, err, broken)
				}
				if bound := signin.FactsOf(err).Bound; bound != (n > 1) {
					t.Errorf("%s failed, and the facts say bound: %t", failed, bound)
				}
				changes := sqlitetest.Changes(before, sqlitetest.Rows(t, w.path))
				if len(changes) > 0 != (failed == "Committed") {
					t.Errorf("%s failed, and the rows changed: %v", failed, changes)
				}
				if name == "callback" {
					continue // the provider's code is used up: the user begins again
				}
				if out, err := u.send(t, token, in); err != nil || locationOf(out) == "" {
					t.Errorf("%s failed, and the second try = %#v, %v, want an answer", failed, out, err)
				}
			}
			if n <= test.least {
				t.Errorf("%d operations, want at least %d", n-1, test.least)
			}
		})
	}
}

func in2(token string, in signin.Return) (string, signin.Input) { return token, in }

// A provider that fails before it has the code leaves the login as it is. After that the login begins again there.
func TestProviderDown(t *testing.T) {
	w := open(t, nil)
	u := w.user("alice")
	token, in := u.arrive(t, "own", nil)
	w.fail("/oauth/token")
	u.wantPage(t, token, in, signin.ProviderDown)
	w.fail("")
	again := good[signin.Redirect](t, u, token, in)
	if !strings.HasPrefix(again.Location, w.idp) {
		t.Fatalf("redirect to %s, want the provider", again.Location)
	}
	u.wantPage(t, token, in, signin.Over)
	token, in = u.signInAt(t, again.Location)
	wantCode(t, good[signin.Redirect](t, u, token, in))
	if w.results[signin.Unavailable] != 1 || w.results[signin.Done] != 1 {
		t.Errorf("results = %v, want one unavailable and one done", w.results)
	}

	fresh := open(t, nil) // whose provider was never asked
	fresh.fail("/.well-known/openid-configuration")
	p := good[signin.Page](t, fresh.user("alice"), "", request("own", nil))
	if p.Reason != signin.ProviderDown || p.Facts.Provider != "dev" || len(p.Cookies) > 0 {
		t.Errorf("page = %+v, want %d", p, signin.ProviderDown)
	}
	if n := fresh.pending(t); n != 0 {
		t.Errorf("%d logins are stored, want none", n)
	}
}

// An invalid response leaves the login as it is, so that a false one cannot end it.
func TestResponseInvalid(t *testing.T) {
	w := open(t, nil)
	u := w.user("alice")
	token, in := u.arrive(t, "own", nil)
	for change, want := range map[string]signin.Reason{"code": signin.CodeRefused, "state": signin.ResponseInvalid} {
		wrong := signin.Return{Provider: "dev", Query: url.Values{"state": {token}, "code": in.Query["code"]}}
		wrong.Query.Set(change, "wrong")
		u.wantPage(t, token, wrong, want)
	}
	for _, provider := range []string{"other", "nobody"} {
		u.wantPage(t, token, signin.Return{Provider: provider, Query: in.Query}, signin.Over)
	}
	wantCode(t, good[signin.Redirect](t, u, token, in))
	if w.results[signin.NotBelieved] != 2 {
		t.Errorf("results = %v, want two that were not believed", w.results)
	}
}

// prompt=none shows no page: what needs one is refused, and the login is over.
func TestSilent(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	for _, test := range []struct {
		name, user, client string
		code               string
	}{
		{"consent", "alice", "guest", oauth.CodeConsentRequired},
		{"handle", "Alice", "own", oauth.CodeInteractionRequired},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := w.user(test.user)
			to := good[signin.Redirect](t, u, "", request(test.client, url.Values{"prompt": {"none"}})).Location
			at, err := url.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			q := at.Query()
			q.Del("prompt") // as if the provider knew the user
			at.RawQuery = q.Encode()
			token, in := u.signInAt(t, at.String())
			wantRefused(t, good[signin.Refuse](t, u, token, in), test.code)
			u.wantPage(t, token, in, signin.Over)
		})
	}
	out := good[signin.Refuse](t, w.user("alice"), "", request("two", url.Values{"prompt": {"none"}}))
	wantRefused(t, out, oauth.CodeInteractionRequired)
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
