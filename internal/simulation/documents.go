package simulation

import (
	"cmp"
	"context"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Documents that users signed.

func documentKey(d storage.SignedDocument) document { return document{d.Domain, d.User, d.Kind, d.Key} }

func byDocument(a, b storage.SignedDocument) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), compare(a.Domain, b.Domain), compare(a.User, b.User),
		compare(string(a.Kind), string(b.Kind)), compare(a.Key, b.Key))
}

func (r *reader) SignedDocument(
	ctx context.Context, domain, user string, kind storage.DocumentKind, key string,
) (storage.SignedDocument, error) {
	return read(ctx, r, "SignedDocument", func(s *state) (storage.SignedDocument, error) {
		return s.documents.get(document{domain, user, kind, key})
	})
}

func (r *reader) SignedDocuments(
	ctx context.Context, domain, user string, kind storage.DocumentKind, limit int,
) ([]storage.SignedDocument, error) {
	return list(ctx, r, "SignedDocuments", func(s *state) []storage.SignedDocument {
		return page(s.documents.where(func(d storage.SignedDocument) bool {
			return d.Domain == domain && d.User == user && d.Kind == kind
		}, byDocument), limit)
	})
}

func (r *reader) CountSignedDocuments(ctx context.Context, domain, user string, kind storage.DocumentKind, limit int) (int, error) {
	return list(ctx, r, "CountSignedDocuments", func(s *state) int {
		return s.documents.count(func(d storage.SignedDocument) bool {
			return d.Domain == domain && d.User == user && d.Kind == kind
		}, limit)
	})
}

func (r *reader) ProfileDocument(ctx context.Context, fingerprint string) (storage.SignedDocument, error) {
	return read(ctx, r, "ProfileDocument", func(s *state) (storage.SignedDocument, error) { return s.profile(fingerprint) })
}

// profile returns the profile with a fingerprint.
func (s *state) profile(fingerprint string) (storage.SignedDocument, error) {
	found := s.documents.where(func(d storage.SignedDocument) bool {
		return d.Kind == storage.DocumentProfile && d.Key == fingerprint
	}, byDocument)
	if len(found) == 0 {
		return storage.SignedDocument{}, storage.ErrNotFound
	}
	return found[0], nil
}

func (r *reader) PublicOpinions(
	ctx context.Context, subject, domain, user string, now time.Time, limit int,
) ([]storage.SignedDocument, error) {
	now = whole(now)
	return list(ctx, r, "PublicOpinions", func(s *state) []storage.SignedDocument {
		return page(s.documents.where(func(d storage.SignedDocument) bool {
			return d.Subject == subject && d.Public && (d.ExpiresAt.IsZero() || d.ExpiresAt.After(now)) &&
				(user == "" || d.Domain == domain && d.User == user)
		}, byDocument), limit)
	})
}

func (t *tx) PutSignedDocument(ctx context.Context, d storage.SignedDocument) error {
	return t.change(ctx, "PutSignedDocument", func(s *state) error {
		if d.Kind == storage.DocumentProfile {
			if held, err := s.profile(d.Key); err == nil && (held.Domain != d.Domain || held.User != d.User) {
				return storage.ErrConflict
			}
		}
		if _, err := s.users.get(pair{d.Domain, d.User}); err != nil {
			return err
		}
		d.CreatedAt, d.ChangedAt, d.ExpiresAt = whole(d.CreatedAt), whole(d.ChangedAt), whole(d.ExpiresAt)
		if former, ok := s.documents.find(documentKey(d)); ok && former.Subject == d.Subject {
			d.CreatedAt = former.CreatedAt
		}
		s.documents.put(documentKey(d), d)
		return nil
	})
}

func (t *tx) DeleteSignedDocument(ctx context.Context, domain, user string, kind storage.DocumentKind, key string) error {
	return t.change(ctx, "DeleteSignedDocument", func(s *state) error { return s.documents.remove(document{domain, user, kind, key}) })
}

func (t *tx) DeleteOpinions(ctx context.Context, subject string, limit int) (n int, err error) {
	err = t.change(ctx, "DeleteOpinions", func(s *state) error {
		n = 0
		for _, d := range page(s.documents.where(func(d storage.SignedDocument) bool {
			return d.Subject == subject && subject != ""
		}, byDocument), limit) {
			drop(&s.documents, documentKey(d))
			n++
		}
		return nil
	})
	return n, err
}
