package storage

import (
	"context"
	"time"
)

// StatusGrace is how long an entry of a status list is reported as ended: longer than the lifetime of any token that refers to it.
const StatusGrace = 65 * time.Minute

// The largest id and size of a [StatusList].
const (
	MaxStatusListID   = 1<<43 - 1
	MaxStatusListSize = 1 << 20
)

// A StatusKind says what has entries in a [StatusList].
type StatusKind int

// The kinds of status lists.
const (
	SessionStatuses StatusKind = iota
	CredentialStatuses
)

// A StatusList is a Token Status List (draft-ietf-oauth-status-list). Its entries are given to grants or to credentials, each once.
type StatusList struct {
	// ID is random, from 1 to [MaxStatusListID]. It is part of the address of the list, and no list of either kind has the same.
	ID     int64
	Kind   StatusKind
	Domain string
	// Seed decides in which order the entries are given.
	Seed [32]byte
	// Size is how many entries the list has, Available how many of them may be given, and Used how many were taken.
	Size, Available, Used int
	CreatedAt             time.Time
	// ExpiresAt is when no grant or credential has an entry in it any more. It is never zero.
	ExpiresAt time.Time
	// EndedAt is when all its entries ended at once, as after a restore; zero if they did not.
	EndedAt time.Time
}

// A StatusEntry is the entry of a grant or a credential in a status list. The zero entry means that it has none.
type StatusEntry struct {
	List  int64 // the ID of the list
	Index int
}

// A StatusReader reads status lists.
type StatusReader interface {
	// StatusList returns the status list of that id.
	StatusList(ctx context.Context, id int64) (StatusList, error)

	// EndedStatuses returns the indexes of the entries of a list of sessions that ended less than [StatusGrace] before now, in ascending
	// order. The entry of a grant ends with the grant, however that ends. It also ends, and the grant loses it, when a revocation of kind
	// [RevokeGen] for its user is added: tokens of the grant so far are invalid, and later ones get another entry.
	EndedStatuses(ctx context.Context, list int64, now time.Time) ([]int, error)
}

// A StatusWriter writes status lists.
type StatusWriter interface {
	// InsertStatusList adds a list; [ErrConflict] if its id exists.
	InsertStatusList(ctx context.Context, l StatusList) error

	// TakeStatusEntries takes n entries from the newest list of domain and kind that has not ended and has so many left, and moves
	// its ExpiresAt to until if that is later. It returns the list as it is now: those from Used-n to Used are taken. [ErrNotFound] if
	// there is no such list.
	TakeStatusEntries(ctx context.Context, kind StatusKind, domain string, n int, until time.Time) (StatusList, error)

	// SetGrantStatus gives an entry to a grant that has none and has not ended, and keeps the list until the grant has expired and
	// [StatusGrace] has passed; [ErrConflict] if there is no such grant.
	SetGrantStatus(ctx context.Context, grant string, e StatusEntry) error
}
