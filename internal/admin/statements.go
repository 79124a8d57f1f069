package admin

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/types/api"
)

// listStatements serves GET /admin/statements?domain=…&user=ID&typ=TYPE: a page of the live statements about subjects of a domain, or
// about one of its users, in the order of their ids.
func (a *API) listStatements(c echo.Context) error {
	domain, err := a.domain(c)
	if err != nil {
		return err
	}
	p, err := a.page(c)
	if err != nil {
		return err
	}
	typ := c.QueryParam("typ")
	found, next, err := filled(p, func(after string, limit int) ([]nested.Statement, error) {
		return a.Statements.List(c.Request().Context(), domain, c.QueryParam("user"), after, limit)
	}, func(v nested.Statement) string { return v.JTI }, func(v nested.Statement) bool { return matches(typ, v.Type) })
	if err != nil {
		return err
	}
	list := make([]api.Statement, len(found))
	for i, v := range found {
		list[i] = httpapi.Statement(v, "")
	}
	linkNext(c, next)
	return c.JSON(http.StatusOK, list)
}

// makeStatement serves POST /admin/statements: the issuer signs a statement for the operator. The body is an
// [api.NewStatement].
func (a *API) makeStatement(c echo.Context) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	v := nested.Statement{
		Type: b.String("typ"), Subject: b.String("sub"), OldHandle: b.String("old_handle"), Role: b.String("role"),
		Audience: b.Strings("audience"),
	}
	switch v.Type {
	case nested.TypeLink:
		v.Party = b.String("same_as")
	case nested.TypeMove:
		v.Party = b.String("moved_to")
	case nested.TypeMember:
		v.Party = b.String("member")
	case nested.TypeGuardian:
		v.Party = b.String("guardian")
	case nested.TypeRename:
	default:
		return httpapi.Invalid("The member typ must be im-link+jwt, im-move+jwt, im-member+jwt, im-guardian+jwt or im-rename+jwt: " +
			"the other statements are for people, or their keys, to make.")
	}
	if seconds := b.Count("expires_in"); seconds > 0 {
		v.Expires = a.Now().Add(time.Duration(seconds) * time.Second).Truncate(time.Second)
	}
	if err := b.Done(); err != nil {
		return err
	}
	if err := a.mayState(operator(c), v.Subject); err != nil {
		return err
	}
	made, err := a.Statements.Attest(c.Request().Context(), v)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusCreated, httpapi.Statement(made.Statement, made.Token))
}

// mayState refuses an operator of other domains than that of a statement's subject.
func (a *API) mayState(by httpapi.Operator, subject string) error {
	if by.All {
		return nil
	}
	id, err := claims.Parse(subject)
	if err != nil {
		return httpapi.Invalid("The member sub is not a URI of instant messaging in its canonical form.")
	}
	return may(by, id.Domain())
}

// withdrawStatement serves DELETE /admin/statements/{id}?domain=…&reason=…
func (a *API) withdrawStatement(c echo.Context) error {
	domain, err := a.domain(c)
	if err != nil {
		return err
	}
	if _, err := a.Accounts.Withdraw(c.Request().Context(), domain, "", c.Param("id"), reason(c)); err != nil {
		return err
	}
	return c.NoContent(http.StatusNoContent)
}
