package sqlite

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectUserEvents = statement("SELECT " + row.UserEventColumns + " FROM user_events WHERE domain = ? AND user_id = ? AND number > ? " +
		"ORDER BY number LIMIT ?")
	selectLastUserEvent = statement("SELECT last FROM user_event_numbers WHERE domain = ? AND user_id = ?")
	nextUserEvent       = statement("INSERT INTO user_event_numbers (domain, user_id, last) VALUES (?, ?, 1) " +
		"ON CONFLICT (domain, user_id) DO UPDATE SET last = last + 1 RETURNING last")
	insertUserEvent = insert("user_events", row.UserEventColumns)
)

func (r *reader) UserEvents(ctx context.Context, domain, user string, after int64, limit int) (list []storage.UserEvent, err error) {
	err = r.rows(ctx, selectUserEvents, func() []any {
		list = append(list, storage.UserEvent{})
		return row.UserEventDest(&list[len(list)-1])
	}, domain, user, after, max(limit, 0)) // SQLite takes a negative limit for none
	return list, err
}

func (r *reader) LastUserEvent(ctx context.Context, domain, user string) (last int64, err error) {
	err = r.row(ctx, selectLastUserEvent, []any{&last}, domain, user)
	if err == storage.ErrNotFound {
		return 0, nil
	}
	return last, err
}

func (t *tx) InsertUserEvent(ctx context.Context, e storage.UserEvent) error {
	if err := t.row(ctx, nextUserEvent, []any{&e.Number}, e.Domain, e.User); err != nil {
		return err
	}
	return t.insert(ctx, insertUserEvent, []any{e.Domain, e.User, e.Number, string(e.Kind), e.Device, row.Millis(e.At)})
}
