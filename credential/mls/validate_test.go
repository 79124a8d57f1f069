package mls_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/mls"
	"github.com/imidentity/issuer/credential/sdjwt"
	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/statuslist"
	"github.com/imidentity/issuer/trust"
)

const (
	issuer = "https://id.example.com"
	list   = issuer + "/status/7"
	room   = "mimi://example.com/r/clubhouse"
	device = "im:u/72b@example.com"
	user   = "im:u@example.com;id-type=user"
	handle = "im:%40alice@example.com"
)

var (
	issued  = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	bound   = issued.Add(time.Hour)
	now     = issued.Add(10 * 24 * time.Hour)
	expires = issued.Add(30 * 24 * time.Hour)
)

// seed returns 32 bytes that depend on a name alone.
func seed(name string) []byte {
	sum := sha256.Sum256([]byte(name))
	return sum[:]
}

// ed25519Key and ecdsaKey return the key of a name.
func ed25519Key(name string) ed25519.PrivateKey { return ed25519.NewKeyFromSeed(seed(name)) }

func ecdsaKey(curve elliptic.Curve, name string) *ecdsa.PrivateKey {
	d := new(big.Int).SetBytes(seed(name))
	d.Mod(d, new(big.Int).Sub(curve.Params().N, big.NewInt(1)))
	key, err := ecdsa.ParseRawPrivateKey(curve, d.Add(d, big.NewInt(1)).FillBytes(make([]byte, (curve.Params().BitSize+7)/8)))
	if err != nil {
		panic(err)
	}
	return key
}

// signer is the issuer: it signs with the key "issuer", as k1.
type signer struct{}

func (signer) Sign(typ string, payload []byte) (string, error) {
	return jose.Sign(ed25519Key("issuer"), jose.EdDSA, fmt.Appendf(nil, `{"typ":%q,"alg":"EdDSA","kid":"k1"}`, typ), payload)
}

// An authority is the issuer's keys and its status list, of which the entries 0 to 3 have the statuses 0 to 3.
type authority struct {
	table  *trust.Table
	reader *statuslist.Reader
	server *httptest.Server
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a, err := startAuthority()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.server.Close)
	return a
}

func startAuthority() (*authority, error) {
	jwk, err := jose.MarshalJWK(ed25519Key("issuer").Public())
	if err != nil {
		return nil, err
	}
	a := &authority{}
	a.table, err = trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{
		{Domain: "example.com", Issuer: issuer, JWKS: fmt.Appendf(nil, `{"keys":[{"kid":"k1",%s]}`, jwk[1:])},
	}})
	if err != nil {
		return nil, err
	}
	a.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		entries, err := statuslist.New(2, 1024)
		for i := range statuslist.Status(4) {
			err = errors.Join(err, entries.Set(uint64(i), i))
		}
		token := statuslist.Token{Issuer: issuer, Subject: list, IssuedAt: now, Expires: now.Add(time.Hour), TTL: time.Hour, List: entries}
		signed, signErr := token.Sign(signer{})
		if errors.Join(err, signErr) != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", statuslist.MediaType)
		fmt.Fprint(w, signed)
	}))
	client := a.server.Client() // its certificate is good for id.example.com
	transport := client.Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, a.server.Listener.Addr().String())
	}
	client.Transport = transport
	a.reader, err = statuslist.NewReader(statuslist.ReaderConfig{
		Keys: a.table, Client: client, Bits: 2, Now: func() time.Time { return now },
	})
	if err != nil {
		a.server.Close()
	}
	return a, err
}

func (a *authority) options() mls.Options {
	return mls.Options{Options: credential.Options{
		Issuers: a.table, Status: a.reader, Development: true, Now: func() time.Time { return now },
	}}
}

