package account

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

const (
	// reasonUserRemoved is stored with the tokens of a removed user.
	reasonUserRemoved = "user_removed"
	// ReturnAfter is how long a person who was removed and may return has to wait. All logins that began before the removal are over by
	// then, so that none of them makes a new user.
	ReturnAfter = logoutKept
	// removalRows is how many rows about a removed user one transaction deletes.
	removalRows = 200
)

// A RemovedUser is the outcome of [Accounts.Remove].
type RemovedUser struct {
	Domain, ID string
	// On is the day of the removal.
	On time.Time
	// Changed is false if the user had been removed before.
	Changed bool
	// SessionsEnded is how many sessions the removal ended.
	SessionsEnded int
}

// Remove removes a user for ever. One transaction ends all sessions, codes, statements, credentials and tokens of the user and deletes
// their row, so that nothing of theirs can be used or refreshed, and racing logins fail. Devices, links, names and everything else about
// the user are deleted with it, or soon after if they are many. Only tombstones stay, so that no one ever gets the id or a handle of the
// user.
//
// If mayReturn is set, the person can sign in again as a new user, with another id and handle, once [ReturnAfter] has passed. Otherwise
// they are refused until [Accounts.Readmit]. Removing a user again changes nothing. The error is [ErrNoUser] if there never was such a
// user.
func (a *Accounts) Remove(ctx context.Context, domain, user string, mayReturn bool) (RemovedUser, error) {
	event := audit.Event{Kind: audit.UserRemoved}
	if mayReturn {
		event.Reason = "may return"
	}
	return a.remove(ctx, domain, user, mayReturn, event, nil)
}

// Leave is [Accounts.Remove] by the user, who may return. AuthTime is when the user last signed in at the provider. The errors are
// [ErrNoSession] if the session of by has ended, and [ErrLoginAge] if the user signed in more than [StepUpAge] ago.
func (a *Accounts) Leave(ctx context.Context, by Owner, authTime time.Time) (RemovedUser, error) {
	event := audit.Event{Kind: audit.UserRemoved, Reason: "left"}
	return a.remove(ctx, by.Domain, by.User, true, event, func(ctx context.Context, tx storage.Tx) error {
		if _, _, err := a.owner(ctx, tx, by); err != nil {
			return err
		}
		return a.FreshLogin(authTime)
	})
}

// FreshLogin returns [ErrLoginAge] unless a user has just signed in, as dangerous acts demand.
func (a *Accounts) FreshLogin(authTime time.Time) error {
	// A provider whose clock is far ahead does not count, either.
	if authTime.IsZero() || a.now().Sub(authTime).Abs() > StepUpAge {
		return ErrLoginAge
	}
	return nil
}

// remove is [Accounts.Remove], recorded as an event, after a check at the beginning of the transaction, which may be nil.
func (a *Accounts) remove(ctx context.Context, domain, user string, mayReturn bool, event audit.Event,
	check func(ctx context.Context, tx storage.Tx) error) (RemovedUser, error) {
	var (
		removed RemovedUser
		revoked []storage.Revocation
		more    bool
	)
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		removed, revoked, more = RemovedUser{Domain: domain, ID: user}, nil, false
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		u, err := a.user(ctx, tx, domain, user)
		if errors.Is(err, ErrNoUser) {
			t, err := a.buried(ctx, tx, domain, a.mark(markID, domain, user))
			removed.On = t.RemovedOn
			return notFound(err, ErrNoUser)
		} else if err != nil {
			return err
		}
		now := a.now()
		removed.Changed, removed.On = true, now.UTC().Truncate(24*time.Hour)
		if err := a.bury(ctx, tx, u, now, mayReturn); err != nil {
			return err
		}
		ended, err := tx.EndUserGrants(ctx, domain, user, now, reasonUserRemoved)
		if err != nil {
			return err
		}
		removed.SessionsEnded = len(ended)
		if revoked, err = a.endUser(ctx, tx, u, ended, now); err != nil {
			return err
		}
		event.Domain, event.User = domain, user
		if err := audit.Append(ctx, tx, event); err != nil {
			return err
		}
		r := storage.Removal{Domain: domain, User: user, At: now}
		if err := tx.BeginRemoval(ctx, r); err != nil {
			return err
		}
		more, err = tx.ContinueRemoval(ctx, r, removalRows)
		return err
	})
	if err != nil {
		return RemovedUser{}, fmt.Errorf("account: remove a user: %w", err)
	}
	if err := a.inForce(ctx, revoked); err != nil {
		return RemovedUser{}, err
	}
	if more { // an error is ignored: the user is removed, and the rest is done later
		_ = a.FinishRemovals(ctx)
	}
	return removed, nil
}

