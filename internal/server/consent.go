package server

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// finish ends a login whose person is known: the browser goes back to the app with a code, or, where the person must
// allow that, to the page that asks her.
func (s *Server) finish(c echo.Context, pending storage.Login, id login.Identity, user storage.User) error {
	asked, err := s.OAuth.Consent(c.Request().Context(), pending.Request, user)
	if err != nil {
		return s.sendBack(c, err)
	}
	if !asked.Needed {
		return s.grant(c, pending, id, user, false)
	}
	waits := storage.Login{Domain: pending.Domain, Provider: pending.Provider, Request: pending.Request}
	state, err := s.wait(c, waits, waiting{Step: stepConsent, Identity: id, User: user.ID})
	if err != nil {
		return err
	}
	// Not the page itself: this one has a URL of its own, and can be loaded again.
	return c.Redirect(http.StatusSeeOther, s.Issuer+"/login/consent?"+url.Values{"state": {state}}.Encode())
}

// showConsent serves GET /login/consent: the page that asks.
func (s *Server) showConsent(c echo.Context) error {
	params, err := parameters(c.Request().URL.RawQuery)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, left, err := s.waitsFor(c, state, stepConsent)
	if err != nil {
		return s.notWaiting(c, err)
	}
	user, err := s.asked(c, pending, left)
	if err != nil {
		return s.notSignedIn(c, err)
	}
	asked, err := s.OAuth.Consent(c.Request().Context(), pending.Request, user)
	if err != nil {
		return s.sendBack(c, err)
	}
	person, err := s.Accounts.Display(user)
	if err != nil {
		return err
	}
	return web.ShowConsent(c.Response(), web.Consent{
		Consent: asked, Person: person, Domain: pending.Domain,
		Action: s.path("/login/consent"), State: state, RequestID: requestID(c),
	})
}

// decide serves POST /login/consent: the person has allowed it, or not. Either counts once, and comes from the browser
// that was asked: the state is in the page alone, which no other site can read, and the cookie in the browser alone.
func (s *Server) decide(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	decision := params.Get("decision")
	if decision != "allow" && decision != "deny" {
		return invalid("The decision must be allow or deny.")
	}
	state := params.Get("state")
	pending, left, err := s.waitsFor(c, state, stepConsent)
	if err != nil {
		return s.notWaiting(c, err)
	}
	user, err := s.asked(c, pending, left)
	if err != nil {
		return s.notSignedIn(c, err)
	}
	if err := s.take(c, state, pending); err != nil {
		return s.notWaiting(c, err)
	}
	s.Log.Info("audit: consent", slog.String("id", requestID(c)), slog.String("decision", decision),
		slog.String("client", pending.Request.Get("client_id")), slog.String("domain", user.Domain), slog.String("user", user.ID))
	if decision == "deny" {
		return s.sendBack(c, s.OAuth.Refuse(pending.Request, oauth.CodeAccessDenied, "The person did not allow it."))
	}
	return s.grant(c, pending, left.Identity, user, true)
}

// asked returns the person of a login that waits for her consent, as she is now. She is the one that was asked: whose
// account has gone to somebody else, or away, meanwhile, does not decide for that one.
func (s *Server) asked(c echo.Context, pending storage.Login, left waiting) (storage.User, error) {
	user, err := s.signIn(c.Request().Context(), pending, left.Identity, "")
	switch {
	case errors.Is(err, account.ErrNoHandle), err == nil && user.ID != left.User:
		return storage.User{}, errGone
	}
	return user, err
}

// grant sends the browser back to the app with a code.
func (s *Server) grant(c echo.Context, pending storage.Login, id login.Identity, user storage.User, consented bool) error {
	location, err := s.OAuth.Finish(c.Request().Context(), pending.Request, oauth.Login{
		User: user, Consented: consented,
		Issuer: id.Issuer, UpstreamSID: id.SID, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
	})
	if err != nil {
		return s.sendBack(c, err)
	}
	return c.Redirect(http.StatusSeeOther, location)
}
