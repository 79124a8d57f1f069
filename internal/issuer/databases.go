package issuer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/server"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/redis"
	"github.com/imidentity/issuer/storage/sqlite"
)

// This file alone imports the databases. Programs that check or fill a database do so by the functions below.

// A database is an opened store, and what that kind of store can do beyond [storage.Store]: nil where it cannot.
type database struct {
	store  storage.Store
	queue  storage.Queued
	pages  storage.Checked
	backup func(ctx context.Context, to string) error
	forget func(ctx context.Context) error
	replay func(now func() time.Time) dpop.Replay
	// listen tells what other nodes have changed, until ctx ends. It is nil for a database that serves one node.
	listen func(ctx context.Context, log *slog.Logger, changed nudges)
	away   func(error) bool // whether an error of the store says that it may work later; nil if none does
	skew   time.Duration    // how far the clocks of processes that share it may be apart; zero if there is only one
}

// nudges are called when a table that the issuer follows was changed. They do not block.
type nudges struct{ revocations, clients, keys func() }

// nodeSkew is how far the clocks of nodes may be apart. Spent proofs (package dpop) are kept longer by as much.
const nodeSkew = time.Minute

// openDatabase opens the database of the settings. A SQLite database is created at the first start.
func openDatabase(ctx context.Context, cfg *config.Config) (*database, error) {
	if cfg.Postgres() {
		db, err := postgres.Open(ctx, string(cfg.StorageURL), postgres.Options{})
		if err != nil {
			return nil, err
		}
		return &database{
			store:  db,
			replay: func(now func() time.Time) dpop.Replay { return db.Replay(postgres.ReplayOptions{Now: now}) },
			listen: func(ctx context.Context, log *slog.Logger, changed nudges) {
				db.Listen(ctx, log, func(t postgres.Topic) {
					switch t { // a node of a newer release may announce others
					case postgres.Revocations:
						changed.revocations()
					case postgres.Clients:
						changed.clients()
					case postgres.SigningKeys:
						changed.keys()
					}
				})
			},
			away: postgres.IsAway,
			skew: nodeSkew,
		}, nil
	}
	db, err := sqlite.Open(ctx, cfg.Database(), sqlite.Options{})
	if err != nil {
		return nil, err
	}
	return &database{
		store: db, queue: db, pages: db, backup: db.Backup, forget: db.Forget,
		replay: func(now func() time.Time) dpop.Replay { return db.Replay(sqlite.ReplayOptions{Now: now}) },
	}, nil
}

// openReplay opens the store of spent proofs that the settings name, and returns how to close it, or nil if it needs no
// closing. A store in memory begins no earlier than newest.
func openReplay(
	ctx context.Context, cfg *config.Config, db *database, now func() time.Time, newest time.Time,
) (dpop.Replay, func() error, error) {
	switch cfg.Replay {
	case "storage":
		return db.replay(now), nil, nil
	case "redis":
		r, err := openRedis(ctx, cfg, now)
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	m, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: cfg.Limits.ReplayProofs, Newest: newest, Now: now})
	return m, nil, err
}

func openRedis(ctx context.Context, cfg *config.Config, now func() time.Time) (*redis.Replay, error) {
	return redis.Open(ctx, string(cfg.RedisURL), redis.Options{Prefix: "issuer-dpop", Now: now})
}

// sharedBuckets returns the limits that nodes share where they share a store of spent proofs that has some, and nil elsewhere.
func sharedBuckets(replay dpop.Replay) server.SharedBuckets {
	if r, ok := replay.(*redis.Replay); ok {
		return r.Limits("issuer-limits")
	}
	return nil
}

// OpenGatewayReplay opens the store of spent proofs of a gateway: on the Redis server at url, which several gateways share, or in memory
// with a capacity if url is empty. It returns how to close the store.
func OpenGatewayReplay(
	ctx context.Context, url string, capacity int, now func() time.Time,
) (dpop.Replay, func() error, error) {
	if url == "" {
		m, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: capacity, Now: now})
		return m, func() error { return nil }, err
	}
	r, err := redis.Open(ctx, url, redis.Options{Prefix: "gateway-dpop", Now: now})
	if err != nil {
		return nil, nil, err
	}
	return r, r.Close, nil
}

