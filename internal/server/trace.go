package server

import (
	"slices"
	"strings"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/oauth"
)

// untraced are the routes of monitoring, which asks all the time.
var untraced = []string{"/healthz", "/readyz", "/metrics"}

// trace begins the span of a request with an id. The rest of the request has it in its context.
func (s *Server) trace(c *call, id string) {
	route := c.Path()
	if slices.Contains(untraced, route) || strings.HasPrefix(route, profilesPath) {
		return
	}
	ctx, span := s.Tracer.Request(c.Request(), route)
	if span == nil {
		return
	}
	c.span = span
	span.Set(trace.RequestID, id)
	c.SetRequest(c.Request().WithContext(ctx))
}

// endTrace ends the span of a request that was answered. Its attributes have values of closed lists, or of the settings.
func (s *Server) endTrace(c *call) {
	c.span.Set(trace.ErrorCode, c.trail.code)
	if c.trail.grant != "" {
		c.span.Set(trace.GrantType, known(c.trail.grant, oauth.GrantTypes))
	}
	if _, ok := s.Logins[c.trail.provider]; ok {
		c.span.Set(trace.Provider, c.trail.provider)
	}
	id := c.trail.client
	if id == "" {
		id = basicClient(c.Request())
	}
	if client, ok := s.OAuth.Client(id); ok {
		c.span.Set(trace.ClientKind, clientKind(client))
	}
	c.span.Answered(c.Response().Status)
}

// known returns a value that is in a list, and other in place of all others.
func known(value string, list []string) string {
	if slices.Contains(list, value) {
		return value
	}
	return "other"
}

// clientKind says how a client authenticates, as the setting auth does; but public in place of none.
func clientKind(c *clients.Client) string {
	switch {
	case c.Public():
		return "public"
	case c.SecretSHA256 != nil:
		return "secret"
	}
	return "private_key_jwt"
}
