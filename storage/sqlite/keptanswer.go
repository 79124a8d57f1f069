package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectKept = statement("SELECT " + row.KeptColumns + " FROM kept_answers WHERE key = ?")
	dropKept   = statement("DELETE FROM kept_answers WHERE key = ?1 AND expires_at <= ?2")
	insertKept = insert("kept_answers", row.KeptColumns)
	fillKept   = statement("UPDATE kept_answers SET answer = ?2 WHERE key = ?1")
)

func (r *reader) KeptAnswer(ctx context.Context, key [32]byte) (a storage.KeptAnswer, err error) {
	err = r.row(ctx, selectKept, []any{(*row.Digest)(&a.Key), (*row.Digest)(&a.Request), &a.Answer, (*row.Instant)(&a.ExpiresAt)}, key[:])
	return a, err
}

func (t *tx) KeepAnswer(ctx context.Context, a storage.KeptAnswer, now time.Time) error {
	if _, err := t.exec(ctx, dropKept, a.Key[:], row.Millis(now)); err != nil {
		return err
	}
	answer := a.Answer
	if answer == nil {
		answer = []byte{}
	}
	return t.insert(ctx, insertKept, []any{a.Key[:], a.Request[:], answer, row.Millis(a.ExpiresAt)})
}

func (t *tx) FillAnswer(ctx context.Context, key [32]byte, answer []byte) error {
	return t.one(ctx, fillKept, key[:], answer)
}
