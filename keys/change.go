package keys

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/imidentity/issuer/storage"
)

// errNeedsKey ends a change that has to add a key and has none. A key takes time to make, which is not spent within a
// transaction.
var errNeedsKey = errors.New("keys: a new key has to be made first")

// A change is what happens to the signing keys in one transaction. All that it decides is in the rows: by them every
// node knows, without another word, which key signs from when on and until when a key is published.
type change struct {
	cfg    *RingConfig
	now    time.Time // in whole milliseconds, as it will be kept
	before []storage.SigningKey
	rows   []storage.SigningKey // those of before, and perhaps one more
	spare  *storage.SigningKey  // a key to add; nil if none was made

	subject int    // the row that it is about
	why     string // for the audit
}

func (r *Ring) newChange(rows []storage.SigningKey) *change {
	return &change{
		cfg: &r.cfg, now: r.cfg.Now().UTC().Truncate(time.Millisecond), before: rows, rows: slices.Clone(rows),
	}
}

// keep does what is due: where no key signs or, as the ring is opened, one of another algorithm than the settings name,
// another one takes over; the next key is published in time; and the rows know the longest life of what is signed.
func (c *change) keep(opening bool) error {
	s := signing(c.rows, c.now)
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
		if k := &c.rows[i]; !over(*k, c.now) {
			k.Life = max(k.Life, c.cfg.LongestLife)
		}
	}
	return nil
}

// publish has the next key sign when it was published for long enough.
func (c *change) publish() error {
	if i := c.next(c.cfg.Alg); i >= 0 {
		c.subject = i
		return nil
	}
	return c.succeed(-1, c.now.Add(c.cfg.PublishAhead).Truncate(time.Millisecond))
}

// takeOver has the next key sign now.
func (c *change) takeOver() error { return c.succeed(c.next(c.cfg.Alg), c.now) }

// succeed has key i, -1 for a new one, sign from a moment on, at which the key that signs until then retires. Any other
// that was to sign never will.
func (c *change) succeed(i int, from time.Time) error {
	s := signing(c.rows, c.now)
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
		case j == i || over(*k, c.now):
		case j == s:
			k.RetiredAt = from
		default:
			k.RetiredAt = c.now
		}
	}
	return nil
}

// next returns the index of a key of that algorithm, empty meaning any, that is published and has yet to sign; -1 if
// there is none.
func (c *change) next(alg string) int {
	s := signing(c.rows, c.now)
	for i, k := range c.rows {
		if i != s && !over(k, c.now) && k.ActiveAt.After(c.now) && (alg == "" || k.Alg == alg) {
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
	signs, waits, next := signing(c.rows, c.now) == i, c.next("") == i, c.next(c.cfg.Alg)
	k.RevokedAt, k.RevokedReason = c.now, reason
	switch {
	case signs:
		c.why = "revocation"
		err := c.succeed(next, c.now)
		c.subject = i
		return err
	case waits: // nothing takes the place of the key that signs, which goes on
		for j := range c.rows {
			if k := &c.rows[j]; !over(*k, c.now) {
				k.RetiredAt = time.Time{}
			}
		}
	}
	return nil
}

// differs tells whether a row is not as it is kept.
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

// revoked tells whether key i is revoked by this change.
func (c *change) revoked(i int) bool {
	return i < len(c.before) && c.before[i].RevokedAt.IsZero() && !c.rows[i].RevokedAt.IsZero()
}

// activated tells whether it is by this change that key i signs from when it does.
func (c *change) activated(i int) bool {
	return i >= len(c.before) || !c.before[i].ActiveAt.Equal(c.rows[i].ActiveAt)
}

// write writes the rows that differ, and with each revocation the row by which every node learns that what the key has
// signed is void.
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
