package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/imidentity/issuer/internal/issuer"
)

// database reads every page of the database, also while the issuer runs. PostgreSQL checks its pages itself: it must answer.
func (e *examination) database(ctx context.Context) {
	if e.cfg.Postgres() {
		e.postgres(ctx)
		return
	}
	path := e.cfg.Database()
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return // the first start creates it, or cannot: see data
	}
	began := time.Now()
	if err == nil {
		err = issuer.CheckDatabase(ctx, e.cfg)
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

func (e *examination) postgres(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := issuer.CheckDatabase(ctx, e.cfg); err != nil {
		e.found(Fail, "database", "check that it runs, and the URL in "+e.cfg.StorageURLFile, "%v", err)
		return
	}
	e.ok("database", "PostgreSQL answers and can be written to, and its schema is that of this release")
}

// replay checks the store of spent proofs.
func (e *examination) replay(ctx context.Context) {
	switch e.cfg.Replay {
	case "memory":
		e.ok("replay", "used proofs are stored in memory, for one process")
		return
	case "storage":
		e.ok("replay", "used proofs are stored in the database")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch err := issuer.CheckReplay(ctx, e.cfg); {
	case errors.Is(err, issuer.ErrReplayEvicts):
		e.found(Fail, "replay", "set maxmemory-policy to noeviction there", "%v", err)
	case err != nil:
		e.found(Fail, "replay", "check that it runs, and the URL in "+e.cfg.RedisURLFile, "the server of redis_url_file does not work: %v",
			err)
	default:
		e.ok("replay", "the server of redis_url_file answers, and evicts nothing")
	}
}
