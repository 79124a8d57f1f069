package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// ErrNoUser is returned for a user that the domain does not have.
var ErrNoUser = errors.New("account: no such user")

// ErrNoRename is returned for an XMPP domain: there the handle is the user id.
var ErrNoRename = errors.New("account: handles of this domain cannot change")

// reasonRenamed is stored with the statements that end when a user is renamed.
const reasonRenamed = "handle_changed"

// Rename gives a user another handle, by the rules of a first login. The user keeps id, devices and sessions. Tokens that carry the old
// handle are inactive at once; the next refresh brings the new one. Credentials that state the old handle stay good but for the handle.
// Statements that carry the old handle end, with what rests on them, because they would go on disclosing it. The old handle is in
// quarantine: no other user can take it until [Accounts.ReleaseName], and the user may take it back. A handle that the user has already
// changes nothing. To the errors of [Accounts.SignIn] it adds [ErrNoUser] and [ErrNoRename].
func (a *Accounts) Rename(ctx context.Context, domain, user, handle string) (ChangedUser, error) {
	return a.rename(ctx, domain, user, handle, false)
}

// RenameReserved is [Accounts.Rename] by an operator, who may give out reserved and protected handles such as support.
// Look-alikes of protected names are still refused.
func (a *Accounts) RenameReserved(ctx context.Context, domain, user, handle string) (ChangedUser, error) {
	return a.rename(ctx, domain, user, handle, true)
}

func (a *Accounts) rename(ctx context.Context, domain, user, handle string, reserved bool) (ChangedUser, error) {
	name, err := a.newHandle(domain, handle, reserved)
	if err != nil {
		return ChangedUser{}, err
	}
	return a.renameUser(ctx, name, reserved, func(ctx context.Context, tx storage.Tx) (storage.User, error) {
		return a.user(ctx, tx, domain, user)
	})
}

// renameUser gives a handle to the user that find returns, in one transaction.
func (a *Accounts) renameUser(
	ctx context.Context, name claims.ID, reserved bool, find func(context.Context, storage.Tx) (storage.User, error),
) (ChangedUser, error) {
	var (
		renamed ChangedUser
		ended   ending
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		renamed, ended = ChangedUser{}, ending{}
		u, err := find(ctx, tx)
		if err != nil {
			return err
		}
		renamed, ended, err = a.renameTo(ctx, tx, u, name, reserved)
		return err
	})
	if err != nil {
		return ChangedUser{}, fmt.Errorf("account: rename: %w", err)
	}
	a.afterwards(ctx, ended)
	return renamed, nil
}

// newHandle returns a handle that a user of a domain may take, if no user has it.
func (a *Accounts) newHandle(domain, handle string, reserved bool) (claims.ID, error) {
	d, ok := a.domains[domain]
	if !ok {
		return claims.ID{}, ErrNoUser
	}
	if d.Names.System() == claims.SystemXMPP {
		return claims.ID{}, ErrNoRename
	}
	name, err := d.Names.Handle(handle)
	if err != nil {
		return claims.ID{}, err
	}
	policy := d.Policy
	policy.Administrator = reserved
	return name, policy.Check(name)
}

// renameTo is [Accounts.Rename] as a step of a transaction, to a handle that [Accounts.newHandle] returned.
func (a *Accounts) renameTo(
	ctx context.Context, tx storage.Tx, u storage.User, name claims.ID, reserved bool,
) (ChangedUser, ending, error) {
	if u.Handle == name.Local() {
		return ChangedUser{User: u}, ending{}, nil
	}
	if err := a.vacant(ctx, tx, u.Domain, name); err != nil {
		return ChangedUser{}, ending{}, err
	}
	now := a.now()
	if err := a.release(ctx, tx, a.domains[u.Domain], u, now); err != nil {
		return ChangedUser{}, ending{}, err
	}
	if err := take(ctx, tx, u, name, now); err != nil {
		return ChangedUser{}, ending{}, err
	}
	if _, err := tx.EndCredentialHandles(ctx, u.Domain, u.ID, now); err != nil {
		return ChangedUser{}, ending{}, err
	}
	u.Handle, u.Gen = name.Local(), u.Gen+1
	if err := tx.UpdateUser(ctx, u); err != nil {
		return ChangedUser{}, ending{}, err
	}
	cause := revocation.Cause{Reason: reasonRenamed, At: now, TokenLife: a.tokenLife}
	row, err := tx.Revoke(ctx, revocation.RevokeBelow(u.Domain, u.ID, u.Gen, cause))
	if err != nil {
		return ChangedUser{}, ending{}, err
	}
	more, withdrawn, err := a.withdraw(ctx, tx, storage.Withdrawal{
		Domain: u.Domain, User: u.ID, TellsHandle: true, Below: u.Gen, Reason: reasonRenamed, At: now,
	})
	if err != nil {
		return ChangedUser{}, ending{}, err
	}
	event := audit.Event{Kind: audit.UserRenamed, Domain: u.Domain, User: u.ID, Handle: u.Handle}
	if reserved {
		event.Reason = "reserved handle granted"
	}
	return ChangedUser{User: u, Changed: true}, ending{append(withdrawn, row), more}, audit.Append(ctx, tx, event)
}
