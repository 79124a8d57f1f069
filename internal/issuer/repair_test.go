package issuer

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/storage/sqlite"
	"github.com/imidentity/issuer/storage/sqlite/sqlitetest"
)

// TestRepairEndsCredentials holds that credentials end again of which a database knows the end no more: only their revocations are left.
func TestRepairEndsCredentials(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	cause := func(reason string) revocation.Cause { return revocation.Cause{Reason: reason, At: now} }
	for name, test := range map[string]struct {
		lost storage.Revocation
		want []string // the ids of those that ended, with an h if only their handle did
	}{
		"of a credential":      {revocation.RevokeToken("phone 1", cause("user_ended")), []string{"phone 1"}},
		"of a token":           {revocation.RevokeToken("another", cause("revoked")), nil},
		"of a session":         {revocation.RevokeGrant("session", cause("user_ended")), nil},
		"of a device":          {revocation.RevokeDevice("example.com", "phone", cause("device_removed")), []string{"phone 1", "phone 2"}},
		"of a rename":          {revocation.RevokeBelow("example.com", "alice", 2, cause("handle_changed")), []string{"phone 1h", "tablet 1h"}},
		"of a key":             {revocation.RevokeBelow("example.com", "alice", 2, cause("rekeyed")), []string{"phone 1", "phone 2", "tablet 1"}},
		"of something":         {revocation.RevokeBelow("example.com", "alice", 2, cause("superseded")), []string{"phone 1", "phone 2", "tablet 1"}},
		"of a user":            {revocation.RevokeUser("example.com", "alice", cause("user_removed")), []string{"phone 1", "phone 2", "tablet 1"}},
		"of a user who is off": {revocation.RevokeBelow("example.com", "alice", 2, cause("user_disabled")), []string{"phone 1", "phone 2", "tablet 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlite.Open(t.Context(), sqlitetest.Temporary(t), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			index := make(map[int]string)
			err = s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
				errs := []error{tx.InsertStatusList(ctx, storage.StatusList{
					ID: 1, Kind: storage.CredentialStatuses, Domain: "example.com", Size: 1024, Available: 768, Used: 768, ExpiresAt: now.Add(time.Hour),
				})}
				for _, user := range []string{"alice", "bob"} {
					errs = append(errs, tx.InsertUser(ctx, storage.User{Domain: "example.com", ID: user, Handle: user, Gen: 1, CreatedAt: now}))
				}
				for i, c := range []storage.Credential{
					{ID: "phone 1", Device: "phone", User: "alice", Handle: "alice"}, {ID: "phone 2", Device: "phone", User: "alice"},
					{ID: "tablet 1", Device: "tablet", User: "alice", Handle: "alice"}, {ID: "other", Device: "other", User: "bob", Handle: "bob"},
				} {
					d := storage.Device{Domain: "example.com", ID: c.Device, User: c.User, JKT: c.Device, CreatedAt: now}
					if _, err := tx.Device(ctx, d.Domain, d.ID); err != nil {
						errs = append(errs, tx.InsertDevice(ctx, d))
					}
					c.Domain, c.Status, c.IssuedAt, c.ExpiresAt = "example.com", storage.StatusEntry{List: 1, Index: i}, now, now.Add(time.Hour)
					errs = append(errs, tx.InsertCredential(ctx, c))
					index[i] = c.ID
				}
				return errors.Join(errs...)
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // several nodes do so
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return repairOne(ctx, tx, test.lost) })
				if err != nil {
					t.Fatal(err)
				}
			}
			ends, err := s.CredentialEnds(t.Context(), 1, 0)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range ends {
				id := index[e.Index]
				if e.HandleOnly {
					id += "h"
				}
				got = append(got, id)
			}
			if slices.Sort(got); !slices.Equal(got, test.want) {
				t.Errorf("%q ended, want %q", got, test.want)
			}
		})
	}
}
