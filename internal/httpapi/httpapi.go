// Package httpapi holds the parts of HTTP that the handlers of internal/server and internal/admin share: routes, JSON bodies
// and refusals. Internal/server maps every error to its answer, in errors.go.
package httpapi

import (
	"errors"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
)

// MaxBody is how many bytes a body or a query may have.
const MaxBody = 64 << 10

// A Route is a line of a table of routes. Its path is written as in OpenAPI, with {name} for a parameter.
type Route struct {
	Method, Path string
	Handler      echo.HandlerFunc
	// Reach says which operators an endpoint for operators serves, and Query which parameters its query may have, beside the domain of
	// an endpoint that is about one. Over the network any other parameter is refused: the request would not do what it asks.
	Reach Reach
	Query []string
}

// ErrTooLarge refuses a body, a query or a parameter that exceeds its limit.
var ErrTooLarge = errors.New("request too large")

// A RefusedError refuses a request for a reason that only its endpoint has.
type RefusedError struct {
	Status      int    // of the answer
	Code        string // the member error of the answer
	Description string // for people
	RetryAfter  string // seconds, for the header; empty for none
	Err         error  // the cause, for the log; may be nil
}

func (e *RefusedError) Error() string {
	if e.Err != nil {
		return e.Code + ": " + e.Description + ": " + e.Err.Error()
	}
	return e.Code + ": " + e.Description
}

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// Conflict returns a [*RefusedError] with status 409.
func Conflict(code, description string) error {
	return &RefusedError{Status: http.StatusConflict, Code: code, Description: description}
}

// Invalid returns the error of a request that is not well-formed.
func Invalid(description string) error {
	return &oauth.Error{Code: oauth.CodeInvalidRequest, Description: description}
}

// shortBody is the size of most bodies, with a token in them.
const shortBody = 4 << 10

// ReadAll reads the body of a request, of at most limit bytes.
func ReadAll(c echo.Context, limit int64) ([]byte, error) {
	// A short body is read into a buffer of its size. That of a longer one grows with the bytes that arrive: a client pays for
	// memory by sending.
	if r := c.Request(); r.ContentLength >= 0 && r.ContentLength <= min(limit, shortBody) {
		text := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(r.Body, text); err != nil {
			return nil, Invalid("The body is incomplete.")
		}
		return text, nil
	}
	text, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, limit))
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return nil, ErrTooLarge
	} else if err != nil {
		return nil, Invalid("The body is incomplete.")
	}
	return text, nil
}
