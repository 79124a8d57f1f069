package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// An entry is the place of an entry of a status list, which is stored as one number.
type entry storage.StatusEntry

const entriesPerList = storage.MaxStatusListSize

// entryNumber returns the stored form of an entry: 0 for none.
func entryNumber(e storage.StatusEntry) int64 { return e.List*entriesPerList + int64(e.Index) }

func entryOf(n int64) entry { return entry{List: n / entriesPerList, Index: int(n % entriesPerList)} }

const statusListColumns = "id, domain, seed, size, available, used, created_at, expires_at, ended_at"

func statusListArgs(l storage.StatusList) []any {
	return []any{l.ID, l.Domain, l.Seed[:], l.Size, l.Available, l.Used, millis(l.CreatedAt), millis(l.ExpiresAt), millis(l.EndedAt)}
}

func statusListDest(l *storage.StatusList) []any {
	return []any{&l.ID, &l.Domain, (*digest)(&l.Seed), &l.Size, &l.Available, &l.Used, (*instant)(&l.CreatedAt), (*instant)(&l.ExpiresAt),
		(*instant)(&l.EndedAt)}
}

var (
	selectStatusList    = statement("SELECT " + statusListColumns + " FROM status_lists WHERE id = ?")
	selectEndedStatuses = statement("SELECT entry FROM ended_statuses WHERE entry >= ?1 AND entry < ?2 AND expires_at > ?3 ORDER BY entry")
	insertStatusList    = insert("status_lists", statusListColumns)
	// There are few lists: each serves many thousands of grants.
	takeStatusEntries = statement("UPDATE status_lists SET used = used + ?2, expires_at = max(expires_at, ?3) WHERE id = (" +
		"SELECT id FROM status_lists WHERE domain = ?1 AND ended_at = 0 AND used + ?2 <= available " +
		"ORDER BY created_at DESC, id LIMIT 1) RETURNING " + statusListColumns)
	setGrantStatus = statement("UPDATE grants SET status = ?2 WHERE id = ?1 AND status = 0 AND ended_at = 0 RETURNING expires_at")
	keepStatusList = statement("UPDATE status_lists SET expires_at = max(expires_at, ?2) WHERE id = ?1")
)

func (r *reader) StatusList(ctx context.Context, id int64) (l storage.StatusList, err error) {
	err = r.row(ctx, selectStatusList, statusListDest(&l), id)
	return l, err
}

func (r *reader) EndedStatuses(ctx context.Context, list int64, now time.Time) ([]int, error) {
	var ended []entry
	first := storage.StatusEntry{List: list}
	err := r.rows(ctx, selectEndedStatuses, func() []any {
		ended = append(ended, entry{})
		return []any{&ended[len(ended)-1]}
	}, entryNumber(first), entryNumber(first)+entriesPerList, millis(now))
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
	return t.insert(ctx, insertStatusList, statusListArgs(l))
}

func (t *tx) TakeStatusEntries(ctx context.Context, domain string, n int, until time.Time) (l storage.StatusList, err error) {
	err = t.row(ctx, takeStatusEntries, statusListDest(&l), domain, n, millis(until))
	return l, err
}

func (t *tx) SetGrantStatus(ctx context.Context, grant string, e storage.StatusEntry) error {
	var expires time.Time
	err := t.row(ctx, setGrantStatus, []any{(*instant)(&expires)}, grant, entryNumber(e))
	if err == storage.ErrNotFound {
		return storage.ErrConflict
	} else if err != nil {
		return err
	}
	if expires.IsZero() { // never
		expires = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	_, err = t.exec(ctx, keepStatusList, e.List, millis(expires.Add(storage.StatusGrace)))
	return err
}
