package jose_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"

	"github.com/imidentity/issuer/internal/jose"
)

func TestThumbprintVectors(t *testing.T) {
	for _, tt := range []struct{ source, jwk, want string }{
		{"RFC 7638 section 3.1",
			`{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE` +
				`CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqz` +
				`s8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIq` +
				`bw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`,
			"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{"RFC 8037 appendix A.3", `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
			"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{"RFC 9449 section 6.1", `{"kty":"EC","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",` +
			`"y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA","crv":"P-256"}`,
			"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
	} {
		t.Run(tt.source, func(t *testing.T) {
			key, err := jose.ParseJWK([]byte(tt.jwk))
			if err != nil {
				t.Fatalf("ParseJWK = %v", err)
			}
			if key.JKT != tt.want {
				t.Errorf("JKT = %s, want %s", key.JKT, tt.want)
			}
			if got, err := jose.Thumbprint(key.Public); got != tt.want || err != nil {
				t.Errorf("Thumbprint = %s, %v, want %s", got, err, tt.want)
			}
		})
	}
}

func TestMarshalJWK(t *testing.T) {
	types := map[string]string{
		"P-256": "EC P-256", "P-384": "EC P-384", "P-521": "EC P-521", "Ed25519": "OKP Ed25519", "RSA-2048": "RSA",
	}
	for name, signer := range keys() {
		jwk, err := jose.MarshalJWK(signer.Public())
		if name == "P-224" {
			if err == nil {
				t.Errorf("MarshalJWK(%s) = %s, want an error", name, jwk)
			}
			continue
		}
		if err != nil {
			t.Fatalf("MarshalJWK(%s) = %v", name, err)
		}
		key, err := jose.ParseJWK(jwk)
		if name == "RSA-1024" {
			if err == nil {
				t.Errorf("ParseJWK(%s) = %v, want an error", name, key)
			}
			continue
		}
		if err != nil || key.Type != types[name] {
			t.Fatalf("ParseJWK(%s) = %q, %v, want %q", jwk, key.Type, err, types[name])
		}
		if again, err := jose.MarshalJWK(key.Public); string(again) != string(jwk) || err != nil {
			t.Errorf("MarshalJWK = %s, %v, want %s", again, err, jwk)
		}
		if alg := jose.AlgorithmFor(key.Public); !jose.FitsKey(alg, signer.Public()) {
			t.Errorf("AlgorithmFor(%s) = %q, which does not fit", name, alg)
		}
	}
	for _, key := range []any{
		nil, "key", keys()["P-256"], (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{}, ed25519.PublicKey{1},
		(*rsa.PublicKey)(nil), &rsa.PublicKey{N: big.NewInt(5)},
	} {
		if jwk, err := jose.MarshalJWK(key); err == nil {
			t.Errorf("MarshalJWK(%T) = %s, want an error", key, jwk)
		}
		if jkt, err := jose.Thumbprint(key); err == nil {
			t.Errorf("Thumbprint(%T) = %s, want an error", key, jkt)
		}
		if alg := jose.AlgorithmFor(key); alg != "" {
			t.Errorf("AlgorithmFor(%T) = %s, want none", key, alg)
		}
	}
}

func TestParseJWKRefuses(t *testing.T) {
	const (
		x  = `l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs`
		y  = `9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA`
		ec = `"kty":"EC","crv":"P-256","x":"` + x + `","y":"` + y + `"`
		ed = `11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo`
	)
	n := encode(string(keys()["RSA-2048"].Public().(*rsa.PublicKey).N.Bytes()))
	small := encode(string(keys()["RSA-1024"].Public().(*rsa.PublicKey).N.Bytes()))
	okp := func(x string) string { return `{"kty":"OKP","crv":"Ed25519","x":"` + encode(x) + `"}` }
	rsaKey := func(n, e string) string { return `{"kty":"RSA","n":"` + n + `","e":"` + e + `"}` }
	for _, jwk := range []string{
		`{` + ec + `}`,
		`{` + ec + `,"use":"sig","key_ops":["verify"],"alg":"ES256","kid":"k","x5c":[],"ext":true}`,
		rsaKey(n, "AQAB"),
	} {
		if _, err := jose.ParseJWK([]byte(jwk)); err != nil {
			t.Errorf("ParseJWK(%s) = %v", jwk, err)
		}
	}
	for _, tt := range []struct{ name, jwk string }{
		{"nothing", ``},
		{"null", `null`},
		{"a string", `"` + x + `"`},
		{"empty", `{}`},
		{"without kty", `{"crv":"P-256","x":"` + x + `","y":"` + y + `"}`},
		{"unknown kty", `{"kty":"AKP","pub":"AA"}`},
		{"kty in another case", `{"kty":"ec","crv":"P-256","x":"` + x + `","y":"` + y + `"}`},
		{"member in another case", `{` + ec + `,"X":"` + x + `"}`},
		{"private member in another case", `{` + ec + `,"D":"AA"}`},
		{"member twice", `{` + ec + `,"x":"` + x + `"}`},
		{"symmetric", `{"kty":"oct","k":"c2VjcmV0"}`},
		{"private EC", `{` + ec + `,"d":"AA"}`},
		{"private EC, empty", `{` + ec + `,"d":""}`},
		{"private EC, null", `{` + ec + `,"d":null}`},
		{"private Ed25519", `{"kty":"OKP","crv":"Ed25519","x":"` + ed + `","d":"AA"}`},
		{"private RSA", rsaKey(n, `AQAB","p":"AA`)},
		{"primes of RSA", rsaKey(n, `AQAB","oth":"AA`)},
		{"EC without x", `{"kty":"EC","crv":"P-256","y":"` + y + `"}`},
		{"EC without y", `{"kty":"EC","crv":"P-256","x":"` + x + `"}`},
		{"EC without crv", `{"kty":"EC","x":"` + x + `","y":"` + y + `"}`},
		{"x a number", `{"kty":"EC","crv":"P-256","x":1,"y":"` + y + `"}`},
		{"unknown curve", `{"kty":"EC","crv":"secp256k1","x":"` + x + `","y":"` + y + `"}`},
		{"wrong curve", `{"kty":"EC","crv":"P-384","x":"` + x + `","y":"` + y + `"}`},
		{"x and y exchanged", `{"kty":"EC","crv":"P-256","x":"` + y + `","y":"` + x + `"}`},
		{"infinity", `{"kty":"EC","crv":"P-256","x":"` + strings.Repeat("A", 43) + `",` +
			`"y":"` + strings.Repeat("A", 43) + `"}`},
		{"x with a leading zero", `{"kty":"EC","crv":"P-256","x":"` + encode("\x00"+decode(t, x)) + `","y":"` + y + `"}`},
		{"x too short", `{"kty":"EC","crv":"P-256","x":"` + encode(decode(t, x)[1:]) + `","y":"` + y + `"}`},
		{"x with padding", `{"kty":"EC","crv":"P-256","x":"` + x + `=","y":"` + y + `"}`},
		{"x with stray bits", `{"kty":"EC","crv":"P-256","x":"` + x[:42] + `t","y":"` + y + `"}`},
		{"Ed25519 without x", `{"kty":"OKP","crv":"Ed25519"}`},
		{"Ed25519 too short", okp(decode(t, ed)[1:])},
		{"Ed25519 too long", okp(decode(t, ed) + "\x00")},
		{"X25519", `{"kty":"OKP","crv":"X25519","x":"` + ed + `"}`},
		{"small order, y 0", okp(strings.Repeat("\x00", 32))},
		{"small order, y 0, sign", okp(strings.Repeat("\x00", 31) + "\x80")},
		{"small order, y 1", okp("\x01" + strings.Repeat("\x00", 31))},
		{"small order, y -1", okp("\xec" + strings.Repeat("\xff", 30) + "\x7f")},
		{"small order, y 0 as p", okp("\xed" + strings.Repeat("\xff", 30) + "\x7f")},
		{"small order, y 1 as p+1", okp("\xee" + strings.Repeat("\xff", 30) + "\xff")},
		{"not reduced", okp("\xf5" + strings.Repeat("\xff", 30) + "\x7f")},
		{"order 8", okp(decode(t, "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU"))},
		{"order 8, other", okp(decode(t, "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o"))},
		{"RSA without n", `{"kty":"RSA","e":"AQAB"}`},
		{"RSA without e", `{"kty":"RSA","n":"` + n + `"}`},
		{"RSA of 1024 bits", rsaKey(small, "AQAB")},
		{"RSA of 8200 bits", rsaKey(encode(strings.Repeat("\xff", 1025)), "AQAB")},
		{"RSA with a leading zero", rsaKey(encode("\x00"+decode(t, n)), "AQAB")},
		{"even modulus", rsaKey(encode(decode(t, n)[:255]+"\x00"), "AQAB")},
		{"exponent 1", rsaKey(n, "AQ")},
		{"exponent 3", rsaKey(n, "Aw")},
		{"exponent even", rsaKey(n, "AQAC")},
		{"exponent with a leading zero", rsaKey(n, "AAEAAQ")},
		{"exponent of 32 bits", rsaKey(n, encode("\xff\xff\xff\xff"))},
		{"exponent of 40 bits", rsaKey(n, encode("\x01\x00\x00\x00\x01"))},
		{"for encryption", `{` + ec + `,"use":"enc"}`},
		{"to derive keys", `{` + ec + `,"key_ops":["deriveKey"]}`},
		{"key_ops no list", `{` + ec + `,"key_ops":"verify"}`},
		{"for another algorithm", `{` + ec + `,"alg":"ES384"}`},
		{"for HMAC", `{` + ec + `,"alg":"HS256"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if key, err := jose.ParseJWK([]byte(tt.jwk)); err == nil {
				t.Errorf("ParseJWK = %+v, want an error", key)
			}
		})
	}
}

// decode returns what s, canonical base64url, stands for.
func decode(t *testing.T, s string) string {
	t.Helper()
	raw, err := jose.DecodeBase64(s)
	if err != nil {
		t.Fatalf("DecodeBase64(%s) = %v", s, err)
	}
	return string(raw)
}
