package clients

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/storage"
)

// Clients that registered themselves (RFC 7591) and manage their registration (RFC 7592).

// ErrManagement is returned for a registration access token that is not that of the client. It does not tell whether there is one.
var ErrManagement = errors.New("clients: not the registration access token of the client")

// ErrRegistrations is returned if an initial access token has been used for as many clients as it may.
var ErrRegistrations = errors.New("clients: no more clients may be registered with the initial access token")

// A Registered is a client that has registered itself, or changed its registration. Only the hashes of its secrets are stored.
type Registered struct {
	Row storage.Client
	// Secret is the client secret, and Token the registration access token; each is empty if it was made before.
	Secret, Token string
}

// Register stores a client that registers itself. write gets the new id, and returns the registration. With is the name of the initial
// access token, with which at most limit clients may be there at a time. The error is [ErrRegistrations] if there are so many.
func (r *Registry) Register(
	ctx context.Context, with string, limit int, withSecret bool, write func(id string) ([]byte, error),
) (Registered, error) {
	var n Registered
	id, err := random.Text(r.rand, 16)
	if err != nil {
		return Registered{}, fmt.Errorf("clients: %w", err)
	}
	added := storage.Client{ID: id, RegisteredWith: with, CreatedAt: r.now()}
	if added.Registration, err = write(id); err != nil {
		return Registered{}, err
	}
	if n.Token, added.ManagedBy, err = r.hashed(); err != nil {
		return Registered{}, err
	}
	if withSecret {
		if n.Secret, added.Secret, err = r.hashed(); err != nil {
			return Registered{}, err
		}
	}
	err = r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		count, err := tx.ClientsRegisteredWith(ctx, with)
		if err != nil {
			return err
		}
		if count >= limit {
			return ErrRegistrations
		}
		if err := tx.InsertClient(ctx, added); err != nil {
			return err
		}
		if n.Row, err = tx.Client(ctx, id); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.ClientAdded, Client: id, Reason: with})
	})
	if err != nil {
		return Registered{}, fmt.Errorf("clients: register a client: %w", err)
	}
	return n, nil
}

// Managed returns the client with an id, if token is its registration access token. Otherwise the error is [ErrManagement].
func (r *Registry) Managed(ctx context.Context, reader Reader, id, token string) (storage.Client, error) {
	c, err := stored(ctx, reader, id)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return storage.Client{}, fmt.Errorf("clients: read a registration: %w", err)
	}
	sum := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(sum[:], c.ManagedBy) != 1 {
		return storage.Client{}, ErrManagement
	}
	return c, nil
}

// Reregister replaces the registration of a client that manages itself, and gives it a secret if it now needs one and has none, or takes
// its secret away. The error is [ErrManagement] if token is not its registration access token, also if the client was removed meanwhile.
func (r *Registry) Reregister(ctx context.Context, id, token string, registration []byte, withSecret bool) (Registered, error) {
	var n Registered
	err := r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		n = Registered{}
		c, err := r.Managed(ctx, tx, id, token)
		if err != nil {
			return err
		}
		c.Registration = registration
		switch {
		case !withSecret:
			c.Secret, c.OldSecret, c.OldUntil = nil, nil, time.Time{}
		case c.Secret == nil:
			if n.Secret, c.Secret, err = r.hashed(); err != nil {
				return err
			}
		}
		if err := tx.UpdateClient(ctx, c); err != nil {
			return err
		}
		if n.Row, err = tx.Client(ctx, id); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.ClientChanged, Client: id})
	})
	if err != nil {
		return Registered{}, fmt.Errorf("clients: change a registration: %w", err)
	}
	return n, nil
}

// hashed returns a new secret and its hash.
func (r *Registry) hashed() (secret string, hash []byte, err error) {
	if secret, err = r.secret(); err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256([]byte(secret))
	return secret, sum[:], nil
}
