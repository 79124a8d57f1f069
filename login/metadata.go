package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/imidentity/issuer/internal/jose"
)

const (
	metadataLife = time.Hour
	maxAnswer    = 1 << 20
)

// metadata is what the provider publishes about itself (OpenID Connect Discovery §3).
type metadata struct {
	endpoint oauth2.Endpoint
	jwks     string
	userinfo string // may be empty
	algs     []string
	sendsIss bool // RFC 9207 §3
}

// algorithms are those that ID tokens may be signed with. None and HMAC have no place among them.
var algorithms = []string{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.RS256}

func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.cfg.Issuer)
	if err != nil {
		return nil, fmt.Errorf("%w: discovery: %.200w", ErrUnavailable, err)
	}
	var doc struct {
		JWKS     string   `json:"jwks_uri"`
		Algs     []string `json:"id_token_signing_alg_values_supported"`
		Auth     []string `json:"token_endpoint_auth_methods_supported"`
		SendsIss bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := found.Claims(&doc); err != nil {
		return nil, fmt.Errorf("%w: discovery: not the metadata of a provider", ErrUnavailable)
	}
	meta := &metadata{endpoint: found.Endpoint(), jwks: doc.JWKS, userinfo: found.UserInfoEndpoint(), sendsIss: doc.SendsIss}
	for name, url := range map[string]string{
		"authorization_endpoint": meta.endpoint.AuthURL, "token_endpoint": meta.endpoint.TokenURL, "jwks_uri": meta.jwks,
	} {
		if err := checkURL(url, p.cfg.Issuer); err != nil {
			return nil, fmt.Errorf("%w: discovery: %s: %w", ErrUnavailable, name, err)
		}
	}
	if meta.userinfo != "" {
		if err := checkURL(meta.userinfo, p.cfg.Issuer); err != nil {
			return nil, fmt.Errorf("%w: discovery: userinfo_endpoint: %w", ErrUnavailable, err)
		}
	}
	if doc.Algs == nil {
		doc.Algs = []string{jose.RS256} // Core §15.1: the one that every provider has.
	}
	for _, alg := range algorithms {
		if slices.Contains(doc.Algs, alg) {
			meta.algs = append(meta.algs, alg)
		}
	}
	if len(meta.algs) == 0 {
		return nil, fmt.Errorf("%w: discovery: no algorithm for ID tokens that is supported here", ErrUnavailable)
	}
	if meta.endpoint.AuthStyle, err = p.authStyle(doc.Auth); err != nil {
		return nil, err
	}
	return meta, nil
}

// authStyle chooses how to authenticate at the token endpoint. Discovery §3: what is not said is
// client_secret_basic.
func (p *Provider) authStyle(methods []string) (oauth2.AuthStyle, error) {
	switch {
	case p.cfg.ClientSecret == "":
		return oauth2.AuthStyleInParams, nil // the client id alone
	case len(methods) == 0, slices.Contains(methods, "client_secret_basic"):
		return oauth2.AuthStyleInHeader, nil
	case slices.Contains(methods, "client_secret_post"):
		return oauth2.AuthStyleInParams, nil
	}
	return 0, fmt.Errorf("%w: discovery: the provider takes no client secrets", ErrUnavailable)
}

// guarded returns client with answers that are whole or an error: a body that breaks off, is too long or comes
// too late, and a provider that says that it failed, all become the client's *[url.Error], before go-oidc and
// oauth2 make text of them.
func guarded(client *http.Client) *http.Client {
	c := *client
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = guard{c.Transport}
	return &c
}

type guard struct{ base http.RoundTripper }

func (g guard) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := g.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close()
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, errors.New("the answer is too long")
	case resp.StatusCode >= 500, resp.StatusCode == http.StatusTooManyRequests:
		return nil, fmt.Errorf("answered %d", resp.StatusCode)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// A memo remembers the last value that fetch returned.
type memo[T any] struct {
	fetch  func(context.Context) (T, error)
	now    func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	value T
	at    time.Time // zero: there is no value yet
}

// get returns a value at most age old; if none can be had, the last one there was.
func (m *memo[T]) get(ctx context.Context, age time.Duration) (T, error) {
	m.mu.Lock()
	value, at := m.value, m.at
	m.mu.Unlock()
	if !at.IsZero() && m.now().Sub(at) < age {
		return value, nil
	}
	fresh, err := m.refresh(ctx)
	if err != nil && !at.IsZero() {
		return value, nil
	}
	return fresh, err
}

// refresh fetches a new value. All who ask meanwhile share one fetch, which none of them can cancel.
func (m *memo[T]) refresh(ctx context.Context) (T, error) {
	done := m.flight.DoChan("", func() (any, error) {
		value, err := m.fetch(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		m.value, m.at = value, m.now()
		return value, nil
	})
	var none T
	select {
	case <-ctx.Done():
		return none, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case r := <-done:
		if r.Err != nil {
			return none, r.Err
		}
		return r.Val.(T), nil
	}
}
