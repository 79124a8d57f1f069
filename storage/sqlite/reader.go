package sqlite

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// A reader implements [storage.Reader]: for the Store on a pool of connections, for a tx on that of the writer, for a view on one
// of the pool. Each method is one statement, so it sees one moment of the database.
type reader struct {
	conn *conn // in a transaction: that of the writer, or one that the pool lent for a view
	pool *pool // nil in a transaction of the writer
	// fault, nil outside a transaction, keeps the first error that callers do not branch on. Such an error may have undone the
	// transaction, so it must not continue: later statements would take effect by themselves, or see another moment.
	fault *error
	// damaged is set when a damaged page is found.
	damaged *atomic.Bool
}

// row reads one row into dest.
//
// The context only says whether to begin. An interrupt in the middle would make SQLite roll back a whole transaction, and no
// statement waits for a writer.
func (r *reader) row(ctx context.Context, s int, dest []any, args ...any) error {
	c, err := r.begin(ctx)
	if err != nil {
		return err
	}
	found, err := c.one(s, dest, args)
	if err == nil && !found {
		err = storage.ErrNotFound
	}
	return r.end(c, err)
}

// rows reads all rows; next returns where the values of a row are to be stored.
func (r *reader) rows(ctx context.Context, s int, next func() []any, args ...any) error {
	c, err := r.begin(ctx)
	if err != nil {
		return err
	}
	return r.end(c, c.all(s, next, args))
}

