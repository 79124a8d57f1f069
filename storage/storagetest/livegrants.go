package storagetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Pages of any size contain every live grant of a user once, in the byte order of ids.
func testLiveGrants(t *testing.T, s storage.Store) {
	const alice = "user-alice"
	var want []storage.Grant
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		var errs []error
		for n, id := range pageIDs {
			live, ended, idle, expired := liveGrant(id), endedGrant(id), liveGrant(id), liveGrant(id)
			others, abroad := liveGrant(id), liveGrant(id)
			live.ID, live.Device = id, "device-"+pageIDs[len(pageIDs)-1-n]
			if n%3 == 0 { // for ever
				live.IdleAt, live.ExpiresAt = time.Time{}, time.Time{}
			}
			ended.ID, idle.ID, expired.ID, others.ID, abroad.ID = id+"0", id+"1", id+"2", id+"3", id+"4"
			idle.IdleAt, expired.ExpiresAt, abroad.Domain = at, at, "example.org"
			live.User, ended.User, idle.User, expired.User, abroad.User = alice, alice, alice, alice, alice
			others.User = "user-bob"
			want = append(want, live)
			for _, g := range []storage.Grant{live, ended, idle, expired, others, abroad} {
				errs = append(errs, tx.InsertGrant(ctx, g))
			}
		}
		return errors.Join(errs...)
	})
	for _, limit := range []int{1, 2, 3, len(pageIDs), 100} {
		var got []storage.Grant
		for after := ""; len(got) <= len(want); after = got[len(got)-1].ID {
			page, err := s.LiveGrants(t.Context(), domain, alice, after, at, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("LiveGrants = %d grants, %v, want %d at most", len(page), err, limit)
			}
			if got = append(got, page...); len(page) < limit {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("grants in pages of %d = %+v, want %+v", limit, got, want)
		}
	}
	for _, limit := range []int{0, -1} {
		if got, err := s.LiveGrants(t.Context(), domain, alice, "", at, limit); err != nil || len(got) != 0 {
			t.Errorf("LiveGrants with limit %d = %v, %v, want none", limit, got, err)
		}
	}
}
