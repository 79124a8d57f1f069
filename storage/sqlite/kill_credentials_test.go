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

// endUntilKilled has workers that each issue a credential to a device of their own and end it, by its id or with the device, and print its
// index once that is acknowledged.
func endUntilKilled(path string) error {
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path, sqlite.Options{})
	if err != nil {
		return err
	}
	l, err := s.StatusList(ctx, 1)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for worker := range killWorkers {
		go func() {
			var err error
			for index := l.Used + worker; err == nil; index += killWorkers {
				id := fmt.Sprint(index)
				err = s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
					if l, err := tx.StatusList(ctx, 1); err != nil {
						return err
					} else if index >= l.Used { // so that the next process goes on behind
						if _, err := tx.TakeStatusEntries(ctx, storage.CredentialStatuses, "example.com", index+1-l.Used, killTime); err != nil {
							return err
						}
					}
					return errors.Join(
						tx.InsertDevice(ctx, storage.Device{Domain: "example.com", ID: id, User: "alice", JKT: id}),
						tx.InsertCredential(ctx, storage.Credential{ID: id, Domain: "example.com", User: "alice", Device: id,
							Status: storage.StatusEntry{List: 1, Index: index}, IssuedAt: killTime, ExpiresAt: killTime.Add(time.Hour)}),
					)
				})
				if err != nil {
					break
				}
				err = s.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
					if worker%2 == 0 {
						_, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: id}, killTime, "lost")
						return err
					}
					return tx.UpdateDevice(ctx, storage.Device{Domain: "example.com", ID: id, User: "alice", JKT: id, RemovedAt: killTime})
				})
				if err == nil {
					_, err = fmt.Println(index)
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

// TestKilledCredentialsStayEnded kills a process that ends credentials, time and again on the same file. Each end that was acknowledged is
// there afterwards, in the row and in the list, and each credential has ended in both or in neither.
func TestKilledCredentialsStayEnded(t *testing.T) {
	const rounds = 6
	path := filepath.Join(t.TempDir(), "issuer.db")
	s := open(t, path)
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: "alice"}),
			tx.InsertStatusList(ctx, storage.StatusList{ID: 1, Kind: storage.CredentialStatuses, Domain: "example.com",
				Size: storage.MaxStatusListSize, Available: storage.MaxStatusListSize, ExpiresAt: killTime.Add(time.Hour)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	acknowledged := make(map[int]bool)
	for round := range rounds {
		p := start(t, "end", path)
		for n := 1 + rand.IntN(200); p.lines.Scan(); n-- {
			var index int
			if _, err := fmt.Sscan(p.lines.Text(), &index); err != nil {
				t.Fatalf("the helper printed %q: %v", p.lines.Text(), err)
			}
			acknowledged[index] = true
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
		ends, err := s.CredentialEnds(t.Context(), 1, 0)
		if err != nil {
			t.Fatal(err)
		}
		listed := make(map[int]bool)
		for _, e := range ends {
			listed[e.Index] = true
		}
		all, err := s.Credentials(t.Context(), "example.com", "", "", storage.MaxStatusListSize)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if index := c.Status.Index; listed[index] == c.EndedAt.IsZero() || acknowledged[index] && !listed[index] {
				t.Errorf("round %d: the credential %s ended at %v, in the list: %t, acknowledged: %t", round, c.ID, c.EndedAt, listed[index],
					acknowledged[index])
			}
		}
		if len(all) < len(acknowledged) {
			t.Errorf("round %d: %d credentials, and %d ends were acknowledged", round, len(all), len(acknowledged))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acknowledged) < rounds {
		t.Errorf("%d ends were acknowledged", len(acknowledged))
	}
}
