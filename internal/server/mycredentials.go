package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/web"
)

// listCredentials serves GET /me/credentials?limit=N&cursor=C: a page of the credentials of the user's devices that have not expired. The
// Link header has the next page, if there is one.
func (s *Server) listCredentials(c echo.Context, who statements.Holder) error {
	return ownPage(s, c, "/me/credentials", who, s.Accounts.OwnCredentials, s.ownCredential,
		func(v *account.OwnCredential) string { return v.ID })
}

// ownCredential returns a credential as its user sees it.
func (s *Server) ownCredential(v *account.OwnCredential) api.OwnCredential {
	return api.OwnCredential{
		ID: v.ID, Device: v.DeviceURI, Format: v.Format, Handle: v.HandleURI, JKT: v.JKT,
		Issued: day(v.IssuedAt), Expires: day(v.ExpiresAt), Ended: day(v.EndedAt), State: string(account.StateOf(v.Credential)),
	}
}

// endCredential serves DELETE /me/credentials/{id}: a user ends a credential of one of their devices. Ending it again changes nothing.
func (s *Server) endCredential(c echo.Context, who statements.Holder) error {
	if err := s.Accounts.EndOwnCredential(c.Request().Context(), ownerOf(who), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// credentialAct is the act that ends a credential.
func (s *Server) credentialAct() act {
	return act{
		texts: web.ActTexts{
			Title: "account.credential.end.title", Text: "account.credential.end.text", Button: "account.credential.end.button",
		},
		path: "/account/credentials/{id}/end",
		show: s.showCredential,
		do: func(c echo.Context, v *visitor, _ string) (string, error) {
			return "/account?done=credential_ended", s.Accounts.EndOwnCredential(c.Request().Context(), v.Owner(), c.Param("id"))
		},
	}
}

// showCredential fills in the page that asks whether to end a credential, with its device.
func (s *Server) showCredential(c echo.Context, v *visitor, p *web.Act) error {
	credential, err := s.Accounts.OwnCredential(c.Request().Context(), v.Owner(), c.Param("id"))
	if err != nil {
		return err
	}
	d, err := s.Accounts.OwnDevice(c.Request().Context(), v.Owner(), credential.Device)
	if err != nil {
		return err
	}
	device, shown := s.webDevice(d.OwnDevice), s.webCredential(credential)
	p.Device, p.Credential = &device, &shown
	return nil
}

// webCredential returns a credential as pages show it.
func (s *Server) webCredential(v account.OwnCredential) web.AccountCredential {
	shown := web.AccountCredential{
		Format: v.Format, Since: v.IssuedAt, Until: v.ExpiresAt, Ended: v.EndedAt, FormerName: !v.HandleEndedAt.IsZero(),
	}
	if v.EndedAt.IsZero() {
		shown.End = s.path("/account/credentials/" + v.ID + "/end")
	}
	return shown
}
