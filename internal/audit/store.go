package audit

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/imidentity/issuer/storage"
)

// A Chain configures the chain of records that a node writes.
type Chain struct {
	// Node is the name of the node. No two nodes of an issuer have the same. Required.
	Node string
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand is the source of salts. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// Store returns s with an audit log: [Append] adds records to the chain c in the transactions of [storage.Store.Update]. When a
// transaction is durable, r writes the line of each of its events.
func (r *Recorder) Store(s storage.Store, c Chain) storage.Store {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return &store{s, r, c}
}

type store struct {
	storage.Store
	recorder *Recorder
	chain    Chain
}

// Update implements [storage.Store].
func (s *store) Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error {
	var events []Event
	err := s.Store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		t := &transaction{Tx: tx, chain: &s.chain}
		err := fn(ctx, t)
		events = t.events // those of the last run
		return err
	})
	if err == nil {
		for i := range events {
			s.recorder.Record(ctx, events[i])
		}
	}
	return err
}

// A transaction is one with an audit log.
type transaction struct {
	storage.Tx
	chain  *Chain
	events []Event // that were appended
}

var errNoActor = errors.New("audit: the event has no actor, and neither has the context")

// Append adds the record of an event to the audit log in the transaction tx: both are committed, or neither. What the event does not say
// of who acted, ctx does: see [WithOrigin]. An error dooms the transaction. Append does nothing if the store has no audit log, as in
// tests of single packages.
func Append(ctx context.Context, tx storage.Tx, e Event) error {
	t, ok := tx.(*transaction)
	if !ok {
		return nil
	}
	e.complete(ctx)
	if e.Kind == 0 || e.Kind >= ended {
		return fmt.Errorf("audit: unknown kind %d", e.Kind)
	}
	if e.Actor == "" {
		return errNoActor
	}
	head, err := t.AuditHead(ctx, t.chain.Node)
	if err != nil {
		return fmt.Errorf("audit: append %s: %w", e.Kind, err)
	}
	id, _ := ctx.Value(requestID{}).(string)
	row, err := seal(e, id, t.chain, head)
	if err != nil {
		return fmt.Errorf("audit: append %s: %w", e.Kind, err)
	}
	if err := t.AppendAudit(ctx, row); errors.Is(err, storage.ErrConflict) {
		// Not wrapped: to callers, a conflict is one of their own records.
		return fmt.Errorf("audit: append %s: another process writes the chain of %s", e.Kind, t.chain.Node)
	} else if err != nil {
		return fmt.Errorf("audit: append %s: %w", e.Kind, err)
	}
	t.events = append(t.events, e)
	return nil
}

// An Origin says who acts in a request, and from where.
type Origin struct {
	Actor   Actor
	Address netip.Addr
	// Client and Session are those of the token of a user's request.
	Client  string
	Session string
	// Peer is the OpenID provider that acts.
	Peer string
}

type originKey struct{}

// WithOrigin returns a context whose events come from o, as far as they do not say so themselves.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// complete takes what e does not say from the origin in ctx.
func (e *Event) complete(ctx context.Context) {
	o, ok := ctx.Value(originKey{}).(Origin)
	if !ok {
		return
	}
	if e.Actor == "" {
		e.Actor = o.Actor
	}
	if !e.Address.IsValid() {
		e.Address = o.Address
	}
	if e.Client == "" {
		e.Client = o.Client
	}
	if e.Session == "" {
		e.Session = o.Session
	}
	if e.Peer == "" {
		e.Peer = o.Peer
	}
}
