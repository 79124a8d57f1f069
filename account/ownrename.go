package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// ErrRenameRule is returned by [Accounts.RenameOwn] if the domain does not let users choose another handle.
var ErrRenameRule = errors.New("account: users of the domain do not rename themselves")

// RenameBy says who gives the users of a domain another handle, besides administrators, who always can.
type RenameBy string

const (
	// RenameByAdmin leaves it to administrators. The zero value means the same.
	RenameByAdmin RenameBy = "admin"
	// RenameByUser lets users choose another handle themselves.
	RenameByUser RenameBy = "user"
	// RenameByProvider gives users the handle that an authoritative OpenID provider names when they log in.
	RenameByProvider RenameBy = "provider"
)

// A RenameRule says who renames the users of a domain.
type RenameRule struct {
	By RenameBy
	// Every is how long a user must keep a handle that they or an administrator chose before they choose another one.
	Every time.Duration
}

// RenamedBy returns who gives the users of a domain another handle.
func (a *Accounts) RenamedBy(domain string) RenameBy { return a.domains[domain].Rename.By }

// A RenameWait is returned by [Accounts.RenameOwn] for a user who changed the handle a short time ago.
type RenameWait struct {
	// Until is when the user may choose another handle.
	Until time.Time
}

func (e *RenameWait) Error() string {
	return "account: the user may choose another handle after " + e.Until.UTC().Format(time.RFC3339)
}

// An OwnRename is the request of a user for another handle.
type OwnRename struct {
	Owner
	// Gen is the generation of the token of the request; it does not count for the session of a browser. AuthTime is when the user signed
	// in.
	Gen      int64
	AuthTime time.Time
	Handle   string
}

// RenameOwn is [Accounts.Rename] by the user, as the rule of the domain allows. What a user may find out about the names of others
// comes last, after the age of the login and the time since the last change. A handle that the user has already changes nothing. The
// errors are [ErrRenameRule], [ErrEnded] if the session or the generation of the token ended meanwhile, [ErrNoBrowser], [ErrLoginAge],
// a *[RenameWait], and those of [Accounts.Rename].
func (a *Accounts) RenameOwn(ctx context.Context, r OwnRename) (ChangedUser, error) {
	if a.domains[r.Domain].Rename.By != RenameByUser {
		return ChangedUser{}, ErrRenameRule
	}
	name, err := a.newHandle(r.Domain, r.Handle, false)
	if err != nil {
		return ChangedUser{}, err
	}
	return a.renameUser(ctx, name, false, func(ctx context.Context, tx storage.Tx) (storage.User, error) {
		return a.mayRename(ctx, tx, r, name)
	})
}

// mayRename returns the user of a request for another handle, if the user may have one now.
func (a *Accounts) mayRename(ctx context.Context, tx storage.Tx, r OwnRename, name claims.ID) (storage.User, error) {
	u, _, err := a.owner(ctx, tx, r.Owner)
	if errors.Is(err, ErrNoSession) || err == nil && r.SID != "" && u.Gen != r.Gen { // another rename or the like was faster
		return u, ErrEnded
	}
	if err != nil || u.Handle == name.Local() {
		return u, err
	}
	if err := a.fresh(r.AuthTime); err != nil {
		return u, err
	}
	until, err := a.renameAfter(ctx, tx, u)
	if err == nil && a.now().Before(until) {
		err = &RenameWait{until}
	}
	return u, err
}

// fresh returns [ErrLoginAge] unless the user signed in within [RekeyMaxAge].
func (a *Accounts) fresh(authTime time.Time) error {
	// A provider whose clock is far ahead does not count, either.
	if authTime.IsZero() || a.now().Sub(authTime).Abs() > RekeyMaxAge {
		return ErrLoginAge
	}
	return nil
}

// renameAfter returns when a user may choose another handle; the zero time if their handle is the first one.
func (a *Accounts) renameAfter(ctx context.Context, r storage.Reader, u storage.User) (time.Time, error) {
	names, err := r.Names(ctx, u.Domain, u.ID)
	if err != nil {
		return time.Time{}, err
	}
	for _, n := range names {
		if n.Local == u.Handle && n.ReleasedAt.IsZero() && n.TakenAt.After(u.CreatedAt) {
			return n.TakenAt.Add(a.domains[u.Domain].Rename.Every), nil
		}
	}
	return time.Time{}, nil
}

// FollowProvider gives a user who has just signed in the handle that an authoritative OpenID provider names, if the rule of the
// domain says so. Without such a rule, or without a handle, it changes nothing. The errors are those of [Accounts.Rename]: then the
// user keeps their handle.
func (a *Accounts) FollowProvider(ctx context.Context, u storage.User, handle string) (ChangedUser, error) {
	if handle == "" || a.domains[u.Domain].Rename.By != RenameByProvider {
		return ChangedUser{User: u}, nil
	}
	if name, err := a.domains[u.Domain].Names.Handle(handle); err == nil && name.Local() == u.Handle {
		return ChangedUser{User: u}, nil // the usual case needs no turn of the writer
	}
	done, err := a.Rename(ctx, u.Domain, u.ID, handle)
	if err != nil {
		return ChangedUser{}, fmt.Errorf("account: follow the provider: %w", err)
	}
	return done, nil
}
