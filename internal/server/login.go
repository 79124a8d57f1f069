package server

import (
	"context"
	"errors"
	"fmt"
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
// to the person's OpenID provider, or asks her which one that is.
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
	err = s.keep(c, start.State, storage.Login{
		Domain: a.Domain, Provider: a.Provider, Nonce: start.Nonce, Verifier: start.Verifier, Request: a.Request,
	}, false)
	if err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, start.URL)
}

// callback serves GET /login/callback/{provider}: the person comes back from her OpenID provider. Only the browser
// that began the login may end it (RFC 9700 §4.7): it holds the cookie that belongs to the state. And only at the
// provider that it was begun at: each has a path of its own (RFC 9700 §4.4.2.2).
func (s *Server) callback(c echo.Context) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, _, err := s.waitsFor(c, state, stepProvider)
	if err != nil {
		return s.notWaiting(c, err)
	}
	provider, known := s.Logins[pending.Provider]
	if !known || pending.Provider != c.Param("provider") {
		return s.notWaiting(c, errGone)
	}
	upstream, cancel := context.WithTimeout(c.Request().Context(), upstreamTime)
	defer cancel()
	identity, err := provider.Finish(upstream, login.Pending{
		State: state, Nonce: pending.Nonce, Verifier: pending.Verifier, AuthAfter: authAfter(pending),
	}, params)
	var refused *login.Refused
	switch {
	case errors.Is(err, login.ErrUnavailable):
		return s.upstreamFailed(c, pending.Provider, err) // the login still waits: the person may reload
	case err != nil && !errors.As(err, &refused):
		return s.notBelieved(c, pending, err) // so it does here: of two callbacks at once, one finds its code spent
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

// admit refuses the login of a user who logs in too often. Of who is none yet, her address alone is counted.
func (s *Server) admit(ctx context.Context, pending storage.Login, id login.Identity) error {
	user, err := s.Store.LinkedUser(ctx, pending.Domain, id.Issuer, id.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return s.Limits.User(user, pending.Request.Get("client_id"))
}

// authAfter is the earliest login at the provider that the app's max_age allows; zero if it set none.
func authAfter(pending storage.Login) time.Time {
	seconds, err := strconv.ParseUint(pending.Request.Get("max_age"), 10, 31)
	if err != nil {
		return time.Time{}
	}
	return pending.CreatedAt.Add(-time.Duration(seconds) * time.Second)
}
