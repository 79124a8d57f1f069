package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/signin"
)

// words are the text of a page that says why a login does not go on.
type words struct {
	status      int
	title, text string
}

var endings = map[signin.Reason]words{
	signin.Over: {http.StatusBadRequest, "This sign-in is over",
		"It was finished already, or took too long. Go back to your app and sign in again."},
	signin.Elsewhere: {http.StatusForbidden, "This sign-in was started elsewhere",
		"It can only be finished in the browser that started it. Go back to your app and sign in again. " +
			"If you did not start to sign in, close this page."},
	signin.ProviderDown: {http.StatusServiceUnavailable, "The sign-in service cannot be reached",
		"This is not your fault, and nothing was changed. Wait a moment, then reload this page."},
	signin.CodeRefused: {http.StatusBadRequest, "This sign-in is over",
		"Your sign-in service no longer accepts it: it took too long, or was finished already. Go back to your app and sign in again."},
	signin.ResponseInvalid: {http.StatusBadGateway, "Your sign-in could not be verified",
		"We could not verify the response from your sign-in service. Nothing was changed. Go back to your app and try again. " +
			"If it happens again, contact support."},
	signin.UserDisabled: {http.StatusForbidden, "Your account is disabled",
		"Contact support to find out why, and to enable it again."},
	signin.HandleTaken: {http.StatusConflict, "Your name is taken",
		"Somebody else has or had the name that your sign-in service gives you. Ask for another user name there, then sign in again."},
	signin.HandleMissing: {http.StatusConflict, "You have no name yet",
		"Your sign-in service did not send a user name. Have one set there, then sign in again."},
	signin.HandleInvalid: {http.StatusConflict, "Your name cannot be used here",
		"The user name that your sign-in service gives you has characters that are not allowed, or is too short or too long (%s). " +
			"Ask for another one there, then sign in again."},
	signin.UserIDInvalid: {http.StatusConflict, "Your account cannot be used here",
		"Your sign-in service gives you an ID that is not allowed here. Nothing was changed. Contact support."},
	signin.UserIDTaken: {http.StatusConflict, "Your account belongs to somebody else",
		"Your sign-in service gives you the ID of another account. Nothing was linked or changed. Contact support."},
}

// showEnd shows the page that says why a login does not go on.
func (s *Server) showEnd(c echo.Context, p signin.Page) error {
	w, ok := endings[p.Reason]
	if !ok {
		return fmt.Errorf("server: no words for reason %d: %w", p.Reason, p.Err)
	}
	switch p.Reason {
	case signin.ProviderDown:
		c.Response().Header().Set("Retry-After", "5")
		s.Log.Warn("OpenID provider unavailable", slog.String("id", requestID(c)),
			slog.String("provider", p.Facts.Provider), slog.Any("error", p.Err))
	case signin.ResponseInvalid, signin.CodeRefused:
		s.Log.Warn("login not believed", slog.String("id", requestID(c)), slog.String("provider", p.Facts.Provider),
			slog.String("client", shortened(p.Facts.Request.Get("client_id"))), slog.Any("error", p.Err))
	case signin.HandleInvalid:
		var bad *claims.Error
		if errors.As(p.Err, &bad) {
			w.text = fmt.Sprintf(w.text, bad.Code)
		}
	}
	return s.page(c, w.status, w.title, w.text, p.Err)
}
