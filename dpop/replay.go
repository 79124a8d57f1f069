package dpop

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/netip"
	"time"
)

// Errors of a [Replay], besides [ErrReplayed].
var (
	// ErrStaleEpoch means that the store has begun a new epoch since the proof was checked. The proof may be among the
	// records that the store has lost.
	ErrStaleEpoch = errors.New("dpop: the replay store has a new epoch")
	// ErrReplayFull means that the store accepts no more proofs from this address now (429 or 503).
	ErrReplayFull = errors.New("dpop: the replay store is full for this address")
)

// An Epoch is a period in which a replay store has lost no record before its time. A store that may have lost records,
// because it was restarted, emptied or restored, begins a new epoch. Nonces belong to one epoch, so a proof from before
// the loss needs a new nonce.
type Epoch struct {
	// ID is random.
	ID [16]byte
	// Birth is when the epoch began, in seconds since 1970, rounded up. Proofs from before it are refused, except those
	// with a nonce of the epoch. If the clock was set back, Birth is the newest time at which a proof may have been spent.
	Birth int64
}

// NewEpoch returns an epoch that begins at now. id is random.
func NewEpoch(id [16]byte, now time.Time) Epoch {
	return Epoch{ID: id, Birth: now.Add(time.Second - 1).Unix()}
}

// Replay remembers spent proofs. All nodes that accept proofs for one origin share one. The suite in dpop/replaytest tests
// these promises:
//
//   - Of any number of calls with one key, on any number of nodes, at most one returns nil until the time
//     `until` has passed; the others return [ErrReplayed], whatever their own `until`.
//   - The epoch is compared and the key is recorded in one atomic step: no call returns nil under an epoch that
//     has ended.
//   - The epoch changes whenever a record may have been lost before its time: after a restart of a store in
//     memory, after data was emptied or restored, after the clock went back over records that were dropped.
//   - A store that outlives a clock step back still knows what was spent before it, under later dates too: the key stays
//     recorded, or the next epoch is born no earlier than the newest time at which a key was recorded.
//   - If the store cannot know whether a proof was spent, it returns an error that is none of the three.
//   - A store that is full returns [ErrReplayFull] and drops no live record. It refuses the source first that holds most
//     of the records.
//
// Keys are hashes that already contain their namespace, see [Config.Namespace].
type Replay interface {
	// Epoch returns the current epoch. It is called for each proof and each nonce, so a remote store caches it.
	Epoch(ctx context.Context) (Epoch, error)
	// Spend records key until the given time under epoch e, for a request from source (the zero Addr if it is not known).
	// It returns [ErrReplayed], [ErrStaleEpoch], [ErrReplayFull], or any other error if it cannot know.
	Spend(ctx context.Context, e Epoch, key [32]byte, until time.Time, source netip.Addr) error
}

// Kinds of spent tokens. They differ because two of different kinds may have the same key and jti.
const (
	kindProof        = 0
	kindPresentation = 1
	kindRekey        = 2
	kindKeyProof     = 3
	kindWireProof    = 4
)

// replayKey returns the key of a spent proof, presentation, statement of a new key, key proof or Wire proof: jti is unique among the
// proofs of one key (RFC 9449 §4.2). A key proof has none, and its hash stands for it. The namespace follows its length, and all
// thumbprints have the same length, so different tuples have different encodings.
func replayKey(kind byte, namespace, jkt, jti string) [32]byte {
	var buf [2 + 255 + 43 + 255]byte
	b := append(buf[:0], kind, byte(len(namespace)))
	b = append(b, namespace...)
	b = append(b, jkt...)
	b = append(b, jti...)
	return sha256.Sum256(b)
}
