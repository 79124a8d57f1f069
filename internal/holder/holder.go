// Package holder tells which device of which user holds an access token of the issuer, and whether it is live by the rows. Endpoints use it
// at which a device gets what lasts longer than its token: credentials, and tokens for the certificate authority of Wire.
package holder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/storage"
)

// ErrEnded refuses a token whose session, user, device, client or generation has ended by the rows. The token is not valid any more.
var ErrEnded = errors.New("holder: the token is not active any more")

// A TokenError refuses an active access token that is not the own one of a device, although it has the scope (RFC 6750 §3.1,
// invalid_token).
type TokenError struct{ Description string }

func (e *TokenError) Error() string { return "holder: token: " + e.Description }

// A Holder is the device that an access token belongs to.
type Holder struct {
	Domain, User, Device string
	Session, Client, JKT string
	Gen                  int64
	scope                string
}

// Of returns the holder of a token that was issued for a scope. It refuses the tokens of services, of actors, and those that enclose
// others: a device asks with its own token. The error is a [*TokenError], unless the token cannot be one of the issuer.
func Of(t claims.Set, scope string) (Holder, error) {
	switch {
	case t.Service():
		return Holder{}, &TokenError{"the token is of a service: this is for devices of users."}
	case t.Actor != nil:
		return Holder{}, &TokenError{"the token is for an actor that acts for the user: a device asks with its own token."}
	case t.Tokens != nil:
		return Holder{}, &TokenError{"the token encloses others: a device asks with its own token alone."}
	case t.HomeIss != "":
		return Holder{}, &TokenError{"the user belongs to another issuer."}
	case t.Device == "" || t.SID == "":
		return Holder{}, &TokenError{"the token names no device: sign in with the scope " + scope + ", for this issuer alone as resource."}
	}
	id, err := t.Identity()
	if err != nil {
		return Holder{}, fmt.Errorf("holder: read a token of the issuer: %w", err)
	}
	return Holder{
		Domain: id.User.Domain(), User: id.User.Local(), Device: id.Device.Device(), Session: t.SID, Client: t.ClientID, JKT: t.JKT,
		Gen: t.Gen, scope: scope,
	}, nil
}

// Rows returns the user and the device of the holder. The session, the device, the user and the client must be live, the token of the
// user's generation and the device's key, and the client must be registered for the scope and the domain. The error is [ErrEnded] or a
// [*TokenError]; any other means that it is not known.
func (h Holder) Rows(
	ctx context.Context, r storage.Reader, registry *clients.Registry, now time.Time,
) (storage.User, storage.Device, error) {
	g, u, d, err := r.Session(ctx, h.Session)
	if errors.Is(err, storage.ErrNotFound) {
		return u, d, ErrEnded
	} else if err != nil {
		return u, d, fmt.Errorf("holder: read the session: %w", err)
	}
	switch {
	case u.Domain != h.Domain || u.ID != h.User || d.ID != h.Device || g.Client != h.Client:
		return u, d, ErrEnded
	case !g.EndedAt.IsZero() || !now.Before(g.IdleAt) || !now.Before(g.ExpiresAt) || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero():
		return u, d, ErrEnded
	case u.Gen != h.Gen || d.JKT != h.JKT: // another handle or another key since
		return u, d, ErrEnded
	}
	client, ok := registry.Client(h.Client)
	if !ok {
		return u, d, ErrEnded
	}
	if err := client.Check(ctx, r); errors.Is(err, clients.ErrRemoved) {
		return u, d, ErrEnded
	} else if err != nil {
		return u, d, fmt.Errorf("holder: read the client: %w", err)
	}
	if !client.HasScope(h.scope) || !slices.Contains(client.Domains, h.Domain) {
		return u, d, &TokenError{"the client is no longer registered for the scope " + h.scope + " or for the domain."}
	}
	return u, d, nil
}
