package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

const (
	selectCredential      = "SELECT " + row.CredentialColumns + " FROM credentials WHERE id = $1"
	selectCredentials     = "SELECT " + row.CredentialColumns + " FROM credentials WHERE domain = $1 AND id > $2 ORDER BY id LIMIT $3"
	selectUserCredentials = "SELECT " + row.CredentialColumns + " FROM credentials " +
		"WHERE domain = $1 AND user_id = $2 AND id > $3 ORDER BY id LIMIT $4"
	selectKeyCredentials = "SELECT " + row.CredentialColumns + " FROM credentials " +
		"WHERE domain = $1 AND jkt = $2 AND ended_at = 0 AND expires_at > $3 LIMIT $4"
	selectDeviceCredentials = "SELECT " + row.CredentialColumns + " FROM credentials " +
		"WHERE domain = $1 AND device_id = $2 AND ended_at = 0 AND expires_at > $3 ORDER BY id LIMIT $4"
	selectEndedDeviceCredentials = "SELECT " + row.CredentialColumns + " FROM credentials " +
		"WHERE domain = $1 AND device_id = $2 AND ended_at <> 0 AND expires_at > $3 ORDER BY ended_at DESC, id LIMIT $4"
	countCredentials = "SELECT (SELECT count(*) FROM (SELECT 1 FROM credentials " +
		"WHERE domain = $1 AND device_id = $2 AND format = $3 AND ended_at = 0 AND expires_at > $4 LIMIT $5) live), " +
		"(SELECT count(*) FROM (SELECT 1 FROM credentials " +
		"WHERE domain = $1 AND device_id = $2 AND ended_at = 0 AND expires_at > $4 LIMIT $6) live), " +
		"(SELECT count(*) FROM (SELECT 1 FROM credentials " +
		"WHERE domain = $1 AND device_id = $2 AND ended_at <> 0 AND expires_at > $4 LIMIT $6) ended)"
	selectCredentialEnds = "SELECT " + row.CredentialEndColumns + " FROM credential_ends WHERE list = $1 AND n > $2 ORDER BY n"
	countCertificates    = "SELECT count(*) FROM (SELECT 1 FROM credentials " +
		"WHERE domain = $1 AND user_id = $2 AND ca <> '' AND expires_at > $3 LIMIT $4) few"
	selectCertificateEnds = "SELECT " + row.CertificateEndColumns + " FROM certificate_ends WHERE ca = $1 AND n > $2 ORDER BY n"

	// The columns are those of row.CredentialColumns, in their order.
	insertCredential = "INSERT INTO credentials (" + row.CredentialColumns + ") " +
		"SELECT $1, $2, $3, $4, $5, $6, $7, $8::bigint, $9::bigint, $10::bigint, $11::bigint, $12, $13::bigint, $14 " +
		"WHERE EXISTS (SELECT 1 FROM users WHERE domain = $2 AND id = $3 AND disabled_at = 0 AND ($7 = '' OR handle = $7)) " +
		"AND EXISTS (SELECT 1 FROM devices WHERE domain = $2 AND id = $4 AND user_id = $3 AND removed_at = 0) " +
		"AND CASE $14 WHEN '' THEN EXISTS (SELECT 1 FROM credential_lists WHERE id = $8::bigint >> 20 AND domain = $2 AND ended_at = 0) " +
		"ELSE $8::bigint = 0 END ON CONFLICT DO NOTHING"
	keepCredentialList = "UPDATE credential_lists SET expires_at = $2 WHERE id = $1 AND expires_at < $2"

	// Those that match each field that is not empty.
	endCredentials = "UPDATE credentials SET ended_at = $1, ended_reason = $2 WHERE ended_at = 0 AND "
	theseFields    = " AND ($3 = '' OR domain = $3) AND ($4 = '' OR user_id = $4) AND ($5 = '' OR device_id = $5) " +
		"AND ($6 = '' OR jkt = $6) AND ($7 = '' OR id = $7)"
	// The most telling field comes first, so that they are found by an index.
	endCredential        = endCredentials + "id = $7" + theseFields
	endDeviceCredentials = endCredentials + "domain = $3 AND device_id = $5" + theseFields
	endKeyCredentials    = endCredentials + "domain = $3 AND jkt = $6" + theseFields
	endUserCredentials   = endCredentials + "domain = $3 AND user_id = $4" + theseFields

	endCredentialHandles = "UPDATE credentials SET handle_ended_at = $3::bigint, ended_at = CASE ca WHEN '' THEN 0 ELSE $3::bigint END, " +
		"ended_reason = CASE ca WHEN '' THEN '' ELSE '" + storage.RenamedReason + "' END " +
		"WHERE domain = $1 AND user_id = $2 AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0"
)

