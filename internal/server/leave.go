package server

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/web"
)

// cancelLogin serves POST /login/cancel: the person goes back to the app, which is told access_denied.
func (s *Server) cancelLogin(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	state := params.Get("state")
	const made = "\x00cancel" // no handle
	pending, _, err := s.waitsFor(c, state, stepChoose, stepHandle)
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	} else if err != nil {
		return s.notWaiting(c, err)
	}
	err = s.endDecided(c, pending, &decision{state: state, made: made, login: pending},
		s.OAuth.Refuse(pending.Request, oauth.CodeAccessDenied, "The person cancelled the sign-in."))
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	}
	return err
}

// useAnother serves POST /login/another: the person is not the one who is signed in at the OpenID provider, and goes there
// to sign in anew. The login that the page belongs to goes on waiting: the person may come back to it.
func (s *Server) useAnother(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	pending, _, err := s.waitsFor(c, params.Get("state"), stepHandle, stepConsent)
	if err != nil {
		return s.notWaiting(c, err)
	}
	a, err := s.OAuth.Choose(c.Request().Context(), pending.Request, "", "")
	if err != nil {
		return s.sendBack(c, err)
	}
	a.Hint, a.Prompt = "", "login" // OpenID Connect Core 1.0 §3.1.2.1. Fewer providers know select_account.
	return s.begin(c, a)
}

// issuerOf is the URL of an OpenID provider; empty if it is not known any more.
func (s *Server) issuerOf(provider string) string {
	if p, ok := s.Logins[provider]; ok {
		return p.Issuer()
	}
	return ""
}

// home serves GET /: somebody looks what is here.
func (s *Server) home(c echo.Context) error {
	name := s.Service.Name
	if name == "" {
		name = "This"
	}
	page := web.Page{
		Status: http.StatusOK, Title: "Sign-in service",
		Text: name + " is the sign-in service of your messaging apps. There is nothing to do here: an app brings you here when you sign in.",
	}
	if err := s.showPage(c, page); err != nil {
		s.Log.Debug("page not written", slog.String("id", requestID(c)), slog.Any("error", err))
	}
	return nil
}
