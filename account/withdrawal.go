package account

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// batch is how many rows one transaction writes for statements that end together. Others write in between.
const batch = 100

// FinishWithdrawals writes what withdrawals have ended into the statements' own rows and removes the devices that were taken
// in under them, a batch at a time. Nothing waits for it: a withdrawal takes effect when it is committed. It is called after
// each, and from time to time, so that one which was interrupted is finished.
func (a *Accounts) FinishWithdrawals(ctx context.Context) error {
	for {
		if _, err := a.store.Withdrawal(ctx); errors.Is(err, storage.ErrNotFound) {
			return nil
		} else if err != nil {
			return fmt.Errorf("account: finish a withdrawal: %w", err)
		}
		var (
			more    bool
			revoked []storage.Revocation
		)
		err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			more, revoked, err = a.continueWithdrawal(ctx, tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("account: finish a withdrawal: %w", err)
		}
		a.revoked(revoked...)
		if !more {
			return nil
		}
	}
}

// withdraw ends the statements that w covers, and does the first batch of what [Accounts.FinishWithdrawals] does.
func (a *Accounts) withdraw(ctx context.Context, tx storage.Tx, w storage.Withdrawal) (more bool, revoked []storage.Revocation, err error) {
	if err := tx.BeginWithdrawal(ctx, w); err != nil {
		return false, nil, err
	}
	return a.continueWithdrawal(ctx, tx)
}

// finish goes on with withdrawals of which there is more to write. What it does not come to is done later: all of them have
// taken effect already, so that its failure is none of the caller's.
func (a *Accounts) finish(ctx context.Context, more bool) {
	if more {
		_ = a.FinishWithdrawals(ctx)
	}
}

// continueWithdrawal does one batch of the oldest withdrawal, and reports whether there may be more to do.
func (a *Accounts) continueWithdrawal(ctx context.Context, tx storage.Tx) (more bool, revoked []storage.Revocation, err error) {
	w, err := tx.Withdrawal(ctx)
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil, nil
	} else if err != nil {
		return false, nil, err
	}
	list, err := tx.Covered(ctx, w, batch)
	if err != nil {
		return false, nil, err
	}
	left := batch
	for _, s := range list {
		if s.JKT != "" { // a delegation is written when all its devices are removed
			devices, err := tx.DevicesUnder(ctx, s.Domain, s.JTI, left+1)
			if err != nil {
				return false, nil, err
			}
			for _, d := range devices {
				if left == 0 {
					return true, revoked, nil
				}
				rows, err := a.removeDevice(ctx, tx, d, w.Reason)
				if err != nil {
					return false, nil, err
				}
				revoked = append(revoked, rows...)
				left--
			}
		}
		if left == 0 {
			return true, revoked, nil
		}
		if err := tx.WithdrawStatement(ctx, s.JTI, w.At, w.Reason); err != nil {
			return false, nil, err
		}
		left--
	}
	if len(list) == batch {
		return true, revoked, nil
	}
	if err := tx.FinishWithdrawal(ctx, w.ID); err != nil {
		return false, nil, err
	}
	// A removed device may have begun another one.
	if _, err = tx.Withdrawal(ctx); errors.Is(err, storage.ErrNotFound) {
		return false, revoked, nil
	}
	return true, revoked, err
}

// Revoke writes revocations that end access tokens of a user, and returns what the mirror is to be told. It never refuses: a
// user who has as many live revocations as allowed gets one in the place of all further ones, which ends all access tokens
// that were made for the user until now. Sessions go on, and the next refresh brings a new token.
func (a *Accounts) Revoke(ctx context.Context, tx storage.Tx, domain, user string, rows ...storage.Revocation) ([]storage.Revocation, error) {
	if len(rows) == 0 {
		return nil, nil
	}
	if user != "" {
		owner, limit := domain+"/"+user, int(a.maxRevocations.Load())
		n, err := tx.CountRevocations(ctx, owner, a.now(), limit)
		if err != nil {
			return nil, err
		}
		if n+len(rows) > limit {
			return a.supersede(ctx, tx, domain, user, rows[0])
		}
		for i := range rows {
			rows[i].Owner = owner
		}
	}
	written := make([]storage.Revocation, 0, len(rows))
	for _, r := range rows {
		row, err := tx.Revoke(ctx, r)
		if err != nil {
			return nil, err
		}
		written = append(written, row)
	}
	return written, nil
}

// RevokeSigned ends a statement that a user's own key signed under a delegation: row is its revocation. A user who has as many
// live revocations as allowed has the delegation withdrawn in its place, with all that rests on it, this statement included.
// First runs in the transaction, before.
func (a *Accounts) RevokeSigned(ctx context.Context, domain, user, delegation string, row storage.Revocation,
	first func(ctx context.Context, tx storage.Tx) error) error {
	var (
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		revoked, more = nil, false
		if err := first(ctx, tx); err != nil {
			return err
		}
		r := row
		r.Owner = domain + "/" + user
		limit := int(a.maxRevocations.Load())
		n, err := tx.CountRevocations(ctx, r.Owner, a.now(), limit)
		if err != nil {
			return err
		}
		there, err := tx.Revocation(ctx, r.Kind, r.Key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		// Times are stored in milliseconds, and read twice: a second does not make another revocation.
		if n < limit || err == nil && !there.ExpiresAt.Add(time.Second).Before(r.ExpiresAt) || delegation == "" {
			written, err := tx.Revoke(ctx, r)
			revoked = []storage.Revocation{written}
			return err
		}
		cause := revocation.Cause{Reason: r.Reason, At: r.At, TokenLife: a.tokenLife}
		if revoked, err = a.Revoke(ctx, tx, domain, user, revocation.RevokeGrant(delegation, cause)); err != nil {
			return err
		}
		var rows []storage.Revocation
		more, rows, err = a.withdraw(ctx, tx, storage.Withdrawal{
			Domain: domain, User: user, JTI: delegation, Below: math.MaxInt64, Reason: r.Reason, At: r.At,
		})
		revoked = append(revoked, rows...)
		return err
	})
	if err != nil {
		return fmt.Errorf("account: withdraw a signed statement: %w", err)
	}
	a.revoked(revoked...)
	a.finish(ctx, more)
	return nil
}

// supersede ends all access tokens that were made for a user until now, by one row. Why is the row that began it.
func (a *Accounts) supersede(ctx context.Context, tx storage.Tx, domain, user string, why storage.Revocation) ([]storage.Revocation, error) {
	u, err := tx.User(ctx, domain, user)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, ErrNoUser
	} else if err != nil {
		return nil, err
	}
	u.Gen++
	if err := tx.UpdateUser(ctx, u); err != nil {
		return nil, err
	}
	row, err := tx.Revoke(ctx, revocation.RevokeBelow(domain, user, u.Gen, revocation.Cause{
		Reason: reasonSuperseded, At: why.At, TokenLife: a.tokenLife,
	}))
	return []storage.Revocation{row}, err
}

// Why a user's earlier access tokens ended where a single one, or a few, were to end.
const reasonSuperseded = "superseded"

// SetMaxRevocations changes how many live revocations a user may have before the next ones become one.
func (a *Accounts) SetMaxRevocations(n int) { a.maxRevocations.Store(int64(n)) }
