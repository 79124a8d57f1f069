package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

// Rows are never deleted, so the highest number is that of a row.
var (
	selectClient  = statement("SELECT " + row.ClientColumns + " FROM clients WHERE id = ?")
	selectClients = statement("SELECT " + row.ClientColumns + " FROM clients WHERE seq > ? ORDER BY seq")
	insertClient  = statement("INSERT INTO clients (" + row.ClientColumns + ") " +
		"VALUES (?, (SELECT ifnull(max(seq), 0) + 1 FROM clients), ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	updateClient = statement("UPDATE clients SET seq = (SELECT max(seq) + 1 FROM clients), registration = ?2, secret = ?3, " +
		"old_secret = ?4, old_until = ?5, registered_with = ?6, managed_by = ?7, created_at = ?8, removed_at = ?9, removed_reason = ?10 " +
		"WHERE id = ?1")
	countRegistered = statement("SELECT count(*) FROM clients WHERE registered_with = ? AND removed_at = 0")
	endClientGrants = statement("UPDATE grants SET ended_at = ?2, ended_reason = ?3 " +
		"WHERE client = ?1 AND ended_at = 0 RETURNING id")
)

func (r *reader) Client(ctx context.Context, id string) (c storage.Client, err error) {
	err = r.row(ctx, selectClient, row.ClientDest(&c), id)
	return c, err
}

func (r *reader) Clients(ctx context.Context, after int64) (list []storage.Client, err error) {
	err = r.rows(ctx, selectClients, func() []any {
		list = append(list, storage.Client{})
		return row.ClientDest(&list[len(list)-1])
	}, after)
	return list, err
}

func (r *reader) ClientsRegisteredWith(ctx context.Context, name string) (n int, err error) {
	err = r.row(ctx, countRegistered, []any{&n}, name)
	return n, err
}

func (t *tx) InsertClient(ctx context.Context, c storage.Client) error {
	return t.insert(ctx, insertClient, row.ClientArgs(c))
}

func (t *tx) UpdateClient(ctx context.Context, c storage.Client) error {
	return t.one(ctx, updateClient, row.ClientArgs(c)...)
}

func (t *tx) EndClientGrants(ctx context.Context, client string, at time.Time, reason string) (ended []string, err error) {
	next := func() []any {
		ended = append(ended, "")
		return []any{&ended[len(ended)-1]}
	}
	err = t.rows(ctx, endClientGrants, next, client, row.Millis(at), reason)
	return ended, err
}
