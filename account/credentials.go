package account

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// ErrNoCredential is returned for a credential that the domain, or its user, does not have.
var ErrNoCredential = errors.New("account: no such credential")

// A CredentialState says how much of a credential has ended.
type CredentialState string

// The states of credentials.
const (
	CredentialLive        CredentialState = "live"
	CredentialHandleEnded CredentialState = "handle_ended" // live, but the handle that it states is no longer that of the user
	CredentialEnded       CredentialState = "ended"
)

// StateOf returns the state of a credential that has not expired.
func StateOf(c storage.Credential) CredentialState {
	switch {
	case !c.EndedAt.IsZero():
		return CredentialEnded
	case !c.HandleEndedAt.IsZero():
		return CredentialHandleEnded
	}
	return CredentialLive
}

// An OwnCredential is a lasting credential of a device as its user sees it.
type OwnCredential struct {
	storage.Credential
	DeviceURI string
	// HandleURI is the URI of the handle that it states; empty if it states none, or one that is no longer that of the user.
	HandleURI string
}

// OwnCredentials returns at most limit credentials of a user that have not expired, in the order of their ids, from the one that follows
// after. A page that is not full is the last one. The error is [ErrNoSession] if the session of by has ended.
func (a *Accounts) OwnCredentials(ctx context.Context, by Owner, after string, limit int) (list []OwnCredential, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		for len(list) < limit {
			page, err := r.Credentials(ctx, u.Domain, u.ID, after, limit)
			if err != nil {
				return err
			}
			for _, c := range page {
				after = c.ID
				if !a.now().Before(c.ExpiresAt) || len(list) == limit {
					continue
				}
				own, err := a.ownCredential(u, c)
				if err != nil {
					return err
				}
				list = append(list, own)
			}
			if len(page) < limit {
				break
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: list credentials: %w", err)
	}
	return list, nil
}

// DeviceCredentials is [Accounts.OwnCredentials] for those of the device of the session of by alone.
func (a *Accounts) DeviceCredentials(ctx context.Context, by Owner, after string, limit int) (list []OwnCredential, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		list = nil
		u, d, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		all, err := r.DeviceCredentials(ctx, u.Domain, d.ID, a.now(), maxDeviceCredentials)
		if err != nil {
			return err
		}
		slices.SortFunc(all, func(v, w storage.Credential) int { return strings.Compare(v.ID, w.ID) })
		for _, c := range all {
			if c.ID <= after || len(list) == limit {
				continue
			}
			own, err := a.ownCredential(u, c)
			if err != nil {
				return err
			}
			list = append(list, own)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("account: list the credentials of a device: %w", err)
	}
	return list, nil
}

// maxDeviceCredentials is how many credentials of a device are read: no device is given more before they expire.
const maxDeviceCredentials = 1000

// OwnCredential returns a live credential of a user. The errors are [ErrNoCredential], and those of [Accounts.OwnCredentials].
func (a *Accounts) OwnCredential(ctx context.Context, by Owner, id string) (own OwnCredential, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		c, err := credentialOf(ctx, r, u.Domain, u.ID, id)
		if err != nil {
			return err
		}
		if !c.EndedAt.IsZero() || !a.now().Before(c.ExpiresAt) {
			return ErrNoCredential
		}
		own, err = a.ownCredential(u, c)
		return err
	})
	if err != nil {
		return OwnCredential{}, fmt.Errorf("account: find a credential: %w", err)
	}
	return own, nil
}

// ownCredential returns a credential of u as they see it. The handle of a credential that had ended before a rename is a former one, too.
func (a *Accounts) ownCredential(u storage.User, c storage.Credential) (OwnCredential, error) {
	names, err := a.Identify(u, storage.Device{ID: c.Device})
	if err != nil {
		return OwnCredential{}, err
	}
	own := OwnCredential{Credential: c, DeviceURI: names.Device}
	if c.Handle == u.Handle && c.HandleEndedAt.IsZero() {
		own.HandleURI = names.Handle
	}
	return own, nil
}

