package trust

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
)

// Suspend suspends a domain, in any spelling, or lifts such a suspension. It takes effect at once: after it has returned, nothing
// from the domain is trusted, neither a call that begins then nor a key that was being fetched. The table does not store
// suspensions; a new table trusts what its peers say.
//
// The error is [ErrUntrusted] if the domain is not in the table. It is [ErrSuspended] if a suspension is lifted, but all peers of
// the domain are suspended by [Peer.Suspended], which a call cannot change.
func (t *Table) Suspend(domain string, suspended bool) error {
	name, err := claims.CheckDomain(domain, true)
	if err != nil {
		return fmt.Errorf("trust: domain: %w", err)
	}
	peers := t.domains[name]
	if len(peers) == 0 {
		return ErrUntrusted
	}
	t.suspending.Lock()
	next := maps.Clone(*t.suspended.Load())
	if suspended {
		if next == nil {
			next = make(map[string]bool)
		}
		next[name] = true
	} else {
		delete(next, name)
	}
	t.suspended.Store(&next)
	t.suspending.Unlock()
	if !suspended && !slices.ContainsFunc(peers, func(p peer) bool { return !p.suspended }) {
		return ErrSuspended
	}
	return nil
}

// isSuspended reports whether [Table.Suspend] suspended a domain.
func (t *Table) isSuspended(domain string) bool { return (*t.suspended.Load())[domain] }

// allSuspended reports whether an issuer may speak for no domain now.
func (t *Table) allSuspended(i *issuer) bool {
	return !slices.ContainsFunc(i.domains, func(domain string) bool { return !t.isSuspended(domain) })
}

// A PeerState is the state of a peer, for metrics and for operators.
type PeerState struct {
	Domain, Issuer string
	// Suspended is true if nothing from the peer is trusted: by its configuration, or by [Table.Suspend].
	Suspended bool
	// Fixed is true if the keys are configured and never fetched.
	Fixed bool
	// Keys is how many keys are known.
	Keys int
	// Fetched is when the keys were fetched, and zero if they never were.
	Fetched time.Time
	// Failed is when the issuer last did not answer, and Err the reason, for logs. They are zero after a fetch that succeeded.
	Failed time.Time
	Err    error
}

// Peers returns the state of each peer, ordered by domain and issuer. It sends no request.
func (t *Table) Peers() []PeerState {
	var list []PeerState
	for domain, peers := range t.domains {
		for _, p := range peers {
			s := PeerState{Domain: domain, Issuer: p.issuer, Suspended: p.suspended || t.isSuspended(domain)}
			t.issuers[p.issuer].keys.describe(&s)
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b PeerState) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Issuer, b.Issuer))
	})
	return list
}
