package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		s, err := tx.Statement(ctx, jti)
		if errors.Is(err, storage.ErrNotFound) || err == nil && (s.Domain != domain || user != "" && s.User != user || !Stands(s, a.now())) {
			return ErrNoStatement
		} else if err != nil {
			return err
		}
		ended = s
		revoked, err = a.withdraw(ctx, tx, s, reason)
		return err
	})
	if err != nil {
		return storage.Statement{}, fmt.Errorf("account: withdraw a statement: %w", err)
	}
	a.revoked(revoked...)
	return ended, nil
}

// withdrawAll ends the statements about a user that are some of those to end, and returns what the mirror is to be told.
func (a *Accounts) withdrawAll(ctx context.Context, tx storage.Tx, domain, user, reason string, some func(storage.Statement) bool) ([]storage.Revocation, error) {
	list, err := tx.Statements(ctx, domain, user)
	if err != nil {
		return nil, err
	}
	var revoked []storage.Revocation
	for _, s := range list {
		if !Stands(s, a.now()) || !some(s) {
			continue
		}
		rows, err := a.withdraw(ctx, tx, s, reason)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, rows...)
	}
	return revoked, nil
}

// all is about every statement.
func all(storage.Statement) bool { return true }

// callsHer is about the statements that end with the handle of a user, because they tell it. What is known of a rename stays
// true after another one.
func callsHer(s storage.Statement) bool {
	var c struct {
		Handle    string `json:"handle"`
		OldHandle string `json:"old_handle"`
	}
	return json.Unmarshal(s.Claims, &c) != nil || c.Handle != "" && c.OldHandle == ""
}

// withdraw ends one statement. Tokens that enclose it name its jti, and those that were issued by it have it as sid.
func (a *Accounts) withdraw(ctx context.Context, tx storage.Tx, s storage.Statement, reason string) ([]storage.Revocation, error) {
	now := a.now()
	if err := tx.WithdrawStatement(ctx, s.JTI, now, reason); err != nil {
		return nil, err
	}
	var revoked []storage.Revocation
	cause := revocation.Cause{Reason: reason, At: now, TokenLife: s.ExpiresAt.Sub(now)}
	for _, row := range []storage.Revocation{revocation.RevokeToken(s.JTI, cause), revocation.RevokeGrant(s.JTI, cause)} {
		row, err := tx.Revoke(ctx, row)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, row)
	}
	if s.User == "" {
		return revoked, nil
	}
	devices, err := tx.Devices(ctx, s.Domain, s.User)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		if d.Delegation != s.JTI || !d.RemovedAt.IsZero() {
			continue
		}
		rows, err := a.removeDevice(ctx, tx, d, reason)
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, rows...)
	}
	return revoked, nil
}

// Stands reports whether a statement is neither withdrawn nor expired at a time.
func Stands(s storage.Statement, now time.Time) bool {
	return s.WithdrawnAt.IsZero() && now.Before(s.ExpiresAt)
}
