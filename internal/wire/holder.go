package wire

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// A holder is the device that an access token belongs to.
type holder struct {
	domain, user, device string
	sid, client, jkt     string
	gen                  int64
}

// holderOf returns the holder of an access token, and refuses the tokens of services, of actors, and those that enclose others: only a
// device itself gets a token for step-ca.
func holderOf(t claims.Set) (holder, error) {
	switch {
	case t.Service():
		return holder{}, &TokenError{"the token is of a service: these tokens are for devices of users."}
	case t.Actor != nil:
		return holder{}, &TokenError{"the token is for an actor that acts for the user: a device asks with its own token."}
	case t.Tokens != nil:
		return holder{}, &TokenError{"the token encloses others: a device asks with its own token alone."}
	case t.HomeIss != "":
		return holder{}, &TokenError{"the user belongs to another issuer."}
	case t.Device == "" || t.SID == "":
		return holder{}, &TokenError{"the token names no device: sign in with the scope " + Scope + ", for this issuer alone as resource."}
	}
	id, err := t.Identity()
	if err != nil {
		return holder{}, fmt.Errorf("wire: read a token of the issuer: %w", err)
	}
	return holder{
		domain: id.User.Domain(), user: id.User.Local(), device: id.Device.Device(), sid: t.SID, client: t.ClientID, jkt: t.JKT, gen: t.Gen,
	}, nil
}

// session returns the rows of the holder. Session, device, user and client must be live, and the token of the user's generation.
func (s *Service) session(ctx context.Context, r storage.Reader, by holder) (u storage.User, d storage.Device, err error) {
	g, u, d, err := r.Session(ctx, by.sid)
	if errors.Is(err, storage.ErrNotFound) {
		return u, d, ErrEnded
	} else if err != nil {
		return u, d, fmt.Errorf("wire: read the session: %w", err)
	}
	now := s.cfg.Now()
	switch {
	case u.Domain != by.domain || u.ID != by.user || d.ID != by.device || g.Client != by.client:
		return u, d, ErrEnded
	case !g.EndedAt.IsZero() || !now.Before(g.IdleAt) || !now.Before(g.ExpiresAt) || !u.DisabledAt.IsZero() || !d.RemovedAt.IsZero():
		return u, d, ErrEnded
	case u.Gen != by.gen || d.JKT != by.jkt: // another handle or another key since
		return u, d, ErrEnded
	}
	client, ok := s.cfg.Clients.Client(by.client)
	if !ok {
		return u, d, ErrEnded
	}
	if err := client.Check(ctx, r); errors.Is(err, clients.ErrRemoved) {
		return u, d, ErrEnded
	} else if err != nil {
		return u, d, fmt.Errorf("wire: read the client: %w", err)
	}
	if !client.HasScope(Scope) || !slices.Contains(client.Domains, by.domain) {
		return u, d, &TokenError{"the client is no longer registered for the scope " + Scope + " or for the domain."}
	}
	return u, d, nil
}

// compare refuses a proof whose claims are not what the rows of its device say.
func (s *Service) compare(ctx context.Context, r storage.Reader, domain Domain, u storage.User, d storage.Device, p *dpop.WireProof) error {
	handle, err := domain.Names.Handle(u.Handle)
	if err != nil {
		return fmt.Errorf("wire: the handle of a user: %v", err)
	}
	device, err := domain.Names.Device(u.ID, d.ID)
	if err != nil {
		return fmt.Errorf("wire: the device of a user: %v", err)
	}
	switch { // byte by byte, as step-ca compares them
	case p.Device != device.WireApp():
		return refuseClaim("sub", "the device of the access token is "+device.WireApp())
	case p.Handle != handle.WireApp():
		return refuseClaim("handle", "the handle of the user is "+handle.WireApp())
	case !domain.AnyName && p.Name != handle.Local():
		return refuseClaim("name", "this issuer knows no other name of the user than the handle, "+handle.Local())
	}
	// RFC 8555 §11.1: the account key is for nothing else. It is no key of a device, present or former, nor of a credential.
	switch _, err := r.DeviceByKey(ctx, u.Domain, p.JKT); {
	case err == nil:
		return refuseClaim("jwk", "its key is, or was, that of a device: make an account key that has no other use")
	case !errors.Is(err, storage.ErrNotFound):
		return fmt.Errorf("wire: read the device of a key: %w", err)
	}
	switch bound, err := r.CredentialsByKey(ctx, u.Domain, p.JKT, s.cfg.Now(), 1); {
	case err != nil:
		return fmt.Errorf("wire: read the credentials of a key: %w", err)
	case len(bound) > 0:
		return refuseClaim("jwk", "its key is that of a credential: make an account key that has no other use")
	}
	return nil
}
