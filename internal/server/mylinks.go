package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// listProviderLinks serves GET /me/provider-links?limit=N&cursor=C: a page of the accounts at OpenID providers with which the user
// signs in. The Link header has the next page, if there is one. The subjects are not told: they would let apps recognize the user
// elsewhere.
func (s *Server) listProviderLinks(c echo.Context, who statements.Holder) error {
	return ownPage(s, c, "/me/provider-links", who, s.Accounts.OwnLinks, s.providerLink, func(l *account.OwnLink) string { return l.ID })
}

func (s *Server) providerLink(l *account.OwnLink) api.ProviderLink {
	return api.ProviderLink{ID: l.ID, Provider: s.providerID(l.Domain, l.Issuer), Issuer: l.Issuer, Since: day(l.CreatedAt)}
}

// removeProviderLink serves DELETE /me/provider-links/{id}: a user removes one of several accounts at OpenID providers.
func (s *Server) removeProviderLink(c echo.Context, holder *claims.Set, who statements.Holder) error {
	if err := s.Accounts.RemoveOwnLink(c.Request().Context(), ownerOf(who), c.Param("id"), holder.AuthTime); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
