package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/storage"
)

// The register of clients in storage. What a client may do is text that the caller writes and reads; here it is enough
// that it is there, what its secrets are, and whether it was removed.

// ErrNoClient is returned for a client that is not kept in storage, or was removed from it.
var ErrNoClient = errors.New("oauth: no such client in storage")

// ErrNoSecret is returned for a new secret of a client that has none.
var ErrNoSecret = errors.New("oauth: the client has no secret")

// A ClientTakenError is returned for a new client whose id is taken. An id is never used twice: resources know clients
// by it.
type ClientTakenError struct {
	// RemovedAt is when the client was removed that had it; zero if it is there.
	RemovedAt time.Time
}

func (e *ClientTakenError) Error() string { return "oauth: the client id is taken" }

// AddClient keeps a client in storage and returns it with its secret, if it is to have one. Only the hash of that is
// kept. The error is a [*ClientTakenError] if a client has, or ever had, that id there.
func (p *Provider) AddClient(ctx context.Context, id string, registration []byte, withSecret bool) (c storage.Client, secret string, err error) {
	added := storage.Client{ID: id, Registration: registration, CreatedAt: p.now()}
	if withSecret {
		if secret, err = p.random(); err != nil {
			return storage.Client{}, "", err
		}
		sum := hash(secret)
		added.Secret = sum[:]
	}
	err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		taken := tx.InsertClient(ctx, added)
		if taken != nil && !errors.Is(taken, storage.ErrConflict) {
			return taken
		}
		var err error
		if c, err = tx.Client(ctx, id); err == nil && taken != nil {
			return &ClientTakenError{RemovedAt: c.RemovedAt}
		}
		return err
	})
	if err != nil {
		return storage.Client{}, "", fmt.Errorf("oauth: add a client: %w", err)
	}
	return c, secret, nil
}

// RotateSecret gives a client in storage a new secret and returns both. The secret before is good for the time of keep
// yet. It returns [ErrNoClient] and [ErrNoSecret].
func (p *Provider) RotateSecret(ctx context.Context, id string, keep time.Duration) (c storage.Client, secret string, err error) {
	if secret, err = p.random(); err != nil {
		return storage.Client{}, "", err
	}
	sum := hash(secret)
	err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		if c, err = kept(ctx, tx, id); err != nil {
			return err
		}
		if c.Secret == nil {
			return ErrNoSecret
		}
		c.OldSecret, c.OldUntil = nil, time.Time{}
		if keep > 0 {
			c.OldSecret, c.OldUntil = c.Secret, p.now().Add(keep)
		}
		c.Secret = sum[:]
		if err := tx.UpdateClient(ctx, c); err != nil {
			return err
		}
		c, err = tx.Client(ctx, id)
		return err
	})
	if err != nil {
		return storage.Client{}, "", fmt.Errorf("oauth: give a client a new secret: %w", err)
	}
	return c, secret, nil
}

// RemoveClient ends a client in storage, its sessions and all its tokens, for ever, and stores the reason with it. Removing it
// again changes nothing; removed is false then. The error is [ErrNoClient] if there never was such a client.
func (p *Provider) RemoveClient(ctx context.Context, id, reason string) (c storage.Client, removed bool, err error) {
	var revoked []storage.Revocation
	err = p.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
		revoked = nil
		c, err = tx.Client(ctx, id)
		if errors.Is(err, storage.ErrNotFound) {
			return ErrNoClient
		} else if err != nil || !c.RemovedAt.IsZero() {
			return err
		}
		now := p.now()
		c.RemovedAt, c.RemovedReason = now, reason
		c.Secret, c.OldSecret, c.OldUntil = nil, nil, time.Time{}
		if err := tx.UpdateClient(ctx, c); err != nil {
			return err
		}
		ended, err := tx.EndClientGrants(ctx, id, now, "client_removed")
		if err != nil {
			return err
		}
		// A token that was exchanged for one of the client's is another client's, but of the same session.
		rows := []storage.Revocation{revocation.RevokeClient(id, p.cause("client_removed", now))}
		for _, sid := range ended {
			rows = append(rows, revocation.RevokeGrant(sid, p.cause("client_removed", now)))
		}
		for _, row := range rows {
			if row, err = tx.Revoke(ctx, row); err != nil {
				return err
			}
			revoked = append(revoked, row)
		}
		c, err = tx.Client(ctx, id)
		return err
	})
	if err != nil {
		return storage.Client{}, false, fmt.Errorf("oauth: remove a client: %w", err)
	}
	p.revoked(revoked...)
	return c, len(revoked) > 0, nil
}

// kept returns a client in storage that was not removed.
func kept(ctx context.Context, r storage.Reader, id string) (storage.Client, error) {
	c, err := r.Client(ctx, id)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !c.RemovedAt.IsZero() {
		return storage.Client{}, ErrNoClient
	}
	return c, err
}

// stands refuses a client in storage that was removed: r is the store, or the transaction of what is issued to it. What
// the process has in memory may be older than that.
func (c *Client) stands(ctx context.Context, r storage.Reader) error {
	if !c.Stored {
		return nil
	}
	_, err := kept(ctx, r, c.ID)
	if errors.Is(err, ErrNoClient) {
		return errClientGone
	}
	return err
}

// errClientGone is the answer to a client that was removed a moment ago: that to one that is not known.
var errClientGone = refuse(CodeInvalidClient, unknownClient)
