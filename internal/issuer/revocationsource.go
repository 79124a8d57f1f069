package issuer

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

// A revocationSource is the [introspect.Source] of the issuer's own tokens: its keys, its revocations while they are fresh,
// and the rows of its statements. Statements that end together end in their rows, without a revocation for each.
type revocationSource struct {
	ring   *keys.Ring
	mirror *revocation.Mirror
	store  storage.Reader
	now    func() time.Time
}

var _ introspect.Source = (*revocationSource)(nil)

func (r *revocationSource) Key(kid string) (crypto.PublicKey, string, bool) {
	return r.ring.Public(kid)
}

func (r *revocationSource) Revoked(ctx context.Context, t introspect.Token) (introspect.Reason, error) {
	if err := r.mirror.Fresh(r.now()); err != nil {
		return "", err
	}
	row, revoked := r.mirror.Find(revocation.Token{
		JTI: t.JTI, SID: t.SID, Domain: t.Domain, User: t.User, Device: t.Device, Client: t.ClientID, KID: t.KID, Gen: t.Gen,
	})
	if revoked {
		return reasonOf(row), nil
	}
	switch {
	case t.Statement:
		return r.statement(ctx, t.JTI)
	case t.Actor:
		return r.session(ctx, t.SID)
	}
	return "", nil
}

// session returns the reason for which the session sid ended, "" if it lives. Without a session, sid is the statement under
// which a device has its key. The token does not hold the generation of an actor, so a revocation of all tokens of the
// actor does not match it.
func (r *revocationSource) session(ctx context.Context, sid string) (introspect.Reason, error) {
	g, u, d, err := r.store.Session(ctx, sid)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return r.statement(ctx, sid)
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

// statement returns the reason for which a statement of the issuer ended, "" if it lives.
func (r *revocationSource) statement(ctx context.Context, jti string) (introspect.Reason, error) {
	s, err := r.store.Statement(ctx, jti)
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

// reasonOf returns the reason that callers may know of a revocation.
func reasonOf(row storage.Revocation) introspect.Reason {
	switch reason := introspect.Reason(row.Reason); {
	case reason == introspect.DeviceRemoved || reason == introspect.UserDisabled || reason == introspect.HandleChanged:
		return reason
	case row.Kind == storage.RevokeDevice:
		return introspect.DeviceRemoved
	case row.Kind == storage.RevokeUser:
		return introspect.UserDisabled
	case row.Kind == storage.RevokeGen:
		return introspect.Superseded
	}
	return introspect.Revoked
}
