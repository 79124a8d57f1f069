package clients

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/audit"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// Clients in storage. The registration is text that the caller writes and reads. Here only the secrets of a client matter, and
// whether it was removed.

// ErrNotFound is returned for a client that is not in storage, or was removed from it.
var ErrNotFound = errors.New("clients: no such client in storage")

// ErrNoSecret is returned for a new secret of a client that has none.
var ErrNoSecret = errors.New("clients: the client has no secret")

// A TakenError is returned for a new client whose id is taken. An id is never used twice: resources know clients by it.
type TakenError struct {
	// RemovedAt is when the client was removed that had it; zero if it is there.
	RemovedAt time.Time
}

func (e *TakenError) Error() string { return "clients: the client id is taken" }

// Add stores a client and returns it with its secret, if withSecret says that it has one. Only the hash of the secret is
// stored. The error is a [*TakenError] if a client in storage has, or ever had, that id. The client is served once [Registry.Set]
// has it.
func (r *Registry) Add(ctx context.Context, id string, registration []byte, withSecret bool) (c storage.Client, secret string, err error) {
	added := storage.Client{ID: id, Registration: registration, CreatedAt: r.now()}
	if withSecret {
		if secret, err = r.secret(); err != nil {
			return storage.Client{}, "", err
		}
		sum := sha256.Sum256([]byte(secret))
		added.Secret = sum[:]
	}
	err = r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		taken := tx.InsertClient(ctx, added)
		if taken != nil && !errors.Is(taken, storage.ErrConflict) {
			return taken
		}
		var err error
		if c, err = tx.Client(ctx, id); err == nil && taken != nil {
			return &TakenError{RemovedAt: c.RemovedAt}
		} else if err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.ClientAdded, Client: id})
	})
	if err != nil {
		return storage.Client{}, "", fmt.Errorf("clients: add a client: %w", err)
	}
	return c, secret, nil
}

// ReplaceSecret gives a client in storage a new secret and returns both. The old secret stays valid for the time keep. It
// returns [ErrNotFound] and [ErrNoSecret].
func (r *Registry) ReplaceSecret(ctx context.Context, id string, keep time.Duration) (c storage.Client, secret string, err error) {
	if secret, err = r.secret(); err != nil {
		return storage.Client{}, "", err
	}
	sum := sha256.Sum256([]byte(secret))
	err = r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		if c, err = stored(ctx, tx, id); err != nil {
			return err
		}
		if c.Secret == nil {
			return ErrNoSecret
		}
		c.OldSecret, c.OldUntil = nil, time.Time{}
		if keep > 0 {
			c.OldSecret, c.OldUntil = c.Secret, r.now().Add(keep)
		}
		c.Secret = sum[:]
		if err := tx.UpdateClient(ctx, c); err != nil {
			return err
		}
		if c, err = tx.Client(ctx, id); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.ClientSecretReplaced, Client: id})
	})
	if err != nil {
		return storage.Client{}, "", fmt.Errorf("clients: give a client a new secret: %w", err)
	}
	return c, secret, nil
}

// Remove ends a client in storage, its sessions and all tokens that were issued to it, for ever. The reason is stored with the
// client. Removing it again changes nothing: removed is false then. It returns [ErrNotFound] if there never was one.
func (r *Registry) Remove(ctx context.Context, id, reason string) (c storage.Client, removed bool, err error) {
	var revoked []storage.Revocation
	err = r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		revoked = nil
		c, err = tx.Client(ctx, id)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNotFound
		} else if err != nil || !c.RemovedAt.IsZero() {
			return err
		}
		now := r.now()
		c.RemovedAt, c.RemovedReason = now, reason
		c.Secret, c.OldSecret, c.OldUntil, c.ManagedBy = nil, nil, time.Time{}, nil
		if err := tx.UpdateClient(ctx, c); err != nil {
			return err
		}
		ended, err := tx.EndClientGrants(ctx, id, now, "client_removed")
		if err != nil {
			return err
		}
		// A token that was exchanged for one of the client's is another client's, but of the same session.
		cause := revocation.Cause{Reason: "client_removed", At: now, TokenLife: r.tokenLife}
		rows := []storage.Revocation{revocation.RevokeClient(id, cause)}
		for _, sid := range ended {
			rows = append(rows, revocation.RevokeGrant(sid, cause))
		}
		domains := "" // all, for a client that is not served
		if served, ok := r.Client(id); ok {
			domains = strings.Join(served.Domains, " ")
		}
		for _, row := range rows {
			row.Domain = domains
			if row, err = tx.Revoke(ctx, row); err != nil {
				return err
			}
			revoked = append(revoked, row)
		}
		if c, err = tx.Client(ctx, id); err != nil {
			return err
		}
		return audit.Append(ctx, tx, audit.Event{Kind: audit.ClientRemoved, Client: id, Reason: reason})
	})
	if err != nil {
		return storage.Client{}, false, fmt.Errorf("clients: remove a client: %w", err)
	}
	r.revoked(revoked...)
	return c, len(revoked) > 0, nil
}

// stored returns a client in storage that was not removed.
func stored(ctx context.Context, r Reader, id string) (storage.Client, error) {
	c, err := r.Client(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !c.RemovedAt.IsZero() {
		return storage.Client{}, ErrNotFound
	}
	return c, err
}

// secret returns 256 random bits in base64url.
func (r *Registry) secret() (string, error) {
	text, err := random.Text(r.rand, 32)
	if err != nil {
		return "", fmt.Errorf("clients: %w", err)
	}
	return text, nil
}
