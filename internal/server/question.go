package server

import (
	"fmt"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// showQuestion shows the page that asks a user something.
func (s *Server) showQuestion(c echo.Context, ask signin.Ask) error {
	switch q := ask.Question.(type) {
	case signin.PlaceQuestion:
		return s.showPlaces(c, ask.Token, q)
	case signin.HandleQuestion:
		return s.showHandle(c, ask.Token, q)
	case signin.ConsentQuestion:
		return web.ShowConsent(c.Response(), web.Consent{
			Consent: q.Consent, Person: q.Person, Domain: q.Domain, Provider: q.Provider,
			Action: s.path("/login/consent"), Another: s.path("/login/another"), State: ask.Token,
			Service: s.Service, RequestID: requestID(c),
		})
	}
	return fmt.Errorf("server: unknown question %T", ask.Question)
}

func (s *Server) showPlaces(c echo.Context, token string, q signin.PlaceQuestion) error {
	pick := web.Pick{
		App: q.App, Domain: q.Domain, Targets: q.Targets,
		Action: s.path("/login/choose"), Cancel: s.path("/login/cancel"), State: token,
		Service: s.Service, RequestID: requestID(c),
	}
	for _, o := range q.Options {
		pick.Options = append(pick.Options, web.Option(o))
	}
	return web.ShowPick(c.Response(), pick)
}

const handleRules = "Letters of one alphabet, digits, and signs such as period, hyphen and underscore, without spaces. " +
	"Capital letters become lowercase."

func (s *Server) showHandle(c echo.Context, token string, q signin.HandleQuestion) error {
	choice := web.Choice{
		Handle: q.Handle, Result: q.Result, Before: q.Before, After: q.After, Fault: account.HandleRefusal(q.Fault), Targets: q.Targets,
		Rules: handleRules, Later: "Only support can change it later.",
		Action: s.path("/login/handle"), Cancel: s.path("/login/cancel"), Another: s.path("/login/another"), State: token,
		Service: s.Service, RequestID: requestID(c),
	}
	switch q.System {
	case claims.SystemWire:
		choice.Rules = "2 to 256 characters: letters a to z, digits, period, hyphen and underscore."
	case claims.SystemXMPP:
		choice.Later = "It cannot be changed later."
	}
	return web.Choose(c.Response(), choice)
}
