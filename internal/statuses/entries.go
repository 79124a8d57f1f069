package statuses

import (
	"context"
	"slices"
	"time"

	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// sessionEntries are the entries of a list of sessions that were set in it.
type sessionEntries struct {
	invalid []int // in ascending order
}

// update reads which sessions have ended, and sets the entries in a list. It reports whether any changed, and when that happens next.
func (e *sessionEntries) update(ctx context.Context, db Store, row storage.StatusList, list *statuslist.List, now time.Time,
) (changed bool, next time.Time, err error) {
	ended, err := db.EndedStatuses(ctx, row.ID, now)
	if err != nil {
		return false, next, err
	}
	hidden, next := decoys(row, now)
	invalid := append(ended, hidden...)
	if slices.Sort(invalid); slices.Equal(invalid, e.invalid) {
		return false, next, nil
	}
	for _, index := range e.invalid {
		if err := list.Set(uint64(index), statuslist.Valid); err != nil {
			return false, next, err
		}
	}
	for _, index := range invalid {
		if err := list.Set(uint64(index), statuslist.Invalid); err != nil {
			return false, next, err
		}
	}
	e.invalid = invalid
	return true, next, nil
}

// credentialEntries are the entries of a list of credentials that were set in it. They end for good, so only those that ended since the
// last look are read. When the list is made anew, entries of credentials that have expired meanwhile are not set any more.
type credentialEntries struct {
	last   int64 // the number of the last end that was read
	decoys []decoy
	next   time.Time // when other decoys are set; zero if none were
}

// update reads which credentials ended since the last call, and sets their entries in a list. It reports whether any changed, and when
// decoys change next.
func (e *credentialEntries) update(ctx context.Context, db Store, row storage.StatusList, list *statuslist.List, now time.Time,
) (changed bool, next time.Time, err error) {
	ends, err := db.CredentialEnds(ctx, row.ID, e.last)
	if err != nil {
		return false, next, err
	}
	for _, end := range ends {
		status := statuslist.Status(statuslist.Invalid)
		if end.HandleOnly {
			status = statuslist.Application
		}
		if err := list.Set(uint64(end.Index), status); err != nil {
			return false, next, err
		}
		e.last = end.Number
	}
	if changed = len(ends) > 0; now.Before(e.next) {
		return changed, e.next, nil
	}
	for _, d := range e.decoys {
		if err := list.Set(uint64(d.index), statuslist.Valid); err != nil {
			return false, next, err
		}
	}
	before := e.decoys
	e.decoys, e.next = credentialDecoys(row, now)
	for _, d := range e.decoys {
		if err := list.Set(uint64(d.index), d.status); err != nil {
			return false, next, err
		}
	}
	return changed || !slices.Equal(before, e.decoys), e.next, nil
}
