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

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// plainID matches the device ids that a delegate may choose.
var plainID = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// reasonRemoved is stored with the grants and statements that end with a device.
const reasonRemoved = "device_removed"

// DeviceFor returns the device of the key with thumbprint jkt when user signs in with it: the stored device, or a new one that
// [Accounts.BindDevice] will store. The error is [ErrKeyInUse] if the key belongs to another user, to a removed device or to a live
// credential of another device, or if [Accounts.Rekey] replaced it: then the app must make a new key.
func (a *Accounts) DeviceFor(ctx context.Context, user storage.User, jkt string) (storage.Device, error) {
	d, err := a.deviceOfKey(ctx, a.store, user.Domain, jkt)
	switch {
	case err == nil:
		return d, usable(d, user.ID, jkt)
	case !errors.Is(err, storage.ErrNotFound):
		return storage.Device{}, err
	}
	id, err := a.newDeviceID()
	if err != nil {
		return storage.Device{}, err
	}
	return storage.Device{Domain: user.Domain, ID: id, User: user.ID, JKT: jkt, CreatedAt: a.now()}, nil
}

// DeviceUnder is [Accounts.DeviceFor] for a device that a delegate of the user adds. The delegate chooses the id, and number
// counts the devices under the delegation. The error is also [ErrKeyInUse] if the key belongs to another device of the user, and
// [ErrDeviceID] if the domain does not allow the id.
func (a *Accounts) DeviceUnder(ctx context.Context, user storage.User, id, jkt, delegation string, number int) (storage.Device, error) {
	// The id appears in paths, pages and logs, so it has fewer characters than the identifier system allows.
	if !plainID.MatchString(id) {
		return storage.Device{}, ErrDeviceID
	}
	if _, err := a.Identify(user, storage.Device{ID: id}); err != nil {
		return storage.Device{}, ErrDeviceID
	}
	d, err := a.deviceOfKey(ctx, a.store, user.Domain, jkt)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return storage.Device{
			Domain: user.Domain, ID: id, User: user.ID, JKT: jkt, Delegation: delegation, Number: number, CreatedAt: a.now(),
		}, nil
	case err != nil:
		return storage.Device{}, err
	case d.ID != id || d.Delegation != delegation || d.Number != number:
		return storage.Device{}, ErrKeyInUse
	}
	return d, usable(d, user.ID, jkt)
}

// KeyUsable returns [ErrKeyInUse] if the key with thumbprint jkt belongs to a removed device or to a live credential of a device with
// another key, or was replaced, so that a login with it fails early. Whether the key belongs to another user is known only after the login.
func (a *Accounts) KeyUsable(ctx context.Context, domain, jkt string) error {
	d, err := a.deviceOfKey(ctx, a.store, domain, jkt)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	return usable(d, d.User, jkt)
}

// DeviceFits returns [ErrTooManyDevices] if d would be one device too many for its user. Only active devices count: those with a
// live session or under a live delegation. So a device that is active already always fits, and a device that was signed out
// counts as a new one. DeviceFits uses d.Domain, d.User and d.ID; a new device has no ID yet.
//
// Call it with the store before the user is asked for consent, so that no code is issued that cannot be redeemed.
// [Accounts.BindDevice] checks again in its transaction, which decides.
func (a *Accounts) DeviceFits(ctx context.Context, r ActiveDevices, d storage.Device) error {
	now := a.now()
	full, err := r.DevicesReach(ctx, d.Domain, d.User, now, int(a.maxDevices.Load()))
	if err != nil {
		return fmt.Errorf("account: count devices: %w", err)
	}
	if !full {
		return nil
	}
	if d.ID != "" { // an active device fits, also if the limit was lowered since
		fits, err := r.DeviceActive(ctx, d.Domain, d.ID, now)
		if err != nil {
			return fmt.Errorf("account: count devices: %w", err)
		}
		if fits {
			return nil
		}
	}
	return ErrTooManyDevices
}

