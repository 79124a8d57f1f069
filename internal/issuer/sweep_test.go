package issuer_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/issuer"
	"github.com/imidentity/issuer/storage"
)

// A slowStore is a database on which a row takes the sweep some time, by a clock that a test has set. It records how many rows each
// transaction of the sweep was for, until a sweep has come to its end.
type slowStore struct {
	storage.Store
	perRow time.Duration

	mu      sync.Mutex
	elapsed time.Duration
	limits  []int
	removed int
	ended   chan struct{}
}

func (s *slowStore) now() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.elapsed
}

func (s *slowStore) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return fn(ctx, slowTx{tx, s}) })
}

type slowTx struct {
	storage.Tx
	store *slowStore
}

func (t slowTx) Sweep(ctx context.Context, now time.Time, keep storage.Retention, from storage.SweepPosition, limit int) (storage.SweepPosition, int, error) {
	next, removed, err := t.Tx.Sweep(ctx, now, keep, from, limit)
	s := t.store
	s.mu.Lock()
	defer s.mu.Unlock()
	s.elapsed += time.Duration(removed) * s.perRow
	s.limits, s.removed = append(s.limits, limit), s.removed+removed
	if err == nil && next == (storage.SweepPosition{}) {
		select {
		case s.ended <- struct{}{}:
		default:
		}
	}
	return next, removed, err
}

// TestSweepIsPaced: a transaction of the sweep is for many rows where they take no time, and for few where they take long, so that
// other updates need not wait. Either way all that has expired goes.
func TestSweepIsPaced(t *testing.T) {
	const expired = 3000
	for _, test := range []struct {
		perRow      time.Duration
		least, most int // rows of the last full transactions
	}{
		{0, 200, 200},
		{100 * time.Microsecond, 75, 150},
		{10 * time.Millisecond, 1, 25},
	} {
		t.Run(test.perRow.String(), func(t *testing.T) {
			dir := t.TempDir()
			cfg, err := config.Parse("sweep.yaml", fmt.Appendf(nil, `
issuer: https://issuer.example.com
listen: 127.0.0.1:0
data: %q
development: true
domains:
  - {name: example.com, providers: [{id: main, issuer: "https://login.example.com", client_id: issuer}]}
`, filepath.Join(dir, "data")), nil)
			if err != nil {
				t.Fatal(err)
			}
			slow := &slowStore{perRow: test.perRow, ended: make(chan struct{}, 1)}
			began := time.Now()
			instance, err := issuer.Open(t.Context(), cfg, issuer.Options{
				Now:     func() time.Time { return began.Add(slow.now()).Round(0) },
				Elapsed: slow.now, SweepEvery: time.Millisecond,
				Store: func(s storage.Store) storage.Store {
					slow.Store = s
					err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
						for n := range expired {
							id := [32]byte{byte(n), byte(n >> 8)}
							if err := tx.InsertPushed(ctx, storage.Pushed{URI: id, ExpiresAt: began.Add(-time.Hour)}); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
					return slow
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- instance.Serve(ctx, issuer.Listeners{Public: listen(t), Admin: listen(t)}) }()
			select {
			case <-slow.ended:
			case err := <-served:
				t.Fatalf("Serve = %v before the sweep had ended", err)
			}
			stop()
			if err := <-served; err != nil {
				t.Error(err)
			}
			if slow.removed != expired {
				t.Errorf("%d rows were removed, want %d", slow.removed, expired)
			}
			largest := 0
			for _, n := range slow.limits[len(slow.limits)/2:] {
				largest = max(largest, n)
			}
			t.Logf("the transactions were for %v rows", slow.limits)
			if n := slow.limits[min(8, len(slow.limits)/2)]; n < test.least || n > test.most {
				t.Errorf("a transaction was for %d rows, want %d to %d", n, test.least, test.most)
			}
			if largest > 200 {
				t.Errorf("a transaction was for %d rows, want at most 200", largest)
			}
		})
	}
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
