package sqlite

import (
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/internal/row"
)

var (
	selectSignedDocument = statement("SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE domain = ? AND user_id = ? AND kind = ? AND key = ?")
	// The rows of one user, which are not many.
	selectSignedDocuments = statement("SELECT " + row.SignedDocumentColumns + " FROM signed_documents " +
		"WHERE domain = ? AND user_id = ? AND kind = ? ORDER BY created_at, key LIMIT ?")
	countSignedDocuments = statement("SELECT count(*) FROM (SELECT 1 FROM signed_documents " +
		"WHERE domain = ? AND user_id = ? AND kind = ? LIMIT ?)")
	selectProfile = statement("SELECT " + row.SignedDocumentColumns + " FROM signed_documents INDEXED BY signed_documents_profile " +
		"WHERE kind = 'profile' AND key = ? LIMIT 1")
	selectOpinions = statement("SELECT " + row.SignedDocumentColumns + " FROM signed_documents INDEXED BY signed_documents_public " +
		"WHERE subject = ?1 AND public <> 0 AND (expires_at = 0 OR expires_at > ?2) ORDER BY created_at, domain, user_id, key LIMIT ?3")
	selectUserOpinions = statement("SELECT " + row.SignedDocumentColumns + " FROM signed_documents INDEXED BY signed_documents_subject " +
		"WHERE subject = ?1 AND subject <> '' AND domain = ?4 AND user_id = ?5 AND public <> 0 " +
		"AND (expires_at = 0 OR expires_at > ?2) ORDER BY created_at, key LIMIT ?3")

	// The columns are those of row.SignedDocumentColumns, in their order. A user has one profile for each fingerprint, and no two users
	// have one with the same.
	putSignedDocument = statement("INSERT INTO signed_documents (" + row.SignedDocumentColumns + ") " +
		"SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11 WHERE EXISTS (SELECT 1 FROM users WHERE domain = ?1 AND id = ?2) " +
		"ON CONFLICT (domain, user_id, kind, key) DO UPDATE SET seq = excluded.seq, subject = excluded.subject, " +
		"created_at = CASE signed_documents.subject WHEN excluded.subject THEN signed_documents.created_at ELSE excluded.created_at END, " +
		"public = excluded.public, content = excluded.content, changed_at = excluded.changed_at, expires_at = excluded.expires_at")
	deleteSignedDocument = statement("DELETE FROM signed_documents WHERE domain = ? AND user_id = ? AND kind = ? AND key = ?")
	deleteOpinions       = statement("DELETE FROM signed_documents WHERE rowid IN (SELECT rowid FROM signed_documents " +
		"INDEXED BY signed_documents_subject WHERE subject = ?1 AND subject <> '' LIMIT ?2)")
)

func (r *reader) SignedDocument(
	ctx context.Context, domain, user string, kind storage.DocumentKind, key string,
) (d storage.SignedDocument, err error) {
	err = r.row(ctx, selectSignedDocument, row.SignedDocumentDest(&d), domain, user, string(kind), key)
	return d, err
}

func (r *reader) SignedDocuments(
	ctx context.Context, domain, user string, kind storage.DocumentKind, limit int,
) ([]storage.SignedDocument, error) {
	return r.signedDocuments(ctx, selectSignedDocuments, domain, user, string(kind), max(limit, 0))
}

func (r *reader) signedDocuments(ctx context.Context, s int, args ...any) (list []storage.SignedDocument, err error) {
	err = r.rows(ctx, s, func() []any {
		list = append(list, storage.SignedDocument{})
		return row.SignedDocumentDest(&list[len(list)-1])
	}, args...)
	return list, err
}

func (r *reader) CountSignedDocuments(
	ctx context.Context, domain, user string, kind storage.DocumentKind, limit int,
) (n int, err error) {
	err = r.row(ctx, countSignedDocuments, []any{&n}, domain, user, string(kind), max(limit, 0))
	return n, err
}

func (r *reader) ProfileDocument(ctx context.Context, fingerprint string) (d storage.SignedDocument, err error) {
	err = r.row(ctx, selectProfile, row.SignedDocumentDest(&d), fingerprint)
	return d, err
}

func (r *reader) PublicOpinions(
	ctx context.Context, subject, domain, user string, now time.Time, limit int,
) ([]storage.SignedDocument, error) {
	if limit = max(limit, 0); user == "" { // SQLite takes a negative limit for none
		return r.signedDocuments(ctx, selectOpinions, subject, row.Millis(now), limit)
	}
	return r.signedDocuments(ctx, selectUserOpinions, subject, row.Millis(now), limit, domain, user)
}

func (t *tx) PutSignedDocument(ctx context.Context, d storage.SignedDocument) error {
	if d.Kind == storage.DocumentProfile {
		switch held, err := t.ProfileDocument(ctx, d.Key); {
		case err == nil && (held.Domain != d.Domain || held.User != d.User):
			return storage.ErrConflict
		case err != nil && err != storage.ErrNotFound:
			return err
		}
	}
	return t.one(ctx, putSignedDocument, row.SignedDocumentArgs(d)...)
}

func (t *tx) DeleteSignedDocument(ctx context.Context, domain, user string, kind storage.DocumentKind, key string) error {
	return t.one(ctx, deleteSignedDocument, domain, user, string(kind), key)
}

func (t *tx) DeleteOpinions(ctx context.Context, subject string, limit int) (int, error) {
	n, err := t.exec(ctx, deleteOpinions, subject, max(limit, 0))
	return int(n), err
}
