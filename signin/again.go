package signin

import (
	"context"

	"github.com/imidentity/issuer/storage"
)

// markAgain marks a login whose code was sent to a provider that then failed. The code must not be sent again (RFC 6749
// §4.1.2), so the next request for this login goes through [Logins.beginAgain].
func (s *Logins) markAgain(ctx context.Context, v *visit) error {
	marked := v.row
	var err error
	if marked.Person, err = encode(progress{Step: stepAgain}); err != nil {
		return err
	}
	// The user may have closed the connection, tired of waiting; the code was sent all the same.
	return s.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx storage.Tx) error {
		if err := removeRow(ctx, tx, v.row); err != nil {
			return err
		}
		return tx.InsertLogin(ctx, marked)
	})
}

// beginAgain sends the browser to the OpenID provider once more, for the same request of the app. The provider usually
// remembers the user, who then notices nothing.
func (s *Logins) beginAgain(ctx context.Context, v *visit, in Return) (Outcome, error) {
	if _, known := s.providers[v.row.Provider]; !known || v.row.Provider != in.Provider {
		return nil, errOver
	}
	a, err := s.choose(ctx, v.row.Request, v.row.Domain, v.row.Provider)
	if err != nil {
		return v.tell(err)
	}
	return s.depart(ctx, v, a, func(p pendingLogin) error { return s.end(ctx, v, ending{next: &p}) })
}
