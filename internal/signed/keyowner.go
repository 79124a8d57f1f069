package signed

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

// A keyOwner is a user with stored keys, who wants to store what one of them signed.
type keyOwner struct {
	storage.User
	by     account.Owner
	uri    claims.ID
	keys   *xsign.Keys
	stored string // the content of keys
}

// keyOwner reads who asks. The errors are those of [account.Accounts.Live], and [ErrNoKeys].
func (s *Service) keyOwner(ctx context.Context, by account.Owner) (*keyOwner, error) {
	a := &keyOwner{by: by}
	err := s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) (err error) {
		if a.User, err = s.cfg.Accounts.Live(ctx, r, by); err != nil {
			return err
		}
		keys, err := r.SignedDocument(ctx, a.Domain, a.ID, storage.DocumentKeys, "")
		if errors.Is(err, storage.ErrNotFound) {
			err = ErrNoKeys
		}
		a.stored = keys.Content
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("signed: read the keys of a user: %w", err)
	}
	if a.uri, err = s.userOf(a.User); err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	if a.keys, err = xsign.ParseKeys(a.stored); err != nil {
		return nil, fmt.Errorf("signed: what is stored: %v", err) // not a refusal
	}
	return a, nil
}

// unmoved returns an error if the user is not live any more, and errMoved if other keys are stored by now.
func (s *Service) unmoved(ctx context.Context, tx storage.Tx, a *keyOwner) error {
	if _, err := s.cfg.Accounts.Live(ctx, tx, a.by); err != nil {
		return err
	}
	now, err := tx.SignedDocument(ctx, a.Domain, a.ID, storage.DocumentKeys, "")
	switch {
	case err != nil && !errors.Is(err, storage.ErrNotFound):
		return err
	case now.Content != a.stored:
		return errMoved
	}
	return nil
}
