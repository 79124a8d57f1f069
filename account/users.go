package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// reasonDisabled is stored with the sessions and statements that end when a user is disabled.
const reasonDisabled = "user_disabled"

// Users returns at most limit users of a domain, including disabled ones, in the order of their ids: those after the id after.
func (a *Accounts) Users(ctx context.Context, domain, after string, limit int) ([]storage.User, error) {
	return a.store.Users(ctx, domain, after, limit)
}

// Search returns at most limit users of a domain after the id after in whose ids, handles, subjects at OpenID providers or devices a text
// in lower case is. Handles of the past and removed devices count.
func (a *Accounts) Search(ctx context.Context, domain, text, after string, limit int) ([]storage.FoundUser, error) {
	return a.store.SearchUsers(ctx, domain, text, after, limit)
}

// User returns the user of an id, including a disabled one. The error is [ErrNoUser] if there is none.
func (a *Accounts) User(ctx context.Context, domain, id string) (storage.User, error) {
	return a.user(ctx, a.store, domain, id)
}

// HandleUser returns the user who has a handle, in any spelling, or who had it last. The error is [ErrNoUser] if there is none,
// also if the name only looks like the handle of a user.
func (a *Accounts) HandleUser(ctx context.Context, domain, handle string) (storage.User, error) {
	d, ok := a.domains[domain]
	if !ok {
		return storage.User{}, ErrNoUser
	}
	name, err := d.Names.Handle(handle)
	if err != nil {
		return storage.User{}, ErrNoUser
	}
	n, err := a.store.Name(ctx, domain, claims.CollisionKey(name))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, ErrNoUser
	} else if err != nil {
		return storage.User{}, fmt.Errorf("account: find a handle: %w", err)
	}
	if n.Local != name.Local() { // it may be an earlier spelling of the same user
		names, err := a.store.Names(ctx, domain, n.User)
		if err != nil {
			return storage.User{}, fmt.Errorf("account: find a handle: %w", err)
		}
		if !slices.ContainsFunc(names, func(n storage.Name) bool { return n.Local == name.Local() }) {
			return storage.User{}, ErrNoUser
		}
	}
	return a.user(ctx, a.store, domain, n.User)
}

// A Person is a user with everything that belongs to the user.
type Person struct {
	storage.User
	// Identity holds the URIs of the user, without a device.
	Identity Identity
	// Handles are the present and former handles, in the order in which the user took them.
	Handles []storage.Name
	Links   []storage.Link
	Devices []storage.Device // including removed ones
	// Sessions are the live sessions.
	Sessions []storage.Grant
}

// Person returns a user with everything that belongs to the user. The error is [ErrNoUser] if there is none.
func (a *Accounts) Person(ctx context.Context, domain, user string) (Person, error) {
	u, err := a.user(ctx, a.store, domain, user)
	if err != nil {
		return Person{}, err
	}
	p := Person{User: u}
	if p.Identity, err = a.Identify(u, storage.Device{}); err != nil {
		return Person{}, err
	}
	names, err := a.store.Names(ctx, domain, user)
	if err != nil {
		return Person{}, fmt.Errorf("account: show: %w", err)
	}
	p.Handles = handlesAmong(u, names)
	if p.Links, err = a.store.Links(ctx, domain, user); err != nil {
		return Person{}, fmt.Errorf("account: show: %w", err)
	}
	if p.Devices, err = a.store.Devices(ctx, domain, user); err != nil {
		return Person{}, fmt.Errorf("account: show: %w", err)
	}
	if p.Sessions, err = a.Sessions(ctx, domain, user); err != nil {
		return Person{}, err
	}
	return p, nil
}

// A ChangedUser is the outcome of a change of a user: the user as it is now.
type ChangedUser struct {
	storage.User
	// Changed is false if the user was so already.
	Changed bool
	// SessionsEnded is how many sessions the change ended.
	SessionsEnded int
}

// Disable disables a user: the sessions, the codes for new sessions and all tokens of the user end at once, and the user
// cannot sign in until [Accounts.Enable]. Credentials of the devices of the user end with the row of the user. Devices stay, except those
// under a delegation: statements of the user end, with what rests on them. Disabling the user again changes nothing.
//
// The tokens are ended by generation: a revocation of the user is absolute and would outlast Enable. Every transaction that
// issues to a user checks that the row of the user is as it was read, so no token escapes. Tokens about others in which the
// user acts carry the session of the user and not the generation, so each session is revoked too.
func (a *Accounts) Disable(ctx context.Context, domain, user string) (ChangedUser, error) {
	var (
		disabled ChangedUser
		ended    ending
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		u, err := a.user(ctx, tx, domain, user)
		if err != nil {
			return err
		}
		disabled, ended, err = a.disable(ctx, tx, u)
		return err
	})
	if err != nil {
		return ChangedUser{}, fmt.Errorf("account: disable: %w", err)
	}
	if err := a.inForce(ctx, ended.revoked); err != nil {
		return ChangedUser{}, err
	}
	a.finish(ctx, ended.more)
	return disabled, nil
}

