package issuer

import (
	"context"
	"log/slog"
	"time"
)

// checkDatabase looks for damage in the whole database, once: the start checks only what it can check quickly. After damage was
// found, the issuer is not ready.
func (i *Instance) checkDatabase(ctx context.Context) {
	if i.pages == nil {
		return // the database checks itself
	}
	began := time.Now() // how long it takes, whatever the issuer's clock is
	err := i.pages.Check(ctx)
	switch took := slog.Int64("duration_ms", time.Since(began).Milliseconds()); {
	case ctx.Err() != nil:
	case err != nil:
		i.log.Error("check the database", slog.Any("error", err), took)
	default:
		i.log.Info("checked the database: no damage found", took)
	}
}
