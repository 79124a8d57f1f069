package account

import (
	"context"
	"fmt"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
)

// Live returns the user of a live session, for a transaction of another package. The errors are [ErrNoSession] and [ErrNoBrowser] if the
// session of by has ended.
func (a *Accounts) Live(ctx context.Context, r storage.Reader, by Owner) (storage.User, error) {
	u, _, err := a.owner(ctx, r, by)
	return u, err
}

// OpinionSubject returns the [storage.SignedDocument] Subject of a user: the same for the im: and the mimi: URI.
func OpinionSubject(user claims.ID) string {
	if text := user.MIMI(); text != "" {
		return text
	}
	return user.String()
}

// opinionRows is how many vouches and distrusts one transaction deletes.
const opinionRows = 200

// endOpinions deletes the vouches and distrusts of others about a user, and returns how many there were.
func (a *Accounts) endOpinions(ctx context.Context, domain, user string) (ended int, err error) {
	d, ok := a.domains[domain]
	if !ok {
		return 0, nil
	}
	id, err := d.Names.User(user)
	if err != nil { // no user ever had it
		return 0, nil
	}
	for n := opinionRows; n == opinionRows; {
		err := a.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
			n, err = tx.DeleteOpinions(ctx, OpinionSubject(id), opinionRows)
			return err
		})
		if err != nil {
			return ended, fmt.Errorf("account: delete vouches about a user: %w", err)
		}
		ended += n
	}
	return ended, nil
}
