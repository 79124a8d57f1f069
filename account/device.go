package account

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// plainID is what the id of a device may be that is not made here.
var plainID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// Why a device's session ended, as kept with the grant.
const reasonRemoved = "device_removed"

// DeviceFor returns the device that the key with thumbprint jkt stands for when user logs in with it: the one it is
// bound to already, or a new one, not stored yet ([Accounts.BindDevice] does that). A key that another user's device or a
// removed device is bound to is [ErrKeyInUse]: its holder must make a new key.
func (a *Accounts) DeviceFor(ctx context.Context, user storage.User, jkt string) (storage.Device, error) {
	d, err := a.store.DeviceByKey(ctx, user.Domain, jkt)
	switch {
	case err == nil:
		return d, usable(d, user.ID)
	case !errors.Is(err, storage.ErrNotFound):
		return storage.Device{}, fmt.Errorf("account: find the device of a key: %w", err)
	}
	id, err := a.newDeviceID()
	if err != nil {
		return storage.Device{}, err
	}
	return storage.Device{Domain: user.Domain, ID: id, User: user.ID, JKT: jkt, CreatedAt: a.now()}, nil
}

// DeviceUnder is [Accounts.DeviceFor] for a device that a user's own key took in: it has the id that the key gave it, and
// is the one of that number under that delegation. [ErrKeyInUse] also if the key is bound to another device of hers,
// [ErrDeviceID] for an id that no device of the domain can have.
func (a *Accounts) DeviceUnder(ctx context.Context, user storage.User, id, jkt, delegation string, number int) (storage.Device, error) {
	// It stands in paths, on pages and in the logs of others, so it is plainer than what its system allows.
	if !plainID.MatchString(id) {
		return storage.Device{}, ErrDeviceID
	}
	if _, err := a.Identify(user, storage.Device{ID: id}); err != nil {
		return storage.Device{}, ErrDeviceID
	}
	d, err := a.store.DeviceByKey(ctx, user.Domain, jkt)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.Device{
			Domain: user.Domain, ID: id, User: user.ID, JKT: jkt, Delegation: delegation, Number: number, CreatedAt: a.now(),
		}, nil
	case err != nil:
		return storage.Device{}, fmt.Errorf("account: find the device of a key: %w", err)
	case d.ID != id || d.Delegation != delegation || d.Number != number:
		return storage.Device{}, ErrKeyInUse
	}
	return d, usable(d, user.ID)
}

// KeyUsable reports whether a login may begin with the key of thumbprint jkt: [ErrKeyInUse] if it was bound to a
// device that is removed by now. Whose key it is shows only when the person is known.
func (a *Accounts) KeyUsable(ctx context.Context, domain, jkt string) error {
	d, err := a.store.DeviceByKey(ctx, domain, jkt)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return fmt.Errorf("account: find the device of a key: %w", err)
	}
	return usable(d, d.User)
}

// DeviceFits returns nil if d may be used now, beside the other devices of its user, and [ErrTooManyDevices] if the user
// must give one up first. Only devices that somebody can use count: those with a live session, or taken in under a
// delegation that stands. So a device that is active already always fits, and one that is known but was signed out fits
// like a new one. Only d.Domain, d.User and d.ID matter; without an ID the question is about a new device.
//
// Ask it of the store before the user is asked for anything, so that no code is made that cannot be redeemed;
// [Accounts.BindDevice] asks it again in the transaction, which decides.
func (a *Accounts) DeviceFits(ctx context.Context, r storage.Reader, d storage.Device) error {
	active, err := r.ActiveDevices(ctx, d.Domain, d.User, a.now())
	if err != nil {
		return fmt.Errorf("account: count devices: %w", err)
	}
	others := int64(0)
	for _, other := range active {
		if other.ID == d.ID {
			return nil // also if the limit was lowered since
		}
		others++
	}
	if others >= a.maxDevices.Load() {
		return ErrTooManyDevices
	}
	return nil
}

// BindDevice makes d a live device of its user, in the transaction that redeems a login: it adds a new device, or checks one
// that is stored. It reports whether it added d. The errors are [ErrTooManyDevices] if d does not fit (see
// [Accounts.DeviceFits]), [ErrKeyInUse] if the key belongs to another device by now or d was removed, and
// [storage.ErrConflict] if another login has just made a device of the same key (the caller may begin again).
func (a *Accounts) BindDevice(ctx context.Context, tx storage.Tx, d storage.Device) (added bool, err error) {
	there, err := tx.DeviceByKey(ctx, d.Domain, d.JKT)
	isNew := errors.Is(err, storage.ErrNotFound)
	switch {
	case isNew:
	case err != nil:
		return false, err
	case usable(there, d.User) != nil:
		return false, ErrKeyInUse
	case there.ID != d.ID:
		return false, storage.ErrConflict
	}
	if err := a.DeviceFits(ctx, tx, d); err != nil || !isNew {
		return false, err
	}
	return true, tx.InsertDevice(ctx, d)
}

