package server

import (
	"context"
	"errors"

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
	switch {
	case err == nil:
		return s.finish(c, pending, identity, user)
	case !s.mayChoose(pending.Domain, err):
		return s.notAccepted(c, pending, err)
	}
	if oauth.Silent(pending.Request) {
		return s.endRefused(c, pending, s.OAuth.Refuse(pending.Request, oauth.CodeInteractionRequired,
			"The person has to choose her handle first: ask again without prompt=none."))
	}
	waits := storage.Login{Domain: pending.Domain, Provider: pending.Provider, Request: pending.Request}
	state, err2 := s.wait(c, waits, waiting{Step: stepHandle, Identity: identity})
	if err2 != nil {
		return err2
	}
	return s.offer(c, waits, state, identity.Handle, fault(err))
}

// chooseHandle serves POST /login/handle: the person has chosen. Like the callback it is bound to the browser that began.
func (s *Server) chooseHandle(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	state := params.Get("state")
	pending, left, err := s.waitsFor(c, state, stepHandle)
	if err != nil {
		return s.notWaiting(c, err)
	}
	user, err := s.signIn(c.Request().Context(), pending, left.Identity, params.Get("handle"))
	if err != nil && s.mayChoose(pending.Domain, err) {
		return s.offer(c, pending, state, params.Get("handle"), fault(err))
	} else if err != nil {
		return s.notAccepted(c, pending, err)
	}
	if err := s.take(c, state, pending); err != nil {
		return s.notWaiting(c, err)
	}
	return s.finish(c, pending, left.Identity, user)
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
	return web.Choose(c.Response(), web.Choice{
		Domain: pending.Domain, Handle: handle, Fault: fault,
		Action: s.path("/login/handle"), State: state, Redirect: s.OAuth.RedirectURI(pending.Request), RequestID: requestID(c),
	})
}

// fault says to a person why she cannot have a handle.
func fault(err error) string {
	var bad *claims.Error
	switch {
	case errors.Is(err, account.ErrHandleTaken):
		return "Somebody else has, or once had, that name or one that looks like it. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeReservedHandle:
		return "That name is reserved. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeConfusable:
		return "That name looks like a reserved one. Choose another one."
	case errors.As(err, &bad) && bad.Code == claims.CodeMixedScript:
		return "That name mixes alphabets. Choose one in a single alphabet."
	case errors.As(err, &bad):
		return "That name has characters or a length that are not allowed here. Choose another one."
	}
	return ""
}
