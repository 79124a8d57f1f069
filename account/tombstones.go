package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/storage"
)

// ErrRemoved is returned where a user was removed: when they sign in with the account at the provider that was theirs, and for their
// id or a handle of theirs. It is an [ErrDisabled], too: such a person is refused in the same way.
var ErrRemoved = fmt.Errorf("account: the user was removed: %w", ErrDisabled)

// The marks of tombstones are keyed hashes of what belonged to a removed user. Each kind has its own, and the marks of one user do not
// show that they belong together.
const (
	markID         = "id"         // the user id, byte by byte
	markIDKey      = "id key"     // its collision key
	markHandle     = "handle"     // a handle, in canonical form
	markHandleKey  = "handle key" // its collision key
	markLink       = "link"       // an account at an OpenID provider
	markFormer     = "former"     // a former handle that was forgotten, of a user who may be there
	markFormerKey  = "former key" // its collision key
	markSeparation = "\x00"       // in no identifier of these kinds
)

// mark returns the mark of texts of a kind in a domain.
func (a *Accounts) mark(kind, domain string, texts ...string) [32]byte {
	return markBy(a.tombstoneKey, kind, domain, texts...)
}

func markBy(key [32]byte, kind, domain string, texts ...string) [32]byte {
	h := hmac.New(sha256.New, key[:])
	h.Write([]byte(kind + markSeparation + domain))
	for _, text := range texts {
		fmt.Fprintf(h, "%s%d%s%s", markSeparation, len(text), markSeparation, text)
	}
	return [32]byte(h.Sum(nil))
}

// marksOf returns the marks of a user who is removed, but for their links. A handle that an operator released belongs to no user. The exact
// handle is marked besides its collision key, which another version of the tables may make differently.
func (a *Accounts) marksOf(u storage.User, names []storage.Name) [][32]byte {
	marks := [][32]byte{
		a.mark(markID, u.Domain, u.ID), a.mark(markIDKey, u.Domain, claims.CollisionKeyOf(u.ID)),
		a.mark(markHandle, u.Domain, u.Handle), a.mark(markHandleKey, u.Domain, claims.CollisionKeyOf(u.Handle)),
	}
	for _, n := range names {
		if !isFree(n) && n.Local != u.Handle && n.Local != u.ID {
			marks = append(marks, a.mark(markHandle, u.Domain, n.Local), a.mark(markHandleKey, u.Domain, claims.CollisionKeyOf(n.Local)))
		}
	}
	return marks
}

// tombstones reads tombstones. Every [storage.Reader] does.
type tombstones interface {
	Tombstone(ctx context.Context, domain string, mark [32]byte) (storage.Tombstone, error)
}

// buried returns the first tombstone of some marks that has not expired, and [storage.ErrNotFound] if there is none.
func (a *Accounts) buried(ctx context.Context, r tombstones, domain string, marks ...[32]byte) (storage.Tombstone, error) {
	for _, m := range marks {
		t, err := r.Tombstone(ctx, domain, m)
		switch {
		case errors.Is(err, storage.ErrNotFound):
		case err != nil:
			return storage.Tombstone{}, err
		case t.ExpiresAt.IsZero() || a.now().Before(t.ExpiresAt):
			return t, nil
		}
	}
	return storage.Tombstone{}, storage.ErrNotFound
}

// vacant returns [ErrHandleTaken] for a handle that is, or looks like, a name of a removed user or a former name that was forgotten.
func (a *Accounts) vacant(ctx context.Context, r tombstones, domain string, handle claims.ID) error {
	if err := a.ofNoRemoved(ctx, r, domain, handle); err != nil {
		return err
	}
	return a.notForgotten(ctx, r, domain, handle)
}

// notForgotten returns [ErrHandleTaken] for a handle that is, or looks like, a former name that was forgotten.
func (a *Accounts) notForgotten(ctx context.Context, r tombstones, domain string, handle claims.ID) error {
	_, err := a.buried(ctx, r, domain, a.mark(markFormer, domain, handle.Local()),
		a.mark(markFormerKey, domain, claims.CollisionKey(handle)))
	return unless(err, ErrHandleTaken)
}

// ofNoRemoved returns [ErrHandleTaken] for a handle that is, or looks like, a name of a removed user.
func (a *Accounts) ofNoRemoved(ctx context.Context, r tombstones, domain string, handle claims.ID) error {
	key := claims.CollisionKey(handle)
	_, err := a.buried(ctx, r, domain, a.mark(markHandle, domain, handle.Local()), a.mark(markHandleKey, domain, key),
		a.mark(markID, domain, handle.Local()), a.mark(markIDKey, domain, key))
	return unless(err, ErrHandleTaken)
}

// vacantID returns [ErrUserTaken] for a user id that was the id of a removed user, or that looks like a handle of one or a former name
// that was forgotten. Ids may look like other ids.
func (a *Accounts) vacantID(ctx context.Context, r tombstones, domain string, id claims.ID) error {
	if err := a.notForgotten(ctx, r, domain, id); errors.Is(err, ErrHandleTaken) {
		return ErrUserTaken
	} else if err != nil {
		return err
	}
	_, err := a.buried(ctx, r, domain, a.mark(markID, domain, id.Local()), a.mark(markHandle, domain, id.Local()),
		a.mark(markHandleKey, domain, claims.CollisionKey(id)))
	return unless(err, ErrUserTaken)
}

// welcome returns [ErrRemoved] for an account at a provider that was that of a removed user, and cannot be used now.
func (a *Accounts) welcome(ctx context.Context, r tombstones, domain, issuer, subject string) error {
	_, err := a.buried(ctx, r, domain, a.mark(markLink, domain, issuer, subject))
	return unless(err, ErrRemoved)
}

// unless returns the refusal for a tombstone that was found.
func unless(err, refusal error) error {
	if err == nil {
		return refusal
	} else if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}

// RemovedOn returns the day on which the user of an id, or of a handle, was removed. The error is [ErrNoUser] if there was none. A handle
// counts only as it was spelled, up to its canonical form.
func (a *Accounts) RemovedOn(ctx context.Context, domain, name string) (time.Time, error) {
	d, ok := a.domains[domain]
	if !ok {
		return time.Time{}, ErrNoUser
	}
	marks := [][32]byte{a.mark(markID, domain, name)}
	if handle, err := d.Names.Handle(name); err == nil {
		marks = append(marks, a.mark(markHandle, domain, handle.Local()))
	}
	t, err := a.buried(ctx, a.store, domain, marks...)
	if errors.Is(err, storage.ErrNotFound) {
		return time.Time{}, ErrNoUser
	} else if err != nil {
		return time.Time{}, fmt.Errorf("account: find a removed user: %w", err)
	}
	return t.RemovedOn, nil
}

// Readmit lets a removed person sign in again with an account at an OpenID provider, as a new user. The error is [ErrNoUser] if no
// removed user had that account, or if it can be used already.
func (a *Accounts) Readmit(ctx context.Context, domain, issuer, subject string) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := tx.DeleteTombstone(ctx, domain, a.mark(markLink, domain, issuer, subject)); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.UserReadmitted, Domain: domain, Peer: issuer})
	})
	if errors.Is(err, storage.ErrNotFound) {
		return ErrNoUser
	} else if err != nil {
		return fmt.Errorf("account: readmit: %w", err)
	}
	return nil
}