// BindDevice makes d a live device of its user, in the transaction that redeems a login: it adds a new device, or checks one
// that is stored. It reports whether it added d. The errors are [ErrTooManyDevices] if d does not fit (see
// [Accounts.DeviceFits]), [ErrKeyInUse] if the key belongs to another device by now or d was removed, and
// [storage.ErrConflict] if another login has just made a device of the same key (the caller may begin again).
func (a *Accounts) BindDevice(ctx context.Context, tx storage.Tx, d storage.Device) (added bool, err error) {
	there, err := a.deviceOfKey(ctx, tx, d.Domain, d.JKT)
	isNew := errors.Is(err, storage.ErrNotFound)
	switch {
	case isNew:
	case err != nil:
		return false, err
	case usable(there, d.User, d.JKT) != nil:
		return false, ErrKeyInUse
	case there.ID != d.ID:
		return false, storage.ErrConflict
	}
	if err := a.DeviceFits(ctx, tx, d); err != nil || !isNew {
		return false, err
	}
	if err := tx.InsertDevice(ctx, d); err != nil {
		return false, err
	}
	return true, a.note(ctx, tx, storage.DeviceAdded, d)
}

// SetMaxDevices changes how many active devices a user may have. A user who has more keeps them and cannot add any.
func (a *Accounts) SetMaxDevices(n int) { a.maxDevices.Store(int64(n)) }

// usable returns [ErrKeyInUse] unless d, which has or had the key with thumbprint jkt, is a device of the user with that key.
func usable(d storage.Device, user, jkt string) error {
	if d.User != user || !d.RemovedAt.IsZero() || d.JKT != jkt {
		return ErrKeyInUse
	}
	return nil
}

// newDeviceID returns 64 random bits, never zero, in hexadecimal without leading zeros.
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

// Devices returns at most limit devices of a domain, including removed ones, in the order of their ids, from the one that
// follows after; only those of one user if user is not empty. A page that is not full is the last one.
func (a *Accounts) Devices(ctx context.Context, domain, user, after string, limit int) ([]storage.Device, error) {
	return a.store.DevicesAfter(ctx, domain, user, after, limit)
}

// A RemovedDevice is the outcome of [Accounts.RemoveDevice].
type RemovedDevice struct {
	storage.Device
	// Changed is false if the device had been removed before.
	Changed bool
}

// RemoveDevice removes a device. Its sessions, its tokens, its credentials and the statements that it made end, and its key cannot be
// used again. Removing it again changes nothing. The reason is stored with the device. The error is [ErrNoDevice] if the domain has
// no such device.
func (a *Accounts) RemoveDevice(ctx context.Context, domain, id, reason string) (RemovedDevice, error) {
	return a.removeIf(ctx, domain, id, reason, nil)
}

// removeIf is [Accounts.RemoveDevice] by the user, after a check at the beginning of the transaction. A nil check is for operators.
func (a *Accounts) removeIf(ctx context.Context, domain, id, reason string,
	check func(ctx context.Context, tx storage.Tx) error) (RemovedDevice, error) {
	var (
		device  storage.Device
		changed bool
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		changed, revoked, more = false, nil, false
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
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
		if err != nil {
			return err
		}
		event := audit.Event{Kind: audit.DeviceRemoved, Domain: domain, User: device.User, Device: id, Reason: reason}
		if check == nil {
			event.Client = device.Client // that of a user is the one that asks
		}
		return audit.Append(ctx, tx, event)
	})
	if err != nil {
		return RemovedDevice{}, fmt.Errorf("account: remove device: %w", err)
	}
	if err := a.inForce(ctx, revoked); err != nil {
		return RemovedDevice{}, err
	}
	a.finish(ctx, more)
	return RemovedDevice{device, changed}, nil
}

// removeDevice removes a device in a transaction and returns the revocations that it wrote. Its credentials end with its row. The
// statements that the device made and the delegations to its key end too: a thief of the device may have let in keys and actors of their
// own.
func (a *Accounts) removeDevice(ctx context.Context, tx storage.Tx, d storage.Device, reason string) ([]storage.Revocation, error) {
	if d.RemovedAt.IsZero() {
		d.RemovedAt, d.RemovedReason = a.now(), reason
	}
	if err := tx.UpdateDevice(ctx, d); err != nil {
		return nil, err
	}
	if err := a.note(ctx, tx, storage.DeviceRemoved, d); err != nil {
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
	// A token without the scope im:device has no device claim, but always its session, or the statement by which it was issued.
	var rows []storage.Revocation
	for _, sid := range sessions {
		rows = append(rows, revocation.RevokeGrant(sid, cause))
	}
	for _, s := range statements {
		rows = append(rows, revocation.RevokeGrant(s.JTI, cause))
	}
	device := revocation.RevokeDevice(d.Domain, d.ID, cause)
	device.User = d.User
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
