package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// An update may end its goroutine, as a failing test does.
func TestUpdateThatEndsItsGoroutine(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "issuer.db"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
			if err := tx.PutSecret(ctx, "a", []byte("a")); err != nil {
				return err
			}
			runtime.Goexit()
			return nil
		})
	}()
	<-done
	put(t, s, "b", "b")
	if _, err := s.Secret(t.Context(), "a"); err != storage.ErrNotFound {
		t.Errorf("Secret = %v, want %v", err, storage.ErrNotFound)
	}
	t.Log("1 update ended its goroutine: it left nothing, and the next was acknowledged")
}

// A fault within an update is the end of it, and of those that share its transaction where SQLite undoes it all. In
// any case an update that returns nil is there, and one that returns an error is not.
func TestFaultWithinAnUpdate(t *testing.T) {
	for _, undoes := range []string{"ABORT", "ROLLBACK"} {
		t.Run(undoes, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "issuer.db")
			if err := open(t, path).Close(); err != nil {
				t.Fatal(err)
			}
			raw(t, path, "CREATE TRIGGER fault BEFORE INSERT ON secrets WHEN NEW.name LIKE 'fault%' "+
				"BEGIN SELECT RAISE("+undoes+", 'fault'); END")
			s := open(t, path)

			const callers = 64
			var wg sync.WaitGroup
			var answers [callers]error
			put(t, s, "begun", "")
			for i := range callers {
				wg.Go(func() {
					answers[i] = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
						if err := tx.PutSecret(ctx, fmt.Sprint("first ", i), []byte("a")); err != nil {
							return err
						}
						if i%8 == 0 {
							if err := tx.PutSecret(ctx, "fault", []byte("a")); err == nil {
								t.Error("PutSecret = nil, want a fault")
							}
						}
						_ = tx.PutSecret(ctx, fmt.Sprint("second ", i), []byte("a"))
						return nil
					})
				})
			}
			wg.Wait()
			kept := 0
			for i, answer := range answers {
				if answer == nil {
					kept++
				}
				if i%8 == 0 && answer == nil || i%8 != 0 && answer != nil && undoes == "ABORT" {
					t.Errorf("Update %d = %v", i, answer)
				}
				if errors.Is(answer, storage.ErrConflict) || errors.Is(answer, storage.ErrNotFound) {
					t.Errorf("Update %d = %v, want an error that means nobody knows", i, answer)
				}
				for _, part := range []string{"first ", "second "} {
					if _, err := s.Secret(t.Context(), fmt.Sprint(part, i)); (err == nil) != (answer == nil) {
						t.Errorf("%s%d: Secret = %v, Update = %v", part, i, err, answer)
					}
				}
			}
			put(t, s, "after", "all works again")
			t.Logf("%d updates at once, a fault in %d: %d acknowledged and there in whole, %d failed and not there at all",
				callers, callers/8, kept, callers-kept)
		})
	}
}

// fillDisk writes with many callers where no file may grow beyond 1 MiB, until the store fails, and then with room
// again. It prints how many writes were acknowledged and how many failed, when the store keeps the former and nothing else.
func fillDisk(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	room := func(n uint64) error {
		return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: limit.Max})
	}
	if err := room(1 << 20); err != nil {
		return err
	}
	write := func(name string) error {
		return s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			return tx.PutSecret(ctx, name, []byte(strings.Repeat("x", 3000)))
		})
	}
	check := func(name string, answer error) error {
		if _, err := s.Secret(ctx, name); (err == nil) != (answer == nil) {
			return fmt.Errorf("%s: Secret = %v, Update = %v", name, err, answer)
		}
		return nil
	}
	const callers, rounds = 8, 100
	var wg sync.WaitGroup
	var answers [callers][rounds]error
	for i := range callers {
		wg.Go(func() {
			for n := range rounds {
				answers[i][n] = write(fmt.Sprint(i, "-", n))
			}
		})
	}
	wg.Wait()
	failures := 0
	for i := range callers {
		for n, answer := range answers[i] {
			if err := check(fmt.Sprint(i, "-", n), answer); err != nil {
				return err
			}
			if answer != nil {
				failures++
			}
		}
	}
	if failures == 0 {
		return errors.New("the disk was never full")
	}
	if err := room(0); err != nil {
		return err
	}
	if err := s.Ping(ctx); err == nil {
		return errors.New("Ping = nil on a full disk")
	}
	if err := errors.Join(room(limit.Cur), s.Ping(ctx), write("after"), check("after", nil), s.Close()); err != nil {
		return err
	}
	_, err = fmt.Println(callers*rounds-failures, failures)
	return err
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	p := start(t, "full", path)
	var kept, failures int
	line := p.line(t)
	if _, err := fmt.Sscan(line, &kept, &failures); err != nil {
		t.Errorf("the helper printed %q, want two numbers", line)
	}
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := open(t, path).Secret(t.Context(), "after"); err != nil {
		t.Errorf("Secret = %v, want nil", err)
	}
	t.Logf("the disk was full: %d writes acknowledged and there, %d failed and not there; with room again it went on", kept, failures)
}
