package server

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/web"
)

// Rates are how many requests may come from one address, from one client, for one user by one client, and for one user by
// all clients together. The zero [bucket.Limit] is no limit.
type Rates struct {
	Address, Client, UserClient, User bucket.Limit
	// Lookup is for questions about the handles of users, by one address.
	Lookup bucket.Limit
}

// maxBuckets is how many buckets of each kind are kept at most. They take about 10 MB.
const maxBuckets = 1 << 18

// Limits are the rate limits. Each request takes a token from the bucket of its address, then of its client, then of its user,
// as soon as each is known and before anything is spent or written. Nobody can empty the bucket of somebody else:
//
//   - An address is a whole IPv4 address, or the IPv6 network of one customer (64 bits). Everybody behind it, as in an
//     office, shares its bucket.
//   - A client with credentials pays after it has authenticated. Anybody can name a public client, so each address has its own
//     bucket for it.
//   - A user pays after a login, or when one of their devices presents a valid refresh token and proof. They have a bucket
//     for each client and a larger one for all, so an app that asks too often does not lock out other apps.
//
// At introspection only failures take tokens, from buckets of their own: a gateway that asks often and correctly meets no limit.
// A stale nonce is part of normal use, and becomes a failure only when an address sends many of them.
type Limits struct {
	addresses *bucket.Set[netip.Addr]
	failures  *bucket.Set[netip.Addr]
	nonces    *bucket.Set[netip.Addr]
	clients   *bucket.Set[clientKey]
	apps      *bucket.Set[appKey]
	users     *bucket.Set[userKey]
	lookups   *bucket.Set[netip.Addr]
	// Wrong user codes, of a user and of an address.
	userCodes *bucket.Set[userKey]
	codesFrom *bucket.Set[netip.Addr]

	lookupRate atomic.Pointer[bucket.Limit]
	sharing    *common // nil if no limit is shared with other nodes
}

type (
	clientKey struct {
		id   string
		from netip.Addr // of a public client
	}
	userKey struct{ domain, id string }
	appKey  struct{ domain, user, client string }
)

var _ oauth.Limiter = (*Limits)(nil)

// NewLimits returns limits with full buckets. now reports the time; nil means [time.Now].
func NewLimits(r Rates, now func() time.Time) *Limits {
	l := &Limits{
		addresses: bucket.New[netip.Addr](r.Address, maxBuckets, now),
		failures:  bucket.New[netip.Addr](r.Address, maxBuckets, now),
		nonces:    bucket.New[netip.Addr](staleNonces(r.Address), maxBuckets, now),
		clients:   bucket.New[clientKey](r.Client, maxBuckets, now),
		apps:      bucket.New[appKey](r.UserClient, maxBuckets, now),
		users:     bucket.New[userKey](r.User, maxBuckets, now),
		lookups:   bucket.New[netip.Addr](r.Lookup, maxBuckets, now),
		userCodes: bucket.New[userKey](guessesOfUser, maxBuckets, now),
		codesFrom: bucket.New[netip.Addr](guessesFrom, maxBuckets, now),
	}
	l.lookupRate.Store(&r.Lookup)
	return l
}

// Set changes the rates from the next request on.
func (l *Limits) Set(r Rates) {
	l.addresses.SetLimit(r.Address)
	l.failures.SetLimit(r.Address)
	l.nonces.SetLimit(staleNonces(r.Address))
	l.clients.SetLimit(r.Client)
	l.apps.SetLimit(r.UserClient)
	l.users.SetLimit(r.User)
	l.lookups.SetLimit(r.Lookup)
	l.lookupRate.Store(&r.Lookup)
}

// The values of the label by of issuer_requests_limited_total.
const (
	limitAddress  = "address"
	limitFailures = "failures" // of an address
	limitLookups  = "lookups"  // of an address
	limitGuesses  = "guesses"  // of a user or an address, of user codes
	limitClient   = "client"
	limitUser     = "user"
	limitUserApp  = "user_client" // of a user, by one client
	limitProofs   = "proofs"      // of an address, that are remembered as spent
	limitLogins   = "logins"      // of an address or a client, that are not finished
)

