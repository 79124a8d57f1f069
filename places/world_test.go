package places_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"fmt"
	"io"
	"math/big"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/places"
)

const (
	day  = 24 * time.Hour
	user = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	host = "id.example.net"
)

// now is when everything happens.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// curveKey signs deterministically (RFC 6979), so that vectors stay as they are.
type curveKey struct{ *ecdsa.PrivateKey }

func (k curveKey) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.PrivateKey.Sign(nil, digest, opts)
}

// newKey makes a key from a name: one for P-256 if its first byte is upper case, else one for Ed25519.
func newKey(name string) crypto.Signer {
	seed := sha256.Sum256([]byte(name))
	if name[0] < 'A' || name[0] > 'Z' {
		return ed25519.NewKeyFromSeed(seed[:])
	}
	d := new(big.Int).SetBytes(seed[:])
	d.Mod(d, new(big.Int).Sub(elliptic.P256().Params().N, big.NewInt(1))).Add(d, big.NewInt(1))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d.FillBytes(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	return curveKey{key}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var (
	master = newKey("alice master")
	curve  = newKey("Alice master")
	forged = newKey("mallory master")
	id     = must(claims.Parse(user))
)

func fingerprint(key crypto.Signer) string { return must(places.Fingerprint(key.Public())) }

func thumbprint(key crypto.Signer) string { return must(jose.Thumbprint(key.Public())) }

func jwk(key crypto.Signer) string { return string(must(jose.MarshalJWK(key.Public()))) }

func address(key crypto.Signer) places.Address {
	return places.Address{Host: host, Fingerprint: fingerprint(key)}
}

// profile is a profile by a key that names places.
func profile(key crypto.Signer, uris ...string) string {
	p := &places.Profile{Name: "Alice", User: id}
	for _, uri := range uris {
		p.Places = append(p.Places, must(places.ParsePlace(uri)))
	}
	return must(p.Sign(key))
}

// header and payload are the JSON of a profile that is accepted.
func header(key crypto.Signer) string {
	return fmt.Sprintf(`{"typ":"JWT","alg":"%s","kid":"%s","jwk":%s}`, jose.AlgorithmFor(key.Public()), fingerprint(key), jwk(key))
}

const payload = `{"http://ariadne.id/version":0,"http://ariadne.id/type":"profile","http://ariadne.id/name":"Alice",` +
	`"http://ariadne.id/claims":["` + user + `","dns:alice.example?type=TXT","https://social.example/@alice"]}`

// put replaces a part of a text, which must be there.
func put(old, with string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic(old + " is not in " + text)
		}
		return strings.Replace(text, old, with, 1)
	}
}
