package server

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/published"
	"github.com/imidentity/issuer/oauth"
)

// clientKeys keeps the keys that clients publish at their jwks_uri.
type clientKeys struct {
	http *http.Client
	now  func() time.Time

	mu   sync.Mutex
	sets map[string]clientSet // by client id: what one client does to its keys costs no other
}

type clientSet struct {
	uri   string
	cache *published.Cache[[]assertion.Key]
}

var _ oauth.ClientKeys = (*clientKeys)(nil)

func newClientKeys(cfg *config.Config, now func() time.Time) (*clientKeys, error) {
	client, err := outbound(cfg)
	return &clientKeys{http: client, now: now, sets: make(map[string]clientSet)}, err
}

func (k *clientKeys) Keys(ctx context.Context, c *oauth.Client, has func([]assertion.Key) bool) ([]assertion.Key, error) {
	keys, err := k.cache(c.ID, c.JWKSURI).Get(ctx, has)
	if errors.Is(err, published.ErrAbsent) {
		return nil, oauth.ErrNoClientKey
	}
	return keys, err
}

// cache returns what is known of a client's keys; nothing, if it publishes them elsewhere by now.
func (k *clientKeys) cache(client, uri string) *published.Cache[[]assertion.Key] {
	k.mu.Lock()
	defer k.mu.Unlock()
	set, ok := k.sets[client]
	if !ok || set.uri != uri {
		set = clientSet{uri, published.New(published.Config[[]assertion.Key]{
			Fetch: func(ctx context.Context) ([]assertion.Key, error) {
				body, err := published.Read(ctx, k.http, uri, "application/jwk-set+json", "application/json")
				if err != nil {
					return nil, err
				}
				return assertion.ReadKeys(body)
			},
			Now: k.now,
		})}
		k.sets[client] = set
	}
	return set.cache
}
