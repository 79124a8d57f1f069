package admin

import (
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// listSessions serves GET /admin/sessions?domain=…&user=ID&client=ID&device=ID&ended=true: a page of the live sessions of a domain, or of
// those that ended and are still stored, in the order of their users and ids.
func (a *API) listSessions(c echo.Context) error {
	client, device := c.QueryParam("client"), c.QueryParam("device")
	ended, err := flag(c, "ended")
	if err != nil {
		return err
	}
	of := a.Accounts.Sessions
	if ended {
		of = a.Accounts.EndedSessions
	}
	return listOfUsers(a, c, func(u storage.User) ([]api.Session, error) {
		grants, err := of(c.Request().Context(), u.Domain, u.ID)
		if err != nil {
			return nil, err
		}
		var list []api.Session
		for _, g := range grants {
			if matches(client, g.Client) && matches(device, g.Device) {
				s := sessionOf(g)
				s.Domain, s.User = u.Domain, u.ID
				if ended {
					s.ExpiresAt, s.EndedAt, s.EndedReason = g.EndedAt, &g.EndedAt, g.EndedReason
				}
				list = append(list, s)
			}
		}
		return list, nil
	}, func(s api.Session) string { return s.ID })
}

// endSession serves DELETE /admin/sessions/{domain}/{session}?reason=…: a session ends, with its tokens. Its device stays.
func (a *API) endSession(c echo.Context) error {
	g, _, err := a.Accounts.EndSession(c.Request().Context(), c.Param("domain"), c.Param("session"), reason(c))
	if err != nil {
		return err
	}
	s := sessionOf(g)
	s.Domain, s.User, s.EndedAt, s.EndedReason = g.Domain, g.User, optional(g.EndedAt), g.EndedReason
	return c.JSON(http.StatusOK, s)
}

func sessionOf(g storage.Grant) api.Session {
	ends := g.ExpiresAt
	if g.IdleAt.Before(ends) {
		ends = g.IdleAt
	}
	return api.Session{
		ID: g.ID, Client: g.Client, Device: g.Device, Scopes: g.Scopes, Audience: g.Audience,
		CreatedAt: g.CreatedAt, RefreshedAt: optional(g.RotatedAt), ExpiresAt: ends,
	}
}

// between stands between the user and the entry in the keys of lists that go by users.
const between = "\n"

// userBatch is how many users are read at a time to list what belongs to them.
const userBatch = 100

// listOfUsers answers with a page of what belongs to the users of a domain, or to one of them: in the order of the users, and for each in
// the order that belongings has.
func listOfUsers[T any](a *API, c echo.Context, belongings func(storage.User) ([]T, error), id func(T) string) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	p, err := a.page(c)
	if err != nil {
		return err
	}
	ctx, list := c.Request().Context(), []T{}
	user, entry, inside := strings.Cut(p.after, between) // what was listed last
	last := p.after
	// add appends what belongs to a user, from the entry that follows the last one. It reports whether the page is full.
	add := func(u storage.User) (full bool, err error) {
		all, err := belongings(u)
		if err != nil {
			return false, err
		}
		passed := !inside || u.ID != user
		for _, b := range all {
			if !passed {
				passed = id(b) == entry
				continue
			}
			if len(list) == p.limit {
				return true, nil
			}
			list, last = append(list, b), u.ID+between+id(b)
		}
		return false, nil
	}
	answer := func(next string) error {
		linkNext(c, next)
		return c.JSON(http.StatusOK, list)
	}
	if only := c.QueryParam("user"); only != "" {
		u, err := a.Accounts.User(ctx, domain, only)
		if err != nil {
			return err
		}
		full, err := add(u)
		if err != nil {
			return err
		}
		if full {
			return answer(last)
		}
		return answer("")
	}
	if inside {
		switch u, err := a.Accounts.User(ctx, domain, user); {
		case errors.Is(err, account.ErrNoUser): // removed since
		case err != nil:
			return err
		default:
			if full, err := add(u); err != nil || full {
				return firstOf(err, func() error { return answer(last) })
			}
		}
	}
	for seen := 0; ; {
		users, err := a.Accounts.Users(ctx, domain, user, userBatch)
		if err != nil {
			return err
		}
		for _, u := range users {
			if full, err := add(u); err != nil || full {
				return firstOf(err, func() error { return answer(last) })
			}
			user = u.ID
		}
		if len(users) < userBatch {
			return answer("")
		}
		if seen += len(users); p.scan > 0 && seen >= p.scan {
			return answer(user)
		}
	}
}

// firstOf returns an error or, if there is none, what then returns.
func firstOf(err error, then func() error) error {
	if err != nil {
		return err
	}
	return then()
}
