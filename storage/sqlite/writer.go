package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/imidentity/issuer/storage"
)

var (
	errClosed = errors.New("sqlite: the store is closed")
	errNested = errors.New("sqlite: Update called from within an update of the same store")
	errOver   = errors.New("sqlite: the transaction is over")
	errExited = errors.New("sqlite: the update ended its goroutine")
)

// maxBatch limits how many updates share a transaction, and so how long the first of them waits.
const maxBatch = 256

// A writer owns the one connection that writes. Its goroutine begins and commits transactions; in between it hands the transaction
// to one waiting update after the other. Updates run on their callers' goroutines, so a panic or runtime.Goexit in a caller's
// function affects that caller only.
type writer struct {
	conn    *conn
	log     *checkpointer
	jobs    chan *job // unbuffered: a job that was received is answered
	closing chan struct{}
	stopped chan struct{}
	place   *place
	damaged *atomic.Bool

	waiting atomic.Int64
	batches [9]atomic.Uint64 // as in storage.Queue
	updates atomic.Uint64
}

// A job is an update that waits for the writer. Each of its channels carries one value; then the job can be used again.
type job struct {
	turn    chan *tx   // hands over the transaction, nil if there is none
	ended   chan error // tells the writer that the turn is over, and whether to undo it
	outcome chan error // how the batch ended
}

var freeJobs = sync.Pool{New: func() any {
	return &job{turn: make(chan *tx), ended: make(chan error), outcome: make(chan error, 1)}
}}

var (
	begin     = statement("BEGIN IMMEDIATE")
	savepoint = statement("SAVEPOINT job")
	release   = statement("RELEASE job")
	undo      = statement("ROLLBACK TO job")
	commit    = statement("COMMIT")
	rollback  = statement("ROLLBACK")
)

func openWriter(path string, o Options, damaged *atomic.Bool) (_ *writer, err error) {
	w := &writer{jobs: make(chan *job), closing: make(chan struct{}), stopped: make(chan struct{}), damaged: damaged}
	connect := func() (*conn, error) { return openConn(path, append(writerPragmas(o), "wal_autocheckpoint(0)")) }
	if w.conn, err = connect(); err != nil {
		return nil, err
	}
	if w.place, err = newPlace(path); err != nil {
		return nil, errors.Join(err, w.conn.close())
	}
	if w.log, err = newCheckpointer(path, func() (*conn, error) {
		if err := w.place.there(); err != nil { // else it would be a connection to another file
			return nil, err
		}
		return connect()
	}); err != nil {
		return nil, errors.Join(err, w.conn.close())
	}
	go w.run()
	return w, nil
}

// stop waits for the running batch and refuses later jobs. It may be called once, before close.
func (w *writer) stop() {
	close(w.closing)
	<-w.stopped
}

func (w *writer) close() error {
	w.log.stop()
	return errors.Join(w.conn.close(), w.log.file.Close())
}

// inUpdate is the key under which the context of a running update holds its writer.
type inUpdate struct{}

func (w *writer) update(ctx context.Context, fn func(context.Context, storage.Tx) error) error {
	if ctx.Value(inUpdate{}) == w {
		return errNested
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	j := freeJobs.Get().(*job)
	w.waiting.Add(1)
	select {
	case w.jobs <- j:
	case <-ctx.Done():
		w.waiting.Add(-1)
		return ctx.Err()
	case <-w.closing:
		w.waiting.Add(-1)
		return errClosed
	}
	t := <-j.turn
	w.waiting.Add(-1)
	var err error
	if t != nil {
		err = t.run(context.WithValue(ctx, inUpdate{}, w), fn, j.ended)
	}
	// Even an error waits for the end of the batch: fn may have seen what others wrote in it.
	if lost := <-j.outcome; lost != nil {
		err = lost
	}
	freeJobs.Put(j) // not if fn ended the goroutine: then the outcome is still in it
	return err
}

func (w *writer) run() {
	defer close(w.stopped)
	for {
		select {
		case j := <-w.jobs:
			w.gather()
			w.batch(j)
			// The callers that were just answered often have more to write: let them share the next transaction.
			runtime.Gosched()
		case <-w.closing:
			return
		}
	}
}

// gather lets other goroutines run for as long as that brings more jobs for the next transaction. It does not wait for time to pass.
func (w *writer) gather() {
	for had, has := int64(0), w.waiting.Load(); has > had && has < maxBatch; {
		runtime.Gosched()
		had, has = has, w.waiting.Load()
	}
}

// batch runs first and all jobs that wait behind it in one transaction.
func (w *writer) batch(first *job) {
	var jobs []*job
	begun := false // there is a transaction, in which a job succeeded
	err := w.exec(begin)
	for j, ok := first, true; ok; j, ok = w.next(len(jobs)) {
		jobs = append(jobs, j)
		if err != nil {
			j.turn <- nil // nobody can write now
			continue
		}
		if begun {
			err = w.step(j)
		} else {
			begun, err = w.firstStep(j)
		}
		if err != nil {
			break // jobs that still wait may succeed in the next transaction
		}
	}
	if err == nil {
		err = w.place.there()
	}
	if err == nil {
		err = w.exec(commit)
	}
	if err != nil {
		err = fmt.Errorf("sqlite: transaction lost: %w", err)
		// This fails if SQLite has rolled back by itself.
		_ = w.exec(rollback)
	} else {
		w.batches[bits.Len(uint(len(jobs)-1))].Add(1) // maxBatch is 2^8
		w.updates.Add(uint64(len(jobs)))
	}
	for _, j := range jobs {
		j.outcome <- err
	}
	if err == nil {
		w.log.committed(w.conn)
	}
}

// queue returns the current numbers.
func (w *writer) queue() storage.Queue {
	q := storage.Queue{Waiting: int(w.waiting.Load()), Updates: w.updates.Load()}
	for i := range w.batches {
		q.Batches[i] = w.batches[i].Load()
	}
	return q
}

// next returns a waiting job, if the transaction of n jobs has room for it.
func (w *writer) next(n int) (*job, bool) {
	if n >= maxBatch {
		return nil, false
	}
	select {
	case j := <-w.jobs:
		return j, true
	default:
		return nil, false
	}
}

// firstStep gives j its turn in a transaction that is still empty, and reports whether the job succeeded. Its error undoes the
// transaction, and begins another one: so it needs no savepoint.
func (w *writer) firstStep(j *job) (succeeded bool, err error) {
	fault, err := w.turn(j)
	if err == nil {
		return true, nil
	}
	_ = w.exec(rollback) // fails if SQLite has rolled back by itself
	if err := w.exec(begin); err != nil {
		return false, errors.Join(fault, err)
	}
	return false, nil
}

// step gives j its turn beside others. An error of the job undoes the job alone; step returns an error if the whole transaction is
// lost: some faults (a full disk, an I/O error) make SQLite roll everything back.
func (w *writer) step(j *job) error {
	if err := w.exec(savepoint); err != nil {
		j.turn <- nil
		return err
	}
	if fault, err := w.turn(j); err != nil {
		if err := w.exec(undo); err != nil {
			return errors.Join(fault, err)
		}
	}
	return w.exec(release)
}

// turn runs j. It returns its error, and the fault of the transaction, if there was one.
func (w *writer) turn(j *job) (fault, err error) {
	t := &tx{reader: reader{conn: w.conn, damaged: w.damaged}}
	t.fault = &t.broken
	j.turn <- t
	err = <-j.ended
	return t.broken, err
}

func (w *writer) exec(s int) error {
	_, err := w.conn.exec(s, nil)
	return err
}
