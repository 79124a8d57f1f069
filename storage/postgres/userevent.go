package postgres

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectUserEvents = "SELECT " + row.UserEventColumns + " FROM user_events WHERE domain = $1 AND user_id = $2 AND number > $3 " +
		"ORDER BY number LIMIT $4"
	selectLastUserEvent = "SELECT last FROM user_event_numbers WHERE domain = $1 AND user_id = $2"
	// One statement numbers the event and stores it. The row of the numbers is locked until the commit.
	insertUserEvent = "WITH next AS (INSERT INTO user_event_numbers AS n (domain, user_id, last) VALUES ($1, $2, 1) " +
		"ON CONFLICT (domain, user_id) DO UPDATE SET last = n.last + 1 RETURNING last) " +
		"INSERT INTO user_events (" + row.UserEventColumns + ") SELECT $1, $2, last, $3, $4, $5 FROM next"
)

func (r *reader) UserEvents(ctx context.Context, domain, user string, after int64, limit int) ([]storage.UserEvent, error) {
	return all(ctx, r, selectUserEvents, row.UserEventDest, domain, user, after, max(limit, 0))
}

func (r *reader) LastUserEvent(ctx context.Context, domain, user string) (last int64, err error) {
	err = r.row(ctx, selectLastUserEvent, []any{&last}, domain, user)
	if err == storage.ErrNotFound {
		return 0, nil
	}
	return last, err
}

func (t *tx) InsertUserEvent(ctx context.Context, e storage.UserEvent) error {
	_, err := t.exec(ctx, insertUserEvent, e.Domain, e.User, string(e.Kind), e.Device, row.Millis(e.At))
	return err
}
