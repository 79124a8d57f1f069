package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// withUsers adds users.
func withUsers(t *testing.T, s storage.Store, names ...string) {
	t.Helper()
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for _, name := range names {
			if err := tx.InsertUser(ctx, user(name)); err != nil {
				return err
			}
		}
		return nil
	})
}

func putDocument(t *testing.T, s storage.Store, d storage.SignedDocument) error {
	t.Helper()
	return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.PutSignedDocument(ctx, d) })
}

func putDocuments(t *testing.T, s storage.Store, list ...storage.SignedDocument) {
	t.Helper()
	for _, d := range list {
		if err := putDocument(t, s, d); err != nil {
			t.Fatalf("PutSignedDocument(%+v) = %v, want nil", d, err)
		}
	}
}

// opinion returns an opinion of a user about a subject that is age minutes younger than others.
func opinion(name, key, subject string, age int, public bool) storage.SignedDocument {
	return storage.SignedDocument{Domain: domain, User: "user-" + name, Kind: storage.DocumentOpinion, Key: key, Subject: subject,
		Public: public, Content: "eyJ." + name + key, CreatedAt: at.Add(time.Duration(age) * time.Minute), ChangedAt: at.Add(time.Hour),
		ExpiresAt: at.Add(24 * time.Hour)}
}

// profile returns a profile of a user with a fingerprint.
func profile(name, fingerprint string) storage.SignedDocument {
	return storage.SignedDocument{Domain: domain, User: "user-" + name, Kind: storage.DocumentProfile, Key: fingerprint,
		Content: "eyJ." + name, CreatedAt: at, ChangedAt: at}
}

// contents returns the contents of documents.
func contents(list []storage.SignedDocument) string {
	var texts []string
	for _, d := range list {
		texts = append(texts, d.Content)
	}
	return strings.Join(texts, " ")
}

func testSignedDocumentsAreReplaced(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice")
	first := signedDocument("alice")
	first.Subject = "somebody"
	second := first
	second.Seq, second.Content, second.CreatedAt, second.ChangedAt = 8, "second", at.Add(time.Hour), at.Add(time.Hour)
	second.ExpiresAt, second.Public = time.Time{}, true
	putDocuments(t, s, first, second)
	second.CreatedAt = first.CreatedAt
	got, err := s.SignedDocument(t.Context(), domain, first.User, first.Kind, "")
	if err != nil || !reflect.DeepEqual(got, second) {
		t.Errorf("SignedDocument = %+v, %v, want %+v", got, err, second)
	}
	third := second
	third.Subject, third.CreatedAt = "somebody else", at.Add(2*time.Hour)
	putDocuments(t, s, third)
	if got, err := s.SignedDocument(t.Context(), domain, first.User, first.Kind, ""); err != nil || !reflect.DeepEqual(got, third) {
		t.Errorf("SignedDocument about another subject = %+v, %v, want %+v", got, err, third)
	}
	remove := func(ctx context.Context, tx storage.Tx) error {
		return tx.DeleteSignedDocument(ctx, domain, first.User, first.Kind, "")
	}
	write(t, s, remove)
	if err := s.Update(t.Context(), remove); err != storage.ErrNotFound {
		t.Errorf("the second DeleteSignedDocument = %v, want %v", err, storage.ErrNotFound)
	}
	nobodys := signedDocument("nobody")
	if err := putDocument(t, s, nobodys); err != storage.ErrNotFound {
		t.Errorf("PutSignedDocument of no user = %v, want %v", err, storage.ErrNotFound)
	}
}

