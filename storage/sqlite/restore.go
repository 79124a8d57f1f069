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
)

// RestoreOptions configures [Restore].
type RestoreOptions struct {
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Check looks at the restored database before it takes its place, and may refuse it. Nil takes all.
	Check func(ctx context.Context, s storage.Store) error
}

// Restored is what [Restore] has done.
type Restored struct {
	// Taken is about when the backup was made; zero if it does not know.
	Taken time.Time
	// Sessions, Keys and Statements are how many it ended, revoked and withdrew.
	Sessions, Keys, Statements int64
	// Kept is where the database of before is now; empty if there was none.
	Kept string
	// Carried tells whether that could still be read. Then what it knew to be taken away stays so: Devices are those
	// that had been removed since, Users those that had been disabled, Clients those that had been removed or given a
	// new secret.
	Carried                 bool
	Devices, Users, Clients int64
}

// ages is by how much the numbers of revocations jump: further than they can have come since the backup was made.
const ages = 1_000_000_000

// decisions says of each table what becomes of its rows when a backup is restored. What was issued or ended after it was
// made, and what was spent, is not in it; so everything that was issued by then ends, too. A table that is not here, as
// nobody has thought about it, is not restored.
var decisions = map[string]string{
	"secrets":      "kept: what is derived from them names sessions, which end",
	"signing_keys": "revoked",
	"users":        "kept; disabled if they were since",
	"links":        "kept",
	"names":        "kept",
	"devices":      "kept; removed if they were since",
	"grants":       "ended",
	"codes":        "dropped",
	"logins":       "dropped",
	"pushed":       "dropped",
	"statements":   "withdrawn",
	"withdrawals":  "gone: all statements are withdrawn",
	"spent_ids":    "kept, and those since",
	"clients":      "kept; removed, or with another secret, if they were since",
	"revocations":  "kept; their numbers jump ahead",
	"replay_epoch": "dropped, so that another one begins",
	"replays":      "kept",
	"clock":        "set to now",
	"pings":        "kept",
}

// ending is done to the copy of a backup; @now is when.
var ending = []struct {
	text  string
	count func(r *Restored) *int64
}{
	{"UPDATE grants SET ended_at = @now, ended_reason = 'restored' WHERE ended_at = 0", func(r *Restored) *int64 { return &r.Sessions }},
	{"DELETE FROM codes", nil},
	{"DELETE FROM logins", nil},
	{"DELETE FROM pushed", nil},
	{"DELETE FROM withdrawals", nil},
	{"UPDATE statements SET withdrawn_at = @now, withdrawn_reason = 'restored' WHERE withdrawn_at = 0", func(r *Restored) *int64 { return &r.Statements }},
	{"DELETE FROM replay_epoch", nil},
	{"INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'revocations')", nil},
	{fmt.Sprintf("UPDATE sqlite_sequence SET seq = seq + %d WHERE name = 'revocations'", ages), nil},
	// An hour is the longest life of an access token, for keys from before their longest life was kept.
	{"INSERT OR REPLACE INTO revocations (kind, key, gen, reason, at, expires_at) " +
		"SELECT 'kid', kid, 0, 'restored', @now, @now + max(life, 3600000) FROM signing_keys WHERE revoked_at = 0", nil},
	{"UPDATE signing_keys SET revoked_at = @now, revoked_reason = 'restored' WHERE revoked_at = 0", func(r *Restored) *int64 { return &r.Keys }},
	{"INSERT INTO clock (id, newest) VALUES (1, @now) ON CONFLICT (id) DO UPDATE SET newest = @now", nil},
}

