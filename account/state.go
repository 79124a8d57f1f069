package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

var (
	// ErrTooManyStatements is returned for another statement of a user who has as many standing ones as allowed.
	ErrTooManyStatements = errors.New("account: too many statements")
	// ErrCursor is returned for a cursor that [Accounts.StatementPage] did not return.
	ErrCursor = errors.New("account: not a cursor")
)

// SetMaxStatements changes how many statements that a user made may stand at a time. A user who has more keeps them.
func (a *Accounts) SetMaxStatements(n int) { a.maxStatements.Store(int64(n)) }

// AddStatement stores a statement that is signed and about to be handed out, in the transaction that has checked who makes
// it. It notes in the row what ends it. [ErrTooManyStatements] if s.Device made it and the user has as many standing
// statements as allowed; the operator's statements neither count nor are refused.
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
	// What is known of a rename stays true after another one.
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
	return tx.InsertStatement(ctx, s)
}

// StatementPage returns at most limit statements about a user that stand, oldest first, those of one type if typ is not
// empty, and the cursor of the next page, which is empty after the last one. An empty cursor asks for the first page. A
// cursor stays good when statements come and go: nothing that stands all the while is left out or shown twice. [ErrCursor]
// for one that is malformed.
func (a *Accounts) StatementPage(ctx context.Context, domain, user, typ, cursor string, limit int) ([]storage.Statement, string, error) {
	var after storage.StatementCursor
	if cursor != "" {
		ms, jti, ok := strings.Cut(cursor, ".")
		n, err := strconv.ParseInt(ms, 36, 64)
		if !ok || err != nil || jti == "" {
			return nil, "", ErrCursor
		}
		after = storage.StatementCursor{CreatedAt: time.UnixMilli(n), JTI: jti}
	}
	list, err := a.store.StandingStatements(ctx, domain, user, typ, a.now(), after, limit+1)
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
