package postgres_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/replaytest"
	"github.com/imidentity/issuer/storage/postgres"
	"github.com/imidentity/issuer/storage/postgres/postgrestest"
)

// A replayStore is a store of proofs with the database that it is in.
type replayStore struct {
	*postgres.Replay
	url string
}

func openReplay(t *testing.T, url string, now func() time.Time) replayStore {
	t.Helper()
	return replayStore{open(t, url).Replay(postgres.ReplayOptions{Now: now}), url}
}

func TestReplay(t *testing.T) {
	replaytest.Run(t, replaytest.Harness{
		Open: func(t *testing.T, now func() time.Time) dpop.Replay { return openReplay(t, database(t), now) },
		Join: func(t *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay {
			return openReplay(t, store.(replayStore).url, now) // another node
		},
		Empty: func(t *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay {
			execute(t, store.(replayStore).url, "TRUNCATE replays")
			return openReplay(t, store.(replayStore).url, now)
		},
	})
}

// TestReplayAfterCrash: an orderly restart of the server keeps spent proofs. After a crash, which empties unlogged tables, there is
// another epoch, so that proofs from before are refused.
func TestReplayAfterCrash(t *testing.T) {
	server, err := postgrestest.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	if _, err := postgres.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	r := openReplay(t, server.URL("postgres"), time.Now)
	e, err := r.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(10 * time.Minute)
	spend := func(e dpop.Epoch, name string) error {
		return r.Spend(t.Context(), e, sha256.Sum256([]byte(name)), until, netip.Addr{})
	}
	if err := spend(e, "a"); err != nil {
		t.Fatal(err)
	}
	restart := func(signal syscall.Signal) {
		t.Helper()
		server.Signal(signal)
		if err := spend(e, "b"); err == nil || errors.Is(err, dpop.ErrReplayed) || errors.Is(err, dpop.ErrStaleEpoch) {
			t.Errorf("Spend without a server = %v, want an error that is no answer", err)
		}
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
	restart(syscall.SIGINT)
	if err := spend(e, "a"); !errors.Is(err, dpop.ErrReplayed) {
		t.Errorf("Spend after a restart = %v, want %v", err, dpop.ErrReplayed)
	}
	restart(syscall.SIGQUIT)
	if err := spend(e, "a"); !errors.Is(err, dpop.ErrStaleEpoch) {
		t.Errorf("Spend after a crash = %v, want %v", err, dpop.ErrStaleEpoch)
	}
	next, err := r.Epoch(t.Context())
	if err != nil || next.ID == e.ID || next.Birth < e.Birth {
		t.Errorf("Epoch after a crash = %v, %v, want another one than %v", next, err, e)
	}
	if err := spend(next, "a"); err != nil {
		t.Errorf("Spend in the next epoch = %v", err)
	}
}

// stored returns how many proofs are stored.
func stored(t *testing.T, url string) (n int) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(t.Context(), "SELECT count(*) FROM replays").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestReplayPartitions: proofs that have expired go with their partition, in the same epoch, for as many rounds of the ring as there are.
// A transaction that reads a partition meanwhile delays that, and no spends.
func TestReplayPartitions(t *testing.T) {
	now := time.Now()
	r := openReplay(t, database(t), func() time.Time { return now })
	e, err := r.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spend := func(name string, life time.Duration) error {
		t.Helper()
		return r.Spend(t.Context(), e, sha256.Sum256([]byte(name)), now.Add(life), netip.Addr{})
	}
	for round := range 20 { // of five minutes each, in a ring of 40
		for i := range 5 {
			if err := spend(fmt.Sprint(round, "-", i), time.Duration(i)*time.Minute+time.Second); err != nil {
				t.Fatal(err)
			}
			if err := spend(fmt.Sprint(round, "-", i), time.Duration(i)*time.Minute+time.Second); !errors.Is(err, dpop.ErrReplayed) {
				t.Errorf("Spend of a live proof = %v, want %v", err, dpop.ErrReplayed)
			}
		}
		if n := stored(t, r.url); n > 40 {
			t.Fatalf("%d proofs are stored after round %d, want those of the last few", n, round)
		}
		now = now.Add(5 * time.Minute)
	}
	if after, err := r.Epoch(t.Context()); err != nil || after != e {
		t.Errorf("Epoch = %v, %v, want %v as before", after, err, e)
	}

	c, err := pgx.Connect(t.Context(), r.url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "BEGIN; SELECT count(*) FROM replays"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(20 * time.Minute)
	if err := spend("while a dump reads", time.Minute); err != nil {
		t.Errorf("Spend while another transaction reads the partitions = %v, want nil", err)
	}
	if n := stored(t, r.url); n < 2 {
		t.Errorf("%d proofs are stored, want those of before", n)
	}
	if _, err := c.Exec(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(20 * time.Minute)
	if err := spend("after it", time.Minute); err != nil {
		t.Errorf("Spend = %v, want nil", err)
	}
	execute(t, r.url, "TRUNCATE replays_3") // by hand: what was spent is not known any more
	if err := spend("in the epoch before", time.Minute); !errors.Is(err, dpop.ErrStaleEpoch) {
		t.Errorf("Spend after a partition was emptied by hand = %v, want %v", err, dpop.ErrStaleEpoch)
	}
}

// TestReplayRaceOfTimes: of spends of one proof at two nodes that disagree about how long it can be repeated, one succeeds. Its two times
// are in different partitions.
func TestReplayRaceOfTimes(t *testing.T) {
	url := database(t)
	nodes := []replayStore{openReplay(t, url, time.Now), openReplay(t, url, time.Now)}
	e, err := nodes[0].Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		key := sha256.Sum256([]byte(fmt.Sprint(round)))
		var spent atomic.Int64
		var racing sync.WaitGroup
		for i := range 8 {
			racing.Go(func() {
				until := time.Now().Add(time.Minute + time.Duration(i/2)*160*time.Second)
				switch err := nodes[i%2].Spend(t.Context(), e, key, until, netip.Addr{}); {
				case err == nil:
					spent.Add(1)
				case !errors.Is(err, dpop.ErrReplayed):
					t.Errorf("Spend = %v, want nil or %v", err, dpop.ErrReplayed)
				}
			})
		}
		racing.Wait()
		if n := spent.Load(); n != 1 {
			t.Errorf("a proof was spent %d times, want once", n)
		}
	}
}
