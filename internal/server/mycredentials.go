package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
	"github.com/imidentity/issuer/web"
)

// credentialHolder serves users with a token for their own account, and devices with a token for credentials. With the second alone, whole
// is false: the request is about the credentials of the device of the session, and about no others.
func (s *Server) credentialHolder(serve func(c echo.Context, who statements.Holder, whole bool) error) echo.HandlerFunc {
	return func(c echo.Context) error {
		holder, err := s.admit(c, s.self, oauth.ScopeAccount, oauth.ScopeCredential)
		if err != nil {
			return err
		}
		who, err := personOf(holder)
		if err != nil {
			return err
		}
		return serve(c, who, slices.Contains(strings.Fields(holder.Scope), oauth.ScopeAccount))
	}
}

// listCredentials serves GET /me/credentials?limit=N&cursor=C: a page of the credentials of the user's devices, or of one, that have not
// expired. The Link header has the next page, if there is one.
func (s *Server) listCredentials(c echo.Context, who statements.Holder, whole bool) error {
	read := s.Accounts.DeviceCredentials
	if whole {
		read = s.Accounts.OwnCredentials
	}
	return ownPage(s, c, "/me/credentials", who, read, s.ownCredential, func(v *account.OwnCredential) string { return v.ID })
}

// ownCredential returns a credential as its user sees it.
func (s *Server) ownCredential(v *account.OwnCredential) api.OwnCredential {
	return api.OwnCredential{
		ID: v.ID, Device: v.DeviceURI, Format: v.Format, Handle: v.HandleURI, JKT: v.JKT,
		Issued: day(v.IssuedAt), Expires: day(v.ExpiresAt), Ended: day(v.EndedAt), State: string(account.StateOf(v.Credential)),
	}
}

// endCredential serves DELETE /me/credentials/{id}: a user ends a credential of one of their devices, or a device one of its own. Ending it
// again changes nothing.
func (s *Server) endCredential(c echo.Context, who statements.Holder, whole bool) error {
	end := s.Accounts.EndDeviceCredential
	if whole {
		end = s.Accounts.EndOwnCredential
	}
	if err := end(c.Request().Context(), ownerOf(who), c.Param("id")); err != nil {
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
