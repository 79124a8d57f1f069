package sqlite

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
		"AND (w.tells_handle = 0 OR S.tells_handle <> 0)", "S.", s+".")
}

// standing returns the condition that a row of statements is not withdrawn, by itself or by a withdrawal.
func standing(s string) string {
	return s + ".withdrawn_at = 0 AND NOT EXISTS (SELECT 1 FROM withdrawals w WHERE " + covered(s) + ")"
}

// shownStatement are the columns of a statement, withdrawn where a withdrawal covers it.
var shownStatement = strings.NewReplacer(
	"withdrawn_at", "iif(withdrawn_at <> 0, withdrawn_at, ifnull((SELECT w.at FROM withdrawals w WHERE "+covered("statements")+
		" ORDER BY w.id LIMIT 1), 0))",
	"withdrawn_reason", "iif(withdrawn_at <> 0, withdrawn_reason, ifnull((SELECT w.reason FROM withdrawals w WHERE "+covered("statements")+
		" ORDER BY w.id LIMIT 1), ''))",
).Replace(row.StatementColumns)

var (
	selectWithdrawal = statement("SELECT " + row.WithdrawalColumns + " FROM withdrawals ORDER BY id LIMIT 1")
	selectCovered    = statement("SELECT " + shownStatement + " FROM statements WHERE domain = ?1 AND user_id = ?2 AND withdrawn_at = 0 " +
		"AND EXISTS (SELECT 1 FROM (SELECT ?1 AS domain, ?2 AS user_id, ?3 AS jti, ?4 AS device, ?5 AS jkt, ?6 AS tells_handle, " +
		"?7 AS below) w WHERE " + covered("statements") + ") ORDER BY created_at, jti LIMIT ?8")
	insertWithdrawal = statement("INSERT INTO withdrawals (domain, user_id, jti, device, jkt, tells_handle, below, reason, at) " +
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
	deleteWithdrawal   = statement("DELETE FROM withdrawals WHERE id = ?")
	selectDevicesUnder = statement("SELECT " + row.DeviceColumns + " FROM devices WHERE domain = ?1 AND delegation = ?2 " +
		"AND delegation <> '' AND removed_at = 0 ORDER BY number LIMIT ?3")
	countRevocations = statement("SELECT count(*) FROM (SELECT 1 FROM revocations WHERE owner = ?1 AND owner <> '' " +
		"AND (expires_at = 0 OR expires_at > ?2) LIMIT ?3)")
)

func (r *reader) Withdrawal(ctx context.Context) (w storage.Withdrawal, err error) {
	err = r.row(ctx, selectWithdrawal, row.WithdrawalDest(&w))
	return w, err
}

func (r *reader) Covered(ctx context.Context, w storage.Withdrawal, limit int) (list []storage.Statement, err error) {
	err = r.rows(ctx, selectCovered, func() []any {
		list = append(list, storage.Statement{})
		return row.StatementDest(&list[len(list)-1])
	}, w.Domain, w.User, w.JTI, w.Device, w.JKT, w.TellsHandle, w.Below, max(limit, 0))
	return list, err
}

func (r *reader) DevicesUnder(ctx context.Context, domain, delegation string, limit int) (devices []storage.Device, err error) {
	err = r.rows(ctx, selectDevicesUnder, func() []any {
		devices = append(devices, storage.Device{})
		return row.DeviceDest(&devices[len(devices)-1])
	}, domain, delegation, max(limit, 0))
	return devices, err
}

func (r *reader) CountRevocations(ctx context.Context, owner string, now time.Time, limit int) (n int, err error) {
	err = r.row(ctx, countRevocations, []any{&n}, owner, row.Millis(now), max(limit, 0))
	return n, err
}

func (t *tx) BeginWithdrawal(ctx context.Context, w storage.Withdrawal) error {
	return t.insert(ctx, insertWithdrawal,
		[]any{w.Domain, w.User, w.JTI, w.Device, w.JKT, w.TellsHandle, w.Below, w.Reason, row.Millis(w.At)})
}

func (t *tx) FinishWithdrawal(ctx context.Context, id int64) error {
	return t.one(ctx, deleteWithdrawal, id)
}
