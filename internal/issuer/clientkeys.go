package issuer

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/published"
)

// clientKeys caches the keys that clients publish at their jwks_uri.
type clientKeys struct {
	http    *http.Client
	foreign *http.Client // for URLs of clients that registered themselves
	now     func() time.Time
	log     *slog.Logger

	mu   sync.Mutex
	sets map[string]clientSet // by client id, so that no client affects the keys of another
}

type clientSet struct {
	uri   string
	cache *published.Cache[[]assertion.Key]
}

var _ clients.KeySource = (*clientKeys)(nil)

func newClientKeys(cfg *config.Config, observe fetch.Observer, now func() time.Time, log *slog.Logger) (*clientKeys, error) {
	client, err := outbound(cfg, observe)
	if err != nil {
		return nil, err
	}
	policy, err := cfg.FetchPolicy()
	if err != nil {
		return nil, err
	}
	policy.Observe = observe
	foreign, err := fetch.NewForeignClient(policy)
	return &clientKeys{http: client, foreign: foreign, now: now, log: log, sets: make(map[string]clientSet)}, err
}

func (k *clientKeys) Keys(ctx context.Context, c *clients.Client, has func([]assertion.Key) bool) ([]assertion.Key, error) {
	from := k.http
	if c.Foreign {
		from = k.foreign
	}
	cache := k.cache(c.ID, c.JWKSURI, from)
	keys, err := cache.Get(ctx, has)
	switch {
	case errors.Is(err, published.ErrAbsent):
		return nil, clients.ErrNoKey
	case errors.Is(err, published.ErrUnavailable):
		if last, ok := cache.Last(); !ok || !has(last) {
			return nil, clients.ErrNoKey
		}
	}
	return keys, err
}

func fetchKeys(ctx context.Context, from *http.Client, uri string) ([]assertion.Key, error) {
	body, err := published.Read(fetch.For(ctx, fetch.ClientKeys), from, uri, "application/jwk-set+json", "application/json")
	if err != nil {
		return nil, err
	}
	return assertion.ReadKeys(body)
}

// cache returns the cache of a client's keys. It starts anew when the client publishes them at another URL.
func (k *clientKeys) cache(client, uri string, from *http.Client) *published.Cache[[]assertion.Key] {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, ok := k.sets[client]
	if !ok || set.uri != uri {
		var failed atomic.Bool
		set = clientSet{uri, published.New(published.Config[[]assertion.Key]{
			Fetch: func(ctx context.Context) ([]assertion.Key, error) {
				keys, err := fetchKeys(ctx, from, uri)
				if failing := err != nil; failed.Swap(failing) != failing {
					k.log.Warn("reading the keys of a client", slog.Bool("failing", failing), slog.String("client", client),
						slog.String("jwks_uri", uri), slog.Any("error", err))
				}
				return keys, err
			},
			Now: k.now,
		})}
		k.sets[client] = set
	}
	return set.cache
}
