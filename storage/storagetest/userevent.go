package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/imidentity/issuer/storage"
)

// userEvent is an event of a user, without its number.
func userEvent(user, device string) storage.UserEvent {
	return storage.UserEvent{Domain: domain, User: user, Kind: storage.DeviceAdded, Device: device, At: at}
}

// Events are numbered from 1 for each user, in the order in which they were added, and pages of any size contain each once. A number
// is not given again, whether its event was swept or its transaction was undone.
func testUserEvents(t *testing.T, s storage.Store) {
	var want []storage.UserEvent
	add := func(n int) {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			e, abroad, bobs := userEvent("alice", fmt.Sprint(n)), userEvent("alice", "abroad"), userEvent("bob", "bobs")
			abroad.Domain = "example.org"
			e.Kind = []storage.UserEventKind{storage.DeviceAdded, storage.DeviceRemoved, storage.DeviceRekeyed}[n%3]
			err := errors.Join(tx.InsertUserEvent(ctx, e), tx.InsertUserEvent(ctx, abroad), tx.InsertUserEvent(ctx, bobs))
			e.Number = int64(n)
			want = append(want, e)
			return err
		})
	}
	for n := range 5 {
		add(n + 1)
	}
	undone := errors.New("undone")
	err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertUserEvent(ctx, userEvent("alice", "undone")), undone)
	})
	if !errors.Is(err, undone) {
		t.Fatalf("Update = %v, want %v", err, undone)
	}
	add(6)
	for _, limit := range []int{1, 2, 6, 100} {
		var got []storage.UserEvent
		for after := int64(0); ; after = got[len(got)-1].Number {
			page, err := s.UserEvents(t.Context(), domain, "alice", after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("UserEvents = %d events, %v, want %d at most", len(page), err, limit)
			}
			if got = append(got, page...); len(page) < limit {
				break
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("events in pages of %d = %+v, want %+v", limit, got, want)
		}
	}
	for _, limit := range []int{0, -1} {
		if got, err := s.UserEvents(t.Context(), domain, "alice", 0, limit); err != nil || len(got) != 0 {
			t.Errorf("UserEvents with limit %d = %v, %v, want none", limit, got, err)
		}
	}
	last := func(user string, want int64) {
		t.Helper()
		if got, err := s.LastUserEvent(t.Context(), domain, user); err != nil || got != want {
			t.Errorf("LastUserEvent of %s = %d, %v, want %d", user, got, err, want)
		}
	}
	last("alice", 6)
	last("nobody", 0)
	sweepKeeping(t, s, at.Add(time.Hour), storage.Retention{Events: time.Hour}, 2) // they are as old, and are still there
	if got, err := s.UserEvents(t.Context(), domain, "alice", 0, 100); err != nil || len(got) != 6 {
		t.Errorf("UserEvents = %+v, %v, want six", got, err)
	}
	sweepKeeping(t, s, at.Add(2*time.Hour), storage.Retention{Events: time.Hour}, 2)
	if got, err := s.UserEvents(t.Context(), domain, "alice", 0, 100); err != nil || len(got) != 0 {
		t.Errorf("UserEvents after the sweep = %+v, %v, want none", got, err)
	}
	last("alice", 6)
	add(7)
	if got, err := s.UserEvents(t.Context(), domain, "alice", 0, 100); err != nil || !slices.Equal(got, want[6:]) {
		t.Errorf("UserEvents = %+v, %v, want %+v", got, err, want[6:])
	}
}

// Racing transactions give each number once, and a reader that follows them misses none.
func testUserEventsRaced(t *testing.T, s storage.Store) {
	const n = 64
	done := make(chan error, 1)
	var seen []int64
	go func() {
		var after int64
		for len(seen) < n {
			page, err := s.UserEvents(context.Background(), domain, "alice", after, 10)
			if err != nil {
				done <- err
				return
			}
			for _, e := range page {
				seen, after = append(seen, e.Number), e.Number
			}
		}
		done <- nil
	}()
	for _, err := range race(n, func(i int) error {
		return s.Update(context.Background(), func(ctx context.Context, tx storage.Tx) error {
			return tx.InsertUserEvent(ctx, userEvent("alice", fmt.Sprint(i)))
		})
	}) {
		if err != nil {
			t.Errorf("Update = %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, number := range seen {
		if number != int64(i+1) {
			t.Fatalf("numbers = %v, want 1 to %d", seen, n)
		}
	}
}