func testSignedDocumentsOfAUser(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice", "bob")
	putDocuments(t, s, signedDocument("alice"), opinion("alice", "b", "x", 1, false), opinion("alice", "a", "x", 1, true),
		opinion("alice", "c", "y", 0, false), opinion("bob", "d", "x", 0, true))
	for limit, want := range map[int]string{
		-1: "", 0: "", 1: "eyJ.alicec", 2: "eyJ.alicec eyJ.alicea", 9: "eyJ.alicec eyJ.alicea eyJ.aliceb",
	} {
		got, err := s.SignedDocuments(t.Context(), domain, "user-alice", storage.DocumentOpinion, limit)
		if err != nil || contents(got) != want {
			t.Errorf("SignedDocuments(%d) = %q, %v, want %q", limit, contents(got), err, want)
		}
		n, err := s.CountSignedDocuments(t.Context(), domain, "user-alice", storage.DocumentOpinion, limit)
		if err != nil || n != len(got) {
			t.Errorf("CountSignedDocuments(%d) = %d, %v, want %d", limit, n, err, len(got))
		}
	}
	if got, err := s.SignedDocuments(t.Context(), "example.org", "user-alice", storage.DocumentOpinion, 9); err != nil || len(got) > 0 {
		t.Errorf("SignedDocuments of another domain = %v, %v, want none", got, err)
	}
}

// Of writers that each replace the document that they have read, one wins in each round.
func testSignedDocumentsAreChangedOnceInParallel(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice")
	older := errors.New("not newer")
	for seq := int64(1); seq <= 3; seq++ {
		errs := race(8, func(i int) error {
			return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				d := signedDocument("alice")
				switch there, err := tx.SignedDocument(ctx, d.Domain, d.User, d.Kind, d.Key); {
				case err == nil && there.Seq >= seq:
					return older
				case err != nil && err != storage.ErrNotFound:
					return err
				}
				d.Seq, d.Content = seq, fmt.Sprint(i)
				return tx.PutSignedDocument(ctx, d)
			})
		})
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if (err == nil) != (i == winner) || err != nil && err != older {
				t.Errorf("writer %d of %d: %v, and %d has won", i, seq, err, winner)
			}
		}
		d, err := s.SignedDocument(t.Context(), domain, "user-alice", storage.DocumentKeys, "")
		if err != nil || d.Content != fmt.Sprint(winner) {
			t.Errorf("SignedDocument = %q, %v, want that of %d", d.Content, err, winner)
		}
	}
}

func testSignedDocumentsGoWithTheirUser(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice", "bob")
	putDocuments(t, s, signedDocument("alice"), opinion("alice", "a", "x", 0, true), profile("alice", "F"), signedDocument("bob"))
	shown := func() (rows []string) {
		t.Helper()
		records, err := s.PersonalRecords(t.Context(), domain, "user-alice")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if r.Name == "signed_documents" {
				rows = r.Rows
			}
		}
		return rows
	}
	if rows := shown(); len(rows) != 3 || !strings.Contains(strings.Join(rows, ""), "eyJ.alicea") {
		t.Errorf("PersonalRecords has %q, want the three documents", rows)
	}
	removal := storage.Removal{Domain: domain, User: "user-alice", At: at}
	write(t, s, func(ctx context.Context, tx storage.Tx) error { return tx.BeginRemoval(ctx, removal) })
	if err := putDocument(t, s, signedDocument("alice")); err != storage.ErrNotFound {
		t.Errorf("PutSignedDocument of a user who is being removed = %v, want %v", err, storage.ErrNotFound)
	}
	for more := true; more; {
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			more, err = tx.ContinueRemoval(ctx, removal, 1)
			return err
		})
	}
	if rows := shown(); len(rows) != 0 {
		t.Errorf("PersonalRecords after a removal has %q, want nothing", rows)
	}
	if _, err := s.SignedDocument(t.Context(), domain, "user-bob", storage.DocumentKeys, ""); err != nil {
		t.Errorf("SignedDocument of another user = %v, want nil", err)
	}
}

