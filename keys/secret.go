package keys

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/imidentity/issuer/storage"
)

const clusterSecret = "cluster-secret"

// ClusterSecret returns the secret that all nodes of one database share. The first start makes it from random (nil means
// [rand.Reader]) and stores it sealed; if several nodes start at once, all use the secret of one of them. The error is
// [ErrWrongKey] for another key-encryption key, else that of the store.
func ClusterSecret(ctx context.Context, store Store, sealer *Sealer, random io.Reader) ([32]byte, error) {
	var secret [32]byte
	sealed, err := store.Secret(ctx, clusterSecret)
	if errors.Is(err, storage.ErrNotFound) {
		sealed, err = newClusterSecret(ctx, store, sealer, random)
	}
	if err != nil {
		return secret, fmt.Errorf("keys: cluster secret: %w", err)
	}
	plain, err := sealer.Open(clusterSecret, sealed)
	if err != nil {
		return secret, err
	}
	sealer.follow(sealed)
	if len(plain) != len(secret) {
		return secret, fmt.Errorf("keys: cluster secret has %d bytes, want %d", len(plain), len(secret))
	}
	return [32]byte(plain), nil
}

// newClusterSecret stores a new secret unless another node has stored one meanwhile. It returns the stored secret, sealed.
func newClusterSecret(ctx context.Context, store Store, sealer *Sealer, random io.Reader) ([]byte, error) {
	if random == nil {
		random = rand.Reader
	}
	var secret [32]byte
	if _, err := io.ReadFull(random, secret[:]); err != nil {
		return nil, err
	}
	fresh := sealer.keys[0].seal(sealNamed, clusterSecret, secret[:])
	var kept []byte
	err := store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		var err error
		kept, err = tx.Secret(ctx, clusterSecret)
		if errors.Is(err, storage.ErrNotFound) {
			kept = fresh
			return tx.PutSecret(ctx, clusterSecret, fresh)
		}
		return err
	})
	return kept, err
}

// Derive derives a key from secret for one purpose, which label names (HKDF-SHA-256, RFC 5869). Keys of different labels reveal
// nothing about each other or about secret.
func Derive(secret [32]byte, label string) [32]byte {
	key, err := hkdf.Key(sha256.New, secret[:], nil, label, sha256.Size)
	if err != nil {
		panic(err) // a key of one block is never too long
	}
	return [32]byte(key)
}
