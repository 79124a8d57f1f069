package trust_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/imidentity/issuer/trust"
)

func TestSuspend(t *testing.T) {
	const a, b = "https://a.example", "https://b.example"
	table := newTable(t, trust.Config{Peers: []trust.Peer{
		{Domain: "one.example", Issuer: a, JWKS: jwks("k")},
		{Domain: "two.example", Issuer: a, JWKS: jwks("k")},
		{Domain: "two.example", Issuer: b, JWKS: jwks("k"), Suspended: true},
		{Domain: "three.example", Issuer: b, JWKS: jwks("k"), Suspended: true},
	}})
	speaks := func(issuer, domain string, want error) {
		t.Helper()
		if err := table.Speaks(t.Context(), issuer, domain); err != want {
			t.Errorf("Speaks(%s, %s) = %v, want %v", issuer, domain, err, want)
		}
	}
	key := func(issuer string, want error) {
		t.Helper()
		if _, _, err := table.Key(t.Context(), issuer, "k"); err != want {
			t.Errorf("Key(%s) = %v, want %v", issuer, err, want)
		}
	}
	suspend := func(domain string, suspended bool, want error) {
		t.Helper()
		if err := table.Suspend(domain, suspended); err != want {
			t.Errorf("Suspend(%s, %v) = %v, want %v", domain, suspended, err, want)
		}
	}

	suspend("TWO.example.", true, nil) // another spelling
	speaks(a, "two.example", trust.ErrSuspended)
	speaks(a, "one.example", nil)
	speaks(b, "one.example", trust.ErrForeignDomain)
	key(a, nil) // it still speaks for the other domain
	if domains, err := table.Domains(a); err != nil || len(domains) != 1 || domains[0] != "one.example" {
		t.Errorf("Domains = %v, %v, want one.example", domains, err)
	}
	if _, err := table.Issuers("two.example"); err != trust.ErrSuspended {
		t.Errorf("Issuers = %v, want %v", err, trust.ErrSuspended)
	}
	suspend("one.example", true, nil)
	suspend("one.example", true, nil) // again
	key(a, trust.ErrSuspended)
	if _, err := table.Domains(a); err != trust.ErrSuspended {
		t.Errorf("Domains = %v, want %v", err, trust.ErrSuspended)
	}
	suspend("one.example", false, nil)
	speaks(a, "one.example", nil)
	key(a, nil)
	speaks(a, "two.example", trust.ErrSuspended)

	// A call does not trust what the configuration suspends.
	suspend("two.example", false, nil)
	speaks(a, "two.example", nil)
	speaks(b, "two.example", trust.ErrSuspended)
	suspend("three.example", false, trust.ErrSuspended)
	speaks(b, "three.example", trust.ErrSuspended)

	suspend("four.example", true, trust.ErrUntrusted)
	if err := table.Suspend("not a domain", true); err == nil || errors.Is(err, trust.ErrUntrusted) {
		t.Errorf("Suspend of no domain = %v, want an error about its form", err)
	}
}

// A key that is being fetched while its peer is suspended is not returned.
func TestSuspendDuringFetch(t *testing.T) {
	i := newIssuer(t, "a")
	i.hold = make(chan struct{})
	table := newTable(t, trust.Config{Peers: []trust.Peer{{Domain: "one.example", Issuer: i.URL}}, Client: i.Client()})
	result := make(chan error)
	go func() {
		_, _, err := table.Key(t.Context(), i.URL, "a")
		result <- err
	}()
	for i.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	if err := table.Suspend("one.example", true); err != nil {
		t.Fatal(err)
	}
	close(i.hold)
	if err := <-result; err != trust.ErrSuspended {
		t.Errorf("Key = %v, want %v", err, trust.ErrSuspended)
	}
}

// Callers race with operators. What begins after a suspension is refused, and no suspension is lost.
func TestSuspendRace(t *testing.T) {
	const issuer, others = "https://a.example", 8
	peers := []trust.Peer{{Domain: "one.example", Issuer: issuer, JWKS: jwks("k")}}
	for n := range others {
		peers = append(peers, trust.Peer{Domain: string(rune('a'+n)) + ".example", Issuer: "https://b.example", JWKS: jwks("k")})
	}
	table := newTable(t, trust.Config{Peers: peers})
	var suspended atomic.Bool
	var yes, no atomic.Int32
	var callers, operators sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for {
				before := suspended.Load()
				_, _, err := table.Key(t.Context(), issuer, "k")
				switch spoken := table.Speaks(t.Context(), issuer, "one.example"); {
				case before && (err != trust.ErrSuspended || spoken != trust.ErrSuspended):
					t.Errorf("Key, Speaks = %v, %v after the suspension, want %v", err, spoken, trust.ErrSuspended)
					return
				case before:
					no.Add(1)
				case err == nil:
					yes.Add(1)
				}
				table.Peers()
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for yes.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	for _, p := range peers {
		operators.Go(func() {
			if err := table.Suspend(p.Domain, true); err != nil {
				t.Error(err)
			}
			if p.Domain == "one.example" {
				suspended.Store(true)
			}
		})
	}
	operators.Wait()
	for no.Load() == 0 && !t.Failed() {
		time.Sleep(time.Millisecond)
	}
	close(stop)
	callers.Wait()
	for _, s := range table.Peers() {
		if !s.Suspended {
			t.Errorf("%s is not suspended", s.Domain)
		}
	}
}

func TestPeers(t *testing.T) {
	i := newIssuer(t, "a", "b")
	clock := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	table := newTable(t, trust.Config{Client: i.Client(), Now: clock.Now, Peers: []trust.Peer{
		{Domain: "two.example", Issuer: i.URL},
		{Domain: "one.example", Issuer: "https://a.example", JWKS: jwks("k"), Suspended: true},
	}})
	state := func(n int) trust.PeerState {
		t.Helper()
		list := table.Peers()
		if len(list) != 2 || list[0].Domain != "one.example" || list[1].Domain != "two.example" {
			t.Fatalf("Peers = %+v", list)
		}
		return list[n]
	}
	if s := state(0); !s.Suspended || !s.Fixed || s.Keys != 1 || s.Issuer != "https://a.example" {
		t.Errorf("state of configured keys = %+v", s)
	}
	if s := state(1); s.Suspended || s.Fixed || s.Keys != 0 || !s.Fetched.IsZero() || s.Err != nil || i.asked.Load() != 0 {
		t.Errorf("state before the first fetch = %+v", s)
	}
	i.set(func() { i.down = true })
	_, _, _ = table.Key(t.Context(), i.URL, "a")
	if s := state(1); s.Err == nil || !s.Failed.Equal(clock.Now()) || !s.Fetched.IsZero() {
		t.Errorf("state in an outage = %+v", s)
	}
	i.set(func() { i.down = false })
	clock.add(time.Minute)
	if _, _, err := table.Key(t.Context(), i.URL, "a"); err != nil {
		t.Fatal(err)
	}
	if s := state(1); s.Err != nil || !s.Failed.IsZero() || s.Keys != 2 || !s.Fetched.Equal(clock.Now()) {
		t.Errorf("state after the outage = %+v", s)
	}
}
