package server

import (
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/web"
)

// home serves GET /, for people who look at the issuer's own URL.
func (s *Server) home(c echo.Context) error {
	name := s.Service.Name
	if name == "" {
		name = "This"
	}
	page := web.Page{
		Status: http.StatusOK, Title: "Sign-in service",
		Text: name + " is the sign-in service of your messaging apps. " +
			"There is nothing to do here: an app brings you here when you sign in.",
	}
	if err := s.showPage(c, page); err != nil {
		s.Log.Debug("page not written", slog.String("id", requestID(c)), slog.Any("error", err))
	}
	return nil
}
