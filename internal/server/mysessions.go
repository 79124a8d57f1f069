package server

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// listSessions serves GET /me/sessions?limit=N&cursor=C: a page of the user's live sessions. The Link header has the next page, if
// there is one.
func (s *Server) listSessions(c echo.Context, who statements.Holder) error {
	return ownPage(s, c, "/me/sessions", who, s.Accounts.OwnSessions, s.ownSession, func(v *account.OwnSession) string { return v.ID })
}

// ownSession returns a session as its user sees it.
func (s *Server) ownSession(v *account.OwnSession) api.OwnSession {
	used := v.CreatedAt
	if v.RotatedAt.After(used) {
		used = v.RotatedAt
	}
	session := api.OwnSession{
		ID: v.ID, Device: v.DeviceURI, ClientID: v.Client, Scope: strings.Join(v.Scopes, " "), Audience: v.Audience,
		Created: day(v.CreatedAt), LastUsed: day(used), Expires: day(v.ExpiresAt), Current: v.Current,
		Login: s.loginOf(v.Grant),
	}
	if client, ok := s.Registry.Client(v.Client); ok && client.Name != client.ID {
		session.ClientName = client.Name
	}
	return session
}

// loginOf returns how a session began, as far as the OpenID provider said.
func (s *Server) loginOf(g storage.Grant) api.DeviceLogin {
	return api.DeviceLogin{Day: day(g.CreatedAt), Provider: s.providerID(g.Domain, g.Issuer), ACR: g.ACR, AMR: g.AMR}
}

// endSession serves DELETE /me/sessions/{id}: a user ends a session, which may be the one that asks. Ending it again changes nothing.
func (s *Server) endSession(c echo.Context, who statements.Holder) error {
	if err := s.Accounts.EndOwnSession(c.Request().Context(), ownerOf(who), c.Param("id")); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// endOtherSessions serves DELETE /me/sessions?except=current: a user ends all sessions but the one that asks. Without the parameter, a
// client that has lost the id of a session would end all of them.
func (s *Server) endOtherSessions(c echo.Context, who statements.Holder) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	if params.Get("except") != "current" {
		return invalid("Name a session in the path, or say except=current to end all sessions but this one.")
	}
	ended, more, err := s.Accounts.EndOtherSessions(c.Request().Context(), ownerOf(who))
	if err != nil {
		return err
	}
	return encodeJSON(c, api.SessionsEnded{Ended: ended, More: more})
}
