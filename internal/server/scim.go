package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/scim"
	"github.com/imidentity/issuer/storage"
)

// scimPath is where OpenID providers manage their users by SCIM 2.0 (RFC 7644).
const scimPath = "/scim/v2"

// openSCIM makes the service of SCIM at its listener, whose URL is that of the answers and of proofs.
func (s *Server) openSCIM() {
	base := s.Issuer
	s.managing = s.self
	if s.SCIMForOperators {
		base, s.managing = s.OperatorsURL, s.operating
	}
	s.scim = scim.New(s.Accounts, base+scimPath)
}

// scimRoutes is the table of the endpoints of SCIM at their listener. They limit requests by themselves: see [Server.managed].
func (s *Server) scimRoutes() []route {
	list := []route{
		{http.MethodGet, "/Users", s.managed(s.listManaged), ownOrigin, notCounted},
		{http.MethodPost, "/Users", s.managed(s.provisionUser), ownOrigin, notCounted},
		{http.MethodGet, "/Users/{id}", s.managed(s.showManaged), ownOrigin, notCounted},
		{http.MethodPut, "/Users/{id}", s.managed(s.changeManaged(scim.ReadUser)), ownOrigin, notCounted},
		{http.MethodPatch, "/Users/{id}", s.managed(s.changeManaged(scim.ReadPatch)), ownOrigin, notCounted},
		{http.MethodDelete, "/Users/{id}", s.managed(s.removeManaged), ownOrigin, notCounted},
		{http.MethodGet, "/ServiceProviderConfig", s.managed(s.describeSCIM), ownOrigin, notCounted},
		{http.MethodGet, "/ResourceTypes", s.managed(s.describeSCIM), ownOrigin, notCounted},
		{http.MethodGet, "/ResourceTypes/User", s.managed(s.describeSCIM), ownOrigin, notCounted},
		{http.MethodGet, "/Schemas", s.managed(s.describeSCIM), ownOrigin, notCounted},
		{http.MethodGet, "/Schemas/{id}", s.managed(s.describeSCIM), ownOrigin, notCounted},
	}
	for i := range list {
		list[i].path = scimPath + list[i].path
	}
	return list
}

// isSCIM reports whether a request is for SCIM, whose errors have a form of their own.
func isSCIM(c echo.Context) bool { return strings.HasPrefix(c.Request().URL.Path, scimPath+"/") }

// A manager is a client by which an OpenID provider manages its users.
type manager struct {
	scim.Caller
	client *clients.Client
}

// managerOf returns the rights of a client with the scope scim.
func managerOf(client *clients.Client) manager {
	m := manager{client: client}
	m.Domain, m.Issuer, m.Renames = client.SCIM.Domain, client.SCIM.Issuer, client.SCIM.Renames
	m.Admit = func(ctx context.Context, r storage.Reader) error { return client.Check(ctx, r) }
	m.SubjectClaim = client.SCIM.SubjectClaim
	m.SubjectIsID = client.SCIM.UserClaim == m.SubjectClaim
	m.OtherIDs = client.SCIM.UserClaim != "" && !m.SubjectIsID
	return m
}

// describeSCIM serves the documents of SCIM about itself (RFC 7644 §4).
func (s *Server) describeSCIM(c echo.Context, _ manager) error {
	if c.QueryParams().Has("filter") {
		return &scim.Error{Status: http.StatusForbidden, Detail: "These documents cannot be filtered."}
	}
	switch strings.TrimPrefix(c.Path(), scimPath) {
	case "/ServiceProviderConfig":
		return writeSCIM(c, http.StatusOK, s.scim.ServiceProviderConfig())
	case "/ResourceTypes":
		return writeSCIM(c, http.StatusOK, scim.ListOf(s.scim.ResourceType()))
	case "/ResourceTypes/User":
		return writeSCIM(c, http.StatusOK, s.scim.ResourceType())
	case "/Schemas":
		return writeSCIM(c, http.StatusOK, scim.ListOf(s.scim.Schema()))
	}
	if !strings.EqualFold(c.Param("id"), scim.SchemaUser) {
		return echo.ErrNotFound
	}
	return writeSCIM(c, http.StatusOK, s.scim.Schema())
}

// listManaged serves GET /scim/v2/Users (RFC 7644 §3.4.2): a page of the users of a provider.
func (s *Server) listManaged(c echo.Context, by manager) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	q, err := scim.ReadQuery(params)
	if err != nil {
		return err
	}
	list, err := s.scim.List(c.Request().Context(), by.Caller, q)
	if err != nil {
		return err
	}
	return writeSCIM(c, http.StatusOK, list)
}

