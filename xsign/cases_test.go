package xsign_test

import (
	"crypto"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/xsign"
)

// A statementCase is a statement, made from an accepted one.
type statementCase struct {
	name string
	typ  string
	// header and payload change the JSON of the accepted statement, text its compact serialization.
	header, payload, text func(string) string
	signer                crypto.Signer // nil: the right one
	code                  xsign.Code    // "" if it is accepted
	part                  string
}

// put replaces a part of a text, which must be there.
func put(old, with string) func(string) string {
	return func(text string) string {
		if !strings.Contains(text, old) {
			panic(old + " is not in " + text)
		}
		return strings.Replace(text, old, with, 1)
	}
}

// accepted are the JSON of header and payload of an accepted statement of each type, and the key that signs it.
func accepted(typ string) (header, payload string, signer crypto.Signer) {
	switch typ {
	case jose.TypeXSignKeys:
		signer = alice.master
		payload = fmt.Sprintf(`{"iss":"%[1]s","sub":"%[1]s","jti":"k3","iat":1796126400,"exp":1827662400,"seq":3,"keys":{"device_signing":%s,"user_signing":%s}}`,
			alice.id, jwk(alice.device), jwk(alice.user))
	case jose.TypeSuccession:
		signer = alice.master
		payload = fmt.Sprintf(`{"iss":"%[1]s","sub":"%[1]s","jti":"s1","iat":1796126400,"master":"%s"}`, alice.id, jkt(newKey("next master")))
	case jose.TypeXSignDevices:
		signer = alice.device
		payload = fmt.Sprintf(`{"iss":"%[1]s","sub":"%[1]s","jti":"d7","iat":1796126400,"exp":1803902400,"seq":7,"devices":[{"device":"%s","keys":["%s"]},{"device":"%s","keys":["%s"]}]}`,
			alice.id, phone, phoneKey, laptop, laptopKey)
	case jose.TypeVouch, jose.TypeDistrust:
		signer = bob.user
		how := ""
		if typ == jose.TypeVouch {
			how = `"how":"qr",`
		}
		payload = fmt.Sprintf(`{"iss":"%s","sub":"%s","jti":"v1","iat":1796126400,"exp":1827662400,"master":"%s",%s"handle":"%s","public":false}`,
			bob.id, alice.id, jkt(alice.master), how, handle)
	}
	header = fmt.Sprintf(`{"typ":"%s","alg":"%s","kid":"%s"`, typ, jose.AlgorithmFor(signer.Public()), jkt(signer))
	if typ == jose.TypeXSignKeys || typ == jose.TypeSuccession {
		header += `,"jwk":` + string(jwk(signer))
	}
	return header + "}", payload, signer
}

func (c *statementCase) make() string {
	header, payload, signer := accepted(c.typ)
	if c.header != nil {
		header = c.header(header)
	}
	if c.payload != nil {
		payload = c.payload(payload)
	}
	if c.signer != nil {
		signer = c.signer
	}
	text := must(jose.Sign(signer, jose.AlgorithmFor(signer.Public()), []byte(header), []byte(payload)))
	if c.text != nil {
		text = c.text(text)
	}
	return text
}

const (
	keysType, successionType, devicesType = jose.TypeXSignKeys, jose.TypeSuccession, jose.TypeXSignDevices
	vouchType, distrustType               = jose.TypeVouch, jose.TypeDistrust
)

// smallOrder is the neutral point: a signature of it and zero verifies by it for any text.
const smallOrder = `{"crv":"Ed25519","kty":"OKP","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`

