// Package sqlite stores the issuer's records in one SQLite file. It is the store of an issuer that runs as one process, and
// implements [storage.Store].
//
// [Open] creates or opens the file. All writes go through one connection, and waiting updates share its transactions (group
// commit): each runs in its own savepoint, one fsync makes all of them durable, and then they return. Reads run on connections of
// their own and never wait for a write.
//
// While the database PATH is open, PATH-wal and PATH-shm belong to it, and PATH.lock keeps a second process out. The folder must
// be on a local disk.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	_ "modernc.org/sqlite" // the database/sql driver, for what runs once

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// Options configures a [Store]. The zero value suits most.
type Options struct {
	// Readers is how many connections read at a time. Zero means one for each processor, and at least two.
	Readers int
	// RelaxedDurability saves the fsync of every commit. Then a loss of power (not a crash of the process) may undo the last
	// acknowledged updates, such as the refresh of a session or the removal of a device.
	RelaxedDurability bool
}

// A Store stores the records of [storage.Store] in one SQLite file.
type Store struct {
	reader
	writer  *writer
	lock    *os.File
	damaged *atomic.Bool // a damaged page was found
	checks  *checks
	close   func() error
	epoch   atomic.Pointer[dpop.Epoch] // of the spent proofs, nil if it was not read yet
}

var (
	_ storage.Store   = (*Store)(nil)
	_ storage.Queued  = (*Store)(nil)
	_ storage.Backed  = (*Store)(nil)
	_ storage.Checked = (*Store)(nil)

	_ storage.Forgetful = (*Store)(nil)
)

// Open opens the database at path and migrates its schema, or creates the database (mode 0600). The folder must exist. A database
// that a newer release has migrated is [storage.ErrSchemaNewer]. A database that another process has open or that is damaged, and a
// file of another program, are errors that tell the operator what to do.
func Open(ctx context.Context, path string, o Options) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	lock, err := createLocked(path)
	if err != nil {
		return nil, err
	}
	s := &Store{lock: lock, damaged: new(atomic.Bool), checks: newChecks()}
	s.reader.damaged = s.damaged
	s.close = sync.OnceValue(s.release)
	defer func() {
		if err != nil {
			s.Close()
			err = explain(path, err)
		}
	}()

	have, err := inspect(ctx, path, o, false)
	if err != nil {
		return nil, err
	}
	if err := migrate(ctx, path, have); err != nil {
		return nil, err
	}
	if s.writer, err = openWriter(path, o, s.damaged); err != nil {
		return nil, err
	}
	if o.RelaxedDurability { // a loss of power may have taken replays
		if err := s.writer.update(ctx, func(ctx context.Context, t storage.Tx) error {
			_, err := t.(*tx).exec(ctx, deleteEpoch)
			return err
		}); err != nil {
			return nil, err
		}
	}
	n := o.Readers
	if n <= 0 {
		n = max(2, runtime.GOMAXPROCS(0))
	}
	s.pool, err = openPool(s.writer.place, n)
	return s, err
}

// Close waits for running updates, refuses later ones, and folds the write-ahead log into the file. Closing again changes nothing.
func (s *Store) Close() error { return s.close() }

func (s *Store) release() error {
	var errs []error
	s.checks.stop()
	if s.writer != nil {
		s.writer.stop()
	}
	if s.pool != nil {
		errs = append(errs, s.pool.close())
	}
	// The last connection to close folds the log into the file. Readers may not write, so the writer is the last.
	if s.writer != nil {
		errs = append(errs, s.writer.close())
	}
	errs = append(errs, s.lock.Close())
	return errors.Join(errs...)
}

// Update runs fn in a transaction; see [storage.Store]. It runs on the caller's goroutine while no other update runs, so calling
// Update from fn is an error. A panic of fn undoes its writes and is returned as an error.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	if ctx.Value(inView{}) == s.pool {
		return errInView
	}
	return s.writer.update(ctx, fn)
}

// Queue reports how updates wait for the writer; see [storage.Queued].
func (s *Store) Queue() storage.Queue { return s.writer.queue() }

