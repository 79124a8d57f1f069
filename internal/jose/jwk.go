package jose

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// A Key is a public key that was read from a JWK.
type Key struct {
	Public crypto.PublicKey // *ecdsa.PublicKey, ed25519.PublicKey or *rsa.PublicKey
	JKT    string           // RFC 7638 thumbprint, SHA-256, base64url
	Type   string           // "EC P-256", "EC P-384", "EC P-521", "OKP Ed25519" or "RSA"
	Alg    string           // its `alg`, which fits it; "" if absent
	Kid    string           // its `kid`; "" if absent
}

// jwkNames are the members whose names are refused in another case.
var jwkNames = []string{
	"kty", "crv", "x", "y", "n", "e", "alg", "use", "key_ops", "kid", // public
	"d", "p", "q", "dp", "dq", "qi", "oth", "k", // private
}

// ParseJWK reads one public key for signatures (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2). It refuses:
//
//   - symmetric keys and private members (RFC 9449 §4.3, check 7);
//   - missing members, coordinates whose length is not that of the curve, and points off the curve;
//   - Ed25519 keys that are not canonical or of small order. Whether such a key is on its curve shows when it verifies;
//   - RSA moduli of less than 2048 or more than 8192 bits, and RSA exponents that are even or below 65537;
//   - keys that are for another purpose by their `use`, `key_ops` or `alg`.
//
// Other members are ignored. The error is a *[ParseError].
func ParseJWK(raw []byte) (Key, error) {
	var w wireKey
	if err := ObjectText(raw, w.member); err != nil {
		return Key{}, &ParseError{"jwk", err}
	}
	key, err := w.key()
	if err != nil {
		return Key{}, &ParseError{"jwk", err}
	}
	return key, nil
}

// A wireKey holds the members of a JWK.
type wireKey struct {
	kty, crv, x, y, n, e, alg, kid string
}

func (w *wireKey) member(name, value string) error {
	var to *string
	switch name {
	case "kty":
		to = &w.kty
	case "crv":
		to = &w.crv
	case "x":
		to = &w.x
	case "y":
		to = &w.y
	case "n":
		to = &w.n
	case "e":
		to = &w.e
	case "alg":
		to = &w.alg
	case "kid":
		to = &w.kid
	case "use":
		if use, err := String(value); err != nil || use != "sig" {
			return errors.New("use must be sig")
		}
		return nil
	case "key_ops":
		if ops, err := Strings(value); err != nil || !slices.Contains(ops, "verify") {
			return errors.New("key_ops must contain verify")
		}
		return nil
	case "d", "p", "q", "dp", "dq", "qi", "oth", "k":
		return errors.New("private or symmetric key")
	default:
		return CheckCase(name, jwkNames)
	}
	v, err := String(value)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*to = v
	return nil
}

func (w *wireKey) key() (Key, error) {
	key := Key{Alg: w.alg, Kid: w.kid}
	var err error
	var canonical []byte
	var buf [256]byte
	switch w.kty {
	case "EC":
		canonical = appendEC(buf[:0], w.crv, w.x, w.y)
		key.Type, key.Public, err = w.ec()
	case "OKP":
		key.Type = "OKP Ed25519" // there is no other
		canonical = appendOKP(buf[:0], w.crv, w.x)
		key.Public, err = w.okp()
	case "RSA":
		key.Type = "RSA"
		canonical = appendRSA(buf[:0], w.e, w.n)
		key.Public, err = w.rsa()
	case "":
		err = errors.New("kty is missing")
	default:
		err = errors.New("kty is not EC, OKP or RSA")
	}
	if err != nil {
		return Key{}, err
	}
	if key.Alg != "" && !FitsKey(key.Alg, key.Public) {
		return Key{}, errors.New("alg does not fit the key")
	}
	key.JKT = thumbprint(canonical)
	return key, nil
}

func (w *wireKey) ec() (typ string, pub *ecdsa.PublicKey, err error) {
	var curve elliptic.Curve
	switch w.crv {
	case "P-256":
		typ, curve = "EC P-256", elliptic.P256()
	case "P-384":
		typ, curve = "EC P-384", elliptic.P384()
	case "P-521":
		typ, curve = "EC P-521", elliptic.P521()
	default:
		return "", nil, errors.New("crv is not P-256, P-384 or P-521")
	}
	size := (curve.Params().BitSize + 7) / 8
	var buf [1 + 2*66]byte
	point := append(buf[:0], 4) // uncompressed
	for _, c := range [...]struct{ name, text string }{{"x", w.x}, {"y", w.y}} {
		from := len(point)
		if point, err = appendBase64(point, c.text); err != nil {
			return "", nil, fmt.Errorf("%s: %w", c.name, err)
		}
		// RFC 7518 §6.2.1.2: a coordinate has the full size of the curve's field, leading zeros included.
		if len(point)-from != size {
			return "", nil, fmt.Errorf("%s is not %d bytes long: keep its leading zeros", c.name, size)
		}
	}
	if pub, err = ecdsa.ParseUncompressedPublicKey(curve, point); err != nil {
		return "", nil, errors.New("the point is not on the curve")
	}
	return typ, pub, nil
}

