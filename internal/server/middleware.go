package server

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/trace"
	"github.com/imidentity/issuer/oauth"
)

const (
	maxParameter = 8 << 10  // bytes of one parameter; only a token may be so long
	maxTokens    = 36 << 10 // bytes of a parameter with several tokens
	headerID     = "X-Request-Id"
	headerNonce  = "Dpop-Nonce" // as net/http spells it
)

// A call is a request that is being served: the context of echo, with the trail of the request.
type call struct {
	echo.Context
	trail trail
	span  *trace.Span // nil if the request is not traced
}

// observe returns the one middleware of a table of routes. It gives each request an id, sets the headers of every answer, logs the
// request when it is answered, and turns a panic into an answer. The log has the route, never the URL, because a query may hold a
// code or a state.
func (s *Server) observe(shared sharedRoutes) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(routed echo.Context) (err error) {
			start := time.Now()
			id, err := s.ids.next()
			if err != nil {
				return fmt.Errorf("server: make a request id: %w", err)
			}
			c := &call{Context: routed}
			c.Response().Header()[headerID] = []string{id}
			if s.Tracer != nil {
				s.trace(c, id)
			}
			s.countForwarded(c.Request())
			defer func() {
				if p := recover(); p != nil {
					if p == http.ErrAbortHandler {
						if c.span != nil {
							s.endTrace(c)
						}
						panic(p)
					}
					s.Log.ErrorContext(c.Request().Context(), "panic", slog.String("id", id), slog.Any("value", p),
						slog.String("stack", string(debug.Stack())))
					err = &oauth.Error{Code: oauth.CodeServerError, Description: "The server failed."}
				}
				if err != nil {
					s.answerError(c, err)
					err = nil
				}
				end := time.Now()
				s.metrics.answered(c, c.Response().Status, end.Sub(start))
				s.logAnswered(c, id, end, end.Sub(start))
				if c.span != nil {
					s.endTrace(c)
				}
			}()
			s.carry(c)
			shared.share(c)
			return next(c)
		}
	}
}

// logAnswered writes the line of a request that was answered. It does not go through the methods of [slog.Logger], which look up the
// position of their caller in the source, although no format of the log has it.
func (s *Server) logAnswered(c echo.Context, id string, at time.Time, took time.Duration) {
	ctx, h := c.Request().Context(), s.Log.Handler()
	if !h.Enabled(ctx, slog.LevelInfo) {
		return
	}
	line := slog.NewRecord(at, slog.LevelInfo, "request", 0)
	line.AddAttrs(slog.String("id", id), slog.String("method", c.Request().Method), slog.String("route", c.Path()),
		slog.Int("status", c.Response().Status), slog.Float64("duration_ms", milliseconds(took)))
	_ = h.Handle(ctx, line)
}

// identify puts the id of the request into its context, for audit events.
func identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		c.SetRequest(r.WithContext(audit.WithRequestID(r.Context(), requestID(c))))
		return next(c)
	}
}

// milliseconds returns a duration for the log, in the unit that the attribute's name says.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Values of headers that all answers share. A header is changed by Set or Add, which leave them alone.
var (
	noStore    = []string{"no-store"}
	noSniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	typeJSON   = []string{echo.MIMEApplicationJSON}
)

// carry sets the headers of every answer: a nonce for the next proof, with no-store (RFC 9449 §8.2), and those that keep
// browsers from guessing. A handler whose answer may be cached removes the nonce again: see cacheable.
func (s *Server) carry(c echo.Context) {
	h := c.Response().Header()
	h["Cache-Control"], h["X-Content-Type-Options"], h["Referrer-Policy"] = noStore, noSniff, noReferrer
	if c.Request().Method == http.MethodOptions {
		return // no client uses the nonce of a preflight, and a preflight must be cheap
	}
	if err := s.setNonce(c); err != nil {
		// Requests that need a nonce fail by themselves. Keys and metadata are served without one.
		s.Log.Error("make a nonce", slog.String("id", requestID(c)), slog.Any("error", err))
	}
}

