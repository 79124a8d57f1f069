package jose_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

// keys returns one signing key for each key type, the same ones for the whole run.
var keys = sync.OnceValue(func() map[string]crypto.Signer {
	made := map[string]crypto.Signer{}
	for name, curve := range map[string]elliptic.Curve{
		"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521(), "P-224": elliptic.P224(),
	} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			panic(err)
		}
		made[name] = key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	made["Ed25519"] = ed
	for _, bits := range []int{1024, 2048} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			panic(err)
		}
		made[fmt.Sprintf("RSA-%d", bits)] = key
	}
	return made
})

// fitting tells which keys fit which algorithm.
var fitting = map[string]string{
	jose.ES256: "P-256", jose.ES384: "P-384", jose.ES512: "P-521", jose.EdDSA: "Ed25519", jose.Ed25519: "Ed25519",
	jose.PS256: "RSA-2048", jose.RS256: "RSA-2048",
}

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func TestSignAndVerify(t *testing.T) {
	for alg, keyName := range fitting {
		t.Run(alg, func(t *testing.T) {
			key := keys()[keyName]
			header := `{"alg":"` + alg + `","typ":"at+jwt","kid":"k","cty":"NJWT","x":1}`
			token, err := jose.Sign(key, alg, []byte(header), []byte("payload"))
			if err != nil {
				t.Fatalf("Sign = %v", err)
			}
			jws, err := jose.ParseCompact(token, jose.Limits{})
			if err != nil {
				t.Fatalf("ParseCompact = %v", err)
			}
			h := jws.Header
			if h.Alg != alg || h.Typ != jose.TypeAccessToken || h.Kid != "k" || h.Cty != "NJWT" || h.JWK != nil {
				t.Errorf("Header = %+v", h)
			}
			if string(jws.Payload) != "payload" {
				t.Errorf("Payload = %q", jws.Payload)
			}
			if got := jws.Encode(); got != token {
				t.Errorf("Encode = %q, want %q", got, token)
			}
			for other, otherKey := range fitting {
				same := other == alg || strings.HasPrefix(other, "Ed") && strings.HasPrefix(alg, "Ed")
				err := jws.Verify(other, keys()[otherKey].Public())
				if (err == nil) != same || err != nil && !errors.Is(err, jose.ErrSignature) {
					t.Errorf("Verify(%s) = %v, want verified: %v", other, err, same)
				}
			}
			for name, other := range keys() {
				if err := jws.Verify(alg, other.Public()); (err == nil) != (name == keyName) {
					t.Errorf("Verify with the key %s = %v", name, err)
				}
			}
			for i := range len(token) {
				if token[i] == '.' {
					continue
				}
				c := byte('A')
				if token[i] == c {
					c = 'B'
				}
				jws, err := jose.ParseCompact(token[:i]+string(c)+token[i+1:], jose.Limits{})
				if err == nil && jws.Verify(alg, key.Public()) == nil {
					t.Fatalf("byte %d changed: verified", i)
				}
			}
		})
	}
}

