package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/imidentity/issuer/internal/jose"
)

const (
	metadataLife = time.Hour
	maxStale     = 24 * time.Hour
	maxAnswer    = 1 << 20
)

// metadata is what the provider publishes about itself (OpenID Connect Discovery §3).
type metadata struct {
	authorize, token, jwks string
	userinfo               string   // may be empty
	algs                   []string // of ID tokens
	basic                  bool     // the client authenticates by HTTP Basic
	sendsIss               bool     // RFC 9207 §3
}

// algorithms are those that ID tokens may be signed with. None and HMAC have no place among them.
var algorithms = []string{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.RS256}

// discover reads the provider's metadata (OpenID Connect Discovery §4). Members that are not read here may be of any type.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	body, err := p.get(ctx, strings.TrimSuffix(p.cfg.Issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return nil, unavailable("discovery", err)
	}
	doc, err := lenientMembers(body)
	if err != nil {
		return nil, unavailable("discovery", errors.New("not a JSON object"))
	}
	meta, err := p.parseMetadata(doc)
	if err != nil {
		return nil, unavailable("discovery", err)
	}
	return meta, nil
}

func (p *Provider) parseMetadata(doc members) (*metadata, error) {
	if doc.text("issuer") != p.cfg.Issuer { // Discovery §4.3
		return nil, fmt.Errorf("issuer is %.200q, not %q", doc.text("issuer"), p.cfg.Issuer)
	}
	meta := &metadata{sendsIss: doc.flag("authorization_response_iss_parameter_supported")}
	for name, to := range map[string]*string{
		"authorization_endpoint": &meta.authorize, "token_endpoint": &meta.token, "jwks_uri": &meta.jwks,
		"userinfo_endpoint": &meta.userinfo,
	} {
		if name == "userinfo_endpoint" && doc[name] == nil { // the only one that is optional
			continue
		}
		*to = doc.text(name)
		if err := checkURL(*to, p.cfg.Issuer); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	offered := []string{jose.RS256} // Core §15.1: every provider has it
	if algs := "id_token_signing_alg_values_supported"; doc[algs] != nil {
		offered = doc.texts(algs)
	}
	for _, alg := range algorithms {
		if slices.Contains(offered, alg) {
			meta.algs = append(meta.algs, alg)
		}
	}
	if len(meta.algs) == 0 {
		return nil, errors.New("no algorithm for ID tokens that is supported here")
	}
	if p.cfg.ClientSecret == "" {
		return meta, nil
	}
	// Discovery §3: the default is client_secret_basic.
	methods := doc.texts("token_endpoint_auth_methods_supported")
	meta.basic = len(methods) == 0 || slices.Contains(methods, "client_secret_basic")
	if !meta.basic && !slices.Contains(methods, "client_secret_post") {
		return nil, errors.New("the provider accepts no client secrets")
	}
	return meta, nil
}

// guarded returns client with answers that are whole or an error: a body that breaks off, is too long or comes
// too late, and a provider that says that it failed, all become the client's *[url.Error].
func guarded(client *http.Client) *http.Client {
	c := *client
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = guard{c.Transport}
	return &c
}

type guard struct{ base http.RoundTripper }

// A statusError is the status of an answer that says that the provider failed.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("answered %d", int(e)) }

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
		return nil, statusError(resp.StatusCode)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// A memo remembers the last value that fetch returned.
//
// While nothing newer can be had, a value is used until it is maxStale old.
type memo[T any] struct {
	fetch  func(context.Context) (T, error)
	now    func() time.Time
	flight singleflight.Group

	mu    sync.Mutex
	value T
	at    time.Time // zero: there is no value yet
}

// get returns a value at most age old; if none can be had, the last one, unless that is too old.
func (m *memo[T]) get(ctx context.Context, age time.Duration) (T, error) {
	m.mu.Lock()
	value, at := m.value, m.at
	m.mu.Unlock()
	if !at.IsZero() && m.now().Sub(at) < age {
		return value, nil
	}
	fresh, err := m.refresh(ctx)
	if err != nil && !at.IsZero() && m.now().Sub(at) < maxStale {
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
