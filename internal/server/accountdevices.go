package server

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/web"
)

// deviceActs are the acts on devices and on sessions.
func (s *Server) deviceActs() []act {
	return []act{
		{
			texts: web.ActTexts{
				Title: "account.device", Text: "account.device.text", Button: "account.device.rename",
				Label: "account.device.label", Hint: "account.device.hint",
			},
			path: "/account/devices/{id}", field: "name",
			show: func(c echo.Context, v *visitor, p *web.Act) error {
				p.Remove = s.path("/account/devices/" + c.Param("id") + "/remove")
				return s.showDevice(c, v, p)
			},
			do: func(c echo.Context, v *visitor, name string) (string, error) {
				_, err := s.Accounts.RenameDevice(c.Request().Context(), v.Owner(), c.Param("id"), name)
				if errors.Is(err, account.ErrDeviceName) {
					err = &refusedField{http.StatusBadRequest, "account.device.fault", err}
				}
				return "/account?done=renamed", err
			},
		},
		{
			texts: web.ActTexts{Title: "account.remove", Text: "account.remove.text", Button: "account.remove.button"},
			path:  "/account/devices/{id}/remove", fresh: true, grave: true, show: s.showDevice,
			do: func(c echo.Context, v *visitor, _ string) (string, error) {
				_, err := s.Accounts.RemoveOwnDevice(c.Request().Context(), v.Owner(), c.Param("id"), reasonUser)
				return "/account?done=removed", err
			},
		},
		{
			texts: web.ActTexts{Title: "account.remove_all", Text: "account.remove_all.text", Button: "account.remove_all.button"},
			path:  "/account/remove-devices", fresh: true, grave: true,
			show: func(echo.Context, *visitor, *web.Act) error { return nil },
			do:   s.removeAllDevices,
		},
		{
			texts: web.ActTexts{
				Title: "account.session.end.title", Text: "account.session.end.text", Button: "account.session.end.button",
			},
			path: "/account/sessions/{id}/end",
			show: s.showSession,
			do: func(c echo.Context, v *visitor, _ string) (string, error) {
				return "/account?done=session_ended", s.Accounts.EndOwnSession(c.Request().Context(), v.Owner(), c.Param("id"))
			},
		},
	}
}

// showDevice fills in a page about a device of the visitor.
func (s *Server) showDevice(c echo.Context, v *visitor, p *web.Act) error {
	d, err := s.Accounts.OwnDevice(c.Request().Context(), v.Owner(), c.Param("id"))
	if err != nil {
		return err
	}
	shown := s.webDevice(d.OwnDevice)
	shown.Key = d.Alg
	shown.App = s.appName(d.Client)
	for _, g := range d.Sessions {
		shown.Sessions = append(shown.Sessions, web.AccountSession{
			App: s.appName(g.Client), Since: g.CreatedAt, End: s.path("/account/sessions/" + g.ID + "/end"),
		})
	}
	for _, credential := range d.Credentials {
		shown.Credentials = append(shown.Credentials, s.webCredential(credential))
	}
	p.Device, p.Value = &shown, d.Name
	return nil
}

// appName returns the name of a client for people; its id if it is no longer registered.
func (s *Server) appName(id string) string {
	if client, ok := s.Registry.Client(id); ok {
		return client.Title()
	}
	return id
}

// showSession fills in the page that asks whether to end a session, with its app and its device.
func (s *Server) showSession(c echo.Context, v *visitor, p *web.Act) error {
	g, err := s.Accounts.OwnSession(c.Request().Context(), v.Owner(), c.Param("id"))
	if err != nil {
		return err
	}
	p.Party = &web.AccountParty{Name: s.appName(g.Client), Kind: "account.device.sessions", Until: g.ExpiresAt}
	return nil
}

// removeAllDevices removes all devices of the visitor, whose browser is none of them.
func (s *Server) removeAllDevices(c echo.Context, v *visitor, _ string) (string, error) {
	for more := true; more; {
		var err error
		if _, more, err = s.Accounts.RemoveOtherDevices(c.Request().Context(), v.Owner(), reasonUser); err != nil {
			return "", err
		}
	}
	return "/account?done=all_removed", nil
}

// partyActs are the acts on statements: each kind that users make can be withdrawn.
func (s *Server) partyActs() (list []act) {
	for _, k := range statementKinds {
		list = append(list, act{
			texts: web.ActTexts{Title: "account.withdraw", Text: "account.withdraw.text", Button: "account.withdraw.button"},
			path:  "/account/" + k.path + "/{id}/withdraw",
			show: func(c echo.Context, v *visitor, p *web.Act) error {
				statement, err := s.Statements.OwnStatement(c.Request().Context(), holderOf(v), k.typ, c.Param("id"))
				if err != nil {
					return err
				}
				party := s.webParty(statement)
				p.Party = &party
				if k.typ == nested.TypeDelegation {
					p.Texts.Text = "account.withdraw.delegation"
				}
				return nil
			},
			do: func(c echo.Context, v *visitor, _ string) (string, error) {
				return "/account?done=withdrawn", s.Statements.Withdraw(c.Request().Context(), holderOf(v), k.typ, c.Param("id"))
			},
		})
	}
	return list
}
