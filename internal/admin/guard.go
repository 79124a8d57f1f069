package admin

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/errtext"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
)

// errNoOperator means that a request reached the package without having been admitted.
var errNoOperator = errors.New("admin: the request was not admitted as an operator's")

// guard returns the handler of a route. It serves only the operators whom the route is for and, over the network, only queries that the
// route knows.
func (a *API) guard(r httpapi.Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		by, ok := httpapi.OperatorOf(c.Request().Context())
		if !ok {
			return errNoOperator
		}
		if by.Client != "" { // scripts at the socket may rely on parameters that were always ignored
			if err := checkQuery(c.Request().URL.RawQuery, r); err != nil {
				return err
			}
		}
		if err := a.reaches(c, r.Reach, by); err != nil {
			return err
		}
		if q := c.Request(); q.Method != http.MethodGet {
			origin := audit.Origin{Actor: Actor(q.Context()), Address: by.Address}
			c.SetRequest(q.WithContext(audit.WithOrigin(q.Context(), origin)))
		}
		return a.once(c, r.Handler)
	}
}

// reaches refuses an operator whom an endpoint is not for.
func (a *API) reaches(c echo.Context, r httpapi.Reach, by httpapi.Operator) error {
	switch {
	case r == httpapi.AtSocket && by.Client != "":
		return denied("This works only at the admin socket: it uses files of the issuer's machine.")
	case r == httpapi.WholeIssuer && !by.All:
		return denied("This concerns all domains of the issuer, and the client is not registered for all of them.")
	case r == httpapi.OneDomain && !by.All:
		domain, err := a.domain(c)
		if err != nil {
			return err
		}
		return may(by, domain)
	}
	return nil
}

// may refuses an operator of other domains.
func may(by httpapi.Operator, domain string) error {
	if !by.May(domain) {
		return denied("The client is not registered for that domain. Its domains are: " + strings.Join(by.Domains, " ") + ".")
	}
	return nil
}

// operator returns the operator who asks.
func operator(c echo.Context) httpapi.Operator {
	by, _ := httpapi.OperatorOf(c.Request().Context()) // guard has checked that there is one
	return by
}

func denied(description string) error {
	return &httpapi.RefusedError{Status: http.StatusForbidden, Code: oauth.CodeAccessDenied, Description: description}
}

// maxShown is how many bytes of a wrong name an error shows.
const maxShown = 40

// checkQuery refuses a query with a parameter that a route does not know, or with one that is repeated.
func checkQuery(query string, r httpapi.Route) error {
	params, err := url.ParseQuery(query)
	if err != nil {
		return httpapi.Invalid("The query is malformed: check its percent-encoding.")
	}
	for name, values := range params {
		known := slices.Contains(r.Query, name) ||
			r.Reach == httpapi.OneDomain && name == "domain" && !strings.Contains(r.Path, "{domain}")
		switch {
		case !known && len(r.Query) == 0:
			return httpapi.Invalid("The parameter " + errtext.Quote(name, maxShown) + " is not known here.")
		case !known:
			return httpapi.Invalid("The parameter " + errtext.Quote(name, maxShown) + " is not known here. Known are: " +
				strings.Join(r.Query, " ") + ".")
		case len(values) > 1:
			return httpapi.Invalid("The parameter " + name + " is repeated.")
		}
	}
	return nil
}

// Actor returns the actor of the audit events that an operator causes: admin at the socket, and admin:CLIENT over the network. No
// client id has a colon.
func Actor(ctx context.Context) audit.Actor {
	if by, ok := httpapi.OperatorOf(ctx); ok && by.Client != "" {
		return audit.ActorAdmin + audit.Actor(":"+by.Client)
	}
	return audit.ActorAdmin
}
