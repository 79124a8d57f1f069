package oauth

import (
	"context"
	"errors"
	"net/netip"

	"github.com/imidentity/issuer/storage"
)

// Rechecks asks OpenID providers whether the logins of sessions still stand. Package recheck does.
type Rechecks interface {
	// Check checks a session if that is due, and reports whether it may be refreshed; if not, it has ended. It calls begin before it
	// asks or writes anything, and returns the error of that. It is called outside of transactions.
	Check(ctx context.Context, g storage.Grant, from netip.Addr, begin func() error) (alive bool, err error)
}

// recheck asks the OpenID provider of the session, if that is due, before the transaction of the refresh. The provider is asked only
// for a request that would be granted otherwise, and whose proof is new: nobody else can have it asked.
func (g *refreshGrant) recheck(ctx context.Context) error {
	t, err := g.check(ctx, g.store)
	if copied := (*reuse)(nil); errors.As(err, &copied) {
		return nil // the session ends in the transaction
	} else if err != nil {
		return err
	}
	alive, err := g.rechecks.Check(ctx, g.session.grant, g.r.Source, func() error { return g.countAndSpend(ctx, g.r, t) })
	if err == nil && !alive {
		return errRefresh
	}
	return err
}
