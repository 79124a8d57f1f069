package keys

import (
	"context"
	"errors"
	"log/slog"

	"github.com/imidentity/issuer/storage"
)

// ErrNoKey is returned by [Ring.Revoke] for a kid that no signing key has.
var ErrNoKey = errors.New("keys: no such signing key")

// Rotate makes the next key. It is published now and signs after [RingConfig.PublishAhead]; the key that signs until then
// retires. If the next key is published already, Rotate returns it and changes nothing. With atOnce the next key signs now, even
// if it was not published before; verifiers with a cached key set refuse what it signs until they read the set again.
func (r *Ring) Rotate(ctx context.Context, atOnce bool) (next Info, changed bool, err error) {
	return r.apply(ctx, func(c *change) error {
		c.why = "operator"
		if atOnce {
			return c.takeOver()
		}
		return c.publish()
	})
}

// Revoke revokes a key: it leaves the key set, and everything that it signed is invalid. If it was the signing key, another key
// signs at once: the next key if that is published, else a new one. Revoking a key again changes nothing. The reason is for the
// audit log. The error is [ErrNoKey] if there is no such key.
func (r *Ring) Revoke(ctx context.Context, kid, reason string) (revoked Info, changed bool, err error) {
	return r.apply(ctx, func(c *change) error { return c.revoke(kid, reason) })
}

// apply makes a change and describes the key that it is about.
func (r *Ring) apply(ctx context.Context, decide func(*change) error) (Info, bool, error) {
	c, err := r.change(ctx, decide)
	if err != nil {
		return Info{}, false, err
	}
	signer := ""
	if i := signerOf(c.rows, c.now); i >= 0 {
		signer = c.rows[i].KID
	}
	return r.describe(c.rows[c.subject], signer, c.now), c.changed(), nil
}

// maintain makes the changes that are due by the clock or by the settings.
func (r *Ring) maintain(ctx context.Context, opening bool) error {
	decide := func(c *change) error { return c.maintain(opening) }
	// Nearly always nothing is due. The rows that were just read show this without a transaction.
	trial := r.newChange(rowsOf(r.state.Load().keys))
	if err := decide(trial); err == nil && !trial.changed() {
		return nil
	}
	_, err := r.change(ctx, decide)
	return err
}

// change decides on the rows and writes them in one transaction, and then adopts them.
func (r *Ring) change(ctx context.Context, decide func(*change) error) (*change, error) {
	for {
		c, err := r.attempt(ctx, decide)
		if !errors.Is(err, errNeedsKey) {
			return c, err
		}
		fresh, err := newKey(r.cfg.Alg, r.sealer)
		if err != nil {
			return nil, err
		}
		if err := r.lock(ctx); err != nil {
			return nil, err
		}
		r.spare = &fresh
		r.unlock()
	}
}

// attempt is change, but returns errNeedsKey if a new key has to be made first.
func (r *Ring) attempt(ctx context.Context, decide func(*change) error) (*change, error) {
	if err := r.lock(ctx); err != nil {
		return nil, err
	}
	defer r.unlock()
	began := r.cfg.Now()
	var c *change
	var revoked []storage.Revocation
	err := r.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		rows, err := tx.SigningKeys(ctx)
		if err != nil {
			return err
		}
		c = r.newChange(rows)
		c.spare = r.spare
		if err := decide(c); err != nil {
			return err
		}
		if revoked, err = c.write(ctx, tx); err != nil {
			return err
		}
		return r.report(ctx, tx, c)
	})
	if err != nil {
		return nil, err
	}
	r.cfg.Revoked(revoked...)
	if err := r.adopt(c.rows, began); err != nil { // the change is durable, even if another key does not open
		r.cfg.Log.ErrorContext(ctx, "signing keys do not open", slog.Any("error", err))
	}
	return c, nil
}

// An Event is what a change did to one key.
type Event struct {
	KID string
	// Revoked is true for a key that was revoked, and false for one that signs or will sign.
	Revoked bool
	// Asked is true if [Ring.Rotate] or [Ring.Revoke] made the change, and false if it was due.
	Asked bool
	// Reason is that of [Ring.Revoke] or, for a key that signs, what made it: operator, revocation, start, settings, schedule.
	Reason string
}

// report calls [RingConfig.Changed] for the key that was revoked, and for the key that signs or will sign.
func (r *Ring) report(ctx context.Context, tx storage.Tx, c *change) error {
	asked := c.why == "operator" || c.why == "revocation"
	for i := range c.rows {
		k := &c.rows[i]
		var err error
		switch {
		case c.revoked(i):
			err = r.cfg.Changed(ctx, tx, Event{KID: k.KID, Revoked: true, Asked: true, Reason: k.RevokedReason})
		case c.activated(i):
			err = r.cfg.Changed(ctx, tx, Event{KID: k.KID, Asked: asked, Reason: c.why})
		}
		if err != nil {
			return err
		}
	}
	return nil
}
