package server

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/storage"
)

// AdminUser is a user as operators see her.
type AdminUser struct {
	Domain     string     `json:"domain"`
	ID         string     `json:"id"`
	Handle     string     `json:"handle"`
	CreatedAt  time.Time  `json:"created_at"`
	DisabledAt *time.Time `json:"disabled_at,omitempty"`
}

// AdminPerson is a user with what belongs to her.
type AdminPerson struct {
	AdminUser
	URI       string         `json:"uri"`
	HandleURI string         `json:"handle_uri"`
	Handles   []AdminHandle  `json:"handles"`
	Links     []AdminLink    `json:"links"`
	Devices   []AdminDevice  `json:"devices"`
	Sessions  []AdminSession `json:"sessions"` // those that live
}

// AdminHandle is a handle that a user has, or once had.
type AdminHandle struct {
	Handle     string     `json:"handle"`
	TakenAt    time.Time  `json:"taken_at"`
	ReleasedAt *time.Time `json:"released_at,omitempty"`
}

// AdminLink is an account at an OpenID provider, whose person the user is.
type AdminLink struct {
	Issuer    string    `json:"iss"`
	Subject   string    `json:"sub"`
	CreatedAt time.Time `json:"created_at"`
}

// AdminSession is a login of a device that lives.
type AdminSession struct {
	ID          string     `json:"sid"`
	Client      string     `json:"client"`
	Device      string     `json:"device"`
	Scopes      []string   `json:"scopes"`
	Audience    []string   `json:"audience"`
	CreatedAt   time.Time  `json:"created_at"`
	RefreshedAt *time.Time `json:"refreshed_at,omitempty"`
	ExpiresAt   time.Time  `json:"expires_at"` // unless it is refreshed, where that can help
}

// AdminDisabled is a user who was shut out.
type AdminDisabled struct {
	AdminUser
	SessionsEnded int `json:"sessions_ended"`
}

// How many users one answer lists, unless the question says fewer.
const maxUsers = 1000

// listUsers serves GET /admin/users?domain=…&search=TEXT&after=ID&limit=N: users in the order of their ids, those after one
// if it says so, and those whose id or handle contains a text. Fewer than the limit (1000 by default) means that there are
// no more.
func (s *Server) listUsers(c echo.Context) error {
	domain, err := s.servedDomain(c)
	if err != nil {
		return err
	}
	limit := maxUsers
	if text := c.QueryParam("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxUsers {
			return invalid("The limit is a number from 1 to 1000.")
		}
	}
	search, page := strings.ToLower(strings.TrimPrefix(c.QueryParam("search"), "@")), limit
	if search != "" {
		page = maxUsers
	}
	list := []AdminUser{}
	for after := c.QueryParam("after"); ; {
		users, err := s.Accounts.Users(c.Request().Context(), domain, after, page)
		if err != nil {
			return err
		}
		for _, u := range users {
			if len(list) < limit && (strings.Contains(strings.ToLower(u.ID), search) || strings.Contains(strings.ToLower(u.Handle), search)) {
				list = append(list, adminUser(u))
			}
		}
		if len(users) < page || len(list) == limit {
			return c.JSON(http.StatusOK, list)
		}
		after = users[len(users)-1].ID
	}
}

// showUser serves GET /admin/users/{user}?domain=…
func (s *Server) showUser(c echo.Context) error {
	domain, user, err := s.meantUser(c)
	if err != nil {
		return err
	}
	p, err := s.Accounts.Person(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	a := AdminPerson{
		AdminUser: adminUser(p.User), URI: p.Identity.User, HandleURI: p.Identity.Handle,
		Handles: []AdminHandle{}, Links: []AdminLink{}, Devices: []AdminDevice{}, Sessions: []AdminSession{},
	}
	for _, n := range p.Handles {
		a.Handles = append(a.Handles, AdminHandle{n.Local, n.TakenAt, once(n.ReleasedAt)})
	}
	for _, l := range p.Links {
		a.Links = append(a.Links, AdminLink{l.Issuer, l.Subject, l.CreatedAt})
	}
	for _, d := range p.Devices {
		a.Devices = append(a.Devices, adminDevice(d))
	}
	for _, g := range p.Sessions {
		ends := g.ExpiresAt
		if g.IdleAt.Before(ends) {
			ends = g.IdleAt
		}
		a.Sessions = append(a.Sessions, AdminSession{
			ID: g.ID, Client: g.Client, Device: g.Device, Scopes: g.Scopes, Audience: g.Audience,
			CreatedAt: g.CreatedAt, RefreshedAt: once(g.RotatedAt), ExpiresAt: ends,
		})
	}
	return c.JSON(http.StatusOK, a)
}

// disableUser serves POST /admin/users/{user}/disable?domain=…
func (s *Server) disableUser(c echo.Context) error {
	domain, user, err := s.meantUser(c)
	if err != nil {
		return err
	}
	u, err := s.Accounts.Disable(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	s.Log.Info("audit: user disabled", slog.String("user", u.ID), slog.String("domain", u.Domain), slog.Int("sessions_ended", u.SessionsEnded))
	return c.JSON(http.StatusOK, AdminDisabled{adminUser(u.User), u.SessionsEnded})
}

// enableUser serves POST /admin/users/{user}/enable?domain=…
func (s *Server) enableUser(c echo.Context) error {
	domain, user, err := s.meantUser(c)
	if err != nil {
		return err
	}
	u, err := s.Accounts.Enable(c.Request().Context(), domain, user)
	if err != nil {
		return err
	}
	s.Log.Info("audit: user enabled", slog.String("user", u.ID), slog.String("domain", u.Domain))
	return c.JSON(http.StatusOK, adminUser(u.User))
}

// meantUser is the user of a question: a handle after an @, which no id begins with; else an id or, where nobody has that
// id, a handle. URIs of the form mimi do not tell the two apart.
func (s *Server) meantUser(c echo.Context) (domain, user string, err error) {
	if domain, err = s.adminDomain(c); err != nil {
		return "", "", err
	}
	user = c.Param("user")
	if handle, ok := strings.CutPrefix(user, "@"); ok {
		u, err := s.Accounts.HandleUser(c.Request().Context(), domain, handle)
		return domain, u.ID, err
	}
	_, err = s.Accounts.User(c.Request().Context(), domain, user)
	if !errors.Is(err, account.ErrNoUser) {
		return domain, user, err
	}
	u, err := s.Accounts.HandleUser(c.Request().Context(), domain, user)
	return domain, u.ID, err
}

// servedDomain is adminDomain where an empty answer about a domain that is not served would mislead.
func (s *Server) servedDomain(c echo.Context) (string, error) {
	domain, err := s.adminDomain(c)
	if err == nil && !slices.Contains(s.Domains, domain) {
		err = invalid("The issuer does not serve that domain.")
	}
	return domain, err
}

func adminUser(u storage.User) AdminUser {
	return AdminUser{
		Domain: u.Domain, ID: u.ID, Handle: u.Handle, CreatedAt: stored(u.CreatedAt), DisabledAt: once(u.DisabledAt),
	}
}
