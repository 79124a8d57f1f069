package account

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Errors of [Accounts.Rekey] that callers branch on, beside [ErrKeyInUse].
var (
	// ErrEnded is returned for a token whose session, user or generation ended meanwhile.
	ErrEnded = errors.New("account: the token is not active any more")
	// ErrOtherDevice is returned if the token does not belong to the device.
	ErrOtherDevice = errors.New("account: the token belongs to another device")
	// ErrDelegated is returned for a device that was added under a delegation.
	ErrDelegated = errors.New("account: the device was added under a delegation")
	// ErrOldKey is returned if the statement of the new key names another device or another old key than the device has.
	ErrOldKey = errors.New("account: the statement names another device or old key")
	// ErrLoginAge is returned if the user did not sign in within [RekeyMaxAge].
	ErrLoginAge = errors.New("account: the user signed in too long ago")
	// ErrTooManyKeys is returned for a device whose key was replaced [MaxRekeys] times.
	ErrTooManyKeys = errors.New("account: the key of the device was replaced too often")
)

const (
	// RekeyMaxAge is how long ago the user may have signed in when a device gets another key, or the user another handle.
	RekeyMaxAge = 5 * time.Minute
	// MaxRekeys is how often the key of one device may be replaced. The records of that are never deleted.
	MaxRekeys = 1000
)

// A Rekey is the request of a device for another key.
type Rekey struct {
	Domain, User, Device string
	// SID, Gen and AuthTime are those of the token of the request, and Holder is the thumbprint of the key that the token is bound
	// to, which was proved.
	SID      string
	Gen      int64
	AuthTime time.Time
	Holder   string
	// URI, OldJKT and NewJKT are those of the statement that the new key signed: the URI of the device and the thumbprints of both
	// keys.
	URI, OldJKT, NewJKT string
	// Alg is the algorithm of that statement.
	Alg string
}

// A Rekeyed is the outcome of [Accounts.Rekey].
type Rekeyed struct {
	storage.Rekey
	// Changed is false if the key was replaced before, by a request whose answer was lost.
	Changed bool
}

// MayRekey checks a request as [Accounts.Rekey] does, and writes nothing. It returns true if the key was replaced before by the same
// request, and then Rekey will change nothing.
func (a *Accounts) MayRekey(ctx context.Context, r Rekey) (done bool, err error) {
	err = a.store.View(ctx, func(ctx context.Context, v storage.Reader) error {
		_, last, err := a.checkRekey(ctx, v, r)
		done = last != nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("account: replace a key: %w", err)
	}
	return done, nil
}

// Rekey replaces the key of a device. The device keeps its id and its sessions, which only the new key can refresh. All access tokens
// of the user end by generation, and so do the delegations to the old key with what rests on them. All credentials of the device end: they
// were given to the holder of the old key. The old key cannot be used again.
//
// The same request again, with the old key or the new one, changes nothing and returns the same record, while no other key has
// replaced the new one. The errors are those above, and [ErrKeyInUse] if any device of the domain has or had the new key, or another
// device has a live credential with it.
func (a *Accounts) Rekey(ctx context.Context, r Rekey) (Rekeyed, error) {
	var (
		done    Rekeyed
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		done, revoked, more = Rekeyed{}, nil, false
		u, last, err := a.checkRekey(ctx, tx, r)
		if err != nil {
			return err
		}
		if last != nil {
			done.Rekey = *last
			return nil
		}
		done.Changed, done.Rekey = true, storage.Rekey{
			Domain: r.Domain, Device: r.Device, OldJKT: r.OldJKT, NewJKT: r.NewJKT, Alg: r.Alg,
			At: a.now().Truncate(time.Millisecond), // as it is stored
		}
		if err := tx.RekeyDevice(ctx, done.Rekey); err != nil {
			return err
		}
		if err := a.note(ctx, tx, storage.DeviceRekeyed, storage.Device{Domain: u.Domain, ID: r.Device, User: u.ID}); err != nil {
			return err
		}
		u.Gen++
		if err := tx.UpdateUser(ctx, u); err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reasonRekeyed, At: done.At, TokenLife: a.tokenLife}
		row, err := tx.Revoke(ctx, revocation.RevokeBelow(r.Domain, u.ID, u.Gen, cause))
		if err != nil {
			return err
		}
		w := storage.Withdrawal{
			Domain: r.Domain, User: u.ID, JKT: r.OldJKT, Below: math.MaxInt64, Reason: reasonRekeyed, At: done.At,
		}
		event := audit.Event{Kind: audit.DeviceRekeyed, Domain: r.Domain, User: u.ID, Device: r.Device, Session: r.SID}
		if err := audit.Append(ctx, tx, event); err != nil {
			return err
		}
		revoked = []storage.Revocation{row}
		if covered, err := tx.Covered(ctx, w, 1); err != nil || len(covered) == 0 {
			return err
		}
		var withdrawn []storage.Revocation
		more, withdrawn, err = a.withdraw(ctx, tx, w)
		revoked = append(revoked, withdrawn...)
		return err
	})
	if err != nil {
		return Rekeyed{}, fmt.Errorf("account: replace a key: %w", err)
	}
	a.revoked(revoked...)
	a.finish(ctx, more)
	return done, nil
}

