package server

import (
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"
)

// wellKnown is where a host describes its services (RFC 8615).
const wellKnown = "/.well-known/"

// mount returns a middleware that serves the routes below the path of the issuer's URL, if that has one, and nothing elsewhere on
// the host. The path stays out of routes, logs and metrics; a URL for browsers needs [Server.path].
//
// The documents that RFC 8414 §3.1 puts under /.well-known/ of the host, followed by the issuer's path, are served there and,
// as for an issuer without a path, below its URL. Profiles of places are there without it.
func (s *Server) mount() echo.MiddlewareFunc {
	outside := s.observe(nil)(echo.NotFoundHandler)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			r := c.Request()
			path, ok := s.below(r.URL)
			if !ok {
				return outside(c)
			}
			// In place: echo finds the route by the request that it was called with.
			r.URL.Path, r.URL.RawPath = path, strings.TrimPrefix(r.URL.RawPath, s.prefix)
			if r.URL.RawPath == path {
				r.URL.RawPath = ""
			}
			return next(c)
		}
	}
}

// below returns the path of a request within the issuer's own.
func (s *Server) below(u *url.URL) (string, bool) {
	if name, ok := strings.CutSuffix(u.Path, s.prefix); ok && u.RawPath == "" {
		if rest, ok := strings.CutPrefix(name, wellKnown); ok && !strings.Contains(rest, "/") {
			return name, true
		}
	}
	if strings.HasPrefix(u.Path, aspePath) && u.RawPath == "" {
		return u.Path, true
	}
	path, ok := strings.CutPrefix(u.Path, s.prefix)
	return path, ok && strings.HasPrefix(path, "/") && (u.RawPath == "" || strings.HasPrefix(u.RawPath, s.prefix+"/"))
}

// path returns the path of a route as browsers have to ask for it.
func (s *Server) path(route string) string { return s.prefix + route }
