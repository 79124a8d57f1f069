// Package statements makes, lists and withdraws the statements of the issuer: grants to actors, delegations to users' own keys,
// links, and what operators attest. It also decides whether a statement, or an access token that comes back to the issuer, is
// still active.
//
// The decision reads the rows themselves and never the mirror of revocations in memory: a token that is issued from another
// token must not outlive it by the time that a revocation takes to get around.
//
// Package nested has the form of statements and the rules of embedding; package account has the rules by which statements end.
package statements

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/internal/oautherror"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/storage"
)

// A Store is the part of storage that a [Service] uses.
type Store interface {
	Reader
	View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) error
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Reader reads the rows that tokens and statements depend on.
type Reader interface {
	User(ctx context.Context, domain, id string) (storage.User, error)
	Names(ctx context.Context, domain, user string) ([]storage.Name, error)
	DeviceByKey(ctx context.Context, domain, jkt string) (storage.Device, error)
	Session(ctx context.Context, id string) (storage.Grant, storage.User, storage.Device, error)
	BrowserSession(ctx context.Context, hash [32]byte) (storage.BrowserSession, storage.User, error)
	Statement(ctx context.Context, jti string) (storage.Statement, error)
	Revocation(ctx context.Context, kind storage.RevocationKind, key string) (storage.Revocation, error)
}

// Keys sign statements, and check the issuer's own tokens.
type Keys interface {
	// Sign returns claims as a compact JWS with header typ, under the key that signs now.
	Sign(typ string, claims []byte) (string, error)
	// Public returns the public key and algorithm of a key of the issuer that is not revoked.
	Public(kid string) (crypto.PublicKey, string, bool)
	// Await returns when Public would find a key that was made before the call. An error means that this is not known now.
	Await(ctx context.Context, kid string) error
}

// A Limiter counts requests for a user, and refuses too many.
type Limiter interface {
	User(u storage.User, client string) error
}

type noLimiter struct{}

func (noLimiter) User(storage.User, string) error { return nil }

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the server's own URL.
	Issuer string
	// Domains are the domains that the server issues in.
	Domains  []string
	Clients  *clients.Registry
	Store    Store
	Accounts *account.Accounts
	Keys     Keys
	// Authority knows the keys of the server and its peers, and the domains that each may speak for.
	Authority nested.KeySource
	// Development admits reserved domains in enclosed tokens.
	Development bool
	// Life is the longest life of a statement.
	Life time.Duration
	// Limiter counts the requests of users. Nil refuses nobody.
	Limiter Limiter
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes ids. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// A Service makes statements and judges them. It is safe for concurrent use.
type Service struct {
	cfg     Config
	domains map[string]bool
}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Issuer == "" || len(cfg.Domains) == 0 || cfg.Clients == nil || cfg.Store == nil || cfg.Accounts == nil || cfg.Keys == nil ||
		cfg.Authority == nil || cfg.Life <= 0 {
		return nil, errors.New("statements: Config needs Issuer, Domains, Clients, Store, Accounts, Keys, Authority and Life")
	}
	if cfg.Limiter == nil {
		cfg.Limiter = noLimiter{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Service{cfg: cfg, domains: make(map[string]bool, len(cfg.Domains))}
	for _, name := range cfg.Domains {
		s.domains[name] = true
	}
	return s, nil
}

// A Holder is a user who asks about their own account: the user and the session of their access token, or that of their browser.
type Holder struct {
	Domain, User, SID string
	// Browser is the hash of the session of a browser; SID is empty then.
	Browser [32]byte
}

var (
	errLogin = oautherror.New(oautherror.AccessDenied,
		"This is for a device that logged in, and whose session is alive: log in again.")
	errChanged = oautherror.New(oautherror.TemporarilyUnavailable,
		"The account has just changed: ask again, with a new proof where there was one.")
)

// counted returns the user and the device of a holder, after the request was counted for the user. Those of a browser are limited by
// its address.
func (s *Service) counted(ctx context.Context, r Reader, by Holder) (storage.User, storage.Device, error) {
	g, u, d, err := s.holder(ctx, r, by)
	if err == nil && by.SID != "" {
		err = s.cfg.Limiter.User(u, g.Client)
	}
	return u, d, err
}

// holder returns the rows of a holder, whose session must be live. That of a browser has neither a grant nor a device.
func (s *Service) holder(ctx context.Context, r Reader, by Holder) (storage.Grant, storage.User, storage.Device, error) {
	if by.SID == "" && by.Browser != [32]byte{} {
		b, u, err := r.BrowserSession(ctx, by.Browser)
		if errors.Is(err, storage.ErrNotFound) ||
			err == nil && (!account.LiveBrowser(b, u, s.cfg.Now()) || b.Domain != by.Domain || b.User != by.User) {
			err = account.ErrNoBrowser
		}
		return storage.Grant{}, u, storage.Device{}, err
	}
	g, u, d, err := r.Session(ctx, by.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return g, u, d, errLogin
	} else if err != nil {
		return g, u, d, err
	}
	if !LiveSession(g, s.cfg.Now()) || g.Domain != by.Domain || g.User != by.User || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero() {
		return g, u, d, errLogin
	}
	return g, u, d, nil
}

// LiveSession reports whether a session can be used at now.
func LiveSession(g storage.Grant, now time.Time) bool {
	return g.EndedAt.IsZero() && now.Before(g.IdleAt) && now.Before(g.ExpiresAt)
}

// SameUser returns an error for the client if the row of a user has changed since it was read, as far as tokens go. It is a step
// of the transaction that depends on that row.
func SameUser(ctx context.Context, tx storage.Tx, user storage.User) error {
	now, err := tx.User(ctx, user.Domain, user.ID)
	if errors.Is(err, storage.ErrNotFound) { // removed meanwhile
		return errChanged
	}
	if err == nil && (now.Gen != user.Gen || now.Handle != user.Handle || !now.DisabledAt.Equal(user.DisabledAt)) {
		err = errChanged
	}
	return err
}

// newID returns 128 random bits in base64url.
func (s *Service) newID() (string, error) {
	text, err := random.Text(s.cfg.Rand, 16)
	if err != nil {
		return "", fmt.Errorf("statements: %w", err)
	}
	return text, nil
}
