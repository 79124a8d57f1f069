package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/web"
)

// personActs are the acts on the user as a whole, and on their browsers.
func (s *Server) personActs() []act {
	return []act{
		{
			texts: web.ActTexts{Title: "account.privacy", Text: "account.privacy.show.text", Button: "account.privacy.show"},
			path:  "/account/privacy", field: "findable_by",
			show: func(_ echo.Context, v *visitor, p *web.Act) error {
				// The form offers the opposite of what holds now.
				if p.Value = findableBy(!v.Person.Findable); v.Person.Findable {
					p.Texts.Text, p.Texts.Button = "account.privacy.hide.text", "account.privacy.hide"
				}
				p.Hidden = true
				return nil
			},
			do: s.setMyPrivacy,
		},
		{
			texts: web.ActTexts{Title: "account.browsers", Text: "account.browsers.text", Button: "account.browsers.button"},
			path:  "/account/other-browsers",
			show:  func(echo.Context, *visitor, *web.Act) error { return nil },
			do: func(c echo.Context, v *visitor, _ string) (string, error) {
				return "/account?done=browsers_ended", s.Accounts.EndOtherBrowsers(c.Request().Context(), v.Browser)
			},
		},
		{
			texts: web.ActTexts{
				Title: "account.leave", Text: "account.leave.text", Button: "account.leave.button", Label: "account.leave.label",
				Hint: "account.leave.hint",
			},
			path: "/account/leave", fresh: true, grave: true, field: "confirm",
			show: func(echo.Context, *visitor, *web.Act) error { return nil },
			do:   s.leaveHere,
		},
	}
}

// leaveHere removes the user for ever, if they typed their handle as it is shown to them.
func (s *Server) leaveHere(c echo.Context, v *visitor, typed string) (string, error) {
	person, err := s.Accounts.Display(v.Person)
	if err != nil {
		return "", err
	}
	if strings.TrimSpace(typed) != person {
		return "", &refusedField{http.StatusBadRequest, "account.leave.fault", errNotTheirName}
	}
	if _, err := s.Accounts.Leave(c.Request().Context(), v.Owner(), v.AuthTime); err != nil {
		return "", err
	}
	http.SetCookie(c.Response(), s.browserCookie(""))
	return endPath + "?because=" + becauseLeft, nil
}

var errNotTheirName = errors.New("another name than that of the user")

// setMyPrivacy stores whether others find the user by the handle.
func (s *Server) setMyPrivacy(c echo.Context, v *visitor, by string) (string, error) {
	if by != findableByNobody && by != findableByHandle {
		return "", httpapi.Invalid("The field findable_by must be handle or nobody.")
	}
	findable := by == findableByHandle
	if _, err := s.Accounts.SetOwnFindable(c.Request().Context(), v.Owner(), findable); err != nil {
		return "", err
	}
	if findable {
		return "/account?done=findable", nil
	}
	return "/account?done=hidden", nil
}

// canRename reports whether the user may choose another handle.
func (s *Server) canRename(context.Context, *visitor) (bool, error) { return false, nil }