// credentialOf returns a credential of a domain, and of its user if one is named. The error is [ErrNoCredential] if there is none.
func credentialOf(ctx context.Context, r storage.Reader, domain, user, id string) (storage.Credential, error) {
	c, err := r.Credential(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && (c.Domain != domain || user != "" && c.User != user) {
		return storage.Credential{}, ErrNoCredential
	}
	return c, err
}

// EndOwnCredential ends a credential of the user. Its device stays. Ending it again changes nothing. The errors are [ErrNoSession] if the
// session of by has ended, and [ErrNoCredential] if the user has no such credential.
func (a *Accounts) EndOwnCredential(ctx context.Context, by Owner, id string) error {
	_, _, err := a.endCredential(ctx, by.Domain, by.User, id, reasonUser, func(ctx context.Context, tx storage.Tx) error {
		_, _, err := a.owner(ctx, tx, by)
		return err
	})
	return err
}

// EndDeviceCredential is [Accounts.EndOwnCredential] for those of the device of the session of by alone.
func (a *Accounts) EndDeviceCredential(ctx context.Context, by Owner, id string) error {
	_, _, err := a.endCredential(ctx, by.Domain, by.User, id, reasonUser, func(ctx context.Context, tx storage.Tx) error {
		_, d, err := a.owner(ctx, tx, by)
		if err != nil {
			return err
		}
		c, err := credentialOf(ctx, tx, by.Domain, by.User, id)
		if err == nil && c.Device != d.ID {
			err = ErrNoCredential
		}
		return err
	})
	return err
}

// Credentials returns at most limit credentials of a domain, or of one of its users, with those that have ended, in the order of their ids,
// from the one that follows after. A page that is not full is the last one.
func (a *Accounts) Credentials(ctx context.Context, domain, user, after string, limit int) (list []storage.Credential, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		list, err = r.Credentials(ctx, domain, user, after, limit)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("account: list credentials: %w", err)
	}
	return list, nil
}

// EndCredential ends a credential of a domain. Its device stays. It returns the credential, and reports whether it was live. The error is
// [ErrNoCredential] if the domain has no such credential.
func (a *Accounts) EndCredential(ctx context.Context, domain, id, reason string) (storage.Credential, bool, error) {
	return a.endCredential(ctx, domain, "", id, reason, nil)
}

// endCredential is [Accounts.EndCredential], of one user if one is named, after a check at the beginning of the transaction. A nil check is
// for operators.
func (a *Accounts) endCredential(ctx context.Context, domain, user, id, reason string,
	check func(ctx context.Context, tx storage.Tx) error) (ended storage.Credential, changed bool, err error) {
	var revoked []storage.Revocation
	err = a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		ended, changed, revoked = storage.Credential{}, false, nil
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		if ended, err = credentialOf(ctx, tx, domain, user, id); err != nil || !ended.EndedAt.IsZero() {
			return err
		}
		now := a.now()
		if _, err := tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, ID: id}, now, reason); err != nil {
			return err
		}
		ended.EndedAt, ended.EndedReason, changed = now, reason, true
		// It ended with its row. The revocation tells every node to publish the list again.
		row := revocation.RevokeToken(id, revocation.Cause{Reason: "revoked", At: now, TokenLife: revocation.LongestToken})
		if revoked, err = a.Revoke(ctx, tx, domain, ended.User, row); err != nil {
			return err
		}
		event := audit.Event{Kind: audit.CredentialEnded, Domain: domain, User: ended.User, Device: ended.Device, Credential: id}
		if check == nil {
			event.Reason = reason
		}
		return audit.Append(ctx, tx, event)
	})
	if err != nil {
		return storage.Credential{}, false, fmt.Errorf("account: end a credential: %w", err)
	}
	if err := a.inForce(ctx, revoked); err != nil {
		return storage.Credential{}, false, err
	}
	return ended, changed, nil
}
