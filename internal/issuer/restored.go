package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
)

// Ended says what [EndRestored] did.
type Ended = postgres.Restored

// EndRestored ends everything that was issued, in the PostgreSQL database of the settings, which was restored to an older state while the
// issuer is stopped. The key-encryption key must open the keys in it. This is recorded in its audit log.
func EndRestored(ctx context.Context, cfg *config.Config) (Ended, error) {
	kek, err := keys.ReadKEK(cfg.KEKFile)
	if err != nil {
		return Ended{}, err
	}
	use := func(fn func(store storage.Store) error) error {
		db, err := postgres.Open(ctx, string(cfg.StorageURL), postgres.Options{})
		if err != nil {
			return err
		}
		return errors.Join(fn(db), db.Close())
	}
	if err := use(func(store storage.Store) error {
		_, err := keys.ClusterSecret(ctx, store, keys.NewSealer(kek), nil)
		return err
	}); err != nil {
		return Ended{}, fmt.Errorf("%s does not open the database: %w", cfg.KEKFile, err)
	}
	ended, err := postgres.EndRestored(ctx, string(cfg.StorageURL), time.Now())
	if err != nil {
		return Ended{}, err
	}
	return ended, use(func(store storage.Store) error {
		log := audit.New(slog.New(slog.DiscardHandler)) // the caller writes the line
		return log.Store(store, audit.Chain{Node: cfg.Audit.Node}).Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			return audit.Append(ctx, tx, audit.Event{Kind: audit.BackupRestored, Actor: audit.ActorAdmin})
		})
	})
}
