package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// RingConfig configures [OpenRing].
type RingConfig struct {
	// Alg is the algorithm to sign with: ES256, which empty means too.
	Alg string
	// Now reports the time. Nil means [time.Now].
	Now func() time.Time
}

// A Ring holds the issuer's signing keys. It does not change once it is open and is safe for concurrent use.
type Ring struct {
	infos  []Info
	public map[string]publicKey // by kid; revoked keys are not there
	kid    string               // of the key that signs
	alg    string
	signer crypto.Signer
	suffix string // the header that it signs, after the value of typ
	jwks   []byte
	etag   string
}

type publicKey struct {
	key crypto.PublicKey
	alg string
}

// Info describes a key of a [Ring] to an administrator.
type Info struct {
	KID, Alg                                  string
	CreatedAt, ActiveAt, RetiredAt, RevokedAt time.Time
	Signing                                   bool // it is the one that signs
}

// OpenRing opens the signing keys of store. If none of them can sign, it makes one; of several nodes that start at a
// time one wins, and all of them sign with its key. The error is [ErrWrongKey] if sealer has another key-encryption
// key than the one that the keys were sealed under; any other that is not about a damaged key is the store's.
func OpenRing(ctx context.Context, store storage.Store, sealer *Sealer, cfg RingConfig) (*Ring, error) {
	if cfg.Alg == "" {
		cfg.Alg = jose.ES256
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	rows, err := store.SigningKeys(ctx)
	if err == nil && !slices.ContainsFunc(rows, cfg.signs) {
		rows, err = cfg.generate(ctx, store, sealer)
	}
	if err != nil {
		return nil, fmt.Errorf("keys: open ring: %w", err)
	}
	r := &Ring{public: make(map[string]publicKey)}
	for _, row := range rows {
		if err := r.add(row, sealer, cfg); err != nil {
			return nil, err
		}
	}
	r.suffix = `","alg":"` + r.alg + `","kid":"` + r.kid + `"}`
	if err := r.publish(); err != nil {
		return nil, err
	}
	return r, nil
}

// signs tells whether a key may sign now.
func (cfg RingConfig) signs(k storage.SigningKey) bool {
	now := cfg.Now()
	return k.Alg == cfg.Alg && !k.ActiveAt.After(now) && k.RevokedAt.IsZero() && (k.RetiredAt.IsZero() || k.RetiredAt.After(now))
}

// generate adds a new key unless there is one that signs by now, and returns all of them.
func (cfg RingConfig) generate(ctx context.Context, store storage.Store, sealer *Sealer) ([]storage.SigningKey, error) {
	row, err := cfg.newKey(sealer)
	if err != nil {
		return nil, err
	}
	var rows []storage.SigningKey
	err = store.Update(ctx, func(ctx context.Context, tx storage.Tx) error {
		var err error
		rows, err = tx.SigningKeys(ctx)
		if err != nil || slices.ContainsFunc(rows, cfg.signs) {
			return err
		}
		rows = append(rows, row)
		return tx.InsertSigningKey(ctx, row)
	})
	return rows, err
}

func (cfg RingConfig) newKey(sealer *Sealer) (storage.SigningKey, error) {
	if cfg.Alg != jose.ES256 {
		return storage.SigningKey{}, fmt.Errorf("no keys are made for algorithm %q", cfg.Alg)
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return storage.SigningKey{}, err
	}
	der, err1 := x509.MarshalPKCS8PrivateKey(private)
	kid, err2 := jose.Thumbprint(private.Public())
	public, err3 := jose.MarshalJWK(private.Public())
	sealed, err4 := sealer.Seal(secretName(kid), der)
	now := cfg.Now()
	return storage.SigningKey{
		KID: kid, Alg: cfg.Alg, Sealed: sealed, Public: public, CreatedAt: now, ActiveAt: now,
	}, errors.Join(err1, err2, err3, err4)
}

func secretName(kid string) string { return "signing-key/" + kid }

// add opens one key. The public key is taken from the sealed private one and not from its own column: whoever can
// write to the database but lacks the key-encryption key cannot add a key that tokens are accepted under.
func (r *Ring) add(row storage.SigningKey, sealer *Sealer, cfg RingConfig) error {
	info := Info{
		KID: row.KID, Alg: row.Alg,
		CreatedAt: row.CreatedAt, ActiveAt: row.ActiveAt, RetiredAt: row.RetiredAt, RevokedAt: row.RevokedAt,
	}
	if !row.RevokedAt.IsZero() {
		r.infos = append(r.infos, info)
		return nil
	}
	der, err := sealer.Open(secretName(row.KID), row.Sealed)
	if err != nil {
		return err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return fmt.Errorf("keys: signing key %s: %v", row.KID, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok || !jose.FitsKey(row.Alg, signer.Public()) {
		return fmt.Errorf("keys: signing key %s is not one for %s", row.KID, row.Alg)
	}
	r.public[row.KID] = publicKey{signer.Public(), row.Alg}
	// Rows come oldest first: the newest key that may sign stays.
	if cfg.signs(row) {
		for i := range r.infos {
			r.infos[i].Signing = false
		}
		info.Signing = true
		r.kid, r.alg, r.signer = row.KID, row.Alg, signer
	}
	r.infos = append(r.infos, info)
	return nil
}

// Signer returns the key that signs now, its id and its JOSE algorithm.
func (r *Ring) Signer() (kid, alg string, signer crypto.Signer) { return r.kid, r.alg, r.signer }

// Sign returns the compact JWS of claims, which is JSON, under the header typ, one of the types of internal/jose.
func (r *Ring) Sign(typ string, claims []byte) (string, error) {
	token, err := jose.Sign(r.signer, r.alg, []byte(`{"typ":"`+typ+r.suffix), claims)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	return token, nil
}

// Public returns the public key of kid and its JOSE algorithm, also when the key has retired, and false for one that
// was revoked or is not the issuer's.
func (r *Ring) Public(kid string) (key crypto.PublicKey, alg string, ok bool) {
	p, ok := r.public[kid]
	return p.key, p.alg, ok
}

// List returns all keys, also those that were revoked, oldest first.
func (r *Ring) List() []Info { return slices.Clone(r.infos) }
