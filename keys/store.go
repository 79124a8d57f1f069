package keys

import (
	"context"

	"github.com/imidentity/issuer/storage"
)

// A Store is the part of [storage.Store] that this package uses. Its methods keep the promises that storage.Store makes.
type Store interface {
	// SigningKeys returns the signing keys, also those that were revoked, oldest first.
	SigningKeys(ctx context.Context) ([]storage.SigningKey, error)
	// Secret returns the sealed secret called name, and [storage.ErrNotFound] if there is none.
	Secret(ctx context.Context, name string) ([]byte, error)
	// Secrets returns all sealed secrets, in the order of their names.
	Secrets(ctx context.Context) ([]storage.Secret, error)
	// Update runs fn in a transaction.
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}
