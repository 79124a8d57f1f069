package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// finish ends a login whose person is known: the browser goes back to the app with a code or, where the person must allow
// that, to the page that asks. If a decision of the person led here, it is settled; d may be nil.
func (s *Server) finish(c echo.Context, pending storage.Login, id login.Identity, user storage.User, d *decision) error {
	trailOf(c).person(user)
	asked, err := s.OAuth.Consent(c.Request().Context(), pending.Request, user)
	if err != nil {
		return s.endDecided(c, pending, d, err)
	}
	if !asked.Needed {
		location, err := s.OAuth.Finish(c.Request().Context(), pending.Request, s.loginOf(id, user, d))
		if err != nil {
			return s.endDecided(c, pending, d, err)
		}
		s.markSettled(c, d)
		s.quota.leave(pending)
		s.metrics.login(pending.Provider, loginDone)
		return c.Redirect(http.StatusSeeOther, location)
	}
	waits := storage.Login{Domain: pending.Domain, Provider: pending.Provider, Request: pending.Request}
	state, err := s.random()
	if err != nil {
		return err
	}
	if err := s.waitUnder(c, state, waits, waiting{Step: stepConsent, Identity: id, User: user.ID}, d); err != nil {
		return err
	}
	// Not the page itself: this one has a URL of its own, and can be loaded again.
	return c.Redirect(http.StatusSeeOther, s.consentPage(state))
}

// endDecided is endRefused for a login that ends by a decision; d may be nil.
func (s *Server) endDecided(c echo.Context, pending storage.Login, d *decision, answer error) error {
	if err := s.settleRefused(c, d, answer); err != nil {
		return err
	}
	return s.endRefused(c, pending, answer)
}

// showConsent serves GET /login/consent: the page that asks.
func (s *Server) showConsent(c echo.Context) error {
	params, err := query(c)
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
		Action: s.path("/login/consent"), Provider: s.issuerOf(pending.Provider), Another: s.path("/login/another"), State: state, Service: s.Service, RequestID: requestID(c),
	})
}

// decide serves POST /login/consent: the person has allowed it, or not. It comes from the browser that was asked, and
// from its page: no other site knows the state, and no other browser has the cookie.
func (s *Server) decide(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	made := params.Get("decision")
	if made != "allow" && made != "deny" {
		return invalid("The decision must be allow or deny.")
	}
	state := params.Get("state")
	pending, left, err := s.waitsFor(c, state, stepConsent)
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	} else if err != nil {
		return s.notWaiting(c, err)
	}
	user, err := s.asked(c, pending, left)
	if err != nil {
		return s.notAccepted(c, pending, err)
	}
	d := &decision{state: state, made: made, login: pending}
	answer := s.OAuth.Refuse(pending.Request, oauth.CodeAccessDenied, "The person did not allow it.")
	if made == "allow" {
		l := s.loginOf(left.Identity, user, d)
		l.Consented = true
		var location string
		if location, answer = s.OAuth.Finish(c.Request().Context(), pending.Request, l); answer == nil {
			s.markSettled(c, d)
			s.audit(c, "consent given", pending, user)
			s.quota.leave(pending)
			s.metrics.login(pending.Provider, loginDone)
			return c.Redirect(http.StatusSeeOther, location)
		}
	}
	err = s.endDecided(c, pending, d, answer)
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	}
	if err == nil && made == "deny" {
		s.audit(c, "consent denied", pending, user)
	}
	return err
}

func (s *Server) audit(c echo.Context, what string, pending storage.Login, user storage.User) {
	s.Log.Info("audit: "+what, slog.String("id", requestID(c)), slog.String("client", pending.Request.Get("client_id")),
		slog.String("domain", user.Domain), slog.String("user", user.ID))
}

// asked returns the person of a login that waits for her consent, as she is now. She is the one that was asked: whose
// account has gone to somebody else, or away, meanwhile, does not decide for that one.
func (s *Server) asked(c echo.Context, pending storage.Login, left waiting) (storage.User, error) {
	user, err := s.signIn(c.Request().Context(), pending, left.Identity, "")
	trailOf(c).person(user)
	switch {
	case errors.Is(err, account.ErrNoHandle), err == nil && user.ID != left.User:
		return storage.User{}, errGone
	}
	return user, err
}

// loginOf is what an authorization code is made of. The transaction that makes the code settles d, which may be nil: the
// decision counts once, and after a failure it can be sent again.
func (s *Server) loginOf(id login.Identity, user storage.User, d *decision) oauth.Login {
	return oauth.Login{
		User: user, Issuer: id.Issuer, UpstreamSID: id.SID, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
		With: func(ctx context.Context, tx storage.Tx, location string) error {
			return s.settle(ctx, tx, d, settled{Location: location})
		},
	}
}
