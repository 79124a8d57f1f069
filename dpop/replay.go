package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"time"
)

// The answers of a [Replay] beside nil and [ErrReplayed].
var (
	// ErrStaleEpoch means that the proof was checked under another epoch than the store's: what the store has
	// forgotten since may hold it.
	ErrStaleEpoch = errors.New("dpop: the replay store has a new epoch")
	// ErrReplayFull means that the store takes no more proofs from this address now (429 or 503).
	ErrReplayFull = errors.New("dpop: the replay store is full for this address")
)

// An Epoch is a time during which a replay store has forgotten nothing too early. A store that may have lost
// records, because it was restarted, emptied or restored, has another epoch than before. Nonces belong to one
// epoch, so a proof from before the loss asks for a new one.
type Epoch struct {
	// ID is random, made anew with each epoch.
	ID [16]byte
	// Birth is when the epoch began, in seconds since 1970, rounded up: nothing dated before counts, unless a nonce of
	// the epoch dates it. If the clock was set back, it is the newest time at which something may have been spent.
	Birth int64
}

// NewEpoch returns an epoch that begins at now, named by the random bytes id.
func NewEpoch(id [16]byte, now time.Time) Epoch {
	return Epoch{ID: id, Birth: now.Add(time.Second - 1).Unix()}
}

// Replay remembers which proofs were spent. All nodes that accept proofs for one origin share one. The suite in
// dpop/replaytest holds a store to these promises:
//
//   - Of any number of calls with one key, on any number of nodes, at most one returns nil until the time
//     `until` has passed; the others return [ErrReplayed], whatever their own `until`.
//   - The epoch is compared and the key is recorded in one atomic step: no call returns nil under an epoch that
//     has ended.
//   - The epoch changes whenever a record may have been lost before its time: after a restart of a store in
//     memory, after data was emptied or restored, after the clock went back over records that were dropped.
//   - A store that outlives a clock step back still knows what was spent before it, under later dates too: the key stays
//     recorded, or the next epoch is born no earlier than the newest time at which a key was recorded.
//   - Whatever the store cannot know is an error that is none of the three: fail closed.
//   - A store that is full refuses with [ErrReplayFull] and drops nothing that is live. It begins with the source
//     that holds most of it.
//
// Keys are hashes that already contain their namespace, see [Config.Namespace].
type Replay interface {
	// Epoch returns the current epoch. It is called for each proof and each nonce, so a remote store caches it.
	Epoch(ctx context.Context) (Epoch, error)
	// Spend records key until the given time under epoch e, for a request that came from source (the zero Addr:
	// not known). It returns [ErrReplayed], [ErrStaleEpoch], [ErrReplayFull], or any other error for "cannot
	// know".
	Spend(ctx context.Context, e Epoch, key [32]byte, until time.Time, source netip.Addr) error
}

// What is spent: a proof and a presentation may have the same key and jti.
const (
	kindProof        = 0
	kindPresentation = 1
)

// replayKey names what is spent: jti is unique among the proofs of one key (RFC 9449 §4.2). The namespace is
// preceded by its length and a thumbprint has always the same one, so that no two tuples are written alike.
func replayKey(kind byte, namespace, jkt, jti string) [32]byte {
	var buf [2 + 255 + 43 + 255]byte
	b := append(buf[:0], kind, byte(len(namespace)))
	b = append(b, namespace...)
	b = append(b, jkt...)
	b = append(b, jti...)
	return sha256.Sum256(b)
}
