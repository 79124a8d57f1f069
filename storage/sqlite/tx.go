package sqlite

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// A tx is the turn of one update in a transaction of the writer.
type tx struct {
	reader
	broken error // where fault points to
}

// run calls fn and gives the turn back to the writer by ended, whatever fn does. The ctx of fn does not end, so that the transaction
// is completed.
func (t *tx) run(ctx context.Context, fn func(context.Context, storage.Tx) error, ended chan<- error) (err error) {
	if err := ctx.Err(); err != nil {
		ended <- err
		return err
	}
	err = errExited // stays if fn calls runtime.Goexit
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("sqlite: the update panicked: %v\n%s", p, debug.Stack())
		}
		if *t.fault == nil {
			*t.fault = errOver
		}
		ended <- err
	}()
	err = fn(context.WithoutCancel(ctx), t)
	if err == nil {
		err = *t.fault // fn must not make a success of it
	}
	return err
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, s int, args ...any) (n int64, err error) {
	c, err := t.begin(ctx)
	if err != nil {
		return 0, err
	}
	n, err = c.exec(s, args)
	return n, t.end(c, err)
}

// insert runs a statement that adds one row, or conflicts.
func (t *tx) insert(ctx context.Context, s int, args []any) error {
	_, err := t.exec(ctx, s, args...)
	return err
}

