package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

const (
	selectEndedGrants = "SELECT " + row.EndedGrantColumns + " FROM ended_grants WHERE domain = $1 AND user_id = $2 AND id > $3 " +
		"ORDER BY id LIMIT $4"

	// The present handle of a user can have a released row, if two users were found to have it.
	selectFormerNames = "SELECT " + row.NameColumns + " FROM names " +
		"WHERE released_at <> 0 AND released_at < $1 AND released_at > 0 AND NOT EXISTS (SELECT 1 FROM users " +
		"WHERE users.domain = names.domain AND users.id = names.user_id AND users.handle = names.local) LIMIT $2"
	deleteName    = "DELETE FROM names WHERE domain = $1 AND key = $2 RETURNING user_id, local"
	forgetHandles = "UPDATE credentials SET handle = '' " +
		"WHERE domain = $1 AND user_id = $2 AND handle = $3 AND (ended_at <> 0 OR handle_ended_at <> 0)"

	// The number of the last of at most $4 records after $2 that come before the first one that is not older than $3.
	selectErased = "SELECT seq FROM audit_erased WHERE node = $1"
	selectOlder  = "WITH few AS (SELECT seq, at FROM audit WHERE node = $1 AND seq > $2::bigint ORDER BY seq LIMIT $4) " +
		"SELECT coalesce(max(seq), $2::bigint) FROM few " +
		"WHERE seq < coalesce((SELECT min(seq) FROM few WHERE at >= $3), 9223372036854775807)"
	eraseOlder   = "UPDATE audit SET private = NULL WHERE node = $1 AND seq > $2 AND seq <= $3 AND private IS NOT NULL"
	upsertErased = "INSERT INTO audit_erased (node, seq) VALUES ($1, $2) ON CONFLICT (node) DO UPDATE SET seq = excluded.seq"

	// The first $2 of the devices that were removed before $1, in the order of their removals.
	dueDevices = "SELECT * FROM devices WHERE removed_at <> 0 AND removed_at < $1 AND removed_at > 0 " +
		"ORDER BY removed_at, domain, id LIMIT $2"
	dueRekeys    = "(" + dueDevices + ") due JOIN rekeys k ON k.domain = due.domain AND k.device_id = due.id"
	forgetRekeys = "INSERT INTO removed_keys (" + row.RemovedKeyColumns + ") " +
		"SELECT k.domain, k.old_jkt, due.id, due.user_id, '', 0 FROM " + dueRekeys + " LIMIT $2 ON CONFLICT DO NOTHING"
	deleteRekeys = "DELETE FROM rekeys WHERE (domain, old_jkt) IN (SELECT k.domain, k.old_jkt FROM " + dueRekeys +
		" WHERE EXISTS (SELECT 1 FROM removed_keys r WHERE r.domain = k.domain AND r.jkt = k.old_jkt) LIMIT $2)"
	forgetDevices = "INSERT INTO removed_keys (" + row.RemovedKeyColumns + ") " +
		"SELECT domain, jkt, id, user_id, delegation, number FROM (" + dueDevices + ") due ON CONFLICT DO NOTHING"
	deleteDevices = "DELETE FROM devices WHERE (domain, id) IN (SELECT domain, id FROM (" + dueDevices + ") due)"
)

func (r *reader) EndedGrants(ctx context.Context, domain, user, after string, limit int) ([]storage.Grant, error) {
	return all(ctx, r, selectEndedGrants, row.EndedGrantDest, domain, user, after, max(limit, 0))
}

var forgetting = sweep.Forgetting[string]{
	KeepRekeys: forgetRekeys, Rekeys: deleteRekeys, KeepDevices: forgetDevices, Devices: deleteDevices,
}

func (r *reader) FormerNames(ctx context.Context, before time.Time, limit int) ([]storage.Name, error) {
	return all(ctx, r, selectFormerNames, row.NameDest, row.Millis(before), max(limit, 0))
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
