package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/storage"
)

// ErrOneKey is returned by [Cluster.RotateKEK] if there is no second key-encryption key.
var ErrOneKey = errors.New("keys: there is no second key-encryption key")

// resealBatch is how many secrets one transaction seals anew.
const resealBatch = 16

// A KEKInfo describes a key-encryption key to an administrator.
type KEKInfo struct {
	ID string
	// Used is true for the key under which secrets are sealed now. Missing is true for a key that this process does not have.
	Used, Missing bool
	// Secrets is how many secrets are sealed under it.
	Secrets int
}

// A KEKEvent is a rotation of the key-encryption key.
type KEKEvent struct {
	// ID names the key under which secrets are sealed from now on.
	ID string
}

// KEKs returns the key-encryption keys of this process, and any others under which something is sealed.
func (c *Cluster) KEKs(ctx context.Context) ([]KEKInfo, error) {
	rows, err := c.sealed(ctx, c.store)
	if err != nil {
		return nil, err
	}
	used := c.sealer.used.Load().id
	var list []KEKInfo
	for _, k := range c.sealer.keys {
		list = append(list, KEKInfo{ID: k.id, Used: k.id == used})
	}
	for _, row := range rows {
		_, id, err := c.sealer.open(row.name, row.sealed)
		if id == "" && err != nil { // in the form that does not tell
			id = "unknown"
		}
		i := slices.IndexFunc(list, func(k KEKInfo) bool { return k.ID == id })
		if i < 0 {
			i, list = len(list), append(list, KEKInfo{ID: id, Used: id == used, Missing: true})
		}
		list[i].Secrets++
	}
	return list, nil
}

// RotateKEK seals all secrets anew, under the second key of the [Sealer]: first the lasting secret, by which all nodes learn that new ones
// are sealed under that key, and then the others, in transactions of a few. If it is interrupted, [Cluster.Reseal] goes on, in any process
// that has both keys. It changes nothing if all are sealed under that key.
//
// Every node must have both keys before. A node that does not have the new one goes on with what it has opened. It cannot seal, and what
// is made by others since it cannot open: then it signs nothing after [RingConfig.Limit].
func (c *Cluster) RotateKEK(ctx context.Context) error {
	if len(c.sealer.keys) < 2 {
		return ErrOneKey
	}
	to := c.sealer.keys[1]
	err := c.change(ctx, func(tx storage.Tx, _ *clusterState, _ time.Time) error {
		sealed, err := tx.Secret(ctx, clusterSecret)
		if err != nil {
			return err
		}
		plain, id, err := c.sealer.open(clusterSecret, sealed)
		if err != nil {
			return err
		}
		if form, _, _ := parseSealed(sealed); form == sealNamed && id == to.id {
			return nil
		}
		if err := tx.PutSecret(ctx, clusterSecret, to.seal(sealNamed, clusterSecret, plain)); err != nil {
			return err
		}
		return c.cfg.KEKChanged(ctx, tx, KEKEvent{ID: to.id})
	})
	if err == nil {
		err = c.Reseal(ctx)
	}
	if err != nil {
		return fmt.Errorf("keys: rotate the key-encryption key: %w", err)
	}
	return nil
}

// Reseal seals everything anew that is not sealed under the present key-encryption key. It does nothing if this process does not have that
// key. Secrets that it cannot open it leaves, and returns [ErrWrongKey]. Several processes may do this at once.
func (c *Cluster) Reseal(ctx context.Context) error {
	if _, ok := c.sealer.find(c.sealer.used.Load().id); !ok {
		return nil
	}
	after, faults := "", []error(nil)
	for {
		var done int
		var last string
		var wrong []error
		pending, err := c.pending(ctx, c.store, after)
		if err != nil || len(pending) == 0 {
			return errors.Join(append(faults, err)...)
		}
		err = c.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
			done, last, wrong = 0, "", nil
			rows, err := c.pending(ctx, tx, after)
			if err != nil {
				return err
			}
			for _, row := range rows[:min(len(rows), resealBatch)] {
				done, last = done+1, row.name
				plain, err := c.sealer.Open(row.name, row.sealed)
				if err != nil {
					wrong = append(wrong, err)
					continue
				}
				sealed, err := c.sealer.Seal(row.name, plain)
				if err != nil {
					return err
				}
				if row.key == nil {
					err = tx.PutSecret(ctx, row.name, sealed)
				} else {
					k := *row.key
					k.Sealed = sealed
					err = tx.UpdateSigningKey(ctx, k)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		faults = append(faults, wrong...)
		if err != nil || done == 0 {
			return errors.Join(append(faults, err)...)
		}
		after = last
	}
}

// A sealedRow is a row with a sealed secret.
type sealedRow struct {
	name   string // that it is sealed under
	sealed []byte
	key    *storage.SigningKey // nil for a row of a secret
}

// A sealedReader has all rows that are sealed under key-encryption keys.
type sealedReader interface {
	Secrets(ctx context.Context) ([]storage.Secret, error)
	SigningKeys(ctx context.Context) ([]storage.SigningKey, error)
}

// sealed returns all sealed rows, in the order of their names.
func (c *Cluster) sealed(ctx context.Context, from sealedReader) ([]sealedRow, error) {
	secrets, err := from.Secrets(ctx)
	if err != nil {
		return nil, err
	}
	signing, err := from.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	var rows []sealedRow
	for _, s := range secrets {
		rows = append(rows, sealedRow{name: s.Name, sealed: s.Sealed})
	}
	for i, k := range signing {
		rows = append(rows, sealedRow{name: secretName(k.KID), sealed: k.Sealed, key: &signing[i]})
	}
	slices.SortFunc(rows, func(a, b sealedRow) int { return strings.Compare(a.name, b.name) })
	return rows, nil
}

// pending returns the rows after a name that are not sealed as new ones are.
func (c *Cluster) pending(ctx context.Context, from sealedReader, after string) ([]sealedRow, error) {
	rows, err := c.sealed(ctx, from)
	return slices.DeleteFunc(rows, func(r sealedRow) bool { return r.name <= after || c.sealer.current(r.sealed) }), err
}
