package admin

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/types/api"
)

// backup serves POST /admin/backup?to=…: the issuer writes its database to a new file, which only its own user can read.
func (a *API) backup(c echo.Context) error {
	to := c.QueryParam("to")
	if !filepath.IsAbs(to) {
		return httpapi.Invalid("The parameter to must be the whole path of a file.")
	}
	if a.Backup == nil {
		return httpapi.Conflict("backup_refused", "This database is backed up with its own tools.")
	}
	// A backup of a large database takes long, and the operator waits for it.
	if err := http.NewResponseController(c.Response().Writer).SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	err := a.Backup(c.Request().Context(), to)
	var errno syscall.Errno
	switch {
	case errors.Is(err, storage.ErrBackupExists):
		return httpapi.Conflict("backup_refused", "There is a file of that name already, and a backup takes the place of none.")
	case errors.As(err, &errno):
		return httpapi.Conflict("backup_refused", "The issuer cannot write there: "+errno.Error()+".")
	case err != nil:
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, api.Backup{File: to, Bytes: info.Size()})
}
