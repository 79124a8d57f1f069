package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// ErrProvisioned is returned by [Accounts.Provision] for an account at the provider that is linked to a user already.
var ErrProvisioned = errors.New("account: the account at the provider has a user already")

// A Provisioner is an OpenID provider that manages its users here. It sees and changes the users of one domain that are linked to an
// account at it, and no others.
type Provisioner struct {
	Domain string
	Issuer string // iss of the provider
	// Renames tells that the provider decides which user has which handle.
	Renames bool
	// Admit is called in each transaction that changes something. Its error is returned, and nothing changes.
	Admit func(ctx context.Context, r storage.Reader) error
}

// A ProvisionedUser is a user as the provider sees them.
type ProvisionedUser struct {
	storage.User
	// Subject is the sub of the user's oldest link to the provider.
	Subject string
}

// Active reports whether the user may sign in.
func (u ProvisionedUser) Active() bool { return u.DisabledAt.IsZero() }

// provisioned returns a user as the provider sees them. The error is [ErrNoUser] if the user is not linked to the provider.
func (a *Accounts) provisioned(ctx context.Context, r storage.Reader, by Provisioner, u storage.User) (ProvisionedUser, error) {
	links, err := r.Links(ctx, u.Domain, u.ID)
	if err != nil {
		return ProvisionedUser{}, err
	}
	for _, l := range links {
		if l.Issuer == by.Issuer {
			return ProvisionedUser{User: u, Subject: l.Subject}, nil
		}
	}
	return ProvisionedUser{}, ErrNoUser
}

// Provisioned returns the user of an id. The error is [ErrNoUser] if the provider has no such user.
func (a *Accounts) Provisioned(ctx context.Context, by Provisioner, id string) (ProvisionedUser, error) {
	return a.findProvisioned(ctx, by, func(ctx context.Context, r storage.Reader) (storage.User, error) {
		return a.user(ctx, r, by.Domain, id)
	})
}

// ProvisionedSubject returns the user who is linked to a sub of the provider. The error is [ErrNoUser] if there is none.
func (a *Accounts) ProvisionedSubject(ctx context.Context, by Provisioner, subject string) (ProvisionedUser, error) {
	return a.findProvisioned(ctx, by, func(ctx context.Context, r storage.Reader) (storage.User, error) {
		u, err := r.LinkedUser(ctx, by.Domain, by.Issuer, subject)
		if errors.Is(err, storage.ErrNotFound) {
			return storage.User{}, ErrNoUser
		}
		return u, err
	})
}

// ProvisionedHandle returns the user whose present handle is local, in any spelling. The error is [ErrNoUser] if the provider has no such
// user.
func (a *Accounts) ProvisionedHandle(ctx context.Context, by Provisioner, local string) (ProvisionedUser, error) {
	u, err := a.HandleUser(ctx, by.Domain, local)
	if err != nil {
		return ProvisionedUser{}, err
	}
	if !a.IsHandle(u, local) { // a former one
		return ProvisionedUser{}, ErrNoUser
	}
	return a.Provisioned(ctx, by, u.ID)
}

// IsHandle reports whether a handle, in any spelling, is the present one of a user.
func (a *Accounts) IsHandle(u storage.User, handle string) bool {
	d, ok := a.domains[u.Domain]
	if !ok {
		return false
	}
	name, err := d.Names.Handle(handle)
	return err == nil && name.Local() == u.Handle
}

func (a *Accounts) findProvisioned(
	ctx context.Context, by Provisioner, find func(context.Context, storage.Reader) (storage.User, error),
) (found ProvisionedUser, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		u, err := find(ctx, r)
		if err != nil {
			return err
		}
		found, err = a.provisioned(ctx, r, by, u)
		return err
	})
	if err != nil {
		return ProvisionedUser{}, fmt.Errorf("account: find a provisioned user: %w", err)
	}
	return found, nil
}

// ListProvisioned returns at most limit users of the provider in the order of their ids, without the first skip of them, and how many
// there are. If active is given, the users are those who are active, or those who are not.
func (a *Accounts) ListProvisioned(
	ctx context.Context, by Provisioner, active *bool, skip, limit int,
) (list []ProvisionedUser, total int, err error) {
	var disabled *bool
	if active != nil {
		disabled = new(bool)
		*disabled = !*active
	}
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		var err error
		if total, err = r.CountProviderUsers(ctx, by.Domain, by.Issuer, disabled); err != nil || limit == 0 || skip >= total {
			return err
		}
		page, err := r.ProviderUsers(ctx, by.Domain, by.Issuer, disabled, skip, limit)
		if err != nil {
			return err
		}
		for _, u := range page {
			p, err := a.provisioned(ctx, r, by, u)
			if err != nil {
				return err
			}
			list = append(list, p)
		}
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("account: list provisioned users: %w", err)
	}
	return list, total, nil
}

// A Provision is a user that a provider creates ahead of the first login.
type Provision struct {
	Subject string // sub of the account at the provider
	Handle  string
	// User is the id of the user, if the domain takes ids from the sub. If it is empty, the id is random.
	User string
	// Disabled creates a user who cannot sign in.
	Disabled bool
}

