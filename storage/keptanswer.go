package storage

import "time"

// A KeptAnswer is a request that came with an idempotency key and changed something, with its answer.
type KeptAnswer struct {
	// Key identifies the caller and the idempotency key, and Request what was asked. Both are keyed hashes.
	Key, Request [32]byte
	// Answer is the sealed answer. It is empty until the answer is known.
	Answer    []byte
	ExpiresAt time.Time
}
