package server

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/signin"
	"github.com/imidentity/issuer/web"
)

// newSignIn returns the logins that the routes below advance.
func (s *Server) newSignIn() (*signin.Logins, error) {
	providers := make(map[string]signin.Provider, len(s.Logins))
	for id, p := range s.Logins {
		providers[id] = p
	}
	domains := make(map[string]signin.Domain, len(s.Systems))
	for name, system := range s.Systems {
		domains[name] = signin.Domain{System: system, ChooseHandle: s.ChooseHandle[name]}
	}
	return signin.New(signin.Config{
		Store: s.Store, OAuth: s.OAuth, Accounts: s.Accounts, Providers: providers, Domains: domains, Quota: s.quota,
		ConsentPage: s.Issuer + "/login/consent", Issuer: s.Issuer, EndPage: endPath, QueryKey: s.QueryKey,
		QueryKeys: s.QueryKeys,
		Upstream:  s.Upstream, Limiter: s.Limits, Count: s.metrics.login,
		Life: s.LoginTime, Now: s.Now, Rand: s.Rand,
	})
}

// authorize serves GET and POST /authorize (RFC 6749 §3.1).
func (s *Server) authorize(c echo.Context) error {
	read := query
	if c.Request().Method == http.MethodPost {
		read = form
	}
	params, err := read(c)
	if err != nil {
		return err
	}
	return s.advance(c, "", signin.Begin{Request: params, Platform: account.PlatformOf(c.Request().UserAgent())})
}

// callback serves GET /login/callback/{provider}: the user comes back from the OpenID provider. Only the browser that began
// the login can finish it (RFC 9700 §4.7).
func (s *Server) callback(c echo.Context) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	return s.advance(c, params.Get("state"), signin.Return{Provider: c.Param("provider"), Query: params})
}

// showConsent serves GET /login/consent, the page that asks for consent.
func (s *Server) showConsent(c echo.Context) error {
	params, err := query(c)
	if err != nil {
		return err
	}
	return s.advance(c, params.Get("state"), signin.ShowConsent{})
}

// choosePlace serves POST /login/choose: the user has chosen a domain or an OpenID provider.
func (s *Server) choosePlace(c echo.Context) error {
	return s.submit(c, func(params url.Values) (signin.Input, error) {
		return signin.ChoosePlace{Domain: params.Get("domain"), Provider: params.Get("provider")}, nil
	})
}

// chooseHandle serves POST /login/handle: the user has chosen a handle.
func (s *Server) chooseHandle(c echo.Context) error {
	return s.submit(c, func(params url.Values) (signin.Input, error) {
		return signin.ChooseHandle{Handle: params.Get("handle")}, nil
	})
}

// maxRemovals is how many devices a form may name.
const maxRemovals = account.MaxAtLimit

// decide serves POST /login/consent: the user has allowed the app to act for them, or has not; or, at the device limit, they want to
// remove devices.
func (s *Server) decide(c echo.Context) error {
	return s.submit(c, func(params url.Values) (signin.Input, error) {
		switch params.Get("decision") {
		case "allow":
			return signin.Decide{Allow: true}, nil
		case "deny":
			return signin.Decide{}, nil
		case "choose", "remove":
			in := signin.RemoveDevices{Confirmed: params.Get("decision") == "remove"}
			for name := range params {
				if id, ok := strings.CutPrefix(name, web.RemovePrefix); ok {
					in.Devices = append(in.Devices, id)
				}
			}
			if len(in.Devices) > maxRemovals {
				return nil, invalid("The form names more devices than the page has.")
			}
			slices.Sort(in.Devices)
			return in, nil
		}
		return nil, invalid("The decision must be allow, deny, choose or remove.")
	})
}

// cancelLogin serves POST /login/cancel: the user goes back to the app.
func (s *Server) cancelLogin(c echo.Context) error {
	return s.submit(c, func(url.Values) (signin.Input, error) { return signin.Cancel{}, nil })
}

// useAnother serves POST /login/another: the user wants to use another account at the OpenID provider.
func (s *Server) useAnother(c echo.Context) error {
	return s.submit(c, func(url.Values) (signin.Input, error) { return signin.UseAnother{}, nil })
}

// submit advances the login of a form by what input reads of it.
func (s *Server) submit(c echo.Context, input func(url.Values) (signin.Input, error)) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	in, err := input(params)
	if err != nil {
		return err
	}
	return s.advance(c, params.Get("state"), in)
}

// advance takes the login of a state one step further and writes the outcome.
func (s *Server) advance(c echo.Context, token string, in signin.Input) error {
	at := signin.State{Token: token, Session: s.browserSecret(c), From: s.source(c)}
	if cookie, err := c.Cookie(s.loginCookieName(token)); err == nil {
		at.Browser = cookie.Value
	}
	out, err := s.signIn.Advance(c.Request().Context(), at, in)
	if err != nil {
		s.noteLogin(c, signin.FactsOf(err))
		return quotaLimit(err)
	}
	return s.writeOutcome(c, out)
}
