package postgres

import (
	"context"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// covered returns the condition that the withdrawal w covers a row of statements, whose table or alias is s. The table of withdrawals
// is almost always empty, so the condition is cheap.
func covered(s string) string {
	return strings.ReplaceAll("w.domain = S.domain AND w.user_id = S.user_id AND S.gen < w.below AND (w.jti = '' OR w.jti = S.jti) "+
		"AND (w.device = '' AND w.jkt = '' OR w.device <> '' AND w.device = S.device OR w.jkt <> '' AND w.jkt = S.jkt) "+
		"AND (NOT w.tells_handle OR S.tells_handle)", "S.", s+".")
}

// standing returns the condition that a row of statements is not withdrawn, by itself or by a withdrawal.
func standing(s string) string {
	return s + ".withdrawn_at = 0 AND NOT EXISTS (SELECT 1 FROM withdrawals w WHERE " + covered(s) + ")"
}

// shownStatement are the columns of a statement, withdrawn where a withdrawal covers it.
var shownStatement = strings.NewReplacer(
	"withdrawn_at", "CASE WHEN withdrawn_at <> 0 THEN withdrawn_at ELSE coalesce((SELECT w.at FROM withdrawals w WHERE "+
		covered("statements")+" ORDER BY w.id LIMIT 1), 0) END",
	"withdrawn_reason", "CASE WHEN withdrawn_at <> 0 THEN withdrawn_reason ELSE coalesce((SELECT w.reason FROM withdrawals w WHERE "+
		covered("statements")+" ORDER BY w.id LIMIT 1), '') END",
).Replace(row.StatementColumns)

var (
	selectStatement      = "SELECT " + shownStatement + " FROM statements WHERE jti = $1"
	selectStatements     = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 ORDER BY created_at, jti"
	selectUserStatements = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 AND user_id = $2 ORDER BY created_at, jti"

	selectStatementsAfter     = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 AND jti > $2 ORDER BY jti LIMIT $3"
	selectUserStatementsAfter = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 AND user_id = $2 AND jti > $3 " +
		"ORDER BY jti LIMIT $4"
	// Both are found by the index of statements that are not withdrawn.
	selectStandingStatements = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 AND user_id = $2 " +
		"AND " + standing("statements") + " AND (created_at, jti) > ($5, $6) " +
		"AND ($3 = '' OR typ = $3) AND (expires_at = 0 OR expires_at > $4) ORDER BY created_at, jti LIMIT $7"
	countStatements = "SELECT count(*) FROM (SELECT 1 FROM statements WHERE domain = $1 AND user_id = $2 " +
		"AND " + standing("statements") + " AND device <> '' AND (expires_at = 0 OR expires_at > $3) LIMIT $4) few"

	insertStatement = insertInto("statements", row.StatementColumns)
	// It also writes the row of a withdrawn statement, so that no changed row means no statement.
	withdrawStatement = "UPDATE statements SET withdrawn_at = CASE withdrawn_at WHEN 0 THEN $2 ELSE withdrawn_at END, " +
		"withdrawn_reason = CASE withdrawn_at WHEN 0 THEN $3 ELSE withdrawn_reason END WHERE jti = $1"
	deleteStatement = "DELETE FROM statements WHERE jti = $1"

	selectWithdrawal = "SELECT " + row.WithdrawalColumns + " FROM withdrawals ORDER BY id LIMIT 1"
	selectCovered    = "SELECT " + shownStatement + " FROM statements WHERE domain = $1 AND user_id = $2 AND withdrawn_at = 0 " +
		"AND EXISTS (SELECT 1 FROM (SELECT $1::text AS domain, $2::text AS user_id, $3::text AS jti, $4::text AS device, " +
		"$5::text AS jkt, $6::boolean AS tells_handle, " +
		"$7::bigint AS below) w WHERE " + covered("statements") + ") ORDER BY created_at, jti LIMIT $8"
	insertWithdrawal = "INSERT INTO withdrawals (domain, user_id, jti, device, jkt, tells_handle, below, reason, at) " +
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
	deleteWithdrawal = "DELETE FROM withdrawals WHERE id = $1"
)

func (r *reader) Statement(ctx context.Context, jti string) (storage.Statement, error) {
	return one(ctx, r, selectStatement, row.StatementDest, jti)
}

func (r *reader) Statements(ctx context.Context, domain, user string) ([]storage.Statement, error) {
	if user == "" {
		return all(ctx, r, selectStatements, row.StatementDest, domain)
	}
	return all(ctx, r, selectUserStatements, row.StatementDest, domain, user)
}

func (r *reader) StatementsAfter(ctx context.Context, domain, user, after string, limit int) ([]storage.Statement, error) {
	if user == "" {
		return all(ctx, r, selectStatementsAfter, row.StatementDest, domain, after, max(limit, 0))
	}
	return all(ctx, r, selectUserStatementsAfter, row.StatementDest, domain, user, after, max(limit, 0))
}

func (r *reader) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
	limit int) ([]storage.Statement, error) {
	return all(ctx, r, selectStandingStatements, row.StatementDest,
		domain, user, typ, row.Millis(now), row.Millis(after.CreatedAt), after.JTI, max(limit, 0))
}

func (r *reader) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	return r.number(ctx, countStatements, domain, user, row.Millis(now), max(limit, 0))
}

func (t *tx) InsertStatement(ctx context.Context, s storage.Statement) error {
	return t.insert(ctx, insertStatement, row.StatementArgs(s))
}

func (t *tx) WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error {
	return t.must(ctx, withdrawStatement, jti, row.Millis(at), reason)
}

func (t *tx) DeleteStatement(ctx context.Context, jti string) error {
	return t.must(ctx, deleteStatement, jti)
}

func (r *reader) Withdrawal(ctx context.Context) (storage.Withdrawal, error) {
	return one(ctx, r, selectWithdrawal, row.WithdrawalDest)
}

func (r *reader) Covered(ctx context.Context, w storage.Withdrawal, limit int) ([]storage.Statement, error) {
	return all(ctx, r, selectCovered, row.StatementDest,
		w.Domain, w.User, w.JTI, w.Device, w.JKT, w.TellsHandle, w.Below, max(limit, 0))
}

func (t *tx) BeginWithdrawal(ctx context.Context, w storage.Withdrawal) error {
	_, err := t.exec(ctx, insertWithdrawal,
		w.Domain, w.User, w.JTI, w.Device, w.JKT, w.TellsHandle, w.Below, w.Reason, row.Millis(w.At))
	return err
}

func (t *tx) FinishWithdrawal(ctx context.Context, id int64) error {
	return t.must(ctx, deleteWithdrawal, id)
}