func TestVerifyRefusesBadKeys(t *testing.T) {
	token, err := jose.Sign(keys()["Ed25519"], jose.EdDSA, []byte(`{"alg":"EdDSA"}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := jose.ParseCompact(token, jose.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.PublicKey{
		nil, ed25519.PublicKey(nil), ed25519.PublicKey("short"), (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{},
		(*rsa.PublicKey)(nil), &rsa.PublicKey{}, []byte("secret"),
	} {
		for _, alg := range []string{"EdDSA", "ES256", "PS256", "none", "HS256", ""} {
			if err := jws.Verify(alg, key); !errors.Is(err, jose.ErrSignature) {
				t.Errorf("Verify(%s, %T) = %v, want %v", alg, key, err, jose.ErrSignature)
			}
		}
	}
}

// The header's algorithm must be the pinned one, also where key and signature would do for it.
func TestVerifyPinsAlgorithm(t *testing.T) {
	for _, header := range []string{"ES384", "none", "HS256", "es256", "EdDSA"} {
		token, err := jose.Sign(keys()["P-256"], jose.ES256, []byte(`{"alg":"`+header+`"}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := jws.Verify(jose.ES256, keys()["P-256"].Public()); !errors.Is(err, jose.ErrSignature) {
			t.Errorf("Verify of alg %s as ES256 = %v, want %v", header, err, jose.ErrSignature)
		}
	}
}

// RFC 7518 §3.4: R and S have the length of the order, so that a signature has one spelling.
func TestVerifyECDSALength(t *testing.T) {
	for alg, size := range map[string]int{"ES256": 32, "ES384": 48, "ES512": 66} {
		key := keys()[fitting[alg]]
		token, err := jose.Sign(key, alg, []byte(`{"alg":"`+alg+`"}`), nil)
		if err != nil {
			t.Fatal(err)
		}
		input, text, _ := strings.Cut(token, "..")
		signature := decode(t, text)
		r, s := signature[:size], signature[size:]
		for text, want := range map[string]error{
			r + s: nil, "\x00" + r + "\x00" + s: jose.ErrSignature, r + "\x00" + s: jose.ErrSignature,
			"\x00" + r + s: jose.ErrSignature, r + s + "\x00": jose.ErrSignature, r: jose.ErrSignature,
			r + s[:size-1]: jose.ErrSignature, s + r: jose.ErrSignature, "": jose.ErrSignature,
			strings.Repeat("\x00", 2*size): jose.ErrSignature, strings.Repeat("\xff", 2*size): jose.ErrSignature,
		} {
			if err := jose.Verify(alg, key.Public(), []byte(input+"."), []byte(text)); !errors.Is(err, want) {
				t.Errorf("Verify(%s) of %d bytes = %v, want %v", alg, len(text), err, want)
			}
		}
	}
}

func TestSignRefusesKey(t *testing.T) {
	for alg, key := range map[string]string{
		"ES256": "P-384", "EdDSA": "P-256", "PS256": "RSA-1024", "RS256": "Ed25519", "none": "P-256", "HS256": "P-256",
		"ES521": "P-521",
	} {
		if token, err := jose.Sign(keys()[key], alg, []byte(`{}`), nil); err == nil {
			t.Errorf("Sign(%s, %s) = %q, want an error", key, alg, token)
		}
	}
}

type brokenSigner struct {
	crypto.Signer
	signature []byte
	err       error
}

func (b brokenSigner) Sign(rand io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return b.signature, b.err
}

func TestSignReportsSigner(t *testing.T) {
	gone := errors.New("token removed from its slot")
	if _, err := jose.Sign(brokenSigner{keys()["P-256"], nil, gone}, "ES256", []byte(`{}`), nil); !errors.Is(err, gone) {
		t.Errorf("Sign = %v, want %v", err, gone)
	}
	for _, signature := range []string{
		"", "no DER", "\x30\x06\x02\x01\x01\x02\x01\x01x",
		"\x30\x26\x02\x21\x01" + strings.Repeat("0", 32) + "\x02\x01\x01",
	} {
		signer := brokenSigner{keys()["P-256"], []byte(signature), nil}
		if token, err := jose.Sign(signer, "ES256", []byte(`{}`), nil); err == nil {
			t.Errorf("Sign = %q, want an error", token)
		}
	}
}

func TestParseCompactRefuses(t *testing.T) {
	good := encode(`{"alg":"ES256"}`)
	for _, tt := range []struct{ name, token, part string }{
		{"nothing", "", "form"},
		{"one part", good, "form"},
		{"two parts", good + ".e30", "form"},
		{"four parts", good + ".e30.AA.AA", "form"},
		{"five parts", good + ".e30.AA.AA.AA", "form"},
		{"JSON serialization", `{"protected":"` + good + `","payload":"e30","signature":"AA"}`, "form"},
		{"longer than the limit", good + "." + strings.Repeat("A", 16<<10) + ".AA", "size"},
		{"header longer than the limit", encode(`{"alg":"ES256","x":"`+strings.Repeat("x", 8<<10)+`"}`) + ".e30.AA", "size"},
		{"padding", good + ".e30=.AA", "payload"},
		{"plain base64", good + ".e30.+/+/", "signature"},
		{"line break", good + ".e3\n0.AA", "payload"},
		{"line breaks that fill a group", good + ".e30.AA\r\n", "signature"},
		{"space", " " + good + ".e30.AA", "header"},
		{"bits after the last byte", good + ".e30.AB", "signature"},
		{"one digit", good + ".e30.A", "signature"},
		{"empty header", ".e30.AA", "header"},
		{"header no object", encode(`"ES256"`) + ".e30.AA", "header"},
		{"header with more behind", encode(`{"alg":"ES256"}{}`) + ".e30.AA", "header"},
		{"alg twice", encode(`{"alg":"ES256","alg":"none"}`) + ".e30.AA", "header"},
		{"alg twice, escaped", encode(`{"alg":"ES256","\u0061lg":"none"}`) + ".e30.AA", "header"},
		{"alg missing", encode(`{"typ":"at+jwt"}`) + ".e30.AA", "alg"},
		{"alg empty", encode(`{"alg":""}`) + ".e30.AA", "alg"},
		{"alg a number", encode(`{"alg":256}`) + ".e30.AA", "alg"},
		{"alg in another case", encode(`{"Alg":"ES256"}`) + ".e30.AA", "header"},
		{"alg in two cases", encode(`{"alg":"ES256","ALG":"none"}`) + ".e30.AA", "header"},
		{"typ null", encode(`{"alg":"ES256","typ":null}`) + ".e30.AA", "typ"},
		{"kid an array", encode(`{"alg":"ES256","kid":[]}`) + ".e30.AA", "kid"},
		{"crit", encode(`{"alg":"ES256","crit":["exp"],"exp":1}`) + ".e30.AA", "crit"},
		{"crit empty", encode(`{"alg":"ES256","crit":[]}`) + ".e30.AA", "crit"},
		{"crit for b64", encode(`{"alg":"ES256","crit":["b64"],"b64":false}`) + ".e30.AA", "crit"},
		{"crit in another case", encode(`{"alg":"ES256","Crit":["b64"]}`) + ".e30.AA", "header"},
		{"invalid UTF-8", encode("{\"alg\":\"ES256\xff\"}") + ".e30.AA", "header"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := jose.ParseCompact(tt.token, jose.Limits{})
			var refused *jose.ParseError
			if !errors.As(err, &refused) || refused.Part != tt.part || refused.Unwrap() == nil {
				t.Errorf("ParseCompact = %v, want part %s", err, tt.part)
			}
		})
	}
}

