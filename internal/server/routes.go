package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// A route is one line of the tables below. Its path is written as in OpenAPI, with {name} for a parameter.
type route struct {
	method, path string
	handler      echo.HandlerFunc
	counts       counting // what an address pays for
}

// echoPath is the path as echo writes it.
func (r route) echoPath() string { return strings.NewReplacer("{", ":", "}", "").Replace(r.path) }

// publicRoutes is the table of all that the issuer serves to everybody; openapi.yaml describes each.
func (s *Server) publicRoutes() []route {
	return []route{
		{http.MethodGet, "/.well-known/oauth-authorization-server", s.serveMetadata, notCounted},
		{http.MethodGet, "/jwks", s.jwks, notCounted},
		{http.MethodGet, "/authorize", s.authorize, eachRequest},
		{http.MethodPost, "/authorize", s.authorize, eachRequest},
		{http.MethodGet, "/login/callback/{provider}", s.callback, eachRequest},
		{http.MethodPost, "/login/handle", s.chooseHandle, eachRequest},
		{http.MethodPost, "/par", s.push, eachRequest},
		{http.MethodPost, "/token", s.token, eachRequest},
		{http.MethodPost, "/introspect", s.introspect, eachFailure},
		{http.MethodPost, "/revoke", s.revoke, eachRequest},
		{http.MethodGet, "/nonce", s.nonce, notCounted},
		{http.MethodGet, "/healthz", s.healthz, notCounted},
		{http.MethodGet, "/readyz", s.readyz, notCounted},
	}
}

// adminRoutes is the table of what operators ask, over a socket of their own.
func (s *Server) adminRoutes() []route {
	return []route{
		{http.MethodGet, "/metrics", s.serveMetrics, notCounted},
		{http.MethodGet, "/admin/devices", s.listDevices, notCounted},
		{http.MethodDelete, "/admin/devices/{domain}/{device}", s.removeDevice, notCounted},
		{http.MethodGet, "/admin/users", s.listUsers, notCounted},
		{http.MethodGet, "/admin/users/{user}", s.showUser, notCounted},
		{http.MethodPut, "/admin/users/{user}/handle", s.renameUser, notCounted},
		{http.MethodPost, "/admin/users/{user}/disable", s.disableUser, notCounted},
		{http.MethodPost, "/admin/users/{user}/enable", s.enableUser, notCounted},
		{http.MethodGet, "/admin/clients", s.listClients, notCounted},
		{http.MethodGet, "/admin/keys", s.listKeys, notCounted},
	}
}

// senders says who sent a request: the other end of its connection or, for a trusted proxy, the last address in its
// X-Forwarded-For that is no trusted proxy's.
func (s *Server) senders() echo.IPExtractor {
	if len(s.TrustedProxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trusted := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range s.TrustedProxies {
		trusted = append(trusted, echo.TrustIPRange(&net.IPNet{
			IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(trusted...)
}

// router makes the handler of a table.
func (s *Server) router(table []route) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = s.senders()
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.answerError(c, err) }
	e.Pre(s.observe, s.carry)
	for _, r := range table {
		handler := s.counted(r)
		e.Add(r.method, r.echoPath(), handler)
		if r.method == http.MethodGet {
			e.HEAD(r.echoPath(), handler) // RFC 9110 §9.1 wants it wherever there is GET
		}
	}
	return e
}
