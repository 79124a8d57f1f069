package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

var (
	// ErrNoStatement is returned for a statement that does not exist, is about another user, or has ended.
	ErrNoStatement = errors.New("account: no such statement")
	// ErrTooManyStatements is returned for a new statement of a user who has as many live statements as allowed.
	ErrTooManyStatements = errors.New("account: too many statements")
	// ErrCursor is returned for a cursor that [Accounts.StatementPage] did not make.
	ErrCursor = errors.New("account: not a cursor")
)

// SetMaxStatements changes how many live statements a user may have made. A user who has more keeps them.
func (a *Accounts) SetMaxStatements(n int) { a.maxStatements.Store(int64(n)) }

// AddStatement stores a signed statement before it is given out, in the transaction that has checked its author. It adds to the
// row by which changes the statement ends. The error is [ErrTooManyStatements] if a device of the user made the statement and the
// user has as many live statements as allowed. Statements of operators do not count.
func (a *Accounts) AddStatement(ctx context.Context, tx storage.Tx, s storage.Statement) error {
	var c struct {
		Handle    string `json:"handle"`
		OldHandle string `json:"old_handle"`
		Cnf       struct {
			JKT string `json:"jkt"`
		} `json:"cnf"`
	}
	if err := json.Unmarshal(s.Claims, &c); err != nil {
		return fmt.Errorf("account: read the claims of a statement: %w", err)
	}
	// A statement about a rename stays true after the next rename.
	s.TellsHandle, s.JKT = c.Handle != "" && c.OldHandle == "", c.Cnf.JKT
	if s.User != "" {
		u, err := tx.User(ctx, s.Domain, s.User)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoUser
		} else if err != nil {
			return err
		}
		s.Gen = u.Gen
	}
	if s.Device != "" {
		limit := int(a.maxStatements.Load())
		n, err := tx.CountStatements(ctx, s.Domain, s.User, a.now(), limit)
		if err != nil {
			return err
		}
		if n >= limit {
			return ErrTooManyStatements
		}
	}
	if err := tx.InsertStatement(ctx, s); err != nil {
		return err
	}
	return audit.Append(ctx, tx, audit.Event{
		Kind: audit.StatementMade, Domain: s.Domain, User: s.User, Statement: s.JTI, Reason: s.Type,
	})
}

// StatementPage returns at most limit live statements about a user, oldest first, and the cursor of the next page, which is
// empty after the last page. If typ is not empty, it returns statements of this type only. An empty cursor asks for the first
// page. A cursor stays valid when statements are made and end: no statement that is live all the time is left out or repeated.
// The error is [ErrCursor] for a malformed cursor.
func (a *Accounts) StatementPage(ctx context.Context, r StandingStatements, domain, user, typ, cursor string,
	limit int) ([]storage.Statement, string, error) {
	var after storage.StatementCursor
	if cursor != "" {
		ms, jti, ok := strings.Cut(cursor, ".")
		n, err := strconv.ParseInt(ms, 36, 64)
		if !ok || err != nil || jti == "" {
			return nil, "", ErrCursor
		}
		after = storage.StatementCursor{CreatedAt: time.UnixMilli(n), JTI: jti}
	}
	list, err := r.StandingStatements(ctx, domain, user, typ, a.now(), after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("account: statements: %w", err)
	}
	if len(list) <= limit {
		return list, "", nil
	}
	list = list[:limit]
	last := list[limit-1]
	return list, strconv.FormatInt(last.CreatedAt.UnixMilli(), 36) + "." + last.JTI, nil
}

// Statements returns at most limit statements of the issuer about subjects of a domain that are neither withdrawn nor
// expired, in the order of their jti, from the one that follows after; only those about one user if user is not empty. A page
// that is not full is the last one.
func (a *Accounts) Statements(ctx context.Context, domain, user, after string, limit int) ([]storage.Statement, error) {
	now := a.now()
	live := make([]storage.Statement, 0, limit)
	for {
		page, err := a.store.StatementsAfter(ctx, domain, user, after, limit)
		if err != nil {
			return nil, fmt.Errorf("account: statements: %w", err)
		}
		for _, s := range page {
			if Stands(s, now) && len(live) < limit {
				live = append(live, s)
			}
		}
		if len(page) < limit || len(live) == limit {
			return live, nil
		}
		after = page[len(page)-1].JTI
	}
}

// Withdraw withdraws a statement of a domain, and ends what rests on it: tokens that enclose it or were issued by it, and the
// devices under a delegation. If user is not empty, the statement must be about that user. The error is [ErrNoStatement] if there
// is no such live statement.
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
		event := audit.Event{Kind: audit.StatementWithdrawn, Domain: domain, User: s.User, Statement: jti, Reason: reason}
		if user != "" {
			event.Reason = s.Type
		}
		if err := audit.Append(ctx, tx, event); err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reason, At: now, TokenLife: a.tokenLife}
		if revoked, err = a.Revoke(ctx, tx, domain, s.User, revocation.RevokeGrant(jti, cause)); err != nil {
			return err
		}
		if s.User == "" || s.JKT == "" { // not a delegation: there are no devices under it
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

// Stands reports whether a statement is live at a time: neither withdrawn nor expired.
func Stands(s storage.Statement, now time.Time) bool {
	return s.WithdrawnAt.IsZero() && now.Before(s.ExpiresAt)
}
