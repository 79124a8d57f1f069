package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// upstreamTime bounds all that one request asks of an OpenID provider: the answer must still be written in time.
const upstreamTime = 20 * time.Second

// authorize serves GET and POST /authorize (RFC 6749 §3.1): it checks what the app asks for, and sends the browser on
// to the person's OpenID provider, or asks the person to choose one.
func (s *Server) authorize(c echo.Context) error {
	params, err := s.authorizeParams(c)
	if err != nil {
		return err
	}
	a, err := s.OAuth.Authorize(c.Request().Context(), params)
	if err != nil {
		return s.sendBack(c, err)
	}
	if a.Provider == "" {
		return s.askWhere(c, a)
	}
	return s.begin(c, a)
}

func (s *Server) authorizeParams(c echo.Context) (url.Values, error) {
	if c.Request().Method == http.MethodPost {
		return form(c)
	}
	return query(c)
}

// begin sends the browser to the OpenID provider.
func (s *Server) begin(c echo.Context, a *oauth.Authorization) error {
	return s.beginInPlaceOf(c, a, nil)
}

// beginInPlaceOf is begin for a login that takes the place of another, which end ends as soon as the provider is known to
// be there. Nil means that it is a login of its own, for which there must be room.
func (s *Server) beginInPlaceOf(c echo.Context, a *oauth.Authorization, end func() error) error {
	provider, ok := s.Logins[a.Provider]
	if !ok {
		return fmt.Errorf("server: domain %s names the unknown OpenID provider %s", a.Domain, a.Provider)
	}
	upstream, cancel := context.WithTimeout(c.Request().Context(), upstreamTime)
	defer cancel()
	start, err := provider.Begin(upstream, login.BeginParams{LoginHint: a.Hint, Prompt: a.Prompt, MaxAge: a.MaxAge})
	if err != nil {
		return s.upstreamFailed(c, a.Provider, err)
	}
	if end != nil {
		if err := end(); err != nil {
			return s.notWaiting(c, err)
		}
	}
	err = s.keep(c, start.State, storage.Login{
		Domain: a.Domain, Provider: a.Provider, Nonce: start.Nonce, Verifier: start.Verifier, Request: a.Request,
	}, end != nil)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, start.URL)
}

// callback serves GET /login/callback/{provider}: the person comes back from their OpenID provider. Only the browser
// that began the login may finish it (RFC 9700 §4.7): it has the cookie that belongs to the state. The provider must be
// the one at which the login began: each has a path of its own (RFC 9700 §4.4.2.2).
func (s *Server) callback(c echo.Context) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, w, err := s.waitsFor(c, state, stepProvider, stepAgain)
	if err != nil {
		return s.notWaiting(c, err)
	}
	provider, known := s.Logins[pending.Provider]
	if !known || pending.Provider != c.Param("provider") {
		return s.notWaiting(c, errGone)
	}
	if w.Step == stepAgain {
		return s.beginAgain(c, state, pending)
	}
	upstream, cancel := context.WithTimeout(c.Request().Context(), upstreamTime)
	defer cancel()
	identity, err := provider.Finish(upstream, login.Pending{
		State: state, Nonce: pending.Nonce, Verifier: pending.Verifier, AuthAfter: authAfter(pending),
	}, params)
	var refused *login.Refused
	switch {
	case errors.Is(err, login.ErrCodeSent):
		if again := s.needsAgain(c, pending); again != nil {
			return s.notWaiting(c, again)
		}
		return s.upstreamFailed(c, pending.Provider, err) // when the person reloads, the login begins again
	case errors.Is(err, login.ErrUnavailable):
		return s.upstreamFailed(c, pending.Provider, err) // the login still waits: the person may reload
	case err != nil && !errors.As(err, &refused):
		return s.notBelieved(c, pending, err) // so it does here: of two callbacks at once, one finds its code spent
	}
	if len(identity.Ignored) > 0 {
		s.Log.Info("claims of the OpenID provider ignored: not of the type that OpenID Connect gives them", slog.String("id", requestID(c)),
			slog.String("provider", pending.Provider), slog.Any("claims", identity.Ignored))
	}
	if refused == nil {
		if err := s.admit(c.Request().Context(), pending, identity); err != nil {
			return err
		}
	}
	// From here on the login is over, whatever comes of it; of two that race, one goes on.
	if err := s.take(c, state, pending); err != nil {
		return s.notWaiting(c, err)
	}
	if refused != nil {
		return s.refused(c, pending, refused)
	}
	return s.enter(c, pending, identity)
}

// admit refuses the login of a user who logs in too often. For a person without an account, only the address is counted.
func (s *Server) admit(ctx context.Context, pending storage.Login, id login.Identity) error {
	user, err := s.Store.LinkedUser(ctx, pending.Domain, id.Issuer, id.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return s.Limits.User(user, pending.Request.Get("client_id"))
}

// authAfter is the earliest login at the provider that the app's prompt and max_age allow; zero if they allow any.
func authAfter(pending storage.Login) time.Time {
	wanted := login.BeginParams{Prompt: pending.Request.Get("prompt")}
	if seconds, err := strconv.ParseUint(pending.Request.Get("max_age"), 10, 31); err == nil {
		age := time.Duration(seconds) * time.Second
		wanted.MaxAge = &age
	}
	return wanted.AuthAfter(pending.CreatedAt)
}

// needsAgain marks a login whose code was sent to a provider that then failed. The code must not be sent again (RFC 6749
// §4.1.2), so the next request for this login goes through [Server.beginAgain]. If the login has ended meanwhile, the error
// is [errGone].
func (s *Server) needsAgain(c echo.Context, l storage.Login) (err error) {
	if l.Person, err = json.Marshal(waiting{Step: stepAgain}); err != nil {
		return fmt.Errorf("server: keep a login: %w", err)
	}
	// The person may have hung up, tired of waiting; the code is sent all the same.
	ctx := context.WithoutCancel(c.Request().Context())
	return s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := takeLogin(ctx, tx, l); err != nil {
			return err
		}
		return tx.InsertLogin(ctx, l)
	})
}

// beginAgain sends the browser to the OpenID provider once more, for the same request of the app. The provider usually
// remembers the person, who then notices nothing.
func (s *Server) beginAgain(c echo.Context, state string, pending storage.Login) error {
	a, err := s.OAuth.Choose(c.Request().Context(), pending.Request, pending.Domain, pending.Provider)
	if err != nil {
		return s.sendBack(c, err)
	}
	return s.beginInPlaceOf(c, a, func() error { return s.take(c, state, pending) })
}
