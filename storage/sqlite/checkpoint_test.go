package sqlite_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
)

// Values of sixteen pages each, so that the log is full after 125 updates.
const bulk, bulkNames = 16 * 4096, 100

// bulkValue returns a value that holds n throughout, and count reads n from a whole one.
func bulkValue(n uint64) []byte {
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, n), bulk/8)
}

func count(value []byte) (uint64, error) {
	if len(value) != bulk || !bytes.Equal(value, bulkValue(binary.BigEndian.Uint64(value))) {
		return 0, fmt.Errorf("a value of %d bytes is not whole", len(value))
	}
	return binary.BigEndian.Uint64(value), nil
}

// putNumbered writes number n over one of the values.
func putNumbered(s storage.Store, n uint64) error {
	return s.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
		return tx.PutSecret(ctx, fmt.Sprint(n%bulkNames), bulkValue(n))
	})
}

// fillLog writes numbers above the last one until it is killed, and prints each once it is acknowledged.
func fillLog(path string) error {
	s, err := sqlite.Open(context.Background(), path, sqlite.Options{})
	if err != nil {
		return err
	}
	var last uint64
	for name := range bulkNames {
		if value, err := s.Secret(context.Background(), fmt.Sprint(name)); err == nil {
			n, err := count(value)
			if err != nil {
				return err
			}
			last = max(last, n)
		}
	}
	for n := last + 1; ; n++ {
		if err := putNumbered(s, n); err != nil {
			return err
		}
		if _, err := fmt.Println(n); err != nil {
			return err
		}
	}
}

// TestKilledWhileLogIsCopied kills a process that writes so much that its log is copied into the database again and again. Whatever
// was acknowledged is there afterwards, and every page is well-formed.
func TestKilledWhileLogIsCopied(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	const rounds = 6
	var acknowledged uint64
	copied := 0
	for round := range rounds {
		p := start(t, "log", path)
		for n := 400 + rand.IntN(800); p.lines.Scan(); n-- {
			if _, err := fmt.Sscan(p.lines.Text(), &acknowledged); err != nil {
				t.Fatalf("the helper printed %q: %v", p.lines.Text(), err)
			}
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
		if info, err := os.Stat(path); err != nil {
			t.Fatal(err)
		} else if info.Size() > bulkNames*bulk/2 {
			copied++
		}
		s := open(t, path)
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("round %d: Check = %v, want nil", round, err)
		}
		for n := acknowledged; n > 0 && n+bulkNames > acknowledged; n-- {
			value, err := s.Secret(t.Context(), fmt.Sprint(n%bulkNames))
			if err != nil {
				t.Fatalf("round %d: number %d: %v", round, n, err)
			}
			if got, err := count(value); err != nil || got < n {
				t.Errorf("round %d: number %d = %d, %v, which was acknowledged", round, n, got, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if copied == 0 {
		t.Error("the log was never copied before the kill")
	}
	t.Logf("killed %d times, %d of them after the log was copied: %d updates acknowledged and there", rounds, copied, acknowledged)
}

// TestLogStaysBounded: while writers and readers go on, the log is copied and starts again from its beginning.
func TestLogStaysBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "issuer.db")
	s, err := sqlite.Open(t.Context(), path, sqlite.Options{RelaxedDurability: true})
	if err != nil {
		t.Fatal(err)
	}
	const updates = 2000 // 32,000 pages, sixteen times what the log should hold
	ended := make(chan struct{})
	var readers sync.WaitGroup
	for i := range 2 {
		readers.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				default:
				}
				value, err := s.Secret(context.Background(), fmt.Sprint((n+i)%bulkNames))
				if err == nil {
					_, err = count(value)
				}
				if err != nil && err != storage.ErrNotFound {
					t.Errorf("Secret = %v, want nil", err)
				}
			}
		})
	}
	for n := range uint64(updates) {
		if err := putNumbered(s, n+1); err != nil {
			t.Fatal(err)
		}
	}
	close(ended)
	readers.Wait()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if limit := int64(updates * bulk / 4 * 3); info.Size() > limit {
		t.Errorf("the log has %d bytes after %d were written, want at most %d", info.Size(), updates*bulk, limit)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	for n := uint64(updates); n > updates-bulkNames; n-- {
		value, err := s.Secret(t.Context(), fmt.Sprint(n%bulkNames))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := count(value); err != nil || got != n {
			t.Errorf("number %d = %d, %v", n, got, err)
		}
	}
}
