package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectCredential  = statement("SELECT " + row.CredentialColumns + " FROM credentials WHERE id = ?")
	selectCredentials = statement("SELECT " + row.CredentialColumns + " FROM credentials INDEXED BY credentials_domain " +
		"WHERE domain = ? AND id > ? ORDER BY id LIMIT ?")
	selectUserCredentials = statement("SELECT " + row.CredentialColumns + " FROM credentials INDEXED BY credentials_user " +
		"WHERE domain = ? AND user_id = ? AND id > ? ORDER BY id LIMIT ?")
	selectKeyCredentials = statement("SELECT " + row.CredentialColumns + " FROM credentials INDEXED BY credentials_key " +
		"WHERE domain = ?1 AND jkt = ?2 AND ended_at = 0 AND expires_at > ?3 LIMIT ?4")
	selectDeviceCredentials = statement("SELECT " + row.CredentialColumns + " FROM credentials INDEXED BY credentials_device " +
		"WHERE domain = ?1 AND device_id = ?2 AND ended_at = 0 AND expires_at > ?3 ORDER BY id LIMIT ?4")
	selectEndedDeviceCredentials = statement("SELECT " + row.CredentialColumns + " FROM credentials INDEXED BY credentials_device_ended " +
		"WHERE domain = ?1 AND device_id = ?2 AND ended_at <> 0 AND expires_at > ?3 ORDER BY ended_at DESC, id LIMIT ?4")
	countCredentials = statement("SELECT (SELECT count(*) FROM (SELECT 1 FROM credentials INDEXED BY credentials_device " +
		"WHERE domain = ?1 AND device_id = ?2 AND format = ?3 AND ended_at = 0 AND expires_at > ?4 LIMIT ?5)), " +
		"(SELECT count(*) FROM (SELECT 1 FROM credentials INDEXED BY credentials_device " +
		"WHERE domain = ?1 AND device_id = ?2 AND ended_at = 0 AND expires_at > ?4 LIMIT ?6)), " +
		"(SELECT count(*) FROM (SELECT 1 FROM credentials INDEXED BY credentials_device_ended " +
		"WHERE domain = ?1 AND device_id = ?2 AND ended_at <> 0 AND expires_at > ?4 LIMIT ?6))")
	selectCredentialEnds = statement("SELECT " + row.CredentialEndColumns + " FROM credential_ends INDEXED BY credential_ends_list " +
		"WHERE list = ? AND n > ? ORDER BY n")
	countCertificates = statement("SELECT count(*) FROM (SELECT 1 FROM credentials INDEXED BY credentials_certificates " +
		"WHERE domain = ?1 AND user_id = ?2 AND ca <> '' AND expires_at > ?3 LIMIT ?4)")
	selectCertificateEnds = statement("SELECT " + row.CertificateEndColumns + " FROM certificate_ends INDEXED BY certificate_ends_ca " +
		"WHERE ca = ? AND n > ? ORDER BY n")

	// The columns are those of row.CredentialColumns, in their order.
	insertCredential = statement("INSERT INTO credentials (" + row.CredentialColumns + ") " +
		"SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14 " +
		"WHERE EXISTS (SELECT 1 FROM users WHERE domain = ?2 AND id = ?3 AND disabled_at = 0 AND (?7 = '' OR handle = ?7)) " +
		"AND EXISTS (SELECT 1 FROM devices WHERE domain = ?2 AND id = ?4 AND user_id = ?3 AND removed_at = 0) " +
		"AND CASE ?14 WHEN '' THEN EXISTS (SELECT 1 FROM credential_lists WHERE id = ?8 >> 20 AND domain = ?2 AND ended_at = 0) " +
		"ELSE ?8 = 0 END")
	keepCredentialList = statement("UPDATE credential_lists SET expires_at = ?2 WHERE id = ?1 AND expires_at < ?2")

	// Those of the most telling field come first: they are found by an index.
	endCredential        = endCredentialsBy("", "id = ?7")
	endDeviceCredentials = endCredentialsBy("credentials_device", "domain = ?3 AND device_id = ?5")
	endKeyCredentials    = endCredentialsBy("credentials_key", "domain = ?3 AND jkt = ?6")
	endUserCredentials   = endCredentialsBy("credentials_user_live", "domain = ?3 AND user_id = ?4")

	endCredentialHandles = statement("UPDATE credentials INDEXED BY credentials_user_live SET handle_ended_at = ?3, " +
		"ended_at = CASE ca WHEN '' THEN 0 ELSE ?3 END, ended_reason = CASE ca WHEN '' THEN '' ELSE '" + storage.RenamedReason + "' END " +
		"WHERE domain = ?1 AND user_id = ?2 AND ended_at = 0 AND handle <> '' AND handle_ended_at = 0")
)

