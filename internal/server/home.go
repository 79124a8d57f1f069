package server

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/web"
)

// home serves GET /, for people who look at the issuer's own URL.
func (s *Server) home(c echo.Context) error {
	trailOf(c).locales = c.QueryParam("ui_locales")
	l := language(c)
	page := web.Page{Status: http.StatusOK, Title: l.Say("home.title"), Text: l.Say("home.text")}
	if name := s.service().Name; name != "" {
		page.Text = l.Say("home.text.named", "service", name)
	}
	if err := s.showPage(c, page); err != nil {
		s.Log.Debug("page not written", slog.String("id", requestID(c)), slog.Any("error", err))
	}
	return nil
}
