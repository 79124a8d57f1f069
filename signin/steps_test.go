package signin_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/storage"
)

// A user chooses a domain, then one of its providers, and may come back and choose another.
func TestChoose(t *testing.T) {
	w := open(t, nil)
	u := w.user("alice")
	ask := good[signin.Ask](t, u, "", request("two", nil))
	q := ask.Question.(signin.PlaceQuestion)
	if q.App != "two" || q.Domain != "" || len(q.Options) != 2 || q.Options[1].Value != "example.org" {
		t.Errorf("question = %+v, want one for the domain", q)
	}
	next := good[signin.Ask](t, u, ask.Token, signin.ChoosePlace{Domain: "example.org"})
	q = next.Question.(signin.PlaceQuestion)
	if next.Token != ask.Token || q.Domain != "example.org" || len(q.Options) != 2 || q.Options[0].Label != "other" {
		t.Errorf("question = %+v, want one for the provider", q)
	}
	for _, place := range []signin.ChoosePlace{{"example.org", "third"}, {"example.org", "other"}, {Domain: "example.com"}} {
		to := good[signin.Redirect](t, u, ask.Token, place).Location
		want := url.QueryEscape(callback + place.Provider)
		if place.Provider == "" {
			want = url.QueryEscape(callback + "dev")
		}
		if !strings.HasPrefix(to, w.idp) || !strings.Contains(to, want) {
			t.Errorf("%v leads to %s, want %s in it", place, to, want)
		}
	}
	wantRefused(t, good[signin.Refuse](t, u, ask.Token, signin.ChoosePlace{Domain: "nowhere.example"}), oauth.CodeInvalidRequest)
	token, in := u.signInAt(t, good[signin.Redirect](t, u, ask.Token, signin.ChoosePlace{Domain: "example.com"}).Location)
	page := consentIn(t, good[signin.Redirect](t, u, token, in))
	wantCode(t, good[signin.Redirect](t, u, page, signin.Decide{Allow: true}))
	wantRefused(t, good[signin.Refuse](t, u, ask.Token, signin.Cancel{}), oauth.CodeAccessDenied)
}

// A handle that cannot be had is asked for until one can. In a domain that does not let users choose, the login is over.
func TestHandle(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	u := w.user("Alice") // the same name, in another spelling
	token, in := u.arrive(t, "own", nil)
	ask := good[signin.Ask](t, u, token, in)
	q := ask.Question.(signin.HandleQuestion)
	if q.Handle != "Alice" || !errors.Is(q.Fault, account.ErrHandleTaken) || q.Before != "@" || q.After != "@example.com" ||
		q.System != claims.SystemGeneric {
		t.Errorf("question = %+v, want one about Alice", q)
	}
	u.wantPage(t, token, in, signin.Over)
	for _, handle := range []string{"two words", "admin", ""} {
		again := good[signin.Ask](t, u, ask.Token, signin.ChooseHandle{Handle: handle})
		q := again.Question.(signin.HandleQuestion)
		if q.Handle != handle || q.Fault == nil || again.Token != ask.Token || len(again.Cookies) > 0 {
			t.Errorf("question = %+v, want another one about %q", q, handle)
		}
	}
	if got := w.linked(t, "Alice"); got.ID != "" {
		t.Errorf("a refused choice created %+v", got)
	}
	wantCode(t, good[signin.Redirect](t, u, ask.Token, signin.ChooseHandle{Handle: "carol"}))
	if got := w.linked(t, "Alice"); got.Handle != "carol" {
		t.Errorf("handle = %q, want carol", got.Handle)
	}

	strict := open(t, func(cfg *signin.Config) { cfg.Domains = nil })
	strict.known(t, "alice")
	u = strict.user("Alice")
	token, in = u.arrive(t, "own", nil)
	u.wantPage(t, token, in, signin.HandleTaken)
	u.wantPage(t, token, in, signin.Over)
	if strict.results[signin.NotAccepted] != 1 {
		t.Errorf("results = %v, want one that was not accepted", strict.results)
	}
}

