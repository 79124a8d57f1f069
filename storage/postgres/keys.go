package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

const (
	selectNewest = "SELECT newest FROM clock"
	upsertNewest = "INSERT INTO clock (id, newest) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET newest = excluded.newest"
	selectSecret = "SELECT sealed FROM secrets WHERE name = $1"
	upsertSecret = "INSERT INTO secrets (name, sealed) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed"

	selectSecrets = "SELECT name, sealed FROM secrets ORDER BY name"
	deleteSecret  = "DELETE FROM secrets WHERE name = $1"

	selectSigningKeys = "SELECT " + row.SigningKeyColumns + " FROM signing_keys ORDER BY created_at, n"

	countWaiting = "SELECT (SELECT count(*) FROM logins) + (SELECT count(*) FROM pushed) + (SELECT count(*) FROM device_codes)"
)

var (
	insertSigningKey = insertInto("signing_keys", row.SigningKeyColumns)
	updateSigningKey = updateOf("signing_keys", row.SigningKeyColumns, 1, "")
)

func (r *reader) Newest(ctx context.Context) (at time.Time, err error) {
	err = r.row(ctx, selectNewest, []any{(*row.Instant)(&at)})
	if err == storage.ErrNotFound {
		return time.Time{}, nil
	}
	return at, err
}

func (t *tx) SetNewest(ctx context.Context, at time.Time) error {
	_, err := t.exec(ctx, upsertNewest, row.Millis(at))
	return err
}

func (r *reader) Waiting(ctx context.Context) (int, error) { return r.number(ctx, countWaiting) }

func (r *reader) Secret(ctx context.Context, name string) (sealed []byte, err error) {
	err = r.row(ctx, selectSecret, []any{&sealed}, name)
	return sealed, err
}

func (r *reader) Secrets(ctx context.Context) ([]storage.Secret, error) {
	return all(ctx, r, selectSecrets, func(s *storage.Secret) []any { return []any{&s.Name, &s.Sealed} })
}

func (t *tx) DeleteSecret(ctx context.Context, name string) error {
	return t.must(ctx, deleteSecret, name)
}

func (t *tx) PutSecret(ctx context.Context, name string, sealed []byte) error {
	_, err := t.exec(ctx, upsertSecret, name, sealed)
	return err
}

func (r *reader) SigningKeys(ctx context.Context) ([]storage.SigningKey, error) {
	return all(ctx, r, selectSigningKeys, row.SigningKeyDest)
}

func (t *tx) InsertSigningKey(ctx context.Context, k storage.SigningKey) error {
	if err := t.insert(ctx, insertSigningKey, row.SigningKeyArgs(k)); err != nil {
		return err
	}
	return t.announce(ctx, SigningKeys)
}

func (t *tx) UpdateSigningKey(ctx context.Context, k storage.SigningKey) error {
	if err := t.must(ctx, updateSigningKey, row.SigningKeyArgs(k)...); err != nil {
		return err
	}
	return t.announce(ctx, SigningKeys)
}
