package cwt

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/internal/jose"
)

// Labels and values of a COSE_Key (RFC 9052 §7, RFC 9053 §7, RFC 8230 §4).
const (
	keyKty uint64 = 1
	keyAlg uint64 = 3
	keyOps uint64 = 4

	keyCrv int64 = -1 // or n, of RSA
	keyX   int64 = -2 // or e, of RSA
	keyY   int64 = -3
	keyD   int64 = -4

	ktyOKP uint64 = 1
	ktyEC2 uint64 = 2
	ktyRSA uint64 = 3

	crvP256    uint64 = 1
	crvP384    uint64 = 2
	crvP521    uint64 = 3
	crvEd25519 uint64 = 6

	opVerify uint64 = 2
)

// Thumbprint returns the SHA-256 thumbprint of a public key as a COSE_Key (RFC 9679 §3), the `ckt` of a CWT. The key is a
// *ecdsa.PublicKey of P-256, P-384 or P-521, an ed25519.PublicKey or a *rsa.PublicKey. Other keys are an error.
func Thumbprint(pub crypto.PublicKey) ([]byte, error) {
	key, err := coseKey(pub)
	if err != nil {
		return nil, err
	}
	data, err := encoding.Marshal(key)
	if err != nil {
		return nil, fmt.Errorf("cwt: thumbprint: %w", err)
	}
	sum := sha256.Sum256(data)
	return sum[:], nil
}

// coseKey returns the required parameters of a public key (RFC 9679 §4). Points are not compressed.
func coseKey(pub crypto.PublicKey) (map[any]any, error) {
	errKind := errors.New("cwt: not a key of P-256, P-384, P-521, Ed25519 or RSA")
	if jose.AlgorithmFor(pub) == "" {
		return nil, errKind
	}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		point, err := pub.Bytes() // 4, x and y
		if err != nil {
			return nil, errKind
		}
		curve := map[elliptic.Curve]uint64{elliptic.P256(): crvP256, elliptic.P384(): crvP384, elliptic.P521(): crvP521}[pub.Curve]
		size := len(point) / 2
		return map[any]any{keyKty: ktyEC2, keyCrv: curve, keyX: point[1 : 1+size], keyY: point[1+size:]}, nil
	case ed25519.PublicKey:
		return map[any]any{keyKty: ktyOKP, keyCrv: crvEd25519, keyX: []byte(pub)}, nil
	case *rsa.PublicKey:
		return map[any]any{keyKty: ktyRSA, keyCrv: pub.N.Bytes(), keyX: big.NewInt(int64(pub.E)).Bytes()}, nil
	}
	return nil, errKind
}

// readKey reads a COSE_Key of P-256 or Ed25519. It is as strict as [jose.ParseJWK], and refuses compressed points.
func readKey(o *object) (key jose.Key, err error) {
	o.forbid(keyD, "d", "a private key")
	kty, crv := o.items[keyKty], o.items[keyCrv]
	x, y := o.bytes(keyX, "x"), []byte(nil)
	var jwk, alg string
	switch {
	case kty == ktyEC2 && crv == crvP256:
		y, alg = o.bytes(keyY, "y"), jose.ES256
		jwk = fmt.Sprintf(`{"kty":"EC","crv":"P-256","x":%q,"y":%q}`, base64.RawURLEncoding.EncodeToString(x), base64.RawURLEncoding.EncodeToString(y))
	case kty == ktyOKP && crv == crvEd25519:
		alg = jose.EdDSA
		jwk = fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q}`, base64.RawURLEncoding.EncodeToString(x))
	default:
		o.fail("kty", errors.New("neither EC2 with P-256 nor OKP with Ed25519"))
	}
	if v, ok := o.items[keyAlg]; ok && algorithmName(v) != alg {
		o.fail("alg", errors.New("does not fit the key"))
	}
	if v, ok := o.items[keyOps]; ok {
		if ops, isArray := v.([]any); !isArray || !slices.Contains(ops, any(opVerify)) {
			o.fail("key_ops", errors.New("must contain verify"))
		}
	}
	if o.err != nil {
		return jose.Key{}, o.err
	}
	if key, err = jose.ParseJWK([]byte(jwk)); err != nil {
		fault := (*jose.ParseError)(nil)
		if errors.As(err, &fault) {
			err = fault.Err
		}
		return jose.Key{}, &credential.Error{Part: o.part, Code: o.code, Err: err}
	}
	return key, nil
}