// endCredentialsBy returns the statement that ends credentials which an index and a condition find, and which match every field.
func endCredentialsBy(index, condition string) int {
	if index != "" {
		index = " INDEXED BY " + index
	}
	return statement("UPDATE credentials" + index + " SET ended_at = ?1, ended_reason = ?2 WHERE " + condition + " AND ended_at = 0 " +
		"AND (?3 = '' OR domain = ?3) AND (?4 = '' OR user_id = ?4) AND (?5 = '' OR device_id = ?5) AND (?6 = '' OR jkt = ?6) " +
		"AND (?7 = '' OR id = ?7)")
}

func (r *reader) Credential(ctx context.Context, id string) (c storage.Credential, err error) {
	err = r.row(ctx, selectCredential, row.CredentialDest(&c), id)
	return c, err
}

func (r *reader) Credentials(ctx context.Context, domain, user, after string, limit int) ([]storage.Credential, error) {
	limit = max(limit, 0) // SQLite takes a negative limit for none
	if user == "" {
		return r.credentials(ctx, selectCredentials, domain, after, limit)
	}
	return r.credentials(ctx, selectUserCredentials, domain, user, after, limit)
}

func (r *reader) CredentialsByKey(ctx context.Context, domain, jkt string, now time.Time, limit int) ([]storage.Credential, error) {
	return r.credentials(ctx, selectKeyCredentials, domain, jkt, row.Millis(now), max(limit, 0))
}

func (r *reader) DeviceCredentials(ctx context.Context, domain, device string, now time.Time, limit int) ([]storage.Credential, error) {
	limit = max(limit, 0)
	live, err := r.credentials(ctx, selectDeviceCredentials, domain, device, row.Millis(now), limit)
	if err != nil || len(live) == limit {
		return live, err
	}
	ended, err := r.credentials(ctx, selectEndedDeviceCredentials, domain, device, row.Millis(now), limit-len(live))
	return append(live, ended...), err
}

func (r *reader) credentials(ctx context.Context, s int, args ...any) (list []storage.Credential, err error) {
	err = r.rows(ctx, s, func() []any {
		list = append(list, storage.Credential{})
		return row.CredentialDest(&list[len(list)-1])
	}, args...)
	return list, err
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
	var ends []row.CredentialEnd
	err := r.rows(ctx, selectCredentialEnds, func() []any {
		ends = append(ends, row.CredentialEnd{})
		return row.CredentialEndDest(&ends[len(ends)-1])
	}, list, after)
	return row.CredentialEnds(ends), err
}

func (r *reader) CountCertificates(ctx context.Context, domain, user string, now time.Time, limit int) (n int, err error) {
	err = r.row(ctx, countCertificates, []any{&n}, domain, user, row.Millis(now), max(limit, 0))
	return n, err
}

func (r *reader) CertificateEnds(ctx context.Context, ca string, after int64) (ends []storage.CertificateEnd, err error) {
	err = r.rows(ctx, selectCertificateEnds, func() []any {
		ends = append(ends, storage.CertificateEnd{})
		return row.CertificateEndDest(&ends[len(ends)-1])
	}, ca, after)
	return ends, err
}

func (t *tx) InsertCredential(ctx context.Context, c storage.Credential) error {
	n, err := t.exec(ctx, insertCredential, row.CredentialArgs(c)...)
	if err != nil {
		return err
	}
	if n == 0 {
		return storage.ErrConflict
	}
	if c.CA != "" {
		return nil
	}
	_, err = t.exec(ctx, keepCredentialList, c.Status.List, row.Millis(c.ExpiresAt.Add(storage.CredentialGrace)))
	return err
}

func (t *tx) EndCredentials(ctx context.Context, which storage.CredentialsOf, at time.Time, reason string) (int, error) {
	var s int
	switch {
	case which.ID != "":
		s = endCredential
	case which.Domain == "":
		return 0, nil // of which domain?
	case which.Device != "":
		s = endDeviceCredentials
	case which.JKT != "":
		s = endKeyCredentials
	case which.User != "":
		s = endUserCredentials
	default:
		return 0, nil
	}
	n, err := t.exec(ctx, s, row.Millis(at), reason, which.Domain, which.User, which.Device, which.JKT, which.ID)
	return int(n), err
}

func (t *tx) EndCredentialHandles(ctx context.Context, domain, user string, at time.Time) (int, error) {
	n, err := t.exec(ctx, endCredentialHandles, domain, user, row.Millis(at))
	return int(n), err
}
