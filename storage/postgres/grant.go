package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectGrants     = "SELECT " + row.GrantColumns + " FROM grants WHERE domain = $1 AND user_id = $2 ORDER BY created_at, id"
	selectLiveGrants = "SELECT " + row.GrantColumns + " FROM grants WHERE domain = $1 AND user_id = $2 AND " + liveGrant +
		" AND id > $4 ORDER BY id LIMIT $5"
	selectSession = "SELECT " + row.Of("g", row.GrantColumns) + ", " + row.Of("u", row.UserColumns) + ", " +
		row.Of("d", row.DeviceColumns) + " FROM grants g JOIN users u ON u.domain = g.domain AND u.id = g.user_id " +
		"JOIN devices d ON d.domain = g.domain AND d.id = g.device_id WHERE g.id = $1"
	insertGrant = insertInto("grants", row.GrantColumns)
	// A grant is live until it ends, is idle too long or expires; 0 means never. The condition "ended_at = 0" would let PostgreSQL walk
	// along an index of all live grants, where it has no statistics yet, and refreshes that read each other's rows abort each other.
	rotateGrant = "UPDATE grants SET gen = gen + 1, rotated_at = $2, idle_at = $3 WHERE id = $1 AND gen = $4 " +
		"AND ended_at < 1 AND (idle_at = 0 OR idle_at > $2) AND (expires_at = 0 OR expires_at > $2)"
	// It also writes the row of an ended grant, so that no changed row means no grant.
	endGrant = "UPDATE grants SET ended_at = CASE ended_at WHEN 0 THEN $2 ELSE ended_at END, " +
		"ended_reason = CASE ended_at WHEN 0 THEN $3 ELSE ended_reason END WHERE id = $1"
	endDeviceGrants = "UPDATE grants SET ended_at = $3, ended_reason = $4 WHERE domain = $1 AND device_id = $2 AND ended_at = 0 " +
		"RETURNING id"
	endUserGrants   = "UPDATE grants SET ended_at = $3, ended_reason = $4 WHERE domain = $1 AND user_id = $2 AND ended_at = 0 RETURNING id"
	endClientGrants = "UPDATE grants SET ended_at = $2, ended_reason = $3 WHERE client = $1 AND ended_at = 0 RETURNING id"
	dropUserCodes   = "DELETE FROM codes WHERE domain = $1 AND user_id = $2 AND spent_at = 0 AND expires_at >= $3"

	// The grants of a user are found by the user, and those of a session at the provider by the index of live ones.
	endSubjectGrants = "UPDATE grants SET ended_at = $5, ended_reason = $6 WHERE domain = $1 AND user_id = $2 " +
		"AND issuer = $3 AND ($4 = '' OR upstream_sid = '' OR upstream_sid = $4) AND ended_at = 0 RETURNING " + row.GrantColumns
	endSIDGrants = "UPDATE grants SET ended_at = $4, ended_reason = $5 WHERE domain = $1 AND upstream_sid = $3 " +
		"AND upstream_sid <> '' AND issuer = $2 AND ended_at = 0 RETURNING " + row.GrantColumns
	dropSubjectCodes = "DELETE FROM codes WHERE domain = $1 AND user_id = $2 AND issuer = $3 " +
		"AND ($4 = '' OR upstream_sid = '' OR upstream_sid = $4) AND spent_at = 0 AND expires_at >= $5"
	dropSIDCodes = "DELETE FROM codes WHERE domain = $1 AND issuer = $2 AND upstream_sid = $3 AND upstream_sid <> '' " +
		"AND spent_at = 0 AND expires_at >= $4"
	upsertLogout = "INSERT INTO logouts (domain, issuer, subject, sid, at, expires_at) VALUES ($1, $2, $3, $4, $5, $6) " +
		"ON CONFLICT (domain, issuer, subject, sid) DO UPDATE SET at = greatest(logouts.at, excluded.at), " +
		"expires_at = greatest(logouts.expires_at, excluded.expires_at)"
	selectLoggedOut = "SELECT EXISTS (SELECT 1 FROM logouts WHERE domain = $1 AND issuer = $2 AND subject = $3 " +
		"AND (sid = '' OR $4 = '' OR sid = $4) AND at >= $5) " +
		"OR $4 <> '' AND EXISTS (SELECT 1 FROM logouts WHERE domain = $1 AND issuer = $2 AND subject = '' AND sid = $4 AND at >= $5)"
)

