package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/storage"
)

// deviceOfKey returns the device that has or had the key with thumbprint jkt. The error is [storage.ErrNotFound] for a key that a new
// device may have, and [ErrKeyInUse] for the key of a live credential: a device would be bound to it that did not get the credential.
func (a *Accounts) deviceOfKey(ctx context.Context, r keys, domain, jkt string) (storage.Device, error) {
	d, err := r.DeviceByKey(ctx, domain, jkt)
	if err == nil {
		return d, nil
	} else if !errors.Is(err, storage.ErrNotFound) {
		return d, fmt.Errorf("account: find the device of a key: %w", err)
	}
	if err := a.noCredentialOf(ctx, r, domain, jkt, ""); err != nil {
		return d, err
	}
	return d, storage.ErrNotFound
}

// keyCredentials is more than how many live credentials one device can have of one key, in all formats.
const keyCredentials = 100

// noCredentialOf returns [ErrKeyInUse] if the key with thumbprint jkt is that of a live credential of a device other than device.
func (a *Accounts) noCredentialOf(ctx context.Context, r keys, domain, jkt, device string) error {
	found, err := r.CredentialsByKey(ctx, domain, jkt, a.now(), keyCredentials)
	if err != nil {
		return fmt.Errorf("account: find the credentials of a key: %w", err)
	}
	for _, c := range found {
		if c.Device != device {
			return ErrKeyInUse
		}
	}
	return nil
}
