package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// upstreamTime bounds all that one request asks of an OpenID provider: the answer must still be written in time.
const upstreamTime = 20 * time.Second

// authorize serves GET and POST /authorize (RFC 6749 §3.1): it checks what the app asks for, and sends the browser on
// to the person's OpenID provider.
func (s *Server) authorize(c echo.Context) error {
	params, err := s.authorizeParams(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	a, err := s.OAuth.Authorize(ctx, params)
	if err != nil {
		return s.sendBack(c, err)
	}
	provider, ok := s.Logins[a.Provider]
	if !ok {
		return fmt.Errorf("server: domain %s names the unknown OpenID provider %s", a.Domain, a.Provider)
	}
	upstream, cancel := context.WithTimeout(ctx, upstreamTime)
	defer cancel()
	start, err := provider.Begin(upstream, login.BeginParams{LoginHint: a.Hint, Prompt: a.Prompt, MaxAge: a.MaxAge})
	if err != nil {
		return s.upstreamFailed(c, err)
	}
	browser, err := s.random()
	if err != nil {
		return err
	}
	now := s.Now()
	pending := storage.Login{
		State: sha256.Sum256([]byte(start.State)), Browser: sha256.Sum256([]byte(browser)),
		Domain: a.Domain, Provider: a.Provider, Nonce: start.Nonce, Verifier: start.Verifier,
		Request: a.Request, CreatedAt: now, ExpiresAt: now.Add(s.LoginTime),
	}
	if err := s.insertLogin(ctx, pending); err != nil {
		return err
	}
	http.SetCookie(c.Response(), s.cookie(start.State, browser, s.LoginTime))
	return c.Redirect(http.StatusSeeOther, start.URL)
}

func (s *Server) authorizeParams(c echo.Context) (url.Values, error) {
	if c.Request().Method == http.MethodPost {
		return form(c)
	}
	return parameters(c.Request().URL.RawQuery)
}

// callback serves GET /login/callback/{provider}: the person comes back from her OpenID provider. Only the browser
// that began the login may end it (RFC 9700 §4.7): it holds the cookie that belongs to the state.
func (s *Server) callback(c echo.Context) error {
	ctx := c.Request().Context()
	params, err := parameters(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, err := s.Store.Login(ctx, sha256.Sum256([]byte(state)))
	provider, known := s.Logins[pending.Provider]
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return s.gone(c)
	case err != nil:
		return err
	case !known || pending.Provider != c.Param("provider") || pending.Person != nil:
		return s.gone(c)
	case !s.sameBrowser(c, state, pending):
		return s.elsewhere(c)
	case !s.Now().Before(pending.ExpiresAt):
		return s.gone(c)
	}
	upstream, cancel := context.WithTimeout(ctx, upstreamTime)
	defer cancel()
	identity, err := provider.Finish(upstream, login.Pending{
		State: state, Nonce: pending.Nonce, Verifier: pending.Verifier, AuthAfter: authAfter(pending),
	}, params)
	var refused *login.Refused
	switch {
	case errors.Is(err, login.ErrUnavailable):
		return s.upstreamFailed(c, err) // the login still waits: the person may reload
	case err != nil && !errors.As(err, &refused):
		return s.notBelieved(c, pending, err) // so it does here: of two callbacks at once, one finds its code spent
	}
	if refused == nil {
		if err := s.admit(ctx, pending, identity); err != nil {
			return err
		}
	}
	// From here on the login is over, whatever comes of it; of two that race, one goes on.
	taken := s.takeLogin(ctx, pending)
	if errors.Is(taken, storage.ErrNotFound) {
		return s.gone(c)
	} else if taken != nil {
		return taken
	}
	http.SetCookie(c.Response(), s.cookie(state, "", -1))
	if refused != nil {
		return s.refused(c, pending, refused)
	}
	return s.enter(c, pending, identity)
}

// admit refuses the login of a user who logs in too often. Of who is none yet, her address alone is counted.
func (s *Server) admit(ctx context.Context, pending storage.Login, id login.Identity) error {
	user, err := s.Store.LinkedUser(ctx, pending.Domain, id.Issuer, id.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return s.Limits.User(user)
}

func (s *Server) insertLogin(ctx context.Context, l storage.Login) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.InsertLogin(ctx, l) })
}

// takeLogin ends a pending login; of two that try, one gets [storage.ErrNotFound].
func (s *Server) takeLogin(ctx context.Context, l storage.Login) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		_, err := tx.TakeLogin(ctx, l.State)
		return err
	})
}

// authAfter is the earliest login at the provider that the app's max_age allows; zero if it set none.
func authAfter(pending storage.Login) time.Time {
	seconds, err := strconv.ParseUint(pending.Request.Get("max_age"), 10, 31)
	if err != nil {
		return time.Time{}
	}
	return pending.CreatedAt.Add(-time.Duration(seconds) * time.Second)
}

