package signed

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/places"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

var (
	// ErrNoProfile is returned if there is no profile, or none that is shown.
	ErrNoProfile = errors.New("signed: there is no such profile")
	// ErrOtherProfile is returned for a profile of a master key by which another user has stored one.
	ErrOtherProfile = errors.New("signed: another user has a profile by this master key")
)

// A Profile is the profile of a user's places, as it is stored.
type Profile struct {
	Fingerprint, Text string
}

// profileRows is more than the one profile that a user has.
const profileRows = 4

// profiles returns the profiles of a user: one, or none.
func profiles(ctx context.Context, r storage.Reader, u storage.User) ([]storage.SignedDocument, error) {
	return r.SignedDocuments(ctx, u.Domain, u.ID, storage.DocumentProfile, profileRows)
}

// OwnProfile returns the profile of a user, also one that has expired. The errors are those of [account.Accounts.Live], and [ErrNoProfile].
func (s *Service) OwnProfile(ctx context.Context, by account.Owner) (p Profile, err error) {
	err = s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		u, err := s.cfg.Accounts.Live(ctx, r, by)
		if err != nil {
			return err
		}
		list, err := profiles(ctx, r, u)
		if err == nil && len(list) == 0 {
			err = ErrNoProfile
		}
		if err == nil {
			p = Profile{list[0].Key, list[0].Content}
		}
		return err
	})
	if err != nil {
		return Profile{}, fmt.Errorf("signed: read the profile of a user: %w", err)
	}
	return p, nil
}

// PutProfile checks and stores the profile of a user, in place of the one that is stored, and returns it. It must name this user, and be
// signed by the master key that the user has stored: so no one stores a profile by the key of another user. The places in it are not looked
// at. The errors are those of [account.Accounts.Live], [ErrNoKeys], [ErrOtherProfile], and a [*places.Error] for a profile that is refused.
func (s *Service) PutProfile(ctx context.Context, by account.Owner, text string) (Profile, error) {
	for range attempts {
		p, err := s.putProfile(ctx, by, text)
		if !errors.Is(err, errMoved) {
			return p, err
		}
	}
	return Profile{}, errMoved
}

// putProfile reads, checks without a transaction, and stores if the keys are the same by then.
func (s *Service) putProfile(ctx context.Context, by account.Owner, text string) (Profile, error) {
	a, err := s.keyOwner(ctx, by)
	if err != nil {
		return Profile{}, err
	}
	p, err := readProfile(text, a.uri, a.keys.Master, s.cfg.Now())
	if err != nil {
		return Profile{}, err
	}
	err = s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		if err := s.unmoved(ctx, tx, a); err != nil {
			return err
		}
		return s.storeProfile(ctx, tx, a.User, p, text)
	})
	if errors.Is(err, storage.ErrConflict) { // two users with one master key
		err = ErrOtherProfile
	}
	if err != nil {
		return Profile{}, fmt.Errorf("signed: store a profile: %w", err)
	}
	return Profile{p.Fingerprint(), text}, nil
}

// readProfile reads a profile that a user wants to store, by their master key.
func readProfile(text string, user claims.ID, master crypto.PublicKey, now time.Time) (*places.Profile, error) {
	p, err := places.ParseProfile(text)
	if err != nil {
		return nil, err
	}
	switch thumbprint, err := xsign.Thumbprint(master); {
	case err != nil:
		return nil, fmt.Errorf("signed: what is stored: %v", err)
	case p.Thumbprint() != thumbprint:
		return nil, refuseProfile("jwk", places.CodeKey, "not the master key that the user has stored")
	case account.OpinionSubject(p.User) != account.OpinionSubject(user):
		return nil, refuseProfile("claims", places.CodeUser, "not the user of the access token")
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return nil, refuseProfile("exp", places.CodeExpired, "it has expired")
	}
	return p, nil
}

func refuseProfile(part string, code places.Code, text string) error {
	return &places.Error{Part: part, Code: code, Err: errors.New(text)}
}

// storeProfile stores a profile that was checked. The same again changes nothing.
func (s *Service) storeProfile(ctx context.Context, tx storage.Tx, u storage.User, p *places.Profile, text string) error {
	list, err := profiles(ctx, tx, u)
	if err != nil {
		return err
	}
	event := audit.Event{Kind: audit.UserPlacesChanged, Domain: u.Domain, User: u.ID}
	switch {
	case len(list) == 0:
		event.Reason = "first"
	case len(list) == 1 && list[0].Key == p.Fingerprint() && list[0].Content == text:
		return nil
	}
	if err := dropProfiles(ctx, tx, u, list, p.Fingerprint()); err != nil {
		return err
	}
	now := s.cfg.Now()
	err = tx.PutSignedDocument(ctx, storage.SignedDocument{
		Domain: u.Domain, User: u.ID, Kind: storage.DocumentProfile, Key: p.Fingerprint(), Content: text, CreatedAt: now, ChangedAt: now,
		ExpiresAt: p.Expires,
	})
	if err != nil {
		return err
	}
	return audit.Append(ctx, tx, event)
}

// dropProfiles deletes profiles of a user, except the one with a fingerprint.
func dropProfiles(ctx context.Context, tx storage.Tx, u storage.User, list []storage.SignedDocument, keep string) error {
	for _, d := range list {
		if d.Key == keep {
			continue
		}
		if err := tx.DeleteSignedDocument(ctx, u.Domain, u.ID, storage.DocumentProfile, d.Key); err != nil {
			return err
		}
	}
	return nil
}

// DeleteProfile deletes the profile of a user. The errors are those of [account.Accounts.Live], and [ErrNoProfile].
func (s *Service) DeleteProfile(ctx context.Context, by account.Owner) error {
	err := s.cfg.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		u, err := s.cfg.Accounts.Live(ctx, tx, by)
		if err != nil {
			return err
		}
		list, err := profiles(ctx, tx, u)
		if err == nil && len(list) == 0 {
			err = ErrNoProfile
		}
		if err != nil {
			return err
		}
		if err := dropProfiles(ctx, tx, u, list, ""); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.UserPlacesChanged, Domain: u.Domain, User: u.ID, Reason: "deleted"})
	})
	if err != nil {
		return fmt.Errorf("signed: delete a profile: %w", err)
	}
	return nil
}

// PublicProfile returns the profile with a fingerprint, for anyone. The error is [ErrNoProfile] also if the profile has expired, and if its
// user is disabled.
func (s *Service) PublicProfile(ctx context.Context, fingerprint string) (text string, err error) {
	err = s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		d, err := r.ProfileDocument(ctx, fingerprint)
		if err != nil {
			return err
		}
		u, err := r.User(ctx, d.Domain, d.User)
		if err != nil {
			return err
		}
		if !u.DisabledAt.IsZero() || !d.ExpiresAt.IsZero() && !s.cfg.Now().Before(d.ExpiresAt) {
			return ErrNoProfile
		}
		text = d.Content
		return nil
	})
	if errors.Is(err, storage.ErrNotFound) {
		err = ErrNoProfile
	}
	if err != nil {
		return "", fmt.Errorf("signed: read a profile: %w", err)
	}
	return text, nil
}
