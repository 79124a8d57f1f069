package storagetest

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Pages of any size contain every device of a user that is not removed once, with its use, in the byte order of ids.
func testDevicesInUse(t *testing.T, s storage.Store) {
	const alice = "user-alice"
	want := make(map[string]storage.DeviceUse)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		var errs []error
		for n, id := range pageIDs {
			d := device(id)
			d.ID, d.User, d.RemovedAt, d.RemovedReason = id, alice, time.Time{}, ""
			use := storage.DeviceUse{Device: d}
			live, ended := liveGrant(id), endedGrant(id)
			live.User, live.Device, ended.User, ended.Device, ended.ID = alice, id, alice, id, "ended-"+id
			switch n % 4 {
			case 0: // a live grant that was never refreshed, and an ended one that was
				live.CreatedAt, live.RotatedAt = at.Add(time.Hour), time.Time{}
				live.Issuer, live.ACR, live.AMR, live.AuthTime = "https://other.example", "", nil, time.Time{}
				use.Login = storage.Grant{Issuer: live.Issuer, CreatedAt: live.CreatedAt}
				ended.CreatedAt, ended.RotatedAt = at, at.Add(2*time.Hour)
				errs = append(errs, tx.InsertGrant(ctx, live), tx.InsertGrant(ctx, ended))
				use.SeenAt, use.Active = at.Add(2*time.Hour), true
			case 1: // an ended grant alone
				errs = append(errs, tx.InsertGrant(ctx, ended))
				use.SeenAt, use.Login = at, loginOf(ended)
			case 2: // a live grant that was refreshed
				live.RotatedAt = at.Add(3 * time.Hour)
				errs = append(errs, tx.InsertGrant(ctx, live))
				use.SeenAt, use.Active, use.Login = at.Add(3*time.Hour), true, loginOf(live)
			}
			removed, others, abroad := d, d, d
			removed.ID, removed.JKT, removed.RemovedAt = id+"-removed", "removed-"+id, at
			others.ID, others.JKT, others.User = id+"-other", "other-"+id, "user-bob"
			removed.Number, others.Number = 100+n, 200+n
			abroad.Domain = "example.org"
			want[id] = use
			for _, d := range []storage.Device{d, removed, others, abroad} {
				errs = append(errs, tx.InsertDevice(ctx, d))
			}
		}
		return errors.Join(errs...)
	})
	for _, limit := range []int{1, 2, 3, len(pageIDs), 100} {
		got := make(map[string]storage.DeviceUse)
		last := ""
		for {
			page, err := s.DevicesInUse(t.Context(), domain, alice, last, at, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("DevicesInUse = %d devices, %v, want %d at most", len(page), err, limit)
			}
			for _, d := range page {
				if d.ID <= last {
					t.Errorf("%q comes after %q", d.ID, last)
				}
				last, got[d.ID] = d.ID, d
			}
			if len(page) < limit {
				break
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("devices in pages of %d = %+v, want %+v", limit, got, want)
		}
	}
	for _, limit := range []int{0, -1} {
		if got, err := s.DevicesInUse(t.Context(), domain, alice, "", at, limit); err != nil || len(got) != 0 {
			t.Errorf("DevicesInUse with limit %d = %v, %v, want none", limit, got, err)
		}
	}
	if got, err := s.DevicesInUse(t.Context(), domain, "nobody", "", at, 10); err != nil || len(got) != 0 {
		t.Errorf("DevicesInUse of nobody = %v, %v, want none", got, err)
	}
}

// loginOf returns what a device in use shows of a grant.
func loginOf(g storage.Grant) storage.Grant {
	return storage.Grant{Issuer: g.Issuer, AuthTime: g.AuthTime, ACR: g.ACR, AMR: g.AMR, CreatedAt: g.CreatedAt}
}