// begin returns the connection to use; end must be called.
func (r *reader) begin(ctx context.Context) (*conn, error) {
	if r.fault != nil && *r.fault != nil {
		return r.conn, *r.fault
	}
	if r.pool == nil { // an update that has begun is completed, even if its context ends
		return r.conn, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.fault != nil {
		return r.conn, nil
	}
	if ctx.Value(inView{}) == r.pool { // it could wait forever for a second connection
		return nil, errInView
	}
	c, err := r.pool.take(ctx)
	if err != nil && ctx.Err() == nil {
		err = r.sort(err)
	}
	return c, err
}

// end gives the connection back and sorts the error.
func (r *reader) end(c *conn, err error) error {
	if r.fault == nil {
		r.pool.give(c)
	}
	if err != nil {
		err = r.sort(err)
	}
	return err
}

// sort returns an error that callers branch on, or one that dooms the transaction.
func (r *reader) sort(err error) error {
	if err, ok := known(err); ok {
		return err
	}
	if isDamage(err) {
		r.damaged.Store(true)
	}
	err = fmt.Errorf("sqlite: %w", err)
	if r.fault != nil {
		*r.fault = err
	}
	return err
}

var (
	selectNewest      = statement("SELECT newest FROM clock")
	selectSecret      = statement("SELECT sealed FROM secrets WHERE name = ?")
	selectSecrets     = statement("SELECT name, sealed FROM secrets ORDER BY name")
	selectSigningKeys = statement("SELECT " + row.SigningKeyColumns + " FROM signing_keys ORDER BY created_at, rowid")
	selectUser        = statement("SELECT " + row.UserColumns + " FROM users WHERE domain = ? AND id = ?")
	selectLinkedUser  = statement("SELECT " + row.Of("u", row.UserColumns) + " FROM links l JOIN users u " +
		"ON u.domain = l.domain AND u.id = l.user_id WHERE l.domain = ? AND l.issuer = ? AND l.subject = ?")
	selectName        = statement("SELECT " + row.NameColumns + " FROM names WHERE domain = ? AND key = ?")
	selectDevice      = statement("SELECT " + row.DeviceColumns + " FROM devices WHERE domain = ? AND id = ?")
	selectDevices     = statement("SELECT " + row.DeviceColumns + " FROM devices WHERE domain = ? ORDER BY created_at, id")
	selectUserDevices = statement("SELECT " + row.DeviceColumns + " FROM devices INDEXED BY devices_user WHERE domain = ? " +
		"AND user_id = ? ORDER BY created_at, id")
	selectDevicesAfter     = statement("SELECT " + row.DeviceColumns + " FROM devices WHERE domain = ? AND id > ? ORDER BY id LIMIT ?")
	selectUserDevicesAfter = statement("SELECT " + row.DeviceColumns + " FROM devices INDEXED BY devices_user " +
		"WHERE domain = ? AND user_id = ? AND id > ? ORDER BY id LIMIT ?")
	selectSession = statement("SELECT " + row.Of("g", row.GrantColumns) + ", " + row.Of("u", row.UserColumns) + ", " +
		row.Of("d", row.DeviceColumns) + " FROM grants g JOIN users u ON u.domain = g.domain AND u.id = g.user_id " +
		"JOIN devices d ON d.domain = g.domain AND d.id = g.device_id WHERE g.id = ?")
	selectCode   = statement("SELECT " + row.CodeColumns + " FROM codes WHERE hash = ?")
	selectLogin  = statement("SELECT " + row.LoginColumns + " FROM logins WHERE state = ?")
	selectPushed = statement("SELECT " + row.PushedColumns + " FROM pushed WHERE uri = ?")

	selectStatement      = statement("SELECT " + shownStatement + " FROM statements WHERE jti = ?")
	selectStatements     = statement("SELECT " + shownStatement + " FROM statements WHERE domain = ? ORDER BY created_at, rowid")
	selectUserStatements = statement("SELECT " + shownStatement + " FROM statements WHERE domain = ? AND user_id = ? " +
		"ORDER BY created_at, rowid")
	// A page of a domain is read in the order of the primary key. The + keeps SQLite from sorting all statements of the domain.
	selectStatementsAfter = statement("SELECT " + shownStatement + " FROM statements WHERE +domain = ? AND jti > ? " +
		"ORDER BY jti LIMIT ?")
	selectUserStatementsAfter = statement("SELECT " + shownStatement + " FROM statements WHERE domain = ? AND user_id = ? AND +jti > ? " +
		"ORDER BY jti LIMIT ?")
	// Both are found by the index of statements that are not withdrawn.
	selectStandingStatements = statement("SELECT " + shownStatement + " FROM statements WHERE domain = ?1 AND user_id = ?2 " +
		"AND " + standing("statements") + " AND (created_at, jti) > (?5, ?6) " +
		"AND (?3 = '' OR typ = ?3) AND (expires_at = 0 OR expires_at > ?4) " +
		"ORDER BY created_at, jti LIMIT ?7")
	countStatements = statement("SELECT count(*) FROM (SELECT 1 FROM statements WHERE domain = ?1 AND user_id = ?2 " +
		"AND " + standing("statements") + " AND device <> '' AND (expires_at = 0 OR expires_at > ?3) LIMIT ?4)")
	// The highest number outlives its row, so SQLite keeps it apart.
	selectLastRevocation = statement("SELECT seq FROM sqlite_sequence WHERE name = 'revocations'")
	selectRevocations    = statement("SELECT " + row.RevocationColumns + " FROM revocations WHERE seq > ? ORDER BY seq LIMIT ?")
)

func (r *reader) Newest(ctx context.Context) (at time.Time, err error) {
	err = r.row(ctx, selectNewest, []any{(*row.Instant)(&at)})
	if err == storage.ErrNotFound {
		return time.Time{}, nil
	}
	return at, err
}

func (r *reader) Secret(ctx context.Context, name string) (sealed []byte, err error) {
	err = r.row(ctx, selectSecret, []any{&sealed}, name)
	return sealed, err
}

func (r *reader) Secrets(ctx context.Context) (list []storage.Secret, err error) {
	err = r.rows(ctx, selectSecrets, func() []any {
		list = append(list, storage.Secret{})
		s := &list[len(list)-1]
		return []any{&s.Name, &s.Sealed}
	})
	return list, err
}

func (r *reader) SigningKeys(ctx context.Context) (keys []storage.SigningKey, err error) {
	err = r.rows(ctx, selectSigningKeys, func() []any {
		keys = append(keys, storage.SigningKey{})
		return row.SigningKeyDest(&keys[len(keys)-1])
	})
	return keys, err
}

func (r *reader) User(ctx context.Context, domain, id string) (u storage.User, err error) {
	err = r.row(ctx, selectUser, row.UserDest(&u), domain, id)
	return u, err
}

func (r *reader) LinkedUser(ctx context.Context, domain, issuer, subject string) (u storage.User, err error) {
	err = r.row(ctx, selectLinkedUser, row.UserDest(&u), domain, issuer, subject)
	return u, err
}

func (r *reader) Name(ctx context.Context, domain, key string) (n storage.Name, err error) {
	err = r.row(ctx, selectName, row.NameDest(&n), domain, key)
	return n, err
}

func (r *reader) Device(ctx context.Context, domain, id string) (d storage.Device, err error) {
	err = r.row(ctx, selectDevice, row.DeviceDest(&d), domain, id)
	return d, err
}

func (r *reader) Devices(ctx context.Context, domain, user string) (devices []storage.Device, err error) {
	next := func() []any {
		devices = append(devices, storage.Device{})
		return row.DeviceDest(&devices[len(devices)-1])
	}
	if user == "" {
		err = r.rows(ctx, selectDevices, next, domain)
	} else {
		err = r.rows(ctx, selectUserDevices, next, domain, user)
	}
	return devices, err
}

func (r *reader) DevicesAfter(ctx context.Context, domain, user, after string, limit int) (devices []storage.Device, err error) {
	next := func() []any {
		devices = append(devices, storage.Device{})
		return row.DeviceDest(&devices[len(devices)-1])
	}
	limit = max(limit, 0) // SQLite takes a negative limit for none
	if user == "" {
		err = r.rows(ctx, selectDevicesAfter, next, domain, after, limit)
	} else {
		err = r.rows(ctx, selectUserDevicesAfter, next, domain, user, after, limit)
	}
	return devices, err
}

func (r *reader) Session(ctx context.Context, id string) (g storage.Grant, u storage.User, d storage.Device, err error) {
	c, err := r.begin(ctx)
	if err != nil {
		return g, u, d, err
	}
	row := &c.session
	found, err := c.one(selectSession, row.dest, []any{id})
	if err == nil && found {
		g, u, d = row.grant, row.user, row.device
	} else if err == nil {
		err = storage.ErrNotFound
	}
	return g, u, d, r.end(c, err)
}

// A sessionRow is where a connection reads the row of a session, the most frequent one, to. The places for its 37 columns are made
// once.
type sessionRow struct {
	grant  storage.Grant
	user   storage.User
	device storage.Device
	dest   []any
}

func (s *sessionRow) init() {
	s.dest = slices.Concat(row.GrantDest(&s.grant), row.UserDest(&s.user), row.DeviceDest(&s.device))
}

func (r *reader) Code(ctx context.Context, hash [32]byte) (c storage.Code, err error) {
	err = r.row(ctx, selectCode, row.CodeDest(&c), hash[:])
	return c, err
}

func (r *reader) Login(ctx context.Context, state [32]byte) (l storage.Login, err error) {
	err = r.row(ctx, selectLogin, row.LoginDest(&l), state[:])
	return l, err
}

func (r *reader) Pushed(ctx context.Context, uri [32]byte) (p storage.Pushed, err error) {
	err = r.row(ctx, selectPushed, row.PushedDest(&p), uri[:])
	return p, err
}

func (r *reader) Statement(ctx context.Context, jti string) (s storage.Statement, err error) {
	err = r.row(ctx, selectStatement, row.StatementDest(&s), jti)
	return s, err
}

func (r *reader) Statements(ctx context.Context, domain, user string) (list []storage.Statement, err error) {
	next := func() []any {
		list = append(list, storage.Statement{})
		return row.StatementDest(&list[len(list)-1])
	}
	if user == "" {
		err = r.rows(ctx, selectStatements, next, domain)
	} else {
		err = r.rows(ctx, selectUserStatements, next, domain, user)
	}
	return list, err
}

func (r *reader) StatementsAfter(ctx context.Context, domain, user, after string, limit int) (list []storage.Statement, err error) {
	next := func() []any {
		list = append(list, storage.Statement{})
		return row.StatementDest(&list[len(list)-1])
	}
	limit = max(limit, 0)
	if user == "" {
		err = r.rows(ctx, selectStatementsAfter, next, domain, after, limit)
	} else {
		err = r.rows(ctx, selectUserStatementsAfter, next, domain, user, after, limit)
	}
	return list, err
}

func (r *reader) StandingStatements(ctx context.Context, domain, user, typ string, now time.Time, after storage.StatementCursor,
	limit int) (list []storage.Statement, err error) {
	err = r.rows(ctx, selectStandingStatements, func() []any {
		list = append(list, storage.Statement{})
		return row.StatementDest(&list[len(list)-1])
	}, domain, user, typ, row.Millis(now), row.Millis(after.CreatedAt), after.JTI, max(limit, 0))
	return list, err
}

func (r *reader) CountStatements(ctx context.Context, domain, user string, now time.Time, limit int) (n int, err error) {
	err = r.row(ctx, countStatements, []any{&n}, domain, user, row.Millis(now), max(limit, 0))
	return n, err
}

func (r *reader) Revocation(ctx context.Context, kind storage.RevocationKind, key string) (v storage.Revocation, err error) {
	err = r.row(ctx, selectRevocation, row.RevocationDest(&v), string(kind), key)
	return v, err
}

func (r *reader) Revocations(ctx context.Context, after int64, limit int) (found []storage.Revocation, last int64, err error) {
	// The number first: a revocation that is committed meanwhile is above it, or found.
	if err := r.row(ctx, selectLastRevocation, []any{&last}); err != nil && err != storage.ErrNotFound {
		return nil, 0, err
	}
	if limit <= 0 {
		limit = -1
	}
	err = r.rows(ctx, selectRevocations, func() []any {
		found = append(found, storage.Revocation{})
		return row.RevocationDest(&found[len(found)-1])
	}, after, limit)
	if n := len(found); n > 0 {
		last = max(last, found[n-1].Seq)
	}
	return found, last, err
}
