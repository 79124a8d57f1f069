package issuer

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/storage"
)

// repairRows is how many revocations one transaction writes again.
const repairRows = 50

// repair writes revocations again that the database has lost, with the end of what they end: otherwise a session, device, user, client or
// key that was revoked would be live in its own row, and its tokens still inactive. Each row is absolute, so several nodes may do so.
func (i *Instance) repair(ctx context.Context, lost []storage.Revocation, above int64) error {
	err := i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error { return tx.BeginHistory(ctx, above) })
	for len(lost) > 0 && err == nil {
		n := min(len(lost), repairRows)
		err = i.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			for _, r := range lost[:n] {
				if err := repairOne(ctx, tx, r); err != nil {
					return err
				}
			}
			return nil
		})
		for _, r := range lost[:n] {
			if r.Kind == storage.RevokeUser && err == nil {
				i.log.ErrorContext(ctx, "the database has lost the removal of a user, who is disabled now: remove the user again",
					slog.String("domain", r.Domain), slog.String("user", r.User))
			}
		}
		lost = lost[n:]
	}
	return err
}

// repairOne writes a revocation and ends what it is about, as far as the database has that.
func repairOne(ctx context.Context, tx storage.Tx, r storage.Revocation) error {
	if _, err := tx.Revoke(ctx, r); err != nil {
		return err
	}
	err := endRevoked(ctx, tx, r)
	if errors.Is(err, storage.ErrNotFound) { // lost, too, or removed, or there never was a row
		return nil
	}
	return err
}

// endRevoked ends what a revocation is about. [storage.ErrNotFound] if there is no such record.
func endRevoked(ctx context.Context, tx storage.Tx, r storage.Revocation) error {
	domain, id, _ := strings.Cut(r.Key, "/") // of the kinds that have a domain
	switch r.Kind {
	case storage.RevokeGrant:
		err := tx.EndGrant(ctx, r.Key, r.At, r.Reason)
		if errors.Is(err, storage.ErrNotFound) {
			err = tx.WithdrawStatement(ctx, r.Key, r.At, r.Reason)
		}
		return err
	case storage.RevokeToken:
		jti := r.Key
		if _, signed, ok := strings.Cut(jti, " "); ok { // a statement that a key of a user signed
			jti = signed
		}
		// The jti may be that of a credential, whose row may name no domain any more.
		if _, err := tx.EndCredentials(ctx, storage.CredentialsOf{ID: r.Key}, r.At, r.Reason); err != nil {
			return err
		}
		return tx.WithdrawStatement(ctx, jti, r.At, r.Reason)
	case storage.RevokeDevice:
		if _, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, Device: id}, r.At, r.Reason); err != nil {
			return err
		}
		d, err := tx.Device(ctx, domain, id)
		if err != nil {
			return err
		}
		if _, err := tx.EndDeviceGrants(ctx, domain, id, r.At, r.Reason); err != nil || !d.RemovedAt.IsZero() {
			return err
		}
		d.RemovedAt, d.RemovedReason = r.At, r.Reason
		return tx.UpdateDevice(ctx, d)
	case storage.RevokeGen, storage.RevokeUser:
		if err := endCredentials(ctx, tx, domain, id, r); err != nil {
			return err
		}
		return endUser(ctx, tx, domain, id, r)
	case storage.RevokeClient:
		if _, err := tx.EndClientGrants(ctx, r.Key, r.At, r.Reason); err != nil {
			return err
		}
		c, err := tx.Client(ctx, r.Key)
		if err != nil || !c.RemovedAt.IsZero() {
			return err
		}
		c.RemovedAt, c.RemovedReason = r.At, r.Reason
		return tx.UpdateClient(ctx, c)
	case storage.RevokeKey:
		keys, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if k.KID == r.Key && k.RevokedAt.IsZero() {
				k.RevokedAt, k.RevokedReason = r.At, r.Reason
				return tx.UpdateSigningKey(ctx, k)
			}
		}
	}
	return nil
}

// endCredentials ends the credentials of a user that an act ended of which only the revocation is known: those of a device whose key was
// replaced or that was removed, which it does not name, or the handle of all. A device gets new ones.
func endCredentials(ctx context.Context, tx storage.Tx, domain, user string, r storage.Revocation) (err error) {
	if introspect.Reason(r.Reason) == introspect.HandleChanged {
		_, err = tx.EndCredentialHandles(ctx, domain, user, r.At)
	} else {
		_, err = tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, User: user}, r.At, r.Reason)
	}
	return err
}

// endUser raises the generation of a user to the lowest that is valid, and disables one who was disabled or removed.
func endUser(ctx context.Context, tx storage.Tx, domain, id string, r storage.Revocation) error {
	u, err := tx.User(ctx, domain, id)
	if err != nil {
		return err
	}
	u.Gen = max(u.Gen, r.Gen)
	if r.Kind == storage.RevokeUser || introspect.Reason(r.Reason) == introspect.UserDisabled {
		if _, err := tx.EndUserGrants(ctx, domain, id, r.At, r.Reason); err != nil {
			return err
		}
		if u.DisabledAt.IsZero() {
			u.DisabledAt = r.At
		}
	}
	return tx.UpdateUser(ctx, u)
}
