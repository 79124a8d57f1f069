package signin_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

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
