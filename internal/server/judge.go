package server

import (
	"context"
	"crypto"
	"time"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
)

// A judge is what introspection asks of the issuer: its keys, and its revocations while they are fresh.
type judge struct {
	ring   *keys.Ring
	mirror *revocation.Mirror
	now    func() time.Time
}

var _ introspect.Source = (*judge)(nil)

func (j *judge) Key(kid string) (crypto.PublicKey, string, bool) { return j.ring.Public(kid) }

func (j *judge) Revoked(_ context.Context, t introspect.Token) (bool, error) {
	if err := j.mirror.Fresh(j.now()); err != nil {
		return false, err
	}
	_, revoked := j.mirror.Find(revocation.Token{
		JTI: t.JTI, SID: t.SID, Domain: t.Domain, User: t.User, Device: t.Device, Client: t.ClientID, KID: t.KID, Gen: t.Gen,
	})
	return revoked, nil
}