func testOpinions(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice", "bob", "carol")
	over := opinion("carol", "over", "x", 0, true)
	over.ExpiresAt = at.Add(2 * time.Hour)
	endless := opinion("carol", "endless", "x", 3, true)
	endless.ExpiresAt = time.Time{}
	putDocuments(t, s, opinion("alice", "1", "x", 2, true), opinion("alice", "2", "x", 0, false), opinion("alice", "3", "y", 0, true),
		opinion("bob", "1", "x", 1, true), over, endless)
	for _, test := range []struct {
		subject, user string
		now           time.Time
		limit         int
		want          string
	}{
		{"x", "", at.Add(2*time.Hour - 1), 9, "eyJ.carolover eyJ.bob1 eyJ.alice1 eyJ.carolendless"},
		{"x", "", at.Add(2 * time.Hour), 9, "eyJ.bob1 eyJ.alice1 eyJ.carolendless"},
		{"x", "", at.Add(48 * time.Hour), 9, "eyJ.carolendless"},
		{"x", "", at.Add(2 * time.Hour), 2, "eyJ.bob1 eyJ.alice1"},
		{"x", "", at, 0, ""},
		{"x", "user-alice", at, 9, "eyJ.alice1"},
		{"y", "user-alice", at, 9, "eyJ.alice3"},
		{"y", "user-bob", at, 9, ""},
		{"", "", at, 9, ""},
		{"", "user-alice", at, 9, ""},
	} {
		got, err := s.PublicOpinions(t.Context(), test.subject, domain, test.user, test.now, test.limit)
		if err != nil || contents(got) != test.want {
			t.Errorf("PublicOpinions(%q, %q, %v, %d) = %q, %v, want %q", test.subject, test.user, test.now, test.limit, contents(got), err,
				test.want)
		}
	}
	if got, err := s.PublicOpinions(t.Context(), "x", "example.org", "user-alice", at, 9); err != nil || len(got) > 0 {
		t.Errorf("PublicOpinions by a user of another domain = %v, %v, want none", got, err)
	}
}

func testOpinionsAboutAUserAreDeleted(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice", "bob")
	putDocuments(t, s, signedDocument("alice"), opinion("alice", "1", "x", 0, true), opinion("alice", "2", "x", 0, false),
		opinion("bob", "1", "x", 0, false), opinion("bob", "2", "y", 0, true))
	for _, test := range []struct {
		subject string
		limit   int
		want    int
	}{{"x", 2, 2}, {"x", 2, 1}, {"x", 2, 0}, {"", 9, 0}, {"y", 0, 0}} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			n, err := tx.DeleteOpinions(ctx, test.subject, test.limit)
			if err == nil && n != test.want {
				t.Errorf("DeleteOpinions(%q, %d) = %d, want %d", test.subject, test.limit, n, test.want)
			}
			return err
		})
	}
	got, err := s.SignedDocuments(t.Context(), domain, "user-bob", storage.DocumentOpinion, 9)
	if err != nil || contents(got) != "eyJ.bob2" {
		t.Errorf("SignedDocuments = %q, %v, want the opinion about another subject", contents(got), err)
	}
	if _, err := s.SignedDocument(t.Context(), domain, "user-alice", storage.DocumentKeys, ""); err != nil {
		t.Errorf("SignedDocument = %v, want nil", err)
	}
}

func testProfilesByFingerprint(t *testing.T, s storage.Store) {
	withUsers(t, s, "alice", "bob")
	alices := profile("alice", "F")
	putDocuments(t, s, alices, profile("alice", "G"), profile("bob", "H"), opinion("bob", "F", "x", 0, true))
	if got, err := s.ProfileDocument(t.Context(), "F"); err != nil || !reflect.DeepEqual(got, alices) {
		t.Errorf("ProfileDocument = %+v, %v, want %+v", got, err, alices)
	}
	if _, err := s.ProfileDocument(t.Context(), "nobody"); err != storage.ErrNotFound {
		t.Errorf("ProfileDocument = %v, want %v", err, storage.ErrNotFound)
	}
	if err := putDocument(t, s, profile("bob", "F")); err != storage.ErrConflict {
		t.Errorf("PutSignedDocument with the fingerprint of another user = %v, want %v", err, storage.ErrConflict)
	}
	alices.Content = "changed"
	putDocuments(t, s, alices)
	errs := race(2, func(i int) error { return putDocument(t, s, profile([]string{"alice", "bob"}[i], "new")) })
	if (errs[0] == nil) == (errs[1] == nil) || errors.Join(errs...) != nil && !errors.Is(errors.Join(errs...), storage.ErrConflict) {
		t.Errorf("two users put a profile with one fingerprint: %v, want one conflict", errs)
	}
}
