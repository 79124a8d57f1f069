package keys

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A RotatingError is returned by [Cluster.Rotate] until the secret before the last rotation has ended.
type RotatingError struct {
	// Until is when the next rotation is possible.
	Until time.Time
}

func (e *RotatingError) Error() string {
	return "keys: the cluster secret was rotated, and values of the secret before it are valid until " + e.Until.UTC().Format(time.RFC3339)
}

// Rotate makes a new cluster secret. All nodes accept it as soon as they have read it, and use it after [ClusterConfig.Ahead]. What
// was made with the old one stays valid for its life. The error is a [RotatingError] while an earlier rotation has not ended.
//
// With leaked, the new secret is used at once, the old ones end, and so does all that was made with them. This is possible at any time.
func (c *Cluster) Rotate(ctx context.Context, leaked bool) (ClusterInfo, error) {
	var secret [32]byte
	rand.Read(secret[:])
	made := ClusterInfo{ID: clusterID(secret)}
	err := c.change(ctx, func(tx storage.Tx, s *clusterState, now time.Time) error {
		from := now.Add(c.cfg.Ahead)
		if leaked {
			from = now
			for _, k := range s.secrets[1:] {
				if err := tx.DeleteSecret(ctx, k.name); err != nil {
					return err
				}
			}
		} else if last := s.secrets[len(s.secrets)-1]; len(s.secrets) > 1 && !last.alone {
			if until := last.from.Add(c.cfg.Keep + c.cfg.Skew); now.Before(until) {
				return &RotatingError{until}
			}
		}
		for slices.ContainsFunc(s.secrets, func(k clusterKey) bool { return k.from.Equal(from) }) {
			from = from.Add(time.Millisecond) // no two secrets have one name
		}
		if err := c.put(ctx, tx, clusterKey{secret: secret, from: from, alone: leaked}); err != nil {
			return err
		}
		made.State, made.Since, made.Until = Published, now, from
		if leaked {
			made.State, made.Since, made.Until = Signing, from, time.Time{}
		}
		return c.cfg.Changed(ctx, tx, ClusterEvent{ID: made.ID, Leaked: leaked})
	})
	if err != nil {
		return ClusterInfo{}, fmt.Errorf("keys: rotate the cluster secret: %w", err)
	}
	return made, nil
}

// Maintain ends the secrets of which nothing is valid any more. It deletes their rows, and marks the one that follows them as standing
// alone: so they are not accepted again either if the settings change. The row of the first secret stays, because it is also the
// lasting one.
func (c *Cluster) Maintain(ctx context.Context) error {
	if c.ended(c.state.Load(), c.now()) == 0 { // nearly always
		return nil
	}
	return c.change(ctx, func(tx storage.Tx, s *clusterState, now time.Time) error {
		n := c.ended(s, now)
		if n == 0 { // another node was first
			return nil
		}
		for _, k := range s.secrets[1 : n+1] {
			if err := tx.DeleteSecret(ctx, k.name); err != nil {
				return err
			}
		}
		c.cfg.Log.InfoContext(ctx, "a cluster secret ended", slog.String("id", clusterID(s.secrets[n-1].secret)))
		return c.put(ctx, tx, clusterKey{secret: s.secrets[n].secret, from: s.secrets[n].from, alone: true})
	})
}

// ended returns how many secrets have ended that are still accepted by their rows.
func (c *Cluster) ended(s *clusterState, now time.Time) int {
	for n := len(s.secrets) - 1; n > s.first(); n-- {
		if !now.Before(c.ends(s, n-1, c.cfg.Keep)) {
			return n
		}
	}
	return 0
}

// put stores a secret.
func (c *Cluster) put(ctx context.Context, tx storage.Tx, k clusterKey) error {
	name := clusterName(k.from, k.alone)
	sealed, err := c.sealer.Seal(name, k.secret[:])
	if err != nil {
		return err
	}
	return tx.PutSecret(ctx, name, sealed)
}

// now is the time in whole milliseconds, as names hold times.
func (c *Cluster) now() time.Time { return c.cfg.Now().UTC().Truncate(time.Millisecond) }

// change changes the rows in one transaction, and then reads them.
func (c *Cluster) change(ctx context.Context, do func(tx storage.Tx, s *clusterState, now time.Time) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.cfg.Now()
	var rows []storage.Secret
	err := c.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		before, err := tx.Secrets(ctx)
		if err != nil {
			return err
		}
		s, err := c.open(c.state.Load(), before)
		if err != nil {
			return err
		}
		if err := do(tx, s, c.now()); err != nil {
			return err
		}
		rows, err = tx.Secrets(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return c.adopt(rows, began)
}
