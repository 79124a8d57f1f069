package signin

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// The query of the path that a browser comes back to may hold a user code, with which another device is linked. So storage has it only
// sealed, under a key that is not in storage.

// wayBack splits a path into what is stored of it: the path alone, and its query, sealed; empty if there is none.
func (s *Logins) wayBack(path string) (alone, query string, err error) {
	alone, query, found := strings.Cut(path, "?")
	if !found {
		return alone, "", nil
	}
	keys, err := s.queryKeys()
	if err != nil {
		return "", "", fmt.Errorf("signin: keys of queries: %w", err)
	}
	text, err := sealText(s.rand, keys[0], []byte(query), []byte(alone))
	return alone, base64.RawURLEncoding.EncodeToString(text), err
}

// openQuery returns the query that [Logins.wayBack] sealed for a path. The error is errOver if that was under another key.
func (s *Logins) openQuery(path, query string) (string, error) {
	raw, err := base64.RawURLEncoding.DecodeString(query)
	if err != nil {
		return "", errOver
	}
	keys, err := s.queryKeys()
	if err != nil {
		return "", fmt.Errorf("signin: keys of queries: %w", err)
	}
	for _, key := range keys {
		if text, err := openText(key, raw, []byte(path)); err == nil {
			return string(text), nil
		}
	}
	return "", errOver
}