func (r *reader) Grants(ctx context.Context, domain, user string) ([]storage.Grant, error) {
	return all(ctx, r, selectGrants, row.GrantDest, domain, user)
}

func (r *reader) LiveGrants(
	ctx context.Context, domain, user, after string, now time.Time, limit int,
) ([]storage.Grant, error) {
	return all(ctx, r, selectLiveGrants, row.GrantDest, domain, user, row.Millis(now), after, max(limit, 0))
}

func (r *reader) Session(ctx context.Context, id string) (g storage.Grant, u storage.User, d storage.Device, err error) {
	err = r.row(ctx, selectSession, slices.Concat(row.GrantDest(&g), row.UserDest(&u), row.DeviceDest(&d)), id)
	return g, u, d, err
}

func (t *tx) InsertGrant(ctx context.Context, g storage.Grant) error {
	return t.insert(ctx, insertGrant, row.GrantArgs(g))
}

func (t *tx) RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error {
	return t.insert(ctx, rotateGrant, []any{id, row.Millis(now), row.Millis(idle), from})
}

func (t *tx) EndGrant(ctx context.Context, id string, at time.Time, reason string) error {
	return t.must(ctx, endGrant, id, row.Millis(at), reason)
}

func (t *tx) EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) (ended []string, err error) {
	if ended, err = all(ctx, &t.reader, endDeviceGrants, text, domain, device, row.Millis(at), reason); err == nil {
		_, err = t.exec(ctx, dropDeviceCodes, domain, device)
	}
	return ended, err
}

func (t *tx) EndUserGrants(ctx context.Context, domain, user string, at time.Time, reason string) (ended []string, err error) {
	if ended, err = all(ctx, &t.reader, endUserGrants, text, domain, user, row.Millis(at), reason); err != nil {
		return nil, err
	}
	if _, err = t.exec(ctx, dropUserCodes, domain, user, row.Millis(at)); err != nil {
		return nil, err
	}
	if _, err = t.exec(ctx, dropUserDeviceCodes, domain, user); err != nil {
		return nil, err
	}
	return ended, t.TrimBrowserSessions(ctx, domain, user, 0)
}

func (t *tx) EndClientGrants(ctx context.Context, client string, at time.Time, reason string) ([]string, error) {
	return all(ctx, &t.reader, endClientGrants, text, client, row.Millis(at), reason)
}

func (r *reader) LoggedOut(ctx context.Context, domain, issuer, subject, sid string, since time.Time) (ended bool, err error) {
	err = r.row(ctx, selectLoggedOut, []any{&ended}, domain, issuer, subject, sid, row.Millis(since))
	return ended, err
}

func (t *tx) EndLogin(ctx context.Context, l storage.Logout, at time.Time, reason string) (ended []storage.Grant, err error) {
	if l.Subject == "" && l.SID == "" {
		return nil, nil
	}
	end := func(grants, codes, browsers, devices string, by ...any) error {
		args := func(more ...any) []any { return slices.Concat(by, more) }
		if ended, err = all(ctx, &t.reader, grants, row.GrantDest, args(row.Millis(at), reason)...); err != nil {
			return err
		}
		if _, err := t.exec(ctx, codes, args(row.Millis(at))...); err != nil {
			return err
		}
		if _, err := t.exec(ctx, browsers, args()...); err != nil {
			return err
		}
		_, err := t.exec(ctx, devices, args()...)
		return err
	}
	switch {
	case l.Subject == "":
		err = end(endSIDGrants, dropSIDCodes, dropSIDBrowsers, dropSIDDevices, l.Domain, l.Issuer, l.SID)
	case l.User != "":
		err = end(endSubjectGrants, dropSubjectCodes, dropSubjectBrowsers, dropSubjectDevices, l.Domain, l.User, l.Issuer, l.SID)
	}
	if err != nil {
		return nil, err
	}
	_, err = t.exec(ctx, upsertLogout, l.Domain, l.Issuer, l.Subject, l.SID, row.Millis(l.At), row.Millis(l.ExpiresAt))
	return ended, err
}
