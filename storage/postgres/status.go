package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectStatusList = "SELECT " + row.StatusListKinds[storage.SessionStatuses] + " FROM status_lists WHERE id = $1 " +
		"UNION ALL SELECT " + row.StatusListKinds[storage.CredentialStatuses] + " FROM credential_lists WHERE id = $1"
	selectEndedStatuses = "SELECT entry FROM ended_statuses WHERE entry >= $1 AND entry < $2 AND expires_at > $3 ORDER BY entry"
	// The statements of each kind.
	insertStatusList, takeStatusEntries = func() (insertions, takings []string) {
		for kind, table := range row.StatusListTables {
			insertions = append(insertions, insertInto(table, row.StatusListColumns))
			// There are few lists: each serves many thousands of grants.
			takings = append(takings, "UPDATE "+table+" SET used = used + $2, expires_at = greatest(expires_at, $3) WHERE id = ("+
				"SELECT id FROM "+table+" WHERE domain = $1 AND ended_at = 0 AND used + $2 <= available "+
				"ORDER BY created_at DESC, id LIMIT 1) RETURNING "+row.StatusListKinds[kind])
		}
		return insertions, takings
	}()
	setGrantStatus = "UPDATE grants SET status = $2 WHERE id = $1 AND status = 0 AND ended_at < 1 RETURNING expires_at"
	keepStatusList = "UPDATE status_lists SET expires_at = $2 WHERE id = $1 AND expires_at < $2"
)

func (r *reader) StatusList(ctx context.Context, id int64) (storage.StatusList, error) {
	return one(ctx, r, selectStatusList, row.StatusListDest, id)
}

func (r *reader) EndedStatuses(ctx context.Context, list int64, now time.Time) ([]int, error) {
	first := row.EntryNumber(storage.StatusEntry{List: list})
	ended, err := all(ctx, r, selectEndedStatuses, func(e *row.Entry) []any { return []any{e} },
		first, first+row.EntriesPerList, row.Millis(now))
	if err != nil {
		return nil, err
	}
	indexes := make([]int, len(ended))
	for i, e := range ended {
		indexes[i] = e.Index
	}
	return indexes, nil
}

func (t *tx) InsertStatusList(ctx context.Context, l storage.StatusList) error {
	if _, err := t.StatusList(ctx, l.ID); err == nil {
		return storage.ErrConflict
	} else if err != storage.ErrNotFound {
		return err
	}
	return t.insert(ctx, insertStatusList[l.Kind], row.StatusListArgs(l))
}

func (t *tx) TakeStatusEntries(
	ctx context.Context, kind storage.StatusKind, domain string, n int, until time.Time,
) (storage.StatusList, error) {
	return one(ctx, &t.reader, takeStatusEntries[kind], row.StatusListDest, domain, n, row.Millis(until))
}

func (t *tx) SetGrantStatus(ctx context.Context, grant string, e storage.StatusEntry) error {
	var expires time.Time
	err := t.row(ctx, setGrantStatus, []any{(*row.Instant)(&expires)}, grant, row.EntryNumber(e))
	if err == storage.ErrNotFound {
		return storage.ErrConflict
	} else if err != nil {
		return err
	}
	if expires.IsZero() { // never
		expires = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	_, err = t.exec(ctx, keepStatusList, e.List, row.Millis(expires.Add(storage.StatusGrace)))
	return err
}
