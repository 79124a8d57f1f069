package account

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// ErrNoSession is returned for an owner whose session has ended.
var ErrNoSession = errors.New("account: the session of the user has ended")

// ErrDeviceName is returned for a name that a device cannot have.
var ErrDeviceName = errors.New("account: no name of a device")

// An Owner is a user who manages their own devices, by a session of one of them, or by that of a browser.
type Owner struct {
	Domain, User, SID string
	// Browser is the hash of the browser session; SID is empty then.
	Browser [32]byte
}

// owner returns the user and the device of the session of by, which must be live. A browser has no device.
func (a *Accounts) owner(ctx context.Context, r storage.Reader, by Owner) (storage.User, storage.Device, error) {
	if by.SID == "" && by.Browser != [32]byte{} {
		b, err := a.browser(ctx, r, by.Browser)
		if err == nil && (b.Domain != by.Domain || b.User != by.User) {
			err = ErrNoBrowser
		}
		return b.Person, storage.Device{}, err
	}
	g, u, d, err := r.Session(ctx, by.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return u, d, ErrNoSession
	} else if err != nil {
		return u, d, err
	}
	if g.Domain != by.Domain || g.User != by.User || !a.goesOn(g, u, d) {
		return u, d, ErrNoSession
	}
	return u, d, nil
}

// goesOn reports whether a session is live, with its user and its device.
func (a *Accounts) goesOn(g storage.Grant, u storage.User, d storage.Device) bool {
	now := a.now()
	return g.EndedAt.IsZero() && now.Before(g.IdleAt) && now.Before(g.ExpiresAt) && u.DisabledAt.IsZero() && d.RemovedAt.IsZero()
}

// An OwnDevice is a device as its user sees it.
type OwnDevice struct {
	storage.DeviceUse
	URI string
	// Current marks the device of the session that asks.
	Current bool
}

// OwnDevices returns at most limit devices of a user that are not removed, in the order of their ids, from the one that follows after.
// A page that is not full is the last one. The error is [ErrNoSession] if the session of by has ended.
func (a *Accounts) OwnDevices(ctx context.Context, by Owner, after string, limit int) (list []OwnDevice, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		u, current, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		page, err := r.DevicesInUse(ctx, u.Domain, u.ID, after, a.now(), limit)
		if err != nil {
			return err
		}
		for _, d := range page {
			id, err := a.Identify(u, d.Device)
			if err != nil {
				return err
			}
			list = append(list, OwnDevice{d, id.Device, d.ID == current.ID})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: list devices: %w", err)
	}
	return list, nil
}

// MaxDeviceName is how many characters the name of a device may have.
const MaxDeviceName = 64

// ValidDeviceName reports whether a device can have a name: 1 to 64 printable characters.
func ValidDeviceName(name string) bool {
	n := utf8.RuneCountInString(name)
	return utf8.ValidString(name) && n >= 1 && n <= MaxDeviceName &&
		strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// A ChangedDevice is the outcome of a change of a device: the device as it is now.
type ChangedDevice struct {
	storage.Device
	// Changed is false if the device was so already.
	Changed bool
}

// RenameDevice gives a device of the user another name. The errors are [ErrNoSession], [ErrDeviceName], and [ErrNoDevice] if the user has
// no such device or it was removed.
func (a *Accounts) RenameDevice(ctx context.Context, by Owner, id, name string) (renamed ChangedDevice, err error) {
	if !ValidDeviceName(name) {
		return ChangedDevice{}, ErrDeviceName
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		d, err := a.ownDevice(ctx, tx, by, id)
		if err != nil {
			return err
		}
		if !d.RemovedAt.IsZero() {
			return ErrNoDevice
		}
		renamed = ChangedDevice{Device: d}
		if d.Name == name {
			return nil
		}
		renamed.Name, renamed.Changed = name, true
		if err := tx.UpdateDevice(ctx, renamed.Device); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.DeviceRenamed, Domain: d.Domain, User: d.User, Device: d.ID})
	})
	if err != nil {
		return ChangedDevice{}, fmt.Errorf("account: rename a device: %w", err)
	}
	return renamed, nil
}

// ownDevice returns a device of the user, also a removed one. The error is [ErrNoDevice] if the user has no such device.
func (a *Accounts) ownDevice(ctx context.Context, r storage.Reader, by Owner, id string) (storage.Device, error) {
	u, _, err := a.owner(ctx, r, by)
	if err != nil {
		return storage.Device{}, err
	}
	d, err := r.Device(ctx, u.Domain, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && d.User != u.ID {
		return storage.Device{}, ErrNoDevice
	}
	return d, err
}

// RemoveOwnDevice is [Accounts.RemoveDevice] by the user. The device may be that of the session itself. The errors are [ErrNoSession],
// and [ErrNoDevice] if the user has no such device.
func (a *Accounts) RemoveOwnDevice(ctx context.Context, by Owner, id, reason string) (RemovedDevice, error) {
	return a.removeIf(ctx, by.Domain, id, reason, func(ctx context.Context, tx storage.Tx) error {
		_, err := a.ownDevice(ctx, tx, by, id)
		return err
	})
}

// MaxRemovals is how many devices [Accounts.RemoveOtherDevices] removes at a time.
const MaxRemovals = 100

// RemoveOtherDevices removes the devices of a user but that of the session of by, each in a transaction of its own, and at most
// [MaxRemovals]. It returns those that it removed, also with an error, and reports whether there are more. The error is [ErrNoSession]
// if the session has ended.
func (a *Accounts) RemoveOtherDevices(ctx context.Context, by Owner, reason string) (removed []storage.Device, more bool, err error) {
	list, err := a.OwnDevices(ctx, by, "", MaxRemovals+1)
	if err != nil {
		return nil, false, err
	}
	for _, d := range list {
		if d.Current {
			continue
		}
		if len(removed) == MaxRemovals {
			return removed, true, nil
		}
		done, err := a.RemoveOwnDevice(ctx, by, d.ID, reason)
		if err != nil {
			return removed, false, err
		}
		if done.Changed {
			removed = append(removed, done.Device)
		}
	}
	// A page that is not full is the last one. A full one has the current device and as many others as were removed.
	return removed, len(list) > MaxRemovals, nil
}
