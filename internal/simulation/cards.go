package simulation

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/imidentity/issuer/internal/statuses"
	"github.com/imidentity/issuer/revocation"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/storage"
)

// A card is a credential that a device got.
type card struct {
	id, device string
	entry      storage.StatusEntry
	end        end
}

// asked reports whether the end of the card was asked for.
func (c *card) asked(w *world) bool { return c.end.asked || w.removing[c.device] }

// lists are the status lists of a run of a node. One task at a time uses them: within, they wait for each other by a mutex, which would
// stop the virtual time.
type lists struct {
	*statuses.Lists
	turn chan struct{}
}

// newLists makes the lists of a node, which has read none of them.
func (n *node) newLists() (*lists, error) {
	var store statuses.Store = n.store
	if n.world.broken == MissesEnds {
		store = forgetful{store, n.world}
	}
	l, err := statuses.New(statuses.Config{
		Issuer: issuerURL, SessionLife: time.Hour, Credentials: []string{domain}, Store: store, Keys: n.ring, Revocations: n.mirror,
		Size: 1024, Now: n.now, Rand: n.world.random,
	})
	return &lists{l, make(chan struct{}, 1)}, err
}

// A forgetful store finds no ends of credentials now and then.
type forgetful struct {
	statuses.Store
	world *world
}

func (s forgetful) CredentialEnds(ctx context.Context, list, after int64) ([]storage.CredentialEnd, error) {
	if s.world.chance(8) {
		return nil, nil
	}
	return s.Store.CredentialEnds(ctx, list, after)
}

// use calls fn when no other task uses the lists.
func (l *lists) use(w *world, fn func() error) error {
	select {
	case l.turn <- struct{}{}:
	case <-w.over:
		runtime.Goexit()
	}
	defer func() { <-l.turn }()
	return fn()
}

// errEnded is returned for the credential of a session that has ended.
var errEnded = errors.New("simulation: the session has ended")

// getCredential gets a credential for the device, by its session.
func (d *device) getCredential(ctx context.Context) {
	w, s := d.world, d.session
	d.send(ctx, "get a credential", func(ctx context.Context, i *instance) reply {
		c, err := i.issue(ctx, s.id)
		if err == nil && i.alive() {
			w.cards = append(w.cards, c)
			w.did.Credentials++
		}
		return reply{err: err}
	})
}

// issue stores a credential for the device of a session, if that is live.
func (i *instance) issue(ctx context.Context, session string) (*card, error) {
	n := i.node
	c := &card{id: fmt.Sprintf("credential-%x", n.world.rng.Uint64())}
	l := n.lists
	err := l.use(n.world, func() error {
		e, ok := l.TakeCredential(domain)
		if !ok {
			if err := l.FillCredential(ctx, domain); err != nil {
				return err
			}
			if e, ok = l.TakeCredential(domain); !ok {
				return errors.New("simulation: no entry is ready")
			}
		}
		c.entry = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	return c, n.store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		g, u, d, err := tx.Session(ctx, session)
		if err != nil {
			return err
		}
		if !g.EndedAt.IsZero() || !d.RemovedAt.IsZero() {
			return errEnded
		}
		c.device = d.ID
		return tx.InsertCredential(ctx, storage.Credential{
			ID: c.id, Domain: domain, User: u.ID, Device: d.ID, JKT: d.JKT, Handle: u.Handle, Status: c.entry, IssuedAt: n.now(),
			ExpiresAt: n.now().Add(24 * time.Hour),
		})
	})
}

