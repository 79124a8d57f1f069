package server

import (
	"bytes"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// serveDocument answers with a public document, which may be cached for maxAge seconds, or with 304 if the caller has it.
func serveDocument(c echo.Context, contentType string, body []byte, etag, maxAge string) error {
	cacheable(c, maxAge)
	return serveTagged(c, contentType, body, etag)
}

// serveTagged answers with a public document, or with 304 if the caller has it.
func serveTagged(c echo.Context, contentType string, body []byte, etag string) error {
	h := c.Response().Header()
	h.Set("ETag", etag)
	h.Set("Content-Type", contentType)
	r := c.Request().Clone(c.Request().Context())
	for _, name := range []string{"Range", "If-Range", "If-Match", "If-Unmodified-Since"} {
		r.Header.Del(name) // it is served as a whole
	}
	http.ServeContent(c.Response(), r, "", time.Time{}, bytes.NewReader(body)) // knows If-None-Match
	return nil
}