var statementCases = []statementCase{
	{name: "keys", typ: keysType},
	{name: "keys with a member that is not known", typ: keysType, payload: put(`"seq":3`, `"seq":3,"later":[1]`)},
	{name: "succession", typ: successionType},
	{name: "devices", typ: devicesType},
	{name: "devices, none", typ: devicesType, payload: func(s string) string { return s[:strings.Index(s, `"devices":[`)] + `"devices":[]}` }},
	{name: "vouch", typ: vouchType},
	{name: "vouch, public", typ: vouchType, payload: put(`"public":false`, `"public":true`)},
	{name: "vouch without a handle", typ: vouchType, payload: put(fmt.Sprintf(`"handle":"%s",`, handle), "")},
	{name: "distrust", typ: distrustType},
	{name: "distrust without an end", typ: distrustType, payload: put(`"exp":1827662400,`, "")},

	// The form.
	{name: "empty", typ: keysType, text: func(string) string { return "" }, code: xsign.CodeMalformed, part: "form"},
	{name: "two parts", typ: keysType, text: func(s string) string { return s[:strings.LastIndexByte(s, '.')] }, code: xsign.CodeMalformed, part: "form"},
	{name: "padded base64", typ: keysType, text: func(s string) string { return s + "=" }, code: xsign.CodeMalformed, part: "signature"},
	{name: "over 8 KiB", typ: keysType, payload: put(`"k3"`, `"k3","more":"`+strings.Repeat("x", 8<<10)+`"`), code: xsign.CodeTooLarge},
	{name: "repeated member", typ: keysType, payload: put(`"seq":3`, `"seq":3,"seq":4`), code: xsign.CodeMalformed},
	{name: "member in another case", typ: keysType, payload: put(`"seq":3`, `"seq":3,"Seq":4`), code: xsign.CodeMalformed},
	{name: "payload is no object", typ: keysType, payload: func(string) string { return "[]" }, code: xsign.CodeMalformed},
	{name: "critical extension", typ: keysType, header: put(`"typ"`, `"crit":["b64"],"typ"`), code: xsign.CodeMalformed, part: "crit"},

	// The header.
	{name: "type of another statement", typ: vouchType, header: put(vouchType, distrustType), code: xsign.CodeType, part: "typ"},
	{name: "type of an answer about two tokens", typ: successionType, header: put(successionType, jose.TypeSuccessor), code: xsign.CodeType, part: "typ"},
	{name: "no type", typ: keysType, header: put(`"typ":"im-keys+jwt",`, ""), code: xsign.CodeType, part: "typ"},
	{name: "alg none", typ: keysType, header: put(`"EdDSA"`, `"none"`), code: xsign.CodeAlgorithm, part: "alg"},
	{name: "alg HS256", typ: keysType, header: put(`"EdDSA"`, `"HS256"`), code: xsign.CodeAlgorithm, part: "alg"},
	{name: "alg of another curve", typ: keysType, header: put(`"EdDSA"`, `"ES384"`), code: xsign.CodeAlgorithm, part: "alg"},
	{name: "alg that does not fit the key", typ: keysType, header: put(`"EdDSA"`, `"ES256"`), code: xsign.CodeSignature},
	{name: "certificates", typ: keysType, header: put(`"typ"`, `"x5c":["AA=="],"typ"`), code: xsign.CodeKey, part: "x5c"},
	{name: "keys without jwk", typ: keysType, header: put(`,"jwk":`+string(jwk(alice.master)), ""), code: xsign.CodeKey, part: "jwk"},
	{name: "keys by a key of small order", typ: keysType, header: put(string(jwk(alice.master)), smallOrder), code: xsign.CodeKey, part: "jwk"},
	{name: "keys with a private jwk", typ: keysType, header: put(`"jwk":{`, `"jwk":{"d":"AA",`), code: xsign.CodeKey, part: "jwk"},
	{name: "devices with jwk", typ: devicesType, header: put(`"typ"`, `"jwk":`+string(jwk(alice.device))+`,"typ"`), code: xsign.CodeKey, part: "jwk"},
	{name: "no kid", typ: keysType, header: put(`"kid":"`+jkt(alice.master)+`",`, ""), code: xsign.CodeKey, part: "kid"},
	{name: "kid of another key", typ: keysType, header: put(jkt(alice.master), jkt(mallory.master)), code: xsign.CodeKey, part: "kid"},

	// The key that signs.
	{name: "keys by the device-signing key", typ: keysType, signer: alice.device, code: xsign.CodeSignature},
	{name: "devices by the master key", typ: devicesType, header: put(jkt(alice.device), jkt(alice.master)), signer: alice.master, code: xsign.CodeKey, part: "kid"},
	{name: "devices by the user-signing key", typ: devicesType, header: put(jkt(alice.device), jkt(alice.user)), signer: alice.user, code: xsign.CodeKey, part: "kid"},
	{name: "vouch by the master key", typ: vouchType, header: put(jkt(bob.user), jkt(bob.master)), signer: bob.master, code: xsign.CodeKey, part: "kid"},
	{name: "vouch by a stranger under the right kid", typ: vouchType, signer: newKey("Stranger"), code: xsign.CodeSignature},
	{name: "distrust by the device-signing key", typ: distrustType, header: put(jkt(bob.user), jkt(bob.device)), signer: bob.device, code: xsign.CodeKey, part: "kid"},
	{name: "payload changed", typ: devicesType, text: func(s string) string {
		header, rest, _ := strings.Cut(s, ".")
		_, signature, _ := strings.Cut(rest, ".")
		other := statementCase{typ: devicesType, payload: put(`"seq":7`, `"seq":8`)}
		_, rest, _ = strings.Cut(other.make(), ".")
		payload, _, _ := strings.Cut(rest, ".")
		return header + "." + payload + "." + signature
	}, code: xsign.CodeSignature},

	// The keys.
	{name: "device-signing key is the master key", typ: keysType, payload: put(string(jwk(alice.device)), string(jwk(alice.master))), code: xsign.CodeKey, part: "keys"},
	{name: "user-signing key is the master key", typ: keysType, payload: put(string(jwk(alice.user)), string(jwk(alice.master))), code: xsign.CodeKey, part: "keys"},
	{name: "user-signing key is the device-signing key", typ: keysType, payload: put(string(jwk(alice.user)), string(jwk(alice.device))), code: xsign.CodeKey, part: "keys"},
	{name: "no user-signing key", typ: keysType, payload: put(`,"user_signing":`+string(jwk(alice.user)), ""), code: xsign.CodeClaim, part: "keys"},
	{name: "key of small order below", typ: keysType, payload: put(string(jwk(alice.user)), smallOrder), code: xsign.CodeKey, part: "keys"},
	{name: "private key below", typ: keysType, payload: put(`"device_signing":{`, `"device_signing":{"d":"AA",`), code: xsign.CodeKey, part: "keys"},

	// Claims that all have.
	{name: "subject is another user", typ: keysType, payload: put(`"sub":"`+alice.id.String(), `"sub":"`+bob.id.String()), code: xsign.CodeUser, part: "sub"},
	{name: "issuer is a URL", typ: keysType, payload: put(`"iss":"`+alice.id.String(), `"iss":"https://example.com`), code: xsign.CodeClaim, part: "iss"},
	{name: "subject is a handle", typ: vouchType, payload: put(`"sub":"`+alice.id.String(), `"sub":"`+handle.String()), code: xsign.CodeClaim, part: "sub"},
	{name: "no jti", typ: keysType, payload: put(`"jti":"k3",`, ""), code: xsign.CodeClaim, part: "jti"},
	{name: "long jti", typ: keysType, payload: put(`"k3"`, `"`+strings.Repeat("k", 256)+`"`), code: xsign.CodeClaim, part: "jti"},
	{name: "no iat", typ: keysType, payload: put(`"iat":1796126400,`, ""), code: xsign.CodeClaim, part: "iat"},
	{name: "times in milliseconds", typ: keysType, payload: put(`"iat":1796126400`, `"iat":1796126400000`), code: xsign.CodeClaim, part: "iat"},
	{name: "keys without exp", typ: keysType, payload: put(`"exp":1827662400,`, ""), code: xsign.CodeLife, part: "exp"},
	{name: "exp before iat", typ: keysType, payload: put(`"exp":1827662400`, `"exp":1796126400`), code: xsign.CodeLife, part: "exp"},
	{name: "keys for over a year", typ: keysType, payload: put(`"exp":1827662400`, `"exp":1827748801`), code: xsign.CodeLife, part: "exp"},
	{name: "no seq", typ: keysType, payload: put(`"seq":3,`, ""), code: xsign.CodeClaim, part: "seq"},
	{name: "seq zero", typ: devicesType, payload: put(`"seq":7`, `"seq":0`), code: xsign.CodeClaim, part: "seq"},
	{name: "seq with a fraction", typ: devicesType, payload: put(`"seq":7`, `"seq":7.0`), code: xsign.CodeClaim, part: "seq"},
	{name: "seq as text", typ: devicesType, payload: put(`"seq":7`, `"seq":"7"`), code: xsign.CodeClaim, part: "seq"},
	{name: "seq over 2^53", typ: devicesType, payload: put(`"seq":7`, `"seq":9007199254740992`), code: xsign.CodeClaim, part: "seq"},

	// Successions.
	{name: "succession of a key by itself", typ: successionType, payload: put(jkt(newKey("next master")), jkt(alice.master)), code: xsign.CodeSuccession, part: "master"},
	{name: "succession without a key", typ: successionType, payload: put(jkt(newKey("next master")), ""), code: xsign.CodeClaim, part: "master"},
	{name: "succession to no thumbprint", typ: successionType, payload: put(jkt(newKey("next master")), "next"), code: xsign.CodeClaim, part: "master"},
	{name: "succession with an end", typ: successionType, payload: put(`"jti"`, `"exp":1827662400,"jti"`), code: xsign.CodeClaim, part: "exp"},

	// Device lists.
	{name: "list without exp", typ: devicesType, payload: put(`"exp":1803902400,`, ""), code: xsign.CodeLife, part: "exp"},
	{name: "list for over 90 days", typ: devicesType, payload: put(`"exp":1803902400`, `"exp":1803902401`), code: xsign.CodeLife, part: "exp"},
	{name: "no devices", typ: devicesType, payload: func(s string) string { return s[:strings.Index(s, `,"devices":[`)] + "}" }, code: xsign.CodeClaim, part: "devices"},
	{name: "device of another user", typ: devicesType, payload: put(laptop.String(), "im:b0bb0bb0bb0bb0bb0bb0bg/1a9c@example.com"), code: xsign.CodeUser, part: "devices"},
	{name: "device in another domain", typ: devicesType, payload: put(laptop.String(), strings.Replace(laptop.String(), "example.com", "example.org", 1)), code: xsign.CodeUser, part: "devices"},
	{name: "repeated device", typ: devicesType, payload: put(laptop.String(), phone.String()), code: xsign.CodeClaim, part: "devices"},
	{name: "repeated device by its other URI", typ: devicesType, payload: put(laptop.String(), phone.MIMI()), code: xsign.CodeClaim, part: "devices"},
	{name: "user in place of a device", typ: devicesType, payload: put(laptop.String(), alice.id.String()), code: xsign.CodeClaim, part: "devices"},
	{name: "one key at two devices", typ: devicesType, payload: put(laptopKey, phoneKey), code: xsign.CodeKey, part: "devices"},
	{name: "device without a key", typ: devicesType, payload: put(`["`+laptopKey+`"]`, `[]`), code: xsign.CodeClaim, part: "devices"},
	{name: "device with a text for its keys", typ: devicesType, payload: put(`["`+laptopKey+`"]`, `"`+laptopKey+`"`), code: xsign.CodeClaim, part: "devices"},
	{name: "device key that is no thumbprint", typ: devicesType, payload: put(laptopKey, "1a9c"), code: xsign.CodeClaim, part: "devices"},

	// Vouches and distrusts.
	{name: "vouch for oneself", typ: vouchType, payload: put(alice.id.String(), bob.id.String()), code: xsign.CodeUser, part: "sub"},
	{name: "vouch for oneself by the other URI", typ: vouchType, payload: put(alice.id.String(), bob.id.MIMI()), code: xsign.CodeUser, part: "sub"},
	{name: "distrust of oneself", typ: distrustType, payload: put(alice.id.String(), bob.id.String()), code: xsign.CodeUser, part: "sub"},
	{name: "vouch without exp", typ: vouchType, payload: put(`"exp":1827662400,`, ""), code: xsign.CodeLife, part: "exp"},
	{name: "vouch without how", typ: vouchType, payload: put(`"how":"qr",`, ""), code: xsign.CodeClaim, part: "how"},
	{name: "vouch without a key", typ: vouchType, payload: put(jkt(alice.master), ""), code: xsign.CodeClaim, part: "master"},
	{name: "vouch for no thumbprint", typ: vouchType, payload: put(jkt(alice.master), "AAAA"), code: xsign.CodeClaim, part: "master"},
	{name: "vouch with a user for a handle", typ: vouchType, payload: put(handle.String(), alice.id.String()), code: xsign.CodeClaim, part: "handle"},
	{name: "vouch with a handle of another domain", typ: vouchType, payload: put(handle.String(), "im:%40alice@example.org"), code: xsign.CodeClaim, part: "handle"},
	{name: "vouch that does not say whether it is public", typ: vouchType, payload: put(`,"public":false`, ""), code: xsign.CodeClaim, part: "public"},
	{name: "vouch that is public by a text", typ: vouchType, payload: put(`"public":false`, `"public":"false"`), code: xsign.CodeClaim, part: "public"},
}
