package server

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/bucket"
	"github.com/imidentity/issuer/oauth"
	"github.com/imidentity/issuer/storage"
)

// Rates are how many requests each may send: one address, one client, one user by one client, one user by all clients
// together. The zero [bucket.Limit] is no limit.
type Rates struct {
	Address, Client, UserClient, User bucket.Limit
}

// maxBuckets is how many buckets of each kind are kept at most, in some 10 MB.
const maxBuckets = 1 << 18

// Limits say who asks too often. Each request pays with a token of its sender's address, then of its client, then of
// its user, as soon as each is known and before anything is spent or written. Nobody's bucket can be emptied by others:
//
//   - an address is the whole of IPv4, and the network of IPv6 that one customer gets (64 bits). Whoever shares one,
//     as in an office, shares its bucket;
//   - a client that has a secret pays once it has proved to have it. Anybody can name a public one, so of that each
//     address has a bucket of its own;
//   - a user pays when they have logged in, or when one of their devices shows a good refresh token and a good proof. They
//     have a bucket for each client, and a larger one for all: an app that asks too often locks out no other app of theirs.
//
// Failures of who asks about tokens have buckets of their own: a gateway that asks often and well never meets a limit. A
// stale nonce is part of normal use and becomes a failure only when an address sends many of them.
type Limits struct {
	addresses *bucket.Set[netip.Addr]
	failures  *bucket.Set[netip.Addr]
	nonces    *bucket.Set[netip.Addr]
	clients   *bucket.Set[clientKey]
	apps      *bucket.Set[appKey]
	users     *bucket.Set[userKey]
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

// NewLimits returns limits under which nobody has asked yet. now reports the time and may be nil for [time.Now].
func NewLimits(r Rates, now func() time.Time) *Limits {
	return &Limits{
		addresses: bucket.New[netip.Addr](r.Address, maxBuckets, now),
		failures:  bucket.New[netip.Addr](r.Address, maxBuckets, now),
		nonces:    bucket.New[netip.Addr](staleNonces(r.Address), maxBuckets, now),
		clients:   bucket.New[clientKey](r.Client, maxBuckets, now),
		apps:      bucket.New[appKey](r.UserClient, maxBuckets, now),
		users:     bucket.New[userKey](r.User, maxBuckets, now),
	}
}

// Set changes the rates, from the next request on.
func (l *Limits) Set(r Rates) {
	l.addresses.SetLimit(r.Address)
	l.failures.SetLimit(r.Address)
	l.nonces.SetLimit(staleNonces(r.Address))
	l.clients.SetLimit(r.Client)
	l.apps.SetLimit(r.UserClient)
	l.users.SetLimit(r.User)
}

// What requests are counted for.
const (
	limitAddress  = "address"
	limitFailures = "failures" // of an address
	limitClient   = "client"
	limitUser     = "user"
	limitUserApp  = "user_client" // of a user, by one client
	limitProofs   = "proofs"      // of an address, that are remembered as spent
	limitLogins   = "logins"      // of an address or a client, that are not finished
)

// Client lets a request of a client through, or says how long it has to wait. See [oauth.Limiter].
func (l *Limits) Client(c *oauth.Client, from netip.Addr) error {
	key := clientKey{id: c.ID}
	if c.Public() {
		key.from = network(from)
	}
	return tooMany(limitClient, l.clients.Take(key))
}

// User lets a request of a client for a user through, or says how long it has to wait. See [oauth.Limiter].
func (l *Limits) User(u storage.User, client string) error {
	if wait := l.apps.Take(appKey{u.Domain, u.ID, client}); wait > 0 {
		return &limited{limitUserApp, wait} // and the user's own bucket stays as full as it is
	}
	return tooMany(limitUser, l.users.Take(userKey{u.Domain, u.ID}))
}

// address lets a request of an address through.
func (l *Limits) address(from netip.Addr) error {
	return tooMany(limitAddress, l.addresses.Take(network(from)))
}

// failing refuses an address that has failed too often; failed counts a failure of it.
func (l *Limits) failing(from netip.Addr) error {
	return tooMany(limitFailures, l.failures.Wait(network(from)))
}

func (l *Limits) failed(from netip.Addr) { l.failures.Take(network(from)) }

// stale counts a proof with a missing or stale nonce: as a failure once the allowance of the address is used up.
func (l *Limits) stale(from netip.Addr) {
	if l.nonces.Take(network(from)) > 0 {
		l.failed(from)
	}
}

// staleNonces is how many such proofs an address may send before they count: a tenth of its limit, at least one.
func staleNonces(r bucket.Limit) bucket.Limit {
	if r.Count > 0 {
		r.Count = max(1, r.Count/10)
	}
	return r
}

// network is the address of an IPv4 host, or the network of an IPv6 host: a customer has a whole one.
func network(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.Prefix(64) // no error: it is an IPv6 address
		return p.Addr()
	}
	return a
}

// A limited request is one too many of its address, its client or its user.
type limited struct {
	by   string
	wait time.Duration
}

func (e *limited) Error() string {
	return fmt.Sprintf("server: too many requests (%s): wait %v", e.by, e.wait)
}

// seconds is for how long to wait: afterwards the same request is let through, if no other takes its place.
func (e *limited) seconds() int { return int((e.wait + time.Second - 1) / time.Second) }

// words are for people. Who is refused by her own limit has to begin anew; else loading the page again is enough.
func (e *limited) words() string {
	if e.by == limitUser || e.by == limitUserApp {
		return fmt.Sprintf("You signed in too often. Wait %d seconds, then go back to your app and sign in again.", e.seconds())
	}
	if e.by == limitLogins {
		return fmt.Sprintf("Too many sign-ins from your network are unfinished. Wait %d seconds, then reload this page.", e.seconds())
	}
	return fmt.Sprintf("There are too many requests from your network. Wait %d seconds, then reload this page.", e.seconds())
}

func tooMany(by string, wait time.Duration) error {
	if wait == 0 {
		return nil
	}
	return &limited{by, wait}
}

// A counting says which requests of a route an address pays for.
type counting int

const (
	notCounted counting = iota
	eachRequest
	eachFailure
)

// counted is the handler of a route behind the limit of its sender's address.
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
