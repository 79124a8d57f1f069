package postgres

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

const (
	selectSignedDocument = "SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE domain = $1 AND user_id = $2 AND kind = $3 AND key = $4"
	// The rows of one user, which are not many.
	selectSignedDocuments = "SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE domain = $1 AND user_id = $2 AND kind = $3 ORDER BY created_at, key LIMIT $4"
	countSignedDocuments = "SELECT count(*) FROM (SELECT 1 FROM signed_documents " +
		"WHERE domain = $1 AND user_id = $2 AND kind = $3 LIMIT $4) few"
	selectProfile = "SELECT " + row.SignedDocumentColumns + " FROM signed_documents WHERE kind = 'profile' AND key = $1 " +
		"ORDER BY created_at LIMIT 1"
	selectOpinions = "SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE subject = $1 AND public AND (expires_at = 0 OR expires_at > $2) ORDER BY created_at, domain, user_id, key LIMIT $3"
	selectUserOpinions = "SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE subject = $1 AND subject <> '' AND domain = $4 AND user_id = $5 AND public " +
		"AND (expires_at = 0 OR expires_at > $2) ORDER BY created_at, key LIMIT $3"

	// The columns are those of row.SignedDocumentColumns, in their order. A user has one profile for each fingerprint, and no two users
	// have one with the same.
	putSignedDocument = "INSERT INTO signed_documents (" + row.SignedDocumentColumns + ") " +
		"SELECT $1, $2, $3, $4, $5::bigint, $6, $7::boolean, $8, $9::bigint, $10::bigint, $11::bigint " +
		"WHERE EXISTS (SELECT 1 FROM users WHERE domain = $1 AND id = $2) " +
		"ON CONFLICT (domain, user_id, kind, key) DO UPDATE SET seq = excluded.seq, subject = excluded.subject, " +
		"created_at = CASE signed_documents.subject WHEN excluded.subject THEN signed_documents.created_at ELSE excluded.created_at END, " +
		"public = excluded.public, content = excluded.content, changed_at = excluded.changed_at, expires_at = excluded.expires_at"
	deleteSignedDocument = "DELETE FROM signed_documents WHERE domain = $1 AND user_id = $2 AND kind = $3 AND key = $4"
	deleteOpinions       = "DELETE FROM signed_documents WHERE (domain, user_id, kind, key) IN (SELECT domain, user_id, kind, key " +
		"FROM signed_documents WHERE subject = $1 AND subject <> '' LIMIT $2)"
)

func (r *reader) SignedDocument(
	ctx context.Context, domain, user string, kind storage.DocumentKind, key string,
) (storage.SignedDocument, error) {
	return one(ctx, r, selectSignedDocument, row.SignedDocumentDest, domain, user, string(kind), key)
}

func (r *reader) SignedDocuments(
	ctx context.Context, domain, user string, kind storage.DocumentKind, limit int,
) ([]storage.SignedDocument, error) {
	return all(ctx, r, selectSignedDocuments, row.SignedDocumentDest, domain, user, string(kind), max(limit, 0))
}

func (r *reader) CountSignedDocuments(ctx context.Context, domain, user string, kind storage.DocumentKind, limit int) (int, error) {
	return r.number(ctx, countSignedDocuments, domain, user, string(kind), max(limit, 0))
}

func (r *reader) ProfileDocument(ctx context.Context, fingerprint string) (storage.SignedDocument, error) {
	return one(ctx, r, selectProfile, row.SignedDocumentDest, fingerprint)
}

func (r *reader) PublicOpinions(
	ctx context.Context, subject, domain, user string, now time.Time, limit int,
) ([]storage.SignedDocument, error) {
	if limit = max(limit, 0); user == "" {
		return all(ctx, r, selectOpinions, row.SignedDocumentDest, subject, row.Millis(now), limit)
	}
	return all(ctx, r, selectUserOpinions, row.SignedDocumentDest, subject, row.Millis(now), limit, domain, user)
}

func (t *tx) PutSignedDocument(ctx context.Context, d storage.SignedDocument) error {
	if d.Kind == storage.DocumentProfile { // serializable transactions keep another user from adding one at the same time
		switch held, err := t.ProfileDocument(ctx, d.Key); {
		case err == nil && (held.Domain != d.Domain || held.User != d.User):
			return storage.ErrConflict
		case err != nil && err != storage.ErrNotFound:
			return err
		}
	}
	n, err := t.exec(ctx, putSignedDocument, row.SignedDocumentArgs(d)...)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

func (t *tx) DeleteSignedDocument(ctx context.Context, domain, user string, kind storage.DocumentKind, key string) error {
	n, err := t.exec(ctx, deleteSignedDocument, domain, user, string(kind), key)
	if err == nil && n == 0 {
		return storage.ErrNotFound
	}
	return err
}

func (t *tx) DeleteOpinions(ctx context.Context, subject string, limit int) (int, error) {
	n, err := t.exec(ctx, deleteOpinions, subject, max(limit, 0))
	return int(n), err
}
