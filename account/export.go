package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// An Export is everything that is stored about a user, but for secrets such as hashes of codes.
type Export struct {
	User     storage.User
	Identity Identity
	Records  []storage.PersonalRecords
}

// Export returns everything that is stored about a user, as it is at one moment. The error is [ErrNoUser] if there is no such user.
func (a *Accounts) Export(ctx context.Context, domain, user string) (Export, error) {
	return a.export(ctx, func(ctx context.Context, r storage.Reader) (storage.User, error) { return a.user(ctx, r, domain, user) })
}

// ExportOwn is [Accounts.Export] by the user. AuthTime is when the user last signed in at the provider. The errors are [ErrNoSession] or
// [ErrNoBrowser] if the session of by has ended, and [ErrLoginAge] if the user signed in more than [StepUpAge] ago: an export tells a thief
// of a device more than the device knows.
func (a *Accounts) ExportOwn(ctx context.Context, by Owner, authTime time.Time) (Export, error) {
	return a.export(ctx, func(ctx context.Context, r storage.Reader) (storage.User, error) {
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return u, err
		}
		return u, a.FreshLogin(authTime)
	})
}

// export exports the user that find finds in the snapshot, and records that before it returns.
func (a *Accounts) export(ctx context.Context,
	find func(ctx context.Context, r storage.Reader) (storage.User, error)) (e Export, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		e = Export{}
		if e.User, err = find(ctx, r); err != nil {
			return err
		}
		if e.Identity, err = a.Identify(e.User, storage.Device{}); err != nil {
			return err
		}
		e.Records, err = r.PersonalRecords(ctx, e.User.Domain, e.User.ID)
		return err
	})
	if err == nil {
		err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			return audit.Append(ctx, tx, audit.Event{Kind: audit.UserExported, Domain: e.User.Domain, User: e.User.ID})
		})
	}
	if err != nil {
		return Export{}, fmt.Errorf("account: export: %w", err)
	}
	return e, nil
}

// Claims returns the claims of a signed export: issuer, user and time, and in "records" an array of JSON objects for each kind of record.
func (e Export) Claims(issuer string, now time.Time) ([]byte, error) {
	records := make(map[string][]json.RawMessage, len(e.Records))
	for _, r := range e.Records {
		rows := make([]json.RawMessage, len(r.Rows))
		for i, row := range r.Rows {
			rows[i] = json.RawMessage(row)
		}
		records[r.Name] = rows
	}
	return json.Marshal(struct {
		Issuer  string                       `json:"iss"`
		Subject string                       `json:"sub"`
		Handle  string                       `json:"handle"`
		At      int64                        `json:"iat"`
		Records map[string][]json.RawMessage `json:"records"`
	}{issuer, e.Identity.User, e.Identity.Handle, now.Unix(), records})
}

// An ErasedUser is the outcome of [Accounts.Erase].
type ErasedUser struct {
	RemovedUser
	// Statements is how many statements of others named the user, and ended; their vouches and distrusts are among them.
	Statements int
}

// Erase is [Accounts.Remove], and makes sure that nothing of the user can be found in the files of the database afterwards but tombstones,
// and the user id in revocations until the last token of the user has expired. Statements of others that name the user end, too. A user who
// was removed before is erased as far as their names are not needed for that. If the error is not [ErrNoUser], something may be left: call
// it again.
func (a *Accounts) Erase(ctx context.Context, domain, user string, mayReturn bool) (ErasedUser, error) {
	names, err := a.namesOf(ctx, domain, user)
	if err != nil && !errors.Is(err, ErrNoUser) {
		return ErasedUser{}, fmt.Errorf("account: erase: %w", err)
	}
	// Before the removal, so that a repetition still knows the names; and after it, when no one can name the user any more.
	before, err := a.endMentions(ctx, names)
	if err != nil {
		return ErasedUser{}, err
	}
	opinions, err := a.endOpinions(ctx, domain, user)
	if err != nil {
		return ErasedUser{}, err
	}
	removed, err := a.remove(ctx, domain, user, mayReturn, audit.Event{Kind: audit.UserErased}, nil)
	if err != nil {
		return ErasedUser{}, err
	}
	after, err := a.endMentions(ctx, names)
	if err != nil {
		return ErasedUser{}, err
	}
	return ErasedUser{removed, before + opinions + after}, a.Forget(ctx)
}

// Forget finishes all removals, and makes sure that nothing of deleted records can be recovered from the database.
func (a *Accounts) Forget(ctx context.Context) error {
	if err := a.FinishRemovals(ctx); err != nil {
		return err
	}
	if err := a.forget(ctx); err != nil {
		return fmt.Errorf("account: forget: %w", err)
	}
	return nil
}