// inForce returns when this process knows the revocations of a transaction that is durable. If there are none, they may be those of another
// transaction, which this process learns of.
func (a *Accounts) inForce(ctx context.Context, revoked []storage.Revocation) error {
	if len(revoked) == 0 {
		if err := a.catchUp(ctx); err != nil {
			return fmt.Errorf("account: catch up with the revocations: %w", err)
		}
		return nil
	}
	a.revoked(revoked...)
	return nil
}

// An ending is what a transaction ended and what remains to be done once it is durable: see [Accounts.afterwards].
type ending struct {
	revoked []storage.Revocation
	more    bool // a withdrawal is not finished
}

// afterwards tells of the revocations of a transaction that is durable, and finishes its withdrawals.
func (a *Accounts) afterwards(ctx context.Context, e ending) {
	a.revoked(e.revoked...)
	a.finish(ctx, e.more)
}

// disable is [Accounts.Disable] as a step of a transaction.
func (a *Accounts) disable(ctx context.Context, tx storage.Tx, u storage.User) (ChangedUser, ending, error) {
	if !u.DisabledAt.IsZero() {
		return ChangedUser{User: u}, ending{}, nil
	}
	now := a.now()
	u.DisabledAt, u.Gen = now, u.Gen+1
	if err := tx.UpdateUser(ctx, u); err != nil {
		return ChangedUser{}, ending{}, err
	}
	sessions, err := tx.EndUserGrants(ctx, u.Domain, u.ID, now, reasonDisabled)
	if err != nil {
		return ChangedUser{}, ending{}, err
	}
	cause := revocation.Cause{Reason: reasonDisabled, At: now, TokenLife: a.tokenLife}
	row, err := tx.Revoke(ctx, revocation.RevokeBelow(u.Domain, u.ID, u.Gen, cause))
	if err != nil {
		return ChangedUser{}, ending{}, err
	}
	// The statements of the user end, with what rests on them.
	more, withdrawn, err := a.withdraw(ctx, tx, storage.Withdrawal{
		Domain: u.Domain, User: u.ID, Below: u.Gen, Reason: reasonDisabled, At: now,
	})
	if err != nil {
		return ChangedUser{}, ending{}, err
	}
	done := ChangedUser{User: u, Changed: true, SessionsEnded: len(sessions)}
	revoked := append([]storage.Revocation{row}, withdrawn...)
	if len(sessions) > batch {
		// The generation ends all tokens of the user, and the session of an actor is looked up. Rows only make this faster.
		sessions = sessions[:batch]
	}
	for _, sid := range sessions {
		session := revocation.RevokeGrant(sid, cause)
		session.Domain = u.Domain
		row, err := tx.Revoke(ctx, session)
		if err != nil {
			return ChangedUser{}, ending{}, err
		}
		revoked = append(revoked, row)
	}
	return done, ending{revoked, more}, audit.Append(ctx, tx, audit.Event{Kind: audit.UserDisabled, Domain: u.Domain, User: u.ID})
}

// Enable lets a disabled user sign in again. The sessions, tokens, credentials and statements that [Accounts.Disable] ended stay ended.
// Enabling a user who is not disabled changes nothing.
func (a *Accounts) Enable(ctx context.Context, domain, user string) (ChangedUser, error) {
	var enabled ChangedUser
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		u, err := a.user(ctx, tx, domain, user)
		if err != nil {
			return err
		}
		enabled, err = enable(ctx, tx, u)
		return err
	})
	if err != nil {
		return ChangedUser{}, fmt.Errorf("account: enable: %w", err)
	}
	return enabled, nil
}

// enable is [Accounts.Enable] as a step of a transaction.
func enable(ctx context.Context, tx storage.Tx, u storage.User) (ChangedUser, error) {
	if u.DisabledAt.IsZero() {
		return ChangedUser{User: u}, nil
	}
	u.DisabledAt = time.Time{}
	if err := tx.UpdateUser(ctx, u); err != nil {
		return ChangedUser{}, err
	}
	return ChangedUser{User: u, Changed: true}, audit.Append(ctx, tx, audit.Event{Kind: audit.UserEnabled, Domain: u.Domain, User: u.ID})
}

// user reads a user of a domain of the issuer.
func (a *Accounts) user(ctx context.Context, r users, domain, id string) (storage.User, error) {
	if _, ok := a.domains[domain]; !ok {
		return storage.User{}, ErrNoUser
	}
	u, err := r.User(ctx, domain, id)
	if errors.Is(err, storage.ErrNotFound) {
		return storage.User{}, ErrNoUser
	} else if err != nil {
		return storage.User{}, fmt.Errorf("account: find a user: %w", err)
	}
	return u, nil
}