// vc returns the credential of the device for a key, whose status is the entry of that index.
func vc(t testing.TB, key crypto.PublicKey, index uint64) string {
	t.Helper()
	v := sdjwt.VC{
		Issuer: issuer, ID: "c1", Device: device, User: user, Handle: handle, Key: key, IssuedAt: issued, Expires: expires,
		Status: &statuslist.Reference{Index: index, URI: list},
	}
	text, err := v.Sign(signer{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// bind makes the credential of a leaf, and the leaf. An empty room is for a KeyPackage.
func bind(t testing.TB, key crypto.Signer, suite mls.CipherSuite, in string, index uint64, disclose ...string) (*mls.Credential, mls.Leaf) {
	t.Helper()
	c, err := mls.Bind(vc(t, key.Public(), index), key, suite, in, bound, disclose...)
	if err != nil {
		t.Fatal(err)
	}
	signatureKey, err := suite.SignatureKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	leaf := mls.Leaf{CipherSuite: suite, SignatureKey: signatureKey, Room: in}
	if in == "" {
		leaf.Lifetime = &mls.Lifetime{NotBefore: uint64(bound.Unix()), NotAfter: uint64(bound.Add(84 * 24 * time.Hour).Unix())}
	}
	return c, leaf
}

// An envelope is an SD-JWT with key binding, part by part, for what no holder makes.
type envelope struct {
	typ, payload     string
	disclosures      []string // in JSON
	key              ed25519.PrivateKey
	kbTyp, kbPayload string
	hash             string // sd_hash; computed if empty
}

func (e envelope) text(t testing.TB) string {
	t.Helper()
	text, err := signer{}.Sign(e.typ, []byte(e.payload))
	if err != nil {
		t.Fatal(err)
	}
	text += "~"
	for _, d := range e.disclosures {
		text += base64.RawURLEncoding.EncodeToString([]byte(d)) + "~"
	}
	hash := e.hash
	if hash == "" {
		hash = mls.Nonce([]byte(text))
	}
	payload := strings.TrimSuffix(e.kbPayload, "}") + `,"sd_hash":"` + hash + `"}`
	kb, err := jose.Sign(e.key, jose.EdDSA, fmt.Appendf(nil, `{"typ":%q,"alg":"EdDSA"}`, e.kbTyp), []byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return text + kb
}

// newEnvelope returns that of a good credential without disclosures for the room.
func newEnvelope(key ed25519.PrivateKey) envelope {
	jwk, err := jose.MarshalJWK(key.Public())
	if err != nil {
		panic(err)
	}
	return envelope{
		typ: "dc+sd-jwt", key: key, kbTyp: "kb+jwt",
		payload: fmt.Sprintf(`{"iss":%q,"vct":%q,"sub":%q,"user":%q,"jti":"c1","iat":%d,"exp":%d,"cnf":{"jwk":%s}}`,
			issuer, credential.VCT, device, user, issued.Unix(), expires.Unix(), jwk),
		kbPayload: fmt.Sprintf(`{"aud":%q,"nonce":%q,"iat":%d}`, room, mls.Nonce(key.Public().(ed25519.PublicKey)), bound.Unix()),
	}
}

// What cannot be known is no refusal: the status list or the keys of the issuer cannot be fetched.
func TestUnknown(t *testing.T) {
	key := ed25519Key("alice")
	c, leaf := bind(t, key, 1, room, 0)
	unknown := func(what string, o mls.Options) {
		t.Helper()
		_, err := mls.Validate(t.Context(), c, leaf, o)
		if got := (*credential.Error)(nil); err == nil || errors.As(err, &got) || credential.Stands(err) {
			t.Errorf("%s: Validate = %v, want an error that is no refusal", what, err)
		}
	}

	a := newAuthority(t)
	a.server.Close()
	unknown("no status list", a.options())

	b := newAuthority(t)
	o := b.options()
	table, err := trust.NewTable(trust.Config{Development: true, Peers: []trust.Peer{{Domain: "example.com", Issuer: issuer}},
		Client: &http.Client{Transport: refuses{}}, ForeignClient: &http.Client{Transport: refuses{}}})
	if err != nil {
		t.Fatal(err)
	}
	o.Issuers = table
	unknown("no keys", o)
}

// refuses is a network that is down.
type refuses struct{}

func (refuses) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("network is unreachable")
}

// Arguments that are incomplete are no refusal of the credential, and do not loosen anything.
func TestIncomplete(t *testing.T) {
	a := newAuthority(t)
	c, leaf := bind(t, ed25519Key("alice"), 1, room, 0)
	noRoom, noIssuers := leaf, a.options()
	noRoom.Room, noIssuers.Issuers = "", nil
	for name, err := range map[string]error{
		"no room":    second(mls.Validate(t.Context(), c, noRoom, a.options())),
		"no issuers": second(mls.Validate(t.Context(), c, leaf, noIssuers)),
	} {
		if got := (*credential.Error)(nil); err == nil || errors.As(err, &got) {
			t.Errorf("%s: Validate = %v, want an error that is no refusal", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Each suite has its own form of the key, and accepts no key of another one.
func TestSignatureKey(t *testing.T) {
	keys := map[string]crypto.PublicKey{
		"Ed25519": ed25519Key("a").Public(), "P-256": ecdsaKey(elliptic.P256(), "a").Public(),
		"P-384": ecdsaKey(elliptic.P384(), "a").Public(), "P-521": ecdsaKey(elliptic.P521(), "a").Public(), "none": nil,
		"empty": ed25519.PublicKey{}, "pointer": &struct{}{},
	}
	for suite := range mls.CipherSuite(10) {
		want := map[mls.CipherSuite]struct {
			key  string
			size int
		}{1: {"Ed25519", 32}, 2: {"P-256", 65}, 3: {"Ed25519", 32}, 5: {"P-521", 133}, 7: {"P-384", 97}}[suite]
		for name, key := range keys {
			b, err := suite.SignatureKey(key)
			switch {
			case want.key == "":
				refused(t, fmt.Sprintf("%d with %s", suite, name), err, "cipher_suite", credential.CodeAlgorithm)
			case name != want.key:
				refused(t, fmt.Sprintf("%d with %s", suite, name), err, "signature_key", credential.CodeKey)
			case err != nil || len(b) != want.size || want.size > 32 && b[0] != 4:
				t.Errorf("suite %d: SignatureKey = %x, %v, want %d bytes", suite, b, err, want.size)
			}
		}
	}
}

// A type without a verifier is refused. With one, its answer still has to be about the key of the leaf, and about a device.
func TestVerifiers(t *testing.T) {
	a := newAuthority(t)
	key := ed25519Key("alice")
	_, leaf := bind(t, key, 1, room, 0)
	good := credential.Credential{Format: "test", Key: key.Public()}
	o := a.options()
	id, err := o.Parse(credential.Names{User: "user", Handle: "handle", Device: "device"}, user, "", device)
	if err != nil {
		t.Fatal(err)
	}
	good.Identity = id
	other, without := good, good
	other.Key, without.Identity.Device = ed25519Key("mallory").Public(), good.Identity.Handle
	outage := errors.New("the CRL cannot be fetched")
	expired := &credential.Error{Code: credential.CodeExpired}
	for _, c := range []*mls.Credential{{Type: mls.X509, Certificates: [][]byte{{1}}}, {Type: mls.SDCWT, CWT: []byte{1}}} {
		t.Run(c.Type.String(), func(t *testing.T) {
			_, err := mls.Validate(t.Context(), c, leaf, a.options())
			refused(t, "Validate", err, "credential_type", credential.CodeType)

			var answer credential.Credential
			var fails error
			o := a.options()
			o.Verifiers = map[mls.Type]mls.Verifier{
				c.Type: func(_ context.Context, got *mls.Credential, b mls.Binding, rules credential.Options) (credential.Credential, error) {
					if got != c || b.Room != room || b.Home || b.Nonce != mls.Nonce(leaf.SignatureKey) || !b.Time.Equal(now) ||
						!rules.Time().Equal(now) || rules.Issuers == nil {
						t.Errorf("the verifier gets %+v, %+v, %+v", got, b, rules)
					}
					return answer, fails
				},
			}
			for name, v := range map[string]struct {
				answer credential.Credential
				fails  error
				want   error
			}{
				"good":                 {good, nil, nil},
				"another key":          {other, nil, credential.CodeKey},
				"another key, expired": {other, expired, credential.CodeKey},
				"no device":            {without, nil, credential.CodeClaim},
				"no key":               {credential.Credential{}, nil, credential.CodeKey},
				"expired":              {good, expired, credential.CodeExpired},
				"outage":               {credential.Credential{}, outage, outage},
			} {
				answer, fails = v.answer, v.fails
				got, err := mls.Validate(t.Context(), c, leaf, o)
				if !errors.Is(err, v.want) {
					t.Errorf("%s: Validate = %v, want %v", name, err, v.want)
				}
				if returned := got.Key != nil; returned != credential.Stands(err) {
					t.Errorf("%s: Validate returns a credential: %t, after %v", name, returned, err)
				}
			}
		})
	}
}

// A credential that a device shows in one room is of no use to others: not with their key, nor in another room, nor after a change.
func TestStolen(t *testing.T) {
	a := newAuthority(t)
	c, leaf := bind(t, ed25519Key("alice"), 1, room, 0, "handle")
	mallory, err := mls.CipherSuite(1).SignatureKey(ed25519Key("mallory").Public())
	if err != nil {
		t.Fatal(err)
	}
	theirs := leaf
	theirs.SignatureKey = mallory
	_, err = mls.Validate(t.Context(), c, theirs, a.options())
	refused(t, "in a leaf with another key", err, "signature_key", credential.CodeKey)

	// No verifier asked Mallory, who chose nonce and audience, and had Alice sign a binding to Mallory's key.
	lured := newEnvelope(ed25519Key("alice"))
	lured.kbPayload = strings.Replace(lured.kbPayload, mls.Nonce(leaf.SignatureKey), mls.Nonce(mallory), 1)
	_, err = mls.Validate(t.Context(), &mls.Credential{Type: mls.SDJWT, JWT: lured.text(t)}, theirs, a.options())
	refused(t, "with a binding to the other key", err, "signature_key", credential.CodeKey)

	// Every byte counts.
	data, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for i := range data {
		changed := append([]byte(nil), data...)
		changed[i] ^= 1
		got, err := mls.Parse(changed)
		if err == nil {
			_, err = mls.Validate(t.Context(), got, leaf, a.options())
		}
		if refused := (*credential.Error)(nil); !errors.As(err, &refused) || credential.Stands(err) {
			t.Fatalf("byte %d of %d changed: %v", i, len(data), err)
		}
	}
}

// A credential that was not read by Parse is checked as well.
func TestUnbound(t *testing.T) {
	a := newAuthority(t)
	_, leaf := bind(t, ed25519Key("alice"), 1, room, 0)
	for name, c := range map[string]struct {
		text string
		part string
		code credential.Code
	}{
		"no key binding": {vc(t, ed25519Key("alice").Public(), 0), "key binding", credential.CodeNoBinding},
		"no SD-JWT":      {"text", "", credential.CodeMalformed},
		"empty":          {"", "", credential.CodeMalformed},
	} {
		_, err := mls.Validate(t.Context(), &mls.Credential{Type: mls.SDJWT, JWT: c.text}, leaf, a.options())
		refused(t, name, err, c.part, c.code)
	}
}

// A binding accepts the room and the domain of the device if they are asked for, and nothing else.
func TestAccepts(t *testing.T) {
	id, err := claims.Parse(device)
	if err != nil {
		t.Fatal(err)
	}
	other, err := claims.Parse("im:u/72b@example.org")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		binding  mls.Binding
		audience string
		device   claims.ID
		want     bool
	}{
		{mls.Binding{Room: room}, room, id, true},
		{mls.Binding{Room: room}, "im:example.com", id, false},
		{mls.Binding{Room: room}, "", id, false},
		{mls.Binding{}, "", id, false},
		{mls.Binding{}, "", claims.ID{}, false},
		{mls.Binding{Home: true}, "", claims.ID{}, false},
		{mls.Binding{Home: true}, "im:", claims.ID{}, false},
		{mls.Binding{Home: true}, "im:example.com", id, true},
		{mls.Binding{Home: true}, "mimi://example.com", id, true},
		{mls.Binding{Home: true}, "im:example.com", other, false},
		{mls.Binding{Home: true}, "example.com", id, false},
		{mls.Binding{Home: true}, room, id, false},
		{mls.Binding{Home: true, Room: room}, room, id, true},
		{mls.Binding{Home: true, Room: room}, "im:example.com", id, true},
	} {
		if got := c.binding.Accepts(c.audience, c.device); got != c.want {
			t.Errorf("%+v: Accepts(%q, %v) = %t, want %t", c.binding, c.audience, c.device, got, c.want)
		}
	}
}

// Bind refuses what no verifier would accept.
func TestBindRefuses(t *testing.T) {
	alice, p256 := ed25519Key("alice"), ecdsaKey(elliptic.P256(), "alice")
	good := vc(t, alice.Public(), 0)
	c, _ := bind(t, alice, 1, room, 0)
	access, err := signer{}.Sign("at+jwt", []byte(`{}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]struct {
		issued   string
		holder   crypto.Signer
		suite    mls.CipherSuite
		disclose []string
		want     error
	}{
		"another's key":       {good, ed25519Key("mallory"), 1, nil, credential.CodeKey},
		"key of another kind": {good, p256, 2, nil, credential.CodeKey},
		"another suite":       {good, alice, 2, nil, credential.CodeKey},
		"Ed448":               {good, alice, 4, nil, credential.CodeAlgorithm},
		"unknown suite":       {good, alice, 0xf001, nil, credential.CodeAlgorithm},
		"nothing to disclose": {good, alice, 1, []string{"name"}, credential.CodeDisclosure},
		"bound already":       {c.JWT, alice, 1, nil, credential.CodeBinding},
		"access token":        {access, alice, 1, nil, credential.CodeMalformed},
		"empty":               {"", alice, 1, nil, credential.CodeMalformed},
	} {
		got, err := mls.Bind(b.issued, b.holder, b.suite, room, bound, b.disclose...)
		if got != nil || !errors.Is(err, b.want) {
			t.Errorf("%s: Bind = %v, %v, want %v", name, got, err, b.want)
		}
	}
}
