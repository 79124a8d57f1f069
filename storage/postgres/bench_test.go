package postgres_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// benchGrants is how many sessions the benchmarks work on.
const benchGrants = 2000

// filled returns a store with sessions, on a server of its own whose commits are durable.
func filled(b *testing.B) *postgres.Store {
	b.Helper()
	server, err := postgrestest.New("fsync=on", "full_page_writes=on", "autovacuum=on")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Stop)
	if _, err := postgres.Migrate(b.Context(), server.URL("postgres")); err != nil {
		b.Fatal(err)
	}
	s := open(b, server.URL("postgres"))
	at := time.Now()
	err = s.Update(b.Context(), func(ctx context.Context, tx storage.Tx) error {
		for i := range benchGrants {
			id := fmt.Sprint(i)
			u := storage.User{Domain: "example.com", ID: id, Handle: id, CreatedAt: at}
			d := storage.Device{Domain: u.Domain, ID: id, User: id, JKT: id, Client: "im-app", CreatedAt: at}
			g := storage.Grant{ID: id, Domain: u.Domain, Client: "im-app", User: id, Device: id, JKT: id, Scopes: []string{"im:handle"},
				CreatedAt: at, IdleAt: at.Add(24 * time.Hour), ExpiresAt: at.Add(48 * time.Hour)}
			if err := errors.Join(tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d), tx.InsertGrant(ctx, g)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// callers runs fn b.N times, numbered from 0, by so many callers.
func callers(b *testing.B, n int, fn func(i int64) error) {
	var done atomic.Int64
	var running sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range n {
		running.Go(func() {
			for i := done.Add(1) - 1; i < int64(b.N); i = done.Add(1) - 1 {
				if err := fn(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkRefresh is a refresh in the store: it reads the session and moves it on, in one durable transaction.
func BenchmarkRefresh(b *testing.B) {
	s := filled(b)
	var gens [benchGrants]atomic.Int64
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(i int64) error {
				k := i % benchGrants
				id, gen, at := fmt.Sprint(k), gens[k].Load(), time.Now()
				err := s.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
					if _, _, _, err := tx.Session(ctx, id); err != nil {
						return err
					}
					return tx.RotateGrant(ctx, id, gen, at, at.Add(time.Hour))
				})
				gens[k].Add(1)
				return err
			})
		})
	}
}

// BenchmarkRevoke revokes a token. Revocations take turns, so that they are numbered in the order of their commits.
func BenchmarkRevoke(b *testing.B) {
	s := filled(b)
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(int64) error {
				at := time.Now()
				return s.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
					_, err := tx.Revoke(ctx, storage.Revocation{
						Kind: storage.RevokeToken, Key: rand.Text(), Reason: "revoked", At: at, ExpiresAt: at.Add(time.Hour),
					})
					return err
				})
			})
		})
	}
}

// BenchmarkSession is the read of an introspection.
func BenchmarkSession(b *testing.B) {
	s := filled(b)
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(i int64) error {
				_, _, _, err := s.Session(context.Background(), fmt.Sprint(i%benchGrants))
				return err
			})
		})
	}
}

// BenchmarkSpend spends a proof.
func BenchmarkSpend(b *testing.B) {
	r := filled(b).Replay(postgres.ReplayOptions{})
	e, err := r.Epoch(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	until := time.Now().Add(10 * time.Minute)
	var used atomic.Int64
	for _, n := range []int{1, 8} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			callers(b, n, func(int64) error {
				n := used.Add(1)
				return r.Spend(context.Background(), e, [32]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}, until, netip.Addr{})
			})
		})
	}
}
