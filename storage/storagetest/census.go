package storagetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A census counts the users, devices and sessions of all domains, and neither removed devices nor sessions that are over.
func testCensusCountsWhatIsLive(t *testing.T, s storage.Store) {
	wantCensus(t, s, at, storage.Census{})
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		abroad, here, gone := user("abroad"), device("here"), device("gone")
		abroad.Domain, here.RemovedAt, gone.RemovedAt = "example.org", time.Time{}, at
		live, ever, idle, expired := liveGrant("live"), liveGrant("ever"), liveGrant("idle"), liveGrant("expired")
		live.IdleAt, live.ExpiresAt = at.Add(time.Minute), at.Add(time.Hour)
		ever.IdleAt, ever.ExpiresAt = time.Time{}, time.Time{}
		idle.IdleAt, expired.ExpiresAt = at, at
		var errs []error
		for _, u := range []storage.User{user("alice"), user("bob"), abroad} {
			errs = append(errs, tx.InsertUser(ctx, u))
		}
		for _, d := range []storage.Device{here, gone} {
			errs = append(errs, tx.InsertDevice(ctx, d))
		}
		for _, g := range []storage.Grant{live, ever, idle, expired, endedGrant("ended")} {
			errs = append(errs, tx.InsertGrant(ctx, g))
		}
		return errors.Join(errs...)
	})
	wantCensus(t, s, at, storage.Census{Users: 3, Devices: 1, Sessions: 2})
	wantCensus(t, s, at.Add(time.Minute), storage.Census{Users: 3, Devices: 1, Sessions: 1})
}

func wantCensus(t *testing.T, s storage.Store, now time.Time, want storage.Census) {
	t.Helper()
	if got, err := s.Census(t.Context(), now); err != nil || got != want {
		t.Errorf("Census = %+v, %v, want %+v", got, err, want)
	}
}
