package postgres_test

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"syscall"
	"testing"
	"time"

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
