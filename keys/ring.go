// Package keys manages the issuer's secrets: the signing keys, the cluster secrets from which other secrets are derived, and the
// key-encryption keys under which all of them are sealed.
//
// [OpenRing] opens the signing keys of a database and makes the first one. The [Ring] signs, looks up public keys by kid, and
// publishes the public keys as a JWK Set (RFC 7517 §5). [Ring.Run] publishes each key before it signs, and reads the changes
// that other processes make. A kid is the RFC 7638 thumbprint of its key.
//
// Note that no row says which key signs now. Each row holds the time from which its key signs and the time at which it
// retires; the signing key follows from the clock. So all nodes switch at the same moment, even a node that has lost its
// database. A [Cluster] follows and rotates the cluster secrets in the same way.
//
// The database holds only sealed secrets, and the key-encryption keys are stored elsewhere: a copy of the database alone cannot
// sign. The package knows nothing of tokens or HTTP.
package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// ErrStale is returned if a [Ring] could not read the store for longer than [RingConfig.Limit]: another process may have revoked or
// replaced its keys since.
var ErrStale = errors.New("keys: the signing keys could not be read lately")

// RingConfig configures [OpenRing].
type RingConfig struct {
	// Alg is the algorithm of new keys: ES256, EdDSA (with Ed25519) or RS256 (with 3072 bits). Empty means ES256.
	Alg string
	// LongestLife is the longest life of anything that the ring signs, plus the largest difference between the clocks of nodes.
	// A retired key is published for that time. Zero means 65 minutes.
	LongestLife time.Duration
	// RotateEvery is how long a key signs before [Ring.Run] replaces it. Zero means that only [Ring.Rotate] does.
	RotateEvery time.Duration
	// PublishAhead is how long a key is published before it signs. It must exceed the time for which verifiers cache a key set.
	// Zero means a day.
	PublishAhead time.Duration
	// Interval is the time between two reads of the store by [Ring.Run]. Zero means 200 ms.
	Interval time.Duration
	// Limit is the age of the last read from which the ring refuses to sign. Zero means two minutes.
	Limit time.Duration
	// Revoked is called with the revocation of a key as soon as it is durable. It may be nil.
	Revoked func(...storage.Revocation)
	// Changed is called for each key that a change revoked or made sign, in the transaction of the change. Its error undoes the change.
	// It may be nil.
	Changed func(context.Context, storage.Tx, Event) error
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Log receives one line when reading begins to fail and one when it works again. Nil discards them.
	Log *slog.Logger
}

// A Ring holds the issuer's signing keys as they were when the store was last read. It is safe for concurrent use. Signing and
// looking up a key take no lock.
type Ring struct {
	cfg    RingConfig
	store  Store
	sealer *Sealer

	state atomic.Pointer[state]
	read  atomic.Pointer[time.Time] // when the last successful read began
	loop  *follow.Loop

	// turn is held while rows are read or changed and a state is made of them, so that an older state never replaces a newer one.
	// It guards spare, a new key that no change has added yet, and awaited, see [Ring.Await].
	turn    chan struct{}
	spare   *storage.SigningKey
	awaited time.Time
	// reads counts the reads that began, and done is the number of the last one that succeeded.
	reads, done atomic.Uint64
}

// OpenRing opens the signing keys of store. If no key signs with the algorithm of cfg, another one takes over at once; if several
// nodes start at once, one of them makes it, and all sign with it. The error is [ErrWrongKey] if the keys were sealed under
// another key-encryption key than that of sealer. Other errors are about a damaged key, or come from the store.
//
// The ring follows the store while [Ring.Run] runs.
func OpenRing(ctx context.Context, store Store, sealer *Sealer, cfg RingConfig) (*Ring, error) {
	cfg.complete()
	r := &Ring{cfg: cfg, store: store, sealer: sealer, turn: make(chan struct{}, 1)}
	r.loop = follow.New(follow.Config{
		Name: "following the signing keys", Interval: r.cfg.Interval, Gap: nudgeGap, Log: r.cfg.Log,
		Do: func(ctx context.Context) error {
			if err := r.Refresh(ctx); err != nil {
				return err
			}
			return r.maintain(ctx, false)
		},
	})
	r.state.Store(&state{})
	// The existing keys must open first: no key is added under another key-encryption key.
	err := r.Refresh(ctx)
	if err == nil {
		err = r.maintain(ctx, true)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: open ring: %w", err)
	}
	return r, nil
}

