package postgres

import (
	"context"
	"sync"
	"time"

	"github.com/imidentity/issuer/storage"
)

// turnTimeout is how long an update waits for its turn at a chain before it runs again, without what it holds so far: the update that
// has the turn may wait for a row that this one has written.
const turnTimeout = 500 * time.Millisecond

// chains are the chains of the audit log that this process writes: almost always one.
type chains struct {
	servers *servers
	mu      sync.Mutex
	nodes   map[string]*chain
}

// A chain is the chain of a node. Updates that append to it take turns. The turn ends after the commit, so the head that the next one
// reads is that of the last committed record, even if the snapshot of its transaction is older. An update that began earlier and appends
// later is thus not aborted: its record comes later, as its commit does.
type chain struct {
	turn chan struct{} // holds one value while an update has the turn
	// known is whether head is that of the last committed record.
	known bool
	head  storage.AuditHead
	on    int64 // the count of changes of the server when head was read or written
}

func (c *chains) of(node string) *chain {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes == nil {
		c.nodes = make(map[string]*chain)
	}
	if c.nodes[node] == nil {
		c.nodes[node] = &chain{turn: make(chan struct{}, 1)}
	}
	return c.nodes[node]
}

// A held chain is one at which an update has the turn.
type held struct {
	chain *chain
	head  storage.AuditHead // with the records of the update
	on    int64
}

// hold waits for the turn at the chain of a node, which lasts until the transaction has ended.
func (t *tx) hold(ctx context.Context, node string) (*held, error) {
	if h := t.held[node]; h != nil {
		return h, nil
	}
	if t.on.fault != nil {
		return nil, t.on.fault
	}
	c := t.chains.of(node)
	select {
	case c.turn <- struct{}{}:
	default:
		late := time.NewTimer(turnTimeout)
		defer late.Stop()
		select {
		case c.turn <- struct{}{}:
		case <-late.C:
			t.on.fault = errTurn
			return nil, errTurn
		}
	}
	h := &held{chain: c, head: c.head, on: t.chains.servers.changes.Load()}
	if t.held == nil {
		t.held = make(map[string]*held)
	}
	t.held[node] = h
	if c.known && c.on == h.on { // another server may have lost the last records
		return h, nil
	}
	// If the snapshot is too old for this, the primary key refuses the next record, and the update runs again.
	head, err := t.reader.AuditHead(ctx, node)
	h.head = head
	return h, err
}

// letGo ends the turns of a transaction.
func (t *tx) letGo(committed bool) {
	for _, h := range t.held {
		if committed {
			h.chain.head, h.chain.known, h.chain.on = h.head, true, h.on
		} else if t.on.fault != errOver { // the head may be another than was thought
			h.chain.known = false
		}
		<-h.chain.turn
	}
	t.held = nil
}
