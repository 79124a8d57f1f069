package edge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"sync"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/gateway"
	"github.com/imidentity/issuer/internal/assertion"
	"github.com/imidentity/issuer/internal/client"
	"github.com/imidentity/issuer/internal/config"
	"github.com/imidentity/issuer/internal/fetch"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
	"github.com/imidentity/issuer/introspect"
)

// A home is the gateway's own client at the issuer of its domain. It asks that issuer about its tokens, and gets tokens there with which
// it asks the issuers of other domains.
type home struct {
	cfg         config.Home
	development bool
	known       func(issuer string) bool // whether the issuer is trusted
	kid         string                   // of cfg.Key
	signer      *dpop.Signer             // the key that the gateway's own tokens are bound to
	plain       *http.Client             // without proofs
	proven      *http.Client             // with proofs by signer
	asking      *http.Client             // for the issuers of others
	now         func() time.Time
	feed        *gateway.Feed // nil if it is not followed

	mu     sync.Mutex
	askers map[string]*introspect.Client // by issuer
}

// openHome makes the client of the settings. It keeps the one before, with its tokens and its feed, if nothing about it has changed.
func (i *Instance) openHome(s, before *state, plain, foreign *http.Client) error {
	cfg := s.cfg.Home
	if cfg.Issuer == "" {
		return nil
	}
	known := func(issuer string) bool {
		_, err := i.state.Load().table.Domains(issuer)
		return err == nil
	}
	if before != nil && before.home != nil && reflect.DeepEqual(cfg, before.home.cfg) &&
		reflect.DeepEqual(s.cfg.Outbound, before.cfg.Outbound) {
		s.home = before.home
		return nil
	}
	key, err := newKey()
	if err != nil {
		return err
	}
	signer, err := dpop.NewSigner(key.Signer, "")
	if err != nil {
		return err
	}
	h := &home{
		cfg: cfg, development: s.cfg.Development, known: known, signer: signer, plain: plain, now: i.now,
		askers: make(map[string]*introspect.Client),
	}
	h.proven = &http.Client{
		Transport: &dpop.Transport{Signer: signer, Base: plain.Transport, Now: i.now},
		Timeout:   plain.Timeout, CheckRedirect: plain.CheckRedirect,
	}
	origins := func() map[string]bool { return issuerOrigins(i.state.Load().cfg) } // the peers change, and the home stays
	h.asking = &http.Client{
		Transport: byOrigin{origins: origins, listed: plain.Transport, foreign: foreign.Transport},
		Timeout:   plain.Timeout, CheckRedirect: plain.CheckRedirect,
	}
	if cfg.Key != nil {
		if h.kid, err = jose.Thumbprint(cfg.Key.Public()); err != nil {
			return err
		}
	}
	if cfg.Feed {
		if err := h.openFeed(i.log); err != nil {
			return err
		}
	}
	s.home = h
	return nil
}

// openFeed prepares the feed of revocations of the issuer. A client with a secret shows that, and one with a key a token of its own.
func (h *home) openFeed(log *slog.Logger) error {
	cfg := feed.FollowerConfig{Issuer: h.cfg.Issuer, Now: h.now, Trouble: func(err error) {
		log.Warn("the feed of revocations", slog.String("issuer", h.cfg.Issuer), slog.Any("error", err))
	}}
	// The time limit of the client is shorter than an issuer may be silent.
	patient := http.Client{Transport: h.plain.Transport, CheckRedirect: h.plain.CheckRedirect}
	if h.cfg.Key == nil {
		cfg.Authorize = func(r *http.Request) error {
			r.SetBasicAuth(url.QueryEscape(h.cfg.ClientID), url.QueryEscape(string(h.cfg.Secret)))
			return nil
		}
	} else {
		patient.Transport = h.proven.Transport
		token := h.token(h.cfg.Issuer, "feed")
		cfg.Authorize = func(r *http.Request) error {
			text, err := token(r.Context())
			r.Header.Set("Authorization", "DPoP "+text)
			return err
		}
	}
	cfg.Client = &patient
	var err error
	h.feed, err = gateway.Follow(cfg)
	return err
}

