// Package login logs a user in at an OpenID provider (OpenID Connect Core 1.0 §3.1, the authorization code flow,
// with PKCE and RFC 9207).
//
// [Provider.Begin] returns the URL to send the browser to, and a [Pending] to store until the browser returns. [Provider.Finish]
// takes the Pending and the query of the callback, and returns an [Identity]. The caller ties a pending login to the browser that
// began it, and lets each be finished once. The package caches only the provider's metadata and keys.
//
// [Provider.Refresh] asks the provider later whether a login still stands (§12).
//
// [Provider.Logout] verifies the logout tokens of the provider (OpenID Connect Back-Channel Logout 1.0).
//
// It creates no user: whether an identity is known, or may have the handle it claims, is decided elsewhere.
package login

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
	"github.com/imidentity/issuer/internal/random"
)

// ErrUnavailable is wrapped by errors that are not about the user: the provider could not be reached, did not answer in time, failed,
// or must not be asked again yet. The login can be tried again.
var ErrUnavailable = errors.New("login: provider unavailable")

// ErrCodeSent is wrapped beside [ErrUnavailable] if the provider may have taken the code before it failed. A code must not
// be sent again (RFC 6749 §4.1.2): such a login is tried again from [Provider.Begin] on.
var ErrCodeSent = errors.New("login: the code may be spent")

// ErrCodeRefused is wrapped by the [*Rejected] error of a code that the provider does not accept: usually it has expired, or
// was used before.
var ErrCodeRefused = errors.New("login: the provider does not accept the code")

// ErrEnded is returned by [Provider.Refresh] if the provider says that the login does not stand any more.
var ErrEnded = errors.New("login: ended by the provider")

// ErrTokenSent is wrapped by errors of [Provider.Refresh] if the provider may have replaced the refresh token, and the new one is lost.
var ErrTokenSent = errors.New("login: the refresh token may be replaced")

// A Refused is the provider's answer that it does not log the user in (RFC 6749 §4.1.2.1, OpenID Connect Core §3.1.2.6). Both fields
// are short and printable ASCII; the provider chose their text.
type Refused struct {
	Code        string // "access_denied", "login_required", ...
	Description string // may be empty
}

func (e *Refused) Error() string {
	if e.Description == "" {
		return "login: refused by the provider: " + e.Code
	}
	return "login: refused by the provider: " + e.Code + ": " + e.Description
}

// A Rejected reports a response that is not valid. Its text contains no code, token or secret.
type Rejected struct {
	// Part is what was wrong: "callback", "state", "iss", "code", "id_token", "nonce", "auth_time", "userinfo",
	// "logout_token", "refresh_token" or "claims".
	Part string
	Err  error
}

func (e *Rejected) Error() string { return "login: " + e.Part + ": " + e.Err.Error() }

// Unwrap returns the fault itself.
func (e *Rejected) Unwrap() error { return e.Err }

func rejected(part, format string, args ...any) error {
	return &Rejected{Part: part, Err: fmt.Errorf(format, args...)}
}

// Config describes one provider.
type Config struct {
	// ID names the provider within the service, as in the callback's path. Required.
	ID string
	// Name is shown to users. Empty means ID.
	Name string
	// Domain is the domain whose users log in at this provider.
	Domain string
	// Issuer is the provider's issuer identifier. Its metadata is published below that URL. Required.
	Issuer string
	// ClientID and ClientSecret are this service's registration at the provider. A public client has no secret.
	ClientID, ClientSecret string
	// Scopes are requested; "openid" is added if it is missing. Nil means openid and profile.
	Scopes []string
	// Refresh asks for a refresh token at each login, for [Provider.Refresh]: by the scope offline_access, if the provider offers it.
	Refresh bool
	// NoConsent leaves out prompt=consent from requests with the scope offline_access, for providers that do not need it.
	NoConsent bool
	// RedirectURL is where the provider sends the browser back to. Required.
	RedirectURL string
	// SubjectClaim names the claim of ID tokens that identifies a user for ever, as sub does (OpenID Connect Core §5.7). It is read from ID
	// tokens alone. Empty means sub.
	SubjectClaim string
	// HandleClaim names the claim that proposes a handle. Empty means preferred_username.
	HandleClaim string
	// UserClaim names the claim that contains the user's id. Empty means that ids are generated. If it is set, an
	// identity without that claim is rejected.
	UserClaim string
	// AuthoritativeHandles means that this provider's handles are used as they are.
	AuthoritativeHandles bool
	// Rand is the source of states, nonces and verifiers. Nil means [rand.Reader].
	Rand io.Reader
}

