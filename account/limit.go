package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// MaxAtLimit is how many devices [Accounts.DevicesAtLimit] returns.
const MaxAtLimit = 100

// DevicesAtLimit returns the active devices of a user, which count towards the limit: at most [MaxAtLimit], those that were seen least
// recently first.
func (a *Accounts) DevicesAtLimit(ctx context.Context, u storage.User) (list []storage.DeviceUse, err error) {
	const page = 200
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		for after := ""; ; {
			devices, err := r.DevicesInUse(ctx, u.Domain, u.ID, after, a.now(), page)
			if err != nil {
				return err
			}
			for _, d := range devices {
				if d.Active {
					list = append(list, d)
				}
			}
			if len(devices) < page {
				return nil
			}
			after = devices[page-1].ID
		}
	})
	if err != nil {
		return nil, fmt.Errorf("account: list devices: %w", err)
	}
	slices.SortStableFunc(list, func(d, e storage.DeviceUse) int { return lastSeen(d).Compare(lastSeen(e)) })
	return list[:min(len(list), MaxAtLimit)], nil
}

// lastSeen returns when a device was last seen, or added.
func lastSeen(d storage.DeviceUse) time.Time {
	if d.SeenAt.IsZero() {
		return d.CreatedAt
	}
	return d.SeenAt
}

// RemoveDeviceOf is [Accounts.RemoveDevice] for a device of one user, after a first step of the transaction. The error is [ErrNoDevice]
// if the user has no such device, or that of first.
func (a *Accounts) RemoveDeviceOf(ctx context.Context, u storage.User, id, reason string,
	first func(ctx context.Context, tx storage.Tx) error) (RemovedDevice, error) {
	return a.removeIf(ctx, u.Domain, id, reason, func(ctx context.Context, tx storage.Tx) error {
		if err := first(ctx, tx); err != nil {
			return err
		}
		d, err := tx.Device(ctx, u.Domain, id)
		if errors.Is(err, storage.ErrNotFound) || err == nil && d.User != u.ID {
			return ErrNoDevice
		}
		return err
	})
}
