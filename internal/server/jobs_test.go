package server_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestJobsOfThreeNodes lets three nodes on one database do their jobs at once, while devices refresh: each row that has expired is removed,
// the next signing key is made once, and no refresh fails.
func TestJobsOfThreeNodes(t *testing.T) {
	fill := onPostgres(t)
	fill["background"], fill["statuses"] = "fast", "true"
	fill["more"] += "\n" + rotating["more"]
	s := start(t, fill)
	s.freeze(t)
	s.balance(t, 2)
	devices := make([]*keeper, 3)
	for i := range devices {
		devices[i] = &keeper{device: newDevice(t)}
		devices[i].held = s.login(t, devices[i].device, "alice")
		devices[i].nonce = s.nonce(t)
	}
	const pushed = 60
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for range pushed / 3 {
				if a := s.push(t, nil, nil); a.status != http.StatusCreated {
					t.Errorf("push = %v, want 201", a)
					return
				}
			}
		})
	}
	all.Wait()
	if n, err := s.store.Waiting(t.Context()); err != nil || n < pushed {
		t.Fatalf("%d rows wait, %v, want %d", n, err, pushed)
	}
	refresh := func() {
		for _, k := range devices {
			all.Go(func() {
				for tries := 0; ; tries++ {
					a := k.refresh(t, s)
					if (a.status == http.StatusServiceUnavailable || a.text("error") == "use_dpop_nonce") && tries < 1000 {
						time.Sleep(time.Millisecond)
						continue // the clock has moved on since the keys were read
					}
					k.held = wantTokens(t, a)
					return
				}
			})
		}
		all.Wait()
	}
	for range 12 { // two hours, after which the next key is due
		refresh()
		s.advance(t, 10*time.Minute)
	}
	refresh()
	for n := 0; ; n++ {
		rows, err := s.store.Waiting(t.Context())
		if err == nil && rows == 0 {
			break
		}
		if n > 10000 {
			t.Fatalf("%d expired rows are left, %v", rows, err)
		}
		time.Sleep(time.Millisecond)
	}
	if states := s.keyStates(t); strings.Count(states, "signing") != 1 || len(strings.Fields(states)) != 2 {
		t.Errorf("signing keys = %s, want the first and one that follows it", states)
	}
	refresh()
}
