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

// ErrNoStatement is returned for a statement that is not there, not about that user, or over.
var ErrNoStatement = errors.New("account: no such statement")

// Statements returns the statements of the issuer about subjects of a domain that are neither withdrawn nor expired,
// oldest first; those about one user if user is not empty.
func (a *Accounts) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	all, err := a.store.Statements(ctx, domain, user)
	if err != nil {
		return nil, fmt.Errorf("account: statements: %w", err)
	}
	now := a.now()
	var live []storage.Statement
	for _, s := range all {
		if Stands(s, now) {
			live = append(live, s)
		}
	}
	return live, nil
}

// Withdraw ends a statement of a domain, if user is not empty one about that user, with all that rests on it: tokens that
// enclose it or were issued by it, and the devices of a delegation. [ErrNoStatement] if there is no such, or no longer.
func (a *Accounts) Withdraw(ctx context.Context, domain, user, jti, reason string) (storage.Statement, error) {
	var (
		ended   storage.Statement
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		more = false
		now := a.now()
		s, err := tx.Statement(ctx, jti)
		if errors.Is(err, storage.ErrNotFound) || err == nil && (s.Domain != domain || user != "" && s.User != user || !Stands(s, now)) {
			return ErrNoStatement
		} else if err != nil {
			return err
		}
		ended = s
		cause := revocation.Cause{Reason: reason, At: now, TokenLife: a.tokenLife}
		if revoked, err = a.Revoke(ctx, tx, domain, s.User, revocation.RevokeGrant(jti, cause)); err != nil {
			return err
		}
		if s.User == "" || s.JKT == "" { // no device can be under it
			return tx.WithdrawStatement(ctx, jti, now, reason)
		}
		var rows []storage.Revocation
		more, rows, err = a.withdraw(ctx, tx, storage.Withdrawal{
			Domain: domain, User: s.User, JTI: jti, Below: math.MaxInt64, Reason: reason, At: now,
		})
		revoked = append(revoked, rows...)
		return err
	})
	if err != nil {
		return storage.Statement{}, fmt.Errorf("account: withdraw a statement: %w", err)
	}
	a.revoked(revoked...)
	a.finish(ctx, more)
	return ended, nil
}

// Stands reports whether a statement is neither withdrawn nor expired at a time.
func Stands(s storage.Statement, now time.Time) bool {
	return s.WithdrawnAt.IsZero() && now.Before(s.ExpiresAt)
}
