package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectUpstreamToken = statement("SELECT " + row.UpstreamTokenColumns + " FROM upstream_tokens WHERE id = ?")
	insertUpstreamToken = insert("upstream_tokens", row.UpstreamTokenColumns)
	updateUpstreamToken = statement("UPDATE upstream_tokens SET sealed = ?3, state = ?4, checked_at = ?5, retry_at = ?6, " +
		"number = number + 1 WHERE id = ?1 AND number = ?2")
	deleteUpstreamToken = statement("DELETE FROM upstream_tokens WHERE id = ?")
	endUpstreamGrants   = statement("UPDATE grants SET ended_at = ?2, ended_reason = ?3 WHERE upstream_token = ?1 " +
		"AND upstream_token <> '' AND ended_at = 0 RETURNING " + row.GrantColumns)
	dropUpstreamCodes = statement("DELETE FROM codes WHERE upstream_token = ?1 AND upstream_token <> '' AND spent_at = 0")
	// A device code without a decision names no token.
	dropUpstreamDevices  = statement("DELETE FROM device_codes WHERE upstream_token = ?1 AND upstream_token <> '' AND spent_at = 0")
	dropUpstreamBrowsers = statement("DELETE FROM browser_sessions WHERE upstream_token = ?1 AND upstream_token <> ''")
)

func (r *reader) UpstreamToken(ctx context.Context, id string) (u storage.UpstreamToken, err error) {
	err = r.row(ctx, selectUpstreamToken, row.UpstreamTokenDest(&u), id)
	return u, err
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
	next := func() []any {
		ended = append(ended, storage.Grant{})
		return row.GrantDest(&ended[len(ended)-1])
	}
	if err := t.rows(ctx, endUpstreamGrants, next, id, row.Millis(at), reason); err != nil {
		return nil, err
	}
	for _, s := range []int{dropUpstreamCodes, dropUpstreamDevices, dropUpstreamBrowsers, deleteUpstreamToken} {
		if _, err := t.exec(ctx, s, id); err != nil {
			return nil, err
		}
	}
	return ended, nil
}