// setNonce sets the header with the newest nonce, if nonces are used.
func (s *Server) setNonce(c echo.Context) error {
	nonce, err := s.Proofs.Nonce(c.Request().Context())
	if err == nil && nonce != "" {
		c.Response().Header()[headerNonce] = []string{nonce}
	}
	return err
}

// cacheable lets an answer be cached for maxAge seconds, and removes the nonce, which would be stale in a cache.
func cacheable(c echo.Context, maxAge string) {
	h := c.Response().Header()
	h.Set("Cache-Control", "public, max-age="+maxAge)
	h.Del("DPoP-Nonce")
}

// form reads the parameters of a request from its body. Parameters in the URL are refused.
func form(c echo.Context) (url.Values, error) {
	text, err := formText(c, httpapi.MaxBody)
	if err != nil {
		return nil, err
	}
	params, err := parameters(text)
	noteRequest(c, params)
	return params, err
}

// formText returns the body of a request that is a form, of at most limit bytes.
func formText(c echo.Context, limit int64) (string, error) {
	r := c.Request()
	if r.URL.RawQuery != "" {
		return "", invalid("Send parameters in the body, not in the URL, which logs keep.")
	}
	types := r.Header.Values("Content-Type")
	if len(types) != 1 || !isForm(types[0]) {
		return "", invalid("The body must be of type application/x-www-form-urlencoded.")
	}
	body, err := httpapi.ReadAll(c, limit)
	if err != nil {
		return "", err
	}
	if bytes.IndexByte(body, ';') >= 0 { // forms encode it as %3B
		return "", invalid("The body has a semicolon that is not percent-encoded.")
	}
	return string(body), nil
}

// query reads the parameters of a request from its URL.
func query(c echo.Context) (url.Values, error) {
	params, err := parameters(c.Request().URL.RawQuery)
	noteRequest(c, params)
	return params, err
}

func isForm(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/x-www-form-urlencoded")
}

// parameters decodes a form or a query. A parameter may not be repeated (RFC 6749 §3.1 and §3.2), except resource (RFC 8707 §2)
// and audience (RFC 8693 §2.1). Each value must be UTF-8 text. Only & separates parameters: a semicolon is part of a value in
// a query (RFC 3986 §3.4).
func parameters(encoded string) (url.Values, error) {
	if len(encoded) > httpapi.MaxBody {
		return nil, httpapi.ErrTooLarge
	}
	values := make(url.Values)
	for pair := range strings.SplitSeq(encoded, "&") {
		if pair == "" {
			continue
		}
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err := unescape(rawName)
		value, err2 := unescape(rawValue)
		if err != nil || err2 != nil {
			return nil, invalid("The parameters are not well-formed: check their percent-encoding.")
		}
		if strings.Contains(rawName, ";") { // some software would read another parameter after it
			return nil, invalid("The name of a parameter has a semicolon: separate parameters by &.")
		}
		values[name] = append(values[name], value)
	}
	for name, list := range values {
		if len(list) > 1 && name != "resource" && name != "audience" {
			return nil, invalid("A parameter is repeated.")
		}
		if len(list) > 32 {
			return nil, invalid("There are more than 32 values of one parameter.")
		}
		limit := maxParameter
		switch name {
		case "tokens", "im_along", "token", "successor_token": // several tokens, or one that encloses others
			limit = maxTokens
		}
		for _, v := range list {
			if len(v) > limit {
				return nil, httpapi.ErrTooLarge
			}
			if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
				return nil, invalid("A parameter is not text in UTF-8.")
			}
		}
	}
	// A parameter without a value is treated as absent (RFC 6749 §3.1).
	for name, list := range values {
		if len(list) == 1 && list[0] == "" {
			delete(values, name)
		}
	}
	return values, nil
}

// unescape is [url.QueryUnescape], but for a text without escapes, such as a token, only two searches.
func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, nil
	}
	return url.QueryUnescape(s)
}

func invalid(description string) error { return httpapi.Invalid(description) }

// source returns the address that a request came from, as [dpop.Sender] reads it.
func (s *Server) source(c echo.Context) netip.Addr {
	addr, _ := dpop.Sender(c.Request(), s.TrustedProxies) // see countForwarded for the error
	return addr
}

func requestID(c echo.Context) string { return c.Response().Header().Get(headerID) }
