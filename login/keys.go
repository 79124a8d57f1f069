package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

const (
	keysLife    = time.Hour
	forcedEvery = time.Minute
	maxIDToken  = 64 << 10
)

type key = jose.Key

// keySet verifies signatures with the keys that the provider publishes. It implements the KeySet of go-oidc,
// whose own asks the provider again for every token with a key id it does not know; this one does so once a
// minute.
type keySet struct {
	memo memo[[]key]

	mu     sync.Mutex
	forced time.Time // when the keys were last fetched for a key id that was not known
}

// VerifySignature returns the payload of token. The error wraps [ErrUnavailable] if the key may be one that was
// not fetched.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxIDToken})
	if err != nil {
		return nil, err
	}
	keys, err := k.memo.get(ctx, keysLife)
	if err != nil {
		return nil, err
	}
	verified, known := verify(jws, keys)
	if !verified && !known {
		if keys, err = k.force(ctx); err != nil {
			return nil, err
		}
		verified, _ = verify(jws, keys)
	}
	if !verified {
		return nil, jose.ErrSignature
	}
	return jws.Payload, nil
}

// verify tries the keys that jws may mean: the one of its kid, or any if it names none. It reports whether
// one verified it, and whether the kid is known.
func verify(jws *jose.JWS, keys []key) (verified, known bool) {
	kid, alg := jws.Header.Kid, jws.Header.Alg
	for _, key := range keys {
		if kid != "" && key.Kid != kid {
			continue
		}
		known = kid != ""
		if (key.Alg == "" || jose.Allows([]string{key.Alg}, alg)) && jws.Verify(alg, key.Public) == nil {
			return true, known
		}
	}
	return false, known
}

// force fetches the keys again, unless that was done within the last minute.
func (k *keySet) force(ctx context.Context) ([]key, error) {
	now := k.memo.now()
	k.mu.Lock()
	soon := !k.forced.IsZero() && now.Sub(k.forced) < forcedEvery
	if !soon {
		k.forced = now
	}
	k.mu.Unlock()
	if soon {
		return nil, fmt.Errorf("%w: a key that is not known, and the keys were fetched a moment ago", ErrUnavailable)
	}
	return k.memo.refresh(ctx)
}

// fetchKeys reads the provider's JWK Set. Keys that cannot verify anything here are passed over (RFC 7517 §5).
func (p *Provider) fetchKeys(ctx context.Context) ([]key, error) {
	meta, err := p.meta.get(ctx, metadataLife)
	if err != nil {
		return nil, err
	}
	body, err := p.get(ctx, meta.jwks, "")
	if err != nil {
		return nil, fmt.Errorf("%w: keys: %w", ErrUnavailable, err)
	}
	var keys []key
	err = jose.Object(body, func(name string, value []byte) error {
		if name != "keys" {
			return nil
		}
		var list []json.RawMessage
		err := json.Unmarshal(value, &list)
		for _, raw := range list {
			if key, err := jose.ParseJWK(raw); err == nil {
				keys = append(keys, key)
			}
		}
		return err
	})
	if err == nil && len(keys) == 0 {
		err = errors.New("no key for signatures")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: keys: %w", ErrUnavailable, err)
	}
	return keys, nil
}

// get returns the body of a 200 answer. A token goes into the Authorization header.
func (p *Provider) get(ctx context.Context, url, token string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	return io.ReadAll(resp.Body)
}
