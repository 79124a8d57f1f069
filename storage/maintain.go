package storage

import (
	"context"
	"time"
)

// A Maintainer reads what housekeeping needs and no request does.
type Maintainer interface {
	// Newest returns the latest time that [TxMaintainer.SetNewest] stored, the zero time if it never did.
	Newest(ctx context.Context) (time.Time, error)

	// Waiting returns how many pending logins, pushed requests and device codes are stored, including expired ones that were not swept yet.
	Waiting(ctx context.Context) (int, error)

	// Census counts what is stored, for monitoring. It may take some seconds with millions of records, and blocks nothing. Outside of a
	// transaction the numbers may be of several moments.
	Census(ctx context.Context, now time.Time) (Census, error)

	// OldNames returns at most limit names of all domains whose keys were made by other tables than these, in any order.
	OldNames(ctx context.Context, tables string, limit int) ([]Name, error)

	// FormerNames returns at most limit names of all domains that were released before a time and are not the present handle of their
	// user, in any order.
	FormerNames(ctx context.Context, before time.Time, limit int) ([]Name, error)
}

// A Census is how many records there are, of all domains.
type Census struct {
	// Users are all that were not removed, with those who are disabled.
	Users int
	// Devices are those that were not removed.
	Devices int
	// Sessions are the grants that have not ended, are not idle for too long and have not expired.
	Sessions int
}

// A TxMaintainer writes what housekeeping needs and no request does.
type TxMaintainer interface {
	// SetNewest stores the time as the latest, even if a later one is stored.
	SetNewest(ctx context.Context, at time.Time) error

	// BeginHistory makes the numbers of revocations continue in a later history, see [History], than that of above and of all numbers
	// that were given. It changes nothing if a revocation above it was given a number already.
	BeginHistory(ctx context.Context, above int64) error

	// Sweep removes rows that are no longer needed: codes, pending logins, logouts, browser sessions, pushed requests, statements,
	// revocations, tombstones, kept answers and status lists that expired before now, device codes that expired
	// [DeviceCodeGrace] before it, credentials and their ends that expired [CredentialGrace] before it, statements that were withdrawn
	// two hours before it, spent ids that expired [SpentGrace] before it, status entries that ended [StatusGrace] before it, grants that
	// ended or expired before it and that no code names, and ended grants, user events and removed devices when keep says so. It
	// continues from a position, removes at most limit rows and examines few more, and returns how many it removed and the position to
	// continue from: the zero position at the end.
	Sweep(ctx context.Context, now time.Time, keep Retention, from SweepPosition, limit int) (
		next SweepPosition, removed int, err error)
}

// A Queued store makes updates wait for each other, and reports how many wait. Monitoring asks it from time to time.
type Queued interface {
	// Queue returns the current numbers.
	Queue() Queue
}

// A Queue reports how the updates of one process wait and share transactions.
type Queue struct {
	// Waiting is how many updates wait now.
	Waiting int
	// Batches counts the committed transactions by their number of updates: element i counts those with at most 2^i updates
	// and more than 2^(i-1).
	Batches [9]uint64
	// Updates counts the updates in all committed transactions.
	Updates uint64
}

// A Forgetful store can make sure that deleted records cannot be recovered from its files.
type Forgetful interface {
	// Forget returns when nothing of the records that were deleted before is left in the files of the store. Backups are not its files.
	// An error means that something may be left, and that it can be called again.
	Forget(ctx context.Context) error
}

// A Checked store can look for damage in everything that it stores.
type Checked interface {
	// Check reads everything and returns an error if it finds damage. It takes seconds for each gigabyte, and blocks nothing.
	Check(ctx context.Context) error
	// Damaged reports whether damage was found, by Check or by any other operation. Then Ping returns an error.
	Damaged() bool
}

// A Backed store can write a backup of itself while it is used.
type Backed interface {
	// Backup writes the database as it is at one moment to a new file, which appears complete and durable or not at all.
	// [ErrBackupExists] if there is a file of that name.
	Backup(ctx context.Context, to string) error
}