// carrying brings along what the database of before, attached as old, knew to be taken away.
var carrying = []struct {
	text  string
	count func(r *Restored) *int64
}{
	{"UPDATE devices SET removed_at = o.removed_at, removed_reason = o.removed_reason FROM old.devices o " +
		"WHERE o.domain = devices.domain AND o.id = devices.id AND o.removed_at <> 0 AND devices.removed_at = 0", func(r *Restored) *int64 { return &r.Devices }},
	// Those that came and went since: their keys stay useless.
	{"INSERT OR IGNORE INTO devices SELECT * FROM old.devices o WHERE o.removed_at <> 0 AND EXISTS " +
		"(SELECT 1 FROM users u WHERE u.domain = o.domain AND u.id = o.user_id)", func(r *Restored) *int64 { return &r.Devices }},
	{"UPDATE users SET disabled_at = o.disabled_at FROM old.users o " +
		"WHERE o.domain = users.domain AND o.id = users.id AND o.disabled_at <> 0 AND users.disabled_at = 0", func(r *Restored) *int64 { return &r.Users }},
	{"UPDATE clients SET removed_at = o.removed_at, removed_reason = o.removed_reason, secret = o.secret, " +
		"old_secret = o.old_secret, old_until = o.old_until FROM old.clients o WHERE o.id = clients.id " +
		"AND (o.removed_at <> 0 AND clients.removed_at = 0 OR o.secret IS NOT clients.secret)", func(r *Restored) *int64 { return &r.Clients }},
	{"INSERT OR IGNORE INTO spent_ids SELECT * FROM old.spent_ids", nil},
}

// Restore puts the backup from, or the file of a store that was closed, in the place of the database at path, which no
// store may have open. Everything that was issued until now ends with it: sessions, codes and logins, statements, and by
// their keys all tokens, also those that the backup does not know. The database of before is kept beside it. If Restore
// returns an error, path is as it was.
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
	if r, err = end(ctx, part, path, o.Now()); err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	if err := check(ctx, part, o.Check); err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	if r.Kept, err = replace(path, part, o.Now()); err != nil {
		return Restored{}, fmt.Errorf("sqlite: restore: %w", err)
	}
	return r, nil
}

// copyBackup copies from, which is left as it is, to a new file, which can be opened as a database of ours. It returns
// the version of its schema.
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
		return 0, errForeign
	}
	for _, suffix := range []string{"", "-wal", "-shm", "-journal"} { // of a Restore that died
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

// end ends in the copy at part what was issued, and carries along what the database at path still knows.
func end(ctx context.Context, part, path string, now time.Time) (r Restored, err error) {
	known := readable(ctx, path)
	db, err := sql.Open("sqlite", dsn(part, writerPragmas(Options{})))
	if err != nil {
		return Restored{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Restored{}, err
	}
	defer conn.Close()
	if known {
		if _, err := conn.ExecContext(ctx, "ATTACH ? AS old", dsn(path, nil)); err != nil {
			return Restored{}, err
		}
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = tx.Rollback() }() // of no effect after Commit
	var taken int64
	if err := tx.QueryRowContext(ctx, "SELECT ifnull((SELECT newest FROM clock), 0)").Scan(&taken); err != nil {
		return Restored{}, err
	}
	r.Taken = fromMillis(taken)
	if err := decided(ctx, tx); err != nil {
		return Restored{}, err
	}
	steps := ending
	if known {
		steps = append(steps[:len(steps):len(steps)], carrying...)
		r.Carried = true
	}
	for _, step := range steps {
		result, err := tx.ExecContext(ctx, step.text, sql.Named("now", millis(now)))
		if err != nil {
			return Restored{}, fmt.Errorf("%s: %w", step.text, err)
		}
		if step.count != nil {
			n, err := result.RowsAffected()
			if err != nil {
				return Restored{}, err
			}
			*step.count(&r) += n
		}
	}
	return r, tx.Commit()
}

// decided returns an error if the database has a table that decisions does not know.
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

// readable reports whether the database at path is one of ours, whole, and of the schema of this release. If it is, its
// log is folded into it.
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

// check opens the database at part as a store will, and lets look decide on it.
func check(ctx context.Context, part string, look func(context.Context, storage.Store) error) error {
	s, err := Open(ctx, part, Options{})
	if err != nil {
		return err
	}
	if look != nil {
		err = look(ctx, s)
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	return durable(part)
}

// replace puts part in the place of path, in one step, and returns where it has kept what was there. A log that could
// not be folded goes along: SQLite would take it for one of the new file's.
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

// noBackup says what is wrong with a file that was to be restored.
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
