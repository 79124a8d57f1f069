package server

import (
	"errors"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// The values of findable_by.
const (
	findableByNobody = "nobody"
	findableByHandle = "handle"
)

func findableBy(findable bool) string {
	if findable {
		return findableByHandle
	}
	return findableByNobody
}

// privacy serves GET and PUT /me/privacy: whether others find the issuer of a user by the exact handle, or not at all.
func (s *Server) privacy(serve func(echo.Context, *claims.Set, string, string) (bool, error)) echo.HandlerFunc {
	return s.bound(oauth.ScopeAccount, func(c echo.Context, holder claims.Set) error {
		who, err := personOf(holder)
		if err != nil {
			return err
		}
		findable, err := serve(c, &holder, who.Domain, who.User)
		if errors.Is(err, account.ErrEnded) { // a moment ago
			s.metrics.refused(dpop.ErrInvalidToken)
			s.self.Refuse(c.Response(), c.Request(), dpop.ErrInvalidToken)
			return err
		} else if err != nil {
			return err
		}
		return encodeJSON(c, api.Privacy{FindableBy: findableBy(findable)})
	})
}

func (s *Server) showPrivacy(c echo.Context, holder *claims.Set, domain, user string) (bool, error) {
	return s.Accounts.Findable(c.Request().Context(), domain, user, holder.SID)
}

func (s *Server) setPrivacy(c echo.Context, holder *claims.Set, domain, user string) (bool, error) {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return false, err
	}
	by := b.String("findable_by")
	if err := b.Done(); err != nil {
		return false, err
	}
	if by != findableByNobody && by != findableByHandle {
		return false, httpapi.Invalid("The member findable_by must be handle or nobody.")
	}
	if err := s.Limits.User(storage.User{Domain: domain, ID: user}, holder.ClientID); err != nil {
		return false, err
	}
	findable := by == findableByHandle
	_, err = s.Accounts.SetFindable(c.Request().Context(), domain, user, holder.SID, findable)
	return findable, err
}
