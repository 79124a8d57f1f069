// Package account keeps the people of a domain: users, their handles and their devices, and what may happen to them
// (a first login, a new device, a removal).
//
// A user is made by her first login at an OpenID provider and found again by that provider's (iss, sub), never by
// name or email. Her handle and her id share one namespace with everybody else's in the domain. A device is bound to
// one key for ever; [Accounts.DeviceFor] says which device a key stands for, and [Accounts.BindDevice] makes it in the
// transaction that redeems the login.
//
// The package knows nothing of OAuth, tokens or HTTP. What it revokes it writes as rows of storage.Revocation and
// hands, once committed, to [Config].Revoked.
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

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// Errors that callers branch on.
var (
	// ErrDisabled is returned where a disabled user would sign in or get a device.
	ErrDisabled = errors.New("account: user is disabled")
	// ErrUserTaken is returned by a first login whose provider names a user id that another account has.
	ErrUserTaken = errors.New("account: user id is taken")
	// ErrUserID is returned by a first login whose provider names a user id that the domain's system does not allow.
	ErrUserID = errors.New("account: the provider's user id cannot be used")
	// ErrHandleTaken is returned by a first login whose handle somebody else holds, or once held.
	ErrHandleTaken = errors.New("account: handle is taken")
	// ErrSignedIn is returned by [PendingSignIn.Insert] if the person has meanwhile become a user by another first login.
	ErrSignedIn = errors.New("account: the person has signed in meanwhile")
	// ErrNoHandle is returned by a first login whose provider names no handle.
	ErrNoHandle = errors.New("account: the provider names no handle")
	// ErrKeyInUse is returned for a key that is, or was, bound to a device of another user, or to a removed one.
	ErrKeyInUse = errors.New("account: the key belongs to another device")
	// ErrDeviceID is returned for the id of a device that is not made here, and that no device of the domain can have.
	ErrDeviceID = errors.New("account: no id of a device")
	// ErrTooManyDevices is returned for another device of a user who has as many active devices as allowed.
	ErrTooManyDevices = errors.New("account: too many devices")
	// ErrNoDevice is returned for a device that the domain does not know.
	ErrNoDevice = errors.New("account: no such device")
)

