package issuer

import (
	"context"
	"errors"

	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// records are the [introspect.Records] of the issuer's store. Statements that end together end in their rows, without a
// revocation for each.
type records struct{ store storage.Reader }

// Session also looks at the user and the device of the session. The token does not hold the generation of an actor, so a
// revocation of all tokens of the actor does not match it.
func (r records) Session(ctx context.Context, sid string) (introspect.Reason, error) {
	g, u, d, err := r.store.Session(ctx, sid)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return r.Statement(ctx, sid)
	case err != nil:
		return "", err
	case !u.DisabledAt.IsZero():
		return introspect.UserDisabled, nil
	case !d.RemovedAt.IsZero():
		return introspect.DeviceRemoved, nil
	case !g.EndedAt.IsZero():
		return revocation.ReasonOf(storage.RevokeGrant, g.EndedReason), nil
	}
	return "", nil
}

func (r records) Statement(ctx context.Context, jti string) (introspect.Reason, error) {
	s, err := r.store.Statement(ctx, jti)
	switch {
	case errors.Is(err, storage.ErrNotFound): // swept
		return introspect.Revoked, nil
	case err != nil:
		return "", err
	case s.WithdrawnAt.IsZero():
		return "", nil
	}
	return revocation.ReasonOf(storage.RevokeToken, s.WithdrawnReason), nil
}
