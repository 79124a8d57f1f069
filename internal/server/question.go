package server

import (
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// showQuestion shows the page that asks a user something.
func (s *Server) showQuestion(c echo.Context, ask signin.Ask) error {
	f := web.Form{
		Cancel: s.path("/login/cancel"), Another: s.path("/login/another"), State: ask.Token,
		Language: language(c), Service: s.service(), RequestID: requestID(c),
	}
	switch q := ask.Question.(type) {
	case signin.PlaceQuestion:
		f.Action = s.path("/login/choose")
		return web.ShowPlaces(c.Response(), q, f)
	case signin.HandleQuestion:
		f.Action = s.path("/login/handle")
		return web.ShowHandle(c.Response(), q, f)
	case signin.ConsentQuestion:
		f.Action = s.path("/login/consent")
		return web.ShowConsent(c.Response(), q, f)
	case signin.RemovalQuestion:
		f.Action = s.path("/login/consent")
		return web.ShowRemoval(c.Response(), q, f)
	}
	return fmt.Errorf("server: unknown question %T", ask.Question)
}
