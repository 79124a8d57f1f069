package server

import (
	"slices"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// askWhere asks a person for what an authorization request leaves open: their domain, or the OpenID provider that they sign
// in at.
func (s *Server) askWhere(c echo.Context, a *oauth.Authorization) error {
	state, err := s.wait(c, storage.Login{Request: a.Request}, waiting{Step: stepChoose})
	if err != nil {
		return err
	}
	return s.showChoice(c, a, state)
}

// choosePlace serves POST /login/choose: the person has chosen, and goes on to the OpenID provider, or to the choice among
// those of the domain. The login goes on waiting until its time is over: the person may come back and choose another.
func (s *Server) choosePlace(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, _, err := s.waitsFor(c, state, stepChoose)
	if err != nil {
		return s.notWaiting(c, err)
	}
	a, err := s.OAuth.Choose(c.Request().Context(), pending.Request, params.Get("domain"), params.Get("provider"))
	if err != nil {
		return s.sendBack(c, err)
	}
	if a.Provider == "" {
		return s.showChoice(c, a, state)
	}
	return s.begin(c, a)
}

func (s *Server) showChoice(c echo.Context, a *oauth.Authorization, state string) error {
	pick := web.Pick{
		App: a.Client.Title(), Domain: a.Domain,
		Action: s.path("/login/choose"), Cancel: s.path("/login/cancel"), State: state, Service: s.Service, Targets: []string{s.OAuth.RedirectURI(a.Request)}, RequestID: requestID(c),
	}
	domains, providers := s.OAuth.Choices(a)
	for _, name := range domains {
		pick.Options = append(pick.Options, web.Option{Value: name, Label: name})
	}
	for _, id := range providers {
		pick.Options = append(pick.Options, web.Option{Value: id, Label: s.Logins[id].Name()})
	}
	for id, provider := range s.Logins { // those that the browser may be sent to
		if slices.Contains(providers, id) || slices.Contains(domains, provider.Domain()) {
			pick.Targets = append(pick.Targets, provider.Issuer())
		}
	}
	return web.ShowPick(c.Response(), pick)
}