// endCredential ends a credential that some device got.
func (d *device) endCredential(ctx context.Context) {
	w := d.world
	if len(w.cards) == 0 {
		return
	}
	c := w.cards[w.rng.IntN(len(w.cards))]
	c.end.asked = true
	for range 2 {
		r := d.send(ctx, "end a credential", func(ctx context.Context, i *instance) reply {
			n := i.node
			var row storage.Revocation
			err := n.store.Update(ctx, func(ctx context.Context, tx storage.Tx) (err error) {
				cause := revocation.Cause{Reason: "user_ended", At: n.now(), TokenLife: accessLife}
				if row, err = tx.Revoke(ctx, revocation.RevokeToken(c.id, cause)); err != nil {
					return err
				}
				_, err = tx.EndCredentials(ctx, storage.CredentialsOf{Domain: domain, ID: c.id}, n.now(), "user_ended")
				return err
			})
			if err == nil {
				n.mirror.Apply(row)
			}
			if err == nil && i.alive() {
				c.end.done(i)
			}
			return reply{err: err}
		})
		if r.err == nil {
			return
		}
	}
}

// readLists reads the lists of all credentials at a node.
func (d *device) readLists(ctx context.Context) {
	d.send(ctx, "read the lists", func(ctx context.Context, i *instance) reply {
		return reply{err: i.readLists(ctx, i.node.lists)}
	})
}

// readLists reads the lists of all credentials, and holds them to what is known of these.
func (i *instance) readLists(ctx context.Context, l *lists) error {
	w := i.node.world
	read := make(map[int64]bool)
	for _, c := range w.cards {
		if read[c.entry.List] {
			continue
		}
		read[c.entry.List] = true
		if err := i.readList(ctx, l, c.entry); err != nil {
			return err
		}
	}
	return nil
}

// readList reads the list of an entry.
func (i *instance) readList(ctx context.Context, l *lists, of storage.StatusEntry) error {
	w := i.node.world
	at, asked := time.Now(), make(map[*card]bool)
	for _, c := range w.cards {
		asked[c] = c.asked(w)
	}
	var signed statuses.Signed
	err := l.use(w, func() (err error) {
		signed, err = l.Get(ctx, strings.TrimPrefix(l.Reference(of).URI, issuerURL+"/status/"))
		return err
	})
	if err != nil {
		return err
	}
	token, err := statuslist.Parse(string(signed.Token), statuslist.Limits{})
	if err != nil {
		return err
	}
	w.did.Lists++
	for _, c := range w.cards {
		before, known := asked[c]
		if c.entry.List != of.List || !known {
			continue
		}
		status, err := token.List.At(uint64(c.entry.Index))
		switch {
		case err != nil:
			return err
		case status != statuslist.Valid:
			if !before && !c.asked(w) {
				w.violated("%s publishes a live credential as %v", i.node.name, status)
			}
		case c.end.at.IsZero() || c.end.at.After(at):
		case c.end.by.node == i.node && c.end.by.run == i.run:
			w.violated("%s publishes a credential as valid whose end it acknowledged itself", i.node.name)
		case at.Sub(c.end.at) > mirrorLimit+i.node.setBack(c.end.at):
			w.violated("%s publishes a credential as valid that ended %v before", i.node.name, at.Sub(c.end.at))
		}
	}
	return nil
}

// checkCredentials holds the credentials of the database to what was acknowledged, and to each other.
func (w *world) checkCredentials(before, now *state) {
	for e, old := range before.credentialEnds.rows {
		if end, ok := now.credentialEnds.rows[e]; !ok || end.End.HandleOnly && !old.End.HandleOnly {
			w.violated("the end of a credential is lost")
		}
	}
	for _, c := range now.credentials.rows {
		d, ok := now.devices.rows[pair{c.Domain, c.Device}]
		_, listed := now.credentialEnds.rows[c.Status]
		switch {
		case !ok || !d.RemovedAt.IsZero() && c.EndedAt.IsZero():
			w.violated("a credential of a removed device is live")
		case listed == c.EndedAt.IsZero():
			w.violated("a credential has ended: %t, and its entry: %t", !c.EndedAt.IsZero(), listed)
		}
	}
	for _, c := range w.cards {
		if row, ok := now.credentials.rows[c.id]; !ok || !c.end.at.IsZero() && row.EndedAt.IsZero() {
			w.violated("the credential %s is lost, or its end was acknowledged, and is lost", c.id)
		}
	}
}
