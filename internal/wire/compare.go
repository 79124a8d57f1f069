package wire

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

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
