package signed

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

// PutOpinion checks and stores a vouch or a distrust of a user about the master key with a thumbprint, in place of the one about it that
// is stored. The errors are those of [account.Accounts.Live], [ErrNoKeys], [ErrTooMany], and an [*xsign.Error] for a statement that is
// refused.
func (s *Service) PutOpinion(ctx context.Context, by account.Owner, thumbprint, text string) error {
	for range attempts {
		err := s.putOpinion(ctx, by, thumbprint, text)
		if !errors.Is(err, errMoved) {
			return err
		}
	}
	return errMoved
}

func (s *Service) putOpinion(ctx context.Context, by account.Owner, thumbprint, text string) error {
	a, err := s.keyOwner(ctx, by)
	if err != nil {
		return err
	}
	row, err := s.opinion(a.uri, a.keys.UserSigning, thumbprint, text)
	if err != nil {
		return err
	}
	row.Domain, row.User = a.Domain, a.ID
	err = s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := s.unmoved(ctx, tx, a); err != nil {
			return err
		}
		switch there, err := tx.SignedDocument(ctx, a.Domain, a.ID, storage.DocumentOpinion, row.Key); {
		case err == nil && there.Content == row.Content:
			return nil
		case err == nil && there.Seq > row.Seq: // one that was replaced does not come back by itself
			return refuse("", "iat", xsign.CodeOlder, "a newer statement about this master key is stored")
		case err != nil && !errors.Is(err, storage.ErrNotFound):
			return err
		case err != nil:
			n, err := tx.CountSignedDocuments(ctx, a.Domain, a.ID, storage.DocumentOpinion, xsign.MaxOwn)
			if err != nil {
				return err
			}
			if n >= xsign.MaxOwn {
				return ErrTooMany
			}
		}
		return tx.PutSignedDocument(ctx, row)
	})
	if err != nil {
		return fmt.Errorf("signed: store an opinion: %w", err)
	}
	return nil
}

// opinion reads a vouch or a distrust by the key of a user. Its Seq is its time, in seconds.
func (s *Service) opinion(user claims.ID, key crypto.PublicKey, thumbprint, text string) (row storage.SignedDocument, err error) {
	typ, public := jose.TypeVouch, false
	v, err := xsign.ParseVouch(text, key)
	if err == nil {
		public = v.Public
	} else if errors.Is(err, xsign.CodeType) {
		typ = jose.TypeDistrust
		var d *xsign.Distrust
		if d, err = xsign.ParseDistrust(text, key); err == nil {
			v = &xsign.Vouch{By: d.By, User: d.User, IssuedAt: d.IssuedAt, Expires: d.Expires, Master: d.Master}
		} else if errors.Is(err, xsign.CodeType) {
			err = refuse("", "typ", xsign.CodeType, "neither "+jose.TypeVouch+" nor "+jose.TypeDistrust)
		}
	}
	if err != nil {
		return row, err
	}
	switch {
	case account.OpinionSubject(v.By) != account.OpinionSubject(user):
		return row, refuse(typ, "iss", xsign.CodeUser, "not the user of the access token")
	case v.Master != thumbprint:
		return row, refuse(typ, "master", xsign.CodeClaim, "not the thumbprint in the path")
	}
	now := s.cfg.Now()
	if err := current(typ, v.IssuedAt, v.Expires, now); err != nil {
		return row, err
	}
	return storage.SignedDocument{
		Kind: storage.DocumentOpinion, Key: v.Master, Seq: v.IssuedAt.Unix(), Subject: account.OpinionSubject(v.User), Public: public,
		Content: text, CreatedAt: now, ChangedAt: now, ExpiresAt: v.Expires,
	}, nil
}

// DeleteOpinion deletes the vouch or distrust of a user about the master key with a thumbprint. The errors are those of
// [account.Accounts.Live], and [ErrNoOpinion].
func (s *Service) DeleteOpinion(ctx context.Context, by account.Owner, thumbprint string) error {
	err := s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		u, err := s.cfg.Accounts.Live(ctx, tx, by)
		if err != nil {
			return err
		}
		err = tx.DeleteSignedDocument(ctx, u.Domain, u.ID, storage.DocumentOpinion, thumbprint)
		if errors.Is(err, storage.ErrNotFound) {
			err = ErrNoOpinion
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("signed: delete an opinion: %w", err)
	}
	return nil
}
