package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// pageIDs are in byte order.
var pageIDs = []string{"-a", "A", "B", "a", "aa", "b", "~", "é", "\U0001F98A"}

// testDevicesByPages: pages of any size contain every device of a domain, or of one user, once, in the byte order of ids.
func testDevicesByPages(t *testing.T, s storage.Store) {
	stored := make(map[string]storage.Device)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for n, id := range slices.Backward(pageIDs) {
			here, abroad := device(id), device(id)
			here.ID, here.User, here.CreatedAt = id, owner(n), at.Add(time.Duration(n%3)*time.Hour)
			abroad.ID, abroad.User, abroad.Domain = id+"0", owner(n), "example.org"
			stored[id] = here
			if err := errors.Join(tx.InsertDevice(ctx, here), tx.InsertDevice(ctx, abroad)); err != nil {
				return err
			}
		}
		return nil
	})
	byPages(t, func(user, after string, limit int) (ids []string, err error) {
		page, err := s.DevicesAfter(t.Context(), domain, user, after, limit)
		for _, d := range page {
			if d != stored[d.ID] {
				t.Errorf("device = %+v, want %+v", d, stored[d.ID])
			}
			ids = append(ids, d.ID)
		}
		return ids, err
	})
}

// testStatementsByPages: pages of any size contain every statement of a domain, or about one user, once, in the byte order of JTIs,
// and show one that a withdrawal covers as withdrawn.
func testStatementsByPages(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		for n, jti := range slices.Backward(pageIDs) {
			here, abroad := statement(jti), statement(jti)
			here.JTI, here.User, here.CreatedAt = jti, owner(n), at.Add(time.Duration(n%3)*time.Hour)
			here.WithdrawnAt, here.WithdrawnReason, here.Gen = time.Time{}, "", 0
			abroad.JTI, abroad.User, abroad.Domain = jti+"0", owner(n), "example.org"
			if err := errors.Join(tx.InsertStatement(ctx, here), tx.InsertStatement(ctx, abroad)); err != nil {
				return err
			}
		}
		return tx.BeginWithdrawal(ctx, storage.Withdrawal{Domain: domain, User: owner(1), Below: 1, Reason: "test", At: at})
	})
	byPages(t, func(user, after string, limit int) (ids []string, err error) {
		page, err := s.StatementsAfter(t.Context(), domain, user, after, limit)
		for _, v := range page {
			if withdrawn := v.User == owner(1); v.WithdrawnAt.IsZero() == withdrawn || v.Domain != domain || len(v.Claims) == 0 {
				t.Errorf("statement = %+v, want it withdrawn: %v", v, withdrawn)
			}
			ids = append(ids, v.JTI)
		}
		return ids, err
	})
}

// owner returns the user to whom the nth id of pageIDs belongs.
func owner(n int) string {
	if n%2 == 0 {
		return "alice"
	}
	return "bob"
}

// byPages reads everything, and everything of one user, in pages of several sizes.
func byPages(t *testing.T, read func(user, after string, limit int) (ids []string, err error)) {
	t.Helper()
	of := map[string][]string{"": pageIDs}
	for n, id := range pageIDs {
		of[owner(n)] = append(of[owner(n)], id)
	}
	for user, want := range of {
		for _, limit := range []int{1, 2, 3, len(want), 100} {
			var got []string
			for after := ""; len(got) <= len(want); after = got[len(got)-1] {
				page, err := read(user, after, limit)
				if err != nil || len(page) > limit {
					t.Fatalf("a page of %d = %q, %v", limit, page, err)
				}
				if got = append(got, page...); len(page) < limit {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("pages of %d for user %q = %q, want %q", limit, user, got, want)
			}
		}
		for _, limit := range []int{0, -1} {
			if page, err := read(user, "", limit); err != nil || len(page) != 0 {
				t.Errorf("a page of %d = %q, %v, want none", limit, page, err)
			}
		}
	}
}
