package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

const killWorkers, killRounds = 8, 20

var killTime = time.Date(2026, 3, 14, 0, 0, 0, 0, time.UTC)

func killGrant(worker int) string { return fmt.Sprint("grant-", worker) }

func killUser(worker int, gen int64) string { return fmt.Sprint(worker, "-", gen) }

// writeUntilKilled has workers that each take their session from one generation to the next and write down a user
// named after the new one, in one update, and print both numbers once it is acknowledged.
func writeUntilKilled(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range killWorkers {
		go func() {
			g, _, _, err := s.Session(ctx, killGrant(worker))
			for gen := g.Gen; err == nil; gen++ {
				err = s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
					u := storage.User{Domain: "example.com", ID: killUser(worker, gen+1)}
					return errors.Join(tx.RotateGrant(ctx, g.ID, gen, killTime, time.Time{}), tx.InsertUser(ctx, u))
				})
				if err == nil {
					_, err = fmt.Println(worker, gen+1)
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

// TestKilledAtAnyMoment kills a process that writes, time and again on the same file. Whatever was acknowledged is
// there afterwards, every update is there in whole or not at all, and no generation was given twice.
func TestKilledAtAnyMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		u, d := storage.User{Domain: "example.com", ID: "alice"}, storage.Device{Domain: "example.com", ID: "phone"}
		err := errors.Join(tx.InsertUser(ctx, u), tx.InsertDevice(ctx, d))
		for worker := range killWorkers {
			g := storage.Grant{ID: killGrant(worker), Domain: "example.com", User: u.ID, Device: d.ID}
			err = errors.Join(err, tx.InsertGrant(ctx, g))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	var checked [killWorkers]int64
	var acknowledgments, unheard int64
	for round := range killRounds {
		acknowledged := checked
		p := start(t, "write", path)
		// The pipe holds some thousand lines, so the helper is not where the test is when the kill comes.
		for n := 1 + rand.IntN(200); p.lines.Scan(); n-- {
			var worker int
			var gen int64
			if _, err := fmt.Sscan(p.lines.Text(), &worker, &gen); err != nil {
				t.Fatalf("the helper printed %q: %v", p.lines.Text(), err)
			}
			acknowledged[worker] = max(acknowledged[worker], gen)
			if n == 0 {
				if err := p.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := p.Wait(); !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("round %d: the helper ended by itself: %v", round, err)
		}

		s := open(t, path)
		for worker, want := range acknowledged {
			g, _, _, err := s.Session(t.Context(), killGrant(worker))
			if err != nil || g.Gen < want || g.Gen > want+1 {
				t.Errorf("round %d, worker %d: generation %d, %v, acknowledged %d", round, worker, g.Gen, err, want)
			}
			acknowledgments += want - checked[worker]
			unheard += g.Gen - want
			if round == killRounds-1 {
				checked[worker] = 0 // once more, all there ever was
			}
			for gen := checked[worker] + 1; gen <= g.Gen+1; gen++ {
				want := error(nil)
				if gen > g.Gen {
					want = storage.ErrNotFound
				}
				if _, err := s.User(t.Context(), "example.com", killUser(worker, gen)); err != want {
					t.Errorf("round %d, worker %d: user of generation %d = %v, want %v", round, worker, gen, err, want)
				}
			}
			checked[worker] = g.Gen
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed %d times: %d updates acknowledged and there, %d there in whole whose acknowledgment was cut off, none in part",
		killRounds, acknowledgments, unheard)
}
