package keys

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/storage"
)

// ClusterConfig configures [OpenCluster].
type ClusterConfig struct {
	// Keep is the longest life of anything that is made with a cluster secret. Required.
	Keep time.Duration
	// Skew bounds the difference between the clocks of nodes. Zero means five minutes.
	Skew time.Duration
	// Ahead is how long a new secret is accepted before it is used. It must exceed the time for which a node may work without having
	// read the store, plus Skew. Zero means ten minutes.
	Ahead time.Duration
	// Limit is the age of the last read from which the secrets count as stale. Zero means two minutes.
	Limit time.Duration
	// Changed is called in the transaction of each rotation. Its error undoes the rotation. It may be nil.
	Changed func(context.Context, storage.Tx, ClusterEvent) error
	// KEKChanged is the same for each rotation of the key-encryption key.
	KEKChanged func(context.Context, storage.Tx, KEKEvent) error
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Log receives a line for each secret that is deleted. Nil discards it.
	Log *slog.Logger
}

// A ClusterEvent is a rotation.
type ClusterEvent struct {
	// ID names the new secret.
	ID string
	// Leaked says that the secrets before it ended at once.
	Leaked bool
}

// A Cluster holds the secrets that all nodes of one database share, as they were when the store was last read. It is safe for
// concurrent use.
//
// There are two kinds. The lasting secret is made by the first start and never changes: [Cluster.Lasting] derives the keys of values
// that are stored, or that others remember, which another key would make useless. The current secret can be rotated: [Cluster.Derive]
// derives the keys of values that expire. Until the first rotation, both are the same.
//
// A rotation stores a new secret beside the old one. All nodes accept both at once, and use the new one from a moment on that the
// name of its row holds. So they switch at the same time, also a node that has lost its database.
type Cluster struct {
	cfg    ClusterConfig
	store  Store
	sealer *Sealer
	root   [32]byte

	state atomic.Pointer[clusterState]
	read  atomic.Pointer[time.Time] // when the last successful read began

	mu sync.Mutex // held while rows are read or changed and a state is made of them
}

// A clusterState is the immutable list of the secrets, in the order in which they are used. The first one is the lasting secret.
type clusterState struct{ secrets []clusterKey }

// A clusterKey is a cluster secret.
type clusterKey struct {
	name   string
	secret [32]byte
	from   time.Time // when it is used; zero for the first secret
	alone  bool      // the secrets before it have ended
}

// clusterPrefix begins the names of the rows of secrets that a rotation made. The time from which the secret is used follows.
const (
	clusterPrefix = clusterSecret + "/"
	clusterTime   = "2006-01-02T15:04:05.000Z"
	clusterAlone  = "/alone"
)

func clusterName(from time.Time, alone bool) string {
	name := clusterPrefix + from.UTC().Format(clusterTime)
	if alone {
		name += clusterAlone
	}
	return name
}

func parseClusterName(name string) (k clusterKey, err error) {
	k.name = name
	if name == clusterSecret {
		return k, nil
	}
	text, alone := strings.CutSuffix(strings.TrimPrefix(name, clusterPrefix), clusterAlone)
	k.alone = alone
	if k.from, err = time.Parse(clusterTime, text); err != nil {
		return k, fmt.Errorf("keys: the secret %q has a name that this release does not know", name)
	}
	return k, nil
}

// OpenCluster opens the cluster secrets of a database, and makes the first one: see [ClusterSecret] for the errors.
func OpenCluster(ctx context.Context, store Store, sealer *Sealer, cfg ClusterConfig) (*Cluster, error) {
	if cfg.Keep <= 0 {
		return nil, errors.New("keys: ClusterConfig needs Keep")
	}
	cfg.Skew = cmp.Or(cfg.Skew, 5*time.Minute)
	cfg.Ahead = cmp.Or(cfg.Ahead, 10*time.Minute)
	cfg.Limit = cmp.Or(cfg.Limit, 2*time.Minute)
	if cfg.Changed == nil {
		cfg.Changed = func(context.Context, storage.Tx, ClusterEvent) error { return nil }
	}
	if cfg.KEKChanged == nil {
		cfg.KEKChanged = func(context.Context, storage.Tx, KEKEvent) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cluster{cfg: cfg, store: store, sealer: sealer}
	var err error
	if c.root, err = ClusterSecret(ctx, store, sealer, nil); err != nil {
		return nil, err
	}
	c.state.Store(&clusterState{})
	if err := c.Refresh(ctx); err != nil {
		return nil, fmt.Errorf("keys: cluster secrets: %w", err)
	}
	return c, nil
}

// Refresh reads the secrets once. If it fails, the cluster keeps those that it has.
func (c *Cluster) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	began := c.cfg.Now()
	rows, err := c.store.Secrets(ctx)
	if err != nil {
		return err
	}
	return c.adopt(rows, began)
}

