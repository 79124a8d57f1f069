package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	insertBrowser = insertInto("browser_sessions", row.BrowserColumns)
	selectBrowser = "SELECT " + row.Of("b", row.BrowserColumns) + ", " + row.Of("u", row.UserColumns) + " FROM browser_sessions b " +
		"JOIN users u ON u.domain = b.domain AND u.id = b.user_id WHERE b.hash = $1"
	selectBrowsers = "SELECT " + row.BrowserColumns + " FROM browser_sessions WHERE domain = $1 AND user_id = $2 ORDER BY used_at, hash"
	touchBrowser   = "UPDATE browser_sessions SET used_at = $2, idle_at = $3 WHERE hash = $1"
	dropBrowser    = "DELETE FROM browser_sessions WHERE hash = $1"
	trimBrowsers   = "DELETE FROM browser_sessions WHERE hash IN (SELECT hash FROM browser_sessions " +
		"WHERE domain = $1 AND user_id = $2 ORDER BY used_at DESC, hash DESC OFFSET $3)"
	// Like the grants of a login: see endSubjectGrants and endSIDGrants.
	dropSubjectBrowsers = "DELETE FROM browser_sessions WHERE domain = $1 AND user_id = $2 AND issuer = $3 " +
		"AND ($4 = '' OR upstream_sid = '' OR upstream_sid = $4)"
	dropSIDBrowsers = "DELETE FROM browser_sessions WHERE domain = $1 AND issuer = $2 AND upstream_sid = $3 AND upstream_sid <> ''"

	selectKept = "SELECT " + row.KeptColumns + " FROM kept_answers WHERE key = $1"
	dropKept   = "DELETE FROM kept_answers WHERE key = $1 AND expires_at <= $2"
	insertKept = insertInto("kept_answers", row.KeptColumns)
	fillKept   = "UPDATE kept_answers SET answer = $2 WHERE key = $1"
)

func (r *reader) BrowserSession(ctx context.Context, hash [32]byte) (s storage.BrowserSession, u storage.User, err error) {
	err = r.row(ctx, selectBrowser, append(row.BrowserDest(&s), row.UserDest(&u)...), hash[:])
	return s, u, err
}

func (r *reader) BrowserSessions(ctx context.Context, domain, user string) ([]storage.BrowserSession, error) {
	return all(ctx, r, selectBrowsers, row.BrowserDest, domain, user)
}

func (t *tx) InsertBrowserSession(ctx context.Context, s storage.BrowserSession) error {
	return t.insert(ctx, insertBrowser, row.BrowserArgs(s))
}

func (t *tx) TouchBrowserSession(ctx context.Context, hash [32]byte, used, idle time.Time) error {
	return t.must(ctx, touchBrowser, hash[:], row.Millis(used), row.Millis(idle))
}

func (t *tx) DeleteBrowserSession(ctx context.Context, hash [32]byte) error {
	return t.must(ctx, dropBrowser, hash[:])
}

func (t *tx) TrimBrowserSessions(ctx context.Context, domain, user string, keep int) error {
	_, err := t.exec(ctx, trimBrowsers, domain, user, max(keep, 0))
	return err
}

func (r *reader) KeptAnswer(ctx context.Context, key [32]byte) (a storage.KeptAnswer, err error) {
	err = r.row(ctx, selectKept, []any{(*row.Digest)(&a.Key), (*row.Digest)(&a.Request), &a.Answer, (*row.Instant)(&a.ExpiresAt)}, key[:])
	return a, err
}

func (t *tx) KeepAnswer(ctx context.Context, a storage.KeptAnswer, now time.Time) error {
	if _, err := t.exec(ctx, dropKept, a.Key[:], row.Millis(now)); err != nil {
		return err
	}
	answer := a.Answer
	if answer == nil {
		answer = []byte{}
	}
	return t.insert(ctx, insertKept, []any{a.Key[:], a.Request[:], answer, row.Millis(a.ExpiresAt)})
}

func (t *tx) FillAnswer(ctx context.Context, key [32]byte, answer []byte) error {
	return t.must(ctx, fillKept, key[:], answer)
}
