package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// A text is found in ids, handles also of the past, subjects at providers, and names and ids of devices, in any ASCII case, and only in
// the domain. Pages of any size contain each user once.
func testSearchUsers(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		u, l, n, d, bob, abroad := user("alice"), link("alice"), nameOf("alice"), device("alice"), user("bob"), user("alice")
		l.Subject, n.Local, d.Name, abroad.Domain = "SUBJECT-42", "old-handle", "Kitchen Tablet", "example.org"
		return errors.Join(tx.InsertUser(ctx, u), tx.InsertLink(ctx, l), tx.InsertName(ctx, n), tx.InsertDevice(ctx, d),
			tx.InsertUser(ctx, bob), tx.InsertLink(ctx, link("bob")), tx.InsertName(ctx, nameOf("bob")), tx.InsertUser(ctx, abroad))
	})
	for text, want := range map[string]storage.FoundUser{
		"r-alic":     {InID: true, InDevice: false},
		"old-h":      {InHandle: true},
		"subject-42": {InSubject: true},
		"kitchen t":  {InDevice: true},
		"device-al":  {InDevice: true},
	} {
		got, err := s.SearchUsers(t.Context(), domain, text, "", 10)
		want.User = user("alice")
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("SearchUsers %q = %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"nobody", "%", "_", "' OR 1=1", "\x00"} {
		if got, err := s.SearchUsers(t.Context(), domain, text, "", 10); err != nil || len(got) != 0 {
			t.Errorf("SearchUsers %q = %+v, %v, want none", text, got, err)
		}
	}
	for _, limit := range []int{1, 2, 10} {
		var ids []string
		for after := ""; ; after = ids[len(ids)-1] {
			page, err := s.SearchUsers(t.Context(), domain, "user-", after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("SearchUsers = %d users, %v, want %d at most", len(page), err, limit)
			}
			for _, f := range page {
				ids = append(ids, f.ID)
			}
			if len(page) < limit {
				break
			}
		}
		if !slices.Equal(ids, []string{"user-alice", "user-bob"}) {
			t.Errorf("ids in pages of %d = %q", limit, ids)
		}
	}
	if got, err := s.SearchUsers(t.Context(), domain, "user-", "", -1); err != nil || len(got) != 0 {
		t.Errorf("SearchUsers with limit -1 = %+v, %v, want none", got, err)
	}
}
