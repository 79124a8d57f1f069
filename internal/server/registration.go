package server

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/registration"
)

// registrationPath is the path of the registration endpoint. That of a client's registration follows, with its id.
const registrationPath = "/register"

// registrationRoutes is the table of the routes by which clients register themselves.
func (s *Server) registrationRoutes() []route {
	return []route{
		{http.MethodPost, registrationPath, s.register, anyOrigin, eachRequest},
		{http.MethodGet, registrationPath + "/{client}", s.readRegistration, anyOrigin, eachRequest},
		{http.MethodPut, registrationPath + "/{client}", s.replaceRegistration, anyOrigin, eachRequest},
		{http.MethodDelete, registrationPath + "/{client}", s.removeRegistration, anyOrigin, eachRequest},
	}
}

// register serves POST /register (RFC 7591 §3).
func (s *Server) register(c echo.Context) error {
	token, err := s.registrationToken(c)
	if err != nil {
		return err
	}
	body, err := registrationBody(c)
	if err != nil {
		return err
	}
	made, err := s.Registrations.Register(s.byClient(c), token, body)
	if err != nil {
		return err
	}
	trailOf(c).client = made.ClientID
	return c.JSON(http.StatusCreated, made)
}

// readRegistration serves GET /register/{client} (RFC 7592 §2.1).
func (s *Server) readRegistration(c echo.Context) error {
	token, err := s.registrationToken(c)
	if err != nil {
		return err
	}
	found, err := s.Registrations.Read(c.Request().Context(), c.Param("client"), token)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, found)
}

// replaceRegistration serves PUT /register/{client} (RFC 7592 §2.2).
func (s *Server) replaceRegistration(c echo.Context) error {
	token, err := s.registrationToken(c)
	if err != nil {
		return err
	}
	body, err := registrationBody(c)
	if err != nil {
		return err
	}
	changed, err := s.Registrations.Replace(s.byClient(c), c.Param("client"), token, body)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, changed)
}

// removeRegistration serves DELETE /register/{client} (RFC 7592 §2.3).
func (s *Server) removeRegistration(c echo.Context) error {
	token, err := s.registrationToken(c)
	if err != nil {
		return err
	}
	if err := s.Registrations.Remove(s.byClient(c), c.Param("client"), token); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}

// byClient is the context of a change by a client that manages its registration.
func (s *Server) byClient(c echo.Context) context.Context {
	return audit.WithOrigin(c.Request().Context(), audit.Origin{Actor: audit.ActorClient, Address: s.source(c)})
}

// registrationToken returns the bearer token of a request (RFC 6750 §2.1). If clients cannot register themselves, there is nothing.
func (s *Server) registrationToken(c echo.Context) (string, error) {
	if s.Registrations == nil {
		return "", echo.ErrNotFound
	}
	values := c.Request().Header.Values("Authorization")
	if len(values) != 1 {
		return "", registration.ErrToken
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", registration.ErrToken
	}
	return strings.TrimLeft(token, " "), nil
}

// registrationBody reads client metadata.
func registrationBody(c echo.Context) ([]byte, error) {
	if !httpapi.IsJSON(c.Request()) {
		return nil, &registration.Error{
			Code: registration.CodeInvalidMetadata, Description: "The body must be of type application/json.",
		}
	}
	return httpapi.ReadAll(c, httpapi.MaxBody)
}

// ofRegistration maps the refusals of package registration, and returns false for any other error.
func ofRegistration(err error) (failure, bool) {
	var refused *registration.Error
	switch {
	case errors.As(err, &refused):
		return failure{status: http.StatusBadRequest, code: refused.Code, description: refused.Description}, true
	case errors.Is(err, registration.ErrToken):
		return failure{status: http.StatusUnauthorized, code: "invalid_token",
			description: "The request needs one valid access token for registrations, as Authorization: Bearer.",
			challenge:   `Bearer error="invalid_token"`}, true
	case errors.Is(err, clients.ErrRegistrations):
		return failure{status: http.StatusForbidden, code: "access_denied",
			description: "As many clients are registered with this initial access token as may be: remove one, or ask the operator."}, true
	}
	return failure{}, false
}
