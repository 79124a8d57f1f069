package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/storage"
)

// A step is what a pending login waits for. What ends one step does not end another.
type step string

// The steps of a login, in their order; a login has those that it needs.
const (
	stepChoose   step = "choose"   // the person chooses her domain or her OpenID provider
	stepProvider step = "provider" // she is at the OpenID provider
	stepAgain    step = "again"    // she has to go there again: it failed after it had got its code
	stepHandle   step = "handle"   // she chooses her handle
	stepConsent  step = "consent"  // she is asked whether the app may
	stepAnswered step = "answered" // a page was answered, and the answer can be had again, see [decision]
)

// A waiting is what is kept of a login that waits for its person on a page of ours.
type waiting struct {
	Step step `json:"step"`
	// Identity is what her OpenID provider said of her, once it did.
	Identity login.Identity `json:"identity,omitzero"`
	// User is her id, once she is known here.
	User string `json:"user,omitempty"`
	// Answer is where the browser was sent, sealed.
	Answer []byte `json:"answer,omitempty"`
}

var (
	errGone      = errors.New("server: the login is over, or never was")
	errElsewhere = errors.New("server: the login was started in another browser")
)

// wait keeps a login until its person has answered on a page, tied to her browser by a cookie. It returns the state by
// which the page names it.
func (s *Server) wait(c echo.Context, l storage.Login, w waiting) (state string, err error) {
	if state, err = s.random(); err != nil {
		return "", err
	}
	return state, s.waitUnder(c, state, l, w, nil)
}

// waitUnder is wait under a given state. A decision that leads to the page is settled in the same transaction; nil is none.
func (s *Server) waitUnder(c echo.Context, state string, l storage.Login, w waiting, d *decision) (err error) {
	if l.Person, err = json.Marshal(w); err != nil {
		return fmt.Errorf("server: keep a login: %w", err)
	}
	browser, err := s.random()
	if err != nil {
		return err
	}
	err = s.keepFor(c, state, browser, l, w.Identity.Subject != "", func(ctx context.Context, tx storage.Tx) error {
		return s.settle(ctx, tx, d, settled{Location: s.consentPage(state), State: state, Browser: browser})
	})
	if err == nil {
		s.markSettled(c, d)
	}
	return err
}

// keep stores a pending login, and sets the cookie that ties it to the browser. There is a place for the next step of a
// login whose person is identified; another one may be refused, as [loginQuota.admit] does.
func (s *Server) keep(c echo.Context, state string, l storage.Login, identified bool) error {
	browser, err := s.random()
	if err != nil {
		return err
	}
	return s.keepFor(c, state, browser, l, identified, func(context.Context, storage.Tx) error { return nil })
}

// keepFor is keep for the browser that gets a cookie of a given value. The transaction begins with first.
func (s *Server) keepFor(c echo.Context, state, browser string, l storage.Login, identified bool, first func(context.Context, storage.Tx) error) error {
	l.State, l.Browser = sha256.Sum256([]byte(state)), sha256.Sum256([]byte(browser))
	l.CreatedAt = s.Now()
	l.ExpiresAt = l.CreatedAt.Add(s.LoginTime)
	store := func() error {
		return s.Store.Update(c.Request().Context(), func(ctx context.Context, tx storage.Tx) error {
			if err := first(ctx, tx); err != nil {
				return err
			}
			return tx.InsertLogin(ctx, l)
		})
	}
	var err error
	if identified {
		err = s.quota.keep(l.State, s.place(c), l.ExpiresAt, store)
	} else {
		place := placeOf(source(c))
		place.trusted = s.pushedByTrusted(l.Request)
		err = s.quota.admit(l.State, place, l.ExpiresAt, store)
	}
	if err != nil {
		return err
	}
	http.SetCookie(c.Response(), s.cookie(state, browser, s.LoginTime))
	return nil
}

// waitsFor finds the login of a state that waits at one of the steps, for the browser that asks; otherwise the error is [errGone]
// or [errElsewhere], for [Server.notWaiting].
func (s *Server) waitsFor(c echo.Context, state string, at ...step) (storage.Login, waiting, error) {
	l, err := s.Store.Login(c.Request().Context(), sha256.Sum256([]byte(state)))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Login{}, waiting{}, errGone
	} else if err != nil {
		return storage.Login{}, waiting{}, err
	}
	var w waiting
	if l.Person == nil {
		w.Step = stepProvider
	} else if err := json.Unmarshal(l.Person, &w); err != nil {
		return storage.Login{}, waiting{}, fmt.Errorf("server: read a kept login: %w", err)
	}
	trailOf(c).login(l, w)
	switch {
	case !slices.Contains(at, w.Step):
		return storage.Login{}, waiting{}, errGone
	case !s.sameBrowser(c, state, l):
		return storage.Login{}, waiting{}, errElsewhere
	case !s.Now().Before(l.ExpiresAt):
		return storage.Login{}, waiting{}, errGone
	}
	trailOf(c).pending = &l
	if place, ok := s.quota.place(l.State); ok {
		trailOf(c).place = &place
	}
	return l, w, nil
}

// take ends a step, and takes its cookie away. Of two that try, one gets [errGone].
func (s *Server) take(c echo.Context, state string, l storage.Login) error {
	err := s.Store.Update(c.Request().Context(), func(ctx context.Context, tx storage.Tx) error { return takeLogin(ctx, tx, l) })
	if err != nil {
		return err
	}
	s.quota.free(l.State)
	http.SetCookie(c.Response(), s.cookie(state, "", -1))
	return nil
}

// pushedByTrusted reports whether an authenticated client pushed the request of a login.
func (s *Server) pushedByTrusted(request url.Values) bool {
	client, ok := s.OAuth.Client(request.Get("client_id"))
	return ok && !client.Public() && request.Has("request_uri")
}

func takeLogin(ctx context.Context, tx storage.Tx, l storage.Login) error {
	_, err := tx.TakeLogin(ctx, l.State)
	if errors.Is(err, storage.ErrNotFound) {
		return errGone
	}
	return err
}

// cookie ties a pending login to a browser. Its name holds a tag of the state, so that logins in several tabs do not
// overwrite each other; under https the __Host- prefix keeps other hosts from planting one. It demands the path "/",
// also where the issuer has a path of its own: whoever could plant a cookie could pass her login off as another's, while
// one who serves other paths of the same host gains nothing by reading it.
func (s *Server) cookie(state, value string, life time.Duration) *http.Cookie {
	sum := sha256.Sum256([]byte("login cookie " + state))
	name := "im-login-" + base64.RawURLEncoding.EncodeToString(sum[:9])
	if s.secure {
		name = "__Host-" + name
	}
	maxAge := int(life / time.Second)
	if life < 0 {
		maxAge = -1
	}
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
}

func (s *Server) sameBrowser(c echo.Context, state string, pending storage.Login) bool {
	cookie, err := c.Cookie(s.cookie(state, "", 0).Name)
	if err != nil {
		return false
	}
	got := sha256.Sum256([]byte(cookie.Value))
	return subtle.ConstantTimeCompare(got[:], pending.Browser[:]) == 1
}

func (s *Server) random() (string, error) {
	text, err := random.Text(s.Rand, 32)
	if err != nil {
		return "", fmt.Errorf("server: %w", err)
	}
	return text, nil
}
