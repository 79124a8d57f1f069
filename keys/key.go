package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/storage"
)

// rsaBits is the size of a new RSA key: as strong as P-256 (NIST SP 800-57 part 1, table 2).
const rsaBits = 3072

// A key is a row with its private key, unless the key was revoked.
type key struct {
	storage.SigningKey
	signer crypto.Signer // nil if it was revoked
}

// generate makes a private key for an algorithm.
func generate(alg string) (crypto.Signer, error) {
	switch alg {
	case jose.ES256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jose.EdDSA:
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return private, err
	case jose.RS256:
		return rsa.GenerateKey(rand.Reader, rsaBits)
	}
	return nil, fmt.Errorf("no keys are made for algorithm %q", alg)
}

// newKey makes a key and seals it. The caller sets the time from which it signs.
func newKey(alg string, sealer *Sealer) (storage.SigningKey, error) {
	for {
		private, err := generate(alg)
		if err != nil {
			return storage.SigningKey{}, err
		}
		der, err1 := x509.MarshalPKCS8PrivateKey(private)
		kid, err2 := jose.Thumbprint(private.Public())
		public, err3 := jose.MarshalJWK(private.Public())
		if err := errors.Join(err1, err2, err3); err != nil {
			return storage.SigningKey{}, err
		}
		if kid[0] == '-' {
			continue // on a command line the kid would look like a flag
		}
		sealed, err := sealer.Seal(secretName(kid), der)
		return storage.SigningKey{KID: kid, Alg: alg, Sealed: sealed, Public: public}, err
	}
}

func secretName(kid string) string { return "signing-key/" + kid }

// open opens the key of a row; known is the key as it was opened before, if it was. The public key is computed from the sealed
// private key, not read from its own column: write access to the database without the key-encryption key is not enough to add
// a key that tokens are accepted under.
func (r *Ring) open(row storage.SigningKey, known *key) (*key, error) {
	switch {
	case !row.RevokedAt.IsZero():
		return &key{SigningKey: row}, nil
	case known != nil && known.signer != nil && known.Alg == row.Alg: // a kid identifies one key
		return &key{row, known.signer}, nil
	}
	der, err := r.sealer.Open(secretName(row.KID), row.Sealed)
	if err != nil {
		return nil, err
	}
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("signing key %s: %v", row.KID, err)
	}
	signer, ok := private.(crypto.Signer)
	if !ok || !jose.FitsKey(row.Alg, signer.Public()) {
		return nil, fmt.Errorf("signing key %s is not one for %s", row.KID, row.Alg)
	}
	k := &key{row, signer}
	if _, err := keySet([]*key{k}); err != nil {
		return nil, fmt.Errorf("publish signing key %s: %w", row.KID, err)
	}
	return k, nil
}
