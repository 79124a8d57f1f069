package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/storage"
)

// ErrNoEvent is returned for the number of an event that was never given.
var ErrNoEvent = errors.New("account: no event of that number")

// note adds an event about a device, in the transaction of what happened to it.
func (a *Accounts) note(ctx context.Context, tx storage.Tx, kind storage.UserEventKind, d storage.Device) error {
	return tx.InsertUserEvent(ctx, storage.UserEvent{Domain: d.Domain, User: d.User, Kind: kind, Device: d.ID, At: a.now()})
}

// An OwnEvent is an event as its user sees it.
type OwnEvent struct {
	storage.UserEvent
	URI string // of the device
}

// OwnEvents returns at most limit events of a user after the one with the number since, oldest first. Next is the number to go on from,
// and more says that there are more. The errors are [ErrNoSession] if the session of by has ended, and [ErrNoEvent] if since was never
// given: then events may have been lost, and the caller begins again from zero.
func (a *Accounts) OwnEvents(ctx context.Context, by Owner, since int64, limit int) (list []OwnEvent, next int64, more bool, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list, next, more = nil, 0, false
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		if next, err = r.LastUserEvent(ctx, u.Domain, u.ID); err != nil {
			return err
		}
		if since > next {
			return ErrNoEvent
		}
		page, err := r.UserEvents(ctx, u.Domain, u.ID, since, limit+1)
		if err != nil {
			return err
		}
		if more = len(page) > limit; more {
			page = page[:limit]
			next = page[limit-1].Number
		}
		for _, e := range page {
			id, err := a.Identify(u, storage.Device{ID: e.Device})
			if err != nil {
				return err
			}
			list = append(list, OwnEvent{e, id.Device})
		}
		return nil
	})
	if err != nil {
		return nil, 0, false, fmt.Errorf("account: list events: %w", err)
	}
	return list, next, more, nil
}
