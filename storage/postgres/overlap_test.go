package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// TestRefreshesDoNotOverlap refreshes different sessions at once, in a new database without statistics: each update reads and writes rows
// of its own session alone, so PostgreSQL aborts hardly any.
func TestRefreshesDoNotOverlap(t *testing.T) {
	const sessions, rounds = 128, 8
	s := open(t, database(t))
	at := time.Now()
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range sessions {
			id := fmt.Sprint(i)
			g := storage.Grant{ID: id, Domain: "example.com", Client: "im-app", User: id, Device: id, JKT: id, CreatedAt: at,
				IdleAt: at.Add(time.Hour), ExpiresAt: at.Add(time.Hour)}
			if err := tx.InsertGrant(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int64
	var refreshing sync.WaitGroup
	for i := range sessions {
		refreshing.Go(func() {
			for gen := range int64(rounds) {
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					runs.Add(1)
					id := fmt.Sprint(i)
					_, missing := tx.User(ctx, "example.com", id)
					if !errors.Is(missing, storage.ErrNotFound) {
						return missing
					}
					return tx.RotateGrant(ctx, id, gen, at, at.Add(time.Hour))
				})
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	refreshing.Wait()
	if most := int64(sessions * rounds * 11 / 10); runs.Load() > most {
		t.Errorf("%d refreshes took %d runs, want at most %d", sessions*rounds, runs.Load(), most)
	}
}
