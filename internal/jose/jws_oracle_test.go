package jose_test

import (
	"crypto"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"

	"github.com/imidentity/issuer/internal/jose"
)

// A jwsInput is a token with its header as encoding/json sees it.
type jwsInput struct {
	token  string
	parts  []string
	header document
}

func readJWSInput(token string) jwsInput {
	in := jwsInput{token: token, parts: strings.Split(token, ".")}
	in.header = readDocument(lenient(in.parts[0]))
	return in
}

func headerOf(in jwsInput) document { return in.header }

// Why this package refuses a token that jwx reads.
var stricterJWS = append([]rule[jwsInput]{
	{"a token has at most 16 KiB, a header at most 8 KiB", func(in jwsInput) bool {
		return len(in.token) > 16<<10 || len(in.parts[0])*3/4 > 8<<10
	}},
	{"each part is canonical base64url without padding", func(in jwsInput) bool { return !allCanonical(in.parts) }},
	{"crit is refused, since no extension is supported", func(in jwsInput) bool { return in.header.has("crit") }},
	{"alg is a string that is not empty", func(in jwsInput) bool { return in.header.str("alg") == "" }},
	{"typ, kid and cty are strings", func(in jwsInput) bool {
		return !in.header.isString("typ") || !in.header.isString("kid") || !in.header.isString("cty")
	}},
}, with(headerOf, strictJSON("typ", "alg", "kid", "cty", "jwk", "crit"))...)

func allCanonical(parts []string) bool {
	for _, p := range parts {
		if !canonical(p) {
			return false
		}
	}
	return true
}

// Why jwx refuses a token that this package reads.
var laxerJWS = append([]rule[jwsInput]{
	{"jwx knows a closed list of algorithms, without Ed25519 (RFC 9864); here Verify refuses an unknown one", func(in jwsInput) bool {
		return !slices.Contains(jwa.SignatureAlgorithms(), jwa.SignatureAlgorithm(in.header.str("alg")))
	}},
	{"jwx reads the key in jwk with the header; here ParseJWK does when the caller wants the key", func(in jwsInput) bool {
		return in.header.has("jwk")
	}},
	{"jwx reads jku, x5u, x5c, x5t and x5t#S256; here they are ignored", func(in jwsInput) bool {
		return in.header.has("jku", "x5u", "x5c", "x5t", "x5t#S256")
	}},
	{"jwx obeys b64 without crit, against RFC 7797 section 6; here it is ignored", ignoredB64},
}, with(headerOf, laxerJSON)...)

func ignoredB64(in jwsInput) bool { return in.header.has("b64") }

// Why this package refuses a signature that verifies with jwx.
var stricterSignature = []rule[jwsInput]{
	{"the other algorithms of RFC 7518 and RFC 8812 are not supported", func(in jwsInput) bool {
		return slices.Contains([]string{"RS384", "RS512", "PS384", "PS512", "ES256K"}, in.header.str("alg"))
	}},
	{"the salt of PS256 is as long as the hash (RFC 7518 section 3.5); jwx takes any", func(in jwsInput) bool {
		return in.header.str("alg") == jose.PS256
	}},
	{"b64 is ignored, see above", ignoredB64},
}

// Why a signature that verifies here does not with jwx.
var laxerSignature = []rule[jwsInput]{laxerJWS[0], {"b64 is ignored, see above", ignoredB64}}

