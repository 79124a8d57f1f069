package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// The grants of a user are found by the user, and those of a session at the provider by the index of live ones.
var (
	endSubjectGrants = statement("UPDATE grants SET ended_at = ?5, ended_reason = ?6 WHERE domain = ?1 AND user_id = ?2 " +
		"AND issuer = ?3 AND (?4 = '' OR upstream_sid = '' OR upstream_sid = ?4) AND ended_at = 0 RETURNING " + row.GrantColumns)
	endSIDGrants = statement("UPDATE grants SET ended_at = ?4, ended_reason = ?5 WHERE domain = ?1 AND upstream_sid = ?3 " +
		"AND upstream_sid <> '' AND issuer = ?2 AND ended_at = 0 RETURNING " + row.GrantColumns)
	dropSubjectCodes = statement("DELETE FROM codes WHERE domain = ?1 AND user_id = ?2 AND issuer = ?3 " +
		"AND (?4 = '' OR upstream_sid = '' OR upstream_sid = ?4) AND spent_at = 0 AND expires_at >= ?5")
	dropSIDCodes = statement("DELETE FROM codes WHERE domain = ?1 AND issuer = ?2 AND upstream_sid = ?3 " +
		"AND spent_at = 0 AND expires_at >= ?4")
	upsertLogout = statement("INSERT INTO logouts (domain, issuer, subject, sid, at, expires_at) VALUES (?, ?, ?, ?, ?, ?) " +
		"ON CONFLICT (domain, issuer, subject, sid) DO UPDATE SET at = max(at, excluded.at), " +
		"expires_at = max(expires_at, excluded.expires_at)")
	selectLoggedOut = statement("SELECT EXISTS (SELECT 1 FROM logouts WHERE domain = ?1 AND issuer = ?2 AND subject = ?3 " +
		"AND (sid = '' OR ?4 = '' OR sid = ?4) AND at >= ?5) " +
		"OR ?4 <> '' AND EXISTS (SELECT 1 FROM logouts WHERE domain = ?1 AND issuer = ?2 AND subject = '' AND sid = ?4 AND at >= ?5)")
)

func (r *reader) LoggedOut(ctx context.Context, domain, issuer, subject, sid string, since time.Time) (ended bool, err error) {
	err = r.row(ctx, selectLoggedOut, []any{&ended}, domain, issuer, subject, sid, row.Millis(since))
	return ended, err
}

func (t *tx) EndLogin(ctx context.Context, l storage.Logout, at time.Time, reason string) (ended []storage.Grant, err error) {
	if l.Subject == "" && l.SID == "" {
		return nil, nil
	}
	next := func() []any {
		ended = append(ended, storage.Grant{})
		return row.GrantDest(&ended[len(ended)-1])
	}
	switch {
	case l.Subject == "":
		if err = t.rows(ctx, endSIDGrants, next, l.Domain, l.Issuer, l.SID, row.Millis(at), reason); err == nil {
			_, err = t.exec(ctx, dropSIDCodes, l.Domain, l.Issuer, l.SID, row.Millis(at))
		}
		if err == nil {
			_, err = t.exec(ctx, dropSIDBrowsers, l.Domain, l.Issuer, l.SID)
		}
		if err == nil {
			_, err = t.exec(ctx, dropSIDDevices, l.Domain, l.Issuer, l.SID)
		}
	case l.User != "":
		if err = t.rows(ctx, endSubjectGrants, next, l.Domain, l.User, l.Issuer, l.SID, row.Millis(at), reason); err == nil {
			_, err = t.exec(ctx, dropSubjectCodes, l.Domain, l.User, l.Issuer, l.SID, row.Millis(at))
		}
		if err == nil {
			_, err = t.exec(ctx, dropSubjectBrowsers, l.Domain, l.User, l.Issuer, l.SID)
		}
		if err == nil {
			_, err = t.exec(ctx, dropSubjectDevices, l.Domain, l.User, l.Issuer, l.SID)
		}
	}
	if err != nil {
		return nil, err
	}
	_, err = t.exec(ctx, upsertLogout, l.Domain, l.Issuer, l.Subject, l.SID, row.Millis(l.At), row.Millis(l.ExpiresAt))
	return ended, err
}