// A Provider logs users in at one OpenID provider. Its methods may be called by several goroutines.
type Provider struct {
	cfg    Config
	client *http.Client
	now    func() time.Time
	meta   *published.Cache[*metadata]
	keys   *keySet
}

// New returns the provider that cfg describes, without any request to it. All requests go through client, which must
// limit their time, their size and the hosts it connects to. A nil now means [time.Now].
func New(cfg Config, client *http.Client, now func() time.Time) (*Provider, error) {
	for name, value := range map[string]string{"id": cfg.ID, "issuer": cfg.Issuer, "client id": cfg.ClientID,
		"redirect URL": cfg.RedirectURL} {
		if value == "" {
			return nil, fmt.Errorf("login: provider %q: %s is missing", cfg.ID, name)
		}
	}
	if err := checkURL(cfg.Issuer, ""); err != nil {
		return nil, fmt.Errorf("login: provider %q: issuer: %w", cfg.ID, err)
	}
	if client == nil {
		return nil, fmt.Errorf("login: provider %q: no HTTP client", cfg.ID)
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"openid", "profile"}
	} else if !slices.Contains(cfg.Scopes, "openid") {
		cfg.Scopes = append([]string{"openid"}, cfg.Scopes...)
	}
	cfg.SubjectClaim = cmp.Or(cfg.SubjectClaim, subjectClaim)
	if err := jose.CheckCase(cfg.SubjectClaim, appBinding); err != nil {
		return nil, fmt.Errorf("login: provider %q: subject claim: %w", cfg.ID, err)
	}
	cfg.HandleClaim = cmp.Or(cfg.HandleClaim, "preferred_username")
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if now == nil {
		now = time.Now
	}
	p := &Provider{cfg: cfg, client: guarded(client), now: now}
	p.meta = cached(p.discover, now)
	p.keys = &keySet{cached(p.fetchKeys, now)}
	return p, nil
}

// ID returns the provider's name within the service.
func (p *Provider) ID() string { return p.cfg.ID }

// Name returns the provider's name for users.
func (p *Provider) Name() string { return cmp.Or(p.cfg.Name, p.cfg.ID) }

// Issuer returns the provider's issuer identifier, which is the Issuer of each [Identity].
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Domain returns the domain whose users log in at this provider.
func (p *Provider) Domain() string { return p.cfg.Domain }

// AuthoritativeHandles reports whether this provider's handles are used as they are.
func (p *Provider) AuthoritativeHandles() bool { return p.cfg.AuthoritativeHandles }

// checkURL accepts an absolute http or https URL with a host and without a fragment; only https if base is https.
func checkURL(raw, base string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Fragment != "" || u.User != nil:
		return errors.New("not an absolute URL")
	case u.Scheme != "https" && (u.Scheme != "http" || isHTTPS(base)):
		return errors.New("not an https URL")
	}
	return nil
}

func isHTTPS(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && u.Scheme == "https"
}

// secret returns 256 random bits in base64url.
func (p *Provider) secret() (string, error) {
	text, err := random.Text(p.cfg.Rand, 32)
	if err != nil {
		return "", fmt.Errorf("login: %w", err)
	}
	return text, nil
}
