// Package signed stores and serves what users sign with keys of their own: the statements of cross signing (package xsign), and the
// profiles that name their places (package places). The issuer cannot make or change them. It checks each before it stores it, so that a
// mistake of an app is noticed there and not by the contacts of its user, and so that a device that was away does not replace a newer
// list. Others do not believe it: they verify what it serves. It looks at no place.
//
// [Service.Put] and [Service.PutOpinion] check by package xsign. [Service.Query] answers questions about users, and [Service.CrossSigned]
// is the source of the member xsign of introspection. [Service.PutProfile] checks by package places, and [Service.PublicProfile] finds the
// profile with a fingerprint for anyone.
package signed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
	"github.com/imidentity/issuer/xsign"
)

var (
	// ErrNoKeys is returned for a device list or an opinion of a user who has stored no keys.
	ErrNoKeys = errors.New("signed: the user has no keys")
	// ErrTooMany is returned for one opinion too many.
	ErrTooMany = errors.New("signed: the user has as many vouches and distrusts as one may have")
	// ErrNoOpinion is returned if there is no vouch and no distrust to delete.
	ErrNoOpinion = errors.New("signed: the user has no such vouch or distrust")
	// errMoved is returned if the statements have changed since they were read.
	errMoved = errors.New("signed: the statements have changed meanwhile")
)

// A Store is the part of [storage.Store] that the service needs. The promises are stated there.
type Store interface {
	View(ctx context.Context, fn func(ctx context.Context, r storage.Reader) error) error
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// Config configures a [Service]. All fields are required.
type Config struct {
	Store    Store
	Accounts *account.Accounts
	Now      func() time.Time
}

// A Service stores and serves signed documents. It is safe for concurrent use.
type Service struct {
	cfg   Config
	facts *facts
}

// New returns a Service.
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil || cfg.Accounts == nil || cfg.Now == nil {
		return nil, errors.New("signed: Store, Accounts and Now are required")
	}
	return &Service{cfg, newFacts()}, nil
}

// Statements are the statements of a user.
type Statements struct {
	xsign.Bundle
	// Opinions are the vouches and distrusts, private ones included, the oldest first.
	Opinions []string
}

// Own returns the statements of a user. The error is [account.ErrNoSession] if the session of by has ended.
func (s *Service) Own(ctx context.Context, by account.Owner) (own Statements, err error) {
	err = s.cfg.Store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		own = Statements{}
		u, err := s.cfg.Accounts.Live(ctx, r, by)
		if err != nil {
			return err
		}
		base, err := readSet(ctx, r, u)
		if err != nil {
			return err
		}
		own.Bundle = base.bundle()
		list, err := r.SignedDocuments(ctx, u.Domain, u.ID, storage.DocumentOpinion, xsign.MaxOwn)
		for _, d := range list {
			own.Opinions = append(own.Opinions, d.Content)
		}
		return err
	})
	if err != nil {
		return Statements{}, fmt.Errorf("signed: read the statements of a user: %w", err)
	}
	return own, nil
}

// A set holds the statements of one user about their own keys and devices, as they are stored.
type set struct {
	keys, devices storage.SignedDocument   // without content if there is none
	succession    []storage.SignedDocument // the oldest first
}

func readSet(ctx context.Context, r storage.Reader, u storage.User) (base set, err error) {
	for _, one := range []struct {
		kind storage.DocumentKind
		to   *storage.SignedDocument
	}{{storage.DocumentKeys, &base.keys}, {storage.DocumentDevices, &base.devices}} {
		if *one.to, err = r.SignedDocument(ctx, u.Domain, u.ID, one.kind, ""); err != nil && !errors.Is(err, storage.ErrNotFound) {
			return set{}, err
		}
	}
	if base.keys.Content == "" {
		return base, nil
	}
	base.succession, err = r.SignedDocuments(ctx, u.Domain, u.ID, storage.DocumentSuccession, xsign.MaxSuccession)
	slices.SortFunc(base.succession, func(a, b storage.SignedDocument) int { return int(a.Seq - b.Seq) })
	return base, err
}

// bundle returns the statements as a bundle.
func (b *set) bundle() xsign.Bundle {
	bundle := xsign.Bundle{Keys: b.keys.Content, Devices: b.devices.Content}
	for _, d := range b.succession {
		bundle.Succession = append(bundle.Succession, d.Content)
	}
	return bundle
}

// equal reports whether two sets have the same statements.
func (b *set) equal(other *set) bool {
	return b.keys.Content == other.keys.Content && b.devices.Content == other.devices.Content &&
		slices.EqualFunc(b.succession, other.succession, func(x, y storage.SignedDocument) bool { return x.Content == y.Content })
}

// userOf returns the identifier of a user.
func (s *Service) userOf(u storage.User) (claims.ID, error) {
	id, err := s.cfg.Accounts.Identify(u, storage.Device{})
	if err != nil {
		return claims.ID{}, err
	}
	parsed, err := claims.ParseIdentity(claims.Parser{AllowSingleLabel: true}, id.User, "", "")
	return parsed.User, err
}

// skew is how far ahead the clock of an app may be.
const skew = time.Minute

// current returns why a statement that is to be stored does not count now, or nil.
func current(typ string, issued, expires, now time.Time) error {
	switch {
	case issued.After(now.Add(skew)):
		return &xsign.Error{Statement: typ, Part: "iat", Code: xsign.CodeNotYetValid, Err: errors.New("in the future")}
	case !expires.IsZero() && !now.Before(expires):
		return &xsign.Error{Statement: typ, Part: "exp", Code: xsign.CodeExpired, Err: errors.New("it has expired")}
	}
	return nil
}

// newer reports whether a statement replaces the stored one with a sequence number. One with the same content does not, and is no error:
// it may be sent again, also with another signature.
func newer(typ string, stored int64, storedText string, seq int64, text string) (bool, error) {
	switch {
	case seq > stored:
		return true, nil
	case seq < stored:
		return false, &xsign.Error{Statement: typ, Part: "seq", Code: xsign.CodeOlder, Err: fmt.Errorf("%d, and %d is stored", seq, stored)}
	case payload(text) != payload(storedText):
		return false, &xsign.Error{
			Statement: typ, Part: "seq", Code: xsign.CodeConflict, Err: fmt.Errorf("another content with number %d is stored", seq),
		}
	}
	return false, nil
}

// payload returns the payload of a compact JWS, in base64url.
func payload(text string) string {
	_, rest, _ := strings.Cut(text, ".")
	claims, _, _ := strings.Cut(rest, ".")
	return claims
}

func refuse(typ, part string, code xsign.Code, text string) error {
	return &xsign.Error{Statement: typ, Part: part, Code: code, Err: errors.New(text)}
}

// The types of statements, as errors name them.
const (
	typKeys    = jose.TypeXSignKeys
	typDevices = jose.TypeXSignDevices
)
