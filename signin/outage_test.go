package signin_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

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
