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
	"github.com/imidentity/issuer/web"
)

// sendBack answers a refused authorization request: at the app's own redirect URI if that is known, else as a page.
func (s *Server) sendBack(c echo.Context, err error) error {
	var refused *oauth.AuthorizeError
	if errors.As(err, &refused) && refused.Location != "" {
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
		_ = s.quota.keep(uri, quotaHolder{network: network(source(c))}, s.Now().Add(oauth.PushedSpent), func() error { return nil })
	}
	if pending.Provider != "" { // else the person was still to choose one
		s.metrics.login(pending.Provider, loginRefused)
	}
	return s.sendBack(c, err)
}

// notBelieved tells a person that what came from her provider does not hold.
func (s *Server) notBelieved(c echo.Context, pending storage.Login, err error) error {
	s.metrics.login(pending.Provider, loginNotBelieved)
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

// notSignedIn tells a person why her provider's account makes no account here.
func (s *Server) notSignedIn(c echo.Context, err error) error {
	var bad *claims.Error
	switch {
	case errors.Is(err, errGone):
		return s.notWaiting(c, err)
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

func (s *Server) upstreamFailed(c echo.Context, provider string, err error) error {
	s.metrics.login(provider, loginUnavailable)
	s.Log.Warn("OpenID provider unavailable", slog.String("id", requestID(c)), slog.Any("error", err))
	c.Response().Header().Set("Retry-After", "5")
	return s.page(c, http.StatusServiceUnavailable, "The sign-in service cannot be reached",
		"This is not your fault, and nothing was changed. Wait a moment, then reload this page.")
}

// notWaiting answers a request for a login that does not wait for it.
func (s *Server) notWaiting(c echo.Context, err error) error {
	switch {
	case errors.Is(err, errElsewhere):
		return s.page(c, http.StatusForbidden, "This sign-in was begun elsewhere",
			"It can only be finished in the browser that it was begun in. Go back to your app and sign in again there; if you did not begin to sign in, close this page.")
	case errors.Is(err, errGone):
		return s.page(c, http.StatusBadRequest, "This sign-in is over",
			"It was finished already, or took too long. Go back to your app and sign in again.")
	}
	return err
}

func (s *Server) page(c echo.Context, status int, title, text string) error {
	return web.Show(c.Response(), web.Page{Status: status, Title: title, Text: text, Service: s.Service, RequestID: requestID(c)})
}
