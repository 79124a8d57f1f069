package server

import (
	"context"
	"crypto"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// A judge is what introspection asks of the issuer: its keys, and its revocations while they are fresh.
type judge struct {
	ring   *keys.Ring
	mirror *revocation.Mirror
	now    func() time.Time
}

var _ introspect.Source = (*judge)(nil)

func (j *judge) Key(kid string) (crypto.PublicKey, string, bool) { return j.ring.Public(kid) }

func (j *judge) Revoked(_ context.Context, t introspect.Token) (introspect.Reason, error) {
	if err := j.mirror.Fresh(j.now()); err != nil {
		return "", err
	}
	row, revoked := j.mirror.Find(revocation.Token{
		JTI: t.JTI, SID: t.SID, Domain: t.Domain, User: t.User, Device: t.Device, Client: t.ClientID, KID: t.KID, Gen: t.Gen,
	})
	if !revoked {
		return "", nil
	}
	return reasonOf(row), nil
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
