package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// names are the user id and the handles of a user, as they are in URIs.
type names struct {
	domain string
	locals map[string]bool
}

// namesOf returns the id and all handles that a user has or had. The error is [ErrNoUser] if there is no such user.
func (a *Accounts) namesOf(ctx context.Context, domain, user string) (n names, err error) {
	u, err := a.user(ctx, a.store, domain, user)
	if err != nil {
		return n, err
	}
	list, err := a.store.Names(ctx, domain, user)
	if err != nil {
		return n, err
	}
	n = names{domain, map[string]bool{u.ID: true, u.Handle: true}}
	for _, name := range list {
		if !isFree(name) { // a released handle may be somebody else's
			n.locals[name.Local] = true
		}
	}
	return n, nil
}

// in reports whether a JSON value names the user: whether it contains a URI of the user, of a handle or of a device of theirs.
func (n names) in(v any) bool {
	switch v := v.(type) {
	case string:
		if !strings.Contains(v, n.domain) {
			return false
		}
		id, err := claims.Parser{Reading: claims.Lenient, AllowSingleLabel: true}.Parse(v)
		return err == nil && id.Domain() == n.domain && n.locals[id.Local()]
	case []any:
		for _, e := range v {
			if n.in(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if n.in(e) {
				return true
			}
		}
	}
	return false
}

// mentionPage is how many statements are read at a time.
const mentionPage = 200

// endMentions ends the statements of others that name a user, and deletes them. It returns how many there were.
func (a *Accounts) endMentions(ctx context.Context, n names) (ended int, err error) {
	if n.domain == "" {
		return 0, nil
	}
	for _, domain := range slices.Sorted(maps.Keys(a.domains)) { // in one order, so that a failure can be repeated
		for after := ""; ; {
			page, err := a.store.StatementsAfter(ctx, domain, "", after, mentionPage)
			if err != nil {
				return ended, fmt.Errorf("account: find statements that name a user: %w", err)
			}
			for _, s := range page {
				var content any
				if domain == n.domain && n.locals[s.User] || json.Unmarshal(s.Claims, &content) != nil || !n.in(content) {
					continue
				}
				if err := a.deleteStatement(ctx, s); err != nil {
					return ended, fmt.Errorf("account: end a statement that names a user: %w", err)
				}
				ended++
			}
			if len(page) < mentionPage {
				break
			}
			after = page[len(page)-1].JTI
		}
	}
	return ended, nil
}

// deleteStatement ends a statement, with the tokens that enclose it or were issued by it, and deletes it.
func (a *Accounts) deleteStatement(ctx context.Context, s storage.Statement) error {
	var revoked []storage.Revocation
	err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		revoked = nil
		if err := tx.DeleteStatement(ctx, s.JTI); errors.Is(err, storage.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		cause := revocation.Cause{Reason: reasonUserRemoved, At: a.now(), TokenLife: a.tokenLife}
		revoked, err = a.Revoke(ctx, tx, s.Domain, s.User, revocation.RevokeGrant(s.JTI, cause))
		return err
	})
	if err != nil {
		return err
	}
	a.revoked(revoked...)
	return nil
}
