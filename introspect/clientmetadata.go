package introspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// A clientMetadata holds the members of an issuer's metadata that a [Client] uses (RFC 8414 §2).
type clientMetadata struct {
	introspection string
	batch         string // empty: the issuer answers about one token at a time
	jwks          string
}

// discover sets up the caches of the metadata and the keys of the issuer. Nothing is fetched yet.
func (c *Client) discover(plain *http.Client) {
	c.meta = published.New(published.Config[*clientMetadata]{
		Fetch: func(ctx context.Context) (*clientMetadata, error) { return c.fetchMetadata(ctx, plain) },
		Now:   c.cfg.Now, Retry: -1,
	})
	// Keys are fetched again for an unknown kid, at most once a minute.
	c.keys = published.New(published.Config[map[string]jose.Key]{
		Fetch: func(ctx context.Context) (map[string]jose.Key, error) { return c.fetchKeys(ctx, plain) },
		Now:   c.cfg.Now, Retry: -1,
	})
}

// fetchMetadata fetches the metadata (RFC 8414 §3).
func (c *Client) fetchMetadata(ctx context.Context, plain *http.Client) (*clientMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	at, err := url.Parse(c.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	at.Path, at.RawPath = "/.well-known/oauth-authorization-server"+strings.TrimSuffix(at.Path, "/"), ""
	body, err := published.Read(fetch.For(ctx, fetch.IssuerMetadata), plain, at.String(), "application/json")
	if err != nil {
		return nil, fmt.Errorf("metadata of the issuer: %w", err)
	}
	m := &clientMetadata{}
	var issuer string
	err = jose.ReadMembers(body,
		jose.Member{Name: "issuer", Text: &issuer, Required: true},
		jose.Member{Name: "introspection_endpoint", Text: &m.introspection, Required: true},
		jose.Member{Name: "im_introspection_batch_endpoint", Text: &m.batch},
		jose.Member{Name: "jwks_uri", Text: &m.jwks},
	)
	switch {
	case err != nil:
		return nil, fmt.Errorf("metadata of the issuer: %w", err)
	case issuer != c.cfg.Issuer: // RFC 8414 §3.3
		return nil, errors.New("metadata of the issuer: it names another issuer")
	}
	for _, endpoint := range []string{m.introspection, m.batch, m.jwks} {
		if endpoint == "" {
			continue
		}
		if err := checkURL(endpoint, c.cfg.AllowLoopback); err != nil {
			return nil, fmt.Errorf("metadata of the issuer: an endpoint %w", err)
		}
	}
	return m, nil
}

// fetchKeys fetches the keys of the issuer, by kid.
func (c *Client) fetchKeys(ctx context.Context, plain *http.Client) (map[string]jose.Key, error) {
	m, err := c.meta.Get(ctx, published.Any)
	if err != nil {
		return nil, err
	}
	if m.jwks == "" {
		return nil, errors.New("the issuer has no jwks_uri")
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	body, err := published.Read(fetch.For(ctx, fetch.IssuerKeys), plain, m.jwks, "application/json", "application/jwk-set+json")
	if err != nil {
		return nil, fmt.Errorf("keys of the issuer: %w", err)
	}
	keys, err := jose.KeysByKid(body)
	if err != nil {
		return nil, fmt.Errorf("keys of the issuer: %w", err)
	}
	return keys, nil
}

// key returns the key that the issuer publishes under a kid. An error means that this cannot be known now, or that there is none.
func (c *Client) key(ctx context.Context, kid string) (jose.Key, error) {
	keys, err := c.keys.Get(ctx, func(keys map[string]jose.Key) bool { _, ok := keys[kid]; return ok })
	return keys[kid], err
}

// checkURL returns an error unless a URL is https, or http on a loopback address where that is allowed.
func checkURL(text string, allowLoopback bool) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("is not a URL with a host, and without user and fragment")
	case u.Scheme == "https", u.Scheme == "http" && allowLoopback && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("is not https")
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