// feedOf returns the feed of an issuer, for [gateway.Config].
func (h *home) feedOf(issuer string) *gateway.Feed {
	if issuer != h.cfg.Issuer {
		return nil
	}
	return h.feed
}

// ask returns the client for questions to an issuer, for [gateway.Config].
func (h *home) ask(issuer string) gateway.Asker {
	h.mu.Lock()
	defer h.mu.Unlock()
	if asker := h.askers[issuer]; asker != nil {
		return asker
	}
	unknown := func(issuer string) bool { return issuer != h.cfg.Issuer && !h.known(issuer) }
	if unknown(issuer) {
		return nil
	}
	asker, err := h.newAsker(issuer)
	if err != nil {
		return nil
	}
	// There is a client for each trusted issuer at most. With open discovery they come and go.
	maps.DeleteFunc(h.askers, func(issuer string, _ *introspect.Client) bool { return unknown(issuer) })
	h.askers[issuer] = asker
	return asker
}

// newAsker makes the client for questions to an issuer. It keeps no active answers: the policy of the route says for how long these count.
func (h *home) newAsker(issuer string) (*introspect.Client, error) {
	cfg := introspect.ClientConfig{
		Issuer: issuer, HTTP: h.plain, AllowLoopback: h.development, AllowUnproven: true, MaxAge: -1, Timeout: 5 * time.Second, Now: h.now,
	}
	switch {
	case issuer != h.cfg.Issuer:
		cfg.HTTP, cfg.Token, cfg.Signer = h.asking, h.token(issuer, "introspect"), h.signer
	case h.cfg.Key != nil:
		cfg.ClientID = h.cfg.ClientID
		cfg.Assertion = func(context.Context) (string, error) {
			return assertion.Sign(h.cfg.Key, h.kid, h.cfg.ClientID, issuer, h.now())
		}
	default:
		cfg.ClientID, cfg.Secret = h.cfg.ClientID, string(h.cfg.Secret)
	}
	if issuer == h.cfg.Issuer && h.feed != nil {
		cfg.Follower = h.feed.Follower()
	}
	return introspect.NewClient(cfg)
}

// renewBefore is how long before its end a token is renewed.
const renewBefore = 30 * time.Second

// token returns a function that returns the gateway's own token with a scope for one issuer (RFC 8707). The token is renewed as needed, by
// one request for all callers.
func (h *home) token(resource, scope string) func(context.Context) (string, error) {
	tokens := published.New(published.Config[client.Tokens]{
		Fetch: func(ctx context.Context) (client.Tokens, error) { return h.request(ctx, resource, scope) },
		Life: func(t client.Tokens, _ time.Time) (fresh, stale time.Duration) {
			life := time.Duration(t.ExpiresIn) * time.Second
			return life - renewBefore, life - renewBefore/3
		},
		Retry: time.Second, Now: h.now,
	})
	return func(ctx context.Context) (string, error) {
		t, err := tokens.Get(ctx, published.Any)
		if err != nil {
			return "", fmt.Errorf("get a token for %s from %s: %w", resource, h.cfg.Issuer, err)
		}
		return t.AccessToken, nil
	}
}

// request asks the home issuer for a token (RFC 6749 §4.4, RFC 9449 §5).
func (h *home) request(ctx context.Context, resource, scope string) (client.Tokens, error) {
	ctx = fetch.For(ctx, fetch.Token)
	server, err := client.Discover(ctx, h.plain, h.cfg.Issuer)
	if err != nil {
		return client.Tokens{}, err
	}
	c := client.Client{Server: server, ID: h.cfg.ClientID, Secret: string(h.cfg.Secret), Key: h.cfg.Key, KID: h.kid, HTTP: h.proven}
	return c.Token(ctx, url.Values{"grant_type": {"client_credentials"}, "resource": {resource}, "scope": {scope}})
}