// bury stores the tombstones of a user.
func (a *Accounts) bury(ctx context.Context, tx storage.Tx, u storage.User, now time.Time, mayReturn bool) error {
	names, err := tx.Names(ctx, u.Domain, u.ID)
	if err != nil {
		return err
	}
	for _, mark := range a.marksOf(u, names) {
		if err := tx.PutTombstone(ctx, storage.Tombstone{Domain: u.Domain, Mark: mark, RemovedOn: now}); err != nil {
			return err
		}
	}
	links, err := tx.Links(ctx, u.Domain, u.ID)
	if err != nil {
		return err
	}
	for _, l := range links {
		t := storage.Tombstone{Domain: u.Domain, Mark: a.mark(markLink, u.Domain, l.Issuer, l.Subject), RemovedOn: now}
		if mayReturn {
			t.ExpiresAt = now.Add(ReturnAfter)
		}
		if err := tx.PutTombstone(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// endUser ends the tokens and the statements of a user who is removed. Tokens about others in which the user acts carry the session of
// the user, see [Accounts.Disable].
func (a *Accounts) endUser(ctx context.Context, tx storage.Tx, u storage.User, sessions []string,
	now time.Time) (revoked []storage.Revocation, err error) {
	cause := revocation.Cause{Reason: reasonUserRemoved, At: now, TokenLife: a.tokenLife}
	rows := []storage.Revocation{revocation.RevokeUser(u.Domain, u.ID, cause)}
	for _, sid := range sessions[:min(len(sessions), batch)] {
		row := revocation.RevokeGrant(sid, cause)
		row.Domain = u.Domain
		rows = append(rows, row)
	}
	for _, row := range rows {
		if row, err = tx.Revoke(ctx, row); err != nil {
			return nil, err
		}
		revoked = append(revoked, row)
	}
	// In effect until the statements are deleted.
	return revoked, tx.BeginWithdrawal(ctx, storage.Withdrawal{
		Domain: u.Domain, User: u.ID, Below: math.MaxInt64, Reason: reasonUserRemoved, At: now,
	})
}

// FinishRemovals deletes what is left of removed users, some rows at a time. It is called after each removal of a user with many rows,
// and from time to time, so that interrupted ones are finished.
func (a *Accounts) FinishRemovals(ctx context.Context) error {
	for {
		r, err := a.store.Removal(ctx)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		} else if err != nil {
			return fmt.Errorf("account: finish a removal: %w", err)
		}
		err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			_, err := tx.ContinueRemoval(ctx, r, removalRows)
			return err
		})
		if err != nil {
			return fmt.Errorf("account: finish a removal: %w", err)
		}
	}
}

// RepeatRemovals removes those of some users whose ids have tombstones, and returns how many these were. It is for a restored database,
// in which nothing is live that has to be ended. Key is [Config].TombstoneKey.
func RepeatRemovals(ctx context.Context, s storage.Store, key [32]byte, users []storage.User) (removed int64, err error) {
	for _, u := range users {
		t, err := s.Tombstone(ctx, u.Domain, markBy(key, markID, u.Domain, u.ID))
		if errors.Is(err, storage.ErrNotFound) {
			continue
		} else if err != nil {
			return removed, fmt.Errorf("account: repeat a removal: %w", err)
		}
		r := storage.Removal{Domain: u.Domain, User: u.ID, At: t.RemovedOn}
		for first, more := true, true; more; first = false {
			err := s.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
				if first {
					if err := tx.BeginRemoval(ctx, r); err != nil {
						return err
					}
				}
				more, err = tx.ContinueRemoval(ctx, r, removalRows)
				return err
			})
			if err != nil {
				return removed, fmt.Errorf("account: repeat a removal: %w", err)
			}
		}
		removed++
	}
	return removed, nil
}

// notFound turns the absence of a record into another error, and leaves every other error as it is.
func notFound(err, absent error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return absent
	}
	return err
}
