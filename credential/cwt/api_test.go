package cwt_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/veraison/go-cose"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/statuslist"
)

func TestNewSignerRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		kid, alg string
		key      crypto.Signer
	}{
		{"", "ES256", issuerP256}, {"k1", "ES256", nil}, {"k1", "", issuerP256}, {"k1", "ES384", issuerP256}, {"k1", "EdDSA", issuerP256},
		{"k1", "ES256", issuerEd25519}, {"k1", "ES384", p384}, {"k1", "RS256", rs}, {"k1", "none", issuerP256}, {"k1", "ES256", p384},
	} {
		if _, err := cwt.NewSigner(c.kid, c.alg, c.key); err == nil {
			t.Errorf("NewSigner(%q, %q, %T) returned no error", c.kid, c.alg, c.key)
		}
	}
	if _, err := cwt.NewSigner("k2", "Ed25519", issuerEd25519); err != nil { // the other name of EdDSA
		t.Errorf("NewSigner = %v", err)
	}
}

// A key that fails, as one in hardware may, fails the signature.
func TestSignerFails(t *testing.T) {
	for _, broken := range []broken{{issuerP256}, {issuerEd25519}} {
		s := signer(t, "k1", broken)
		if data, err := cwt.SignAccessToken(userSet(t), phone.Public(), s); !errors.Is(err, errBroken) {
			t.Errorf("SignAccessToken = %x, %v, want %v", data, err, errBroken)
		}
		v := deviceVC()
		if data, err := v.Sign(s); !errors.Is(err, errBroken) {
			t.Errorf("Sign = %x, %v, want %v", data, err, errBroken)
		}
	}
}

var errBroken = errors.New("the key is broken")

type broken struct{ crypto.Signer }

func (broken) Sign(_ io.Reader, _ []byte, _ crypto.SignerOpts) ([]byte, error) {
	return nil, errBroken
}

func TestSignAccessTokenRefuses(t *testing.T) {
	s := signer(t, "k1", issuerP256)
	for name, c := range map[string]struct {
		change func(*claims.Set)
		key    crypto.PublicKey
	}{
		"another key":        {nil, laptop.Public()},
		"no key":             {nil, nil},
		"no jkt":             {func(s *claims.Set) { s.JKT = "" }, phone.Public()},
		"ill-formed text":    {func(s *claims.Set) { s.Scope = "\xff" }, phone.Public()},
		"ill-formed jti":     {func(s *claims.Set) { s.JTI = "\xff" }, phone.Public()},
		"time before 1970":   {func(s *claims.Set) { s.Expires = time.Unix(-1, 0) }, phone.Public()},
		"time beyond 9999":   {func(s *claims.Set) { s.Expires = time.Unix(253402300800, 0) }, phone.Public()},
		"empty audience":     {func(s *claims.Set) { s.Audience = []string{"a", ""} }, phone.Public()},
		"one empty audience": {func(s *claims.Set) { s.Audience = []string{""} }, phone.Public()},
		"status without uri": {func(s *claims.Set) { s.Status = &claims.Status{Index: 1} }, phone.Public()},
		"tokens":             {func(s *claims.Set) { s.Tokens = json.RawMessage(`{}`) }, phone.Public()},
		"tokens with space":  {func(s *claims.Set) { s.Tokens = json.RawMessage(` []`) }, phone.Public()},
		"too long":           {func(s *claims.Set) { s.Scope = strings.Repeat("a", cwt.MaxSize) }, phone.Public()},
		"too deep": {func(s *claims.Set) {
			for range 17 {
				s.Actor = &claims.Actor{Subject: "a", Actor: s.Actor}
			}
		}, phone.Public()},
	} {
		set := userSet(t)
		if c.change != nil {
			c.change(&set)
		}
		if data, err := cwt.SignAccessToken(set, c.key, s); err == nil {
			t.Errorf("%s: SignAccessToken = %x, want an error", name, data)
		}
	}
}

func TestSignVCRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*cwt.VC){
		"no issuer":         func(v *cwt.VC) { v.Issuer = "" },
		"no id":             func(v *cwt.VC) { v.ID = "" },
		"long id":           func(v *cwt.VC) { v.ID = strings.Repeat("a", 257) },
		"ill-formed id":     func(v *cwt.VC) { v.ID = "\xff" },
		"no device":         func(v *cwt.VC) { v.Device = "" },
		"no user":           func(v *cwt.VC) { v.User = "" },
		"another user":      func(v *cwt.VC) { v.User = "im:BFuVxW5BfqaMEfJDc8R7Qw@example.com;id-type=user" },
		"handle of another": func(v *cwt.VC) { v.Handle = "im:%40alice@example.org" },
		"no key":            func(v *cwt.VC) { v.Key = nil },
		"key of P-384":      func(v *cwt.VC) { v.Key = p384.Public() },
		"no beginning":      func(v *cwt.VC) { v.IssuedAt = time.Time{} },
		"no end":            func(v *cwt.VC) { v.Expires = time.Time{} },
		"the end first":     func(v *cwt.VC) { v.Expires = v.IssuedAt },
		"a long life":       func(v *cwt.VC) { v.Expires = v.IssuedAt.Add(credential.MaxLife + time.Second) },
		"status without":    func(v *cwt.VC) { v.Status = &statuslist.Reference{} },
	} {
		v := deviceVC()
		change(&v)
		if data, err := v.Sign(signer(t, "k1", issuerP256)); err == nil {
			t.Errorf("%s: Sign = %x, want an error", name, data)
		}
	}
}

func TestPresentRefuses(t *testing.T) {
	token, err := cwt.Parse(issuedVC(t, deviceVC(), "k1", issuerP256))
	if err != nil {
		t.Fatal(err)
	}
	good := cwt.Binding{Audience: verifier, Nonce: nonce}
	for name, c := range map[string]struct {
		holder crypto.Signer
		b      cwt.Binding
		at     time.Time
		code   credential.Code // empty: an error of another kind
	}{
		"another key":    {thief, good, now, credential.CodeKey},
		"too early":      {phone, good, issued.Add(-time.Second), credential.CodeBinding},
		"expired":        {phone, good, issued.Add(30 * 24 * time.Hour), credential.CodeBinding},
		"no audience":    {phone, cwt.Binding{Nonce: nonce}, now, ""},
		"no nonce":       {phone, cwt.Binding{Audience: verifier}, now, ""},
		"long audience":  {phone, cwt.Binding{Audience: strings.Repeat("a", 2049), Nonce: nonce}, now, ""},
		"long nonce":     {phone, cwt.Binding{Audience: verifier, Nonce: make([]byte, 1025)}, now, ""},
		"key that fails": {broken{phone}, good, now, ""},
	} {
		data, err := token.Present(c.holder, c.b, c.at)
		var refused *credential.Error
		if err == nil || errors.As(err, &refused) != (c.code != "") || c.code != "" && refused.Code != c.code {
			t.Errorf("%s: Present = %x, %v, want %q", name, data, err, c.code)
		}
	}
}

func TestOptions(t *testing.T) {
	shown := presented(t, issuedVC(t, deviceVC(), "k1", issuerP256), phone)
	for name, change := range map[string]func(*cwt.Options){
		"no issuers":       func(o *cwt.Options) { o.Issuers = nil },
		"no binding":       func(o *cwt.Options) { o.Binding = nil },
		"both":             func(o *cwt.Options) { o.WithoutBinding = true },
		"no audience":      func(o *cwt.Options) { o.Binding.Audience = "" },
		"no nonce":         func(o *cwt.Options) { o.Binding.Nonce = nil },
		"a negative age":   func(o *cwt.Options) { o.Binding.MaxAge = -1 },
		"issuers are away": func(o *cwt.Options) { o.Issuers = away{directory: peers, key: true} },
		"domains are away": func(o *cwt.Options) { o.Issuers = away{directory: peers} },
		"status is away":   func(o *cwt.Options) { o.Status = away{} },
	} {
		o := options()
		change(&o)
		c, err := cwt.Verify(t.Context(), shown, o)
		var refused *credential.Error
		if err == nil || errors.As(err, &refused) || c.ID != "" {
			t.Errorf("%s: Verify = %+v, %v, want an error that is no refusal", name, c, err)
		}
	}
	o := options()
	o.Status = nil
	if _, err := cwt.Verify(t.Context(), shown, o); !errors.Is(err, credential.CodeUnchecked) {
		t.Errorf("Verify without a source of statuses = %v, want %v", err, credential.CodeUnchecked)
	}
	o.Unchecked = true
	if c, err := cwt.Verify(t.Context(), shown, o); err != nil || c.Checked {
		t.Errorf("Verify without looking at the status = %+v, %v", c, err)
	}
	o.Development = false // example.com is for examples
	if _, err := cwt.Verify(t.Context(), shown, o); !errors.Is(err, credential.CodeClaim) {
		t.Errorf("Verify of a reserved domain = %v, want %v", err, credential.CodeClaim)
	}
	// Clocks that differ, and a presentation that is verified later than it was received.
	o = options()
	o.Now = func() time.Time { return now.Add(-65 * time.Second) }
	if _, err := cwt.Verify(t.Context(), shown, o); !errors.Is(err, credential.CodeAge) {
		t.Errorf("Verify by a clock that is behind = %v, want %v", err, credential.CodeAge)
	}
	o.Leeway = 5 * time.Second
	if _, err := cwt.Verify(t.Context(), shown, o); err != nil {
		t.Errorf("Verify with leeway = %v", err)
	}
	o.Now, o.Leeway, o.Binding.At = func() time.Time { return now.Add(time.Hour) }, 0, now
	if _, err := cwt.Verify(t.Context(), shown, o); err != nil {
		t.Errorf("Verify an hour later, at the time when it was received = %v", err)
	}
}

