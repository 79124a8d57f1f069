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

// listUsers serves GET /admin/users?domain=…&search=TEXT&disabled=true: a page of the users of a domain, in the order of their ids. With
// search, only those whom [API.searchUsers] finds.
func (a *API) listUsers(c echo.Context) error {
	domain, err := a.servedDomain(c)
	if err != nil {
		return err
	}
	p, err := a.page(c)
	if err != nil {
		return err
	}
	disabled, err := choice(c, "disabled")
	if err != nil {
		return err
	}
	if text := c.QueryParam("search"); text != "" {
		return a.searchUsers(c, domain, text, p, disabled)
	}
	users, next, err := filled(p, func(after string, limit int) ([]storage.User, error) {
		return a.Accounts.Users(c.Request().Context(), domain, after, limit)
	}, func(u storage.User) string { return u.ID }, func(u storage.User) bool { return disabled(!u.DisabledAt.IsZero()) })
	if err != nil {
		return err
	}
	list := make([]api.User, len(users))
	for i, u := range users {
		list[i] = userOf(u)
	}
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
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
		v.Sessions = append(v.Sessions, sessionOf(g))
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
