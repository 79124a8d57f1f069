package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
	"github.com/imidentity/issuer/storage/internal/sweep"
)

// RestoreOptions configures [Restore].
type RestoreOptions struct {
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Absent is called with the restored database and the users of the backup whom the previous database no longer had, if that had
	// tombstones. It removes those who were removed since the backup, and returns how many. Nil removes nobody.
	Absent func(ctx context.Context, s storage.Store, users []storage.User) (removed int64, err error)
	// Check is called with the restored database before it is put in place, and may refuse it. Nil accepts all.
	Check func(ctx context.Context, s storage.Store) error
}

// Restored reports what [Restore] did.
type Restored struct {
	// Taken is the latest time that the backup knows, about when it was made; zero if it knows none.
	Taken time.Time
	// Sessions, Credentials, Keys and Statements are how many were ended, revoked and withdrawn.
	Sessions, Credentials, Keys, Statements int64
	// Kept is the new path of the previous database; empty if there was none.
	Kept string
	// Carried tells whether the previous database could be read. Then its removals stay in effect: Devices counts the devices that
	// were removed since the backup, Users the users that were disabled, Removed those that were removed, Clients the clients that were
	// removed or given a new secret.
	Carried                          bool
	Devices, Users, Removed, Clients int64
}

// ages is by how much the numbers of revocations and events jump: more than can have been given since the backup was made.
const ages = 1_000_000_000

// longestCredential is for how many milliseconds a credential is needed, at most.
var longestCredential = (storage.LongestCredential + storage.CredentialGrace).Milliseconds()

// decisions says for each table what happens to its rows when a backup is restored. A backup does not contain what was issued,
// ended or spent after it was made, so everything that was issued before ends, too. A database with a table that is not listed
// here is not restored.
var decisions = map[string]string{
	"secrets":          "kept: what is derived from them names sessions, which end",
	"signing_keys":     "revoked",
	"users":            "kept; disabled or removed if they were since",
	"links":            "kept",
	"names":            "kept",
	"tombstones":       "kept, and those since",
	"removals":         "kept, and go on",
	"devices":          "kept; removed, or with another key, if they were since",
	"rekeys":           "kept, and those since",
	"removed_keys":     "kept, and those since; their devices are removed",
	"grants":           "ended",
	"ended_grants":     "kept",
	"codes":            "dropped",
	"device_codes":     "dropped",
	"logins":           "dropped",
	"logouts":          "dropped",
	"pushed":           "dropped",
	"statements":       "withdrawn",
	"withdrawals":      "gone: all statements are withdrawn",
	"spent_ids":        "kept, and those since",
	"clients":          "kept; removed, or with another secret, if they were since",
	"revocations":      "kept; their numbers jump ahead",
	"replay_epoch":     "dropped, so that another one begins",
	"replays":          "kept",
	"status_lists":     "ended, with those since: new entries come from new lists",
	"ended_statuses":   "kept",
	"credentials":      "ended",
	"credential_ends":  "kept",
	"certificate_ends": "kept, and of those since: their lists show them until they expire",
	"signed_documents": "kept: verifiers notice those that are older than what they have seen",
	"credential_lists": "ended, with those since, for as long as a credential may live",
	"user_events":      "kept",
	"audit":            "kept, and those since, if they continue the chain",
	"audit_erased":     "kept: it is behind, and what was erased since is erased again",
	"audit_heads":      "kept, and those since, if they continue the chain",
	"kept_answers":     "kept: the backup has what they did",
	"clock":            "set to now",
	"pings":            "kept",

	"user_event_numbers": "jump ahead",
	"browser_sessions":   "dropped",
	"upstream_tokens":    "dropped",
}

