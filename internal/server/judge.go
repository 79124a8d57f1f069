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
	switch {
	case t.Statement:
		return j.statement(ctx, t.JTI)
	case t.Actor:
		return j.session(ctx, t.SID)
	}
	return "", nil
}

// session tells what ended a session, or what a device without one came under. The generation of who acts is not in the
// token, so that a revocation which ends all of their tokens does not find it.
func (j *judge) session(ctx context.Context, sid string) (introspect.Reason, error) {
	g, u, d, err := j.store.Session(ctx, sid)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return j.statement(ctx, sid)
	case err != nil:
		return "", err
	case !u.DisabledAt.IsZero():
		return introspect.UserDisabled, nil
	case !d.RemovedAt.IsZero():
		return introspect.DeviceRemoved, nil
	case !g.EndedAt.IsZero():
		return reasonOf(storage.Revocation{Kind: storage.RevokeGrant, Reason: g.EndedReason}), nil
	}
	return "", nil
}

// statement tells what ended a statement of the issuer.
func (j *judge) statement(ctx context.Context, jti string) (introspect.Reason, error) {
	s, err := j.store.Statement(ctx, jti)
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