// away is a source that cannot be reached.
type away struct {
	directory
	key bool
}

var errAway = errors.New("away")

func (a away) Key(ctx context.Context, issuer, kid string) (crypto.PublicKey, string, error) {
	if a.key {
		return nil, "", errAway
	}
	return a.directory.Key(ctx, issuer, kid)
}

func (away) Speaks(context.Context, string, string) error { return errAway }

func (away) Status(context.Context, string, statuslist.Reference) (statuslist.Status, error) {
	return 0, errAway
}

func TestDecoder(t *testing.T) {
	data := signed(t, userSet(t), phone, "k1", issuerP256)
	var refused *credential.Error
	if _, err := (&cwt.Decoder{}).Decode(t.Context(), data); err == nil || errors.As(err, &refused) {
		t.Errorf("Decode without keys = %v, want an error that is no refusal", err)
	}
	if _, err := (&cwt.Decoder{Keys: away{key: true}}).Decode(t.Context(), data); !errors.Is(err, errAway) || errors.As(err, &refused) {
		t.Errorf("Decode while keys are away = %v, want %v", err, errAway)
	}
	// An issuer that gave an old name to a new key.
	renewed := directory{home: {Domains: []string{"example.com"}, keys: map[string]crypto.Signer{"k1": otherP256}}}
	if _, err := (&cwt.Decoder{Keys: renewed}).Decode(t.Context(), data); !errors.Is(err, credential.CodeSignature) {
		t.Errorf("Decode with the former key = %v, want %v", err, credential.CodeSignature)
	}
	token, err := (&cwt.Decoder{Keys: other{renewed, issuerP256}}).Decode(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	set := token.Set()
	err = set.Validate(claims.Expect{Issuer: home, Audience: "im:example.com", Domains: []string{"example.com"}, Now: now, Development: true})
	if err != nil || !token.BoundTo(phone.Public()) || token.BoundTo(laptop.Public()) || token.BoundTo(nil) {
		t.Errorf("Validate = %v, want a token that is bound to the phone", err)
	}
	// The key by which both thumbprints are made: one of each is not enough.
	mixed := access(t, m{8: m{5: ckt(t, laptop)}}).bytes()
	if token, err = cwt.ParseAccessToken(mixed); err != nil || token.BoundTo(phone.Public()) || token.BoundTo(laptop.Public()) {
		t.Errorf("ParseAccessToken = %v, want a token that no key fits", err)
	}
	// A token that is bound to no key has no thumbprint that could equal one.
	service := userSet(t)
	service.JKT = ""
	if token, err = cwt.ParseAccessToken(signed(t, service, nil, "k1", issuerP256)); err != nil || token.Thumbprint() != nil || token.BoundTo(phone.Public()) {
		t.Errorf("ParseAccessToken = %v, want a token without key", err)
	}
}

// other is a directory with a new key.
type other struct {
	directory
	key crypto.Signer
}

func (o other) OtherKey(context.Context, string, string, crypto.PublicKey) (crypto.PublicKey, string, error) {
	return o.key.Public(), "ES256", nil
}

// Package cose, which parses messages by itself, reads and verifies ours.
func TestCose(t *testing.T) {
	vc := issuedVC(t, deviceVC(), "k1", issuerP256)
	for name, c := range map[string]struct {
		data []byte
		alg  cose.Algorithm
		key  crypto.PublicKey
	}{
		"access token":         {signed(t, userSet(t), phone, "k1", issuerP256), cose.AlgorithmES256, ecdsaKey(issuerP256)},
		"access token, EdDSA":  {signed(t, userSet(t), phone, "k2", issuerEd25519), cose.AlgorithmEdDSA, issuerEd25519.Public()},
		"credential":           {vc, cose.AlgorithmES256, ecdsaKey(issuerP256)},
		"presentation, EdDSA":  {presented(t, vc, phone), cose.AlgorithmEdDSA, phone.Public()},
		"put together by hand": {access(t, nil).bytes(), cose.AlgorithmES256, ecdsaKey(issuerP256)},
	} {
		var m cose.Sign1Message
		if err := m.UnmarshalCBOR(c.data); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		v, err := cose.NewVerifier(c.alg, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Verify(nil, v); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := m.MarshalCBOR(); err != nil || !bytes.Equal(again, c.data) {
			t.Errorf("%s: written again it is %x, %v", name, again, err)
		}
	}
}

func ecdsaKey(key crypto.Signer) *ecdsa.PublicKey { return key.Public().(*ecdsa.PublicKey) }

func TestReadText(t *testing.T) {
	for text, code := range map[string]credential.Code{
		"":        "",
		"0oQ":     "",
		"0oQ=":    credential.CodeMalformed,
		"0oR":     credential.CodeMalformed, // bits after the last byte
		"0o Q":    credential.CodeMalformed,
		"0o+/":    credential.CodeMalformed,
		"eyJ.e.s": credential.CodeType,
		`{"a":1}`: credential.CodeType,

		strings.Repeat("A", 16385): credential.CodeTooLarge,
	} {
		_, err := cwt.ReadText(text)
		var refused *credential.Error
		if (err != nil) != (code != "") || err != nil && (!errors.As(err, &refused) || refused.Code != code) {
			t.Errorf("ReadText(%.20q) = %v, want %q", text, err, code)
		}
	}
}

func TestDiagnoseRefuses(t *testing.T) {
	for _, data := range [][]byte{nil, {0xd2}, []byte("eyJ"), enc(m{})} {
		if text, err := cwt.Diagnose(data); err == nil {
			t.Errorf("Diagnose(%x) = %q, want an error", data, text)
		}
	}
	empty := bound([]byte{0xd2, 0x84, 0x40, 0xa0, 0x40, 0x40}, nil).bytes() // an empty credential
	inOther := bound(bound(vc(nil).bytes(), nil).bytes(), nil).bytes()
	for _, kbt := range [][]byte{empty, inOther} {
		if text, err := cwt.Diagnose(kbt); err == nil {
			t.Errorf("Diagnose = %q, want an error", text)
		}
	}
}

func ExampleVerify() {
	// The issuer makes the credential of a device.
	issuer, _ := cwt.NewSigner("k1", "ES256", issuerP256)
	vc := deviceVC()
	data, _ := vc.Sign(issuer)
	// The device shows it to the verifier that asked with a nonce.
	token, _ := cwt.Parse(data)
	shown, _ := token.Present(phone, cwt.Binding{Audience: verifier, Nonce: nonce}, now)
	// The verifier asks its table of trusted issuers and its reader of status lists.
	c, err := cwt.Verify(context.Background(), shown, cwt.Options{
		Options: credential.Options{Issuers: peers, Status: statuses{}, Now: func() time.Time { return now }, Development: true},
		Binding: &cwt.Binding{Audience: verifier, Nonce: nonce},
	})
	fmt.Println(c.Identity.Handle, err)
	// Output: im:%40alice@example.com <nil>
}

func ExampleDecoder() {
	// The issuer makes the twin of a JWT.
	set := claims.Set{Issuer: home, Subject: "gateway", ClientID: "gateway", JTI: "t-2"}
	issuer, _ := cwt.NewSigner("k1", "ES256", issuerP256)
	data, _ := cwt.SignAccessToken(set, nil, issuer)
	// A resource reads it.
	decoder := cwt.Decoder{Keys: peers}
	token, err := decoder.Decode(context.Background(), data)
	fmt.Println(token.Set().JTI, err)
	// Output: t-2 <nil>
}