func (r *reader) Credential(ctx context.Context, id string) (storage.Credential, error) {
	return one(ctx, r, selectCredential, row.CredentialDest, id)
}

func (r *reader) Credentials(ctx context.Context, domain, user, after string, limit int) ([]storage.Credential, error) {
	limit = max(limit, 0)
	if user == "" {
		return all(ctx, r, selectCredentials, row.CredentialDest, domain, after, limit)
	}
	return all(ctx, r, selectUserCredentials, row.CredentialDest, domain, user, after, limit)
}

func (r *reader) CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]storage.Credential, error) {
	return all(ctx, r, selectKeyCredentials, row.CredentialDest, domain, jkt, row.Millis(now), max(limit, 0))
}

func (r *reader) DeviceCredentials(ctx context.Context, domain, device string, now time.Time, limit int) ([]storage.Credential, error) {
	limit = max(limit, 0)
	live, err := all(ctx, r, selectDeviceCredentials, row.CredentialDest, domain, device, row.Millis(now), limit)
	if err != nil || len(live) == limit {
		return live, err
	}
	ended, err := all(ctx, r, selectEndedDeviceCredentials, row.CredentialDest, domain, device, row.Millis(now), limit-len(live))
	return append(live, ended...), err
}

func (r *reader) CountCredentials(
	ctx context.Context, domain, device, format string, now time.Time, most storage.CredentialCount,
) (n storage.CredentialCount, err error) {
	var ended int
	err = r.row(ctx, countCredentials, []any{&n.Live, &n.All, &ended},
		domain, device, format, row.Millis(now), max(most.Live, 0), max(most.All, 0))
	n.All = min(n.All+ended, max(most.All, 0))
	return n, err
}

func (r *reader) CredentialEnds(ctx context.Context, list, after int64) ([]storage.CredentialEnd, error) {
	ends, err := all(ctx, r, selectCredentialEnds, row.CredentialEndDest, list, after)
	return row.CredentialEnds(ends), err
}

func (r *reader) CountCertificates(ctx context.Context, domain, user string, now time.Time, limit int) (int, error) {
	return r.number(ctx, countCertificates, domain, user, row.Millis(now), max(limit, 0))
}

func (r *reader) CertificateEnds(ctx context.Context, ca string, after int64) ([]storage.CertificateEnd, error) {
	return all(ctx, r, selectCertificateEnds, row.CertificateEndDest, ca, after)
}

func (t *tx) InsertCredential(ctx context.Context, c storage.Credential) error {
	if err := t.insert(ctx, insertCredential, row.CredentialArgs(c)); err != nil {
		return err
	}
	if c.CA != "" {
		return nil
	}
	_, err := t.exec(ctx, keepCredentialList, c.Status.List, row.Millis(c.ExpiresAt.Add(storage.CredentialGrace)))
	return err
}

func (t *tx) EndCredentials(ctx context.Context, which storage.CredentialsOf, at time.Time, reason string) (int, error) {
	var sql string
	switch {
	case which.ID != "":
		sql = endCredential
	case which.Domain == "":
		return 0, nil // of which domain?
	case which.Device != "":
		sql = endDeviceCredentials
	case which.JKT != "":
		sql = endKeyCredentials
	case which.User != "":
		sql = endUserCredentials
	default:
		return 0, nil
	}
	n, err := t.exec(ctx, sql, row.Millis(at), reason, which.Domain, which.User, which.Device, which.JKT, which.ID)
	return int(n), err
}

func (t *tx) EndCredentialHandles(ctx context.Context, domain, user string, at time.Time) (int, error) {
	n, err := t.exec(ctx, endCredentialHandles, domain, user, row.Millis(at))
	return int(n), err
}
