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

// listUsers serves GET /admin/users?domain=…&search=TEXT&after=ID&limit=N: users in the order of their ids, from the one
// that follows after. With search, only those whose id or handle contains the text. A page that is not full is the last.
func (a *API) listUsers(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	limit, err := limit(c)
	if err != nil {
		return err
	}
	search, page := strings.ToLower(strings.TrimPrefix(c.QueryParam("search"), "@")), limit
	if search != "" {
		page = maxPage
	}
	found := func(u storage.User) bool {
		return strings.Contains(strings.ToLower(u.ID), search) || strings.Contains(strings.ToLower(u.Handle), search)
	}
	list := []api.User{}
	for after := c.QueryParam("after"); ; {
		users, err := a.Accounts.Users(c.Request().Context(), domain, after, page)
		if err != nil {
			return err
		}
		for _, u := range users {
			if len(list) < limit && found(u) {
				list = append(list, userOf(u))
			}
		}
		if len(users) < page || len(list) == limit {
			return c.JSON(http.StatusOK, list)
		}
		after = users[len(users)-1].ID
	}
}

// showUser serves GET /admin/users/{user}?domain=…
func (a *API) showUser(c echo.Context) error {
	domain, user, err := a.user(c)
	if err != nil {
		return err
	}
	p, err := a.Accounts.Person(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	v := api.Person{
		User: userOf(p.User), URI: p.Identity.User, HandleURI: p.Identity.Handle,
		Handles: []api.Handle{}, Links: []api.Link{}, Devices: []api.Device{}, Sessions: []api.Session{},
	}
	for _, n := range p.Handles {
		v.Handles = append(v.Handles, api.Handle{Handle: n.Local, TakenAt: n.TakenAt, ReleasedAt: optional(n.ReleasedAt)})
	}
	for _, l := range p.Links {
		v.Links = append(v.Links, api.Link{Issuer: l.Issuer, Subject: l.Subject, CreatedAt: l.CreatedAt})
	}
	for _, d := range p.Devices {
		v.Devices = append(v.Devices, deviceOf(d))
	}
	for _, g := range p.Sessions {
		ends := g.ExpiresAt
		if g.IdleAt.Before(ends) {
			ends = g.IdleAt
		}
		v.Sessions = append(v.Sessions, api.Session{
			ID: g.ID, Client: g.Client, Device: g.Device, Scopes: g.Scopes, Audience: g.Audience,
			CreatedAt: g.CreatedAt, RefreshedAt: optional(g.RotatedAt), ExpiresAt: ends,
		})
	}
	return c.JSON(http.StatusOK, v)
}

// disableUser serves POST /admin/users/{user}/disable?domain=…
func (a *API) disableUser(c echo.Context) error {
	domain, user, err := a.user(c)
	if err != nil {
		return err
	}
	u, err := a.Accounts.Disable(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.DisabledUser{User: userOf(u.User), SessionsEnded: u.SessionsEnded})
}

// enableUser serves POST /admin/users/{user}/enable?domain=…
func (a *API) enableUser(c echo.Context) error {
	domain, user, err := a.user(c)
	if err != nil {
		return err
	}
	u, err := a.Accounts.Enable(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, userOf(u.User))
}

// user returns the domain and id of the user that a request names: by id, or by handle. After an @, which no id begins
// with, it is a handle. URIs of the form mimi do not distinguish the two, so a text that is no user's id is a handle too.
func (a *API) user(c echo.Context) (domain, id string, err error) {
	if domain, err = a.domain(c); err != nil {
		return "", "", err
	}
	name := c.Param("user")
	if handle, ok := strings.CutPrefix(name, "@"); ok {
		u, err := a.Accounts.HandleUser(c.Request().Context(), domain, handle)
		return domain, u.ID, a.orRemoved(c.Request().Context(), err, domain, handle)
	}
	_, err = a.Accounts.User(c.Request().Context(), domain, name)
	if !errors.Is(err, account.ErrNoUser) {
		return domain, name, err
	}
	u, err := a.Accounts.HandleUser(c.Request().Context(), domain, name)
	return domain, u.ID, a.orRemoved(c.Request().Context(), err, domain, name)
}

func userOf(u storage.User) api.User {
	return api.User{
		Domain: u.Domain, ID: u.ID, Handle: u.Handle, CreatedAt: rounded(u.CreatedAt), DisabledAt: optional(u.DisabledAt),
	}
}