// Config configures [New].
type Config struct {
	// Store keeps the accounts. Required.
	Store storage.Store
	// Domains are those that people can sign in to. At least one.
	Domains []Domain
	// TokenLife is the longest life of an access token: as long must a revocation last. Required.
	TokenLife time.Duration
	// MaxDevices is how many active devices a user may have: those with a live session or a standing delegation. Required.
	MaxDevices int
	// MaxStatements is how many statements that a user made may stand at a time. Zero means 1000.
	MaxStatements int
	// MaxRevocations is how many live revocations a user may have before the next ones become one. Zero means 1000.
	MaxRevocations int
	// Revoked is told of revocations as soon as they are durable. Nil tells nobody.
	Revoked func(...storage.Revocation)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes ids. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// Accounts are the people of all domains of an issuer. Its methods are safe for concurrent use.
type Accounts struct {
	store      storage.Store
	domains    map[string]Domain
	tokenLife  time.Duration
	maxDevices atomic.Int64

	maxStatements  atomic.Int64
	maxRevocations atomic.Int64
	revoked        func(...storage.Revocation)
	now            func() time.Time
	rand           io.Reader
}

// New returns the accounts kept in cfg.Store.
func New(cfg Config) (*Accounts, error) {
	if cfg.Store == nil || len(cfg.Domains) == 0 || cfg.TokenLife <= 0 || cfg.MaxDevices <= 0 {
		return nil, errors.New("account: Config needs Store, Domains, TokenLife and MaxDevices")
	}
	a := &Accounts{
		store: cfg.Store, domains: make(map[string]Domain, len(cfg.Domains)),
		tokenLife: cfg.TokenLife,
		revoked:   cfg.Revoked, now: cfg.Now, rand: cfg.Rand,
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
	if a.now == nil {
		a.now = time.Now
	}
	if a.rand == nil {
		a.rand = rand.Reader
	}
	return a, nil
}

// A SignIn is what an OpenID provider says of the person who has just logged in there.
type SignIn struct {
	Domain  string
	Issuer  string // the provider's iss
	Subject string // the provider's sub
	// Handle is the text of the claim that carries the handle, as the provider wrote it, or what the person chose;
	// empty if there is neither.
	Handle string
	// User is the text of the claim that carries the user id, where the domain takes ids from one; empty means that
	// an id is drawn.
	User string
}

// SignIn returns the user that the provider's (iss, sub) is linked to, and creates the user at the first login. The errors are
// those of [Accounts.PrepareSignIn] and [PendingSignIn.Insert].
func (a *Accounts) SignIn(ctx context.Context, s SignIn) (storage.User, error) {
	for {
		p, err := a.PrepareSignIn(ctx, s)
		if err != nil || !p.New {
			return p.User, err
		}
		err = a.store.Update(ctx, p.Insert)
		if err == nil {
			return p.User, nil
		} else if !errors.Is(err, ErrSignedIn) {
			return storage.User{}, err
		}
	}
}

// A PendingSignIn is a sign-in whose user may not be stored yet. The caller stores a new user by Insert, in the transaction
// that goes on with the login.
type PendingSignIn struct {
	User storage.User
	// New says that this is the first login of the user, who is not stored yet.
	New bool

	in         SignIn
	handle, id claims.ID
}

// PrepareSignIn finds the user that the provider's (iss, sub) is linked to, or prepares a new one by the rules of the domain's
// identifier system. It writes nothing. The errors are [ErrDisabled] (with the user), [ErrNoHandle], [ErrUserID], and a
// *[claims.Error] for a handle or an id that the rules or the policy of the domain do not allow.
func (a *Accounts) PrepareSignIn(ctx context.Context, s SignIn) (PendingSignIn, error) {
	u, err := a.store.LinkedUser(ctx, s.Domain, s.Issuer, s.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		p, err := a.newUser(s)
		if err != nil {
			return PendingSignIn{}, fmt.Errorf("account: sign in: %w", err)
		}
		return p, nil
	} else if err != nil {
		return PendingSignIn{}, fmt.Errorf("account: sign in: %w", err)
	}
	if !u.DisabledAt.IsZero() {
		return PendingSignIn{User: u}, ErrDisabled
	}
	return PendingSignIn{User: u}, nil
}

// newUser prepares the user of a first login.
func (a *Accounts) newUser(s SignIn) (PendingSignIn, error) {
	domain, ok := a.domains[s.Domain]
	if !ok {
		return PendingSignIn{}, fmt.Errorf("unknown domain %s", s.Domain)
	}
	if s.Handle == "" {
		return PendingSignIn{}, ErrNoHandle
	}
	handle, err := domain.Names.Handle(s.Handle)
	if err != nil {
		return PendingSignIn{}, err
	}
	if err := domain.Policy.Check(handle); err != nil {
		return PendingSignIn{}, err
	}
	id, err := a.userID(domain, s, handle)
	if err != nil {
		return PendingSignIn{}, err
	}
	user := storage.User{Domain: s.Domain, ID: id.Local(), Handle: handle.Local(), Gen: 1, CreatedAt: a.now()}
	return PendingSignIn{User: user, New: true, in: s, handle: handle, id: id}, nil
}

// Insert stores a new user with their link and their names, as a step of the caller's transaction, which must not commit after
// an error. Without a new user it does nothing. A name conflict is [ErrHandleTaken] or, for an id that the provider names,
// [ErrUserTaken]; it never leads to a suffix or a link. [ErrSignedIn] says that another first login of the same person was
// faster: the caller prepares the sign-in again.
func (p PendingSignIn) Insert(ctx context.Context, tx storage.Tx) error {
	if !p.New {
		return nil
	}
	if err := p.insert(ctx, tx); err != nil {
		return fmt.Errorf("account: sign in: %w", err)
	}
	return nil
}

func (p PendingSignIn) insert(ctx context.Context, tx storage.Tx) error {
	u := p.User
	if _, err := tx.LinkedUser(ctx, u.Domain, p.in.Issuer, p.in.Subject); err == nil {
		return ErrSignedIn
	} else if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err := tx.InsertUser(ctx, u); errors.Is(err, storage.ErrConflict) && p.id == p.handle {
		return ErrHandleTaken
	} else if errors.Is(err, storage.ErrConflict) {
		return ErrUserTaken
	} else if err != nil {
		return err
	}
	if err := take(ctx, tx, u, p.handle, u.CreatedAt); err != nil {
		return err
	}
	if p.id != p.handle { // in XMPP one name is both
		if err := takeID(ctx, tx, nameOf(u, p.id, u.CreatedAt)); err != nil {
			return err
		}
	}
	return tx.InsertLink(ctx, storage.Link{
		Domain: u.Domain, Issuer: p.in.Issuer, Subject: p.in.Subject, User: u.ID, CreatedAt: u.CreatedAt,
	})
}
