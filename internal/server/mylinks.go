package server

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// listProviderLinks serves GET /me/provider-links?limit=N&cursor=C: a page of the accounts at OpenID providers with which the user
// signs in. The Link header has the next page, if there is one. The subjects are not told: they would let apps recognize the user
// elsewhere.
func (s *Server) listProviderLinks(c echo.Context, who statements.Holder) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	limit, err := pageLimit(params)
	if err != nil {
		return err
	}
	page, err := s.Accounts.OwnLinks(c.Request().Context(), ownerOf(who), params.Get("cursor"), limit+1)
	if err != nil {
		return err
	}
	if len(page) > limit {
		page = page[:limit]
		s.linkNext(c, "/me/provider-links", limit, page[limit-1].ID)
	}
	list := make([]api.ProviderLink, len(page))
	for i, l := range page {
		list[i] = api.ProviderLink{ID: l.ID, Provider: s.providerID(l.Domain, l.Issuer), Issuer: l.Issuer, Since: day(l.CreatedAt)}
	}
	return encodeJSON(c, list)
}

// removeProviderLink serves DELETE /me/provider-links/{id}: a user removes one of several accounts at OpenID providers.
func (s *Server) removeProviderLink(c echo.Context, holder *claims.Set, who statements.Holder) error {
	if err := s.Accounts.RemoveOwnLink(c.Request().Context(), ownerOf(who), c.Param("id"), holder.AuthTime); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
