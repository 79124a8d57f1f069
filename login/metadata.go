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
	"time"

	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

const (
	// publishedLife is how long the provider's metadata and keys are used before they are fetched again, and staleLife how
	// long they are used if that fails.
	publishedLife = time.Hour
	staleLife     = 24 * time.Hour

	maxAnswer = 1 << 20
)

// metadata is what the provider publishes about itself (OpenID Connect Discovery §3).
type metadata struct {
	authorize, token, jwks string
	userinfo               string   // may be empty
	algs                   []string // of ID tokens
	basic                  bool     // the client authenticates by HTTP Basic
	sendsIss               bool     // RFC 9207 §3
	offline                bool     // the scope offline_access is offered
}

// algorithms are the accepted signature algorithms of ID tokens. They do not include none and HMAC.
var algorithms = []string{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.PS256, jose.RS256}

// cached returns a cache of a document of the provider. After an outage the next login asks the provider again at once.
func cached[T any](fetch func(context.Context) (T, error), now func() time.Time) *published.Cache[T] {
	return published.New(published.Config[T]{Fetch: fetch, Fresh: publishedLife, Stale: staleLife, Retry: -1, Now: now})
}

// get returns a document of a cache that has what the caller needs, see [published.Cache.Get]. The error is
// [published.ErrAbsent] or wraps [ErrUnavailable].
func get[T any](ctx context.Context, c *published.Cache[T], has func(T) bool) (T, error) {
	doc, err := c.Get(ctx, has)
	if err != nil && !errors.Is(err, published.ErrAbsent) {
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return doc, err
}

// discover reads the provider's metadata (OpenID Connect Discovery §4). Members that are not read here may be of any type.
func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	ctx = fetch.For(ctx, fetch.ProviderMetadata)
	body, err := p.get(ctx, strings.TrimSuffix(p.cfg.Issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	doc, err := lenientMembers(body)
	if err != nil {
		return nil, errors.New("discovery: not a JSON object")
	}
	meta, err := p.parseMetadata(doc)
	if err != nil {
		return nil, fmt.Errorf("discovery: %w", err)
	}
	return meta, nil
}

func (p *Provider) parseMetadata(doc members) (*metadata, error) {
	if doc.text("issuer") != p.cfg.Issuer { // Discovery §4.3
		return nil, fmt.Errorf("issuer is %.200q, not %q", doc.text("issuer"), p.cfg.Issuer)
	}
	meta := &metadata{
		sendsIss: doc.flag("authorization_response_iss_parameter_supported"),
		offline:  slices.Contains(doc.texts("scopes_supported"), scopeOffline),
	}
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

// guarded returns a client whose answers are complete, or an error: a body that is truncated, too long or too late, and a status of
// failure, all become the client's *[url.Error].
func guarded(client *http.Client) *http.Client {
	c := *client
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = guard{c.Transport}
	return &c
}

type guard struct{ base http.RoundTripper }

// A statusError is the status of an answer with which the provider reports a failure.
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