// SetMaxDevices changes how many active devices a user may have. A user who has more keeps them, and gets no new one.
func (a *Accounts) SetMaxDevices(n int) { a.maxDevices.Store(int64(n)) }

func usable(d storage.Device, user string) error {
	if d.User != user || !d.RemovedAt.IsZero() {
		return ErrKeyInUse
	}
	return nil
}

// newDeviceID makes 64 random bits in hexadecimal without leading zeros; zero itself is left out.
func (a *Accounts) newDeviceID() (string, error) {
	var raw [8]byte
	for {
		if _, err := io.ReadFull(a.rand, raw[:]); err != nil {
			return "", fmt.Errorf("account: make a device id: %w", err)
		}
		if n := binary.BigEndian.Uint64(raw[:]); n != 0 {
			return strconv.FormatUint(n, 16), nil
		}
	}
}

// Devices returns the devices of a domain, removed ones too, oldest first; those of one user if user is not empty.
func (a *Accounts) Devices(ctx context.Context, domain, user string) ([]storage.Device, error) {
	return a.store.Devices(ctx, domain, user)
}

// A RemovedDevice is the outcome of [Accounts.RemoveDevice].
type RemovedDevice struct {
	storage.Device
	// Changed is false if the device had been removed before.
	Changed bool
}

// RemoveDevice removes a device. Its sessions, its tokens and the statements that it made end, and its key cannot be used
// again. Removing it again changes nothing. The reason is stored with the device. The error is [ErrNoDevice] if the domain has
// no such device.
func (a *Accounts) RemoveDevice(ctx context.Context, domain, id, reason string) (RemovedDevice, error) {
	var (
		device  storage.Device
		changed bool
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		changed, revoked, more = false, nil, false
		if device, err = tx.Device(ctx, domain, id); errors.Is(err, storage.ErrNotFound) {
			return ErrNoDevice
		} else if err != nil || !device.RemovedAt.IsZero() {
			return err
		}
		changed, device.RemovedAt, device.RemovedReason = true, a.now(), reason
		if revoked, err = a.removeDevice(ctx, tx, device, reason); err != nil {
			return err
		}
		var rows []storage.Revocation
		more, rows, err = a.continueWithdrawal(ctx, tx)
		revoked = append(revoked, rows...)
		return err
	})
	if err != nil {
		return RemovedDevice{}, fmt.Errorf("account: remove device: %w", err)
	}
	a.revoked(revoked...)
	a.finish(ctx, more)
	return RemovedDevice{device, changed}, nil
}

// removeDevice ends a device that is not removed yet, and returns what the mirror is to be told. Its row ends it, and a
// withdrawal ends, at once, the statements that were made by it and the delegations to its key: whoever has stolen it may
// have let in keys and actors of their own.
func (a *Accounts) removeDevice(ctx context.Context, tx storage.Tx, d storage.Device, reason string) ([]storage.Revocation, error) {
	if d.RemovedAt.IsZero() {
		d.RemovedAt, d.RemovedReason = a.now(), reason
	}
	if err := tx.UpdateDevice(ctx, d); err != nil {
		return nil, err
	}
	sessions, err := tx.EndDeviceGrants(ctx, d.Domain, d.ID, d.RemovedAt, reasonRemoved)
	if err != nil {
		return nil, err
	}
	w := storage.Withdrawal{
		Domain: d.Domain, User: d.User, Device: d.ID, JKT: d.JKT, Below: math.MaxInt64, Reason: reasonRemoved, At: d.RemovedAt,
	}
	statements, err := tx.Covered(ctx, w, batch)
	if err != nil {
		return nil, err
	}
	if len(statements) > 0 {
		if err := tx.BeginWithdrawal(ctx, w); err != nil {
			return nil, err
		}
	}
	cause := revocation.Cause{Reason: reasonRemoved, At: d.RemovedAt, TokenLife: a.tokenLife}
	// A token without scope im:device does not name the device, but always its session, and one that was issued by a
	// statement names that in the place of a session.
	var rows []storage.Revocation
	for _, sid := range sessions {
		rows = append(rows, revocation.RevokeGrant(sid, cause))
	}
	for _, s := range statements {
		rows = append(rows, revocation.RevokeGrant(s.JTI, cause))
	}
	device := revocation.RevokeDevice(d.Domain, d.ID, cause)
	if len(rows) < batch {
		return a.Revoke(ctx, tx, d.Domain, d.User, append([]storage.Revocation{device}, rows...)...)
	}
	one, err := a.Revoke(ctx, tx, d.Domain, d.User, device)
	if err != nil {
		return nil, err
	}
	many, err := a.supersede(ctx, tx, d.Domain, d.User, device)
	return append(one, many...), err
}
