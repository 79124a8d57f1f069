package introspect

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/feed"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/internal/published"
)

// Defaults for the zero values of [ClientConfig].
const (
	DefaultTimeout      = 10 * time.Second
	DefaultMaxAge       = time.Minute
	DefaultRefusalAge   = time.Second
	DefaultCacheEntries = 50_000
	DefaultCacheBytes   = 128 << 20
	DefaultMaxAnswer    = 64 << 10
	DefaultMaxPending   = 10_000
	DefaultParallel     = 8
)

// ClientConfig configures a [Client]. A client authenticates in one of three ways: with ClientID and Secret, with ClientID and
// Assertion, or with Token and Signer.
type ClientConfig struct {
	// Issuer is the issuer's URL, as it is in its metadata (RFC 8414 §2). Required.
	Issuer string
	// HTTP sends the requests. Redirects are refused, whatever it does with them. Nil means a client of its own.
	HTTP *http.Client
	// AllowLoopback permits http for an issuer and endpoints on a loopback address, for development and tests. All other URLs are
	// https.
	AllowLoopback bool

	// ClientID and Secret are sent by HTTP Basic (RFC 6749 §2.3.1).
	ClientID, Secret string
	// Assertion makes a client assertion for the issuer (RFC 7523 §2.2), a new one for each call.
	Assertion func(ctx context.Context) (string, error)
	// Token returns the caller's own access token, which is for the issuer alone and bound to the key of Signer. It is called for
	// each request and should keep the token until it has to be renewed. All tokens that it returns must be for the same caller.
	Token  func(ctx context.Context) (string, error)
	Signer *dpop.Signer

	// AllowUnproven permits questions without a proof or presentation. Their answers do not say who showed the token: the program
	// must check that itself, with the key in [Answer.Confirmation].
	AllowUnproven bool

	// Signed demands signed answers (RFC 9701). Signed answers are verified in any case.
	Signed bool
	// Audience is the aud of signed answers: the caller. Nil means ClientID. A caller with a token of its own is the user's URI or,
	// for a client of a peer, its id and its issuer.
	Audience Audience

	// MaxAge is how long an active answer is kept at most; it is never kept for longer than its own max_age says. Zero means
	// [DefaultMaxAge], and a negative value keeps none.
	MaxAge time.Duration
	// RefusalAge is how long the answer is kept that a token is not active. Zero means [DefaultRefusalAge], and a negative value
	// keeps none.
	RefusalAge time.Duration
	// Grace is for how long an active answer may still be used after its age, while the issuer cannot answer: a result with it is
	// marked as Stale. Never after the token has expired. Zero means that it is not used.
	Grace time.Duration
	// CacheEntries and CacheBytes bound what is kept. The oldest goes first. Zero means [DefaultCacheEntries] and
	// [DefaultCacheBytes].
	CacheEntries, CacheBytes int

	// Follower follows the revocations of the same issuer, for the same caller, so that no answer is used that an event has
	// ended. Its Run is for the program to call. Nil means that answers are only as new as their age.
	Follower *feed.Follower
	// FollowedAge is how long an active answer is kept in place of its max_age, while Follower is told of all that could end it.
	// Zero means no longer than without a Follower.
	FollowedAge time.Duration

	// Timeout bounds a request. Zero means [DefaultTimeout].
	Timeout time.Duration
	// MaxAnswer is how many bytes the answer about a token may have. Zero means [DefaultMaxAnswer].
	MaxAnswer int
	// MaxPending is how many different questions may wait at once, and Parallel how many requests are sent at once for those that
	// may be joined. Zero means [DefaultMaxPending] and [DefaultParallel].
	MaxPending, Parallel int
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Client asks one issuer about access tokens (RFC 7662), as one caller. It keeps answers for as long as they allow, joins equal
// questions that are asked at the same time, and sends different ones together if the issuer answers several at once. It never does so
// with questions that have a proof or a presentation: their answers are for one use.
//
// An inactive token is a result, not an error. The errors are [ErrUnproven], [ErrCaller] for a request that the issuer refuses, and
// [ErrUnknown], which means that it is not known now whether the token is active. No error has a token or a secret in it. A Client is
// safe for concurrent use.
type Client struct {
	cfg   ClientConfig
	http  *http.Client
	meta  *published.Cache[*clientMetadata]
	keys  *published.Cache[map[string]jose.Key]
	salt  [sha256.Size]byte
	cache answerCache

	mu      sync.Mutex
	pending map[answerKey]*asking
	queue   []*asking
	senders int
}

// A Result is what is known about a token.
type Result struct {
	// Answer is the issuer's. Its slices and pointers are shared with other results: do not write to them.
	Answer Answer
	// Stale says that the issuer cannot answer now, and that the answer is older than it should be: see [ClientConfig.Grace].
	Stale bool
}

// ErrUnproven is returned for a question without a proof or presentation, unless [ClientConfig.AllowUnproven] permits it.
var ErrUnproven = errors.New("introspect: the question has neither a proof nor a presentation")

// NewClient returns a Client. It sends nothing until it is asked.
func NewClient(cfg ClientConfig) (*Client, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, cache: answerCache{entries: cfg.CacheEntries, bytes: cfg.CacheBytes}, pending: make(map[answerKey]*asking)}
	plain := *cfg.HTTP
	plain.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	asks := plain
	var key string
	if cfg.Signer != nil {
		asks.Transport, key = &dpop.Transport{Signer: cfg.Signer, Base: plain.Transport, Now: cfg.Now}, cfg.Signer.JKT()
	}
	c.http = &asks
	identity, _ := json.Marshal([]string{cfg.Issuer, cfg.ClientID, key}) // strings have an encoding
	c.salt = sha256.Sum256(identity)
	c.discover(&plain)
	return c, nil
}

