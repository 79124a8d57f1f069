// Package random makes the random text that codes, states, secrets and ids consist of.
package random

import (
	"encoding/base64"
	"fmt"
	"io"
)

// Text reads n bytes from source and returns them in base64url without padding. The error is that of source.
func Text(source io.Reader, n int) (string, error) {
	raw := make([]byte, n)
	if _, err := io.ReadFull(source, raw); err != nil {
		return "", fmt.Errorf("read random bytes: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}
