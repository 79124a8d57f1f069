package keys

import (
	"sync/atomic"
	"time"
)

// Lasting derives a key that never changes: see [Cluster] for which values need one.
func (c *Cluster) Lasting(label string) [32]byte { return Derive(c.root, label) }

// A Derived is the key for one purpose, derived from the current cluster secret, and those that are still or already accepted.
// It is safe for concurrent use.
type Derived struct {
	cluster *Cluster
	label   string
	life    time.Duration
	cached  atomic.Pointer[derivedKeys]
}

// derivedKeys are the keys of one state between two moments.
type derivedKeys struct {
	state       *clusterState
	since, till time.Time // till is zero if no end is known
	keys        [][32]byte
}

// Derive returns the key for the purpose that label names. What is made with it lives no longer than life, which is at most
// [ClusterConfig.Keep].
func (c *Cluster) Derive(label string, life time.Duration) *Derived {
	return &Derived{cluster: c, label: label, life: min(life, c.cfg.Keep)}
}

// Keys returns the keys that are accepted now. New values are made with the first one. The slice is shared and must not be changed; as
// long as the keys are the same, so is the slice.
func (d *Derived) Keys() [][32]byte {
	now, s := d.cluster.cfg.Now(), d.cluster.state.Load()
	c := d.cached.Load()
	if c != nil && c.state == s && !now.Before(c.since) && (c.till.IsZero() || now.Before(c.till)) {
		return c.keys
	}
	c = d.at(s, now)
	d.cached.Store(c)
	return c.keys
}

// Fresh is Keys, but returns [ErrStale] if another node may have made a secret since that this node has not read.
func (d *Derived) Fresh() ([][32]byte, error) {
	if err := d.cluster.Fresh(d.cluster.cfg.Now()); err != nil {
		return nil, err
	}
	return d.Keys(), nil
}

// at returns the keys at now.
func (d *Derived) at(s *clusterState, now time.Time) *derivedKeys {
	c := &derivedKeys{state: s, since: now}
	// endsAt ends the state at the first of the moments after now.
	endsAt := func(t time.Time) {
		if t.After(now) && (c.till.IsZero() || t.Before(c.till)) {
			c.till = t
		}
	}
	current := s.current(now)
	c.keys = append(c.keys, Derive(s.secrets[current].secret, d.label))
	for i := s.first(); i < len(s.secrets); i++ {
		end := d.cluster.ends(s, i, d.life)
		endsAt(s.secrets[i].from)
		endsAt(end)
		if i != current && (end.IsZero() || now.Before(end)) {
			c.keys = append(c.keys, Derive(s.secrets[i].secret, d.label))
		}
	}
	return c
}
