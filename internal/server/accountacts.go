package server

import (
	"errors"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/web"
)

// An act is something that visitors do to their account. It has a page that asks for it, and the form of that page.
type act struct {
	texts web.ActTexts
	path  string // of its routes
	// fresh says that the act is dangerous: the user must have signed in a short time ago. grave says that it cannot be undone.
	fresh, grave bool
	// field is the field of the form, beside the token; empty if it has none.
	field string
	// show fills in the page. It refuses an act that the visitor cannot do.
	show func(c echo.Context, v *visitor, p *web.Act) error
	// do does it with the value of the field, after show. It returns the path that the browser goes on to; empty if it has answered
	// itself. A *[refusedField] shows the page again.
	do func(c echo.Context, v *visitor, value string) (next string, err error)
}

// A refusedField is the error of an act for the value of its field.
type refusedField struct {
	status int
	fault  web.Key // says what is wrong and what to do
	err    error   // for the log
}

func (e *refusedField) Error() string { return "server: form of the account: " + e.err.Error() }
func (e *refusedField) Unwrap() error { return e.err }

// acts are all of them.
func (s *Server) acts() []act {
	return slices.Concat(s.deviceActs(), []act{s.credentialAct()}, s.partyActs(), s.personActs())
}

// ask serves GET of an act: the page that asks for it.
func (s *Server) ask(a act) func(echo.Context, *visitor) error {
	return func(c echo.Context, v *visitor) error {
		page, err := s.actPage(c, v, a)
		if err != nil {
			return err
		}
		if a.fresh && !s.fresh(v) {
			return s.signInHere(c, s.ownPath(c), v)
		}
		return web.ShowAct(c.Response(), http.StatusOK, page, s.frame(c))
	}
}

// perform serves POST of an act: the form of the page.
func (s *Server) perform(a act) func(echo.Context, *visitor) error {
	return func(c echo.Context, v *visitor) error {
		params, err := s.posted(c, v, a.field)
		if err != nil {
			return err
		}
		page, err := s.actPage(c, v, a)
		if err != nil {
			return err
		}
		if a.fresh && !s.fresh(v) {
			return s.signInHere(c, s.ownPath(c), v)
		}
		value := params.Get(a.field)
		next, err := a.do(c, v, value)
		var refused *refusedField
		switch {
		case errors.As(err, &refused):
			s.refusal(c, refused.status, err)
			page.Value, page.Fault = value, refused.fault
			return web.ShowAct(c.Response(), refused.status, page, s.frame(c))
		case errors.Is(err, account.ErrLoginAge): // a moment ago it was fresh
			return s.signInHere(c, s.ownPath(c), v)
		case err != nil || next == "":
			return err
		}
		return c.Redirect(http.StatusSeeOther, s.path(next))
	}
}

// actPage returns the page of an act.
func (s *Server) actPage(c echo.Context, v *visitor, a act) (web.Act, error) {
	person, err := s.Accounts.Display(v.Person)
	if err != nil {
		return web.Act{}, err
	}
	page := web.Act{
		Texts: a.texts, Person: person, Field: a.field, Grave: a.grave,
		Action: s.path(c.Request().URL.EscapedPath()), Back: s.path("/account"), CSRF: v.csrf(),
	}
	return page, a.show(c, v, &page)
}
