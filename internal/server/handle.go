package server

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

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
		return s.notSignedIn(c, err)
	}
	state, browser, err2 := s.randomPair()
	if err2 != nil {
		return err2
	}
	person, err2 := json.Marshal(identity)
	if err2 != nil {
		return fmt.Errorf("server: keep an identity: %w", err2)
	}
	now := s.Now()
	waiting := storage.Login{
		State: sha256.Sum256([]byte(state)), Browser: sha256.Sum256([]byte(browser)),
		Domain: pending.Domain, Provider: pending.Provider, Request: pending.Request, Person: person,
		CreatedAt: now, ExpiresAt: now.Add(s.LoginTime),
	}
	if err := s.insertLogin(c.Request().Context(), waiting); err != nil {
		return err
	}
	http.SetCookie(c.Response(), s.cookie(state, browser, s.LoginTime))
	return s.offer(c, waiting, state, identity.Handle, fault(err))
}

// chooseHandle serves POST /login/handle: the person has chosen. Like the callback it is bound to the browser that began.
func (s *Server) chooseHandle(c echo.Context) error {
	params, err := form(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	state := params.Get("state")
	waiting, err := s.Store.Login(ctx, sha256.Sum256([]byte(state)))
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && waiting.Person == nil:
		return s.gone(c)
	case err != nil:
		return err
	case !s.sameBrowser(c, state, waiting):
		return s.elsewhere(c)
	case !s.Now().Before(waiting.ExpiresAt):
		return s.gone(c)
	}
	var identity login.Identity
	if err := json.Unmarshal(waiting.Person, &identity); err != nil {
		return fmt.Errorf("server: read a kept identity: %w", err)
	}
	user, err := s.signIn(ctx, waiting, identity, params.Get("handle"))
	if err != nil && s.mayChoose(waiting.Domain, err) {
		return s.offer(c, waiting, state, params.Get("handle"), fault(err))
	} else if err != nil {
		return s.notSignedIn(c, err)
	}
	switch err := s.takeLogin(ctx, waiting); {
	case errors.Is(err, storage.ErrNotFound):
		return s.gone(c)
	case err != nil:
		return err
	}
	http.SetCookie(c.Response(), s.cookie(state, "", -1))
	return s.finish(c, waiting, identity, user)
}

func (s *Server) signIn(ctx context.Context, pending storage.Login, id login.Identity, handle string) (storage.User, error) {
	return s.Accounts.SignIn(ctx, account.SignIn{
		Domain: pending.Domain, Issuer: id.Issuer, Subject: id.Subject, Handle: handle, User: id.User,
	})
}

// finish sends the browser back to the app with a code.
func (s *Server) finish(c echo.Context, pending storage.Login, id login.Identity, user storage.User) error {
	location, err := s.OAuth.Finish(c.Request().Context(), pending.Request, oauth.Login{
		User: user, Issuer: id.Issuer, UpstreamSID: id.SID, AuthTime: id.AuthTime, ACR: id.ACR, AMR: id.AMR,
	})
	if err != nil {
		return s.sendBack(c, err)
	}
	return c.Redirect(http.StatusSeeOther, location)
}

// mayChoose reports whether another handle would help, and the domain lets people choose one.
func (s *Server) mayChoose(domain string, err error) bool {
	var bad *claims.Error
	return s.ChooseHandle[domain] &&
		(errors.Is(err, account.ErrHandleTaken) || errors.Is(err, account.ErrNoHandle) || errors.As(err, &bad))
}

func (s *Server) offer(c echo.Context, waiting storage.Login, state, handle, fault string) error {
	return web.Choose(c.Response(), web.Choice{
		Domain: waiting.Domain, Handle: handle, Fault: fault,
		Action: s.path("/login/handle"), State: state, Redirect: s.OAuth.RedirectURI(waiting.Request), RequestID: requestID(c),
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
