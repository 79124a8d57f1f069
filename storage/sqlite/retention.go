package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

var (
	selectEndedGrants = statement("SELECT " + row.EndedGrantColumns + " FROM ended_grants INDEXED BY ended_grants_user " +
		"WHERE domain = ? AND user_id = ? AND id > ? ORDER BY id LIMIT ?")

	// The present handle of a user can have a released row, if two users were found to have it.
	selectFormerNames = statement("SELECT " + row.NameColumns + " FROM names INDEXED BY names_released " +
		"WHERE released_at <> 0 AND released_at < ?1 AND released_at > 0 AND NOT EXISTS (SELECT 1 FROM users " +
		"WHERE users.domain = names.domain AND users.id = names.user_id AND users.handle = names.local) LIMIT ?2")
	deleteName    = statement("DELETE FROM names WHERE domain = ? AND key = ? RETURNING user_id, local")
	forgetHandles = statement("UPDATE credentials INDEXED BY credentials_user SET handle = '' " +
		"WHERE domain = ? AND user_id = ? AND handle = ? AND (ended_at <> 0 OR handle_ended_at <> 0)")

	// The number of the last of at most ?4 records after ?2 that come before the first one that is not older than ?3.
	selectErased = statement("SELECT seq FROM audit_erased WHERE node = ?")
	selectOlder  = statement("SELECT ifnull(max(seq), ?2) FROM (SELECT seq, at FROM audit WHERE node = ?1 AND seq > ?2 " +
		"ORDER BY seq LIMIT ?4) WHERE seq < ifnull((SELECT min(seq) FROM (SELECT seq, at FROM audit WHERE node = ?1 AND seq > ?2 " +
		"ORDER BY seq LIMIT ?4) WHERE at >= ?3), 9223372036854775807)")
	eraseOlder   = statement("UPDATE audit SET private = NULL WHERE node = ? AND seq > ? AND seq <= ? AND private IS NOT NULL")
	upsertErased = statement("INSERT INTO audit_erased (node, seq) VALUES (?1, ?2) ON CONFLICT (node) DO UPDATE SET seq = ?2")

	// The first ?2 of the devices that were removed before ?1, in the order of their removals.
	dueDevices = "SELECT * FROM devices INDEXED BY devices_removed WHERE removed_at <> 0 AND removed_at < ?1 AND removed_at > 0 " +
		"ORDER BY removed_at, domain, id LIMIT ?2"
	dueRekeys = "(" + dueDevices + ") due CROSS JOIN rekeys k INDEXED BY rekeys_device ON k.domain = due.domain AND k.device_id = due.id"
	// A restored backup can have a device again that was forgotten. Then its keys are stored already.
	forgetRekeys = statement("INSERT OR IGNORE INTO removed_keys (" + row.RemovedKeyColumns + ") " +
		"SELECT k.domain, k.old_jkt, due.id, due.user_id, '', 0 FROM " + dueRekeys + " LIMIT ?2")
	deleteRekeys = statement("DELETE FROM rekeys WHERE (domain, old_jkt) IN (SELECT k.domain, k.old_jkt FROM " + dueRekeys +
		" WHERE EXISTS (SELECT 1 FROM removed_keys r WHERE r.domain = k.domain AND r.jkt = k.old_jkt) LIMIT ?2)")
	forgetDevices = statement("INSERT OR IGNORE INTO removed_keys (" + row.RemovedKeyColumns + ") " +
		"SELECT domain, jkt, id, user_id, delegation, number FROM (" + dueDevices + ")")
	deleteDevices = statement("DELETE FROM devices WHERE (domain, id) IN (SELECT domain, id FROM (" + dueDevices + "))")
)

var forgetting = sweep.Forgetting[int]{
	KeepRekeys: forgetRekeys, Rekeys: deleteRekeys, KeepDevices: forgetDevices, Devices: deleteDevices,
}

func (r *reader) EndedGrants(ctx context.Context, domain, user, after string, limit int) (grants []storage.Grant, err error) {
	err = r.rows(ctx, selectEndedGrants, func() []any {
		grants = append(grants, storage.Grant{})
		return row.EndedGrantDest(&grants[len(grants)-1])
	}, domain, user, after, max(limit, 0)) // SQLite takes a negative limit for none
	return grants, err
}

func (r *reader) FormerNames(ctx context.Context, before time.Time, limit int) (names []storage.Name, err error) {
	err = r.rows(ctx, selectFormerNames, func() []any {
		names = append(names, storage.Name{})
		return row.NameDest(&names[len(names)-1])
	}, row.Millis(before), max(limit, 0))
	return names, err
}

func (t *tx) DeleteName(ctx context.Context, domain, key string) error {
	var user, local string
	if err := t.row(ctx, deleteName, []any{&user, &local}, domain, key); err != nil {
		return err
	}
	_, err := t.exec(ctx, forgetHandles, domain, user, local)
	return err
}

func (t *tx) EraseOldAudit(ctx context.Context, node string, before time.Time, limit int) (int, error) {
	var from, last int64
	if err := t.row(ctx, selectErased, []any{&from}, node); err != nil && err != storage.ErrNotFound {
		return 0, err
	}
	err := t.row(ctx, selectOlder, []any{&last}, node, from, row.Millis(before), max(limit, 0))
	if err != nil || last == from {
		return 0, err
	}
	if _, err := t.exec(ctx, eraseOlder, node, from, last); err != nil {
		return 0, err
	}
	_, err = t.exec(ctx, upsertErased, node, last)
	return int(last - from), err
}
