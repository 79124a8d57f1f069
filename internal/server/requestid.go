package server

import (
	"encoding/base64"
	"fmt"
	"io"
	"sync"
)

// idBytes is how many random bytes the id of a request has.
const idBytes = 9

// requestIDs makes the ids of requests. It reads the random bytes of many ids at a time.
type requestIDs struct {
	source io.Reader

	mu     sync.Mutex
	random [64 * idBytes]byte
	unused []byte // of random
}

// next returns an id in base64url. The error is that of the source.
func (ids *requestIDs) next() (string, error) {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	if len(ids.unused) == 0 {
		if _, err := io.ReadFull(ids.source, ids.random[:]); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		ids.unused = ids.random[:]
	}
	id := base64.RawURLEncoding.EncodeToString(ids.unused[:idBytes])
	ids.unused = ids.unused[idBytes:]
	return id, nil
}
