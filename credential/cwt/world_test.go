package cwt_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// The names of the tests.
const (
	home     = "https://im-id.example.net"
	foreign  = "https://id.example.org"
	user     = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	device   = "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"
	handle   = "im:%40alice@example.com"
	listURI  = home + "/status/7"
	verifier = "mimi://example.org/r/clubhouse"
)

// issued is when all tokens and credentials were made, and now a little later.
var (
	issued = time.Unix(1795766400, 0).UTC()
	now    = issued.Add(100 * time.Second)
	nonce  = []byte("n-0S6_WzA2Mj")
)

// The keys are made from names, so that vectors are the same each time.
var (
	issuerP256    = newP256("issuer")
	issuerEd25519 = newEd25519("issuer")
	otherP256     = newP256("other issuer")
	phone         = newEd25519("phone")
	laptop        = newP256("laptop")
	thief         = newEd25519("thief")
)

// A deterministic key signs as RFC 6979 says.
type deterministic struct{ *ecdsa.PrivateKey }

func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.PrivateKey.Sign(nil, digest, opts)
}

func newP256(name string) crypto.Signer {
	seed := sha256.Sum256([]byte(name))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		panic(err)
	}
	return deterministic{key}
}

func newEd25519(name string) crypto.Signer {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

// peers are the issuers that verifiers trust.
var peers = directory{
	home:    {Domains: []string{"example.com"}, keys: map[string]crypto.Signer{"k1": issuerP256, "k2": issuerEd25519}},
	foreign: {Domains: []string{"example.org"}, keys: map[string]crypto.Signer{"k1": otherP256}},
}

// A directory is a source of keys.
type directory map[string]peer

type peer struct {
	Domains []string
	keys    map[string]crypto.Signer
}

func (d directory) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	key, ok := d[issuer].keys[kid]
	if !ok {
		return nil, "", claims.ErrIssuer
	}
	return key.Public(), jose.AlgorithmFor(key.Public()), nil
}

func (d directory) Speaks(_ context.Context, issuer, domain string) error {
	if !slices.Contains(d[issuer].Domains, domain) {
		return claims.ErrDomain
	}
	return nil
}

// statuses is a source of statuses by index.
type statuses map[uint64]statuslist.Status

func (s statuses) Status(_ context.Context, _ string, ref statuslist.Reference) (statuslist.Status, error) {
	return s[ref.Index], nil
}

// options are those of a verifier of presentations.
func options() cwt.Options {
	return cwt.Options{
		Options: credential.Options{Issuers: peers, Status: statuses{}, Now: func() time.Time { return now }, Development: true},
		Binding: &cwt.Binding{Audience: verifier, Nonce: nonce},
	}
}

