package trust

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A PeerState is the state of a peer, for metrics and for operators.
type PeerState struct {
	Domain string
	// Issuer is empty if the issuer of the domain is discovered, and none is believed now.
	Issuer string
	// Discovered is true if the domain names the issuer, and false if the issuer is configured.
	Discovered bool
	// Suspended is true if nothing from the peer is trusted: by its configuration, or by [Table.Suspend].
	Suspended bool
	// Fixed is true if the keys are configured and never fetched.
	Fixed bool
	// Keys is how many keys are known.
	Keys int
	// Fetched is when the keys were fetched, and zero if they never were.
	Fetched time.Time
	// Confirmed is when the document of a discovered domain was last read, and zero if it never was.
	Confirmed time.Time
	// Failed is when the issuer or the domain last did not answer, and Err the reason, for logs. They are zero after a fetch that
	// succeeded. Err wraps [ErrChanged] while a domain names issuers that are not believed.
	Failed time.Time
	Err    error
}

// Peers returns the state of each peer, ordered by domain and issuer. Listed domains whose issuers are discovered are among them. It
// sends no request.
func (t *Table) Peers() []PeerState {
	list := t.discovery.states(true)
	for domain, peers := range t.domains {
		for _, p := range peers {
			s := PeerState{Domain: domain, Issuer: p.issuer, Suspended: p.suspended || t.isSuspended(domain)}
			t.issuers[p.issuer].keys.describe(&s)
			list = append(list, s)
		}
	}
	sortStates(list)
	return list
}

// Discovered returns the states of the domains with a pin that [Config.Open] admits, ordered like [Table.Peers]. There may be as many as
// [Open.MaxDomains].
func (t *Table) Discovered() []PeerState {
	list := t.discovery.states(false)
	sortStates(list)
	return list
}

func sortStates(list []PeerState) {
	slices.SortFunc(list, func(a, b PeerState) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Issuer, b.Issuer))
	})
}

// states returns the states of the domains whose issuers are discovered: those that are listed, or the others that have a pin.
func (d *discovery) states(listed bool) []PeerState {
	if d == nil {
		return nil
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	var list []PeerState
	for _, e := range d.domains {
		if e.listed != listed || !listed && !e.pin.Established {
			continue
		}
		document := e.document.State()
		s := PeerState{
			Domain: e.name, Discovered: true, Suspended: d.isSuspended(e),
			Confirmed: e.pin.Confirmed, Failed: document.Failed, Err: document.Err,
		}
		if v, ok := e.document.Last(); ok && v.absent && s.Err == nil {
			s.Failed, s.Err = document.Fetched, errNoDocument
		}
		if waiting := e.pin.waiting(); len(waiting) > 0 {
			s.Err = errors.Join(s.Err, fmt.Errorf("%w: it names %s", ErrChanged, strings.Join(waiting, " and ")))
		}
		believed := e.pin.believed()
		for _, issuer := range believed {
			known := s
			known.Issuer = issuer
			if l := d.issuers[issuer]; l != nil {
				l.documents.describe(&known)
				if configured := d.table.issuers[issuer]; configured != nil {
					configured.keys.describe(&known)
				}
				if s.Err != nil {
					known.Failed, known.Err = s.Failed, errors.Join(s.Err, known.Err)
				}
			}
			list = append(list, known)
		}
		if len(believed) == 0 {
			list = append(list, s)
		}
	}
	return list
}
