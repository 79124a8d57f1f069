package keys

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// errNeedsKey ends a change that has to add a key and has none. Making a key takes time and is done outside the transaction.
var errNeedsKey = errors.New("keys: a new key has to be made first")

// A change changes the signing keys in one transaction. Its decisions are stored in the rows alone: from them each node computes
// which key signs, and how long each key is published.
type change struct {
	cfg    *RingConfig
	now    time.Time // in whole milliseconds, as the store keeps times
	before []storage.SigningKey
	rows   []storage.SigningKey // before with the changes, and perhaps one more
	spare  *storage.SigningKey  // a new key that may be added; nil if none was made

	subject int    // index of the row that the change is about
	why     string // for [Event]
}

func (r *Ring) newChange(rows []storage.SigningKey) *change {
	return &change{
		cfg: &r.cfg, now: r.cfg.Now().UTC().Truncate(time.Millisecond), before: rows, rows: slices.Clone(rows),
	}
}

// maintain makes the changes that are due. If no key signs, or if the ring is being opened and the signing key has another
// algorithm than the settings, another key takes over. The next key is published in time. And the rows are given the longest
// life of anything that their keys sign.
func (c *change) maintain(opening bool) error {
	s := signerOf(c.rows, c.now)
	switch {
	case s < 0:
		c.why = "start"
		if err := c.takeOver(); err != nil {
			return err
		}
	case opening && c.rows[s].Alg != c.cfg.Alg:
		c.why = "settings"
		if err := c.takeOver(); err != nil {
			return err
		}
	case c.cfg.RotateEvery > 0 && c.next("") < 0 && !c.now.Before(c.rows[s].ActiveAt.Add(c.cfg.RotateEvery-c.cfg.PublishAhead)):
		c.why = "schedule"
		if err := c.publish(); err != nil {
			return err
		}
	}
	for i := range c.rows {
		if k := &c.rows[i]; !ended(*k, c.now) {
			k.Life = max(k.Life, c.cfg.LongestLife)
		}
	}
	return nil
}

// publish publishes the next key, which signs after PublishAhead.
func (c *change) publish() error {
	if i := c.next(c.cfg.Alg); i >= 0 {
		c.subject = i
		return nil
	}
	return c.handOver(-1, c.now.Add(c.cfg.PublishAhead).Truncate(time.Millisecond))
}

// takeOver makes the next key sign now.
func (c *change) takeOver() error { return c.handOver(c.next(c.cfg.Alg), c.now) }

// handOver makes key i (-1: a new one) sign from a moment on, at which the signing key retires. Any other key that was going to
// sign is retired.
func (c *change) handOver(i int, from time.Time) error {
	s := signerOf(c.rows, c.now)
	if i < 0 {
		if c.spare == nil || slices.ContainsFunc(c.rows, func(k storage.SigningKey) bool { return k.KID == c.spare.KID }) {
			return errNeedsKey
		}
		k := *c.spare
		k.CreatedAt, k.Life = c.now, c.cfg.LongestLife
		i, c.rows = len(c.rows), append(c.rows, k)
	}
	c.subject = i
	c.rows[i].ActiveAt, c.rows[i].RetiredAt = from, time.Time{}
	for j := range c.rows {
		switch k := &c.rows[j]; {
		case j == i || ended(*k, c.now):
		case j == s:
			k.RetiredAt = from
		default:
			k.RetiredAt = c.now
		}
	}
	return nil
}

// next returns the index of a key that is published and will sign later, of an algorithm (empty: of any), and -1 if there is
// none.
func (c *change) next(alg string) int {
	s := signerOf(c.rows, c.now)
	for i, k := range c.rows {
		if i != s && !ended(k, c.now) && k.ActiveAt.After(c.now) && (alg == "" || k.Alg == alg) {
			return i
		}
	}
	return -1
}

func (c *change) revoke(kid, reason string) error {
	i := slices.IndexFunc(c.rows, func(k storage.SigningKey) bool { return k.KID == kid })
	if i < 0 {
		return ErrNoKey
	}
	c.subject = i
	k := &c.rows[i]
	if !k.RevokedAt.IsZero() {
		return nil
	}
	signs, waits, next := signerOf(c.rows, c.now) == i, c.next("") == i, c.next(c.cfg.Alg)
	k.RevokedAt, k.RevokedReason = c.now, reason
	switch {
	case signs:
		c.why = "revocation"
		err := c.handOver(next, c.now)
		c.subject = i
		return err
	case waits: // nothing replaces the signing key, which continues to sign
		for j := range c.rows {
			if k := &c.rows[j]; !ended(*k, c.now) {
				k.RetiredAt = time.Time{}
			}
		}
	}
	return nil
}

// differs reports whether row i differs from the stored one.
func (c *change) differs(i int) bool {
	if i >= len(c.before) {
		return true
	}
	a, b := c.before[i], c.rows[i]
	return !a.ActiveAt.Equal(b.ActiveAt) || !a.RetiredAt.Equal(b.RetiredAt) || !a.RevokedAt.Equal(b.RevokedAt) || a.Life != b.Life
}

func (c *change) changed() bool {
	for i := range c.rows {
		if c.differs(i) {
			return true
		}
	}
	return false
}

// revoked reports whether this change revokes key i.
func (c *change) revoked(i int) bool {
	return i < len(c.before) && c.before[i].RevokedAt.IsZero() && !c.rows[i].RevokedAt.IsZero()
}

// activated reports whether this change sets the time from which key i signs.
func (c *change) activated(i int) bool {
	return i >= len(c.before) || !c.before[i].ActiveAt.Equal(c.rows[i].ActiveAt)
}

// write writes the rows that differ. For each revoked key it adds a revocation, from which every node learns that everything
// the key signed is invalid.
func (c *change) write(ctx context.Context, tx storage.Tx) (revoked []storage.Revocation, err error) {
	for i, k := range c.rows {
		switch {
		case !c.differs(i):
			continue
		case i >= len(c.before):
			err = tx.InsertSigningKey(ctx, k)
		default:
			err = tx.UpdateSigningKey(ctx, k)
		}
		if err != nil {
			return nil, err
		}
		if !c.revoked(i) {
			continue
		}
		r, err := tx.Revoke(ctx, storage.Revocation{
			Kind: storage.RevokeKey, Key: k.KID, Reason: k.RevokedReason,
			At: c.now, ExpiresAt: c.now.Add(max(k.Life, c.cfg.LongestLife)),
		})
		if err != nil {
			return nil, err
		}
		revoked = append(revoked, r)
	}
	return revoked, nil
}
