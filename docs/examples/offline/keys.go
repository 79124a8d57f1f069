package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keysLive  = 5 * time.Minute // as in the issuer's Cache-Control: a revoked key is used no longer than this
	keysRetry = time.Minute     // between fetches for unknown keys: an attacker can make up a kid for each token
)

var client = &http.Client{Timeout: 5 * time.Second}

// A keySet holds the keys that an issuer publishes. Its zero value is empty.
type keySet struct {
	mu      sync.Mutex
	keys    map[string]jose.JSONWebKey // by kid
	fetched time.Time
}

// find returns the key with that kid. It fetches the set if the set is old, or if the key is unknown and may be new.
func (s *keySet) find(ctx context.Context, issuer, kid string, now time.Time) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, known := s.keys[kid]
	if age := now.Sub(s.fetched); age > keysLive || !known && age > keysRetry {
		keys, err := fetchKeys(ctx, issuer)
		if err != nil {
			return nil, err
		}
		s.keys, s.fetched = keys, now
		key, known = keys[kid]
	}
	if !known {
		return nil, invalid("signed by an unknown key")
	}
	return key.Key, nil
}

// fetchKeys fetches the keys of an issuer for the pinned algorithm. Its metadata names their URL (RFC 8414 §3).
func fetchKeys(ctx context.Context, issuer string) (map[string]jose.JSONWebKey, error) {
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	address, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	address.Path = "/.well-known/oauth-authorization-server" + address.Path
	if err := get(ctx, address.String(), &metadata); err != nil {
		return nil, err
	}
	if metadata.Issuer != issuer { // RFC 8414 §3.3
		return nil, fmt.Errorf("the metadata of %s is that of another issuer", issuer)
	}
	var set jose.JSONWebKeySet
	if err := get(ctx, metadata.JWKSURI, &set); err != nil {
		return nil, err
	}
	keys := make(map[string]jose.JSONWebKey)
	for _, key := range set.Keys {
		if key.KeyID != "" && key.IsPublic() && key.Valid() && key.Algorithm == string(algorithm) {
			keys[key.KeyID] = key
		}
	}
	return keys, nil
}

func get(ctx context.Context, url string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, answer.Status)
	}
	return json.NewDecoder(io.LimitReader(answer.Body, 1<<20)).Decode(into)
}
