package server

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/nested"
)

// listStatements serves GET /admin/statements?domain=…: the statements of a domain that stand.
func (s *Server) listStatements(c echo.Context) error {
	domain, err := s.adminDomain(c)
	if err != nil {
		return err
	}
	all, err := s.OAuth.Statements(c.Request().Context(), domain, c.QueryParam("user"))
	if err != nil {
		return err
	}
	list := make([]Statement, len(all))
	for i, v := range all {
		list[i] = shown(v, "")
	}
	return c.JSON(http.StatusOK, list)
}

// attest serves POST /admin/statements: the operator answers for what it says.
func (s *Server) attest(c echo.Context) error {
	b, err := readBody(c)
	if err != nil {
		return err
	}
	v := nested.Statement{
		Type: b.string("typ"), Subject: b.string("sub"), OldHandle: b.string("old_handle"), Role: b.string("role"),
		Audience: b.strings("audience"),
	}
	switch v.Type {
	case nested.TypeLink:
		v.Party = b.string("same_as")
	case nested.TypeMove:
		v.Party = b.string("moved_to")
	case nested.TypeMember:
		v.Party = b.string("member")
	case nested.TypeGuardian:
		v.Party = b.string("guardian")
	case nested.TypeRename:
	default:
		return invalid("The member typ must be im-link+jwt, im-move+jwt, im-member+jwt, im-guardian+jwt or im-rename+jwt: the other statements are for people, or their keys, to make.")
	}
	if seconds := b.count("expires_in"); seconds > 0 {
		v.Expires = s.Now().Add(time.Duration(seconds) * time.Second).Truncate(time.Second)
	}
	if err := b.done(); err != nil {
		return err
	}
	made, err := s.OAuth.Attest(c.Request().Context(), v)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, shown(made.Statement, made.Token))
}

// endStatement serves DELETE /admin/statements/{id}?domain=…&reason=…
func (s *Server) endStatement(c echo.Context) error {
	domain, err := s.adminDomain(c)
	if err != nil {
		return err
	}
	reason := c.QueryParam("reason")
	if reason == "" {
		reason = "operator"
	}
	if _, err := s.Accounts.Withdraw(c.Request().Context(), domain, "", c.Param("id"), reason); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
