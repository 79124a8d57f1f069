package sqlite_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/dpop/replaytest"
	"github.com/imidentity/issuer/storage/sqlite"
)

// A replayFile is a store of proofs with the file that it is in.
type replayFile struct {
	*sqlite.Replay
	store *sqlite.Store
	path  string
}

func openReplay(t *testing.T, path string, now func() time.Time) replayFile {
	t.Helper()
	s := open(t, path)
	return replayFile{s.Replay(sqlite.ReplayOptions{Now: now}), s, path}
}

func TestReplay(t *testing.T) {
	replaytest.Run(t, replaytest.Harness{
		Open: func(t *testing.T, now func() time.Time) dpop.Replay {
			return openReplay(t, filepath.Join(t.TempDir(), "issuer.db"), now)
		},
		Join: func(_ *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay {
			return store.(replayFile).store.Replay(sqlite.ReplayOptions{Now: now})
		},
		Empty: func(t *testing.T, store dpop.Replay, now func() time.Time) dpop.Replay {
			file := store.(replayFile)
			raw(t, file.path, "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE; DELETE FROM replays; DELETE FROM replay_epoch; COMMIT")
			if err := file.store.Close(); err != nil {
				t.Errorf("Close = %v", err)
			}
			return openReplay(t, file.path, now)
		},
	})
}

func numbered(i int) [32]byte { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))) }

func epochOf(t *testing.T, store dpop.Replay) dpop.Epoch {
	t.Helper()
	e, err := store.Epoch(t.Context())
	if err != nil {
		t.Fatalf("Epoch = %v", err)
	}
	return e
}

// Spent proofs and their epoch outlive the process, but not a loss of what was written last.
func TestReplaySurvivesReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	file := openReplay(t, path, nil)
	e, until := epochOf(t, file), time.Now().Add(time.Minute)
	if err := file.Spend(t.Context(), e, numbered(1), until, netip.Addr{}); err != nil {
		t.Fatalf("Spend = %v", err)
	}
	if err := file.store.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}

	file = openReplay(t, path, nil)
	if got := epochOf(t, file); got != e {
		t.Errorf("Epoch after reopening = %v, want %v", got, e)
	}
	if err := file.Spend(t.Context(), e, numbered(1), until, netip.Addr{}); err != dpop.ErrReplayed {
		t.Errorf("Spend after reopening = %v, want %v", err, dpop.ErrReplayed)
	}
	if err := file.store.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}

	relaxed, err := sqlite.Open(t.Context(), path, sqlite.Options{RelaxedDurability: true})
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	defer relaxed.Close()
	replay := relaxed.Replay(sqlite.ReplayOptions{})
	if got := epochOf(t, replay); got.ID == e.ID {
		t.Error("the epoch outlives reopening with relaxed durability")
	}
	if err := replay.Spend(t.Context(), e, numbered(2), until, netip.Addr{}); err != dpop.ErrStaleEpoch {
		t.Errorf("Spend under the epoch from before = %v, want %v", err, dpop.ErrStaleEpoch)
	}
}

// Forget begins a new epoch after a restore.
func TestReplayForget(t *testing.T) {
	file := openReplay(t, filepath.Join(t.TempDir(), "issuer.db"), nil)
	other := file.store.Replay(sqlite.ReplayOptions{})
	e := epochOf(t, other)
	if err := file.Forget(t.Context()); err != nil {
		t.Fatalf("Forget = %v", err)
	}
	fresh := epochOf(t, other)
	if fresh.ID == e.ID {
		t.Error("Forget left the epoch as it was")
	}
	for epoch, want := range map[dpop.Epoch]error{e: dpop.ErrStaleEpoch, fresh: nil} {
		if err := other.Spend(t.Context(), epoch, numbered(1), time.Now().Add(time.Minute), netip.Addr{}); err != want {
			t.Errorf("Spend = %v, want %v", err, want)
		}
	}
}

// A store whose rows vanish under it learns it with the next proof.
func TestReplayTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	file := openReplay(t, path, nil)
	e, until := epochOf(t, file), time.Now().Add(time.Minute)
	raw(t, path, "PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE; DELETE FROM replays; DELETE FROM replay_epoch; COMMIT")
	if err := file.Spend(t.Context(), e, numbered(1), until, netip.Addr{}); err != dpop.ErrStaleEpoch {
		t.Errorf("Spend = %v, want %v", err, dpop.ErrStaleEpoch)
	}
	fresh := epochOf(t, file)
	if fresh.ID == e.ID {
		t.Error("the epoch is the one from before")
	}
	if err := file.Spend(t.Context(), fresh, numbered(1), until, netip.Addr{}); err != nil {
		t.Errorf("Spend = %v", err)
	}
}

// What has expired is swept.
func TestReplaySweeps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	file := openReplay(t, path, func() time.Time { return now })
	e := epochOf(t, file)
	for i := range 100 {
		until := now.Add(time.Duration(1+i%2) * time.Minute)
		if err := file.Spend(t.Context(), e, numbered(i), until, netip.Addr{}); err != nil {
			t.Fatalf("Spend = %v", err)
		}
	}
	now = now.Add(time.Minute)
	if err := file.Spend(t.Context(), e, numbered(100), now.Add(time.Minute), netip.Addr{}); err != nil {
		t.Fatalf("Spend = %v", err)
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var rows int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM replays").Scan(&rows); err != nil || rows != 51 {
		t.Errorf("%d rows are left, %v, want 51", rows, err)
	}
}

// A closed store, and a context that ended, are errors.
func TestReplayCannotKnow(t *testing.T) {
	file := openReplay(t, filepath.Join(t.TempDir(), "issuer.db"), nil)
	e, until := epochOf(t, file), time.Now().Add(time.Minute)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := file.Spend(gone, e, numbered(1), until, netip.Addr{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Spend = %v, want %v", err, context.Canceled)
	}
	if err := file.Spend(t.Context(), e, numbered(1), until, netip.Addr{}); err != nil {
		t.Errorf("Spend = %v", err)
	}
	if err := file.store.Close(); err != nil {
		t.Fatalf("Close = %v", err)
	}
	err := file.Spend(t.Context(), e, numbered(2), until, netip.Addr{})
	if err == nil || errors.Is(err, dpop.ErrReplayed) || errors.Is(err, dpop.ErrStaleEpoch) ||
		errors.Is(err, dpop.ErrReplayFull) {
		t.Errorf("Spend in a closed store = %v, want an error that is no verdict", err)
	}
	if _, err := file.Epoch(t.Context()); err == nil {
		t.Error("Epoch of a closed store = nil, want an error")
	}
}

// BenchmarkReplay spends proofs on 16 callers, each of them durably.
func BenchmarkReplay(b *testing.B) {
	s, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "issuer.db"), sqlite.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	replay := s.Replay(sqlite.ReplayOptions{})
	e, err := replay.Epoch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var key [32]byte
		for pb.Next() {
			rand.Read(key[:])
			if err := replay.Spend(b.Context(), e, key, until, netip.Addr{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
