package client

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/dpop"
)

// RemoteConfig configures [Remote].
type RemoteConfig struct {
	// Server is the URL of the issuer's listener for operators, the setting admin_url.
	Server string
	// ClientID is the client with the scope admin, and Key signs its assertions, under KID.
	ClientID string
	Key      crypto.Signer
	KID      string
	// Base sends the requests. Nil means [http.DefaultTransport].
	Base http.RoundTripper
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// Remote returns the admin API of an issuer over the network. It gets an access token with the first request, and another one when that
// expires. The token is bound to a key that lives as long as the process and is stored nowhere: the key of the client only signs
// assertions.
//
// Beside those of [Admin], its errors are a [*NotAdminError], a [*NoScopeError] and a [*ClockError].
func Remote(cfg RemoteConfig) (Admin, error) {
	u, err := url.Parse(cfg.Server)
	switch {
	case err != nil || u.Host == "" || !Safe(cfg.Server):
		return Admin{}, errors.New("the URL is not https, nor http on this machine")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return Admin{}, errors.New("the URL has more than a host and a port")
	}
	if cfg.Base == nil {
		cfg.Base = http.DefaultTransport
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Admin{}, err
	}
	signer, err := dpop.NewSigner(key, "")
	if err != nil {
		return Admin{}, err
	}
	r := &remote{RemoteConfig: cfg, server: u.Scheme + "://" + u.Host}
	r.proving = &dpop.Transport{Signer: signer, Base: (*clockwatch)(r), Now: cfg.Now}
	c := &http.Client{Timeout: adminTimeout, Transport: r, CheckRedirect: noRedirect}
	return Admin{r.server, url.URL{Scheme: u.Scheme, Host: u.Host}, c}, nil
}

// noRedirect leaves redirects alone: a token is for one server.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// A NotAdminError tells that a URL is not that of an issuer's listener for operators.
type NotAdminError struct{ Server, Reason string }

func (e *NotAdminError) Error() string {
	return e.Server + " is not the listener for operators of an issuer: " + e.Reason
}

// A NoScopeError tells that a client may not administer the issuer.
type NoScopeError struct{ ClientID string }

func (e *NoScopeError) Error() string {
	return "the client " + e.ClientID + " is not registered for the scope admin"
}

// A ClockError tells that the issuer refuses what this machine signs, and that the clocks differ. Ahead is how far the server is ahead.
type ClockError struct {
	Ahead time.Duration
	Err   error
}

func (e *ClockError) Error() string {
	if e.Ahead < 0 {
		return fmt.Sprintf("the clock of this machine is %v ahead of the issuer's", -e.Ahead)
	}
	return fmt.Sprintf("the clock of this machine is %v behind the issuer's", e.Ahead)
}

func (e *ClockError) Unwrap() error { return e.Err }

// A remote adds an access token and a proof to each request. It is safe for concurrent use.
type remote struct {
	RemoteConfig
	server  string // its origin
	proving *dpop.Transport

	mu    sync.Mutex
	token string
	until time.Time // when the token is replaced

	watch sync.Mutex
	ahead time.Duration // how far the server's clock was ahead in its last answer
}

// RoundTrip sends a request with a token and a proof.
func (r *remote) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := r.access(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "DPoP "+token)
	return r.proving.RoundTrip(req)
}

// early is how long before its end a token is replaced.
const early = 30 * time.Second

// access returns a token that is good for a while.
func (r *remote) access(ctx context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.token != "" && r.Now().Before(r.until) {
		return r.token, nil
	}
	issuer, err := r.issuer(ctx)
	if err != nil {
		return "", err
	}
	h := &http.Client{Timeout: adminTimeout, Transport: r.proving, CheckRedirect: noRedirect}
	meta, err := Discover(ctx, h, issuer)
	if err != nil {
		return "", err
	}
	c := &Client{Server: meta, ID: r.ClientID, Key: r.Key, KID: r.KID, HTTP: h, Now: r.Now}
	tokens, err := c.Token(ctx, url.Values{"grant_type": {"client_credentials"}, "scope": {"admin"}, "resource": {issuer}})
	if err != nil {
		return "", r.refused(err)
	}
	r.token, r.until = tokens.AccessToken, r.Now().Add(time.Duration(tokens.ExpiresIn)*time.Second-early)
	return r.token, nil
}

// issuer asks the listener which issuer gives tokens for it (RFC 9728 §3).
func (r *remote) issuer(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server+"/.well-known/oauth-protected-resource", nil)
	if err != nil {
		return "", err
	}
	var m struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Scopes   []string `json:"scopes_supported"`
	}
	h := &http.Client{Timeout: adminTimeout, Transport: (*clockwatch)(r), CheckRedirect: noRedirect}
	err = send(h, req, maxAnswer, &m)
	refused := (*Error)(nil)
	switch {
	case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Description != "" &&
		refused.Status != http.StatusNotFound:
		return "", &NotAdminError{r.server, refused.Description}
	case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError:
		return "", &NotAdminError{r.server, "it has no metadata of a protected resource"}
	case errors.As(err, new(*url.Error)) || refused != nil:
		return "", err
	case err != nil:
		return "", &NotAdminError{r.server, "its metadata cannot be read"}
	case m.Resource != r.server: // RFC 9728 §3.3
		return "", &NotAdminError{r.server, "its metadata is that of " + m.Resource}
	case len(m.Servers) != 1 || !Safe(m.Servers[0]) || len(m.Scopes) != 1 || m.Scopes[0] != "admin":
		return "", &NotAdminError{r.server, "its metadata names another scope, or no issuer"}
	}
	return m.Servers[0], nil
}

// maxAhead is a difference of the clocks that explains a refusal.
const maxAhead = 30 * time.Second

// refused explains why the issuer gave no token.
func (r *remote) refused(err error) error {
	refused := (*Error)(nil)
	if !errors.As(err, &refused) {
		return err
	}
	r.watch.Lock()
	ahead := r.ahead
	r.watch.Unlock()
	switch {
	case refused.Code == "invalid_scope":
		return &NoScopeError{r.ClientID}
	case (refused.Code == "invalid_client" || refused.Code == "invalid_dpop_proof") && ahead.Abs() >= maxAhead:
		return &ClockError{ahead.Round(time.Second), err}
	}
	return err
}

// A clockwatch sends requests, and notes how the clock of the answers differs from that of this machine.
type clockwatch remote

func (c *clockwatch) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := c.Base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		c.watch.Lock()
		c.ahead = date.Sub(c.Now())
		c.watch.Unlock()
	}
	return resp, nil
}
