package server

import (
	"net"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
)

// A route is one line of the table below. Its path is written as in OpenAPI, with {name} for a parameter.
type route struct {
	method, path string
	handler      echo.HandlerFunc
}

// publicRoutes is the table of all that the issuer serves to everybody; openapi.yaml describes each.
func (s *Server) publicRoutes() []route {
	return []route{
		{http.MethodGet, "/.well-known/oauth-authorization-server", s.serveMetadata},
		{http.MethodGet, "/jwks", s.jwks},
		{http.MethodGet, "/authorize", s.authorize},
		{http.MethodPost, "/authorize", s.authorize},
		{http.MethodGet, "/login/callback/{provider}", s.callback},
		{http.MethodPost, "/login/handle", s.chooseHandle},
		{http.MethodPost, "/par", s.push},
		{http.MethodPost, "/token", s.token},
		{http.MethodPost, "/introspect", s.introspect},
		{http.MethodPost, "/revoke", s.revoke},
		{http.MethodGet, "/nonce", s.nonce},
		{http.MethodGet, "/healthz", s.healthz},
		{http.MethodGet, "/readyz", s.readyz},
	}
}

// adminRoutes is the table of what operators ask, over a socket of their own.
func (s *Server) adminRoutes() []route {
	return []route{
		{http.MethodGet, "/metrics", s.serveMetrics},
		{http.MethodGet, "/admin/devices", s.listDevices},
		{http.MethodDelete, "/admin/devices/{domain}/{device}", s.removeDevice},
		{http.MethodGet, "/admin/users", s.listUsers},
		{http.MethodGet, "/admin/users/{user}", s.showUser},
		{http.MethodPut, "/admin/users/{user}/handle", s.renameUser},
		{http.MethodPost, "/admin/users/{user}/disable", s.disableUser},
		{http.MethodPost, "/admin/users/{user}/enable", s.enableUser},
		{http.MethodGet, "/admin/clients", s.listClients},
		{http.MethodGet, "/admin/keys", s.listKeys},
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
		path := strings.NewReplacer("{", ":", "}", "").Replace(r.path)
		e.Add(r.method, path, r.handler)
		if r.method == http.MethodGet {
			e.HEAD(path, r.handler) // RFC 9110 §9.1 wants it wherever there is GET
		}
	}
	return e
}
