package keys

import (
	"context"
	"errors"
	"log/slog"

	"github.com/imidentity/issuer/storage"
)

// ErrNoKey is returned by [Ring.Revoke] for a kid that is no signing key's.
var ErrNoKey = errors.New("keys: no such signing key")

// Rotate makes the next key, which is published now and signs from [RingConfig.PublishAhead] on; the one that signs
// until then retires. If the next key is published already, that one is returned and nothing changes. With atOnce the
// next key, published already or not, signs now; verifiers that keep a key set without it refuse what it signs until
// they read the set again.
func (r *Ring) Rotate(ctx context.Context, atOnce bool) (next Info, changed bool, err error) {
	return r.ask(ctx, func(c *change) error {
		c.why = "operator"
		if atOnce {
			return c.takeOver()
		}
		return c.publish()
	})
}

// Revoke revokes a key: from now on it is not published, and all that it signed is void. If it was the one that signs,
// another one signs at once, the next key if it is published, else a new one. To revoke a key again changes nothing.
// The reason is for the audit. [ErrNoKey] if there is none.
func (r *Ring) Revoke(ctx context.Context, kid, reason string) (revoked Info, changed bool, err error) {
	return r.ask(ctx, func(c *change) error { return c.revoke(kid, reason) })
}

// ask makes a change and describes the key that it was about.
func (r *Ring) ask(ctx context.Context, decide func(*change) error) (Info, bool, error) {
	c, err := r.change(ctx, decide)
	if err != nil {
		return Info{}, false, err
	}
	signer := ""
	if i := signing(c.rows, c.now); i >= 0 {
		signer = c.rows[i].KID
	}
	return r.describe(c.rows[c.subject], signer, c.now), c.changed(), nil
}

// keep does what is due without anybody asking.
func (r *Ring) keep(ctx context.Context, opening bool) error {
	decide := func(c *change) error { return c.keep(opening) }
	// Nearly always nothing is, which the rows that were just read tell without a transaction.
	trial := r.newChange(rowsOf(r.state.Load().keys))
	if err := decide(trial); err == nil && !trial.changed() {
		return nil
	}
	_, err := r.change(ctx, decide)
	return err
}

// change decides on the rows and writes what was decided, in one transaction, and then lives by it.
func (r *Ring) change(ctx context.Context, decide func(*change) error) (*change, error) {
	for {
		c, err := r.try(ctx, decide)
		if !errors.Is(err, errNeedsKey) {
			return c, err
		}
		fresh, err := newKey(r.cfg.Alg, r.sealer)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		r.spare = &fresh
		r.mu.Unlock()
	}
}

func (r *Ring) try(ctx context.Context, decide func(*change) error) (*change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		revoked, err = c.write(ctx, tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.cfg.Revoked(revoked...)
	if err := r.adopt(c.rows, began); err != nil { // what was written stands, whatever is wrong with other keys
		r.cfg.Log.ErrorContext(ctx, "signing keys do not open", slog.Any("error", err))
	}
	r.audit(ctx, c)
	return c, nil
}

// audit writes into the log which key was revoked and which one signs, or will.
func (r *Ring) audit(ctx context.Context, c *change) {
	for i := range c.rows {
		k := &c.rows[i]
		key := []any{slog.String("key", k.KID), slog.String("alg", k.Alg)}
		switch {
		case c.revoked(i):
			r.cfg.Log.WarnContext(ctx, "audit: signing key revoked", append(key, slog.String("reason", k.RevokedReason))...)
		case c.activated(i):
			r.cfg.Log.InfoContext(ctx, "audit: signing key rotated", append(key, slog.Time("signs_from", k.ActiveAt), slog.String("by", c.why))...)
		}
	}
}
