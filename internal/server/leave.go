package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// mediaTypeExport is the media type of everything that is stored about a user.
const mediaTypeExport = "application/" + jose.TypeExport

// exportRoutes are the endpoints at which users take their data with them, and leave.
func (s *Server) exportRoutes() []route {
	return []route{
		{http.MethodGet, "/me/export", s.bound(oauth.ScopeAccount, s.exportMine), anyOrigin, eachRequest},
		{http.MethodDelete, "/me", s.bound(oauth.ScopeAccount, s.leave), anyOrigin, eachRequest},
	}
}

// exportMine serves GET /me/export: a JWT with everything that is stored about the user, for a user who has just signed in.
func (s *Server) exportMine(c echo.Context, holder claims.Set) error {
	who, err := personOf(holder)
	if err != nil {
		return err
	}
	if err := s.Limits.User(storage.User{Domain: who.Domain, ID: who.User}, holder.ClientID); err != nil {
		return err
	}
	ctx := audit.WithOrigin(c.Request().Context(), audit.Origin{
		Actor: audit.ActorUser, Address: s.source(c), Client: holder.ClientID, Session: holder.SID,
	})
	e, err := s.Accounts.ExportOwn(ctx, ownerOf(who), holder.AuthTime)
	if err != nil {
		return err
	}
	jwt, err := s.signExport(e)
	if err != nil {
		return err
	}
	return writeSigned(c, mediaTypeExport, jwt)
}

// signExport returns what is stored about a user as a JWT.
func (s *Server) signExport(e account.Export) (string, error) {
	text, err := e.Claims(s.Issuer, s.Now())
	if err != nil {
		return "", err
	}
	return s.Keys.Sign(jose.TypeExport, text)
}

// leave serves DELETE /me: a user who has just signed in removes themselves for ever.
func (s *Server) leave(c echo.Context, holder claims.Set) error {
	who, err := personOf(holder)
	if err != nil {
		return err
	}
	if _, err := s.Accounts.Leave(c.Request().Context(), ownerOf(who), holder.AuthTime); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
