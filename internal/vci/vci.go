// Package vci issues credentials to devices by OpenID for Verifiable Credential Issuance 1.0 (OpenID4VCI), without its HTTP: what the
// issuer's metadata says, the nonce of key proofs, the credential request, its key proofs, and the transaction that records a
// credential before it is given out.
//
// Only the authorization code flow with key proofs of type jwt is supported: no pre-authorized code, deferred issuance, notification
// or encryption.
//
// A credential is bound to the key of its proof, which may be another one than that of the device: a key of an MLS client, for example.
// No key can belong to two devices of a domain. A key proof is spent after all checks and before the first write, as every proof is.
package vci

import (
	"context"
	"crypto"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/imidentity/issuer/account"
	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/clients"
	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/storage"
)

// Scope is the scope of tokens for which credentials are issued.
const Scope = "im:credential"

const (
	// BatchSize is how many key proofs a request may have. Each gets a credential.
	BatchSize = 5
	// MaxPerDevice is how many credentials of one format a device may have at a time that have neither expired nor ended.
	MaxPerDevice = 5
	// MaxStored is how many credentials a device may have at a time that have not expired, also if they have ended: each is stored until
	// then, and its entry in a status list is never given again.
	MaxStored = 500
	// MaxBody is how many bytes a credential request may have.
	MaxBody = 64 << 10
)

// A Store is the part of storage that a [Service] uses.
type Store interface {
	storage.Reader
	Update(ctx context.Context, fn func(ctx context.Context, tx storage.Tx) error) error
}

// Keys sign credentials; keys.Ring does.
type Keys interface {
	Sign(typ string, claims []byte) (string, error)
	// Signer returns the key that signs now with its kid and JOSE algorithm.
	Signer() (kid, alg string, key crypto.Signer)
	// Fresh returns an error if a change of the keys may have been missed.
	Fresh(now time.Time) error
}

// Statuses give each credential an entry in a status list; statuses.Lists does.
type Statuses interface {
	// TakeCredential returns an entry that was never given, for a credential of a domain. It returns false if none is ready. It writes
	// nothing.
	TakeCredential(domain string) (storage.StatusEntry, bool)
	// FillCredential makes entries ready for a domain.
	FillCredential(ctx context.Context, domain string) error
	// Reference returns the claim for an entry.
	Reference(e storage.StatusEntry) *claims.Status
}

// A Limiter refuses users who ask too often.
type Limiter interface {
	User(u storage.User, client string) error
}

type noLimiter struct{}

func (noLimiter) User(storage.User, string) error { return nil }

// Config configures [New]. All fields are required but those that say otherwise.
type Config struct {
	// Issuer is the URL of the issuer, the identifier of the credential issuer.
	Issuer string
	// Life is how long credentials live, at most [storage.LongestCredential].
	Life     time.Duration
	Store    Store
	Accounts *account.Accounts
	Clients  *clients.Registry
	Keys     Keys
	Statuses Statuses
	// CAs issue certificates. Nil if no domain has one.
	CAs CAs
	// Replay remembers spent key proofs; it may be that of the DPoP proofs.
	Replay dpop.Replay
	// SpendInUpdate says that Replay is in memory, so that key proofs can be spent within a transaction of Store: a request is then one
	// transaction. A replay store that is a database must not be called there.
	SpendInUpdate bool
	// Nonces returns the secrets of c_nonces, see [dpop.NewNoncesFrom]. They are not those of DPoP nonces.
	Nonces func() [][32]byte
	// Limiter refuses requests that come too often, before a signature is verified. Nil refuses none.
	Limiter Limiter
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
	// Rand makes ids and salts. Nil means [crypto/rand.Reader].
	Rand io.Reader
}

// A Service issues credentials. It is safe for concurrent use.
type Service struct {
	cfg    Config
	proofs *dpop.Verifier // of key proofs
}

// New returns a service.
func New(cfg Config) (*Service, error) {
	if cfg.Issuer == "" || cfg.Store == nil || cfg.Accounts == nil || cfg.Clients == nil || cfg.Keys == nil || cfg.Statuses == nil ||
		cfg.Replay == nil || cfg.Nonces == nil {
		return nil, errors.New("vci: Config is incomplete")
	}
	if cfg.Life < time.Minute || cfg.Life > storage.LongestCredential {
		return nil, errors.New("vci: Config.Life must be between a minute and 90 days")
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
	s := &Service{cfg: cfg}
	nonces, err := dpop.NewNoncesFrom(cfg.Nonces, cfg.Now)
	if err != nil {
		return nil, err
	}
	s.proofs, err = dpop.NewVerifier(dpop.Config{Nonces: nonces, Replay: cfg.Replay, Now: cfg.Now})
	if err != nil {
		return nil, err
	}
	return s, nil
}