// one runs a statement that changes one row; [storage.ErrNotFound] if it changed none.
func (t *tx) one(ctx context.Context, s int, args ...any) error {
	n, err := t.exec(ctx, s, args...)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

// update runs a statement on a row that must exist and that its first keys arguments identify.
func (t *tx) update(ctx context.Context, s, keys int, args []any) error {
	return t.one(ctx, s, keysLast(args, keys)...)
}

var (
	upsertNewest = statement("INSERT INTO clock (id, newest) VALUES (1, ?1) ON CONFLICT (id) DO UPDATE SET newest = ?1")
	upsertSecret = statement("INSERT INTO secrets (name, sealed) VALUES (?, ?) " +
		"ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed")
	deleteSecret     = statement("DELETE FROM secrets WHERE name = ?")
	insertSigningKey = insert("signing_keys", row.SigningKeyColumns)
	updateSigningKey = update("signing_keys", row.SigningKeyColumns, 1)
	insertUser       = insert("users", row.UserColumns)
	updateUser       = update("users", row.UserColumns, 2)
	insertLink       = insert("links", row.LinkColumns)
	insertName       = insert("names", row.NameColumns)
	updateName       = update("names", row.NameColumns, 2)
	updateDevice     = update("devices", row.DeviceColumns, 2)
)

func (t *tx) SetNewest(ctx context.Context, at time.Time) error {
	_, err := t.exec(ctx, upsertNewest, row.Millis(at))
	return err
}

func (t *tx) PutSecret(ctx context.Context, name string, sealed []byte) error {
	_, err := t.exec(ctx, upsertSecret, name, sealed)
	return err
}

func (t *tx) DeleteSecret(ctx context.Context, name string) error {
	return t.one(ctx, deleteSecret, name)
}

func (t *tx) InsertSigningKey(ctx context.Context, k storage.SigningKey) error {
	return t.insert(ctx, insertSigningKey, row.SigningKeyArgs(k))
}

func (t *tx) UpdateSigningKey(ctx context.Context, k storage.SigningKey) error {
	return t.update(ctx, updateSigningKey, 1, row.SigningKeyArgs(k))
}

func (t *tx) InsertUser(ctx context.Context, u storage.User) error {
	return t.insert(ctx, insertUser, row.UserArgs(u))
}

func (t *tx) UpdateUser(ctx context.Context, u storage.User) error {
	return t.update(ctx, updateUser, 2, row.UserArgs(u))
}

func (t *tx) InsertLink(ctx context.Context, l storage.Link) error {
	return t.insert(ctx, insertLink, row.LinkArgs(l))
}

func (t *tx) InsertName(ctx context.Context, n storage.Name) error {
	return t.insert(ctx, insertName, row.NameArgs(n))
}

func (t *tx) UpdateName(ctx context.Context, n storage.Name) error {
	return t.update(ctx, updateName, 2, row.NameArgs(n))
}

func (t *tx) UpdateDevice(ctx context.Context, d storage.Device) error {
	return t.update(ctx, updateDevice, 2, row.DeviceArgs(d))
}

var (
	insertGrant = insert("grants", row.GrantColumns)
	// A grant is live until it ends, is idle too long or expires; 0 means never.
	rotateGrant = statement("UPDATE grants SET gen = gen + 1, rotated_at = ?2, idle_at = ?3 WHERE id = ?1 AND gen = ?4 " +
		"AND ended_at = 0 AND (idle_at = 0 OR idle_at > ?2) AND (expires_at = 0 OR expires_at > ?2)")
	// It also writes the row of an ended grant, so that no changed row means no grant.
	endGrant = statement("UPDATE grants SET ended_at = iif(ended_at = 0, ?2, ended_at), " +
		"ended_reason = iif(ended_at = 0, ?3, ended_reason) WHERE id = ?1")
	endDeviceGrants = statement("UPDATE grants SET ended_at = ?3, ended_reason = ?4 " +
		"WHERE domain = ?1 AND device_id = ?2 AND ended_at = 0 RETURNING id")
)

func (t *tx) InsertGrant(ctx context.Context, g storage.Grant) error {
	return t.insert(ctx, insertGrant, row.GrantArgs(g))
}

func (t *tx) RotateGrant(ctx context.Context, id string, from int64, now, idle time.Time) error {
	n, err := t.exec(ctx, rotateGrant, id, row.Millis(now), row.Millis(idle), from)
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

func (t *tx) EndGrant(ctx context.Context, id string, at time.Time, reason string) error {
	return t.one(ctx, endGrant, id, row.Millis(at), reason)
}

func (t *tx) EndDeviceGrants(ctx context.Context, domain, device string, at time.Time, reason string) (ended []string, err error) {
	next := func() []any {
		ended = append(ended, "")
		return []any{&ended[len(ended)-1]}
	}
	if err = t.rows(ctx, endDeviceGrants, next, domain, device, row.Millis(at), reason); err == nil {
		_, err = t.exec(ctx, dropDeviceCodes, domain, device)
	}
	return ended, err
}

var (
	insertCode  = insert("codes", row.CodeColumns)
	spendCode   = statement("UPDATE codes SET spent_at = ?2, grant_id = ?3 WHERE hash = ?1 AND spent_at = 0")
	insertLogin = insert("logins", row.LoginColumns)
	takeLogin   = statement("DELETE FROM logins WHERE state = ? RETURNING " + row.LoginColumns)

	insertPushed = insert("pushed", row.PushedColumns)
	takePushed   = statement("DELETE FROM pushed WHERE uri = ?")
)

func (t *tx) InsertCode(ctx context.Context, c storage.Code) error {
	return t.insert(ctx, insertCode, row.CodeArgs(c))
}

func (t *tx) SpendCode(ctx context.Context, hash [32]byte, at time.Time, grant string) error {
	n, err := t.exec(ctx, spendCode, hash[:], row.Millis(at), grant)
	if err != nil || n == 1 {
		return err
	}
	if _, err := t.Code(ctx, hash); err != nil {
		return err
	}
	return storage.ErrConflict
}

func (t *tx) InsertLogin(ctx context.Context, l storage.Login) error {
	return t.insert(ctx, insertLogin, row.LoginArgs(l))
}

func (t *tx) TakeLogin(ctx context.Context, state [32]byte) (l storage.Login, err error) {
	err = t.row(ctx, takeLogin, row.LoginDest(&l), state[:])
	return l, err
}

func (t *tx) InsertPushed(ctx context.Context, p storage.Pushed) error {
	return t.insert(ctx, insertPushed, row.PushedArgs(p))
}

func (t *tx) TakePushed(ctx context.Context, uri [32]byte) error {
	return t.one(ctx, takePushed, uri[:])
}

var insertSpentID = insert("spent_ids", "kind, key, expires_at")

func (t *tx) SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error {
	return t.insert(ctx, insertSpentID, []any{kind, key[:], row.Millis(until)})
}

var (
	insertStatement = insert("statements", row.StatementColumns)
	// It also writes the row of a withdrawn statement, so that no changed row means no statement.
	withdrawStatement = statement("UPDATE statements SET withdrawn_at = iif(withdrawn_at = 0, ?2, withdrawn_at), " +
		"withdrawn_reason = iif(withdrawn_at = 0, ?3, withdrawn_reason) WHERE jti = ?1")
)

func (t *tx) InsertStatement(ctx context.Context, s storage.Statement) error {
	return t.insert(ctx, insertStatement, row.StatementArgs(s))
}

func (t *tx) WithdrawStatement(ctx context.Context, jti string, at time.Time, reason string) error {
	return t.one(ctx, withdrawStatement, jti, row.Millis(at), reason)
}

var deleteStatement = statement("DELETE FROM statements WHERE jti = ?")

func (t *tx) DeleteStatement(ctx context.Context, jti string) error {
	return t.one(ctx, deleteStatement, jti)
}

var (
	deleteRevocation = statement("DELETE FROM revocations WHERE kind = ? AND key = ? RETURNING gen, expires_at")
	selectRevocation = statement("SELECT " + row.RevocationColumns + " FROM revocations WHERE kind = ? AND key = ?")
	insertRevocation = statement("INSERT INTO revocations (kind, key, gen, owner, domain, user_id, reason, at, expires_at) " +
		"VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING " + row.RevocationColumns)
)

func (t *tx) Revoke(ctx context.Context, r storage.Revocation) (storage.Revocation, error) {
	there, err := t.Revocation(ctx, r.Kind, r.Key)
	if err == nil && there.Gen >= r.Gen && covers(there.ExpiresAt, r.ExpiresAt) {
		return there, nil
	} else if err != nil && err != storage.ErrNotFound {
		return storage.Revocation{}, err
	}
	var gen int64
	var expires time.Time
	err = t.row(ctx, deleteRevocation, []any{&gen, (*row.Instant)(&expires)}, string(r.Kind), r.Key)
	switch {
	case err == nil:
		r.Gen = max(r.Gen, gen)
		if expires.IsZero() || !r.ExpiresAt.IsZero() && expires.After(r.ExpiresAt) {
			r.ExpiresAt = expires
		}
	case err != storage.ErrNotFound:
		return storage.Revocation{}, err
	}
	err = t.row(ctx, insertRevocation, row.RevocationDest(&r), string(r.Kind), r.Key, r.Gen, r.Owner, r.Domain, r.User, r.Reason,
		row.Millis(r.At), row.Millis(r.ExpiresAt))
	return r, err
}

// covers reports whether a is as late as b, to the stored millisecond. The zero time means never, and is the latest.
func covers(a, b time.Time) bool {
	return a.IsZero() || !b.IsZero() && row.Millis(a) >= row.Millis(b)
}
