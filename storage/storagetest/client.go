package storagetest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/imidentity/issuer/storage"
)

// follow returns the ids of the clients that changed after a number, in their order, and the highest number.
func follow(t *testing.T, r storage.Reader, after int64) (ids []string, last int64) {
	t.Helper()
	list, err := r.Clients(t.Context(), after)
	if err != nil {
		t.Fatalf("Clients = %v, want nil", err)
	}
	last = after
	for _, c := range list {
		if c.Seq <= last {
			t.Errorf("Clients after %d = number %d after %d, want rising ones", after, c.Seq, last)
		}
		ids, last = append(ids, c.ID), c.Seq
	}
	return ids, last
}

func testClientsAreNumbered(t *testing.T, s storage.Store) {
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertClient(ctx, client("a")), tx.InsertClient(ctx, client("b")), tx.InsertClient(ctx, client("c")))
	})
	ids, seen := follow(t, s, 0)
	if want := []string{"client/a", "client/b", "client/c"}; !slices.Equal(ids, want) {
		t.Errorf("Clients = %q, want %q", ids, want)
	}
	// A changed client appears again under a new number, even if it was the last one.
	for _, name := range []string{"a", "a", "c"} {
		write(t, s, func(ctx context.Context, tx storage.Tx) error {
			c := client(name)
			c.Seq = 1 // the caller's is not taken
			return tx.UpdateClient(ctx, c)
		})
		if ids, seen = follow(t, s, seen); !slices.Equal(ids, []string{"client/" + name}) {
			t.Errorf("Clients = %q, want the one that changed, %s", ids, name)
		}
		if ids, _ := follow(t, s, seen); len(ids) > 0 {
			t.Errorf("Clients = %q, want none", ids)
		}
	}
	// An undone change leaves no gap in the numbers.
	fault := errors.New("fault")
	if err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertClient(ctx, client("d")), tx.UpdateClient(ctx, otherClient("b")), fault)
	}); !errors.Is(err, fault) {
		t.Errorf("Update = %v, want %v", err, fault)
	}
	if ids, _ := follow(t, s, seen); len(ids) > 0 {
		t.Errorf("Clients = %q, want none", ids)
	}
	ids, _ = follow(t, s, 0)
	if want := []string{"client/b", "client/a", "client/c"}; !slices.Equal(ids, want) {
		t.Errorf("Clients = %q, want %q", ids, want)
	}
}

// testClientsAreFollowedWhileRacing: a reader misses no change while many clients change at once.
func testClientsAreFollowedWhileRacing(t *testing.T, s storage.Store) {
	const clients, changes = 8, 12
	done := make(chan []error)
	go func() {
		done <- race(clients, func(i int) error {
			for n := range changes {
				err := s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error {
					c := storage.Client{ID: fmt.Sprint(i), Registration: fmt.Append(nil, n)}
					if n == 0 {
						return tx.InsertClient(ctx, c)
					}
					return tx.UpdateClient(ctx, c)
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen, last := make(map[string]string), int64(0)
	read := func() {
		list, err := s.Clients(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			seen[c.ID], last = string(c.Registration), c.Seq
		}
	}
	for running := true; running; {
		select {
		case errs := <-done:
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			running = false
		default:
		}
		read()
	}
	want := make(map[string]string)
	for i := range clients {
		want[fmt.Sprint(i)] = fmt.Sprint(changes - 1)
	}
	if !reflect.DeepEqual(seen, want) {
		t.Errorf("a follower saw %v last, want %v", seen, want)
	}
}

func testClientIDsAreTakenOnce(t *testing.T, s storage.Store) {
	errs := race(8, func(i int) error {
		c := client("a")
		c.RemovedReason = fmt.Sprint(i)
		return s.Update(t.Context(), func(ctx context.Context, tx storage.Tx) error { return tx.InsertClient(ctx, c) })
	})
	taken := 0
	for _, err := range errs {
		switch err {
		case nil:
			taken++
		case storage.ErrConflict:
		default:
			t.Errorf("InsertClient = %v, want nil or %v", err, storage.ErrConflict)
		}
	}
	if list, err := s.Clients(t.Context(), 0); err != nil || len(list) != 1 || taken != 1 {
		t.Errorf("%d inserts of one id went through, and made %d, %v; want one", taken, len(list), err)
	}
}

func testEndClientGrants(t *testing.T, s storage.Store) {
	withSession(t, s, "alice", liveGrant("alice"))
	withSession(t, s, "bob", liveGrant("bob"))
	over, other := endedGrant("alice"), liveGrant("alice")
	over.ID = "grant-over"
	other.ID, other.Client = "grant-other", "other-app"
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertGrant(ctx, over), tx.InsertGrant(ctx, other))
	})
	for _, want := range [][]string{{"grant-alice", "grant-bob"}, nil} { // the second time nothing is left to end
		var ended []string
		write(t, s, func(ctx context.Context, tx storage.Tx) (err error) {
			ended, err = tx.EndClientGrants(ctx, "im-app", at, "client_removed")
			slices.Sort(ended)
			return err
		})
		if !slices.Equal(ended, want) {
			t.Errorf("EndClientGrants ended %q, want %q", ended, want)
		}
	}
	for id, want := range map[string]string{
		"grant-alice": "client_removed", "grant-bob": "client_removed", "grant-over": "logout", "grant-other": "",
	} {
		if got := grant(t, s, id).EndedReason; got != want {
			t.Errorf("%s ended by %q, want %q", id, got, want)
		}
	}
}

// testRegisteredClientsAreCounted holds that clients count for the initial access token that they registered with until they are removed.
func testRegisteredClientsAreCounted(t *testing.T, s storage.Store) {
	want := func(name string, n int) {
		t.Helper()
		if got, err := s.ClientsRegisteredWith(t.Context(), name); err != nil || got != n {
			t.Errorf("ClientsRegisteredWith(%q) = %d, %v, want %d", name, got, err, n)
		}
	}
	added := func(id, with string) storage.Client {
		return storage.Client{ID: id, Registration: []byte("{}"), RegisteredWith: with, CreatedAt: at}
	}
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		return errors.Join(tx.InsertClient(ctx, added("a", "one")), tx.InsertClient(ctx, added("b", "one")),
			tx.InsertClient(ctx, added("c", "two")), tx.InsertClient(ctx, added("d", "")))
	})
	want("one", 2)
	want("two", 1)
	want("three", 0)
	write(t, s, func(ctx context.Context, tx storage.Tx) error {
		c := added("a", "one")
		c.RemovedAt = at
		return tx.UpdateClient(ctx, c)
	})
	want("one", 1)
}
