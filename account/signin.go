package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// A SignIn is what an OpenID provider says about a user who has just signed in there.
type SignIn struct {
	Domain  string
	Issuer  string // the provider's iss
	Subject string // the provider's sub, or the value of the claim that identifies its users in place of sub
	// Sub is the provider's sub if Subject is another claim.
	Sub string
	// Handle is the handle as the provider wrote it, or as the user chose it. It may be empty.
	Handle string
	// User is the user id that the provider names, if the domain takes ids from a claim. If it is empty, the id is random.
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

	accounts   *Accounts
	in         SignIn
	handle, id claims.ID
}

// PrepareSignIn finds the user that the provider's (iss, sub) is linked to, or prepares a new one by the rules of the domain's
// identifier system. It writes nothing. The errors are [ErrDisabled] and [ErrOtherClaim] (with the user), [ErrRemoved], [ErrNoHandle],
// [ErrUserID], and a *[claims.Error] for a handle or an id that the rules or the policy of the domain do not allow.
func (a *Accounts) PrepareSignIn(ctx context.Context, s SignIn) (PendingSignIn, error) {
	u, err := a.store.LinkedUser(ctx, s.Domain, s.Issuer, s.Subject)
	if errors.Is(err, storage.ErrNotFound) {
		if u, err := a.newcomer(ctx, a.store, s); err != nil {
			return PendingSignIn{User: u}, fmt.Errorf("account: sign in: %w", err)
		}
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
	return PendingSignIn{User: u, accounts: a}, nil
}

// linked reads which accounts at providers are known.
type linked interface {
	tombstones
	LinkedUser(ctx context.Context, domain, issuer, subject string) (storage.User, error)
}

// newcomer returns the refusal of a first login: [ErrRemoved], and [ErrOtherClaim], with the user, for an account at the provider that is
// linked to a user by its sub still. Both are known by their sub, too, so that a change of the claim that identifies the users of a
// provider creates no new user: a user who is disabled or removed stays out.
func (a *Accounts) newcomer(ctx context.Context, r linked, s SignIn) (storage.User, error) {
	if err := a.welcome(ctx, r, s.Domain, s.Issuer, s.Subject); err != nil || s.Sub == "" || s.Sub == s.Subject {
		return storage.User{}, err
	}
	if u, err := r.LinkedUser(ctx, s.Domain, s.Issuer, s.Sub); err == nil {
		return u, ErrOtherClaim
	} else if !errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, err
	}
	return storage.User{}, a.welcome(ctx, r, s.Domain, s.Issuer, s.Sub)
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
	return PendingSignIn{User: user, New: true, accounts: a, in: s, handle: handle, id: id}, nil
}

// Insert stores a new user with their link and their names, as a step of the caller's transaction, which must not commit after
// an error. For a user who is stored it only checks that they were not removed meanwhile, which is [ErrRemoved]. A name conflict is
// [ErrHandleTaken] or, for an id that the provider names, [ErrUserTaken]; it never leads to a suffix or a link. [ErrSignedIn] says
// that another first login of the same account was faster: the caller prepares the sign-in again.
func (p PendingSignIn) Insert(ctx context.Context, tx storage.Tx) error {
	var err error
	switch {
	case p.New:
		err = p.insert(ctx, tx)
	case p.User.ID != "":
		_, err = tx.User(ctx, p.User.Domain, p.User.ID)
		err = notFound(err, ErrRemoved)
	}
	if err != nil {
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
	if _, err := p.accounts.newcomer(ctx, tx, p.in); err != nil {
		return err
	}
	if err := p.accounts.vacant(ctx, tx, u.Domain, p.handle); err != nil {
		return err
	}
	if p.id != p.handle {
		if err := p.accounts.vacantID(ctx, tx, u.Domain, p.id); err != nil {
			return err
		}
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