// ending are the statements that end everything in the copy of a backup, beside [sweep.Restored]; @now is the time.
var ending = []struct {
	text  string
	count func(r *Restored) *int64
}{
	{"UPDATE grants SET ended_at = @now, ended_reason = 'restored' WHERE ended_at = 0", func(r *Restored) *int64 { return &r.Sessions }},
	{"UPDATE credentials SET ended_at = @now, ended_reason = 'restored' WHERE ended_at = 0",
		func(r *Restored) *int64 { return &r.Credentials }},
	{"UPDATE statements SET withdrawn_at = @now, withdrawn_reason = 'restored' WHERE withdrawn_at = 0",
		func(r *Restored) *int64 { return &r.Statements }},
	{"INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', 0 " +
		"WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'revocations')", nil},
	{fmt.Sprintf("UPDATE sqlite_sequence SET seq = seq + %d WHERE name = 'revocations'", ages), nil},
	{fmt.Sprintf("UPDATE user_event_numbers SET last = last + %d", ages), nil},
	// An hour is the longest lifetime of an access token, for keys from before the longest lifetime was stored.
	{"INSERT OR REPLACE INTO revocations (kind, key, gen, reason, at, expires_at) " +
		"SELECT 'kid', kid, 0, 'restored', @now, @now + max(life, 3600000) FROM signing_keys WHERE revoked_at = 0", nil},
	{"UPDATE signing_keys SET revoked_at = @now, revoked_reason = 'restored' WHERE revoked_at = 0",
		func(r *Restored) *int64 { return &r.Keys }},
	// No access token lives longer than that grace. Which entries were given since the backup is not known.
	{fmt.Sprintf("UPDATE status_lists SET used = available, ended_at = @now, expires_at = @now + %d",
		storage.StatusGrace.Milliseconds()), nil},
	// Nor a credential, and those that were issued since are not known.
	{fmt.Sprintf("UPDATE credential_lists SET used = available, ended_at = @now, expires_at = max(expires_at, @now + %d)",
		longestCredential), nil},
	{"INSERT INTO clock (id, newest) VALUES (1, @now) ON CONFLICT (id) DO UPDATE SET newest = @now", nil},
}

const (
	certificateEnd = "serial, ca, n, reason, at, expires_at"
	// nextNumber is a number after all that a reader can have seen: those of revocations have jumped ahead.
	nextNumber = "(SELECT seq FROM sqlite_sequence WHERE name = 'revocations')"
)

// carrying are the statements that repeat the removals of the previous database, which is attached as old.
var carrying = []struct {
	text  string
	count func(r *Restored) *int64
}{
	{"UPDATE devices SET removed_at = o.removed_at, removed_reason = o.removed_reason FROM old.devices o " +
		"WHERE o.domain = devices.domain AND o.id = devices.id AND o.removed_at <> 0 AND devices.removed_at = 0",
		func(r *Restored) *int64 { return &r.Devices }},
	// Keys that were replaced since stay replaced: they may have been stolen.
	{"INSERT OR IGNORE INTO rekeys SELECT * FROM old.rekeys o WHERE EXISTS " +
		"(SELECT 1 FROM devices d WHERE d.domain = o.domain AND d.id = o.device_id)", nil},
	{"UPDATE OR IGNORE devices SET jkt = o.jkt, alg = o.alg FROM old.devices o WHERE o.domain = devices.domain AND o.id = devices.id " +
		"AND EXISTS (SELECT 1 FROM rekeys k WHERE k.domain = devices.domain AND k.device_id = devices.id " +
		"AND k.old_jkt = devices.jkt)", nil},
	// Devices that were added and removed since: their keys stay refused.
	{"INSERT OR IGNORE INTO devices SELECT * FROM old.devices o WHERE o.removed_at <> 0 AND EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = o.domain AND u.id = o.user_id)", func(r *Restored) *int64 { return &r.Devices }},
	// Devices that were forgotten since are removed, and their keys stay refused.
	{"UPDATE devices SET removed_at = @now, removed_reason = 'restored' WHERE removed_at = 0 AND EXISTS " +
		"(SELECT 1 FROM old.removed_keys o WHERE o.domain = devices.domain AND o.device_id = devices.id)",
		func(r *Restored) *int64 { return &r.Devices }},
	{"INSERT OR IGNORE INTO removed_keys SELECT * FROM old.removed_keys o WHERE EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = o.domain AND u.id = o.user_id)", nil},
	{"UPDATE users SET disabled_at = o.disabled_at FROM old.users o " +
		"WHERE o.domain = users.domain AND o.id = users.id AND o.disabled_at <> 0 AND users.disabled_at = 0",
		func(r *Restored) *int64 { return &r.Users }},
	{"UPDATE clients SET removed_at = o.removed_at, removed_reason = o.removed_reason, secret = o.secret, " +
		"old_secret = o.old_secret, old_until = o.old_until FROM old.clients o WHERE o.id = clients.id " +
		"AND (o.removed_at <> 0 AND clients.removed_at = 0 OR o.secret IS NOT clients.secret)",
		func(r *Restored) *int64 { return &r.Clients }},
	{"INSERT OR REPLACE INTO tombstones SELECT * FROM old.tombstones", nil},
	{"INSERT OR IGNORE INTO spent_ids SELECT * FROM old.spent_ids", nil},
	{"INSERT OR IGNORE INTO status_lists (" + row.StatusListColumns + ") SELECT id, domain, seed, size, available, available, " +
		fmt.Sprintf("created_at, @now + %d, @now FROM old.status_lists", storage.StatusGrace.Milliseconds()), nil},
	{"INSERT OR IGNORE INTO credential_lists (" + row.StatusListColumns + ") SELECT id, domain, seed, size, available, available, " +
		fmt.Sprintf("created_at, max(expires_at, @now + %d), @now FROM old.credential_lists", longestCredential), nil},
	// A revocation list names what ended, so the certificates of since are named, and those that ended since.
	{"INSERT OR IGNORE INTO certificate_ends (" + certificateEnd + ") SELECT serial, ca, " + nextNumber + ", reason, at, expires_at " +
		"FROM old.certificate_ends", nil},
	{"INSERT OR IGNORE INTO certificate_ends (" + certificateEnd + ") SELECT id, ca, " + nextNumber + ", 0, @now, expires_at " +
		"FROM old.credentials WHERE ca <> ''", nil},
	// What was erased stays erased. The chain goes on as it was, if it contains the last record of the backup; the heads come first,
	// because they are told apart by the records.
	{"UPDATE audit SET private = NULL WHERE private IS NOT NULL AND EXISTS (SELECT 1 FROM old.audit o " +
		"WHERE o.node = audit.node AND o.seq = audit.seq AND o.private IS NULL)", nil},
	{"INSERT OR IGNORE INTO audit_heads SELECT * FROM old.audit_heads o WHERE " + continues, nil},
	{"INSERT INTO audit SELECT * FROM old.audit o WHERE " + continues, nil},
}

