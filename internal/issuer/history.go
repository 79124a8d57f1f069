package issuer

import (
	"context"
	"errors"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// history is the [introspect.History] of the issuer.
type history struct {
	*keys.Ring
	store storage.Store
	now   func() time.Time
}

// Past reads the same rows for every token, whether there are any or not: what it costs tells nothing. The session comes first,
// because it must not be outdated.
func (h history) Past(ctx context.Context, t introspect.Token) (past introspect.Past, err error) {
	err = h.store.View(ctx, func(ctx context.Context, r storage.Reader) error {
		past = introspect.Past{}
		g, _, _, failed := r.Session(ctx, t.SID)
		session, err := there(failed)
		if err != nil {
			return err
		}
		s, failed := r.Statement(ctx, t.SID)
		statement, err := there(failed)
		if err != nil {
			return err
		}
		u, failed := r.User(ctx, t.Domain, t.User)
		user, err := there(failed)
		if err != nil {
			return err
		}
		d, failed := r.Device(ctx, t.Domain, t.Device)
		device, err := there(failed)
		if err != nil {
			return err
		}
		rekeys, err := r.Rekeys(ctx, t.Domain, t.Device)
		if err != nil {
			return err
		}
		names, err := r.Names(ctx, t.Domain, t.User)
		if err != nil {
			return err
		}
		past.Gen = u.Gen
		for _, k := range rekeys {
			past.Keys = append(past.Keys, introspect.KeyChange{Old: k.OldJKT, New: k.NewJKT})
		}
		for _, n := range names {
			past.Handles = append(past.Handles, n.Local)
		}
		switch {
		case !user || !device || d.User != u.ID:
			past.Reason = introspect.Revoked
		case !u.DisabledAt.IsZero():
			past.Reason = introspect.UserDisabled
		case !d.RemovedAt.IsZero():
			past.Reason = introspect.DeviceRemoved
		case session && g.Domain == d.Domain && g.Device == d.ID:
			past.Reason = h.ended(g)
		case session || !statement || d.Delegation != s.JTI:
			past.Reason = introspect.Revoked // its session was swept, if there ever was one
		case !account.Stands(s, h.now()):
			past.Reason = introspect.Revoked
		}
		return nil
	})
	return past, err
}

// ended returns why a session has ended: it was ended, or it has expired. It is empty for one that lives.
func (h history) ended(g storage.Grant) introspect.Reason {
	switch now := h.now(); {
	case !g.EndedAt.IsZero():
		return revocation.ReasonOf(storage.RevokeGrant, g.EndedReason)
	case !now.Before(g.IdleAt) || !now.Before(g.ExpiresAt):
		return introspect.Expired
	}
	return ""
}

// there reports whether a read found a row. The error is any other one.
func there(err error) (bool, error) {
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
