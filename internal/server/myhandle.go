package server

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/statements"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// mineNow is mine for acts that depend on the claims of the token, such as the time of the login.
func (s *Server) mineNow(serve func(echo.Context, *claims.Set, statements.Holder) error) echo.HandlerFunc {
	return s.bound(oauth.ScopeAccount, func(c echo.Context, holder claims.Set) error {
		who, err := personOf(holder)
		if err != nil {
			return err
		}
		err = serve(c, &holder, who)
		if errors.Is(err, account.ErrEnded) { // a moment ago
			s.metrics.refused(dpop.ErrInvalidToken)
			s.self.Refuse(c.Response(), c.Request(), dpop.ErrInvalidToken)
		}
		return err
	})
}

// renameMe serves PUT /me/handle: a user chooses another handle. The request counts as a question of its address about a handle: its
// answer tells whether somebody has or had the name.
func (s *Server) renameMe(c echo.Context, holder *claims.Set, who statements.Holder) error {
	b, err := httpapi.ReadBody(c)
	if err != nil {
		return err
	}
	handle := b.String("handle")
	if err := b.Done(); err != nil {
		return err
	}
	if handle == "" {
		return invalid("The member handle is missing.")
	}
	if err := s.Limits.User(storage.User{Domain: who.Domain, ID: who.User}, holder.ClientID); err != nil {
		return err
	}
	if err := s.Limits.lookup(c.Request().Context(), s.source(c)); err != nil {
		return err
	}
	done, err := s.Accounts.RenameOwn(c.Request().Context(), account.OwnRename{
		Owner: ownerOf(who), Gen: holder.Gen, AuthTime: holder.AuthTime, Handle: handle,
	})
	if err != nil {
		return refusedHandle(err)
	}
	id, err := s.Accounts.Identify(done.User, storage.Device{})
	if err != nil {
		return err
	}
	display, err := s.Accounts.Display(done.User)
	if err != nil {
		return err
	}
	return encodeJSON(c, api.OwnHandle{Handle: id.Handle, Display: display})
}

// refusedHandle returns an error of [account.Accounts.RenameOwn] as its refusal. The words about a handle are those of the page on
// which users choose one, so that neither tells more than the other.
func refusedHandle(err error) error {
	var (
		bad  *claims.Error
		wait *account.RenameWait
	)
	switch words := account.HandleRefusal(err); {
	case errors.Is(err, account.ErrRenameRule):
		return &httpapi.RefusedError{Status: http.StatusForbidden, Code: oauth.CodeAccessDenied,
			Description: "Users of this domain do not choose another handle themselves: ask an administrator."}
	case errors.Is(err, account.ErrNoRename):
		return &httpapi.RefusedError{Status: http.StatusForbidden, Code: oauth.CodeAccessDenied,
			Description: "Handles of this domain cannot change."}
	case errors.As(err, &wait):
		return httpapi.Conflict("rename_too_soon",
			fmt.Sprintf("The handle was changed a short time ago. It can change again after %s.", wait.Until.UTC().Format(time.RFC3339)))
	case errors.Is(err, account.ErrHandleTaken):
		return httpapi.Conflict("handle_taken", words)
	case errors.As(err, &bad) && bad.Code == claims.CodeReservedHandle:
		return httpapi.Conflict("handle_reserved", words)
	case errors.As(err, &bad) && bad.Code == claims.CodeConfusable:
		return httpapi.Conflict("handle_confusable", words)
	case errors.As(err, &bad) && bad.Code == claims.CodeMixedScript:
		return httpapi.Conflict("handle_mixed_script", words)
	case errors.As(err, &bad):
		return httpapi.Conflict("handle_invalid", words)
	}
	return err
}