// What happens to a user, a link or a client while a page is open counts when the page is answered.
func TestMeanwhile(t *testing.T) {
	w := open(t, nil)
	alice := w.known(t, "alice")
	update := func(fn func(ctx context.Context, tx storage.Tx) error) {
		t.Helper()
		if err := w.store.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	disable := func(at time.Time) {
		changed := alice
		changed.DisabledAt = at
		update(func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, changed) })
	}
	t.Run("disabled", func(t *testing.T) {
		defer disable(time.Time{})
		u := w.user("alice")
		token, in := u.arrive(t, "own", nil)
		page := u.asked(t, "guest", nil)
		disable(w.now())
		u.wantPage(t, token, in, signin.UserDisabled)
		u.wantPage(t, token, in, signin.Over)
		u.wantPage(t, page, signin.ShowConsent{}, signin.UserDisabled)
		u.wantPage(t, page, signin.Decide{Allow: true}, signin.UserDisabled)
		disable(time.Time{})
		wantCode(t, good[signin.Redirect](t, u, page, signin.Decide{Allow: true})) // the page waits
	})
	t.Run("changed while the code is stored", func(t *testing.T) {
		u := w.user("alice")
		page := u.asked(t, "guest", nil)
		alice.Gen++
		w.once(func() { update(func(ctx context.Context, tx storage.Tx) error { return tx.UpdateUser(ctx, alice) }) })
		wantRefused(t, good[signin.Refuse](t, u, page, signin.Decide{Allow: true}), oauth.CodeTemporarilyUnavailable)
	})
	t.Run("client without the domain", func(t *testing.T) {
		defer w.clients.Set(registered)
		u := w.user("alice")
		page := u.asked(t, "guest", nil)
		changed := registered[1]
		changed.Domains = []string{"example.org"}
		if err := w.clients.Set([]clients.Client{changed}); err != nil {
			t.Fatal(err)
		}
		wantRefused(t, good[signin.Refuse](t, u, page, signin.Decide{Allow: true}), oauth.CodeInvalidRequest)
	})
	t.Run("client that is gone", func(t *testing.T) {
		defer w.clients.Set(registered)
		u := w.user("alice")
		page := u.asked(t, "guest", nil)
		if err := w.clients.Set(nil); err != nil {
			t.Fatal(err)
		}
		if out := good[signin.Refuse](t, u, page, signin.Decide{Allow: true}); out.Err.Location != "" {
			t.Errorf("the browser is sent to %s, want a page: nobody knows whose URI it is", out.Err.Location)
		}
		u.wantPage(t, page, signin.Decide{Allow: true}, signin.Over)
	})
	t.Run("link of another user", func(t *testing.T) {
		bob := w.known(t, "bob")
		u := w.user("alice")
		page := u.asked(t, "guest", nil)
		update(func(ctx context.Context, tx storage.Tx) error {
			if err := tx.DeleteLink(ctx, "example.com", w.idp, "dev-10021"); err != nil {
				return err
			}
			return tx.InsertLink(ctx, storage.Link{Domain: "example.com", Issuer: w.idp, Subject: "dev-10021", User: bob.ID, CreatedAt: w.now()})
		})
		u.wantPage(t, page, signin.ShowConsent{}, signin.Over)
		u.wantPage(t, page, signin.Decide{Allow: true}, signin.Over)
	})
}

// A user with as many devices as allowed is told so; the app is told if no page may be shown. Both are audited.
func TestDeviceLimit(t *testing.T) {
	w := open(t, nil)
	alice := w.known(t, "alice")
	err := w.store.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		now := w.now()
		d := storage.Device{Domain: alice.Domain, ID: "d1", User: alice.ID, JKT: strings.Repeat("A", 43), Client: "own", CreatedAt: now}
		if err := tx.InsertDevice(ctx, d); err != nil {
			return err
		}
		return tx.InsertGrant(ctx, storage.Grant{
			ID: "s1", Domain: d.Domain, Client: "own", User: d.User, Device: d.ID, JKT: d.JKT, Gen: 1,
			CreatedAt: now, IdleAt: now.Add(time.Hour), ExpiresAt: now.Add(time.Hour),
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	key := url.Values{"dpop_jkt": {strings.Repeat("B", 42) + "A"}}
	u := w.user("alice")
	page := u.asked(t, "own", key)
	if q := good[signin.Ask](t, u, page, signin.ShowConsent{}).Question.(signin.ConsentQuestion); !q.Full || q.Person != "@alice@example.com" {
		t.Errorf("question = %+v, want one that says that there are too many devices", q)
	}
	if got := w.events(); got != "device.limit_reached" {
		t.Errorf("audit events = %q, want that the limit is reached", got)
	}
	refused := good[signin.Refuse](t, u, page, signin.Decide{Allow: true})
	wantRefused(t, refused, oauth.CodeAccessDenied)
	if got := w.events(); got != "device.limit_reached" || !errors.Is(refused.Err, oauth.ErrDeviceLimit) {
		t.Errorf("audit events = %q after %v, want that the limit is reached", got, refused.Err)
	}
}

// Another account is chosen at the provider, in a login of its own. The page that it was asked for on stays.
func TestUseAnother(t *testing.T) {
	w := open(t, nil)
	w.known(t, "alice")
	u := w.user("alice")
	page := u.asked(t, "guest", url.Values{"login_hint": {"alice@example.com"}})
	to := good[signin.Redirect](t, u, page, signin.UseAnother{}).Location
	at, err := url.Parse(to)
	if err != nil || at.Query().Get("prompt") != "login" || at.Query().Has("login_hint") {
		t.Errorf("redirect to %s, want the provider with prompt=login", to)
	}
	u.name, u.browser = "bob", w.user("bob").browser
	token, in := u.signInAt(t, to)
	other := consentIn(t, good[signin.Redirect](t, u, token, in))
	for page, want := range map[string]string{page: "@alice@example.com", other: "@bob@example.com"} {
		if q := good[signin.Ask](t, u, page, signin.ShowConsent{}).Question.(signin.ConsentQuestion); q.Person != want {
			t.Errorf("the page asks %s, want %s", q.Person, want)
		}
	}
}

// A user who logs in too often is refused before anything is written, once for each login.
func TestLimiter(t *testing.T) {
	w := open(t, nil)
	often, asked := errors.New("too often"), 0
	w.limit = func(storage.User) error { asked++; return nil }
	u := w.user("alice")
	token, in := u.arrive(t, "own", nil)
	wantCode(t, good[signin.Redirect](t, u, token, in))
	if asked != 0 {
		t.Errorf("the limiter was asked %d times about a new user, want never", asked)
	}
	page := u.asked(t, "guest", nil)
	wantCode(t, good[signin.Redirect](t, u, page, signin.Decide{Allow: true}))
	if asked != 1 {
		t.Errorf("the limiter was asked %d times, want once", asked)
	}
	w.limit = func(storage.User) error { return often }
	token, in = u.arrive(t, "own", nil)
	if _, err := u.send(t, token, in); !errors.Is(err, often) || !signin.FactsOf(err).Bound || signin.FactsOf(err).User == "" {
		t.Errorf("Advance = %v with %+v, want %v for the user", err, signin.FactsOf(err), often)
	}
}
