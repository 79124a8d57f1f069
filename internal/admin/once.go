package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/internal/idempotency"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/types/api"
)

// once serves a request that changes something. With an idempotency key it is done once: a request that is sent again gets the first
// answer, without what an answer shows only once. See [idempotency].
func (a *API) once(c echo.Context, next echo.HandlerFunc) error {
	r := c.Request()
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return next(c)
	}
	key, err := idempotency.Parse(values)
	if err != nil {
		return httpapi.Invalid("The header Idempotency-Key must be one string of 1 to 255 characters in quotation marks, such as a UUID.")
	}
	body, err := httpapi.ReadAll(c, api.MaxMap)
	if err != nil {
		return err
	}
	caller := "socket"
	if by := operator(c); by.Client != "" {
		caller = "client:" + by.Client
	}
	request, err := a.Idempotency.Begin(r.Context(), caller, key, r.Method, r.URL.EscapedPath(), r.URL.Query().Encode(),
		r.Header.Get("Content-Type"), string(body))
	if err != nil {
		return onceRefused(err)
	}
	defer request.End()
	if kept := request.Kept; kept != nil {
		c.Response().Header().Set("Idempotency-Replayed", "true")
		if kept.ContentType == "" {
			return c.NoContent(kept.Status)
		}
		return c.Blob(kept.Status, kept.ContentType, kept.Body)
	}
	r = r.WithContext(request.Context(r.Context()))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	c.SetRequest(r)
	return a.recorded(c, request, next)
}

// recorded serves a request, and stores its answer before it sends it.
func (a *API) recorded(c echo.Context, request *idempotency.Request, next echo.HandlerFunc) error {
	w := c.Response().Writer
	held := &heldAnswer{ResponseWriter: w}
	c.Response().Writer = held
	err := next(c)
	c.Response().Writer = w
	if err != nil {
		return unanswered(request, onceRefused(err))
	}
	if held.status == 0 {
		held.status = http.StatusOK
	}
	answer := idempotency.Answer{Status: held.status, ContentType: w.Header().Get("Content-Type"), Body: lasting(held.body.Bytes())}
	if err := request.Finish(c.Request().Context(), answer); err != nil {
		// Echo takes the answer for sent. It was held back, so another one can still be sent.
		c.Response().Committed, c.Response().Size = false, 0
		w.Header().Del("Content-Type")
		return unanswered(request, err)
	}
	w.WriteHeader(held.status)
	_, err = w.Write(held.body.Bytes())
	return err
}

// unanswered returns the error of a request, or of keeping its answer. If the request has changed something, the words for an outage,
// that nothing was changed, would be wrong.
func unanswered(request *idempotency.Request, err error) error {
	var refused *httpapi.RefusedError
	var invalid *oauth.Error
	if !request.Done() || errors.As(err, &refused) || errors.As(err, &invalid) {
		return err
	}
	return &httpapi.RefusedError{
		Status: http.StatusServiceUnavailable, Code: oauth.CodeTemporarilyUnavailable, RetryAfter: "1", Err: err,
		Description: "The change is stored, but its answer is lost: read the state. The same Idempotency-Key does not change it again.",
	}
}

// A heldAnswer keeps an answer instead of sending it.
type heldAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (h *heldAnswer) WriteHeader(status int)         { h.status = status }
func (h *heldAnswer) Write(text []byte) (int, error) { return h.body.Write(text) }
func (h *heldAnswer) Unwrap() http.ResponseWriter    { return h.ResponseWriter }

// lasting returns an answer without the members that are shown only once: the secret of a client, and a signed statement.
func lasting(body []byte) []byte {
	type member struct {
		name  string
		value json.RawMessage
	}
	var members []member
	once := false
	err := jose.Object(body, func(name string, value []byte) error {
		if name == "secret" || name == "token" {
			once = true
			return nil
		}
		members = append(members, member{name, value})
		return nil
	})
	if err != nil || !once { // a list, or no JSON
		return body
	}
	text := []byte("{")
	for i, m := range members {
		if i > 0 {
			text = append(text, ',')
		}
		name, _ := json.Marshal(m.name) // a string is always JSON
		text = append(append(append(text, name...), ':'), m.value...)
	}
	return append(text, '}', '\n')
}

// onceRefused returns the answer to an error of package idempotency, and any other error as it is.
func onceRefused(err error) error {
	switch {
	case errors.Is(err, idempotency.ErrOther):
		return &httpapi.RefusedError{Status: http.StatusUnprocessableEntity, Code: oauth.CodeInvalidRequest,
			Description: "The Idempotency-Key was used for another request: make a new key for each request."}
	case errors.Is(err, idempotency.ErrRunning):
		return httpapi.Conflict("request_in_progress", "A request with this Idempotency-Key is being answered: try again in a moment.")
	case errors.Is(err, idempotency.ErrLost):
		return httpapi.Conflict("answer_lost", "The request with this Idempotency-Key was done, and its answer was lost: read the state, "+
			"and use a new key for another change.")
	}
	return err
}
