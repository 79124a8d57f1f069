package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// batch is how many rows one transaction writes for statements that end together. Other updates run between the batches.
const batch = 100

// FinishWithdrawals marks the statements that withdrawals cover as withdrawn and removes the devices under them, a batch at a
// time. A withdrawal is in effect as soon as it is committed, so nothing waits for this. It is called after each withdrawal, and
// from time to time, so that interrupted ones are finished.
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

// withdraw begins a withdrawal and does the first batch of [Accounts.FinishWithdrawals]. It reports whether there is more to do.
func (a *Accounts) withdraw(ctx context.Context, tx storage.Tx, w storage.Withdrawal) (more bool, revoked []storage.Revocation, err error) {
	if err := tx.BeginWithdrawal(ctx, w); err != nil {
		return false, nil, err
	}
	return a.continueWithdrawal(ctx, tx)
}

// finish finishes withdrawals if there is more to do. An error is ignored: the withdrawals are in effect, and the rest is done
// later.
func (a *Accounts) finish(ctx context.Context, more bool) {
	if more {
		_ = a.FinishWithdrawals(ctx)
	}
}

// continueWithdrawal does one batch of the oldest withdrawal. It returns the revocations that it wrote, and reports whether there
// may be more to do.
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
		if s.JKT != "" { // a delegation is marked once all its devices are removed
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
	// The removal of a device may have begun another withdrawal.
	if _, err = tx.Withdrawal(ctx); errors.Is(err, storage.ErrNotFound) {
		return false, revoked, nil
	}
	return true, revoked, err
}

// Revoke writes revocations of access tokens of a user in a transaction, and returns the rows that it wrote. It never refuses: if
// the user would have more live revocations than allowed, it writes one that ends all access tokens of the user. Sessions
// continue, and the next refresh brings a new token.
func (a *Accounts) Revoke(ctx context.Context, tx storage.Tx, domain, user string,
	rows ...storage.Revocation) ([]storage.Revocation, error) {
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
		r.Domain = cmp.Or(r.Domain, domain)
		row, err := tx.Revoke(ctx, r)
		if err != nil {
			return nil, err
		}
		written = append(written, row)
	}
	return written, nil
}

// RevokeSigned revokes a statement that a key of the user signed under a delegation; row is the revocation. If the user has as many
// live revocations as allowed, the delegation is withdrawn instead, with everything that rests on it, including this statement.
// First runs at the beginning of the transaction.
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
		r.Owner, r.Domain = domain+"/"+user, domain
		limit := int(a.maxRevocations.Load())
		n, err := tx.CountRevocations(ctx, r.Owner, a.now(), limit)
		if err != nil {
			return err
		}
		there, err := tx.Revocation(ctx, r.Kind, r.Key)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		// Times are stored in milliseconds: a difference of less than a second is not another revocation.
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

// supersede writes one revocation of all access tokens that a user has now. It takes the time of why, the revocation that was to
// be written.
func (a *Accounts) supersede(ctx context.Context, tx storage.Tx, domain, user string,
	why storage.Revocation) ([]storage.Revocation, error) {
	u, err := tx.User(ctx, domain, user)
	if errors.Is(err, storage.ErrNotFound) { // the user was removed, which has ended all tokens
		return nil, nil
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

// reasonSuperseded is the reason of a revocation of all access tokens of a user in place of single ones.
const reasonSuperseded = "superseded"

// SetMaxRevocations changes how many live revocations a user may have.
func (a *Accounts) SetMaxRevocations(n int) { a.maxRevocations.Store(int64(n)) }
