package sdjwt_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
)

// The names of the world that the tests are set in.
const (
	home   = "https://im-id.example.net" // speaks for example.com
	bridge = "https://id.bridge.example" // for bridge.example and xmpp.example, with an Ed25519 key
	rogue  = "https://rogue.example"     // not trusted

	alice       = "im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user"
	aliceHandle = "im:%40alice@example.com"
	alicePhone  = "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"

	room  = "mimi://mimi.example.com/r/engineering" // the audience
	nonce = "n-0S6_WzA2Mj"
)

// now is when everything happens.
var now = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

// An author is a party with a key.
type author struct {
	kid, alg string
	key      crypto.Signer
}

// ecdsaAuthor makes a key from a name, so that vectors stay as they are.
func ecdsaAuthor(name, alg string, curve elliptic.Curve) *author {
	size := (curve.Params().BitSize + 7) / 8
	seed := make([]byte, 0, 3*sha256.Size)
	for i := range 3 {
		sum := sha256.Sum256(fmt.Append(nil, name, i))
		seed = append(seed, sum[:]...)
	}
	d := new(big.Int).Mod(new(big.Int).SetBytes(seed), curve.Params().N)
	key, err := ecdsa.ParseRawPrivateKey(curve, d.FillBytes(make([]byte, size)))
	if err != nil {
		panic(err)
	}
	return &author{name, alg, deterministic{key}}
}

// deterministic signs as RFC 6979 does.
type deterministic struct{ *ecdsa.PrivateKey }

func (d deterministic) Sign(_ io.Reader, sum []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.PrivateKey.Sign(nil, sum, opts)
}

func ed25519Author(name string) *author {
	seed := sha256.Sum256([]byte(name))
	return &author{name, jose.EdDSA, ed25519.NewKeyFromSeed(seed[:])}
}

var (
	issuers = map[string]*author{
		home: ecdsaAuthor("im-id-1", jose.ES256, elliptic.P256()), bridge: ed25519Author("bridge-1"),
		rogue: ecdsaAuthor("rogue-1", jose.ES256, elliptic.P256()),
	}
	// Keys of devices.
	phone  = ed25519Author("alice's phone")
	laptop = ecdsaAuthor("alice's laptop", jose.ES256, elliptic.P256())
	p384   = ecdsaAuthor("P-384", jose.ES384, elliptic.P384())
	p521   = ecdsaAuthor("P-521", jose.ES512, elliptic.P521())
)

// Sign is that of a [sdjwt.Signer].
func (a *author) Sign(typ string, payload []byte) (string, error) {
	return jose.Sign(a.key, a.alg, fmt.Appendf(nil, `{"typ":%q,"alg":%q,"kid":%q}`, typ, a.alg, a.kid), payload)
}

// jwk is the public key.
func (a *author) jwk() string {
	jwk, err := jose.MarshalJWK(a.key.Public())
	if err != nil {
		panic(err)
	}
	return string(jwk)
}

// A directory is the source of keys: the trusted issuers, with their domains.
type directory map[string][]string

var trusted = directory{home: {"example.com"}, bridge: {"bridge.example", "xmpp.example"}}

func (d directory) Key(_ context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if d[issuer] == nil || issuers[issuer].kid != kid {
		return nil, "", claims.ErrIssuer
	}
	return issuers[issuer].key.Public(), issuers[issuer].alg, nil
}

func (d directory) Speaks(_ context.Context, issuer, domain string) error {
	if !slices.Contains(d[issuer], domain) {
		return claims.ErrDomain
	}
	return nil
}

// A list has entries 0 to 3 of the statuses 0 to 3. The others cannot be known.
type list struct{}

func (list) Status(_ context.Context, _ string, ref statuslist.Reference) (statuslist.Status, error) {
	if ref.Index > 3 {
		return 0, statuslist.ErrUnreachable
	}
	return statuslist.Status(ref.Index), nil
}

// options are those of a strict verifier.
func options() sdjwt.Options {
	return sdjwt.Options{
		Options: credential.Options{Issuers: trusted, Status: list{}, Now: func() time.Time { return now }, Development: true},
		Binding: &sdjwt.Binding{Audience: room, Nonce: nonce},
	}
}

// A stream is a source of randomness that is the same each time.
type stream struct{ n uint64 }

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, s.n))
		p[i], s.n = sum[0], s.n+1
	}
	return len(p), nil
}

// vc is the credential of Alice's phone.
func vc() *sdjwt.VC {
	return &sdjwt.VC{
		Issuer: home, ID: "0hQJ4kR7cYw1aZt2", Device: alicePhone, User: alice, Handle: aliceHandle, Key: phone.key.Public(),
		IssuedAt: now.Add(-24 * time.Hour), Expires: now.Add(29 * 24 * time.Hour),
		Status: &statuslist.Reference{Index: 0, URI: home + "/status/7"},
	}
}

// issue signs a credential of the home issuer.
func issue(t testing.TB, v *sdjwt.VC) *sdjwt.Token {
	t.Helper()
	text, err := v.Sign(issuers[v.Issuer], &stream{})
	if err != nil {
		t.Fatalf("Sign = %v", err)
	}
	return parse(t, text)
}

func parse(t testing.TB, text string) *sdjwt.Token {
	t.Helper()
	token, err := sdjwt.Parse(text)
	if err != nil {
		t.Fatalf("Parse = %v", err)
	}
	return token
}

