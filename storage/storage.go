// Package storage declares the records that the issuer stores, their errors, and the [Store] contract that every database
// implements. The databases are in the packages below this one; storagetest tests each of them against the contract.
//
// Reads go straight to the database and see everything that an [Store.Update] acknowledged before they began. Several reads that
// belong together share a snapshot in [Store.View]. Writes are functions that are passed to Update: a store may put many of them
// into one durable transaction (group commit), so such a function is short, computes nothing expensive and uses no network.
//
// Times are stored in whole milliseconds, in UTC; the zero time means "never". The package knows nothing of tokens, keys or
// HTTP, and stores secrets hashed or sealed, never in plain text.
package storage

import (
	"context"
	"errors"
	"time"
)

// Errors that callers branch on. Any other error of a store means that the answer is not known now: the caller answers
// "unavailable", never "no".
var (
	// ErrNotFound is returned by a read of one record, and by a write to one, when it does not exist.
	ErrNotFound = errors.New("storage: not found")
	// ErrConflict is returned by an insert whose key exists, and by a compare-and-set that lost.
	ErrConflict = errors.New("storage: conflict")
	// ErrUnavailable is returned on opening a database that cannot be opened now but may be later: it is locked, its disk is
	// full, it does not answer.
	ErrUnavailable = errors.New("storage: not available now")
	// ErrBackupExists is returned by [Backed] stores where a file exists: a backup replaces nothing.
	ErrBackupExists = errors.New("storage: a file of that name exists: a backup replaces nothing")
	// ErrSchemaNewer is returned on opening a database that a newer release has migrated.
	ErrSchemaNewer = errors.New("storage: the database is of a newer release")
)

// SpentGrace is how long a spent id is stored after it has expired. If the clock is set back, an assertion with that id is
// unexpired again.
const SpentGrace = 15 * time.Minute

// DeviceCodeGrace is how long a device code is stored after it has expired, so that its client is told so.
const DeviceCodeGrace = 2 * time.Minute

// A Store stores the issuer's records. All methods are safe for concurrent use.
type Store interface {
	Reader
	Maintainer

	// View runs fn on one snapshot: all reads through r see the database at the same moment. It costs less than the same reads
	// one by one. The moment is that of the first read: that one sees everything that an [Store.Update] acknowledged before it
	// began, as it would outside of View, and none of the later reads sees anything newer. So what must not be outdated, such as
	// whether a session has ended, is read first.
	//
	// View returns the error of fn. A read that fails with anything but [ErrNotFound] makes View fail, even if fn ignores the
	// error. If ctx ends before fn begins, fn does not run. fn runs once, is short and uses no network, because the store keeps
	// what the snapshot shows while it runs. r must not be used after fn has returned, nor by several goroutines at a time.
	// Calling the store from fn, or View from the fn of an update, with fn's ctx, is an error.
	View(ctx context.Context, fn func(ctx context.Context, r Reader) error) error

	// Update runs fn in one transaction. Transactions are serializable. When Update returns nil, all that fn wrote is durable:
	// it survives a crash of the process and of the machine. When fn returns an error, nothing that fn wrote remains, and Update
	// returns that same error; a panic of fn becomes an error. fn may run more than once, so its only effects are those
	// through tx and variables that it sets anew each time. If ctx ends before fn begins, fn does not run; once begun, the
	// transaction is completed. Calling Update from fn, with fn's ctx, is an error.
	Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error

	// Ping reports whether the store can be read and written now.
	Ping(ctx context.Context) error

	// Close waits for running updates and releases the store. Later calls return an error.
	Close() error
}