// sendBack answers a refused authorization request: at the app's own redirect URI if that is known, else as a page.
func (s *Server) sendBack(c echo.Context, err error) error {
	var refused *oauth.AuthorizeError
	if errors.As(err, &refused) && refused.Location != "" {
		return c.Redirect(http.StatusSeeOther, refused.Location)
	}
	return err
}

// notBelieved tells a person that what came from her provider does not hold.
func (s *Server) notBelieved(c echo.Context, pending storage.Login, err error) error {
	s.Log.Warn("login not believed", slog.String("id", requestID(c)), slog.String("provider", pending.Provider), slog.Any("error", err))
	return s.page(c, http.StatusBadGateway, "Your sign-in could not be verified",
		"The sign-in service gave an answer that does not hold. Nothing was changed. Go back to your app and try again; if it happens again, tell your provider.")
}

// refused tells the app what the person's provider said, as far as OAuth has a word for it.
func (s *Server) refused(c echo.Context, pending storage.Login, upstream *login.Refused) error {
	s.Log.Info("login refused", slog.String("id", requestID(c)), slog.String("provider", pending.Provider), slog.Any("error", upstream))
	code, description := oauth.CodeAccessDenied, "The person, or the sign-in service, refused."
	switch upstream.Code {
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		// OpenID Connect Core 1.0 §3.1.2.6: the app asked for prompt=none, and that was not enough.
		code, description = upstream.Code, "The sign-in service must talk to the person: ask again without prompt=none."
	case oauth.CodeTemporarilyUnavailable, oauth.CodeServerError:
		code, description = oauth.CodeTemporarilyUnavailable, "The sign-in service cannot work now."
	}
	return s.sendBack(c, s.OAuth.Refuse(pending.Request, code, description))
}

// notSignedIn tells a person why her provider's account makes no account here.
func (s *Server) notSignedIn(c echo.Context, err error) error {
	var bad *claims.Error
	switch {
	case errors.Is(err, account.ErrDisabled):
		return s.page(c, http.StatusForbidden, "Your account is disabled", "Ask your provider why, and to enable it again.")
	case errors.Is(err, account.ErrHandleTaken):
		return s.page(c, http.StatusConflict, "Your name is taken",
			"Somebody else has, or once had, the name that your sign-in service gives you. Ask your provider for another user name, then sign in again.")
	case errors.Is(err, account.ErrUserID):
		return s.page(c, http.StatusConflict, "Your account cannot be used here",
			"Your sign-in service gives you an id that is not allowed here. Nothing was changed. Tell your provider.")
	case errors.Is(err, account.ErrUserTaken):
		return s.page(c, http.StatusConflict, "Your account is somebody else's",
			"Your sign-in service gives you the id of another account. Nothing was linked or changed. Tell your provider.")
	case errors.Is(err, account.ErrNoHandle):
		return s.page(c, http.StatusConflict, "You have no name yet",
			"Your sign-in service did not say what you are called. Ask your provider to set a user name for you, then sign in again.")
	case errors.As(err, &bad):
		return s.page(c, http.StatusConflict, "Your name cannot be used here",
			"The user name that your sign-in service gives you has characters or a length that are not allowed in a handle ("+string(bad.Code)+"). Ask your provider for another one, then sign in again.")
	}
	return err
}

func (s *Server) upstreamFailed(c echo.Context, err error) error {
	s.Log.Warn("OpenID provider unavailable", slog.String("id", requestID(c)), slog.Any("error", err))
	c.Response().Header().Set("Retry-After", "5")
	return s.page(c, http.StatusServiceUnavailable, "The sign-in service cannot be reached",
		"This is not your fault, and nothing was changed. Wait a moment, then reload this page.")
}

func (s *Server) elsewhere(c echo.Context) error {
	return s.page(c, http.StatusForbidden, "This sign-in was begun elsewhere",
		"It can only be finished in the browser that it was begun in. Go back to your app and sign in again there; if you did not begin to sign in, close this page.")
}

func (s *Server) gone(c echo.Context) error {
	return s.page(c, http.StatusBadRequest, "This sign-in is over",
		"It was finished already, or took too long. Go back to your app and sign in again.")
}

func (s *Server) page(c echo.Context, status int, title, text string) error {
	return web.Show(c.Response(), web.Page{Status: status, Title: title, Text: text, RequestID: requestID(c)})
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
	var raw [32]byte
	if _, err := io.ReadFull(s.Rand, raw[:]); err != nil {
		return "", fmt.Errorf("server: read random bits: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw[:]), nil
}

// randomPair makes the state and the cookie of a login.
func (s *Server) randomPair() (state, browser string, err error) {
	if state, err = s.random(); err != nil {
		return "", "", err
	}
	browser, err = s.random()
	return state, browser, err
}
