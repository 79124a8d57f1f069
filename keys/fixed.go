package keys

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// ErrNoFixedKey is returned for a [Fixed] key that was not made yet.
var ErrNoFixedKey = errors.New("keys: the key was not made yet")

// A Fixed is a signing key that nothing replaces by itself, for a verifier that has one public key in its settings. It is stored sealed
// under its name, beside the cluster secrets, so it is resealed with them. It is read from the database for each signature, so all
// nodes sign with the same key at any time. It is safe for concurrent use.
type Fixed struct {
	sealer *Sealer
	name   string
}

// NewFixed returns the key that is stored under a name. It signs with ES256.
func NewFixed(sealer *Sealer, name string) *Fixed { return &Fixed{sealer, name} }

// Make makes the key in a transaction, unless there is one. It reports whether it made one.
func (f *Fixed) Make(ctx context.Context, tx storage.Tx) (FixedKey, bool, error) {
	k, err := f.Read(ctx, tx)
	if !errors.Is(err, ErrNoFixedKey) {
		return k, false, err
	}
	k, err = f.Replace(ctx, tx)
	return k, err == nil, err
}

// Replace makes another key in a transaction, which signs from its commit on.
func (f *Fixed) Replace(ctx context.Context, tx storage.Tx) (FixedKey, error) {
	var k FixedKey
	for k.KID == "" || k.KID[0] == '-' { // on a command line the kid would look like a flag
		signer, err := generate(jose.ES256)
		if err == nil {
			k, err = fixedKey(signer)
		}
		if err != nil {
			return FixedKey{}, fmt.Errorf("keys: make %s: %w", f.name, err)
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.signer)
	if err != nil {
		return FixedKey{}, fmt.Errorf("keys: make %s: %w", f.name, err)
	}
	sealed, err := f.sealer.Seal(f.name, der)
	if err == nil {
		err = tx.PutSecret(ctx, f.name, sealed)
	}
	if err != nil {
		return FixedKey{}, fmt.Errorf("keys: store %s: %w", f.name, err)
	}
	return k, nil
}

// Read returns the key as it is stored now. The error is [ErrNoFixedKey] if there is none, and [ErrWrongKey] if it was sealed under
// another key-encryption key.
func (f *Fixed) Read(ctx context.Context, r interface {
	Secret(ctx context.Context, name string) ([]byte, error)
}) (FixedKey, error) {
	sealed, err := r.Secret(ctx, f.name)
	if errors.Is(err, storage.ErrNotFound) {
		return FixedKey{}, fmt.Errorf("%w: %s", ErrNoFixedKey, f.name)
	} else if err != nil {
		return FixedKey{}, fmt.Errorf("keys: read %s: %w", f.name, err)
	}
	der, err := f.sealer.Open(f.name, sealed)
	if err != nil {
		return FixedKey{}, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return FixedKey{}, fmt.Errorf("keys: %s: %v", f.name, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok || !jose.FitsKey(jose.ES256, signer.Public()) {
		return FixedKey{}, fmt.Errorf("keys: %s is not a key for ES256", f.name)
	}
	return fixedKey(signer)
}

// A FixedKey is the key of a [Fixed] as it was read.
type FixedKey struct {
	// KID is the RFC 7638 thumbprint of the key.
	KID string

	signer crypto.Signer
}

func fixedKey(signer crypto.Signer) (FixedKey, error) {
	kid, err := jose.Thumbprint(signer.Public())
	return FixedKey{kid, signer}, err
}

// Alg returns the JOSE algorithm that the key signs with.
func (k FixedKey) Alg() string { return jose.ES256 }

// PEM returns the public key in PEM (RFC 7468 §13).
func (k FixedKey) PEM() (string, error) {
	der, err := x509.MarshalPKIXPublicKey(k.signer.Public())
	if err != nil {
		return "", fmt.Errorf("keys: write a public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}

// Sign signs claims, which is JSON, and returns the compact JWS, whose header has typ, alg and kid.
func (k FixedKey) Sign(typ string, claims []byte) (string, error) {
	header := fmt.Appendf(nil, `{"typ":%q,"alg":%q,"kid":%q}`, typ, k.Alg(), k.KID)
	token, err := jose.Sign(k.signer, k.Alg(), header, claims)
	if err != nil {
		return "", fmt.Errorf("keys: sign: %w", err)
	}
	return token, nil
}
