// Package wire makes the access token that Wire's certificate authority, step-ca, takes at its challenge wire-dpop-01: it tells which
// device of which user an ACME account key belongs to. It does this without HTTP.
//
// A device shows an access token of its own, and a Wire proof ([dpop.WireProof]): the holder of the account key says for which device,
// handle, name and team it asks, and for which challenge of which certificate authority. The issuer compares that with its rows, and
// signs a token that encloses the proof. step-ca verifies both, and believes every claim that this package checked.
//
// The token is no access token of this issuer: typ, kid and iss are other ones, and the key that signs it is in no key set. It is for
// the one URL in its aud, and it lives for minutes.
//
// How step-ca v0.30 verifies decides about the form: iss, htu and its setting target are the same text, cnf has kid where RFC 9449 §6.1
// has jkt (the token has both), and its key is in the settings of step-ca, where there can be one.
package wire

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/keys"
	"github.com/imidentity/issuer/storage"
)

// Paths of the endpoints, below the URL of the issuer.
const (
	TokenPath = "/wire/access-token"
	NoncePath = "/wire/nonce"
)

// Scope is the scope of the access tokens with which a device asks. What it gets leads to a credential that names the user and lives for
// weeks, which is what users allow by this scope.
const Scope = "im:credential"

// Life is how long a token lives, unless its proof expires before that.
const Life = 5 * time.Minute

// KeyName is the name of the signing key in storage.
const KeyName = "wire-signing-key"

// MaxBody is how many bytes a request may have.
const MaxBody = 16 << 10

// A Domain says what is signed for the users of a domain.
type Domain struct {
	// Names is the namespace of the domain, in the system [claims.SystemWire].
	Names claims.Namespace
	// Provisioners are the URLs of the ACME provisioners that the tokens may be for, as [ParseProvisioner] reads them.
	Provisioners []Provisioner
	// Team is the team that proofs must name; "" means that they must name none.
	Team string
	// AnyName takes every display name. Without it, the name must be the handle, which is the only name that the issuer knows.
	AnyName bool
}

// A Store is the part of storage that a [Service] uses.
type Store interface {
	storage.Reader
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// A Limiter refuses users who ask too often.
type Limiter interface {
	User(u storage.User, client string) error
}

type noLimiter struct{}

func (noLimiter) User(storage.User, string) error { return nil }

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the URL of the issuer.
	Issuer string
	// Domains are the domains whose devices get tokens, by name. It may be empty.
	Domains map[string]Domain
	Store   Store
	Clients *clients.Registry
	// Key signs. Its public key is in the settings of step-ca.
	Key *keys.Fixed
	// Replay remembers spent proofs; it may be that of the DPoP proofs.
	Replay dpop.Replay
	// SpendInUpdate says that Replay is in memory, so that proofs can be spent within a transaction of Store. A replay store that is a
	// database must not be called there.
	SpendInUpdate bool
	// Nonces returns the secrets of nonces, see [dpop.NewNoncesFrom]. They are not those of DPoP nonces.
	Nonces func() [][32]byte
	// Algorithms are those of the account keys, see [dpop.Config].
	Algorithms []string
	// Limiter refuses requests that come too often, before a signature is verified. Nil refuses none.
	Limiter Limiter
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes ids. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// A Service makes tokens for step-ca. It is safe for concurrent use.
type Service struct {
	cfg    Config
	target string
	proofs *dpop.Verifier // of Wire proofs
}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.Clients == nil || cfg.Key == nil || cfg.Replay == nil || cfg.Nonces == nil {
		return nil, errors.New("wire: Config is incomplete")
	}
	for name, d := range cfg.Domains {
		if d.Names.System() != claims.SystemWire || d.Names.Domain() != name || len(d.Provisioners) == 0 {
			return nil, errors.New("wire: a domain is not one of Wire, or has no provisioner: " + name)
		}
	}
	if cfg.Limiter == nil {
		cfg.Limiter = noLimiter{}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	s := &Service{cfg: cfg, target: cfg.Issuer + TokenPath}
	nonces, err := dpop.NewNoncesFrom(cfg.Nonces, cfg.Now)
	if err != nil {
		return nil, err
	}
	s.proofs, err = dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: cfg.Replay, Algorithms: cfg.Algorithms, Now: cfg.Now})
	return s, err
}

// Nonce returns the newest nonce for Wire proofs. An error means that the store of spent proofs does not answer.
func (s *Service) Nonce(ctx context.Context) (string, error) { return s.proofs.Nonce(ctx) }
