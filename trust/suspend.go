package trust

import (
	"fmt"
	"maps"
	"slices"

	"github.com/imidentity/issuer/claims"
)

// Suspend suspends a domain, in any spelling, or lifts such a suspension. It takes effect at once: after it has returned, nothing
// from the domain is trusted, neither a call that begins then nor a key that was being fetched. The table does not store
// suspensions; a new table trusts what its peers say, but see [Config.Previous].
//
// The error is [ErrUntrusted] if the domain is neither in the table nor admitted by [Config.Open]. It is [ErrSuspended] if a suspension
// is lifted, but all peers of the domain are suspended by [Peer.Suspended], which a call cannot change.
func (t *Table) Suspend(domain string, suspended bool) error {
	name, err := claims.CheckDomain(domain, true)
	if err != nil {
		return fmt.Errorf("trust: domain: %w", err)
	}
	peers := t.domains[name]
	if len(peers) == 0 && !t.discovery.covers(name) {
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
	if !suspended && t.suspendedForever(name) {
		return ErrSuspended
	}
	return nil
}

// suspendedForever reports whether the configuration suspends all peers of a domain.
func (t *Table) suspendedForever(name string) bool {
	if peers := t.domains[name]; len(peers) > 0 {
		return !slices.ContainsFunc(peers, func(p peer) bool { return !p.suspended })
	}
	return t.discovery.suspends(name)
}

// isSuspended reports whether [Table.Suspend] suspended a domain.
func (t *Table) isSuspended(domain string) bool { return (*t.suspended.Load())[domain] }

// allSuspended reports whether an issuer may speak for no domain now.
func (t *Table) allSuspended(i *issuer) bool {
	return !slices.ContainsFunc(i.domains, func(domain string) bool { return !t.isSuspended(domain) })
}