func (w *wireKey) okp() (ed25519.PublicKey, error) {
	if w.crv != "Ed25519" {
		return nil, errors.New("crv is not Ed25519")
	}
	x, err := DecodeBase64(w.x)
	if err != nil {
		return nil, fmt.Errorf("x: %w", err)
	}
	if len(x) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("x is not %d bytes long", ed25519.PublicKeySize)
	}
	if weakEd25519(x) {
		return nil, errors.New("x is a point of small order, or not canonical")
	}
	return x, nil
}

func (w *wireKey) rsa() (*rsa.PublicKey, error) {
	n, err := DecodeBase64(w.n)
	if err != nil {
		return nil, fmt.Errorf("n: %w", err)
	}
	e, err := DecodeBase64(w.e)
	if err != nil {
		return nil, fmt.Errorf("e: %w", err)
	}
	// RFC 7518 §2, Base64urlUInt: no leading zero, else one key would have two thumbprints.
	if len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 {
		return nil, errors.New("n or e is missing or has a leading zero")
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(n)}
	if bits := pub.N.BitLen(); bits < minRSA || bits > maxRSA {
		return nil, fmt.Errorf("n has %d bits, not %d to %d", bits, minRSA, maxRSA)
	}
	if len(e) > 4 {
		return nil, errors.New("e is too large")
	}
	for _, b := range e {
		pub.E = pub.E<<8 | int(b)
	}
	// FIPS 186-5 §5.4: odd and more than 2^16; crypto/rsa wants less than 2^31.
	if pub.E < 65537 || pub.E > 1<<31-1 || pub.E%2 == 0 || n[len(n)-1]%2 == 0 {
		return nil, errors.New("e is less than 65537 or too large, or n or e is even")
	}
	return pub, nil
}

// MarshalJWK returns pub as a JWK with its required members in lexicographic order and without white space. RFC 7638 §3 hashes this
// form.
func MarshalJWK(pub crypto.PublicKey) ([]byte, error) {
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if pub == nil || AlgorithmFor(pub) == "" {
			break
		}
		point, err := pub.Bytes()
		if err != nil {
			return nil, fmt.Errorf("jose: jwk: %w", err)
		}
		size := len(point) / 2
		x, y := b64.EncodeToString(point[1:1+size]), b64.EncodeToString(point[1+size:])
		return appendEC(nil, pub.Curve.Params().Name, x, y), nil
	case ed25519.PublicKey:
		if len(pub) == ed25519.PublicKeySize {
			return appendOKP(nil, "Ed25519", b64.EncodeToString(pub)), nil
		}
	case *rsa.PublicKey:
		if pub != nil && pub.N != nil && pub.E > 0 {
			e := big.NewInt(int64(pub.E)).Bytes()
			return appendRSA(nil, b64.EncodeToString(e), b64.EncodeToString(pub.N.Bytes())), nil
		}
	}
	return nil, fmt.Errorf("jose: jwk: a %T is not a public key of a known type", pub)
}

// Thumbprint returns the SHA-256 JWK thumbprint of pub in base64url (RFC 7638), the `jkt` of RFC 9449 §6.1.
func Thumbprint(pub crypto.PublicKey) (string, error) {
	canonical, err := MarshalJWK(pub)
	if err != nil {
		return "", err
	}
	return thumbprint(canonical), nil
}

// IsThumbprint reports whether s has the form of a thumbprint: 32 bytes in canonical base64url.
func IsThumbprint(s string) bool {
	sum, err := DecodeBase64(s)
	return err == nil && len(sum) == sha256.Size
}

func thumbprint(canonical []byte) string {
	sum := sha256.Sum256(canonical)
	var text [43]byte
	b64.Encode(text[:], sum[:])
	return string(text[:])
}

// The three canonical forms follow. Their texts are base64url or the name of a curve, and need no escapes.

func appendEC(dst []byte, crv, x, y string) []byte {
	return appendMembers(dst, `{"crv":"`, crv, `","kty":"EC","x":"`, x, `","y":"`, y, `"}`)
}

func appendOKP(dst []byte, crv, x string) []byte {
	return appendMembers(dst, `{"crv":"`, crv, `","kty":"OKP","x":"`, x, `"}`)
}

func appendRSA(dst []byte, e, n string) []byte {
	return appendMembers(dst, `{"e":"`, e, `","kty":"RSA","n":"`, n, `"}`)
}

func appendMembers(dst []byte, texts ...string) []byte {
	for _, text := range texts {
		dst = append(dst, text...)
	}
	return dst
}
