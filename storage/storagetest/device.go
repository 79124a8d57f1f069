package storagetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A device is active while it has a live grant or a standing delegation, to the millisecond; a removed one never is.
func testActiveDevices(t *testing.T, s storage.Store) {
	const user = "user-alice"
	add := func(name string, age time.Duration, change func(d *storage.Device), also func(ctx context.Context, tx storage.Tx) error) {
		d := device(name)
		d.User, d.CreatedAt, d.RemovedAt, d.RemovedReason, d.Delegation, d.Number = user, at.Add(age), time.Time{}, "", "", 0
		change(&d)
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			return errors.Join(tx.InsertDevice(ctx, d), also(ctx, tx))
		})
	}
	as := func(*storage.Device) {}
	removed := func(d *storage.Device) { d.RemovedAt = at }
	under := func(jti string) func(d *storage.Device) {
		return func(d *storage.Device) { d.Delegation, d.Number = jti, 1 }
	}
	granted := func(name string, change func(g *storage.Grant)) func(ctx context.Context, tx storage.Tx) error {
		return func(ctx context.Context, tx storage.Tx) error {
			g := liveGrant(name)
			g.User = user
			change(&g)
			return tx.InsertGrant(ctx, g)
		}
	}
	live := func(*storage.Grant) {}
	stated := func(name string, change func(v *storage.Statement)) func(ctx context.Context, tx storage.Tx) error {
		return func(ctx context.Context, tx storage.Tx) error {
			v := statement(name)
			v.User, v.WithdrawnAt, v.WithdrawnReason = user, time.Time{}, ""
			change(&v)
			return tx.InsertStatement(ctx, v)
		}
	}
	nothing := func(context.Context, storage.Tx) error { return nil }
	ms := time.Millisecond
	add("twice", 4*time.Hour, as, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(granted("twice", live)(ctx, tx), granted("again", func(g *storage.Grant) { g.Device = "device-twice" })(ctx, tx))
	})
	add("one", 3*time.Hour, as, granted("one", live))
	add("endless", 2*time.Hour, as, granted("endless", func(g *storage.Grant) { g.IdleAt, g.ExpiresAt = time.Time{}, time.Time{} }))
	add("delegated", time.Hour, under("jti-delegated"), stated("delegated", func(v *storage.Statement) { v.ExpiresAt = at.Add(ms) }))

	add("never used", 0, as, nothing)
	add("removed", 0, removed, granted("removed", live))
	add("ended", 0, as, granted("ended", func(g *storage.Grant) { g.EndedAt = at.Add(-ms) }))
	add("idle", 0, as, granted("idle", func(g *storage.Grant) { g.IdleAt = at }))
	add("expired", 0, as, granted("expired", func(g *storage.Grant) { g.ExpiresAt = at }))
	add("withdrawn", 0, under("jti-withdrawn"), stated("withdrawn", func(v *storage.Statement) { v.WithdrawnAt = at }))
	add("lapsed", 0, under("jti-lapsed"), stated("lapsed", func(v *storage.Statement) { v.ExpiresAt = at }))
	add("orphan", 0, under("jti-nobody"), nothing)
	add("abroad", 0, under("jti-abroad"), stated("abroad", func(v *storage.Statement) { v.Domain = "example.org" }))
	add("bob", 0, func(d *storage.Device) { d.User = "user-bob" }, granted("bob", func(g *storage.Grant) { g.User = "user-bob" }))
	add("emigrant", 0, func(d *storage.Device) { d.Domain = "example.org" },
		granted("emigrant", func(g *storage.Grant) { g.Domain = "example.org" }))

	want := []string{"device-delegated", "device-endless", "device-one", "device-twice"}
	all, err := s.Devices(t.Context(), domain, user)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range all {
		active, err := s.DeviceActive(t.Context(), domain, d.ID, at)
		if err != nil {
			t.Fatal(err)
		}
		if active {
			got = append(got, d.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("active devices = %q, want %q", got, want)
	}
	for _, test := range []struct {
		domain, user string
		at           time.Time
		active       int
	}{
		{domain, user, at, 4}, {domain, user, at.Add(ms), 3}, {domain, "user-bob", at, 1},
		{"example.org", user, at, 1}, {domain, "user-nobody", at, 0},
	} {
		for n := -1; n < 20; n++ {
			want := test.active >= n
			if reached, err := s.DevicesReach(t.Context(), test.domain, test.user, test.at, n); err != nil || reached != want {
				t.Errorf("DevicesReach of %s in %s, %d = %t, %v, want %t", test.user, test.domain, n, reached, err, want)
			}
		}
	}
	if active, err := s.DeviceActive(t.Context(), domain, "device-nobody", at); err != nil || active {
		t.Errorf("DeviceActive of no device = %t, %v, want false", active, err)
	}
}
