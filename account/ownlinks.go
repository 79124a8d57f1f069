package account

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

var (
	// ErrNoLink is returned for a link that the user does not have.
	ErrNoLink = errors.New("account: no such link")
	// ErrLastLink is returned for the only link of a user, who could not sign in again without it.
	ErrLastLink = errors.New("account: the last link of the user")
)

// reasonUnlinked is stored with the sessions that end because the user removed the link by which they had signed in.
const reasonUnlinked = "link_removed"

// An OwnLink is a link of a user to an account at an OpenID provider, as its user sees it. Its ID names it without telling the subject.
type OwnLink struct {
	storage.Link
	ID string
}

// linkID returns the id of a link. Subjects can be guessed, so it is made with a key.
func (a *Accounts) linkID(l storage.Link) string {
	mac := hmac.New(sha256.New, a.linkKey[:])
	for _, part := range []string{l.Domain, l.Issuer, l.Subject} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// ownLinks returns the links of a user, in the order of their ids.
func (a *Accounts) ownLinks(ctx context.Context, r storage.Reader, u storage.User) ([]OwnLink, error) {
	links, err := r.Links(ctx, u.Domain, u.ID)
	if err != nil {
		return nil, err
	}
	list := make([]OwnLink, len(links))
	for i, l := range links {
		list[i] = OwnLink{l, a.linkID(l)}
	}
	slices.SortFunc(list, func(l, m OwnLink) int { return strings.Compare(l.ID, m.ID) })
	return list, nil
}

// OwnLinks returns at most limit links of a user, in the order of their ids, from the one that follows after. A page that is not full
// is the last one. The error is [ErrNoSession] if the session of by has ended.
func (a *Accounts) OwnLinks(ctx context.Context, by Owner, after string, limit int) (page []OwnLink, err error) {
	err = a.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		page = nil
		u, _, err := a.owner(ctx, r, by)
		if err != nil {
			return err
		}
		list, err := a.ownLinks(ctx, r, u)
		for _, l := range list {
			if l.ID > after && len(page) < limit {
				page = append(page, l)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("account: list links: %w", err)
	}
	return page, nil
}

// RemoveOwnLink removes a link of the user of by, whose token says that they signed in at authTime: with that account at the provider
// they are not this user any more. What came from logins at the provider ends, as by [Accounts.Logout]. The errors are [ErrNoSession],
// [ErrNoLink], [ErrLastLink] and [ErrLoginAge].
func (a *Accounts) RemoveOwnLink(ctx context.Context, by Owner, id string, authTime time.Time) error {
	var revoked []storage.Revocation
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		revoked = nil
		u, _, err := a.owner(ctx, tx, by)
		if err != nil {
			return err
		}
		list, err := a.ownLinks(ctx, tx, u)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(l OwnLink) bool { return l.ID == id })
		switch {
		case i < 0:
			return ErrNoLink
		case len(list) == 1:
			return ErrLastLink
		}
		if err := a.fresh(authTime); err != nil {
			return err
		}
		l := list[i].Link
		if err := tx.DeleteLink(ctx, l.Domain, l.Issuer, l.Subject); err != nil {
			return err
		}
		now := a.now()
		ended, err := tx.EndLogin(ctx, storage.Logout{
			Domain: l.Domain, Issuer: l.Issuer, Subject: l.Subject, User: l.User, At: now, ExpiresAt: now.Add(logoutKept),
		}, now, reasonUnlinked)
		if err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reasonUnlinked, At: now, TokenLife: a.tokenLife}
		var rows []storage.Revocation
		for _, g := range ended {
			rows = append(rows, revocation.RevokeGrant(g.ID, cause))
		}
		if revoked, err = a.Revoke(ctx, tx, l.Domain, l.User, rows...); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.LinkRemoved, Domain: l.Domain, User: l.User, Peer: l.Issuer})
	})
	if err != nil {
		return fmt.Errorf("account: remove a link: %w", err)
	}
	a.revoked(revoked...)
	return nil
}