// complete checks the configuration, and fills in the defaults.
func (cfg *ClientConfig) complete() error {
	if err := checkURL(cfg.Issuer, cfg.AllowLoopback); err != nil || strings.ContainsAny(cfg.Issuer, "?#") {
		return errors.New("introspect: ClientConfig.Issuer is not the URL of an issuer: https, without query and fragment")
	}
	ways := 0
	for _, given := range []bool{cfg.Secret != "", cfg.Assertion != nil, cfg.Token != nil} {
		if given {
			ways++
		}
	}
	switch {
	case ways != 1:
		return errors.New("introspect: ClientConfig: one of Secret, Assertion and Token is required")
	case (cfg.Token != nil) != (cfg.Signer != nil):
		return errors.New("introspect: ClientConfig.Token goes with Signer")
	case cfg.Token == nil && cfg.ClientID == "":
		return errors.New("introspect: ClientConfig.ClientID is required")
	}
	if cfg.Audience == nil && cfg.Token == nil {
		cfg.Audience = Audience{cfg.ClientID}
	}
	if cfg.Signed && len(cfg.Audience) == 0 {
		return errors.New("introspect: ClientConfig.Signed needs Audience")
	}
	for _, d := range []time.Duration{cfg.Grace, cfg.FollowedAge, cfg.Timeout} {
		if d < 0 {
			return errors.New("introspect: ClientConfig: Grace, FollowedAge and Timeout must not be negative")
		}
	}
	for _, n := range []int{cfg.CacheEntries, cfg.CacheBytes, cfg.MaxAnswer, cfg.MaxPending, cfg.Parallel} {
		if n < 0 {
			return errors.New("introspect: ClientConfig: the bounds must not be negative")
		}
	}
	if cfg.FollowedAge > 0 && cfg.Follower == nil {
		return errors.New("introspect: ClientConfig.FollowedAge goes with Follower")
	}
	cfg.MaxAge, cfg.RefusalAge = cmp.Or(cfg.MaxAge, DefaultMaxAge), cmp.Or(cfg.RefusalAge, DefaultRefusalAge)
	cfg.CacheEntries, cfg.CacheBytes = cmp.Or(cfg.CacheEntries, DefaultCacheEntries), cmp.Or(cfg.CacheBytes, DefaultCacheBytes)
	cfg.Timeout, cfg.MaxAnswer = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.MaxAnswer, DefaultMaxAnswer)
	cfg.MaxPending, cfg.Parallel = cmp.Or(cfg.MaxPending, DefaultMaxPending), cmp.Or(cfg.Parallel, DefaultParallel)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: cfg.Timeout,
			MaxIdleConnsPerHost: 2 * cfg.Parallel, IdleConnTimeout: 90 * time.Second,
		}}
	}
	return nil
}

