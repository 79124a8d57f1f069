package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	insertBrowser = insert("browser_sessions", row.BrowserColumns)
	selectBrowser = statement("SELECT " + row.Of("b", row.BrowserColumns) + ", " + row.Of("u", row.UserColumns) + " " +
		"FROM browser_sessions b JOIN users u ON u.domain = b.domain AND u.id = b.user_id WHERE b.hash = ?")
	selectBrowsers = statement("SELECT " + row.BrowserColumns + " FROM browser_sessions WHERE domain = ? AND user_id = ? " +
		"ORDER BY used_at, hash")
	touchBrowser = statement("UPDATE browser_sessions SET used_at = ?2, idle_at = ?3 WHERE hash = ?1")
	dropBrowser  = statement("DELETE FROM browser_sessions WHERE hash = ?")
	trimBrowsers = statement("DELETE FROM browser_sessions WHERE hash IN (SELECT hash FROM browser_sessions " +
		"WHERE domain = ?1 AND user_id = ?2 ORDER BY used_at DESC, hash DESC LIMIT -1 OFFSET ?3)")
	// Like the grants of a login: see endSubjectGrants and endSIDGrants.
	dropSubjectBrowsers = statement("DELETE FROM browser_sessions WHERE domain = ?1 AND user_id = ?2 AND issuer = ?3 " +
		"AND (?4 = '' OR upstream_sid = '' OR upstream_sid = ?4)")
	dropSIDBrowsers = statement("DELETE FROM browser_sessions WHERE domain = ?1 AND issuer = ?2 AND upstream_sid = ?3 " +
		"AND upstream_sid <> ''")
)

func (r *reader) BrowserSession(ctx context.Context, hash [32]byte) (s storage.BrowserSession, u storage.User, err error) {
	err = r.row(ctx, selectBrowser, append(row.BrowserDest(&s), row.UserDest(&u)...), hash[:])
	return s, u, err
}

func (r *reader) BrowserSessions(ctx context.Context, domain, user string) (sessions []storage.BrowserSession, err error) {
	err = r.rows(ctx, selectBrowsers, func() []any {
		sessions = append(sessions, storage.BrowserSession{})
		return row.BrowserDest(&sessions[len(sessions)-1])
	}, domain, user)
	return sessions, err
}

func (t *tx) InsertBrowserSession(ctx context.Context, s storage.BrowserSession) error {
	return t.insert(ctx, insertBrowser, row.BrowserArgs(s))
}

func (t *tx) TouchBrowserSession(ctx context.Context, hash [32]byte, used, idle time.Time) error {
	return t.one(ctx, touchBrowser, hash[:], row.Millis(used), row.Millis(idle))
}

func (t *tx) DeleteBrowserSession(ctx context.Context, hash [32]byte) error {
	return t.one(ctx, dropBrowser, hash[:])
}

func (t *tx) TrimBrowserSessions(ctx context.Context, domain, user string, keep int) error {
	_, err := t.exec(ctx, trimBrowsers, domain, user, max(keep, 0))
	return err
}
