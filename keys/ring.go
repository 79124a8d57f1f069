package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/internal/follow"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// ErrStale is returned when a [Ring] could not read the store for longer than [RingConfig.Limit]: its keys may have been
// revoked, or replaced, by somebody else since.
var ErrStale = errors.New("keys: the signing keys could not be read lately")

// RingConfig configures [OpenRing].
type RingConfig struct {
	// Alg is the algorithm of a new key: ES256, which empty means too, EdDSA (with Ed25519) or RS256 (with 3072 bits).
	Alg string
	// LongestLife is the longest life of anything that the ring signs, and by how much the clocks of several nodes may
	// differ added to it. A retired key is published for so long. Zero means 65 minutes.
	LongestLife time.Duration
	// RotateEvery is how long a key signs before [Ring.Run] has the next one take its place. Zero means until
	// [Ring.Rotate].
	RotateEvery time.Duration
	// PublishAhead is how long a key is published before it signs; it must exceed the time for which verifiers keep a
	// key set. Zero means a day.
	PublishAhead time.Duration
	// Interval is the time between two reads of the store by [Ring.Run]. Zero means 200 ms.
	Interval time.Duration
	// Limit is how old the last read may be before the ring signs no more. Zero means two minutes.
	Limit time.Duration
	// Revoked is told of the revocation of a key as soon as it is durable. Nil tells nobody.
	Revoked func(...storage.Revocation)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Log receives audit events, and is told when reading begins to fail and when it succeeds again. Nil discards them.
	Log *slog.Logger
}

// A Ring holds the issuer's signing keys, as they were when the store was last read and as they stand at this moment by
// the clock. It is safe for concurrent use; to sign and to look up a key takes no lock.
type Ring struct {
	cfg    RingConfig
	store  Store
	sealer *Sealer

	state atomic.Pointer[state]
	read  atomic.Pointer[time.Time] // when the last successful read began

	// mu is held from a read or a change of the rows to the state that is made of them, so that no state comes back which
	// a later one has replaced. It guards spare, the key that was made last: a change that
	// fails leaves it for the next one.
	mu    sync.Mutex
	spare *storage.SigningKey
}

// OpenRing opens the signing keys of store. If none of them signs with the algorithm of cfg, another one takes over at
// once; of several nodes that start at a time one makes it, and all of them sign with it. The error is [ErrWrongKey] if
// sealer has another key-encryption key than the one that the keys were sealed under; any other that is not about a
// damaged key is the store's.
//
// The ring follows the store while [Ring.Run] runs.
func OpenRing(ctx context.Context, store Store, sealer *Sealer, cfg RingConfig) (*Ring, error) {
	cfg.complete()
	r := &Ring{cfg: cfg, store: store, sealer: sealer}
	r.state.Store(&state{})
	// First of all the keys that are there must open: no key is added under another key-encryption key.
	err := r.Refresh(ctx)
	if err == nil {
		err = r.keep(ctx, true)
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
	cfg.LongestLife = (cfg.LongestLife + time.Millisecond - 1).Truncate(time.Millisecond) // as it is kept
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
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
}

// Run follows the store until ctx ends: it reads what others have changed, and has the next key made when it is due.
func (r *Ring) Run(ctx context.Context) {
	loop := follow.New(follow.Config{
		Name: "following the signing keys", Interval: r.cfg.Interval, Log: r.cfg.Log,
		Do: func(ctx context.Context) error {
			if err := r.Refresh(ctx); err != nil {
				return err
			}
			return r.keep(ctx, false)
		},
	})
	loop.Run(ctx)
}

// readTime is how long a read may take. A revocation waits for it.
const readTime = 5 * time.Second

// Refresh reads the keys once. When it fails, those that were known stay.
func (r *Ring) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	began := r.cfg.Now()
	rows, err := r.store.SigningKeys(ctx)
	if err != nil {
		return err
	}
	return r.adopt(rows, began)
}

// adopt makes a state of rows that were read when the clock showed began. A key that does not open is left out; then the
// ring is none the fresher, and stops to sign after a while. The caller holds mu.
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

// at returns the state at a moment: the present one, or the one that the clock has made of it meanwhile.
func (r *Ring) at(now time.Time) *state {
	for {
		s := r.state.Load()
		if s.until.IsZero() || now.Before(s.until) {
			return s
		}
		r.state.CompareAndSwap(s, newState(s, s.keys, now, r.cfg.LongestLife))
	}
}

// Fresh returns nil if the ring has read the store at most the limit before now, and [ErrStale] if not.
func (r *Ring) Fresh(now time.Time) error {
	if last := r.read.Load(); last == nil || now.Sub(*last) > r.cfg.Limit {
		return ErrStale
	}
	return nil
}

// Signer returns the key that signs now, its id and its JOSE algorithm; nothing, if there is none.
func (r *Ring) Signer() (kid, alg string, signer crypto.Signer) {
	s := r.at(r.cfg.Now())
	return s.kid, s.alg, s.signer
}

// Sign returns the compact JWS of claims, which is JSON, under the header typ, one of the types of internal/jose. A ring
// that may have missed a change of its keys signs nothing: [ErrStale].
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	now := r.cfg.Now()
	if err := r.Fresh(now); err != nil {
		return "", err
	}
	s := r.at(now)
	if s.signer == nil {
		return "", errors.New("keys: sign: there is no key that signs")
	}
	token, err := jose.Sign(s.signer, s.alg, []byte(`{"typ":"`+typ+s.suffix), claims)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	return token, nil
}

// Public returns the public key of kid and its JOSE algorithm, also when it has yet to sign or has retired, and false
// for one that was revoked, that has been retired for so long that nothing it signed is valid, or that is not the
// issuer's.
func (r *Ring) Public(kid string) (key crypto.PublicKey, alg string, ok bool) {
	p, ok := r.at(r.cfg.Now()).public[kid]
	return p.key, p.alg, ok
}

// JWKS returns the JWK Set (RFC 7517 §5) of the keys that tokens may be, or will be, signed by, and its strong entity
// tag, quoted. The octets are shared: nobody changes them.
func (r *Ring) JWKS() (set []byte, etag string) {
	s := r.at(r.cfg.Now())
	return s.jwks, s.etag
}
