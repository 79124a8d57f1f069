package statuslist

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// A KeySource finds the keys of issuers. The table of package trust is one.
type KeySource interface {
	// Key returns the public key that an issuer publishes under kid, and its algorithm.
	Key(ctx context.Context, issuer, kid string) (key crypto.PublicKey, alg string, err error)
}

// Defaults for the zero values of [ReaderConfig].
const (
	DefaultTTL    = 5 * time.Minute
	DefaultMinTTL = 10 * time.Second
	DefaultMaxTTL = 15 * time.Minute
	DefaultMaxAge = 24 * time.Hour
	DefaultLists  = 256
	DefaultMemory = 64 << 20
)

// ReaderConfig configures [NewReader].
type ReaderConfig struct {
	// Keys finds the key that signed a list. Required.
	Keys KeySource
	// Client fetches the lists. Their addresses come from tokens, so a client must not reach hosts that the issuers of tokens
	// should not. Nil means the strictest client: https, public addresses only, no redirects.
	Client *http.Client
	// Bits is how many bits an entry must have. Zero allows any number, but a list may not change it.
	Bits int
	// MaxStale is for how long, after its ttl, a list is used while no newer one can be fetched; never after its exp. Zero means
	// that it is not: a status cannot be known while the list cannot be fetched.
	MaxStale time.Duration
	// MinTTL and MaxTTL bound the ttl of lists, so that no list asks to be fetched all the time, or is used for too long (§11.5).
	// A list without ttl is used for [DefaultTTL]. Zero means [DefaultMinTTL] and [DefaultMaxTTL].
	MinTTL, MaxTTL time.Duration
	// MaxAge is how long after its iat a list may be used. Zero means until its exp, and [DefaultMaxAge] for one without exp.
	MaxAge time.Duration
	// Limits bound the size of a list.
	Limits Limits
	// Lists and Memory bound how many lists are kept, and how many bytes they take. The one that was not used for longest is
	// dropped first. Zero means [DefaultLists] and [DefaultMemory].
	Lists, Memory int
	// AllowHTTP permits http addresses. For development and tests.
	AllowHTTP bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Reader tells the statuses of tokens by the lists that their issuers publish. It keeps lists as long as they allow, and equal
// questions at the same time share one request. It is safe for concurrent use.
type Reader struct {
	cfg   ReaderConfig
	lists *published.Shelf[place, *entry, mark]
}

// A place is where a list is published, and the issuer that vouches for it. Lists of two issuers are never shared, even at one
// address.
type place struct{ issuer, uri string }

// A mark is what is remembered of the newest list of a place, so that no older one takes its place.
type mark struct {
	issuedAt time.Time
	bits     int
}

// NewReader returns a reader that has no lists yet.
func NewReader(cfg ReaderConfig) (*Reader, error) {
	if cfg.Keys == nil {
		return nil, errors.New("statuslist: ReaderConfig needs Keys")
	}
	cfg.Limits.complete()
	cfg.MinTTL, cfg.MaxTTL = cmp.Or(cfg.MinTTL, DefaultMinTTL), cmp.Or(cfg.MaxTTL, DefaultMaxTTL)
	cfg.Lists, cfg.Memory = cmp.Or(cfg.Lists, DefaultLists), cmp.Or(cfg.Memory, DefaultMemory)
	if cfg.MinTTL < 0 || cfg.MaxTTL < cfg.MinTTL || cfg.MaxStale < 0 || cfg.MaxAge < 0 || cfg.Lists < 0 || cfg.Memory < 0 ||
		cfg.Limits.Packed < 0 || cfg.Limits.Unpacked < 0 {
		return nil, errors.New("statuslist: the bounds of ReaderConfig must not be negative, nor MaxTTL less than MinTTL")
	}
	if cfg.Bits != 0 {
		if err := checkBits(cfg.Bits); err != nil {
			return nil, err
		}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Client == nil {
		var err error
		policy := fetch.Policy{MaxBody: int64(cfg.Limits.Packed), AllowHTTP: cfg.AllowHTTP}
		if cfg.Client, err = fetch.NewForeignClient(policy); err != nil {
			return nil, fmt.Errorf("statuslist: %w", err)
		}
	}
	return &Reader{cfg: cfg, lists: published.NewShelf[place](cfg.Lists, cfg.Memory, (*entry).mark)}, nil
}

// Check returns nil if the status of a token is [Valid], and a *[StatusError] if it is another one. Any other error is one of
// [Reader.Status].
func (r *Reader) Check(ctx context.Context, issuer string, ref Reference) error {
	status, err := r.Status(ctx, issuer, ref)
	if err == nil && status != Valid {
		err = &StatusError{status}
	}
	return err
}

// Status returns the status of a token of issuer, which the caller has verified, by its reference. The list must be signed by a key of
// the same issuer. Every error wraps [ErrUnknown].
func (r *Reader) Status(ctx context.Context, issuer string, ref Reference) (Status, error) {
	if err := checkURI(ref.URI, r.cfg.AllowHTTP); err != nil {
		return 0, err
	}
	key := place{issuer, ref.URI}
	e := r.lists.Entry(key, func(newest mark) *entry {
		e := &entry{reader: r, place: key, newest: newest}
		e.cache = published.New(published.Config[*document]{Fetch: e.fetch, Life: e.life, Now: r.cfg.Now})
		return e
	})
	doc, err := e.cache.Get(ctx, published.Any)
	if err != nil {
		return 0, e.unknown(err)
	}
	r.lists.Keep(key, e, doc.size())
	return doc.List.At(ref.Index)
}
