package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// What makes a device active. $3 is the time.
var (
	liveGrant      = "ended_at = 0 AND (idle_at = 0 OR idle_at > $3) AND (expires_at = 0 OR expires_at > $3)"
	liveDelegation = "s.jti = d.delegation AND s.domain = d.domain AND " + standing("s") + " AND (s.expires_at = 0 OR s.expires_at > $3)"

	// isActive is true for an active device d of domain $1 that is not removed.
	isActive = "(EXISTS (SELECT 1 FROM grants WHERE domain = $1 AND user_id = d.user_id AND device_id = d.id AND " + liveGrant + ") " +
		"OR d.delegation <> '' AND EXISTS (SELECT 1 FROM statements s WHERE " + liveDelegation + "))"
)

var (
	// Almost all users have fewer than $4 stored grants and delegated devices together, which two counts in an index show.
	devicesReach = "SELECT CASE WHEN " +
		"(SELECT count(*) FROM (SELECT 1 FROM grants WHERE domain = $1 AND user_id = $2 LIMIT $4) few) + " +
		"(SELECT count(*) FROM (SELECT 1 FROM devices WHERE domain = $1 AND user_id = $2 AND removed_at = 0 AND delegation <> '' " +
		"LIMIT $4) few) < $4 THEN false ELSE (" + countActiveDevices + ") >= $4 END"
	deviceActive = "SELECT count(*) > 0 FROM devices d WHERE d.domain = $1 AND d.id = $2 AND d.removed_at = 0 AND " + isActive
	devicesInUse = "SELECT " + row.Of("d", row.DeviceColumns) + ", coalesce((SELECT max(greatest(created_at, rotated_at)) FROM grants " +
		"WHERE domain = $1 AND user_id = $2 AND device_id = d.id), 0), " + isActive +
		", coalesce(g.issuer, ''), coalesce(g.auth_time, 0), coalesce(g.acr, ''), coalesce(g.amr, '[]'), coalesce(g.created_at, 0) " +
		"FROM devices d LEFT JOIN LATERAL (SELECT * FROM grants " +
		"WHERE domain = $1 AND user_id = $2 AND device_id = d.id ORDER BY created_at DESC, id DESC LIMIT 1) g ON true " +
		"WHERE d.domain = $1 AND d.user_id = $2 AND d.removed_at = 0 AND d.id > $4 ORDER BY d.id LIMIT $5"
)

// countActiveDevices selects the number of active devices, or a number of at least $4 if there are more. Each step of the recursion
// finds the next device with a live grant by an index, so the cost grows with the active devices of the user up to $4, and neither
// with the grants of a device nor with all devices that the user ever had.
var countActiveDevices = "WITH RECURSIVE live(device) AS (" +
	"SELECT (" + nextLiveDevice("") + ") UNION ALL " +
	"SELECT (" + nextLiveDevice("AND device_id > live.device ") + ") FROM live WHERE live.device IS NOT NULL) " +
	"SELECT (SELECT count(*) FROM (SELECT 1 FROM live JOIN devices d ON d.domain = $1 AND d.id = live.device " +
	"WHERE d.user_id = $2 AND d.removed_at = 0 LIMIT $4) few) + " +
	"(SELECT count(*) FROM (SELECT 1 FROM devices d JOIN statements s ON " + liveDelegation +
	" WHERE d.domain = $1 AND d.user_id = $2 AND d.removed_at = 0 AND d.delegation <> '' " +
	"AND NOT EXISTS (SELECT 1 FROM grants WHERE domain = $1 AND user_id = $2 AND device_id = d.id AND " + liveGrant + ") LIMIT $4) few)"

// nextLiveDevice selects the first device of a user with a live grant, in the order of the ids.
func nextLiveDevice(condition string) string {
	return "SELECT device_id FROM grants WHERE domain = $1 AND user_id = $2 " + condition + "AND " + liveGrant +
		" ORDER BY device_id LIMIT 1"
}

func (r *reader) DevicesReach(ctx context.Context, domain, user string, now time.Time, n int) (reached bool, err error) {
	if n <= 0 {
		return true, nil
	}
	err = r.row(ctx, devicesReach, []any{&reached}, domain, user, row.Millis(now), n)
	return reached, err
}

func (r *reader) DeviceActive(ctx context.Context, domain, id string, now time.Time) (active bool, err error) {
	err = r.row(ctx, deviceActive, []any{&active}, domain, id, row.Millis(now))
	return active, err
}

func (r *reader) DevicesInUse(
	ctx context.Context, domain, user, after string, now time.Time, limit int,
) ([]storage.DeviceUse, error) {
	return all(ctx, r, devicesInUse, func(d *storage.DeviceUse) []any {
		return append(row.DeviceDest(&d.Device), (*row.Instant)(&d.SeenAt), &d.Active, &d.Login.Issuer,
			(*row.Instant)(&d.Login.AuthTime), &d.Login.ACR, (*row.List)(&d.Login.AMR), (*row.Instant)(&d.Login.CreatedAt))
	}, domain, user, row.Millis(now), after, max(limit, 0))
}