// Client admits a request of a client, or returns how long it must wait. See [oauth.Limiter].
func (l *Limits) Client(c *clients.Client, from netip.Addr) error {
	key := clientKey{id: c.ID}
	if c.Public() {
		key.from = dpop.Network(from)
	}
	return tooMany(limitClient, l.clients.Take(key))
}

// User admits a request of a client for a user, or returns how long it must wait. See [oauth.Limiter].
func (l *Limits) User(u storage.User, client string) error {
	if wait := l.apps.Take(appKey{u.Domain, u.ID, client}); wait > 0 {
		return &limited{limitUserApp, wait} // the user's own bucket loses nothing
	}
	return tooMany(limitUser, l.users.Take(userKey{u.Domain, u.ID}))
}

// address admits a request of an address.
func (l *Limits) address(from netip.Addr) error {
	return tooMany(limitAddress, l.addresses.Take(dpop.Network(from)))
}

// lookup admits a question of an address about a handle.
func (l *Limits) lookup(ctx context.Context, from netip.Addr) error {
	network := dpop.Network(from)
	if wait := l.lookups.Take(network); wait > 0 || l.sharing == nil {
		return tooMany(limitLookups, wait)
	}
	all := l.sharing.named(*l.lookupRate.Load(), limitLookups, network.String())
	return tooMany(limitLookups, l.sharing.take(ctx, l.lookups.Len(), all))
}

// failing refuses an address that has failed too often. failed counts a failure of an address.
func (l *Limits) failing(from netip.Addr) error {
	return tooMany(limitFailures, l.failures.Wait(dpop.Network(from)))
}

func (l *Limits) failed(from netip.Addr) { l.failures.Take(dpop.Network(from)) }

// stale counts a proof with a missing or stale nonce. It is a failure once the allowance of the address is used up.
func (l *Limits) stale(from netip.Addr) {
	if l.nonces.Take(dpop.Network(from)) > 0 {
		l.failed(from)
	}
}

// staleNonces is how many such proofs an address may send before they are failures: a tenth of its limit, at least one.
func staleNonces(r bucket.Limit) bucket.Limit {
	if r.Count > 0 {
		r.Count = max(1, r.Count/10)
	}
	return r
}

// limited is the error of a request beyond a limit.
type limited struct {
	by   string
	wait time.Duration
}

func (e *limited) Error() string {
	return fmt.Sprintf("server: too many requests (%s): wait %v", e.by, e.wait)
}

// seconds is how long to wait until the same request is admitted, if no other comes first.
func (e *limited) seconds() int { return int((e.wait + time.Second - 1) / time.Second) }

// words are for users. A user beyond their own limit must begin anew; otherwise reloading the page is enough.
func (e *limited) words(l *web.Language) template.HTML {
	switch e.by {
	case limitUser, limitUserApp:
		return l.Say("error.often.person", "n", e.seconds())
	case limitGuesses:
		return l.Say("error.often.codes", "n", e.seconds())
	case limitLogins:
		return l.Say("error.often.logins", "n", e.seconds())
	}
	return l.Say("error.often.network", "n", e.seconds())
}

func tooMany(by string, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return &limited{by, wait}
}

// A counting says for which requests of a route an address pays.
type counting int

const (
	notCounted counting = iota
	eachRequest
	eachFailure
)

// counted returns the handler of a route behind the limit of the address.
func (s *Server) counted(r route) echo.HandlerFunc {
	switch r.counts {
	case eachRequest:
		return func(c echo.Context) error {
			if err := s.Limits.address(s.source(c)); err != nil {
				return err
			}
			return r.handler(c)
		}
	case eachFailure:
		return func(c echo.Context) error {
			from := s.source(c)
			if err := s.Limits.failing(from); err != nil {
				return err
			}
			err := r.handler(c)
			switch {
			case errors.Is(err, dpop.ErrUseNonce):
				s.Limits.stale(from)
			case isFailure(c, err):
				s.Limits.failed(from)
			}
			return err
		}
	}
	return r.handler
}
