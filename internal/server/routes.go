package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
)

// A route is a line of the tables below. Its path is written as in OpenAPI, with {name} for a parameter.
type route struct {
	method, path string
	handler      echo.HandlerFunc
	shared       sharing  // which web pages may read its answers
	counts       counting // for which requests an address pays
}

// echoPath returns the path in the form of echo.
func (r route) echoPath() string { return strings.NewReplacer("{", ":", "}", "").Replace(r.path) }

// publicRoutes is the table of the public endpoints. openapi.yaml describes each.
func (s *Server) publicRoutes() []route {
	list := []route{
		{http.MethodGet, "/.well-known/oauth-authorization-server", s.serveMetadata, anyOrigin, notCounted},
		{http.MethodGet, "/.well-known/im-issuer", s.domainDocument, anyOrigin, notCounted},
		{http.MethodGet, "/.well-known/webfinger", s.webfinger, anyOrigin, eachFailure},
		{http.MethodGet, aspePath + "{fingerprint}", s.publicProfile, anyOrigin, eachFailure},
		{http.MethodGet, "/jwks", s.jwks, anyOrigin, notCounted},
		{http.MethodGet, "/authorize", s.authorize, ownOrigin, eachRequest},
		{http.MethodPost, "/authorize", s.authorize, ownOrigin, eachRequest},
		{http.MethodGet, "/login/callback/{provider}", s.callback, ownOrigin, eachRequest},
		// Providers report many logouts at once from one address, so that valid ones are not counted.
		{http.MethodPost, backchannelPath + "{provider}", identify(s.backchannelLogout), ownOrigin, eachFailure},
		{http.MethodPost, "/login/choose", s.choosePlace, ownOrigin, eachRequest},
		{http.MethodPost, "/login/another", s.useAnother, ownOrigin, eachRequest},
		{http.MethodPost, "/login/cancel", s.cancelLogin, ownOrigin, eachRequest},
		{http.MethodPost, "/login/handle", s.chooseHandle, ownOrigin, eachRequest},
		{http.MethodGet, "/login/consent", s.showConsent, ownOrigin, eachRequest},
		{http.MethodPost, "/login/consent", s.decide, ownOrigin, eachRequest},
		{http.MethodPost, "/par", s.push, anyOrigin, eachRequest},
		{http.MethodPost, "/device_authorization", s.authorizeDevice, anyOrigin, eachRequest},
		{http.MethodPost, "/token", s.token, anyOrigin, eachRequest},
		{http.MethodPost, "/introspect", s.introspect, anyOrigin, eachFailure},
		{http.MethodPost, "/introspect/batch", s.introspectBatch, anyOrigin, eachFailure},
		{http.MethodPost, "/successor", s.successor, anyOrigin, eachFailure},
		{http.MethodPost, crossQueryPath, s.crossQuery, anyOrigin, eachFailure},
		{http.MethodGet, "/events", s.events, anyOrigin, eachFailure},
		{http.MethodPost, "/staple", s.staple, anyOrigin, eachRequest},
		{http.MethodPost, "/revoke", s.revoke, anyOrigin, eachRequest},
		{http.MethodGet, "/status/{id}", s.statusList, anyOrigin, eachFailure},
		{http.MethodGet, "/nonce", s.nonce, anyOrigin, notCounted},
		{http.MethodGet, "/", s.home, ownOrigin, notCounted},
		{http.MethodGet, "/healthz", s.healthz, ownOrigin, notCounted},
		{http.MethodGet, "/readyz", s.readyz, ownOrigin, notCounted},
	}
	list = slices.Concat(list, s.credentialRoutes(), s.wireRoutes(), s.ownRoutes(),
		s.accountRoutes(), s.deviceRoutes(), s.registrationRoutes())
	if !s.SCIMForOperators {
		list = append(list, s.scimRoutes()...)
	}
	return list
}

// adminRoutes is the table of the routes for operators at the admin socket.
func (s *Server) adminRoutes() []route {
	list := []route{{http.MethodGet, "/metrics", s.serveMetrics, ownOrigin, notCounted}}
	for _, r := range s.OperatorRoutes {
		list = append(list, route{r.Method, r.Path, s.atSocket(r.Handler), ownOrigin, notCounted})
	}
	return append(list, s.profileRoutes()...)
}

// monitorRoutes is the table of the routes for monitoring.
func (s *Server) monitorRoutes() []route {
	return []route{
		{http.MethodGet, "/healthz", s.healthz, ownOrigin, notCounted},
		{http.MethodGet, "/readyz", s.readyz, ownOrigin, notCounted},
		{http.MethodGet, "/metrics", s.serveMetrics, ownOrigin, notCounted},
	}
}

// operatorRoutes is the table of the routes for operators over the network. It has no measurements: no program that collects them makes
// proofs.
func (s *Server) operatorRoutes() []route {
	if s.operating == nil {
		return nil
	}
	list := []route{{http.MethodGet, "/.well-known/oauth-protected-resource", s.fromProxy(s.operatingMetadata), ownOrigin, notCounted}}
	for _, r := range s.OperatorRoutes {
		list = append(list, route{r.Method, r.Path, s.fromProxy(s.timely(s.operator(r.Handler))), ownOrigin, notCounted})
	}
	if s.SCIMForOperators {
		for _, r := range s.scimRoutes() {
			r.handler = s.fromProxy(r.handler)
			list = append(list, r)
		}
	}
	return list
}

// sender returns the address that a request came from, as [dpop.Sender] reads it, and "" if there is none.
func (s *Server) sender(r *http.Request) string {
	addr, _ := dpop.Sender(r, s.TrustedProxies) // see countForwarded for the error
	if !addr.IsValid() {
		return ""
	}
	return addr.String()
}

// router returns the handler of a table.
func (s *Server) router(table []route) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = s.sender
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.answerError(c, err) }
	e.Use(s.observe(sharedOf(table))) // one, because echo makes a closure of each for each request
	for _, r := range table {
		handler := s.counted(r)
		if r.counts != notCounted {
			handler = s.timely(handler)
		}
		if r.counts != eachFailure { // those routes only answer questions, so they record no event
			handler = identify(handler)
		}
		e.Add(r.method, r.echoPath(), handler)
		if r.method == http.MethodGet {
			e.HEAD(r.echoPath(), handler) // RFC 9110 §9.1 requires it with GET
		}
	}
	return e
}

// timely lets a handler answer only while the time is known: all of them compare times with it.
func (s *Server) timely(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := s.Time(); err != nil {
			return err
		}
		return next(c)
	}
}