// continues is the condition for a row o of the previous audit log that comes after the backup, in a chain that continues that of the
// backup.
const continues = "o.seq > ifnull((SELECT max(a.seq) FROM audit a WHERE a.node = o.node), 0) AND (" +
	"NOT EXISTS (SELECT 1 FROM audit a WHERE a.node = o.node) OR EXISTS (SELECT 1 FROM audit a " +
	"JOIN old.audit p ON p.node = a.node AND p.seq = a.seq AND p.hash = a.hash " +
	"WHERE a.node = o.node AND a.seq = (SELECT max(b.seq) FROM audit b WHERE b.node = o.node)))"

// Restore replaces the database at path, which must not be open, by the backup from or by the file of a closed store. Everything that
// was issued until now ends: sessions, codes, logins and statements, and by the revocation of their keys all tokens, even those
// that the backup does not know. The previous database is kept beside the new one. If Restore returns an error, path is unchanged.
func Restore(ctx context.Context, path, from string, o RestoreOptions) (r Restored, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if path, err = filepath.Abs(path); err != nil {
		return Restored{}, fmt.Errorf("sqlite: %w", err)
	}
	lock, err := lockDatabase(path)
	if err != nil {
		return Restored{}, err
	}
	defer lock.Close()
	part := path + ".restoring"
	defer func() {
		for _, suffix := range []string{"", "-wal", "-shm", "-journal", ".lock"} {
			err = errors.Join(err, removeIfThere(part+suffix))
		}
	}()
	version, err := copyBackup(ctx, part, from)
	if err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", noBackup(from, err))
	}
	if err := migrate(ctx, part, version); err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	r, absent, err := end(ctx, part, path, o.Now())
	if err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	err = check(ctx, part, func(ctx context.Context, s storage.Store) (err error) {
		if o.Check != nil {
			if err := o.Check(ctx, s); err != nil {
				return err
			}
		}
		if o.Absent != nil && len(absent) > 0 {
			r.Removed, err = o.Absent(ctx, s, absent)
		}
		return err
	})
	if err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	if r.Kept, err = replace(path, part, o.Now()); err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	return r, nil
}

// copyBackup copies from to the new file part, which can be opened as a database of the issuer. It returns the version of its schema.
func copyBackup(ctx context.Context, part, from string) (version int64, err error) {
	if info, err := os.Stat(from + "-wal"); err == nil && info.Size() > 0 {
		return 0, fmt.Errorf("%s has a log beside it: it is the database of an issuer that was not stopped in good order: "+
			"start and stop that, or make a backup of it", from)
	}
	h, err := readHead(from)
	if err != nil {
		return 0, err
	}
	if h.empty {
		return 0, errNoHead
	}
	if h.id != backupID && h.id != applicationID {
		return 0, otherID(h.id)
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // of a Restore that was interrupted
		if err := removeIfThere(part + suffix); err != nil {
			return 0, err
		}
	}
	in, err := os.Open(from)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return 0, err
	}
	if version, err = inspectFile(ctx, part, false, h.id, true); err != nil {
		return 0, err
	}
	if version == 0 {
		return 0, errForeign
	}
	return version, mark(ctx, part, applicationID)
}

