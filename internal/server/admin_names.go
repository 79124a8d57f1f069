package server

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
)

// AdminReleased is a handle that anybody can take again.
type AdminReleased struct {
	Domain  string   `json:"domain"`
	Handle  string   `json:"handle"`
	User    string   `json:"former_user"`
	Handles []string `json:"released"` // every spelling
}

// handleRefused says to an operator why a handle cannot be given or released.
type handleRefused struct{ words string }

func (e *handleRefused) Error() string { return "server: handle refused: " + e.words }

// renameUser serves PUT /admin/users/{user}/handle?domain=…&handle=…&reserved=true
func (s *Server) renameUser(c echo.Context) error {
	reserved, err := flag(c, "reserved")
	if err != nil {
		return err
	}
	domain, user, err := s.meantUser(c)
	if err != nil {
		return err
	}
	rename := s.Accounts.Rename
	if reserved {
		rename = s.Accounts.RenameReserved
	}
	u, err := rename(c.Request().Context(), domain, user, c.QueryParam("handle"))
	bad := (*claims.Error)(nil)
	switch words := fault(err); {
	case errors.Is(err, account.ErrNoRename):
		return &handleRefused{"Handles of this domain cannot change: in XMPP the handle is the user."}
	case errors.As(err, &bad) && bad.Code == claims.CodeReservedHandle:
		return &handleRefused{"This name is reserved. To give it to this user all the same, add --reserved."}
	case err != nil && words != "":
		return &handleRefused{words}
	case err != nil:
		return err
	}
	s.Log.Info("audit: user renamed", slog.String("user", u.ID), slog.String("domain", u.Domain),
		slog.String("handle", u.Handle), slog.Bool("reserved", reserved))
	return c.JSON(http.StatusOK, adminUser(u.User))
}

// releaseName serves DELETE /admin/names?domain=…&handle=…: a former handle is free again.
func (s *Server) releaseName(c echo.Context) error {
	domain, err := s.servedDomain(c)
	if err != nil {
		return err
	}
	released, err := s.Accounts.ReleaseName(c.Request().Context(), domain, c.QueryParam("handle"))
	held := (*account.HeldError)(nil)
	switch {
	case errors.Is(err, account.ErrNoName):
		return &handleRefused{"Nobody has or had this handle: it needs no release."}
	case errors.As(err, &held) && held.Held:
		return &handleRefused{"User " + held.User.ID + " has the handle " + held.Name + " now. Rename the user first: issuer users rename @" +
			held.Name + " --to HANDLE"}
	case errors.As(err, &held) && held.ID:
		return &handleRefused{"This is the id of user " + held.User.ID + ", or looks like it. Ids are never released."}
	case errors.As(err, &held):
		return &handleRefused{"Nobody had this handle, but user " + held.User.ID + " had " + held.Name + ", which looks like it: release that one."}
	case err != nil:
		return err
	}
	last := released[len(released)-1]
	answer := AdminReleased{Domain: domain, Handle: last.Local, User: last.User}
	for _, n := range released {
		answer.Handles = append(answer.Handles, n.Local)
		s.Log.Info("audit: handle released", slog.String("handle", n.Local), slog.String("domain", domain), slog.String("former_user", n.User))
	}
	return c.JSON(http.StatusOK, answer)
}

// flag reads a parameter that is true, or false as if it were absent.
func flag(c echo.Context, name string) (bool, error) {
	switch c.QueryParam(name) {
	case "":
		return false, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, invalid("The parameter " + name + " must be true or false.")
}
