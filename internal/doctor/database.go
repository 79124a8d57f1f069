package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/imidentity/issuer/storage/sqlite"
)

// database reads every page of the database, also while the issuer runs.
func (e *examination) database(ctx context.Context) {
	path := e.cfg.Database()
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return // the first start creates it, or cannot: see data
	}
	began := time.Now()
	if err == nil {
		err = sqlite.CheckFile(ctx, path)
	}
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, fs.ErrPermission):
		e.found(Unknown, "database", "run doctor as the user that the issuer runs as", "%v", err)
	case err != nil:
		e.found(Fail, "database", "restore a backup: see docs/faults.md", "%v", err)
	default:
		e.ok("database", "every page of %s (%d MiB) is well-formed; read in %s", path, info.Size()>>20,
			time.Since(began).Round(time.Millisecond))
	}
}
