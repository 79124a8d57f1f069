// Package account manages the users of a domain, with their handles, devices and statements: first logins, new devices, renames,
// removals.
//
// A user is created at the first login with an account at an OpenID provider, and found again by the provider's (iss, sub),
// never by name or email address. Handles and user ids of a domain share one namespace. A device is bound to one key:
// [Accounts.DeviceFor] returns the device of a key, and [Accounts.BindDevice] stores it in the transaction that redeems the login.
// Only [Accounts.Rekey] replaces the key, and records that.
//
// The package knows nothing of OAuth, tokens or HTTP, and writes no log. A method that changes something adds the event to the
// audit log in the same transaction, and ctx says who acts. Revocations
// are rows of [storage.Revocation]; once they are durable, they are passed to [Config].Revoked.
package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/imidentity/issuer/storage"
)

// Errors that callers branch on.
var (
	// ErrDisabled is returned when a disabled user signs in.
	ErrDisabled = errors.New("account: user is disabled")
	// ErrOtherClaim is returned for a login with an account that is linked to a user by its sub, where another claim identifies the users
	// of the provider now: the operator must move the link.
	ErrOtherClaim = errors.New("account: the account is linked by its sub, and not by the claim that identifies the users of the " +
		"provider now: move the link with `issuer users relink`")
	// ErrUserTaken is returned for a first login if the provider names a user id that another user has.
	ErrUserTaken = errors.New("account: user id is taken")
	// ErrUserID is returned for a first login if the provider names a user id that the domain's system does not allow.
	ErrUserID = errors.New("account: the provider's user id cannot be used")
	// ErrHandleTaken is returned for a handle that another user has, or had before.
	ErrHandleTaken = errors.New("account: handle is taken")
	// ErrSignedIn is returned by [PendingSignIn.Insert] if another first login of the same account has created the user meanwhile.
	ErrSignedIn = errors.New("account: another first login has created the user meanwhile")
	// ErrNoHandle is returned for a first login without a handle.
	ErrNoHandle = errors.New("account: the provider names no handle")
	// ErrKeyInUse is returned for a key that is bound to a device of another user or to a removed device, or that was replaced.
	ErrKeyInUse = errors.New("account: the key belongs to another device")
	// ErrDeviceID is returned for a device id that a delegate chose and that the domain does not allow.
	ErrDeviceID = errors.New("account: no id of a device")
	// ErrTooManyDevices is returned for another device of a user who has as many active devices as allowed.
	ErrTooManyDevices = errors.New("account: too many devices")
	// ErrNoDevice is returned for a device that the domain does not have.
	ErrNoDevice = errors.New("account: no such device")
)

// Config configures [New].
type Config struct {
	// Store stores the accounts. Required.
	Store Store
	// Domains are the domains of the issuer. At least one.
	Domains []Domain
	// TokenLife is the longest life of an access token. Revocations last at least as long. Required.
	TokenLife time.Duration
	// MaxDevices is how many active devices a user may have: those with a live session or a live delegation. Required.
	MaxDevices int
	// MaxStatements is how many live statements a user may have made. Zero means 1000.
	MaxStatements int
	// MaxRevocations is how many live revocations a user may have. Beyond it, one revocation ends all tokens of the user (see
	// [Accounts.Revoke]). Zero means 1000.
	MaxRevocations int
	// TombstoneKey is the key of the marks that stay of removed users. It must never change: under another key, their names could be
	// taken. With the zero key, everyone who reads the database can try whether a name was that of a removed user.
	TombstoneKey [32]byte
	// LinkKey is the key of the ids by which users name their links to OpenID providers. Nil means a random one, so that other ids
	// follow a restart.
	LinkKey *[32]byte
	// Forget makes sure that nothing of deleted records can be recovered from the store, see [storage.Forgetful]. Nil does nothing.
	Forget func(ctx context.Context) error
	// Revoked receives revocations as soon as they are durable. May be nil.
	Revoked func(...storage.Revocation)
	// CatchUp learns of all revocations that are durable. It is called before the answer that there is nothing left to end: another node
	// may have ended it just before, or this one without an answer of the store. Nil does nothing.
	CatchUp func(ctx context.Context) error
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand is the source of random ids. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// Accounts manages the users of all domains of an issuer. It is safe for concurrent use.
type Accounts struct {
	store      Store
	domains    map[string]Domain
	tokenLife  time.Duration
	maxDevices atomic.Int64

	tombstoneKey   [32]byte
	forget         func(ctx context.Context) error
	maxStatements  atomic.Int64
	maxRevocations atomic.Int64
	linkKey        [32]byte
	revoked        func(...storage.Revocation)
	catchUp        func(ctx context.Context) error
	now            func() time.Time
	rand           io.Reader
}

// New returns the accounts in cfg.Store.
func New(cfg Config) (*Accounts, error) {
	if cfg.Store == nil || len(cfg.Domains) == 0 || cfg.TokenLife <= 0 || cfg.MaxDevices <= 0 {
		return nil, errors.New("account: Config needs Store, Domains, TokenLife and MaxDevices")
	}
	a := &Accounts{
		store: cfg.Store, domains: make(map[string]Domain, len(cfg.Domains)),
		tokenLife: cfg.TokenLife, tombstoneKey: cfg.TombstoneKey, forget: cfg.Forget,
		revoked: cfg.Revoked, catchUp: cfg.CatchUp, now: cfg.Now, rand: cfg.Rand,
	}
	a.SetMaxDevices(cfg.MaxDevices)
	a.SetMaxStatements(cmp.Or(cfg.MaxStatements, 1000))
	a.SetMaxRevocations(cmp.Or(cfg.MaxRevocations, 1000))
	for _, d := range cfg.Domains {
		a.domains[d.Names.Domain()] = d
	}
	if a.revoked == nil {
		a.revoked = func(...storage.Revocation) {}
	}
	if a.catchUp == nil {
		a.catchUp = func(context.Context) error { return nil }
	}
	if a.forget == nil {
		a.forget = func(context.Context) error { return nil }
	}
	if a.now == nil {
		a.now = time.Now
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	if cfg.LinkKey != nil {
		a.linkKey = *cfg.LinkKey
	} else if _, err := io.ReadFull(a.rand, a.linkKey[:]); err != nil {
		return nil, fmt.Errorf("account: make a key: %w", err)
	}
	return a, nil
}
