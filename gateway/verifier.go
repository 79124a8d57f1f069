package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/introspect"
	"github.com/imidentity/issuer/nested"
	"github.com/imidentity/issuer/statuslist"
)

// Trust knows the trusted issuers, their domains and their keys: a *[trust.Table]. If it has a method SpeaksFor, that is asked about new
// tokens, with the network of the client as the source. Its errors wrap those of package trust or, for a
// refusal, [claims.ErrIssuer] or [claims.ErrDomain]. Any other error means that the answer cannot be known now.
type Trust interface {
	nested.OtherKeySource // Key, OtherKey and Speaks
	// Domains returns the domains that an issuer may speak for, in canonical form.
	Domains(issuer string) ([]string, error)
}

// An Asker asks one issuer about tokens: an *[introspect.Client] with AllowUnproven, because the verifier checks the proofs itself.
type Asker interface {
	Introspect(ctx context.Context, q introspect.Question) (introspect.Result, error)
}

// A StatusReader looks up the status of tokens: a *[statuslist.Reader].
type StatusReader interface {
	Check(ctx context.Context, issuer string, ref statuslist.Reference) error
}

// Defaults for the zero values of [Config].
const (
	DefaultLeeway       = 30 * time.Second
	DefaultCacheEntries = 100_000
	DefaultCacheBytes   = 256 << 20
)

// Config configures a [Verifier].
type Config struct {
	// Trust tells which issuers may speak for which domain, and with which keys. Required.
	Trust Trust
	// Audience are the names of the services behind the verifier, such as im:a.example and https://chat.a.example. A token must be for
	// one of them. Required.
	Audience []string
	// OwnIssuers are the issuers of this provider. Tokens for users of other domains (`home_iss`) are accepted from them alone, and
	// only if Trust lets the home issuer speak for the domain of the user.
	OwnIssuers []string
	// Algorithms are the accepted signature algorithms of tokens. A token is verified by the algorithm of its key, which must be one of
	// them, whatever its header says. Nil means ES256, EdDSA and RS256, those of this project's issuer.
	Algorithms []string
	// Proofs checks proofs and remembers those that were used. Several processes share its replay store and its nonce secret. Nil means
	// a verifier of its own, with nonces and a store in memory: for one process.
	Proofs *dpop.Verifier

	// Ask returns the client for questions to an issuer, for policies with the mode [Introspect]. It is called for each question, and
	// returns nil for an issuer that cannot be asked. Nil means that none can.
	Ask func(issuer string) Asker
	// Statuses reads status lists, for policies with the mode [Status]. Nil means that none is read.
	Statuses StatusReader
	// Feed returns the feed of revocations of an issuer, and nil if it is not followed. It is called for each request. Nil means that
	// no feed is followed.
	Feed func(issuer string) *Feed

	// CacheEntries and CacheBytes bound how many verified tokens are kept, and about how many bytes they take. Zero means
	// [DefaultCacheEntries] and [DefaultCacheBytes]; a negative value keeps none.
	CacheEntries, CacheBytes int
	// Leeway is how far the clock of an issuer may be ahead. Zero means [DefaultLeeway], and a negative value none. There is no leeway
	// for the expiry of tokens.
	Leeway time.Duration
	// Development also accepts domains that are reserved for tests and examples, and domains of one label.
	Development bool
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Verifier decides about requests. It is safe for concurrent use.
type Verifier struct {
	cfg        Config
	algorithms string       // for challenges
	tables     *jose.Tables // of the keys of issuers, which sign all new tokens
	tokens     *recent[[32]byte, *token]
	devices    *recent[device, time.Time] // when the issuer last called a token of the device active
}

// New returns a verifier. It sends no request. The error names the field that is missing or wrong.
func New(cfg Config) (*Verifier, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	switch {
	case cfg.Trust == nil:
		return nil, errors.New("gateway: Config.Trust is required")
	case len(cfg.Audience) == 0:
		return nil, errors.New("gateway: Config.Audience is required: a token that is made for another service must not be accepted")
	case slices.Contains(cfg.Audience, ""):
		return nil, errors.New("gateway: Config.Audience: a name is empty")
	}
	cfg.Audience, cfg.OwnIssuers = slices.Clone(cfg.Audience), slices.Clone(cfg.OwnIssuers)
	if cfg.Algorithms == nil {
		cfg.Algorithms = []string{jose.ES256, jose.EdDSA, jose.RS256}
	}
	cfg.Algorithms = slices.Clone(cfg.Algorithms)
	for _, alg := range cfg.Algorithms {
		if !slices.Contains([]string{jose.ES256, jose.ES384, jose.ES512, jose.EdDSA, jose.Ed25519, jose.PS256, jose.RS256}, alg) {
			return nil, fmt.Errorf("gateway: Config.Algorithms: %q is not a signature algorithm that can be verified", alg)
		}
	}
	for _, issuer := range cfg.OwnIssuers {
		if issuer == "" {
			return nil, errors.New("gateway: Config.OwnIssuers: a URL is empty")
		}
	}
	switch {
	case cfg.Leeway == 0:
		cfg.Leeway = DefaultLeeway
	case cfg.Leeway < 0:
		cfg.Leeway = 0
	}
	if cfg.CacheEntries == 0 {
		cfg.CacheEntries = DefaultCacheEntries
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = DefaultCacheBytes
	}
	if cfg.Proofs == nil {
		var err error
		if cfg.Proofs, err = newProofs(cfg.Now); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	return &Verifier{
		cfg: cfg, algorithms: strings.Join(cfg.Proofs.Algorithms(), " "), tables: jose.NewTables(issuerTables, cfg.Now),
		tokens:  newRecent[[32]byte, *token](cfg.CacheEntries, cfg.CacheBytes),
		devices: newRecent[device, time.Time](cfg.CacheEntries, cfg.CacheBytes/4),
	}, nil
}

// How many keys have tables of their multiples, of 90 kB each.
const (
	issuerTables = 32
	clientTables = 64
)

// newProofs returns a verifier of proofs for one process.
func newProofs(now func() time.Time) (*dpop.Verifier, error) {
	var secret [32]byte
	rand.Read(secret[:]) // never fails
	nonces, err := dpop.NewNonces([][32]byte{secret}, now)
	if err != nil {
		return nil, err
	}
	replay, err := dpop.NewMemoryReplay(dpop.MemoryConfig{Now: now})
	if err != nil {
		return nil, err
	}
	return dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: replay, KeyTables: clientTables, Now: now})
}