// OpenBulk opens the database of an issuer that does not run, for a program that writes many rows and can start again: a loss of
// power may undo the last updates.
func OpenBulk(ctx context.Context, cfg *config.Config) (storage.Store, error) {
	if cfg.Postgres() {
		return postgres.Open(ctx, string(cfg.StorageURL), postgres.Options{})
	}
	return sqlite.Open(ctx, cfg.Database(), sqlite.Options{RelaxedDurability: true})
}

// CheckDatabase reads the whole SQLite database of the settings, also while an issuer has it open, and changes nothing. The error is
// [io/fs.ErrNotExist] if there is no database, [io/fs.ErrPermission] if this user cannot read it, or describes the damage. Of a PostgreSQL
// database it checks that the server answers and that the schema is that of this release.
func CheckDatabase(ctx context.Context, cfg *config.Config) error {
	if cfg.Postgres() {
		db, err := postgres.Open(ctx, string(cfg.StorageURL), postgres.Options{})
		if err != nil {
			return err
		}
		return errors.Join(db.Ping(ctx), db.Close())
	}
	return sqlite.CheckFile(ctx, cfg.Database())
}

// A Migration is a step of the schema of a PostgreSQL database.
type Migration = postgres.Migration

// Migrate brings the schema of the PostgreSQL database of the settings to that of this release, and returns the steps that it took.
func Migrate(ctx context.Context, cfg *config.Config) ([]Migration, error) {
	return postgres.Migrate(ctx, string(cfg.StorageURL))
}

// Migrations returns all steps of the schema of the PostgreSQL database of the settings.
func Migrations(ctx context.Context, cfg *config.Config) ([]Migration, error) {
	return postgres.Migrations(ctx, string(cfg.StorageURL))
}

// ErrReplayEvicts is returned by [CheckReplay] for a server that may forget spent proofs.
var ErrReplayEvicts = redis.ErrEvicts

// CheckReplay connects to the server of the settings that stores spent proofs. It does nothing if they are stored elsewhere. The
// error is [ErrReplayEvicts], or tells why the server does not work.
func CheckReplay(ctx context.Context, cfg *config.Config) error {
	if cfg.Replay != "redis" {
		return nil
	}
	r, err := openRedis(ctx, cfg, nil)
	if err != nil {
		return err
	}
	return r.Close()
}

// Restored says what [Restore] did.
type Restored = sqlite.Restored

// Restore replaces the database at path, of an issuer that is stopped, by the backup from. The key-encryption keys in kekFiles, of which
// there may be two, must open the keys in the backup. The restore is recorded in the audit log of the new database, in the chain of
// node.
func Restore(ctx context.Context, path string, kekFiles []string, from, node string) (Restored, error) {
	sealer, err := openSealer(keys.ReadKEK, kekFiles...)
	if err != nil {
		return Restored{}, err
	}
	var secret [32]byte
	return sqlite.Restore(ctx, path, from, sqlite.RestoreOptions{
		Absent: func(ctx context.Context, store storage.Store, users []storage.User) (int64, error) {
			return account.RepeatRemovals(ctx, store, keys.Derive(secret, labelTombstones), users)
		},
		Check: func(ctx context.Context, store storage.Store) error {
			if secret, err = keys.ClusterSecret(ctx, store, sealer, nil); err != nil {
				return fmt.Errorf("%s cannot decrypt the keys in the backup: set kek_file to the key that it was made under: %w",
					strings.Join(kekFiles, " or "), err)
			}
			log := audit.New(slog.New(slog.DiscardHandler)) // the caller writes the line once the database is in place
			return log.Store(store, audit.Chain{Node: node}).Update(ctx, func(ctx context.Context, tx storage.Tx) error {
				return audit.Append(ctx, tx, audit.Event{Kind: audit.BackupRestored, Actor: audit.ActorAdmin})
			})
		},
	})
}
