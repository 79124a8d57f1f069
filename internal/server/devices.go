package server

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/types/api"
)

// ownerOf returns a user who manages their devices.
func ownerOf(who statements.Holder) account.Owner {
	return account.Owner{Domain: who.Domain, User: who.User, SID: who.SID}
}

// listDevices serves GET /me/devices?limit=N&cursor=C: a page of the user's devices. The Link header has the next page, if there is one.
func (s *Server) listDevices(c echo.Context, who statements.Holder) error {
	return ownPage(s, c, "/me/devices", who, s.Accounts.OwnDevices, s.ownDevice, func(d *account.OwnDevice) string { return d.ID })
}

// ownPage answers with a page of what belongs to a user: read returns at most limit rows after an id, show writes a row as JSON, and id
// returns its id. The Link header has the next page of path, if there is one.
func ownPage[R, J any](
	s *Server, c echo.Context, path string, who statements.Holder,
	read func(ctx context.Context, owner account.Owner, after string, limit int) ([]R, error), show func(*R) J, id func(*R) string,
) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	limit, err := pageLimit(params)
	if err != nil {
		return err
	}
	page, err := read(c.Request().Context(), ownerOf(who), params.Get("cursor"), limit+1)
	if err != nil {
		return err
	}
	if len(page) > limit {
		page = page[:limit]
		s.linkNext(c, path, limit, id(&page[limit-1]))
	}
	list := make([]J, len(page))
	for i := range page {
		list[i] = show(&page[i])
	}
	return encodeJSON(c, list)
}

// ownDevice returns a device as its user sees it.
func (s *Server) ownDevice(d *account.OwnDevice) api.OwnDevice {
	v := api.OwnDevice{
		ID: d.ID, Device: d.URI, Name: d.Name, Platform: d.Platform, ClientID: d.Client, Delegation: d.Delegation, KeyAlg: d.Alg,
		JKT: d.JKT, FirstSeen: day(d.CreatedAt), LastSeen: day(d.SeenAt), Active: d.Active, Current: d.Current,
	}
	if login := d.Login; !login.CreatedAt.IsZero() {
		login.Domain = d.Domain
		said := s.loginOf(login)
		v.Login = &said
	}
	return v
}

// providerID returns the id of the OpenID provider of a domain with an issuer URL; empty if it is not configured any more.
func (s *Server) providerID(domain, issuer string) string {
	found := ""
	for id, p := range s.Logins {
		if p.Domain() == domain && p.Issuer() == issuer && (found == "" || id < found) {
			found = id
		}
	}
	return found
}

// day returns the day of a time, empty for the zero time. More exact times would show when a user was active.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateOnly)
}

// renameDevice serves PATCH /me/devices/{id}: a user gives a device another name.
func (s *Server) renameDevice(c echo.Context, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	name := b.String("name")
	if err := b.Done(); err != nil {
		return err
	}
	if _, err := s.Accounts.RenameDevice(c.Request().Context(), ownerOf(who), c.Param("id"), name); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// reasonUser is the reason of a removal by the user.
const reasonUser = "removed by the user"

// removeDevice serves DELETE /me/devices/{id}: a user removes a device, which may be the one that asks. Removing it again changes
// nothing.
func (s *Server) removeDevice(c echo.Context, who statements.Holder) error {
	if _, err := s.Accounts.RemoveOwnDevice(c.Request().Context(), ownerOf(who), c.Param("id"), reasonUser); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// removeOtherDevices serves DELETE /me/devices?except=current: a user removes all devices but the one that asks. Without the parameter,
// a client that has lost the id of a device would remove all of them.
func (s *Server) removeOtherDevices(c echo.Context, who statements.Holder) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	if params.Get("except") != "current" {
		return invalid("Name a device in the path, or say except=current to remove all devices but this one.")
	}
	removed, more, err := s.Accounts.RemoveOtherDevices(c.Request().Context(), ownerOf(who), reasonUser)
	if err != nil {
		return err
	}
	return encodeJSON(c, api.DeviceRemoval{Removed: len(removed), More: more})
}