// present shows a credential to the verifier of [options].
func present(t testing.TB, token *sdjwt.Token, holder *author, disclose ...string) string {
	t.Helper()
	text, err := token.Present(holder.key, sdjwt.Binding{Audience: room, Nonce: nonce}, now, disclose...)
	if err != nil {
		t.Fatalf("Present = %v", err)
	}
	return text
}

// wantRefused checks that err refuses part with code.
func wantRefused(t testing.TB, err error, part string, code credential.Code) {
	t.Helper()
	refused := (*credential.Error)(nil)
	if !errors.As(err, &refused) || refused.Part != part || refused.Code != code {
		t.Errorf("got %v, want %q refused with %s", err, part, code)
	}
}

// Parts make an SD-JWT of any content, also one that package sdjwt does not make.
type parts struct {
	header, payload object
	disclosures     []string // base64url
	issuer          *author
	tamper          func(jwt string) string // changes the issuer-signed JWT; nil: not
	bound           bool
	kbHeader        object
	kb              object // without sd_hash: that of the text
	holder          *author
}

// An object is a JSON object in the order of its text. Values are JSON.
type object []struct{ name, value string }

func (o *object) set(name, value string) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	o.add(name, value)
}

func (o *object) add(name, value string) {
	*o = append(*o, struct{ name, value string }{name, value})
}

func (o *object) drop(name string) {
	*o = slices.DeleteFunc(*o, func(m struct{ name, value string }) bool { return m.name == name })
}

func (o object) get(name string) string {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return ""
}

func (o object) String() string {
	var members []string
	for _, m := range o {
		members = append(members, quote(m.name)+":"+m.value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// presented are the parts of a presentation with the handle, by Alice's phone.
func presented() *parts {
	p := &parts{issuer: issuers[home], bound: true, holder: phone}
	p.header.add("typ", `"dc+sd-jwt"`)
	p.header.add("alg", quote(p.issuer.alg))
	p.header.add("kid", quote(p.issuer.kid))
	p.disclosures = []string{disclosure(`["Rk5GNHg4bTRzUTJ2aEg0bA","handle",` + quote(aliceHandle) + `]`)}
	for _, c := range [][2]string{
		{"iss", quote(home)}, {"vct", quote(credential.VCT)}, {"sub", quote(alicePhone)}, {"user", quote(alice)}, {"jti", `"0hQJ4kR7cYw1aZt2"`},
		{"iat", fmt.Sprint(now.Add(-24 * time.Hour).Unix())}, {"exp", fmt.Sprint(now.Add(29 * 24 * time.Hour).Unix())},
		{"cnf", `{"jwk":` + phone.jwk() + `}`}, {"status", `{"status_list":{"idx":0,"uri":"` + home + `/status/7"}}`},
		{"_sd", `["` + digest(p.disclosures[0]) + `"]`}, {"_sd_alg", `"sha-256"`},
	} {
		p.payload.add(c[0], c[1])
	}
	p.kbHeader.add("typ", `"kb+jwt"`)
	p.kbHeader.add("alg", quote(phone.alg))
	p.kb.add("aud", quote(room))
	p.kb.add("nonce", quote(nonce))
	p.kb.add("iat", fmt.Sprint(now.Unix()))
	return p
}

// hide replaces a claim at the top level by a disclosure.
func (p *parts) hide(name string) {
	value := p.payload.get(name)
	p.payload.drop(name)
	p.disclose(fmt.Sprintf(`["aGlkZGVuX3NhbHRfMTI4Yg",%s,%s]`, quote(name), value))
}

// disclose adds a disclosure of a claim at the top level, with its digest.
func (p *parts) disclose(array string) {
	d := disclosure(array)
	p.disclosures = append(p.disclosures, d)
	p.digest(digest(d))
}

// digest adds a digest at the top level.
func (p *parts) digest(digest string) {
	list := strings.TrimSuffix(p.payload.get("_sd"), "]") + `,"` + digest + `"]`
	p.payload.set("_sd", list)
}

// to makes holder the owner of the credential.
func (p *parts) to(holder *author) {
	p.holder = holder
	p.payload.set("cnf", `{"jwk":`+holder.jwk()+`}`)
	p.kbHeader.set("alg", quote(holder.alg))
}

func (p *parts) text() string {
	text := p.issuer.jws(p.header.String(), p.payload.String())
	if p.tamper != nil {
		text = p.tamper(text)
	}
	text += "~"
	for _, d := range p.disclosures {
		text += d + "~"
	}
	if !p.bound {
		return text
	}
	kb := slices.Clone(p.kb)
	if kb.get("sd_hash") == "" {
		kb.add("sd_hash", quote(digest(text)))
	}
	return text + p.holder.jws(p.kbHeader.String(), kb.String())
}

// jws signs by the author's algorithm, whatever the header says.
func (a *author) jws(header, payload string) string {
	text, err := jose.Sign(a.key, a.alg, []byte(header), []byte(payload))
	if err != nil {
		panic(err)
	}
	return text
}

// disclosure encodes the array of a disclosure.
func disclosure(array string) string { return base64.RawURLEncoding.EncodeToString([]byte(array)) }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// rsaKey is the JWK of an RSA key that is not used.
func rsaKey() string {
	n := new(big.Int).Lsh(big.NewInt(1), 2047)
	jwk, err := jose.MarshalJWK(&rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537})
	if err != nil {
		panic(err)
	}
	return string(jwk)
}
