package server

import (
	"context"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/storage/redis"
	"github.com/imidentity/issuer/storage/sqlite"
)

// openReplay opens the store of spent proofs that the settings name. A store in memory begins no earlier than newest.
// What it returns for closing may be nil.
func openReplay(ctx context.Context, cfg *config.Config, db *sqlite.Store, now func() time.Time, newest time.Time) (dpop.Replay, func() error, error) {
	switch cfg.Replay {
	case "storage":
		return db.Replay(sqlite.ReplayOptions{Now: now}), nil, nil
	case "redis":
		r, err := redis.Open(ctx, string(cfg.RedisURL), redis.Options{Prefix: "issuer-dpop", Now: now})
		if err != nil {
			return nil, nil, err
		}
		return r, r.Close, nil
	}
	m, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Capacity: cfg.Limits.ReplayProofs, Newest: newest, Now: now})
	return m, nil, err
}

func newProofs(cfg *config.Config, secret [32]byte, replay dpop.Replay, offset func(time.Duration), now func() time.Time) (*dpop.Verifier, error) {
	v := dpop.Config{Algorithms: cfg.DPoP.Algorithms, Replay: replay, Offset: offset, Now: now}
	if cfg.DPoP.Nonce == "required" {
		var err error
		if v.Nonces, err = dpop.NewNonces([][32]byte{secret}, now); err != nil {
			return nil, err
		}
	}
	return dpop.NewVerifier(v)
}