func TestParseCompactLimits(t *testing.T) {
	token := encode(`{"alg":"ES256"}`) + ".e30.AA"
	if _, err := jose.ParseCompact(token, jose.Limits{Total: len(token), Header: len(`{"alg":"ES256"}`)}); err != nil {
		t.Errorf("ParseCompact at the limits = %v", err)
	}
	for _, limits := range []jose.Limits{{Total: len(token) - 1}, {Header: len(`{"alg":"ES256"}`) - 1}} {
		var refused *jose.ParseError
		if _, err := jose.ParseCompact(token, limits); !errors.As(err, &refused) || refused.Part != "size" {
			t.Errorf("ParseCompact with %+v = %v, want part size", limits, err)
		}
	}
}

// What ParseCompact accepts has one spelling: Encode gives it back byte for byte.
func FuzzParseCompact(f *testing.F) {
	f.Add("eyJhbGciOiJFUzI1NiJ9.e30.AA")
	f.Add("eyJhbGciOiJFUzI1NiIsImtpZCI6IkJlQUxrYiJ9.eyJzdWIiOiJzb21lb25lQGV4YW1wbGUuY29tIn0.3Tyo8VTcn6u_PboUmA")
	f.Add("eyJhbGciOiJFUzI1NiJ9..")
	f.Fuzz(func(t *testing.T, token string) {
		jws, err := jose.ParseCompact(token, jose.Limits{})
		if err != nil {
			return
		}
		if got := jws.Encode(); got != token {
			t.Errorf("Encode = %q, want %q", got, token)
		}
		if jws.Header.Alg == "" {
			t.Error("a header without alg was accepted")
		}
	})
}
