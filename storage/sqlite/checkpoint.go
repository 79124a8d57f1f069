package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	// logPages is how many pages the write-ahead log holds (8 MiB) before they are copied into the database. Many commits share the
	// fsyncs of that. A commit that overwrites an earlier log is faster than one that makes the file longer, and a short burst of
	// copying delays the fsyncs of commits less than a long one.
	logPages = 2000
	// restPages is how many pages are left to the writer, unless after maxRounds more of them are still appended meanwhile.
	restPages = 300
	maxRounds = 4
)

// A checkpointer copies the write-ahead log into the database, on a connection of its own, while the writer appends to it. SQLite by
// itself would do all of it after a commit, while all updates wait.
//
// Only what was appended meanwhile is left to the writer, which makes the log start again from its beginning. What is
// durable does not depend on any of this: it is in the log.
type checkpointer struct {
	open    func() (*conn, error)
	file    *os.File      // the database; to close it drops the locks of SQLite on it, so it is closed last
	due     chan struct{} // a checkpoint is wanted; closed at the end
	stopped chan struct{}
	state   atomic.Int32
	rounds  int // of the present checkpoint, for the writer
}

// The states of a checkpointer.
const (
	idle int32 = iota
	copying
	copied // the writer has to copy the rest
)

// newCheckpointer returns a checkpointer of the database at path, which opens its connection when it first needs it.
func newCheckpointer(path string, open func() (*conn, error)) (*checkpointer, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	p := &checkpointer{open: open, file: file, due: make(chan struct{}, 1), stopped: make(chan struct{})}
	go p.run()
	return p, nil
}

func (p *checkpointer) run() {
	defer close(p.stopped)
	var c *conn
	for range p.due {
		var err error
		if c == nil {
			c, err = p.open()
		}
		if err == nil {
			// A checkpoint that fails changes nothing: the log continues to grow, and the next one may succeed. SQLite syncs
			// the database only when it has copied everything, which is left to the writer. This makes that sync short.
			_, _, _ = c.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE)
			_ = p.file.Sync()
		}
		p.state.Store(copied)
	}
	if c != nil {
		_ = c.close()
	}
}

// committed is called by the writer after each commit, with its connection.
func (p *checkpointer) committed(c *conn) {
	switch p.state.Load() {
	case copied:
		if pages, done, err := c.checkpoint(sqlite3.SQLITE_CHECKPOINT_NOOP); err == nil && pages-done > restPages && p.rounds < maxRounds {
			p.copy()
			return
		}
		_, _, _ = c.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE)
		p.rounds = 0
		p.state.Store(idle)
	case idle:
		if pages, _, err := c.checkpoint(sqlite3.SQLITE_CHECKPOINT_NOOP); err == nil && pages >= logPages {
			p.copy()
		}
	}
}

func (p *checkpointer) copy() {
	p.rounds++
	p.state.Store(copying)
	p.due <- struct{}{}
}

// stop waits for a checkpoint that runs. The writer must have stopped.
func (p *checkpointer) stop() {
	close(p.due)
	<-p.stopped
}

// Forget copies the whole write-ahead log into the database and empties it; see [storage.Forgetful]. The database itself has nothing of
// deleted records, because the writer overwrites them.
func (s *Store) Forget(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c, err := s.writer.log.open()
	if err != nil {
		return fmt.Errorf("sqlite: forget: %w", err)
	}
	// Most of the log is copied while updates go on. Only the rest is copied while they wait.
	_, _, err = c.checkpoint(sqlite3.SQLITE_CHECKPOINT_PASSIVE)
	if err == nil {
		_, _, err = c.checkpoint(sqlite3.SQLITE_CHECKPOINT_TRUNCATE)
	}
	if err := errors.Join(err, c.close()); err != nil {
		return fmt.Errorf("sqlite: forget: %w", err)
	}
	return nil
}

// checkpoint copies pages of the log into the database, as mode says, and returns how many the log holds and how many of them are
// copied.
func (c *conn) checkpoint(mode int32) (pages, done int, err error) {
	out, err := c.alloc(8)
	if err != nil {
		return 0, 0, err
	}
	defer sqlite3.Xsqlite3_free(c.tls, out)
	if rc := sqlite3.Xsqlite3_wal_checkpoint_v2(c.tls, c.db, 0, mode, out, out+4); rc != sqlite3.SQLITE_OK {
		return 0, 0, c.failure(rc)
	}
	counts := libc.GoBytes(out, 8)
	pages, done = int(int32(binary.NativeEndian.Uint32(counts))), int(int32(binary.NativeEndian.Uint32(counts[4:])))
	if pages < 0 {
		return 0, 0, errors.New("the database has no log")
	}
	return pages, done, nil
}
