package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// accountRoutes is the table of the pages where users manage their own account.
func (s *Server) accountRoutes() []route {
	return []route{
		{http.MethodGet, "/account", s.visited(s.showAccount), ownOrigin, eachRequest},
		{http.MethodGet, endPath, s.showSignedOut, ownOrigin, eachRequest},
		{http.MethodPost, "/account/sign-out", s.signOut, ownOrigin, eachRequest},
	}
}

// endPath is the page for a browser that is not signed in any more, or did not sign in.
const endPath = "/account/signed-out"

// signOut serves POST /account/sign-out: the session of this browser ends. That of the OpenID provider goes on.
func (s *Server) signOut(c echo.Context) error {
	s.guard(c)
	v, err := s.visitor(c)
	if err == nil {
		if _, err = s.posted(c, v); err == nil {
			err = s.Accounts.EndBrowser(c.Request().Context(), v.Browser)
		}
	}
	if err != nil && !errors.Is(err, account.ErrNoBrowser) {
		return err
	}
	http.SetCookie(c.Response(), s.browserCookie(""))
	return c.Redirect(http.StatusSeeOther, s.path(endPath))
}

// The pages that a browser can go on to from [endPath].
var entrances = []string{"/account", "/device"}

// showSignedOut serves GET /account/signed-out?to=/account&because=cancelled.
func (s *Server) showSignedOut(c echo.Context) error {
	s.guard(c)
	params, err := query(c)
	if err != nil {
		return err
	}
	to := entrances[0]
	for _, path := range entrances {
		if params.Get("to") == path {
			to = path
		}
	}
	page := web.SignedOut{Next: s.path(to)}
	switch params.Get("because") {
	case signin.BecauseCancelled, signin.BecauseUnavailable, signin.BecauseChanged:
		page.Because = params.Get("because")
	}
	return web.ShowSignedOut(c.Response(), page, s.frame(c))
}

// showAccount serves GET /account.
func (s *Server) showAccount(c echo.Context, v *visitor) error {
	person, err := s.Accounts.Display(v.Person)
	if err != nil {
		return err
	}
	page := web.Account{Person: person, SignOut: s.path("/account/sign-out"), CSRF: v.csrf()}
	return web.ShowAccount(c.Response(), page, s.frame(c))
}

// frame returns the values that the pages of the account have in common.
func (s *Server) frame(c echo.Context) web.Frame {
	return web.Frame{Language: language(c), Service: s.service(), RequestID: requestID(c)}
}
