package admin

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/types/api"
)

// removeUser serves DELETE /admin/users/{user}?domain=…&may_return=true: it removes a user for ever. Removing one again changes nothing.
func (a *API) removeUser(c echo.Context) error {
	mayReturn, err := flag(c, "may_return")
	if err != nil {
		return err
	}
	domain, user, err := a.user(c)
	if gone := (*removedError)(nil); errors.As(err, &gone) {
		return c.JSON(http.StatusOK, api.RemovedUser{Domain: domain, RemovedOn: gone.on.Format(time.DateOnly)})
	} else if err != nil {
		return err
	}
	done, err := a.Accounts.Remove(c.Request().Context(), domain, user, mayReturn)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, removedOf(done))
}

// eraseUser serves POST /admin/users/{user}/erase?domain=…&confirm=true&may_return=true: it removes a user, and makes sure that nothing but
// tombstones can be found in the database. A user who is enabled is erased only if the request confirms that.
func (a *API) eraseUser(c echo.Context) error {
	ctx := c.Request().Context()
	mayReturn, err := flag(c, "may_return")
	if err != nil {
		return err
	}
	confirmed, err := flag(c, "confirm")
	if err != nil {
		return err
	}
	domain, user, err := a.user(c)
	if gone := (*removedError)(nil); errors.As(err, &gone) {
		if err := a.Accounts.Forget(ctx); err != nil {
			return err
		}
		return c.JSON(http.StatusOK, api.ErasedUser{RemovedUser: api.RemovedUser{Domain: domain, RemovedOn: gone.on.Format(time.DateOnly)}})
	} else if err != nil {
		return err
	}
	if !confirmed {
		u, err := a.Accounts.User(ctx, domain, user)
		if err != nil {
			return err
		}
		if u.DisabledAt.IsZero() {
			return httpapi.Conflict("not_confirmed", "User "+u.ID+" in "+u.Domain+", called "+u.Handle+
				", is enabled, and cannot be restored once erased. Disable the user first, or add --confirm.")
		}
	}
	done, err := a.Accounts.Erase(ctx, domain, user, mayReturn)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.ErasedUser{RemovedUser: removedOf(done.RemovedUser), Statements: done.Statements})
}

// exportUser serves GET /admin/users/{user}/export?domain=…: a JWT with everything that is stored about a user.
func (a *API) exportUser(c echo.Context) error {
	domain, user, err := a.user(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	by, _ := httpapi.OperatorOf(ctx)
	e, err := a.Accounts.Export(audit.WithOrigin(ctx, audit.Origin{Actor: Actor(ctx), Address: by.Address}), domain, user)
	if err != nil {
		return err
	}
	text, err := e.Claims(a.Issuer, a.Now())
	if err != nil {
		return err
	}
	jwt, err := a.Keys.Sign(jose.TypeExport, text)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Export{Export: jwt})
}

// readmit serves DELETE /admin/removals?domain=…&iss=…&sub=…: a person who was removed can sign in again, as a new user.
func (a *API) readmit(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	err = a.Accounts.Readmit(c.Request().Context(), domain, c.QueryParam("iss"), c.QueryParam("sub"))
	if errors.Is(err, account.ErrNoUser) {
		return httpapi.Conflict("not_removed", "No removed user had this account, or it can be used already. "+
			"iss and sub are compared byte by byte.")
	} else if err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// removedOf returns a removed user as operators see them.
func removedOf(r account.RemovedUser) api.RemovedUser {
	return api.RemovedUser{
		Domain: r.Domain, ID: r.ID, RemovedOn: r.On.Format(time.DateOnly), Changed: r.Changed, SessionsEnded: r.SessionsEnded,
	}
}

// A removedError refuses a request about a user who was removed.
type removedError struct {
	*httpapi.RefusedError
	on time.Time
}

func (e *removedError) Unwrap() error { return e.RefusedError }

// orRemoved returns err, or that the user was removed, if that is why there is no such user.
func (a *API) orRemoved(ctx context.Context, err error, domain, name string) error {
	if !errors.Is(err, account.ErrNoUser) {
		return err
	}
	on, failed := a.Accounts.RemovedOn(ctx, domain, name)
	if errors.Is(failed, account.ErrNoUser) {
		return err
	} else if failed != nil {
		return failed
	}
	return &removedError{&httpapi.RefusedError{
		Status: http.StatusGone, Code: "user_removed",
		Description: "The user was removed on " + on.Format(time.DateOnly) + ". Nothing but that is stored about them.",
	}, on}
}