// adopt makes a state of rows that were read at the time began. A secret that was opened before is not opened again. The caller holds mu.
func (c *Cluster) adopt(rows []storage.Secret, began time.Time) error {
	old := c.state.Load()
	s, err := c.open(old, rows)
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row.Name == clusterSecret {
			c.sealer.follow(row.Sealed)
		}
	}
	if !slices.Equal(old.secrets, s.secrets) {
		c.state.Store(s)
	}
	c.read.Store(&began)
	return nil
}

func (c *Cluster) open(old *clusterState, rows []storage.Secret) (*clusterState, error) {
	s := new(clusterState)
	for _, row := range rows {
		if row.Name != clusterSecret && !strings.HasPrefix(row.Name, clusterPrefix) {
			continue
		}
		k, err := parseClusterName(row.Name)
		if err != nil {
			return nil, err
		}
		known := slices.IndexFunc(old.secrets, func(o clusterKey) bool { return o.from.Equal(k.from) })
		switch {
		case known >= 0:
			k.secret = old.secrets[known].secret
		case row.Name == clusterSecret:
			k.secret = c.root
		default:
			plain, err := c.sealer.Open(row.Name, row.Sealed)
			if err != nil {
				return nil, err
			}
			if len(plain) != len(k.secret) {
				return nil, fmt.Errorf("keys: %s has %d bytes, want %d", row.Name, len(plain), len(k.secret))
			}
			k.secret = [32]byte(plain)
		}
		s.secrets = append(s.secrets, k)
	}
	if len(s.secrets) == 0 || s.secrets[0].name != clusterSecret {
		return nil, errors.New("keys: the cluster secret was deleted from the database: restart the issuer")
	}
	slices.SortStableFunc(s.secrets[1:], func(a, b clusterKey) int { return a.from.Compare(b.from) })
	return s, nil
}

// Fresh returns nil if the last successful read is at most the limit before now, else [ErrStale].
func (c *Cluster) Fresh(now time.Time) error {
	if last := c.read.Load(); last == nil || now.Sub(*last) > c.cfg.Limit {
		return ErrStale
	}
	return nil
}

// first returns the index of the first secret that may be accepted: none before one that stands alone is.
func (s *clusterState) first() int {
	for i := len(s.secrets) - 1; i > 0; i-- {
		if s.secrets[i].alone {
			return i
		}
	}
	return 0
}

// current returns the index of the secret that is used at now. A secret that stands alone is used at once, also by a node whose clock
// is behind that of the node which made it.
func (s *clusterState) current(now time.Time) int {
	at := s.first()
	for i := at + 1; i < len(s.secrets); i++ {
		if !s.secrets[i].from.After(now) {
			at = i
		}
	}
	return at
}

// ends returns when values with some life that were made with secret i have expired on all nodes. It is zero for the last secret.
func (c *Cluster) ends(s *clusterState, i int, life time.Duration) time.Time {
	if i+1 == len(s.secrets) {
		return time.Time{}
	}
	return s.secrets[i+1].from.Add(life + c.cfg.Skew)
}

// A ClusterInfo describes a cluster secret to an administrator.
type ClusterInfo struct {
	// ID is derived from the secret, and tells nothing about it.
	ID string
	// State is [Published], [Signing] or [Retired].
	State State
	// Since is when the secret entered its state, and zero for the first secret. Until is when it leaves it: a retired secret is then
	// deleted. Until is zero if that is not known.
	Since, Until time.Time
}

// List returns the secrets that are accepted, oldest first.
func (c *Cluster) List() []ClusterInfo {
	now, s := c.cfg.Now(), c.state.Load()
	current := s.current(now)
	var list []ClusterInfo
	for i := s.first(); i < len(s.secrets); i++ {
		k := s.secrets[i]
		info := ClusterInfo{ID: clusterID(k.secret), State: Signing, Since: k.from}
		switch {
		case i < current:
			info.State, info.Since, info.Until = Retired, s.secrets[i+1].from, c.ends(s, i, c.cfg.Keep)
			if !now.Before(info.Until) {
				continue
			}
		case i > current:
			info.State, info.Since, info.Until = Published, k.from.Add(-c.cfg.Ahead), k.from
		case i+1 < len(s.secrets):
			info.Until = s.secrets[i+1].from
		}
		list = append(list, info)
	}
	return list
}

func clusterID(secret [32]byte) string {
	id := Derive(secret, "id of a cluster secret")
	return hex.EncodeToString(id[:8])
}
