package postgres

import (
	"context"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

const (
	selectClient    = "SELECT " + row.ClientColumns + " FROM clients WHERE id = $1"
	selectClients   = "SELECT " + row.ClientColumns + " FROM clients WHERE seq > $1 ORDER BY seq"
	countRegistered = "SELECT count(*) FROM clients WHERE registered_with = $1 AND registered_with <> '' AND removed_at = 0"

	insertClient = "INSERT INTO clients (" + row.ClientColumns + ") " +
		"VALUES ($1, nextval('client_numbers'), $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING RETURNING seq"
	updateClient = "UPDATE clients SET seq = nextval('client_numbers'), registration = $2, secret = $3, old_secret = $4, " +
		"old_until = $5, registered_with = $6, managed_by = $7, created_at = $8, removed_at = $9, removed_reason = $10 " +
		"WHERE id = $1 RETURNING seq"
)

func (r *reader) Client(ctx context.Context, id string) (storage.Client, error) {
	return one(ctx, r, selectClient, row.ClientDest, id)
}

func (r *reader) Clients(ctx context.Context, after int64) ([]storage.Client, error) {
	return all(ctx, r, selectClients, row.ClientDest, after)
}

func (r *reader) ClientsRegisteredWith(ctx context.Context, name string) (int, error) {
	return r.number(ctx, countRegistered, name)
}

func (t *tx) InsertClient(ctx context.Context, c storage.Client) error {
	return t.writeClient(ctx, insertClient, c, storage.ErrConflict)
}

func (t *tx) UpdateClient(ctx context.Context, c storage.Client) error {
	return t.writeClient(ctx, updateClient, c, storage.ErrNotFound)
}

// writeClient writes a client under a new number, or returns none if the statement wrote nothing.
func (t *tx) writeClient(ctx context.Context, sql string, c storage.Client, none error) error {
	var seq int64
	found, err := t.numbered(ctx, lockClients, Clients, sql, row.ClientArgs(c), []any{&seq})
	if err == nil && !found {
		return none
	}
	return err
}