func (cfg *RingConfig) complete() {
	if cfg.Alg == "" {
		cfg.Alg = jose.ES256
	}
	if cfg.LongestLife == 0 {
		cfg.LongestLife = 65 * time.Minute
	}
	cfg.LongestLife = (cfg.LongestLife + time.Millisecond - 1).Truncate(time.Millisecond) // as the store keeps it
	if cfg.PublishAhead == 0 {
		cfg.PublishAhead = 24 * time.Hour
	}
	if cfg.Interval == 0 {
		cfg.Interval = 200 * time.Millisecond
	}
	if cfg.Limit == 0 {
		cfg.Limit = 2 * time.Minute
	}
	if cfg.Revoked == nil {
		cfg.Revoked = func(...storage.Revocation) {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func(context.Context, storage.Tx, Event) error { return nil }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

// Run follows the store until ctx ends: it reads the changes of other processes, and makes the next key when it is due.
func (r *Ring) Run(ctx context.Context) { r.loop.Run(ctx) }

// Nudge makes [Ring.Run] read now: another process has changed the keys.
func (r *Ring) Nudge() { r.loop.Wake() }

// nudgeGap is the least time between two reads, however often the ring is nudged.
const nudgeGap = 20 * time.Millisecond

// readTime bounds a read: a revocation in the same process waits for it.
const readTime = 5 * time.Second

// Refresh reads the keys once. If it fails, the ring keeps the keys that it has.
func (r *Ring) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	if err := r.lock(ctx); err != nil {
		return err
	}
	defer r.unlock()
	return r.readRows(ctx)
}

// lock waits for the turn of the caller, which must call unlock. A caller whose context ends does not wait for a store that hangs.
func (r *Ring) lock(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Ring) unlock() { <-r.turn }

// readRows reads the keys. The caller holds the turn.
func (r *Ring) readRows(ctx context.Context) error {
	number, began := r.reads.Add(1), r.cfg.Now()
	rows, err := r.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	if err := r.adopt(rows, began); err != nil {
		return err
	}
	r.done.Store(number)
	return nil
}

// adopt makes a state of rows that were read at the time began. A key that does not open is left out, and then the read does not
// count as successful: if the fault stays, the ring stops signing. The caller holds the turn.
func (r *Ring) adopt(rows []storage.SigningKey, began time.Time) error {
	old := r.state.Load()
	keys := make([]*key, 0, len(rows))
	var faults []error
	for _, row := range rows {
		k, err := r.open(row, old.find(row.KID))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		keys = append(keys, k)
	}
	r.state.Store(newState(old, keys, r.cfg.Now(), r.cfg.LongestLife))
	if len(faults) > 0 {
		return errors.Join(faults...)
	}
	r.read.Store(&began)
	return nil
}

// at returns the state at now. If the last state has ended by the clock, the next one replaces it.
func (r *Ring) at(now time.Time) *state {
	for {
		s := r.state.Load()
		if s.until.IsZero() || now.Before(s.until) {
			return s
		}
		r.state.CompareAndSwap(s, newState(s, s.keys, now, r.cfg.LongestLife))
	}
}

// Fresh returns nil if the last successful read is at most the limit before now, else [ErrStale].
func (r *Ring) Fresh(now time.Time) error {
	if last := r.read.Load(); last == nil || now.Sub(*last) > r.cfg.Limit {
		return ErrStale
	}
	return nil
}

// Signer returns the key that signs now with its kid and JOSE algorithm, or zero values if there is none.
func (r *Ring) Signer() (kid, alg string, signer crypto.Signer) {
	s := r.at(r.cfg.Now())
	return s.kid, s.alg, s.signer
}

// Sign signs claims, which is JSON, and returns the compact JWS. Its type is typ, one of those of internal/jose. The error is
// [ErrStale] if the ring may have missed a change of its keys.
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	now := r.cfg.Now()
	if err := r.Fresh(now); err != nil {
		return "", err
	}
	s := r.at(now)
	if s.signer == nil {
		return "", errors.New("keys: sign: there is no key that signs")
	}
	header := append(append(append(make([]byte, 0, 128), `{"typ":"`...), typ...), s.suffix...)
	token, err := jose.Sign(s.signer, s.alg, header, claims)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	return token, nil
}

// Public returns the public key of kid and its JOSE algorithm if the key is in the key set: also before it signs and while it is
// retired. It returns false for any other kid.
func (r *Ring) Public(kid string) (key crypto.PublicKey, alg string, ok bool) {
	p, ok := r.at(r.cfg.Now()).public[kid]
	return p.key, p.alg, ok
}

// JWKS returns the published keys as a JWK Set (RFC 7517 §5), and its strong entity tag in quotation marks. The bytes are shared
// and must not be changed.
func (r *Ring) JWKS() (set []byte, etag string) {
	s := r.at(r.cfg.Now())
	return s.jwks, s.etag
}