// compareJWS compares how the two read token, and whether its signature verifies with key.
func compareJWS(t *testing.T, token string, key crypto.PublicKey) {
	in := readJWSInput(token)
	ours, err := jose.ParseCompact(token, jose.Limits{})
	theirs, theirErr := jws.Parse([]byte(token), jws.WithCompact())
	switch {
	case err != nil && theirErr != nil:
		return
	case err != nil:
		explain(t, stricterJWS, in, "%q: refused (%v), and jwx accepts it", token, err)
		return
	case theirErr != nil:
		explain(t, laxerJWS, in, "%q: accepted, and jwx refuses it (%v)", token, theirErr)
		return
	}
	if string(ours.Payload) != string(theirs.Payload()) && !ignoredB64(in) {
		t.Errorf("%q: payload %q, and jwx reads %q", token, ours.Payload, theirs.Payload())
	}
	h, theirH := ours.Header, theirs.Signatures()[0].ProtectedHeaders()
	want := jose.Header{Typ: theirH.Type(), Alg: theirH.Algorithm().String(), Kid: theirH.KeyID(), Cty: theirH.ContentType(), JWK: h.JWK}
	if fmt.Sprintf("%+v", h) != fmt.Sprintf("%+v", want) || (h.JWK != nil) != (theirH.JWK() != nil) {
		t.Errorf("%q: header %+v, and jwx reads %+v", token, h, want)
	}
	if key == nil {
		return
	}
	err = ours.Verify(h.Alg, key)
	_, theirErr = jws.Verify([]byte(token), jws.WithKey(theirH.Algorithm(), key), jws.WithCompact())
	switch {
	case err != nil && theirErr == nil:
		explain(t, stricterSignature, in, "%q: not verified (%v), and jwx verifies it", token, err)
	case err == nil && theirErr != nil:
		explain(t, laxerSignature, in, "%q: verified, and jwx refuses it (%v)", token, theirErr)
	}
}

// Whatever is sent as a token is read and verified as jwx does it. The seeds are those of Wycheproof.
func FuzzJWS(f *testing.F) {
	for name := range wycheproofDifferences {
		for _, group := range readWycheproof(f, name).Groups {
			for _, tt := range group.Tests {
				f.Add(tt.JWS, []byte(group.JWK))
			}
		}
	}
	f.Add("eyJhbGciOiJFUzI1NiJ9..", []byte(nil))
	f.Fuzz(func(t *testing.T, token string, jwk []byte) {
		var public crypto.PublicKey
		if key, err := jose.ParseJWK(jwk); err == nil {
			public = key.Public
		}
		compareJWS(t, token, public)
	})
}

// A token over any header and payload that is signed well, and perhaps changed afterwards, is read and verified as jwx does
// it. Unlike in FuzzJWS most signatures are good, so that the fuzzing reaches what comes after them.
func FuzzSignedJWS(f *testing.F) {
	algorithms := slices.Sorted(maps.Keys(fitting))
	for i, alg := range algorithms {
		for edit := range editors {
			f.Add([]byte(`{"typ":"at+jwt","alg":"`+alg+`","kid":"k"}`), []byte(`{"sub":"a"}`), byte(i), byte(edit), uint16(21))
		}
		for _, more := range []string{
			`"crit":["x"],"x":1`, `"b64":false`, `"b64":false,"crit":["b64"]`, `"alg":"none"`, `"Alg":"none"`, `"cty":null`,
			`"jwk":{"kty":"EC"}`, `"jku":7`, `"x":[{"y":{"y":1,"y":2}}]`, `"x":"\ud83d"`, "\"x\":\"\xff\"",
		} {
			f.Add([]byte(`{"alg":"`+alg+`",`+more+`}`), []byte(`{}`), byte(i), byte(0), uint16(0))
		}
	}
	f.Fuzz(func(t *testing.T, header, payload []byte, alg, edit byte, at uint16) {
		name := algorithms[int(alg)%len(algorithms)]
		key := keys()[fitting[name]]
		token, err := jose.Sign(key, name, header, payload)
		if err != nil {
			t.Fatal(err)
		}
		compareJWS(t, editors[int(edit)%len(editors)](token, int(at)%(len(token)+1)), key.Public())
	})
}

// editors change a token at a place.
var editors = []func(token string, at int) string{
	func(token string, at int) string { return token },
	func(token string, at int) string { return token + "=" },
	func(token string, at int) string { return token[:at] + "\n" + token[at:] },
	func(token string, at int) string { return token[:at] + "=" + token[at:] },
	func(token string, at int) string { return token[:at] + "A" + token[at:] },
	func(token string, at int) string { return token[:at] + token[min(at+1, len(token)):] },
	func(token string, at int) string { return token[:at] + "_" + token[min(at+1, len(token)):] },
	func(token string, at int) string { return strings.ReplaceAll(token, "-", "+") },
	func(token string, at int) string { return token[:len(token)-1] + "B" },
	func(token string, at int) string { return token + "." },
	func(token string, at int) string { return " " + token },
	func(token string, at int) string {
		parts := strings.Split(token, ".")
		text, _ := json.Marshal(map[string]string{"protected": parts[0], "payload": parts[1], "signature": parts[2]})
		return string(text)
	},
}
