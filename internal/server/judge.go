package server

import (
	"context"
	"crypto"
	"errors"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// A judge is what introspection asks of the issuer: its keys, its revocations while they are fresh, and the rows of its
// statements. What ends many statements ends them in their rows; there is no revocation for each.
type judge struct {
	ring   *keys.Ring
	mirror *revocation.Mirror
	store  storage.Reader
	now    func() time.Time
}

var _ introspect.Source = (*judge)(nil)

func (j *judge) Key(kid string) (crypto.PublicKey, string, bool) { return j.ring.Public(kid) }

func (j *judge) Revoked(ctx context.Context, t introspect.Token) (introspect.Reason, error) {
	if err := j.mirror.Fresh(j.now()); err != nil {
		return "", err
	}
	row, revoked := j.mirror.Find(revocation.Token{
		JTI: t.JTI, SID: t.SID, Domain: t.Domain, User: t.User, Device: t.Device, Client: t.ClientID, KID: t.KID, Gen: t.Gen,
	})
	if revoked {
		return reasonOf(row), nil
	}
	if !t.Statement {
		return "", nil
	}
	s, err := j.store.Statement(ctx, t.JTI)
	switch {
	case errors.Is(err, storage.ErrNotFound): // swept
		return introspect.Revoked, nil
	case err != nil:
		return "", err
	case s.WithdrawnAt.IsZero():
		return "", nil
	}
	return reasonOf(storage.Revocation{Kind: storage.RevokeToken, Reason: s.WithdrawnReason}), nil
}

// reasonOf says of a revocation what callers may know: what happened, where there is a word for it.
func reasonOf(row storage.Revocation) introspect.Reason {
	switch r := introspect.Reason(row.Reason); {
	case r == introspect.DeviceRemoved || r == introspect.UserDisabled || r == introspect.HandleChanged:
		return r
	case row.Kind == storage.RevokeDevice:
		return introspect.DeviceRemoved
	case row.Kind == storage.RevokeUser:
		return introspect.UserDisabled
	case row.Kind == storage.RevokeGen:
		return introspect.Superseded
	}
	return introspect.Revoked
}
