package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
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
				Title: "account.name", Text: "account.name.text", Button: "account.name.button",
				Label: "account.name.label", Hint: "handle.rules",
			},
			path: "/account/name", fresh: true, field: "handle", show: s.showName, do: s.renameHere,
		},
		{
			texts: web.ActTexts{Title: "account.export", Text: "account.export.text", Button: "account.export.button"},
			path:  "/account/export", fresh: true,
			show: func(echo.Context, *visitor, *web.Act) error { return nil },
			do:   s.exportHere,
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

// showName fills in the page on which users choose another handle. Where they may not, there is no such page.
func (s *Server) showName(c echo.Context, v *visitor, p *web.Act) error {
	profile, err := s.Accounts.Profile(c.Request().Context(), v.Owner())
	if err != nil {
		return err
	}
	if profile.Rename != account.RenameByUser {
		return echo.ErrNotFound
	}
	if s.Systems[v.Domain] == claims.SystemWire {
		p.Texts.Hint = "handle.rules.wire"
	}
	const sample = "sample"
	shown, err := s.Accounts.Display(storage.User{Domain: v.Domain, Handle: sample})
	if err != nil {
		return err
	}
	p.Before, p.After, _ = strings.Cut(shown, sample)
	p.Value = v.Person.Handle
	return nil
}

// renameHere gives the user another handle. Its answer tells whether somebody has or had the name, so it counts as a question of its
// address about a handle.
func (s *Server) renameHere(c echo.Context, v *visitor, handle string) (string, error) {
	if err := s.Limits.lookup(c.Request().Context(), s.source(c)); err != nil {
		return "", err
	}
	_, err := s.Accounts.RenameOwn(c.Request().Context(), account.OwnRename{Owner: v.Owner(), AuthTime: v.AuthTime, Handle: handle})
	var wait *account.RenameWait
	if errors.As(err, &wait) {
		return "", &refusedField{http.StatusConflict, "account.name.wait", err}
	} else if fault := web.HandleFault(err); fault != "" {
		return "", &refusedField{http.StatusConflict, fault, err}
	}
	return "/account?done=name", err
}

// exportHere answers with a file of everything that is stored about the user. Browsers save it and stay on the page.
func (s *Server) exportHere(c echo.Context, v *visitor, _ string) (string, error) {
	e, err := s.Accounts.ExportOwn(c.Request().Context(), v.Owner(), v.AuthTime)
	if err != nil {
		return "", err
	}
	text, err := e.Claims(s.Issuer, s.Now())
	if err != nil {
		return "", err
	}
	var file bytes.Buffer
	if err := json.Indent(&file, text, "", "  "); err != nil {
		return "", err
	}
	h := c.Response().Header()
	h.Set("Content-Disposition", `attachment; filename="account.json"`)
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox") // where a browser shows it all the same
	return "", c.Blob(http.StatusOK, echo.MIMEApplicationJSON, file.Bytes())
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
