package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// signing is how the provider signs ID tokens.
type signing struct {
	algs []string
	keys []key
}

// keySet verifies signatures with the keys that the provider publishes. It implements the KeySet of go-oidc, whose own
// asks the provider again for every token with an unknown key id, and never for a known one. This one asks again for every
// token that it cannot verify, once a minute: a provider may put a new key under an old id, or change its algorithm.
type keySet struct {
	memo memo[signing]
	meta *memo[*metadata]

	mu     sync.Mutex
	forced time.Time // when the provider was last asked again for a token that could not be verified
}

// VerifySignature returns the payload of token. The error wraps [ErrUnavailable] if the key may be one that was
// not fetched.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxIDToken})
	if err != nil {
		return nil, err
	}
	with, err := k.memo.get(ctx, keysLife)
	if err != nil {
		return nil, err
	}
	if with.verify(jws) {
		return jws.Payload, nil
	}
	if with, err = k.renew(ctx); err != nil {
		return nil, err
	}
	if with.verify(jws) {
		return jws.Payload, nil
	}
	return nil, jose.ErrSignature
}

// verify tries the keys that jws may mean: the one of its kid, or any if it names none.
func (s signing) verify(jws *jose.JWS) bool {
	kid, alg := jws.Header.Kid, jws.Header.Alg
	if !slices.Contains(s.algs, alg) {
		return false
	}
	return slices.ContainsFunc(s.keys, func(k key) bool {
		return (kid == "" || k.Kid == kid) && (k.Alg == "" || jose.Allows([]string{k.Alg}, alg)) && jws.Verify(alg, k.Public) == nil
	})
}

// renew asks the provider for its metadata and keys again, unless that was done within the last minute.
func (k *keySet) renew(ctx context.Context) (signing, error) {
	now := k.memo.now()
	k.mu.Lock()
	soon := !k.forced.IsZero() && now.Sub(k.forced) < forcedEvery
	if !soon {
		k.forced = now
	}
	k.mu.Unlock()
	if soon {
		return signing{}, fmt.Errorf("%w: an ID token cannot be verified, and the keys were fetched a moment ago", ErrUnavailable)
	}
	if _, err := k.meta.refresh(ctx); err != nil {
		return signing{}, err
	}
	return k.memo.refresh(ctx)
}

// fetchKeys reads the provider's JWK Set. Keys that cannot verify anything here are passed over (RFC 7517 §5). A set
// without a usable key is an answer, too: the provider has withdrawn its keys.
func (p *Provider) fetchKeys(ctx context.Context) (signing, error) {
	meta, err := p.meta.get(ctx, metadataLife)
	if err != nil {
		return signing{}, err
	}
	body, err := p.get(ctx, meta.jwks, "")
	if err != nil {
		return signing{}, unavailable("keys", err)
	}
	set, err := lenientMembers(body)
	if err != nil {
		return signing{}, unavailable("keys", errors.New("not a JSON object"))
	}
	var list []json.RawMessage
	if json.Unmarshal(set["keys"], &list) != nil {
		return signing{}, unavailable("keys", errors.New("not a JWK Set: it has no array keys"))
	}
	with := signing{algs: meta.algs}
	for _, raw := range list {
		if key, err := parseKey(raw); err == nil {
			with.keys = append(with.keys, key)
		}
	}
	return with, nil
}

// parseKey reads a JWK whose optional members may be null.
func parseKey(raw []byte) (key, error) {
	jwk := map[string]json.RawMessage{}
	err := jose.Object(raw, func(name string, value []byte) error {
		if string(value) != "null" {
			jwk[name] = value
		}
		return nil
	})
	if err != nil {
		return key{}, err
	}
	if raw, err = json.Marshal(jwk); err != nil {
		return key{}, err
	}
	return jose.ParseJWK(raw)
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
