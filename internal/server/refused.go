package server

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// sendBack answers a refused authorization request: at the app's own redirect URI if that is known, else as a page.
func (s *Server) sendBack(c echo.Context, err error) error {
	var refused *oauth.AuthorizeError
	if errors.As(err, &refused) && refused.Location != "" {
		s.refusal(c, http.StatusSeeOther, refused)
		return c.Redirect(http.StatusSeeOther, refused.Location)
	}
	return err
}

// endRefused is sendBack at the end of a login, which it counts. The request is answered then: where it was pushed, it is
// spent as by a code (RFC 9126 §4).
func (s *Server) endRefused(c echo.Context, pending storage.Login, err error) error {
	if refused := (*oauth.AuthorizeError)(nil); !errors.As(err, &refused) {
		return err // nothing was decided
	}
	if pending.Request.Has("request_uri") {
		if err := s.Store.Update(c.Request().Context(), func(ctx context.Context, tx storage.Tx) error {
			return s.OAuth.Spend(ctx, tx, pending.Request)
		}); err != nil {
			return err
		}
		// Anybody can begin logins and have them refused. The record that the request is spent takes the place of the login.
		uri := sha256.Sum256([]byte(pending.Request.Get("request_uri")))
		_ = s.quota.keep(uri, s.place(c), s.Now().Add(oauth.PushedSpent), func() error { return nil })
	}
	if pending.Provider != "" { // else the person was still to choose one
		s.metrics.login(pending.Provider, loginRefused)
	}
	return s.sendBack(c, err)
}

// notBelieved tells a person that the response of their provider is not valid.
func (s *Server) notBelieved(c echo.Context, pending storage.Login, err error) error {
	s.metrics.login(pending.Provider, loginNotBelieved)
	s.Log.Warn("login not believed", slog.String("id", requestID(c)), slog.String("provider", pending.Provider),
		slog.String("client", shortened(pending.Request.Get("client_id"))), slog.Any("error", err))
	if errors.Is(err, login.ErrCodeRefused) {
		return s.page(c, http.StatusBadRequest, "This sign-in is over",
			"Your sign-in service no longer accepts it: it took too long, or was finished already. Go back to your app and sign in again.", err)
	}
	return s.page(c, http.StatusBadGateway, "Your sign-in could not be verified",
		"We could not verify the response from your sign-in service. Nothing was changed. Go back to your app and try again. If it happens again, contact support.", err)
}

// refused tells the app what the person's provider said, as far as OAuth has a word for it.
func (s *Server) refused(c echo.Context, pending storage.Login, upstream *login.Refused) error {
	s.refusal(c, http.StatusSeeOther, upstream)
	code, description := oauth.CodeAccessDenied, "The person or the sign-in service refused."
	switch upstream.Code {
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		// OpenID Connect Core 1.0 §3.1.2.6: the app asked for prompt=none, and that was not enough.
		code, description = upstream.Code, "The sign-in service must talk to the person: ask again without prompt=none."
	case oauth.CodeTemporarilyUnavailable, oauth.CodeServerError:
		code, description = oauth.CodeTemporarilyUnavailable, "The sign-in service cannot work now."
	}
	return s.endRefused(c, pending, s.OAuth.Refuse(pending.Request, code, description))
}

// notAccepted ends a login at which notSignedIn has something to tell, and counts it.
func (s *Server) notAccepted(c echo.Context, pending storage.Login, err error) error {
	answer := s.notSignedIn(c, err)
	if answer == nil && !errors.Is(err, errGone) {
		s.metrics.login(pending.Provider, loginNotAccepted)
	}
	return answer
}

// notSignedIn tells a person why their account at the provider cannot be used here.
func (s *Server) notSignedIn(c echo.Context, err error) error {
	page := func(status int, title, text string) error { return s.page(c, status, title, text, err) }
	var bad *claims.Error
	switch {
	case errors.Is(err, errGone):
		return s.notWaiting(c, err)
	case errors.Is(err, account.ErrDisabled):
		return page(http.StatusForbidden, "Your account is disabled", "Contact support to find out why, and to enable it again.")
	case errors.Is(err, account.ErrHandleTaken):
		return page(http.StatusConflict, "Your name is taken",
			"Somebody else has or had the name that your sign-in service gives you. Ask for another user name there, then sign in again.")
	case errors.Is(err, account.ErrUserID):
		return page(http.StatusConflict, "Your account cannot be used here",
			"Your sign-in service gives you an ID that is not allowed here. Nothing was changed. Contact support.")
	case errors.Is(err, account.ErrUserTaken):
		return page(http.StatusConflict, "Your account belongs to somebody else",
			"Your sign-in service gives you the ID of another account. Nothing was linked or changed. Contact support.")
	case errors.Is(err, account.ErrNoHandle):
		return page(http.StatusConflict, "You have no name yet",
			"Your sign-in service did not send a user name. Have one set there, then sign in again.")
	case errors.As(err, &bad):
		return page(http.StatusConflict, "Your name cannot be used here",
			"The user name that your sign-in service gives you has characters that are not allowed, or is too short or too long ("+string(bad.Code)+"). Ask for another one there, then sign in again.")
	}
	return err
}

func (s *Server) upstreamFailed(c echo.Context, provider string, err error) error {
	s.metrics.login(provider, loginUnavailable)
	s.Log.Warn("OpenID provider unavailable", slog.String("id", requestID(c)), slog.String("provider", provider), slog.Any("error", err))
	c.Response().Header().Set("Retry-After", "5")
	return s.page(c, http.StatusServiceUnavailable, "The sign-in service cannot be reached",
		"This is not your fault, and nothing was changed. Wait a moment, then reload this page.", err)
}

// notWaiting answers a request for a login that does not wait for it.
func (s *Server) notWaiting(c echo.Context, err error) error {
	switch {
	case errors.Is(err, errElsewhere):
		return s.page(c, http.StatusForbidden, "This sign-in was started elsewhere",
			"It can only be finished in the browser that started it. Go back to your app and sign in again. If you did not start to sign in, close this page.", err)
	case errors.Is(err, errGone):
		trailOf(c).pending = nil
		return s.page(c, http.StatusBadRequest, "This sign-in is over",
			"It was finished already, or took too long. Go back to your app and sign in again.", err)
	}
	return err
}
