package admin

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// handleRefused refuses to give or to release a handle.
func handleRefused(words string) error { return httpapi.Conflict("handle_refused", words) }

// listHandles serves GET /admin/handles?domain=…&user=ID&held=true: a page of the present and former handles of a domain, in the order of
// their users. Former ones cannot be taken until they are released.
func (a *API) listHandles(c echo.Context) error {
	held, err := choice(c, "held")
	if err != nil {
		return err
	}
	return listOfUsers(a, c, func(u storage.User) ([]api.Handle, error) {
		names, err := a.Accounts.Handles(c.Request().Context(), u)
		if err != nil {
			return nil, err
		}
		var list []api.Handle
		for _, n := range names {
			if held(n.ReleasedAt.IsZero()) {
				list = append(list, api.Handle{User: u.ID, Handle: n.Local, TakenAt: n.TakenAt, ReleasedAt: optional(n.ReleasedAt)})
			}
		}
		return list, nil
	}, func(h api.Handle) string { return h.Handle })
}

// renameUser serves PUT /admin/users/{user}/handle?domain=…&handle=…&reserved=true
func (a *API) renameUser(c echo.Context) error {
	reserved, err := flag(c, "reserved")
	if err != nil {
		return err
	}
	domain, user, err := a.user(c)
	if err != nil {
		return err
	}
	rename := a.Accounts.Rename
	if reserved {
		rename = a.Accounts.RenameReserved
	}
	u, err := rename(c.Request().Context(), domain, user, c.QueryParam("handle"))
	bad := (*claims.Error)(nil)
	switch words := account.HandleRefusal(err); {
	case errors.Is(err, account.ErrNoRename):
		return handleRefused("Handles of this domain cannot change: in XMPP the handle is the user.")
	case errors.As(err, &bad) && bad.Code == claims.CodeReservedHandle:
		return handleRefused("This name is reserved. To give it to this user all the same, add --reserved.")
	case err != nil && words != "":
		return handleRefused(words)
	case err != nil:
		return err
	}
	return c.JSON(http.StatusOK, userOf(u.User))
}

// releaseHandle serves DELETE /admin/names?domain=…&handle=…: others can take a former handle again.
func (a *API) releaseHandle(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	released, err := a.Accounts.ReleaseName(c.Request().Context(), domain, c.QueryParam("handle"))
	held := (*account.HeldError)(nil)
	switch {
	case errors.Is(err, account.ErrRemoved):
		return handleRefused("This is, or looks like, a name of a user who was removed. Such names are never released.")
	case errors.Is(err, account.ErrForgotten):
		return handleRefused("This is, or looks like, a handle that was given up longer ago than retention.names keeps such handles. " +
			"They are never released.")
	case errors.Is(err, account.ErrNoName):
		return handleRefused("Nobody has or had this handle: it needs no release.")
	case errors.As(err, &held) && held.Held:
		return handleRefused("User " + held.User.ID + " has the handle " + held.Name +
			" now. Rename the user first: issuer users rename @" + held.Name + " --to HANDLE")
	case errors.As(err, &held) && held.ID:
		return handleRefused("This is the id of user " + held.User.ID + ", or looks like it. Ids are never released.")
	case errors.As(err, &held):
		return handleRefused("Nobody had this handle, but user " + held.User.ID + " had " + held.Name +
			", which looks like it: release that one.")
	case err != nil:
		return err
	}
	last := released[len(released)-1]
	answer := api.ReleasedHandle{Domain: domain, Handle: last.Local, User: last.User}
	for _, n := range released {
		answer.Handles = append(answer.Handles, n.Local)
	}
	return c.JSON(http.StatusOK, answer)
}
