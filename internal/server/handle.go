package server

import (
	"context"
	"errors"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// enter lets in the person whom a provider has identified: the user that she is, or becomes at her first login. Where
// her handle cannot be had from the provider, and the domain lets people choose, a page asks her.
func (s *Server) enter(c echo.Context, pending storage.Login, identity login.Identity) error {
	handle := identity.Handle
	if !s.Logins[pending.Provider].AuthoritativeHandles() {
		handle = "" // a proposal only
	}
	user, err := s.signIn(c.Request().Context(), pending, identity, handle)
	trailOf(c).person(user)
	switch {
	case err == nil:
		return s.finish(c, pending, identity, user, nil)
	case !s.mayChoose(pending.Domain, err):
		return s.notAccepted(c, pending, err)
	}
	if oauth.Silent(pending.Request) {
		return s.endRefused(c, pending, s.OAuth.Refuse(pending.Request, oauth.CodeInteractionRequired,
			"The person has to choose a handle first: ask again without prompt=none."))
	}
	waits := storage.Login{Domain: pending.Domain, Provider: pending.Provider, Request: pending.Request}
	state, err2 := s.wait(c, waits, waiting{Step: stepHandle, Identity: identity})
	if err2 != nil {
		return err2
	}
	return s.offer(c, waits, state, identity.Handle, account.HandleRefusal(err))
}

// chooseHandle serves POST /login/handle: the person has chosen. Like the callback it is bound to the browser that began.
func (s *Server) chooseHandle(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	state, made := params.Get("state"), params.Get("handle")
	pending, left, err := s.waitsFor(c, state, stepHandle)
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	} else if err != nil {
		return s.notWaiting(c, err)
	}
	user, err := s.signIn(c.Request().Context(), pending, left.Identity, made)
	trailOf(c).person(user)
	if err != nil && s.mayChoose(pending.Domain, err) {
		return s.offer(c, pending, state, made, account.HandleRefusal(err))
	} else if err != nil {
		return s.notAccepted(c, pending, err)
	}
	err = s.finish(c, pending, left.Identity, user, &decision{state: state, made: made, login: pending})
	if errors.Is(err, errGone) {
		return s.again(c, state, made)
	}
	return err
}

func (s *Server) signIn(ctx context.Context, pending storage.Login, id login.Identity, handle string) (storage.User, error) {
	return s.Accounts.SignIn(ctx, account.SignIn{
		Domain: pending.Domain, Issuer: id.Issuer, Subject: id.Subject, Handle: handle, User: id.User,
	})
}

// mayChoose reports whether another handle would help, and the domain lets people choose one.
func (s *Server) mayChoose(domain string, err error) bool {
	var bad *claims.Error
	return s.ChooseHandle[domain] &&
		(errors.Is(err, account.ErrHandleTaken) || errors.Is(err, account.ErrNoHandle) || errors.As(err, &bad))
}

func (s *Server) offer(c echo.Context, pending storage.Login, state, handle, fault string) error {
	choice := web.Choice{
		Handle: handle, Fault: fault, Later: "Only support can change it later.",
		Action: s.path("/login/handle"), Cancel: s.path("/login/cancel"), Another: s.path("/login/another"), State: state,
		Targets: []string{s.OAuth.RedirectURI(pending.Request), s.issuerOf(pending.Provider)}, Service: s.Service, RequestID: requestID(c),
	}
	choice.Result, _ = s.Accounts.Display(storage.User{Domain: pending.Domain, Handle: handle}) // no error: one that is not valid has none
	const sample = "sample"
	shown, err := s.Accounts.Display(storage.User{Domain: pending.Domain, Handle: sample})
	if err != nil {
		return err
	}
	choice.Before, choice.After, _ = strings.Cut(shown, sample)
	switch s.Systems[pending.Domain] {
	case claims.SystemWire:
		choice.Rules = "2 to 256 characters: letters a to z, digits, period, hyphen and underscore."
	case claims.SystemXMPP:
		choice.Rules, choice.Later = handleRules, "It cannot be changed later."
	default:
		choice.Rules = handleRules
	}
	return web.Choose(c.Response(), choice)
}

const handleRules = "Letters of one alphabet, digits, and signs such as period, hyphen and underscore, without spaces. " +
	"Capital letters become lowercase."