// Introspect returns what the issuer says about a token. If the question has a proof or a presentation, an active answer says that the
// holder of the token's key showed it. The errors are those of [Client]; if ctx ends first, that is an [ErrUnknown], too.
func (c *Client) Introspect(ctx context.Context, q Question) (Result, error) {
	shown := q.Shown.given()
	if !shown && !c.cfg.AllowUnproven {
		return Result{}, ErrUnproven
	}
	if err := q.Shown.complete(); err != nil {
		return Result{}, err
	}
	single := !shown && len(q.Along) == 0
	var key answerKey
	if single && len(q.Token) <= maxToken {
		key = c.answerKey(q.Token)
		if r, ok := c.kept(key); ok {
			return r, nil
		}
	}
	switch {
	case !isToken(q.Token):
		return Result{}, nil // the same answer as for every other text that is no token
	case !single:
		return c.direct(ctx, q)
	}
	a, err := c.join(key, q.Token)
	if err != nil {
		return Result{}, err
	}
	return c.wait(ctx, a)
}

// An Asked is what became of one token of [Client.IntrospectAll].
type Asked struct {
	Result
	// Err is nil, or an error of [Client]: the result then means nothing.
	Err error
}

// IntrospectAll asks about many tokens at once, such as those of all members of a room, and returns what became of each, in their
// order. It is for clients with AllowUnproven: the questions have no proofs. Of equal tokens, and of those whose answers are kept, the
// issuer is not asked again.
func (c *Client) IntrospectAll(ctx context.Context, tokens []string) ([]Asked, error) {
	if !c.cfg.AllowUnproven {
		return nil, ErrUnproven
	}
	out := make([]Asked, len(tokens))
	waits := make([]*asking, len(tokens))
	var keys []answerKey
	var texts []string
	var places []int
	for i, token := range tokens {
		if !isToken(token) {
			continue
		}
		key := c.answerKey(token)
		if r, ok := c.kept(key); ok {
			out[i].Result = r
			continue
		}
		keys, texts, places = append(keys, key), append(texts, token), append(places, i)
	}
	for n, a := range c.joinAll(keys, texts) {
		if waits[places[n]] = a; a == nil {
			out[places[n]].Err = errPending
		}
	}
	for i, a := range waits {
		if a != nil {
			out[i].Result, out[i].Err = c.wait(ctx, a)
		}
	}
	return out, nil
}

// Forget drops all answers that are kept.
func (c *Client) Forget() { c.cache.clear() }

// complete returns an error if something is missing that goes with what was shown.
func (s *Shown) complete() error {
	switch {
	case s.Proof != "" && s.Presentation != "":
		return errors.New("introspect: the question has a proof and a presentation")
	case s.Proof != "" && (s.Method == "" || s.URL == ""):
		return errors.New("introspect: a proof goes with the method and the URL of the request that it came with")
	case s.Presentation != "" && (s.Audience == "" || s.Nonce == ""):
		return errors.New("introspect: a presentation goes with an audience and a nonce")
	}
	return nil
}

// isToken reports whether a text may be an access token: of visible ASCII (RFC 6750 §2.1), and of a size that the issuer accepts.
func isToken(text string) bool {
	if text == "" || len(text) > maxToken {
		return false
	}
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
