// Package recheck asks OpenID providers whether logins still stand, with the refresh tokens that they gave at the logins (RFC 6749 §6,
// OpenID Connect Core 1.0 §12). So a person who was disabled at the provider is logged out here, even if the provider reports nothing.
//
// [Checker.Keep] seals the refresh token of a login. It is a record of storage, which sessions that came from the login name.
// [Checker.Check] is called before a session is refreshed. If the last check was longer ago than the policy says, it asks the provider:
//
//	the provider                                      the session
//	gives new tokens                                  goes on
//	refuses the refresh token                         ends, with all that came from the login
//	cannot be asked, or its answer is not valid       goes on for the grace of the policy; then every refresh is an outage
//	refuses it after an answer to it was lost         goes on for the grace, then ends
//	gave no refresh token at the login                is not checked or, if the policy requires it, ends when the check is due
//
// A provider may replace the token at each use, and may end the login when it sees a replaced token again. So of all requests and nodes,
// one asks at a time: it first writes that it does. If it stops before it has written the answer, the record shows that the provider may
// have replaced the token. Then a refusal does not tell whether the person is gone or only the token.
package recheck

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/internal/random"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/login"
	"github.com/imidentity/issuer/storage"
)

// A Policy says when sessions of logins at a provider are checked.
type Policy struct {
	// Every is how long a check is good for.
	Every time.Duration
	// Grace is how long sessions go on after a check is due while the provider cannot be asked.
	Grace time.Duration
	// Required ends sessions that have no refresh token when a check is due.
	Required bool
}

// A Provider is an OpenID provider. [login.Provider] is one.
type Provider interface {
	Domain() string
	Issuer() string
	Refresh(ctx context.Context, token login.RefreshToken) (login.RefreshToken, error)
}

// A Store is the part of [storage.Store] that checks need.
type Store interface {
	UpstreamToken(ctx context.Context, id string) (storage.UpstreamToken, error)
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Result is how a check went.
type Result string

// The results of checks.
const (
	Valid       Result = "valid"       // the login stands
	Refused     Result = "refused"     // the provider refused the token: the login ended
	Unavailable Result = "unavailable" // the provider could not be asked, or not again yet
	Invalid     Result = "invalid"     // the answer of the provider is not valid
	Lost        Result = "lost"        // the provider refused the token after it may have replaced it
	NoToken     Result = "no_token"    // a login gave no refresh token
)

// Results lists all of them.
var Results = []Result{Valid, Refused, Unavailable, Invalid, Lost, NoToken}

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	Store    Store
	Accounts *account.Accounts
	// Providers are the OpenID providers by their ids, and Policies the policies of those whose logins are checked.
	Providers map[string]Provider
	Policies  map[string]Policy
	// Key is the secret under which refresh tokens are sealed.
	Key [32]byte
	// TokenLife is the longest life of an access token.
	TokenLife time.Duration
	// Timeout bounds a question to a provider. Zero means five seconds.
	Timeout time.Duration
	// Revoked is told of revocations as soon as they are durable. Nil tells nobody.
	Revoked func(...storage.Revocation)
	// Count is told the result of each check. Nil counts nothing.
	Count func(provider string, r Result)
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes ids. Nil means [rand.Reader].
	Rand io.Reader
	// Log is told of checks that failed. Nil discards that.
	Log *slog.Logger
}

// A Checker checks sessions. Its methods are safe for concurrent use.
type Checker struct {
	cfg    Config
	sealer *keys.Sealer
	// required are the policies that require checks, by domain and issuer of the provider.
	required map[[2]string]string

	mu      sync.Mutex
	flights map[string]*flight   // questions that this process asks now, by the id of the token
	pauses  map[string]time.Time // until when providers are not asked, because they did not answer
}

// New returns a checker.
func New(cfg Config) (*Checker, error) {
	if cfg.Store == nil || cfg.Accounts == nil || cfg.Key == [32]byte{} || cfg.TokenLife <= 0 {
		return nil, errors.New("recheck: Config needs Store, Accounts, Key and TokenLife")
	}
	c := &Checker{
		cfg: cfg, sealer: keys.NewSealer(cfg.Key), required: make(map[[2]string]string),
		flights: make(map[string]*flight), pauses: make(map[string]time.Time),
	}
	for id, policy := range cfg.Policies {
		p, ok := cfg.Providers[id]
		if !ok || policy.Every <= 0 || policy.Grace < 0 {
			return nil, fmt.Errorf("recheck: the policy of provider %q needs a provider and durations", id)
		}
		if policy.Required {
			c.required[[2]string{p.Domain(), p.Issuer()}] = id
		}
	}
	c.cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	if cfg.Revoked == nil {
		c.cfg.Revoked = func(...storage.Revocation) {}
	}
	if cfg.Count == nil {
		c.cfg.Count = func(string, Result) {}
	}
	if cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		c.cfg.Rand = rand.Reader
	}
	if cfg.Log == nil {
		c.cfg.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// Keep returns the record of the refresh token of a login at a provider, sealed. The caller stores it, with the user, in the transaction
// that stores what comes from the login. It returns nil if logins of the provider are not checked, or if the provider gave no token.
func (c *Checker) Keep(provider string, id login.Identity) (*storage.UpstreamToken, error) {
	p, ok := c.cfg.Providers[provider]
	if _, checked := c.cfg.Policies[provider]; !ok || !checked {
		return nil, nil
	}
	if id.Refresh.Token == "" {
		c.cfg.Count(provider, NoToken)
		c.cfg.Log.Warn("the OpenID provider gave no refresh token: the login cannot be checked again", slog.String("provider", provider))
		return nil, nil
	}
	name, err := random.Text(c.cfg.Rand, 16)
	if err != nil {
		return nil, fmt.Errorf("recheck: %w", err)
	}
	now := c.cfg.Now()
	u := &storage.UpstreamToken{ID: name, Domain: p.Domain(), Provider: provider, CreatedAt: now, CheckedAt: now}
	if u.Sealed, err = c.seal(*u, id.Refresh); err != nil {
		return nil, err
	}
	return u, nil
}

// sealedAs binds a sealed token to its record.
func sealedAs(u storage.UpstreamToken) string {
	return "upstream token " + u.ID + " of " + u.Provider + " of " + u.Domain
}

func (c *Checker) seal(u storage.UpstreamToken, token login.RefreshToken) ([]byte, error) {
	text, err := json.Marshal(token)
	if err == nil {
		text, err = c.sealer.Seal(sealedAs(u), text)
	}
	if err != nil {
		return nil, fmt.Errorf("recheck: seal a token: %w", err)
	}
	return text, nil
}

func (c *Checker) unseal(u storage.UpstreamToken) (token login.RefreshToken, err error) {
	text, err := c.sealer.Open(sealedAs(u), u.Sealed)
	if err == nil {
		err = json.Unmarshal(text, &token)
	}
	if err != nil {
		return login.RefreshToken{}, fmt.Errorf("recheck: open a token: %w", err)
	}
	return token, nil
}