// showManaged serves GET /scim/v2/Users/{id} (RFC 7644 §3.4.1).
func (s *Server) showManaged(c echo.Context, by manager) error {
	return s.answerManaged(c, http.StatusOK, func() (scim.Resource, error) {
		return s.scim.Get(c.Request().Context(), by.Caller, c.Param("id"))
	})
}

// provisionUser serves POST /scim/v2/Users (RFC 7644 §3.3): a user is created ahead of the first login.
func (s *Server) provisionUser(c echo.Context, by manager) error {
	in, err := readSCIM(c, scim.ReadUser)
	if err != nil {
		return err
	}
	return s.answerManaged(c, http.StatusCreated, func() (scim.Resource, error) {
		u, err := s.scim.Create(c.Request().Context(), by.Caller, in)
		if err != nil {
			return u, err
		}
		c.Response().Header().Set("Location", u.Location)
		return u, nil
	})
}

// changeManaged serves PUT and PATCH of /scim/v2/Users/{id} (RFC 7644 §3.5): all access of a user who becomes inactive has ended when the
// answer is sent.
func (s *Server) changeManaged(read func([]byte) (scim.Input, error)) func(echo.Context, manager) error {
	return func(c echo.Context, by manager) error {
		in, err := readSCIM(c, read)
		if err != nil {
			return err
		}
		return s.answerManaged(c, http.StatusOK, func() (scim.Resource, error) {
			done, err := s.scim.Change(c.Request().Context(), by.Caller, c.Param("id"), in, ifMatch(c))
			if err != nil {
				return scim.Resource{}, err
			}
			return done.Resource, nil
		})
	}
}

// ifMatch returns the entity tags that a user must have for a change, "" if the request names none.
func ifMatch(c echo.Context) string { return strings.Join(c.Request().Header.Values("If-Match"), ",") }

// removeManaged serves DELETE /scim/v2/Users/{id} (RFC 7644 §3.6): a user is removed for ever.
func (s *Server) removeManaged(c echo.Context, by manager) error {
	if err := s.scim.Remove(c.Request().Context(), by.Caller, c.Param("id"), ifMatch(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// answerManaged answers with the user that act returns. The parameters of the answer are read before it acts.
func (s *Server) answerManaged(c echo.Context, status int, act func() (scim.Resource, error)) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	projection, err := scim.ReadProjection(params)
	if err != nil {
		return err
	}
	u, err := act()
	if err != nil {
		return err
	}
	trailOf(c).domain, trailOf(c).user = u.Domain, u.ID
	c.Response().Header().Set("ETag", u.Version)
	match := c.Request().Header.Get("If-None-Match")
	if match != "" && c.Request().Method == http.MethodGet && scim.Matches(match, u.Version) {
		return c.NoContent(http.StatusNotModified)
	}
	return writeSCIM(c, status, projection.Of(u))
}

// mediaSCIM is the type of all bodies (RFC 7644 §8.1). Requests may also say application/json.
const mediaSCIM = "application/scim+json"

// readSCIM reads the body of a request.
func readSCIM(c echo.Context, read func([]byte) (scim.Input, error)) (scim.Input, error) {
	types := c.Request().Header.Values("Content-Type")
	if len(types) != 1 || !isMedia(types[0], mediaSCIM) && !isMedia(types[0], echo.MIMEApplicationJSON) {
		return scim.Input{}, &scim.Error{Status: http.StatusUnsupportedMediaType, Detail: "The body must be of type " + mediaSCIM + "."}
	}
	body, err := httpapi.ReadAll(c, httpapi.MaxBody)
	if err != nil {
		return scim.Input{}, err
	}
	return read(body)
}

// isMedia reports whether the value of Content-Type has a media type.
func isMedia(value, media string) bool {
	value, _, _ = strings.Cut(value, ";")
	return strings.EqualFold(strings.TrimSpace(value), media)
}

func writeSCIM(c echo.Context, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.Response().Header().Set("Content-Type", mediaSCIM) // in place of that of a refused proof
	return c.Blob(status, mediaSCIM, body)
}

// writeSCIMError answers with an error of SCIM (RFC 7644 §3.12).
func writeSCIMError(c echo.Context, err error, f failure) error {
	answer := &scim.Error{Status: f.status, Detail: f.description}
	if own := (*scim.Error)(nil); errors.As(err, &own) {
		answer.Type = own.Type
	}
	return writeSCIM(c, f.status, answer)
}
