package statuses_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/storage"
)

// BenchmarkGet serves a list of which nothing changed, and one in which a session ended since.
func BenchmarkGet(b *testing.B) {
	b.Run("unchanged", func(b *testing.B) {
		w := open(b, "example.com")
		id := idOf(w.Lists, w.take("example.com"))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("changed", func(b *testing.B) {
		w := open(b, "example.com")
		id := idOf(w.Lists, w.take("example.com"))
		b.ReportAllocs()
		for n := range b.N {
			w.mirror.Apply(storage.Revocation{Seq: int64(n + 1), Kind: storage.RevokeToken, Key: "jti", ExpiresAt: noon.Add(time.Hour)})
			w.at.Add(int64(5 * time.Minute)) // it is signed again
			b.StopTimer()
			w.add(0)
			b.StartTimer()
			if _, err := w.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCredentials serves a list of 100,000 credentials of which some have ended: one of which nothing changed, one while something else
// is revoked, one in which another credential ended since, and one that is made from the beginning, as after a start.
func BenchmarkCredentials(b *testing.B) {
	const all, batch = 100_000, 1000
	for _, ended := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprint("ended=", ended), func(b *testing.B) {
			w := open(b)
			w.size = statuses.DefaultSize
			w.restart("example.com")
			w.person("alice")
			entry := func(i int) storage.StatusEntry { return storage.StatusEntry{List: 7, Index: i} }
			w.update(func(ctx context.Context, tx storage.Tx) error {
				return tx.InsertStatusList(ctx, storage.StatusList{
					ID: 7, Kind: storage.CredentialStatuses, Domain: "example.com", Size: statuses.DefaultSize, Available: all + 1000, Used: all,
					CreatedAt: noon, ExpiresAt: noon.Add(2 * month),
				})
			})
			order := rand.New(rand.NewPCG(1, 2)).Perm(all)
			for first := 0; first < all; first += batch {
				w.update(func(ctx context.Context, tx storage.Tx) error {
					for n := first; n < first+batch; n++ {
						c := storage.Credential{ID: fmt.Sprint(n), Domain: "example.com", User: "alice", Device: "alice", Status: entry(order[n]),
							IssuedAt: noon, ExpiresAt: noon.Add(month)}
						if err := tx.InsertCredential(ctx, c); err != nil {
							return err
						}
						if n < ended {
							if _, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: c.ID}, noon, "x"); err != nil {
								return err
							}
						}
					}
					return nil
				})
			}
			w.add(0)
			id := idOf(w.Lists, entry(0))
			seq := int64(1 << 40)
			revoke := func() {
				seq++
				w.mirror.Apply(storage.Revocation{Seq: seq, Kind: storage.RevokeToken, Key: fmt.Sprint(seq), ExpiresAt: noon.Add(time.Hour)})
			}
			next := ended
			for name, before := range map[string]func(){
				"unchanged": func() {},
				"elsewhere": revoke,
				"another": func() {
					w.update(func(ctx context.Context, tx storage.Tx) error {
						_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: fmt.Sprint(next % all)}, noon, "x")
						next++
						return err
					})
					revoke()
				},
				"anew": func() { w.restart("example.com") },
			} {
				b.Run(name, func(b *testing.B) {
					size := 0
					b.ReportAllocs()
					for range b.N {
						b.StopTimer()
						before()
						b.StartTimer()
						signed, err := w.Get(b.Context(), id)
						if err != nil {
							b.Fatal(err)
						}
						size = len(signed.Token)
					}
					b.ReportMetric(float64(size), "bytes/list")
				})
			}
		})
	}
}
