package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectUpstreamToken = "SELECT " + row.UpstreamTokenColumns + " FROM upstream_tokens WHERE id = $1"
	insertUpstreamToken = insertInto("upstream_tokens", row.UpstreamTokenColumns)
	updateUpstreamToken = "UPDATE upstream_tokens SET sealed = $3, state = $4, checked_at = $5, retry_at = $6, number = number + 1 " +
		"WHERE id = $1 AND number = $2"
	deleteUpstreamToken = "DELETE FROM upstream_tokens WHERE id = $1"
	endUpstreamGrants   = "UPDATE grants SET ended_at = $2, ended_reason = $3 WHERE upstream_token = $1 AND upstream_token <> '' " +
		"AND ended_at = 0 RETURNING " + row.GrantColumns
	dropUpstreamCodes = "DELETE FROM codes WHERE upstream_token = $1 AND upstream_token <> '' AND spent_at = 0"
	// A device code without a decision names no token.
	dropUpstreamDevices  = "DELETE FROM device_codes WHERE upstream_token = $1 AND upstream_token <> '' AND spent_at = 0"
	dropUpstreamBrowsers = "DELETE FROM browser_sessions WHERE upstream_token = $1 AND upstream_token <> ''"
)

func (r *reader) UpstreamToken(ctx context.Context, id string) (storage.UpstreamToken, error) {
	return one(ctx, r, selectUpstreamToken, row.UpstreamTokenDest, id)
}

func (t *tx) InsertUpstreamToken(ctx context.Context, u storage.UpstreamToken) error {
	return t.insert(ctx, insertUpstreamToken, row.UpstreamTokenArgs(u))
}

func (t *tx) UpdateUpstreamToken(ctx context.Context, u storage.UpstreamToken) error {
	n, err := t.exec(ctx, updateUpstreamToken, u.ID, u.Number, u.Sealed, int64(u.State), row.Millis(u.CheckedAt), row.Millis(u.RetryAt))
	if err == nil && n == 0 {
		return storage.ErrConflict
	}
	return err
}

func (t *tx) EndUpstreamToken(ctx context.Context, id string, at time.Time, reason string) (ended []storage.Grant, err error) {
	if id == "" {
		return nil, nil
	}
	if ended, err = all(ctx, &t.reader, endUpstreamGrants, row.GrantDest, id, row.Millis(at), reason); err != nil {
		return nil, err
	}
	for _, sql := range []string{dropUpstreamCodes, dropUpstreamDevices, dropUpstreamBrowsers, deleteUpstreamToken} {
		if _, err := t.exec(ctx, sql, id); err != nil {
			return nil, err
		}
	}
	return ended, nil
}
