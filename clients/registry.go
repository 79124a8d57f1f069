// Package clients holds the registered OAuth clients and authenticates them: by a secret (RFC 6749 §2.3.1) or by a signed
// assertion (RFC 7521, RFC 7523). Clients come from the settings and from storage; [Registry.Set] replaces all of them.
//
// The package knows nothing of tokens and HTTP. The rights of a client are checked by the packages that grant them.
package clients

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A Store is the part of storage that a [Registry] uses.
type Store interface {
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Reader reads the rows of clients: a store, or one of its transactions.
type Reader interface {
	Client(ctx context.Context, id string) (storage.Client, error)
}

// Config configures [New].
type Config struct {
	// Issuer is the server's own URL, the audience of client assertions. Required.
	Issuer string
	// Store holds the clients that operators add, and the assertions that were used. Required.
	Store Store
	// Keys finds the keys of clients that have a JWKSURI. Required if there is one.
	Keys KeySource
	// TokenLife is the longest life of an access token: the tokens of a removed client are revoked for so long. Required.
	TokenLife time.Duration
	// Revoked is told of revocations as soon as they are durable. Nil tells nobody.
	Revoked func(...storage.Revocation)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes secrets. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// A Registry holds the registered clients. It is safe for concurrent use.
type Registry struct {
	issuer    string
	store     Store
	keys      KeySource
	tokenLife time.Duration
	revoked   func(...storage.Revocation)
	now       func() time.Time
	rand      io.Reader
	clients   atomic.Pointer[map[string]*Client] // never changed in place
	managers  atomic.Pointer[[]*Client]          // those with SCIM; never changed in place
}

// New returns a registry without clients.
func New(cfg Config) (*Registry, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.TokenLife <= 0 {
		return nil, errors.New("clients: Config needs Issuer, Store and TokenLife")
	}
	r := &Registry{
		issuer: cfg.Issuer, store: cfg.Store, keys: cfg.Keys, tokenLife: cfg.TokenLife, revoked: cfg.Revoked, now: cfg.Now, rand: cfg.Rand,
	}
	r.clients.Store(new(map[string]*Client))
	r.managers.Store(new([]*Client))
	if r.revoked == nil {
		r.revoked = func(...storage.Revocation) {}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.rand == nil {
		r.rand = rand.Reader
	}
	return r, nil
}

// Set replaces all clients. A request that has found its client goes on with what it found: none sees a mixture.
func (r *Registry) Set(list []Client) error {
	clients := make(map[string]*Client, len(list))
	for _, c := range list {
		if c.ID == "" || strings.Contains(c.ID, ":") {
			return errors.New("clients: a client id is empty or has a colon")
		}
		if c.JWKSURI != "" && r.keys == nil {
			return errors.New("clients: Config needs Keys for a client with a JWKSURI")
		}
		clients[c.ID] = &c
	}
	var managers []*Client
	for _, c := range clients {
		if c.SCIM != nil {
			managers = append(managers, c)
		}
	}
	r.clients.Store(&clients)
	r.managers.Store(&managers)
	return nil
}

// Client returns the client of that id, and false if there is none.
func (r *Registry) Client(id string) (*Client, bool) {
	c, ok := (*r.clients.Load())[id]
	return c, ok
}