// Ping writes a row and reads it back. It returns when ctx ends, even if the disk hangs.
func (s *Store) Ping(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- s.ping(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

var (
	pingWrite = statement("UPDATE pings SET n = n + 1 RETURNING n")
	pingRead  = statement("SELECT n FROM pings")
)

func (s *Store) ping(ctx context.Context) error {
	if s.damaged.Load() {
		return errors.New("sqlite: a damaged page was found: restore the database from a backup")
	}
	var wrote, read int64
	err := s.writer.update(ctx, func(ctx context.Context, t storage.Tx) error {
		return t.(*tx).row(ctx, pingWrite, []any{&wrote})
	})
	if err != nil {
		return err
	}
	if err := s.row(ctx, pingRead, []any{&read}); err != nil {
		return err
	}
	if read < wrote {
		return fmt.Errorf("sqlite: read ping %d after writing %d", read, wrote)
	}
	return nil
}

// The settings of connections. busy_timeout covers a backup tool that locks the file for a moment.
var (
	commonPragmas = []string{"busy_timeout(5000)", "temp_store(memory)"}
	readerPragmas = append(commonPragmas[:len(commonPragmas):len(commonPragmas)], "query_only(1)", "cache_size(-16384)")
)

// writerPragmas lets the log grow to logPages between checkpoints, and frees its disk space after a burst. Deleted content is overwritten,
// also in pages that become free ("fast" would leave these): a user who was erased must not be found in the file.
func writerPragmas(o Options) []string {
	synchronous := "synchronous(full)"
	if o.RelaxedDurability {
		synchronous = "synchronous(normal)"
	}
	return append(commonPragmas[:len(commonPragmas):len(commonPragmas)], "journal_mode(wal)", synchronous, "secure_delete(on)",
		"cache_size(-65536)",
		fmt.Sprintf("wal_autocheckpoint(%d)", logPages), "journal_size_limit(67108864)")
}

func dsn(path string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// explain adds to an error of opening what the operator can do.
func explain(path string, err error) error {
	switch {
	case errors.Is(err, errLog):
		return fmt.Errorf("sqlite: %s is damaged: restore it from a backup, or move %s-wal away to go on without what was "+
			"written last, among it perhaps logins and removals of devices: %w", path, path, err)
	case isDamage(err):
		return fmt.Errorf("sqlite: %s is damaged or not a database: restore it from a backup, or move it and the files "+
			"beside it away to begin with an empty one: %w", path, err)
	case errors.Is(err, errForeign):
		return fmt.Errorf("sqlite: %s: %w: it is left as it is; set storage to another file", path, err)
	case errors.Is(err, errBackup):
		return fmt.Errorf("sqlite: %s: %w, which does not know what was revoked since: move it away, and restore it with "+
			"`issuer restore --from`", path, err)
	case errors.Is(err, errAway):
		return fmt.Errorf("sqlite: %s: %w: start the issuer with that one. If the copy is given up, run `issuer storage reopen sqlite:%s`",
			path, err, path)
	case errors.Is(err, errPart):
		return fmt.Errorf("sqlite: %s: %w: run the same `issuer storage copy` again to complete it, or move it away", path, err)
	case errors.Is(err, storage.ErrSchemaNewer):
		return fmt.Errorf("sqlite: %s: %w: install that release again, or restore a backup that this one made", path, err)
	}
	var e coded
	if errors.As(err, &e) {
		switch primary(e) {
		case codeBusy, codeLocked:
			return fmt.Errorf("sqlite: %w: %s is locked by another process: let that finish or end it: %w", storage.ErrUnavailable, path,
				err)
		case codeFull:
			return fmt.Errorf("sqlite: %w: the disk of %s is full: make room: %w", storage.ErrUnavailable, path, err)
		case codeIOErr:
			return fmt.Errorf("sqlite: %w: %s cannot be read or written: is its disk full, or failing? %w", storage.ErrUnavailable, path,
				err)
		}
	}
	return fmt.Errorf("sqlite: open %s: %w", strconv.Quote(path), err)
}

// isDamage reports whether err means that the file is damaged.
func isDamage(err error) bool {
	var e coded
	return errors.Is(err, errDamaged) || errors.As(err, &e) && (primary(e) == codeNotADatabase || primary(e) == codeCorrupt)
}
