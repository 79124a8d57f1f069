package server

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/labstack/echo/v4"
)

// ErrBackupExists is the error of [Config.Backup] for a file that exists.
var ErrBackupExists = errors.New("server: the file of the backup exists")

// AdminBackup is a backup that was made.
type AdminBackup struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// backup serves POST /admin/backup?to=…: the issuer writes its database to a new file, which only its own user can read.
func (s *Server) backup(c echo.Context) error {
	to := c.QueryParam("to")
	if !filepath.IsAbs(to) {
		return invalid("The parameter to must be the whole path of a file.")
	}
	if s.Backup == nil {
		return &notBackedUp{"This database is backed up with its own tools."}
	}
	// It takes as long as the database is large, and the operator waits.
	if err := http.NewResponseController(c.Response().Writer).SetWriteDeadline(time.Time{}); err != nil {
		return err
	}
	err := s.Backup(c.Request().Context(), to)
	var errno syscall.Errno
	switch {
	case errors.Is(err, ErrBackupExists):
		return &notBackedUp{"There is a file of that name already, and a backup takes the place of none."}
	case errors.As(err, &errno):
		return &notBackedUp{"The issuer cannot write there: " + errno.Error() + "."}
	case err != nil:
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, AdminBackup{to, info.Size()})
}

// notBackedUp says to an operator why there is no backup.
type notBackedUp struct{ words string }

func (e *notBackedUp) Error() string { return "server: not backed up: " + e.words }