// reasonRekeyed is stored with the tokens and statements that end when a device gets another key.
const reasonRekeyed = "rekeyed"

// checkRekey checks a request by the rows of the device and returns its user, or the record of the same request if that was done
// before. What a caller may find out about other keys comes last, after the age of the login.
func (a *Accounts) checkRekey(ctx context.Context, db storage.Reader, r Rekey) (storage.User, *storage.Rekey, error) {
	g, u, d, err := db.Session(ctx, r.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return u, nil, noSession(ctx, db, r)
	} else if err != nil {
		return u, nil, err
	}
	switch {
	case u.Domain != r.Domain || u.ID != r.User || d.ID != r.Device:
		return u, nil, ErrOtherDevice
	case !a.goesOn(g, u, d):
		return u, nil, ErrEnded
	}
	id, err := a.Identify(u, d)
	if err != nil {
		return u, nil, err
	}
	if r.URI != id.Device {
		return u, nil, ErrOldKey
	}
	rekeys, err := db.Rekeys(ctx, d.Domain, d.ID)
	if err != nil {
		return u, nil, err
	}
	if n := len(rekeys); n > 0 && r.NewJKT == d.JKT && (r.Holder == r.OldJKT || r.Holder == r.NewJKT) {
		if last := rekeys[n-1]; last.OldJKT == r.OldJKT && last.NewJKT == r.NewJKT {
			return u, &last, nil
		}
	}
	switch {
	case u.Gen != r.Gen || d.JKT != r.Holder:
		return u, nil, ErrEnded
	case r.OldJKT != d.JKT:
		return u, nil, ErrOldKey
	case a.fresh(r.AuthTime) != nil:
		return u, nil, ErrLoginAge
	case len(rekeys) >= MaxRekeys:
		return u, nil, ErrTooManyKeys
	}
	if _, err := db.DeviceByKey(ctx, d.Domain, r.NewJKT); err == nil { // the present key of the device, too
		return u, nil, ErrKeyInUse
	} else if !errors.Is(err, storage.ErrNotFound) {
		return u, nil, err
	}
	return u, nil, a.noCredentialOf(ctx, db, d.Domain, r.NewJKT, d.ID)
}

// noSession returns why a token without a session cannot replace a key: its sid is the statement under which its device was added,
// or the session was swept.
func noSession(ctx context.Context, db storage.Reader, r Rekey) error {
	devices, err := db.DevicesUnder(ctx, r.Domain, r.SID, MaxRekeys)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(devices, func(d storage.Device) bool { return d.ID == r.Device && d.User == r.User }) {
		return ErrDelegated
	}
	return ErrEnded
}
