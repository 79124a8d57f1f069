package cert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"slices"

	"github.com/imidentity/issuer/internal/jose"
)

// signatures lists the accepted signature algorithms. None uses MD5 or SHA-1.
var signatures = []x509.SignatureAlgorithm{
	x509.PureEd25519, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512,
	x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
}

const (
	minRSA = 2048
	maxRSA = 4096
)

var (
	errWeak      = errors.New("an Ed25519 key of small order, or in an encoding that is not canonical")
	errKey       = errors.New("neither Ed25519, P-256, P-384, P-521 nor RSA with 2048 to 4096 bits")
	errSignature = errors.New("neither Ed25519, ECDSA nor RSA with SHA-2")
)

// checkKey accepts the keys that certificates may have.
func checkKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case ed25519.PublicKey:
		// As in every other format: by such a key anyone can sign, or it is a second spelling of another one.
		jwk, err := jose.MarshalJWK(k)
		if err == nil {
			_, err = jose.ParseJWK(jwk)
		}
		if err != nil {
			return errWeak
		}
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521() {
			return nil
		}
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n >= minRSA && n <= maxRSA {
			return nil
		}
	}
	return errKey
}

// checkAlgorithms refuses a certificate with a weak or unknown algorithm or key.
func checkAlgorithms(c *x509.Certificate) error {
	if !slices.Contains(signatures, c.SignatureAlgorithm) {
		return errSignature
	}
	return checkKey(c.PublicKey)
}

// keyID returns a key identifier: the first 160 bits of the SHA-256 of the key (RFC 7093 §2, method 1).
func keyID(key crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(info.Key.Bytes)
	return sum[:20], nil
}

// samePublic reports whether two public keys are the same.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
