package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

const maxIDToken = 64 << 10

type key = jose.Key

// signing is how the provider signs ID tokens.
type signing struct {
	algs []string
	keys []key
	// unconfirmed says that the metadata could not be fetched with the keys: an earlier version of it was used.
	unconfirmed bool
}

// keySet verifies signatures with the keys that the provider publishes. It implements the KeySet of go-oidc, whose own
// implementation fetches the keys again for every token with an unknown key id, and never for a known one. This one fetches
// them again for a token that it cannot verify, at most once a minute: a provider may publish a new key under an old id, or
// change its algorithm.
type keySet struct{ published *published.Cache[signing] }

// VerifySignature returns the payload of token. The error wraps [ErrUnavailable] if the key may be one that was
// not fetched.
func (k *keySet) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseCompact(token, jose.Limits{Total: maxIDToken})
	if err != nil {
		return nil, err
	}
	with, err := get(ctx, k.published, published.Any)
	if err != nil {
		return nil, err
	}
	if with.verify(jws) {
		return jws.Payload, nil
	}
	_, err = get(ctx, k.published, func(s signing) bool { return s.verify(jws) })
	switch {
	case errors.Is(err, published.ErrAbsent):
		if with, _ := k.published.Last(); with.unconfirmed {
			return nil, fmt.Errorf("%w: an ID token cannot be verified, and the metadata cannot be fetched", ErrUnavailable)
		}
		return nil, jose.ErrSignature
	case err != nil:
		return nil, err
	}
	return jws.Payload, nil
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

// fetchKeys fetches the provider's JWK Set, and the metadata with its URL and the algorithms. If the metadata cannot be fetched,
// the cached version is used. Keys that cannot verify anything here are skipped (RFC 7517 §5). A set without a usable key is an
// answer, too: the provider has withdrawn its keys.
func (p *Provider) fetchKeys(ctx context.Context) (signing, error) {
	meta, metaErr := p.discover(ctx)
	if metaErr != nil {
		var known bool
		if meta, known = p.meta.Last(); !known {
			return signing{}, metaErr
		}
	}
	body, err := p.get(fetch.For(ctx, fetch.ProviderKeys), meta.jwks, "")
	if err != nil {
		return signing{}, fmt.Errorf("keys: %w", err)
	}
	set, err := lenientMembers(body)
	if err != nil {
		return signing{}, errors.New("keys: not a JSON object")
	}
	var list []json.RawMessage
	if json.Unmarshal(set["keys"], &list) != nil {
		return signing{}, errors.New("keys: not a JWK Set: it has no array keys")
	}
	with := signing{algs: meta.algs, unconfirmed: metaErr != nil}
	for _, raw := range list {
		if key, err := parseKey(raw); err == nil {
			with.keys = append(with.keys, key)
		}
	}
	return with, nil
}

// parseKey reads a JWK. Its optional members may be null.
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

// get returns the body of an answer with status 200. A token is sent in the Authorization header.
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