// Provision creates a user, who signs in later with the account at the provider. The errors are [ErrProvisioned], [ErrRemoved],
// [ErrHandleTaken], [ErrUserTaken], [ErrUserID], and a *[claims.Error] for a handle that the rules or the policy of the domain do not
// allow.
func (a *Accounts) Provision(ctx context.Context, by Provisioner, p Provision) (ProvisionedUser, error) {
	pending, err := a.newUser(SignIn{Domain: by.Domain, Issuer: by.Issuer, Subject: p.Subject, Handle: p.Handle, User: p.User})
	if err != nil {
		return ProvisionedUser{}, fmt.Errorf("account: provision: %w", err)
	}
	if p.Disabled {
		pending.User.DisabledAt = pending.User.CreatedAt
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := by.Admit(ctx, tx); err != nil {
			return err
		}
		if err := pending.insert(ctx, tx); err != nil {
			return err
		}
		event := audit.Event{Kind: audit.UserProvisioned, Domain: pending.User.Domain, User: pending.User.ID}
		if p.Disabled {
			event.Reason = "inactive"
		}
		return audit.Append(ctx, tx, event)
	})
	if errors.Is(err, ErrSignedIn) {
		err = ErrProvisioned
	}
	if err != nil {
		return ProvisionedUser{}, fmt.Errorf("account: provision: %w", err)
	}
	return ProvisionedUser{User: pending.User, Subject: p.Subject}, nil
}

// renames reports whether a provider renames users. In XMPP no provider does.
func (a *Accounts) renames(by Provisioner) bool {
	return by.Renames && a.domains[by.Domain].Names.System() != claims.SystemXMPP
}

// A ProvisionChange is what a provider changes about a user. What is nil stays.
type ProvisionChange struct {
	Active *bool
	Handle *string
}

// A ProvisionOutcome is the user after a change, and what the change did.
type ProvisionOutcome struct {
	ProvisionedUser
	Renamed, Disabled, Enabled bool
}

// ChangeProvisioned changes a user in one transaction. A user who is disabled, or becomes so, keeps the handle: some providers give
// accounts other names as they delete them. check sees the user first; its error is returned, and nothing changes. The other errors are
// [ErrNoUser] and those of [Accounts.Rename].
func (a *Accounts) ChangeProvisioned(
	ctx context.Context, by Provisioner, id string, c ProvisionChange, check func(ProvisionedUser) error,
) (out ProvisionOutcome, err error) {
	var ended ending
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		out, ended = ProvisionOutcome{}, ending{}
		if err := by.Admit(ctx, tx); err != nil {
			return err
		}
		u, err := a.user(ctx, tx, by.Domain, id)
		if err != nil {
			return err
		}
		if out.ProvisionedUser, err = a.provisioned(ctx, tx, by, u); err != nil {
			return err
		}
		if err := check(out.ProvisionedUser); err != nil {
			return err
		}
		if c.Active != nil && !*c.Active {
			done, over, err := a.disable(ctx, tx, u)
			out.User, out.Disabled, ended = done.User, done.Changed, over
			return err
		}
		if c.Active != nil {
			done, err := enable(ctx, tx, u)
			if err != nil {
				return err
			}
			out.User, out.Enabled = done.User, done.Changed
		}
		// The present handle may be one that only an operator gives out.
		if c.Handle == nil || !out.Active() || a.IsHandle(out.User, *c.Handle) || !a.renames(by) {
			return nil
		}
		name, err := a.newHandle(by.Domain, *c.Handle, false)
		if err != nil {
			return err
		}
		done, over, err := a.renameTo(ctx, tx, out.User, name, false)
		out.User, out.Renamed, ended = done.User, done.Changed, over
		return err
	})
	if err != nil {
		return ProvisionOutcome{}, fmt.Errorf("account: change a provisioned user: %w", err)
	}
	if c.Active != nil && !*c.Active && !out.Disabled {
		if err := a.inForce(ctx, nil); err != nil {
			return ProvisionOutcome{}, err
		}
	}
	a.afterwards(ctx, ended)
	return out, nil
}

// RemoveProvisioned is [Accounts.Remove] by the provider. The person may return, if the provider lets them. check sees the user first; its
// error is returned, and nothing changes. The error is [ErrNoUser] if the provider has no such user, also for one who was removed.
func (a *Accounts) RemoveProvisioned(ctx context.Context, by Provisioner, id string, check func(ProvisionedUser) error) error {
	event := audit.Event{Kind: audit.UserRemoved, Reason: "may return"}
	_, err := a.remove(ctx, by.Domain, id, true, event, func(ctx context.Context, tx storage.Tx) error {
		if err := by.Admit(ctx, tx); err != nil {
			return err
		}
		u, err := a.user(ctx, tx, by.Domain, id)
		if err != nil {
			return err
		}
		p, err := a.provisioned(ctx, tx, by, u)
		if err != nil {
			return err
		}
		return check(p)
	})
	return err
}
