package account

import (
	"context"
	"fmt"
	"time"

	"github.com/imidentity/issuer/storage"
)

// MaxCounted is how far the numbers of a [Profile] count.
const MaxCounted = 100

// A Profile is a user as they see themselves. It holds no former handle.
type Profile struct {
	storage.User
	// Identity holds the URIs of the user, without a device. Display is the handle as people write it.
	Identity Identity
	Display  string
	// Devices and Sessions are how many devices the user has and how many sessions are live, and Statements how many live statements the
	// user has made, each [MaxCounted] at most.
	Devices, Sessions, Statements int
	// Rename says who renames the user, and RenameAfter when the user may do so themselves; zero if at once.
	Rename      RenameBy
	RenameAfter time.Time
}

// Profile returns the user of a session. The error is [ErrNoSession] if it has ended.
func (a *Accounts) Profile(ctx context.Context, by Owner) (p Profile, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		p = Profile{}
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		p, err = a.profile(ctx, r, u)
		return err
	})
	if err != nil {
		return Profile{}, fmt.Errorf("account: profile: %w", err)
	}
	return p, nil
}

func (a *Accounts) profile(ctx context.Context, r storage.Reader, u storage.User) (p Profile, err error) {
	p = Profile{User: u, Rename: a.domains[u.Domain].Rename.By}
	if p.Identity, err = a.Identify(u, storage.Device{}); err != nil {
		return p, err
	}
	if p.Display, err = a.Display(u); err != nil {
		return p, err
	}
	now := a.now()
	devices, err := r.DevicesInUse(ctx, u.Domain, u.ID, "", now, MaxCounted)
	if err != nil {
		return p, err
	}
	sessions, err := r.LiveGrants(ctx, u.Domain, u.ID, "", now, MaxCounted)
	if err != nil {
		return p, err
	}
	p.Devices, p.Sessions = len(devices), len(sessions)
	if p.Statements, err = r.CountStatements(ctx, u.Domain, u.ID, now, MaxCounted); err != nil {
		return p, err
	}
	if p.Rename == RenameByUser {
		p.RenameAfter, err = a.renameAfter(ctx, r, u)
	}
	return p, err
}
