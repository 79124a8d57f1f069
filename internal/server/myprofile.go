package server

import (
	"cmp"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// showProfile serves GET /me: the user of the token.
func (s *Server) showProfile(c echo.Context, who statements.Holder) error {
	p, err := s.Accounts.Profile(c.Request().Context(), ownerOf(who))
	if err != nil {
		return err
	}
	v := api.Profile{
		User: p.Identity.User, Handle: p.Identity.Handle, Display: p.Display, Domain: p.Domain, Created: day(p.CreatedAt),
		Devices: p.Devices, Sessions: p.Sessions, Statements: p.Statements,
		Rename: api.ProfileRename{By: string(cmp.Or(p.Rename, account.RenameByAdmin))},
	}
	if p.RenameAfter.After(s.Now()) {
		v.Rename.After = p.RenameAfter.UTC().Format(time.RFC3339)
	}
	return encodeJSON(c, v)
}