// Supports returns an error if the policy demands something for which the verifier is not configured. A request under such a policy
// would be answered 503.
func (v *Verifier) Supports(p *Policy) error {
	if p == nil {
		return nil
	}
	switch p.cfg.Mode {
	case Introspect:
		if v.cfg.Ask == nil {
			return errors.New("gateway: the policy has the mode introspect, and Config.Ask is missing")
		}
	case Status:
		if v.cfg.Statuses == nil {
			return errors.New("gateway: the policy has the mode status, and Config.Statuses is missing")
		}
	}
	for _, name := range p.cfg.Audience {
		if !slices.Contains(v.cfg.Audience, name) {
			return fmt.Errorf("gateway: the policy is for the audience %s, which Config.Audience does not list", name)
		}
	}
	return nil
}

// Forget drops all tokens and devices that are kept. What was learned from feeds stays.
func (v *Verifier) Forget() {
	v.tokens.clear()
	v.devices.clear()
}

// A Request is a request to decide about.
type Request struct {
	// Method is that of the request, as received.
	Method string
	// URL is the public URL of the request, for which the client makes its proof: the origin is chosen by the configuration, never by
	// a header of the client. Query and fragment are ignored.
	URL string
	// Authorization and DPoP are the values of all lines of these headers: http.Header.Values.
	Authorization, DPoP []string
	// Source is the address of the client, by which the store of spent proofs is shared out; the zero Addr if it is not known.
	Source netip.Addr
	// MetadataURL is the URL of the metadata of the resource (RFC 9728), for challenges. It may be empty.
	MetadataURL string
	// Explain records [Decision.Steps].
	Explain bool
}
