package issuer

import (
	"cmp"
	"context"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/admin"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/httpapi"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// The labels of keys that are derived from the current cluster secret, which can be rotated. What is made with them expires.
const (
	labelNonces    = "dpop nonce"
	labelKeyProofs = "key proof nonce"  // c_nonce of OpenID4VCI
	labelWire      = "wire proof nonce" // for certificate authorities of Wire
	labelRefresh   = "refresh token"    // also of the user codes of device codes
	labelCursors   = "feed cursors"     // of the feed of revocations
	labelQueries   = "queries of pages" // which pending logins store sealed
)

// The labels of keys that are derived from the lasting secret. They are for values that are stored, or that others remember.
const (
	labelTombstones  = "tombstones"       // marks that stay of removed users
	labelLinks       = "ids of links"     // by which users name their links to OpenID providers
	labelUpstream    = "upstream tokens"  // refresh tokens of OpenID providers, stored sealed
	labelPairwise    = "pairwise ids"     // under which callers of the introspection know users
	labelIdempotency = "idempotency keys" // of stored answers: under two keys, two nodes could do one request twice
	labelHashes      = "feed hashes"      // which callers of the feed compare with their own
	labelLimits      = "shared limits"    // names of limits in Redis
)

// queryLife is longer than a pending login can last.
const queryLife = time.Hour

// refreshLife is the longest life of refresh tokens and user codes.
func refreshLife(cfg *config.Config) time.Duration {
	return max(cfg.Lifetimes.RefreshIdle, cmp.Or(cfg.Lifetimes.DeviceCode, 30*time.Minute))
}

// openCluster opens the cluster secrets.
func (i *Instance) openCluster(ctx context.Context, sealer *keys.Sealer) (err error) {
	i.cluster, err = keys.OpenCluster(ctx, i.store, sealer, keys.ClusterConfig{
		Keep: max(refreshLife(i.cfg), dpop.NonceLife, revocation.CursorLife, queryLife), Skew: clockSkew,
		Changed: i.clusterChanged, KEKChanged: i.kekChanged, Now: i.now, Log: i.log,
	})
	return err
}

// followCluster reads the cluster secrets that other nodes made, and deletes those that have ended, while the time is known.
func (i *Instance) followCluster(ctx context.Context) error {
	if err := i.cluster.Refresh(ctx); err != nil || i.time() != nil {
		return err
	}
	return i.cluster.Maintain(ctx)
}

// clusterChanged records a rotation.
func (i *Instance) clusterChanged(ctx context.Context, tx storage.Tx, e keys.ClusterEvent) error {
	by, _ := httpapi.OperatorOf(ctx)
	event := audit.Event{Kind: audit.ClusterSecretRotated, Actor: admin.Actor(ctx), Address: by.Address, Key: e.ID, Reason: "operator"}
	if e.Leaked {
		event.Reason = "leaked"
	}
	return audit.Append(ctx, tx, event)
}

// kekChanged records a rotation of the key-encryption key.
func (i *Instance) kekChanged(ctx context.Context, tx storage.Tx, e keys.KEKEvent) error {
	by, _ := httpapi.OperatorOf(ctx)
	return audit.Append(ctx, tx, audit.Event{
		Kind: audit.KEKRotated, Actor: admin.Actor(ctx), Address: by.Address, Key: e.ID, Reason: "operator",
	})
}

// resealEvery is how often the issuer looks for secrets that are not sealed under the present key-encryption key: an interrupted rotation
// left them, or a node made them before it had read that the key is another one.
const resealEvery = time.Minute