// end ends everything that was issued in the copy at part, and repeats the removals of the database at path if that can be read.
// It returns the users whom that no longer had, if it had tombstones.
func end(ctx context.Context, part, path string, now time.Time) (r Restored, absent []storage.User, err error) {
	known := readable(ctx, path)
	db, err := sql.Open("sqlite", dsn(part, writerPragmas(Options{})))
	if err != nil {
		return Restored{}, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Restored{}, nil, err
	}
	defer conn.Close()
	if known {
		if _, err := conn.ExecContext(ctx, "ATTACH ? AS old", dsn(path, nil)); err != nil {
			return Restored{}, nil, err
		}
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return Restored{}, nil, err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	var taken int64
	if err := tx.QueryRowContext(ctx, "SELECT ifnull((SELECT newest FROM clock), 0)").Scan(&taken); err != nil {
		return Restored{}, nil, err
	}
	r.Taken = row.FromMillis(taken)
	if err := decided(ctx, tx); err != nil {
		return Restored{}, nil, err
	}
	for _, table := range sweep.Restored {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table); err != nil {
			return Restored{}, nil, fmt.Errorf("empty %s: %w", table, err)
		}
	}
	steps := ending
	if known {
		steps = append(steps[:len(steps):len(steps)], carrying...)
		r.Carried = true
	}
	for _, step := range steps {
		result, err := tx.ExecContext(ctx, step.text, sql.Named("now", row.Millis(now)))
		if err != nil {
			return Restored{}, nil, fmt.Errorf("%s: %w", step.text, err)
		}
		if step.count != nil {
			n, err := result.RowsAffected()
			if err != nil {
				return Restored{}, nil, err
			}
			*step.count(&r) += n
		}
	}
	if known {
		if absent, err = absentUsers(ctx, tx); err != nil {
			return Restored{}, nil, err
		}
	}
	return r, absent, tx.Commit()
}

// absentUsers returns the users whom the previous database did not have. They were removed, or that database was another one's.
func absentUsers(ctx context.Context, tx *sql.Tx) (list []storage.User, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT domain, id FROM users u WHERE NOT EXISTS "+
		"(SELECT 1 FROM old.users o WHERE o.domain = u.domain AND o.id = u.id) "+
		"AND EXISTS (SELECT 1 FROM old.tombstones t WHERE t.domain = u.domain)")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var u storage.User
		if err := rows.Scan(&u.Domain, &u.ID); err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

// decided returns an error if the database has a table that decisions does not list.
func decided(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "+
		"AND name <> 'goose_db_version'")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return err
		}
		if decisions[name] == "" {
			return fmt.Errorf("nothing says what becomes of the table %s", name)
		}
	}
	return rows.Err()
}

// readable reports whether the database at path belongs to the issuer, is undamaged, and has the schema of this release. If so, it
// folds the log into the database.
func readable(ctx context.Context, path string) bool {
	if version, err := inspect(ctx, path, Options{}, true); err != nil {
		return false
	} else if known, err := newest(); err != nil || version != known {
		return false
	}
	db, err := sql.Open("sqlite", dsn(path, writerPragmas(Options{})))
	if err != nil {
		return false
	}
	_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return errors.Join(err, db.Close()) == nil
}

// check opens the database at part as a store, and returns the error of look.
func check(ctx context.Context, part string, look func(context.Context, storage.Store) error) error {
	s, err := Open(ctx, part, Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(look(ctx, s), s.Close()); err != nil {
		return err
	}
	return durable(part)
}

// replace puts part in place of path, in one step, and returns the new path of the previous file. A log that could not be folded is
// moved, too, because SQLite would take it for a log of the new file.
func replace(path, part string, now time.Time) (kept string, err error) {
	if _, err := os.Stat(path); err == nil {
		kept = path + ".replaced-" + now.UTC().Format("20060102T150405.000Z")
		if err := os.Link(path, kept); err != nil {
			return "", err
		}
		for _, suffix := range []string{"-wal", "-shm"} {
			if err := os.Rename(path+suffix, kept+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return "", err
			}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Rename(part, path); err != nil {
		return "", err
	}
	return kept, durable(filepath.Dir(path))
}

// noBackup explains why a file cannot be restored.
func noBackup(from string, err error) error {
	switch {
	case isDamage(err):
		return fmt.Errorf("%s is damaged or no backup: take another one: %w", from, err)
	case errors.Is(err, errForeign):
		return fmt.Errorf("%s is no backup of an issuer: %w", from, err)
	case errors.Is(err, storage.ErrSchemaNewer):
		return fmt.Errorf("%s: %w: install that release again", from, err)
	}
	return err
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
