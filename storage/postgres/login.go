package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectCode = "SELECT " + row.CodeColumns + " FROM codes WHERE hash = $1"
	insertCode = insertInto("codes", row.CodeColumns)
	spendCode  = "UPDATE codes SET spent_at = $2, grant_id = $3 WHERE hash = $1 AND spent_at = 0"

	selectLogin = "SELECT " + row.LoginColumns + " FROM logins WHERE state = $1"
	insertLogin = insertInto("logins", row.LoginColumns)
	takeLogin   = "DELETE FROM logins WHERE state = $1 RETURNING " + row.LoginColumns

	selectPushed = "SELECT " + row.PushedColumns + " FROM pushed WHERE uri = $1"
	insertPushed = insertInto("pushed", row.PushedColumns)
	takePushed   = "DELETE FROM pushed WHERE uri = $1"

	insertSpentID = insertInto("spent_ids", "kind, key, expires_at")
)

func (r *reader) Code(ctx context.Context, hash [32]byte) (storage.Code, error) {
	return one(ctx, r, selectCode, row.CodeDest, hash[:])
}

func (t *tx) InsertCode(ctx context.Context, c storage.Code) error {
	return t.insert(ctx, insertCode, row.CodeArgs(c))
}

func (t *tx) SpendCode(ctx context.Context, hash [32]byte, at time.Time, grant string) error {
	return t.change(ctx, func() error { _, err := t.Code(ctx, hash); return err }, spendCode, hash[:], row.Millis(at), grant)
}

func (r *reader) Login(ctx context.Context, state [32]byte) (storage.Login, error) {
	return one(ctx, r, selectLogin, row.LoginDest, state[:])
}

func (t *tx) InsertLogin(ctx context.Context, l storage.Login) error {
	return t.insert(ctx, insertLogin, row.LoginArgs(l))
}

func (t *tx) TakeLogin(ctx context.Context, state [32]byte) (storage.Login, error) {
	return one(ctx, &t.reader, takeLogin, row.LoginDest, state[:])
}

func (r *reader) Pushed(ctx context.Context, uri [32]byte) (storage.Pushed, error) {
	return one(ctx, r, selectPushed, row.PushedDest, uri[:])
}

func (t *tx) InsertPushed(ctx context.Context, p storage.Pushed) error {
	return t.insert(ctx, insertPushed, row.PushedArgs(p))
}

func (t *tx) TakePushed(ctx context.Context, uri [32]byte) error {
	return t.must(ctx, takePushed, uri[:])
}

func (t *tx) SpendID(ctx context.Context, kind string, key [32]byte, until time.Time) error {
	return t.insert(ctx, insertSpentID, []any{kind, key[:], row.Millis(until)})
}