func signer(t rapid.TB, kid string, key crypto.Signer) *cwt.Signer {
	t.Helper()
	s, err := cwt.NewSigner(kid, jose.AlgorithmFor(key.Public()), key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func jkt(t rapid.TB, key crypto.Signer) string {
	t.Helper()
	s, err := jose.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ckt(t rapid.TB, key crypto.Signer) []byte {
	t.Helper()
	b, err := cwt.Thumbprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// userSet returns the claims of an access token of Alice's phone.
func userSet(t testing.TB) claims.Set {
	return claims.Set{
		Issuer: home, Subject: user, Handle: handle, Device: device, Audience: []string{"im:example.com"}, ClientID: "im-app",
		Scope: "im:handle im:device", JTI: "Zx0yQe5uG8cT1vLr9nBq3w", IssuedAt: issued, Expires: issued.Add(10 * time.Minute),
		AuthTime: issued.Add(-time.Hour), ACR: "phr", AMR: []string{"pwd", "otp"}, SID: "hV2kP7sWqYt4mDzE", Gen: 3, JKT: jkt(t, phone),
	}
}

// deviceVC returns the credential of Alice's phone.
func deviceVC() cwt.VC {
	return cwt.VC{
		Issuer: home, ID: "b3Xn5Rk1TqaVfYw8uJc0Lg", Device: device, User: user, Handle: handle, Key: phone.Public(), IssuedAt: issued,
		Expires: issued.Add(30 * 24 * time.Hour), Status: &statuslist.Reference{Index: 48211, URI: listURI},
	}
}

// mode writes CBOR for messages that the package does not make.
var mode = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// Values of the type raw are written as they are, good or not.
type (
	raw []byte
	m   = map[any]any
)

// enc returns v in deterministic encoding.
func enc(v any) []byte {
	switch v := v.(type) {
	case raw:
		return v
	case m:
		members := make(map[string][]byte, len(v))
		for key, value := range v {
			members[string(enc(key))] = enc(value)
		}
		data := head(0xa0, len(v))
		for _, key := range slices.Sorted(maps.Keys(members)) {
			data = append(append(data, key...), members[key]...)
		}
		return data
	case []any:
		data := head(0x80, len(v))
		for _, e := range v {
			data = append(data, enc(e)...)
		}
		return data
	}
	data, err := mode.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// head returns the head of a map or array of less than 24 members.
func head(major byte, n int) []byte {
	if n > 23 {
		panic("too many")
	}
	return []byte{major | byte(n)}
}

// pairs returns a map of keys and values in this very order.
func pairs(kv ...any) raw {
	data := head(0xa0, len(kv)/2)
	for _, v := range kv {
		data = append(data, enc(v)...)
	}
	return data
}

// with returns a copy of a map with changes. A nil value removes a key.
func with(items m, changes m) m {
	items = maps.Clone(items)
	for key, v := range changes {
		if v == nil {
			delete(items, key)
		} else {
			items[key] = v
		}
	}
	return items
}

// A sign1 is a COSE_Sign1 that is put together by hand, good or not. Zero values are the good ones.
type sign1 struct {
	tag         []byte // nil: 18
	protected   any    // a map, or raw
	unprotected any    // nil: an empty map
	payload     any    // a map, or raw
	key         crypto.Signer
}

// bytes signs as RFC 9052 §4.4 says.
func (s sign1) bytes() []byte {
	if s.tag == nil {
		s.tag = []byte{0xd2}
	}
	if s.unprotected == nil {
		s.unprotected = m{}
	}
	protected, payload := enc(s.protected), enc(s.payload)
	signature := s.sign(enc([]any{"Signature1", protected, []byte{}, payload}))
	return append(slices.Clone(s.tag), enc([]any{protected, s.unprotected, payload, signature})...)
}

func (s sign1) sign(input []byte) []byte {
	if key, ok := s.key.(ed25519.PrivateKey); ok {
		return ed25519.Sign(key, input)
	}
	digest := sha256.Sum256(input)
	key := s.key.(deterministic)
	der, err := key.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return rawSignature(der)
}

// rawSignature returns R and S of a DER signature of P-256.
func rawSignature(der []byte) []byte {
	out := make([]byte, 64)
	rest := der[2:]
	for i := range 2 {
		n := int(rest[1])
		value := rest[2 : 2+n]
		for len(value) > 32 {
			value = value[1:]
		}
		copy(out[32*i+32-len(value):], value)
		rest = rest[2+n:]
	}
	return out
}

// The parts of good messages.
func accessHeader() m { return m{1: -7, 4: []byte("k1"), 16: "application/at+cwt"} }
func vcHeader() m     { return m{1: -7, 4: []byte("k1"), 16: 293} }
func bindingHeader(vc []byte) m {
	return m{1: -8, 13: raw(vc), 16: 294}
}

func accessClaims(t testing.TB) m {
	thumbprint, err := jose.DecodeBase64(jkt(t, phone))
	if err != nil {
		t.Fatal(err)
	}
	return m{
		1: home, 2: user, 3: "im:example.com", 4: issued.Unix() + 600, 6: issued.Unix(), 7: []byte("t-1"), 8: m{5: ckt(t, phone)},
		9: "im:handle im:device", "client_id": "im-app", "sid": "s-1", "gen": 3, "jkt": thumbprint, "handle": handle, "device": device,
	}
}

func phoneKey() m { return m{1: 1, -1: 6, -2: []byte(phone.Public().(ed25519.PublicKey))} }

func laptopKey() m {
	point, err := laptop.Public().(*ecdsa.PublicKey).Bytes()
	if err != nil {
		panic(err)
	}
	return m{1: 2, -1: 1, -2: point[1:33], -3: point[33:]}
}

func vcClaims() m {
	return m{
		1: home, 2: device, 4: issued.Unix() + 2592000, 6: issued.Unix(), 7: []byte("c-1"), 8: m{1: phoneKey()}, 11: credential.VCT,
		65535: m{"status_list": m{"idx": 48211, "uri": listURI}}, "user": user, "handle": handle,
	}
}

func bindingClaims() m { return m{3: verifier, 6: now.Unix(), 39: nonce} }

// access, vc and bound make messages with changes of the good ones.
func access(t testing.TB, changes m) sign1 {
	return sign1{protected: accessHeader(), payload: with(accessClaims(t), changes), key: issuerP256}
}

func vc(changes m) sign1 {
	return sign1{protected: vcHeader(), payload: with(vcClaims(), changes), key: issuerP256}
}

func bound(inner []byte, changes m) sign1 {
	return sign1{protected: bindingHeader(inner), payload: with(bindingClaims(), changes), key: phone}
}

// deep returns an array in an array, and so on.
func deep(levels int) raw {
	data := slices.Repeat(raw{0x81}, levels)
	return append(data, 0)
}

// long returns a number in eight bytes.
func long(n uint64) raw {
	return binary.BigEndian.AppendUint64([]byte{0x1b}, n)
}
