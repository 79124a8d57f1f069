package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// words are the texts of a page that says why a login does not go on.
type words struct {
	status      int
	title, text web.Key
}

var endings = map[signin.Reason]words{
	signin.Over:            {http.StatusBadRequest, "end.over.title", "end.over.text"},
	signin.Elsewhere:       {http.StatusForbidden, "end.elsewhere.title", "end.elsewhere.text"},
	signin.ProviderDown:    {http.StatusServiceUnavailable, "end.provider_down.title", "end.provider_down.text"},
	signin.CodeRefused:     {http.StatusBadRequest, "end.over.title", "end.code_refused.text"},
	signin.ResponseInvalid: {http.StatusBadGateway, "end.response_invalid.title", "end.response_invalid.text"},
	signin.UserDisabled:    {http.StatusForbidden, "end.disabled.title", "end.disabled.text"},
	signin.UserRemoved:     {http.StatusForbidden, "end.removed.title", "end.removed.text"},
	signin.HandleTaken:     {http.StatusConflict, "end.handle_taken.title", "end.handle_taken.text"},
	signin.HandleMissing:   {http.StatusConflict, "end.handle_missing.title", "end.handle_missing.text"},
	signin.HandleInvalid:   {http.StatusConflict, "end.handle_invalid.title", "end.handle_invalid.text"},
	signin.UserIDInvalid:   {http.StatusConflict, "end.id_invalid.title", "end.id_invalid.text"},
	signin.UserIDTaken:     {http.StatusConflict, "end.id_taken.title", "end.id_taken.text"},
	signin.LinkedOtherwise: {http.StatusConflict, "end.linked_otherwise.title", "end.linked_otherwise.text"},
}

// showEnd shows the page that says why a login does not go on.
func (s *Server) showEnd(c echo.Context, p signin.Page) error {
	w, ok := endings[p.Reason]
	if !ok {
		return fmt.Errorf("server: no words for reason %d: %w", p.Reason, p.Err)
	}
	var reason web.Code
	switch p.Reason {
	case signin.ProviderDown:
		c.Response().Header().Set("Retry-After", "5")
		s.Log.WarnContext(c.Request().Context(), "OpenID provider unavailable", slog.String("id", requestID(c)),
			slog.String("provider", p.Facts.Provider), slog.Any("error", p.Err))
	case signin.ResponseInvalid, signin.CodeRefused:
		s.Log.WarnContext(c.Request().Context(), "login not believed", slog.String("id", requestID(c)),
			slog.String("provider", p.Facts.Provider),
			slog.String("client", shortened(p.Facts.Request.Get("client_id"))), slog.Any("error", p.Err))
	case signin.HandleInvalid:
		if bad := (*claims.Error)(nil); errors.As(p.Err, &bad) {
			reason = web.Code(bad.Code)
		}
	}
	if w.status < http.StatusInternalServerError {
		s.refusal(c, w.status, p.Err)
	}
	l := language(c)
	return s.showPage(c, web.Page{Status: w.status, Title: l.Say(w.title), Text: l.Say(w.text, "reason", reason)})
}
