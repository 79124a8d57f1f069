package cwt_test

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/cwt"
	"github.com/imidentity/issuer/statuslist"
)

// The kinds of vectors.
const (
	accessToken  = "access_token"
	credentialOf = "credential"
	presentation = "presentation"
)

// A testCase is a message with what a verifier makes of it. Without a code it is good.
type testCase struct {
	name, comment, kind string
	message             []byte
	code                credential.Code
	part                string
	verifier            func(*vector)
}

func cases(t testing.TB) []testCase {
	return slices.Concat(accessCases(t), formCases(t), accessClaimCases(t), presentationCases(t), credentialCases(t), bindingCases(t))
}

func signed(t testing.TB, set claims.Set, key crypto.Signer, kid string, by crypto.Signer) []byte {
	t.Helper()
	data, err := cwt.SignAccessToken(set, public(key), signer(t, kid, by))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func issuedVC(t testing.TB, v cwt.VC, kid string, by crypto.Signer) []byte {
	t.Helper()
	data, err := v.Sign(signer(t, kid, by))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func presented(t testing.TB, vc []byte, holder crypto.Signer) []byte {
	t.Helper()
	token, err := cwt.Parse(vc)
	if err != nil {
		t.Fatal(err)
	}
	data, err := token.Present(holder, cwt.Binding{Audience: verifier, Nonce: nonce}, now)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// fullSet has every claim.
func fullSet(t testing.TB) claims.Set {
	s := userSet(t)
	s.Audience = []string{"im:example.com", "https://chat.example.com"}
	s.NotBefore = issued
	s.Actor = &claims.Actor{Subject: "bridge", Issuer: home, ClientID: "bridge", SID: "s-2", Actor: &claims.Actor{Subject: "im:bot@example.com"}}
	s.MayAct = &claims.Actor{ClientID: "helper"}
	s.HomeIss = "https://id.example.org"
	s.Tokens = []byte(`[{"type":"urn:ietf:params:oauth:token-type:jwt","rel":"acts_for","token":"eyJ0eXAiOiJpbS1hY3Rvcitqd3QifQ.e30.c2ln"}]`)
	s.Status = &claims.Status{Index: 0, URI: home + "/status/3"}
	return s
}

func accessCases(t testing.TB) []testCase {
	laptops := userSet(t)
	laptops.JKT = jkt(t, laptop)
	service := claims.Set{
		Issuer: home, Subject: "gateway", ClientID: "gateway", Audience: []string{home}, Scope: "introspect", JTI: "t-2", IssuedAt: issued,
		Expires: issued.Add(time.Minute),
	}
	named := func(alg int, kid string, key crypto.Signer) []byte {
		s := access(t, nil)
		s.protected, s.key = m{1: alg, 4: []byte(kid), 16: "application/at+cwt"}, key
		return s.bytes()
	}
	unknown := access(t, m{500: true, "nickname": "Al", -70001: []any{1.5, nil, []byte{1}, m{"a": -1}}})
	unknown.protected = m{1: -7, 4: []byte("k1"), 16: "application/at+cwt", 3: 60, "x": 1.25}
	return []testCase{
		{"access-user", "of a phone whose key is Ed25519, signed with ES256", accessToken, signed(t, userSet(t), phone, "k1", issuerP256), "", "", nil},
		{"access-p256", "of a laptop whose key is P-256", accessToken, signed(t, laptops, laptop, "k1", issuerP256), "", "", nil},
		{"access-eddsa", "signed with EdDSA", accessToken, signed(t, userSet(t), phone, "k2", issuerEd25519), "", "", nil},
		{"access-all-claims", "every claim is there", accessToken, signed(t, fullSet(t), phone, "k1", issuerP256), "", "", nil},
		{"access-service", "of a service, bound to no key", accessToken, signed(t, service, nil, "k1", issuerP256), "", "", nil},
		{"access-esp256", "ES256 by its fully-specified number, -9", accessToken, named(-9, "k1", issuerP256), "", "", nil},
		{"access-ed25519", "EdDSA by its fully-specified number, -19", accessToken, named(-19, "k2", issuerEd25519), "", "", nil},
		{"access-unknown", "unknown claims and header parameters are ignored", accessToken, unknown.bytes(), "", "", nil},
	}
}

// formCases are about the form of every message, with access tokens as examples.
func formCases(t testing.TB) []testCase {
	good := access(t, nil).bytes()
	header := func(h any) []byte {
		s := access(t, nil)
		s.protected = h
		return s.bytes()
	}
	payload := func(p any) []byte {
		s := access(t, nil)
		s.payload = p
		return s.bytes()
	}
	tagged := func(tag ...byte) []byte {
		s := access(t, nil)
		s.tag = tag
		return s.bytes()
	}
	unprotected := func(u any) []byte {
		s := access(t, nil)
		s.unprotected = u
		return s.bytes()
	}
	parts := func(change func(parts []any) any) []byte {
		return append([]byte{0xd2}, enc(change([]any{enc(accessHeader()), m{}, enc(accessClaims(t)), bytes.Repeat([]byte{1}, 64)}))...)
	}
	const malformed, inHeader = credential.CodeMalformed, "protected header"
	c := func(name, comment string, message []byte, code credential.Code, part string) testCase {
		return testCase{name, comment, accessToken, message, code, part, nil}
	}
	return []testCase{
		c("form-jwt", "a JWT", []byte("eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.e30.c2ln"), credential.CodeType, ""),
		c("form-json", "a JSON object", []byte(`{"iss":"https://im-id.example.net"}`), credential.CodeType, ""),
		c("form-empty", "no bytes", []byte{}, malformed, ""),
		c("form-no-tag", "an array without tag", good[1:], credential.CodeType, ""),
		c("form-tag-61", "the CWT tag outside", append([]byte{0xd8, 61}, good...), credential.CodeType, ""),
		c("form-tag-61-inside", "the CWT tag inside", append([]byte{0xd2, 0xd8, 61}, good[1:]...), malformed, ""),
		c("form-tag-98", "COSE_Sign", tagged(0xd8, 98), credential.CodeType, ""),
		c("form-tag-17", "COSE_Mac0", tagged(0xd1), credential.CodeType, ""),
		c("form-tag-twice", "tag 18 twice", append([]byte{0xd2}, good...), malformed, ""),
		c("form-tag-long", "tag 18 in two bytes", tagged(0xd8, 18), credential.CodeType, ""),
		c("form-self-described", "the tag of self-described CBOR", tagged(0xd9, 0xd9, 0xf7, 0xd2), credential.CodeType, ""),
		c("form-indefinite-array", "the array has an indefinite length", append(append([]byte{0xd2, 0x9f}, good[2:]...), 0xff), malformed, ""),
		c("form-indefinite-map", "the payload is a map of indefinite length", payload(indefinite(accessClaims(t))), malformed, "payload"),
		c("form-indefinite-text", "a text in chunks", payload(pairs(1, raw{0x7f, 0x61, 'a', 0xff})), malformed, "payload"),
		c("form-indefinite-header", "the header is a map of indefinite length", header(indefinite(accessHeader())), malformed, inHeader),
		c("form-repeated-claim", "iss twice", payload(pairs(1, home, 1, foreign)), malformed, "payload"),
		c("form-repeated-header", "alg twice", header(pairs(1, -7, 1, -8, 16, "application/at+cwt")), malformed, inHeader),
		c("form-repeated-inside", "a key twice in an unknown claim", payload(with(accessClaims(t), m{500: pairs("a", 1, "a", 2)})), malformed, "payload"),
		c("form-unsorted-claims", "sub before iss", payload(pairs(2, user, 1, home)), malformed, "payload"),
		c("form-unsorted-header", "kid before alg", header(pairs(4, []byte("k1"), 1, -7, 16, "application/at+cwt")), malformed, inHeader),
		c("form-unsorted-length-first", "keys sorted by length first (RFC 7049), not by bytes", payload(pairs(-1, 0, 500, 0)), malformed, "payload"),
		c("form-long-number", "a number in more bytes than it needs", payload(with(accessClaims(t), m{4: long(1795767000)})), malformed, "payload"),
		c("form-long-length", "a length in more bytes than it needs", payload(with(accessClaims(t), m{9: raw{0x78, 0x01, 'a'}})), malformed, "payload"),
		c("form-long-protected", "the length of the protected header in two bytes more", longProtected(t), malformed, ""),
		c("form-long-float", "a float in more bytes than it needs", payload(with(accessClaims(t), m{500: raw{0xfa, 0x3f, 0x80, 0, 0}})), malformed, "payload"),
		c("form-undefined", "the simple value undefined", payload(with(accessClaims(t), m{500: raw{0xf7}})), malformed, "payload"),
		c("form-tag-in-payload", "a tag in an unknown claim", payload(with(accessClaims(t), m{500: raw{0xc1, 0x00}})), malformed, "payload"),
		c("form-tag-in-header", "a tag in an unknown header parameter", header(with(accessHeader(), m{500: raw{0xc1, 0x00}})), malformed, inHeader),
		c("form-key-bytes", "a byte string as key of a map", payload(pairs([]byte{1}, 1)), malformed, "payload"),
		c("form-key-array", "an array as key of a map", payload(pairs([]any{1}, 1)), malformed, "payload"),
		c("form-key-bool", "true as key of a map", payload(pairs(true, 1)), malformed, "payload"),
		c("form-key-float", "a float as key of a map", payload(pairs(1.5, 1)), malformed, "payload"),
		c("form-key-long", "a key of 256 bytes", payload(with(accessClaims(t), m{string(bytes.Repeat([]byte("a"), 256)): 1})), malformed, "payload"),
		c("form-key-redacted", "hidden claims", payload(with(accessClaims(t), m{simple(59): []any{[]byte{1}}})), credential.CodeDisclosure, "payload"),
		c("form-utf8", "a text that is not UTF-8", payload(with(accessClaims(t), m{9: raw{0x61, 0xff}})), malformed, "payload"),
		c("form-depth", "a depth bomb: 12,000 arrays in each other", payload(deep(12000-200)), malformed, "payload"),
		c("form-depth-17", "17 levels", payload(with(accessClaims(t), m{500: deep(16)})), malformed, "payload"),
		c("form-many-claims", "257 claims", payload(many(257)), malformed, "payload"),
		c("form-many-elements", "an array of 257 elements", payload(with(accessClaims(t), m{500: array(257)})), malformed, "payload"),
		c("form-length", "an array that says that it has 2^63 elements", payload(raw{0x9b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), malformed, "payload"),
		c("form-large", "longer than 12 KiB", payload(with(accessClaims(t), m{500: make([]byte, cwt.MaxSize)})), credential.CodeTooLarge, ""),
		c("form-truncated", "the last byte is missing", good[:len(good)-1], malformed, ""),
		c("form-trailing", "a byte after the end", append(slices.Clone(good), 0), malformed, ""),
		c("form-trailing-payload", "a byte after the map in the payload", payload(raw(append(enc(accessClaims(t)), 0))), malformed, "payload"),
		c("form-five-parts", "an array of five", parts(func(p []any) any { return append(p, 0) }), malformed, ""),
		c("form-not-an-array", "a map in tag 18", append([]byte{0xd2}, enc(m{})...), malformed, ""),
		c("form-protected-map", "the protected header is not in a byte string", parts(func(p []any) any { p[0] = accessHeader(); return p }), malformed, inHeader),
		c("form-protected-empty", "an empty protected header", parts(func(p []any) any { p[0] = []byte{}; return p }), malformed, inHeader),
		c("form-protected-null", "the protected header is null", header(nil), malformed, inHeader),
		c("form-protected-array", "the protected header is an array", header([]any{1, -7}), malformed, inHeader),
		c("form-detached", "the payload is not there", parts(func(p []any) any { p[2] = nil; return p }), malformed, "payload"),
		c("form-payload-text", "the payload is a text", parts(func(p []any) any { p[2] = "{}"; return p }), malformed, "payload"),
		c("form-payload-array", "the payload is an array", payload([]any{}), malformed, "payload"),
		c("form-payload-null", "the payload is null", payload(nil), malformed, "payload"),
		c("form-signature-text", "the signature is a text", parts(func(p []any) any { p[3] = "signature"; return p }), malformed, "signature"),
		c("form-unprotected", "a key id in the unprotected header", unprotected(m{4: []byte("k1")}), malformed, "unprotected header"),
		c("form-unprotected-array", "the unprotected header is an array", unprotected([]any{}), malformed, "unprotected header"),

		c("header-crit", "a critical parameter", header(with(accessHeader(), m{2: []any{16}})), malformed, "protected header: crit"),
		c("header-claims", "claims in the header", header(with(accessHeader(), m{15: m{2: user}})), malformed, "protected header: CWT claims"),
		c("header-kcwt", "a CWT in the header of an access token", header(with(accessHeader(), m{13: raw(good)})), malformed, "kcwt"),
		c("header-kid-missing", "no kid", header(with(accessHeader(), m{4: nil})), malformed, "kid"),
		c("header-kid-text", "kid is a text", header(with(accessHeader(), m{4: "k1"})), malformed, "protected header: kid"),
		c("header-typ-missing", "no typ", header(with(accessHeader(), m{16: nil})), credential.CodeType, "typ"),
		c("header-typ-credential", "the typ of a credential", header(with(accessHeader(), m{16: 293})), credential.CodeType, "typ"),
		c("header-typ-case", "typ in another case", header(with(accessHeader(), m{16: "application/AT+cwt"})), credential.CodeType, "typ"),
		c("header-alg-missing", "no alg", header(with(accessHeader(), m{1: nil})), credential.CodeAlgorithm, "alg"),
		c("header-alg-text", "alg by its name", header(with(accessHeader(), m{1: "ES256"})), credential.CodeAlgorithm, "alg"),
		c("header-alg-hmac", "HMAC 256/256", header(with(accessHeader(), m{1: 5})), credential.CodeAlgorithm, "alg"),
		c("header-alg-es384", "ES384", header(with(accessHeader(), m{1: -35})), credential.CodeAlgorithm, "alg"),
		c("header-alg-other", "EdDSA with the key of ES256", header(with(accessHeader(), m{1: -8})), credential.CodeAlgorithm, "alg"),
		c("header-alg-other-specified", "Ed25519 with the key of ES256", header(with(accessHeader(), m{1: -19})), credential.CodeAlgorithm, "alg"),
		c("header-kid-unknown", "a key that the issuer does not have", header(with(accessHeader(), m{4: []byte("k9")})), credential.CodeIssuer, "iss"),
		c("signature-wrong", "one bit of the signature is another one", flipped(good), credential.CodeSignature, ""),
		c("signature-other-key", "signed with another key", by(access(t, nil), otherP256), credential.CodeSignature, ""),
		c("signature-empty", "no signature", parts(func(p []any) any { p[3] = []byte{}; return p }), credential.CodeSignature, ""),
		c("signature-der", "the signature in DER", parts(func(p []any) any { p[3] = derSignature(p); return p }), credential.CodeSignature, ""),
		c("signature-context", "signed as a part of COSE_Sign", parts(func(p []any) any { p[3] = contextSignature(p); return p }), credential.CodeSignature, ""),
	}
}

func accessClaimCases(t testing.TB) []testCase {
	bad := credential.CodeClaim
	c := func(name, comment, part string, changes m) testCase {
		return testCase{"claim-" + name, comment, accessToken, access(t, changes).bytes(), bad, part, nil}
	}
	thumbprint := ckt(t, phone)
	other := access(t, m{1: foreign})
	return []testCase{
		c("iss-missing", "no iss", "iss", m{1: nil}),
		{"claim-iss-other", "iss is another trusted issuer", accessToken, other.bytes(), credential.CodeSignature, "", nil},
		{"claim-iss-unknown", "iss is not trusted", accessToken, access(t, m{1: "https://id.example.com"}).bytes(), credential.CodeIssuer, "iss", nil},
		c("exp-float", "exp is a float", "exp", m{4: 1795767000.5}),
		c("exp-float-whole", "exp is a float without fraction", "exp", m{4: 1795767000.0}),
		c("exp-nan", "exp is not a number", "exp", m{4: math.NaN()}),
		c("exp-infinite", "exp is infinite", "exp", m{4: math.Inf(1)}),
		c("exp-text", "exp is a text", "exp", m{4: "1795767000"}),
		c("exp-null", "exp is null", "exp", m{4: raw{0xf6}}),
		c("exp-negative", "exp is before 1970", "exp", m{4: -1}),
		c("iat-milliseconds", "iat in milliseconds", "iat", m{6: 1795766400000}),
		c("cti-text", "cti is a text", "cti", m{7: "t-1"}),
		c("cti-utf8", "cti is not the bytes of a text", "cti", m{7: []byte{0xff, 0xfe}}),
		c("cti-empty", "cti is empty", "cti", m{7: []byte{}}),
		c("sub-number", "sub is a number", "sub", m{2: 7}),
		c("sub-bytes", "sub is a byte string", "sub", m{2: []byte(user)}),
		c("sub-empty", "sub is empty", "sub", m{2: ""}),
		c("aud-none", "aud is an empty array", "aud", m{3: []any{}}),
		c("aud-one", "aud is an array of one", "aud", m{3: []any{"im:example.com"}}),
		c("aud-empty", "an empty text among the audiences", "aud", m{3: []any{"im:example.com", ""}}),
		c("aud-numbers", "aud is an array of numbers", "aud", m{3: []any{1, 2}}),
		c("aud-map", "aud is a map", "aud", m{3: m{}}),
		c("cnf-two", "cnf has two methods", "cnf", m{8: m{1: phoneKey(), 5: thumbprint}}),
		c("cnf-key", "cnf has a key", "cnf", m{8: m{1: phoneKey()}}),
		c("cnf-kid", "cnf has a key id", "cnf", m{8: m{3: thumbprint}}),
		c("cnf-text", "cnf is a text", "cnf", m{8: "x"}),
		c("cnf-short", "a thumbprint of 16 bytes", "cnf", m{8: m{5: thumbprint[:16]}}),
		c("cnf-none", "jkt without cnf", "jkt", m{8: nil}),
		c("jkt-none", "cnf without jkt", "jkt", m{"jkt": nil}),
		c("jkt-text", "jkt is a text", "jkt", m{"jkt": jkt(t, phone)}),
		c("gen-zero", "gen is zero, which is written as absent", "gen", m{"gen": 0}),
		c("gen-text", "gen is a text", "gen", m{"gen": "3"}),
		c("gen-null", "gen is null", "gen", m{"gen": raw{0xf6}}),
		c("gen-large", "gen is 2^63", "gen", m{"gen": uint64(1) << 63}),
		c("sid-empty", "sid is empty", "sid", m{"sid": ""}),
		c("amr-text", "amr is a text", "amr", m{"amr": "pwd"}),
		c("amr-empty", "amr is an empty array", "amr", m{"amr": []any{}}),
		c("act-text", "act is a text", "act", m{"act": "bridge"}),
		c("act-sub-number", "the sub of the actor is a number", "act: sub", m{"act": m{2: 1}}),
		c("act-inner", "the sid of the prior actor is empty", "act: act: sid", m{"act": m{2: "a", "act": m{"sid": ""}}}),
		c("act-named", "the sub of the actor is named by its text", "act: sub", m{"act": m{"sub": "a"}}),
		c("tokens-object", "tokens is a JSON object", "tokens", m{"tokens": "{}"}),
		c("tokens-array", "tokens is an array of CBOR", "tokens", m{"tokens": []any{}}),
		c("tokens-json", "tokens is not JSON", "tokens", m{"tokens": "[}"}),
		c("tokens-more", "tokens has more than an array", "tokens", m{"tokens": `[],"x":[]`}),
		c("tokens-repeated", "an entry of tokens has a member twice", "tokens", m{"tokens": `[{"rel":"a","rel":"b"}]`}),
		c("status-index", "the index is negative", "status: status_list: idx", m{65535: m{"status_list": m{"idx": -1, "uri": listURI}}}),
		c("status-no-index", "no index", "status: status_list: idx", m{65535: m{"status_list": m{"uri": listURI}}}),
		c("status-no-uri", "no uri", "status: status_list: uri", m{65535: m{"status_list": m{"idx": 1}}}),
		c("status-other", "another status mechanism alone", "status: status_list", m{65535: m{"identifier_list": m{}}}),
		c("named-iss", "iss by its text", "iss", m{"iss": foreign}),
		c("named-exp", "exp by its text", "exp", m{"EXP": 1}),
		c("named-case", "a name in another case", "handle", m{"Handle": handle}),
	}
}

func presentationCases(t testing.TB) []testCase {
	laptops := deviceVC()
	laptops.Key, laptops.Device = laptop.Public(), "im:3h3aNq0mWk2o1c8vXfYJrg/0a1c@example.com"
	small := deviceVC()
	small.Handle, small.Status = "", nil
	good := issuedVC(t, deviceVC(), "k1", issuerP256)
	text := vc(nil)
	text.protected = with(vcHeader(), m{16: "application/sd-cwt", 170: -16})
	kb := bound(text.bytes(), m{4: now.Unix() + 60, 5: now.Unix() - 1, 7: []byte("p-1"), "purpose": "login"})
	kb.protected = with(bindingHeader(text.bytes()), m{1: -19, 16: "application/kb+cwt"})
	status := func(s statuslist.Status) func(*vector) {
		return func(v *vector) { v.Statuses = map[uint64]statuslist.Status{48211: s} }
	}
	kbt := presented(t, good, phone)
	return []testCase{
		{"credential", "as it is issued", credentialOf, good, "", "", nil},
		{"credential-eddsa", "signed with EdDSA", credentialOf, issuedVC(t, deviceVC(), "k2", issuerEd25519), "", "", nil},
		{"presentation", "of a phone whose key is Ed25519", presentation, kbt, "", "", nil},
		{"presentation-p256", "of a laptop whose key is P-256", presentation, presented(t, issuedVC(t, laptops, "k1", issuerP256), laptop), "", "", nil},
		{"presentation-small", "without handle and status", presentation, presented(t, issuedVC(t, small, "k1", issuerP256), phone), "", "", nil},
		{"presentation-named", "types by their names, EdDSA by its fully-specified number, every claim", presentation, kb.bytes(), "", "", nil},
		{"presentation-handle-ended", "the status list says that the handle has ended", presentation, kbt, "", "", status(credential.StatusHandleEnded)},
		{"presentation-ended", "the status list says that the credential has ended; it is returned", presentation, kbt, credential.CodeEnded, "",
			status(statuslist.Invalid)},
		{"presentation-unused", "the status is one that no credential has", presentation, kbt, credential.CodeStatus, "status", status(credential.StatusUnused)},
		{"presentation-old", "shown a year later where any age is accepted: expired, and returned", presentation, kbt, credential.CodeExpired, "",
			func(v *vector) { v.AnyAge, v.Now = true, issued.Add(366*24*time.Hour).Unix() }},
		{"presentation-early", "before its time", presentation, kbt, credential.CodeNotYetValid, "",
			func(v *vector) { v.AnyAge, v.MaxAge, v.Now = true, 3600, issued.Unix()-1 }},
	}
}

func credentialCases(t testing.TB) []testCase {
	c := func(name, comment string, code credential.Code, part string, changes m) testCase {
		return testCase{"vc-" + name, comment, credentialOf, vc(changes).bytes(), code, part, nil}
	}
	header := func(changes m) []byte {
		s := vc(nil)
		s.protected = with(vcHeader(), changes)
		return s.bytes()
	}
	unprotected := func(u any) []byte {
		s := vc(nil)
		s.unprotected = u
		return s.bytes()
	}
	claim := credential.CodeClaim
	compressed := with(laptopKey(), m{-3: true})
	off := with(laptopKey(), m{-3: bytes.Repeat([]byte{7}, 32)})
	return []testCase{
		{"vc-sd-claims-empty", "sd_claims is an empty array", credentialOf, unprotected(m{17: []any{}}), credential.CodeDisclosure, "sd_claims", nil},
		{"vc-sd-claims", "sd_claims discloses something", credentialOf,
			unprotected(m{17: []any{enc([]any{make([]byte, 16), "value", "name"})}}), credential.CodeDisclosure, "sd_claims", nil},
		{"vc-sd-encrypted", "encrypted disclosures", credentialOf, unprotected(m{171: []any{}}), credential.CodeMalformed, "unprotected header", nil},
		c("redacted-key", "a hidden claim", credential.CodeDisclosure, "payload", m{simple(59): []any{make([]byte, 32)}}),
		c("redacted-element", "a hidden element of an array", credential.CodeMalformed, "payload", m{500: []any{raw{0xd8, 60, 0x41, 1}}}),
		{"vc-typ-access", "the typ of an access token", credentialOf, header(m{16: "application/at+cwt"}), credential.CodeType, "typ", nil},
		{"vc-typ-missing", "no typ", credentialOf, header(m{16: nil}), credential.CodeType, "typ", nil},
		{"vc-kid-missing", "no kid", credentialOf, header(m{4: nil}), credential.CodeMalformed, "kid", nil},
		{"vc-claims-header", "claims in the header", credentialOf, header(m{15: m{"user": user}}), credential.CodeMalformed,
			"protected header: CWT claims", nil},
		{"vc-access-token", "an access token", credentialOf, access(t, nil).bytes(), credential.CodeType, "typ", nil},
		{"vc-bound", "a presentation where none is expected", credentialOf, bound(vc(nil).bytes(), nil).bytes(), credential.CodeBinding, "key binding", nil},
		c("vct-missing", "no vct", credential.CodeType, "vct", m{11: nil}),
		c("vct-other", "another vct", credential.CodeType, "vct", m{11: "tag:imidentity.github.io,2026:im-device:2"}),
		c("vct-bytes", "vct is a byte string", credential.CodeType, "vct", m{11: []byte(credential.VCT)}),
		c("vct-number", "vct is a number", credential.CodeType, "vct", m{11: 65000}),
		c("iss-missing", "no iss", claim, "iss", m{1: nil}),
		c("sub-missing", "no device", claim, "sub", m{2: nil}),
		c("user-missing", "no user", claim, "user", m{"user": nil}),
		c("user-named", "user in another case", claim, "user", m{"User": user}),
		c("exp-missing", "no exp", claim, "exp", m{4: nil}),
		c("exp-float", "exp is a float", claim, "exp", m{4: 1798358400.25}),
		c("exp-before-iat", "exp is before iat", claim, "exp", m{4: issued.Unix() - 1}),
		c("exp-far", "valid for more than a year", claim, "exp", m{4: issued.Unix() + 367*86400}),
		c("iat-missing", "no iat", claim, "iat", m{6: nil}),
		c("nbf-after-iat", "nbf is later than iat", claim, "nbf", m{5: issued.Unix() + 1}),
		c("cti-text", "cti is a text", claim, "cti", m{7: "c-1"}),
		c("cti-long", "cti has 257 bytes", claim, "cti", m{7: bytes.Repeat([]byte("a"), 257)}),
		c("aud", "for some verifiers only", claim, "aud", m{3: verifier}),
		c("cnf-missing", "no cnf", claim, "cnf", m{8: nil}),
		c("cnf-two", "cnf has two methods", claim, "cnf", m{8: m{1: phoneKey(), 5: ckt(t, phone)}}),
		c("cnf-two-keys", "cnf has a second key", claim, "cnf", m{8: m{1: phoneKey(), "jwk": phoneKey()}}),
		c("cnf-thumbprint", "cnf has a thumbprint only", claim, "cnf", m{8: m{5: ckt(t, phone)}}),
		c("cnf-private", "a private key", claim, "cnf: COSE_Key: d", m{8: m{1: with(phoneKey(), m{-4: make([]byte, 32)})}}),
		c("cnf-compressed", "a compressed point", claim, "cnf: COSE_Key: y", m{8: m{1: compressed}}),
		c("cnf-off-curve", "a point that is not on the curve", claim, "cnf: COSE_Key", m{8: m{1: off}}),
		c("cnf-short", "x has 31 bytes", claim, "cnf: COSE_Key", m{8: m{1: with(phoneKey(), m{-2: make([]byte, 31)})}}),
		c("cnf-small-order", "a point of small order", claim, "cnf: COSE_Key", m{8: m{1: with(phoneKey(), m{-2: append([]byte{1}, make([]byte, 31)...)})}}),
		c("cnf-p384", "another curve", claim, "cnf: COSE_Key: kty", m{8: m{1: with(laptopKey(), m{-1: 2})}}),
		c("cnf-symmetric", "a symmetric key", claim, "cnf: COSE_Key: kty", m{8: m{1: m{1: 4, -1: make([]byte, 32)}}}),
		c("cnf-alg", "the key is for another algorithm", claim, "cnf: COSE_Key: alg", m{8: m{1: with(phoneKey(), m{3: -7})}}),
		c("cnf-ops", "the key is for signing alone", claim, "cnf: COSE_Key: key_ops", m{8: m{1: with(phoneKey(), m{4: []any{1}})}}),
		c("device-other-user", "the device of another user", claim, "sub", m{2: "im:BFuVxW5BfJc8R7Qw/072b@example.com"}),
		c("user-is-handle", "a handle in the place of the user", claim, "user", m{"user": handle}),
		c("device-not-canonical", "the device's URI is not canonical", claim, "sub", m{2: "im:3h3aNq0mWk2o1c8vXfYJrg/072b@EXAMPLE.com"}),
		c("handle-other-domain", "a handle of another domain", claim, "handle", m{"handle": "im:%40alice@example.org"}),
		c("foreign-domain", "the issuer does not speak for the domain", credential.CodeDomain, "iss", m{
			2: "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.org", "user": "im:3h3aNq0mWk2o1c8vXfYJrg@example.org;id-type=user", "handle": nil,
		}),
		c("iss-unknown", "iss is not trusted", credential.CodeIssuer, "iss", m{1: "https://id.example.com"}),
		{"vc-signature", "signed with another key", credentialOf, by(vc(nil), otherP256), credential.CodeSignature, "", nil},
	}
}

func bindingCases(t testing.TB) []testCase {
	inner := vc(nil).bytes()
	good := bound(inner, nil).bytes()
	bad := credential.CodeBinding
	c := func(name, comment string, code credential.Code, part string, changes m) testCase {
		return testCase{"kbt-" + name, comment, presentation, bound(inner, changes).bytes(), code, part, nil}
	}
	header := func(changes m) []byte {
		s := bound(inner, nil)
		s.protected = with(bindingHeader(inner), changes)
		return s.bytes()
	}
	h := func(name, comment string, code credential.Code, part string, changes m) testCase {
		return testCase{"kbt-" + name, comment, presentation, header(changes), code, part, nil}
	}
	ask := func(name, comment string, code credential.Code, change func(*vector)) testCase {
		return testCase{"kbt-" + name, comment, presentation, good, code, "key binding", change}
	}
	unprotected := bound(inner, nil)
	unprotected.unprotected = m{17: []any{}}
	late := bound(vc(m{5: issued.Unix() - 10}).bytes(), m{5: issued.Unix() - 11})
	return []testCase{
		{"kbt-none", "a credential without key binding", presentation, inner, credential.CodeNoBinding, "key binding", nil},
		c("iss", "iss is there", bad, "key binding: iss", m{1: home}),
		c("sub", "sub is there", bad, "key binding: sub", m{2: device}),
		c("cnf", "cnf is there", bad, "key binding: cnf", m{8: m{1: phoneKey()}}),
		c("aud-missing", "no aud", bad, "key binding: aud", m{3: nil}),
		c("aud-array", "aud is an array", bad, "key binding: aud", m{3: []any{verifier, "x"}}),
		c("nonce-missing", "no cnonce", bad, "key binding: cnonce", m{39: nil}),
		c("nonce-text", "cnonce is a text", bad, "key binding: cnonce", m{39: string(nonce)}),
		c("nonce-empty", "cnonce is empty", bad, "key binding: cnonce", m{39: []byte{}}),
		c("nonce-named", "a nonce by its text", bad, "key binding: cnonce", m{"cnonce": "x"}),
		c("iat-missing", "cti instead of iat", bad, "key binding: iat", m{6: nil, 7: []byte("p-1")}),
		c("iat-float", "iat is a float", bad, "key binding: iat", m{6: 1795766500.5}),
		c("cti-text", "cti is a text", bad, "key binding: cti", m{7: "p-1"}),
		c("exp-float", "exp is a float", bad, "key binding: exp", m{4: 1795766560.5}),
		c("exp-before-iat", "exp is not later than iat", bad, "key binding: exp", m{4: now.Unix()}),
		c("nbf-after-iat", "nbf is later than iat", bad, "key binding: nbf", m{5: now.Unix() + 1}),
		c("outlives", "it outlives the credential", bad, "key binding", m{4: issued.Unix() + 2592001}),
		{"kbt-before", "it is older than the credential", presentation, bound(inner, m{6: issued.Unix() - 1}).bytes(), bad, "key binding",
			func(v *vector) { v.AnyAge = true }},
		{"kbt-nbf-before", "its nbf is before that of the credential", presentation, late.bytes(), bad, "key binding", nil},
		{"kbt-after", "it is younger than the credential's end", presentation, bound(inner, m{6: issued.Unix() + 2592000}).bytes(), bad, "key binding",
			func(v *vector) { v.AnyAge, v.MaxAge, v.Now = true, 3600, issued.Unix()+2592000-60 }},
		{"kbt-expired", "it has expired", presentation, bound(inner, m{4: now.Unix() + 10}).bytes(), credential.CodeAge, "key binding",
			func(v *vector) { v.Now = now.Unix() + 10 }},
		ask("aud-other", "for another verifier", credential.CodeAudience, func(v *vector) { v.Audience = "mimi://example.org/r/other" }),
		ask("nonce-other", "with another nonce", credential.CodeNonce, func(v *vector) { v.Nonce = "00" }),
		ask("nonce-prefix", "the nonce is the beginning of the right one", credential.CodeNonce, func(v *vector) { v.Nonce += "00" }),
		ask("stale", "61 seconds old", credential.CodeAge, func(v *vector) { v.Now = now.Unix() + 61 }),
		ask("future", "61 seconds ahead", credential.CodeAge, func(v *vector) { v.Now = now.Unix() - 61 }),
		{"kbt-other-key", "signed with another key", presentation, by(bound(inner, nil), thief), credential.CodeKey, "key binding", nil},
		{"kbt-issuer-key", "signed with the issuer's key", presentation, by(bound(inner, nil), issuerEd25519), credential.CodeKey, "key binding", nil},
		{"kbt-flipped", "one bit of the signature is another one", presentation, flipped(good), credential.CodeKey, "key binding", nil},
		h("alg", "another algorithm than that of the key", credential.CodeAlgorithm, "key binding", m{1: -7}),
		h("alg-unknown", "an unknown algorithm", credential.CodeAlgorithm, "key binding: alg", m{1: -35}),
		h("crit", "a critical parameter", credential.CodeMalformed, "key binding: protected header: crit", m{2: []any{16}}),
		h("claims-header", "claims in the header", credential.CodeMalformed, "key binding: protected header: CWT claims", m{15: m{}}),
		h("kcwt-missing", "no credential", credential.CodeMalformed, "key binding: kcwt", m{13: nil}),
		h("kcwt-bytes", "the credential in a byte string", credential.CodeType, "", m{13: inner}),
		h("kcwt-untagged", "the credential without tag", credential.CodeType, "", m{13: raw(inner[1:])}),
		h("kcwt-tag-61", "the CWT tag around the credential", credential.CodeType, "", m{13: raw(append([]byte{0xd8, 61}, inner...))}),
		h("kcwt-indefinite", "the credential has an indefinite length", credential.CodeMalformed, "protected header",
			m{13: raw(append(append([]byte{0xd2, 0x9f}, inner[2:]...), 0xff))}),
		h("kcwt-kbt", "a key binding token in a key binding token", credential.CodeType, "typ", m{13: raw(good)}),
		h("kcwt-access", "an access token in a key binding token", credential.CodeType, "typ", m{13: raw(access(t, nil).bytes())}),
		h("typ-access", "the typ of an access token", credential.CodeType, "typ", m{16: "application/at+cwt"}),
		h("tag-in-header", "a tag in an unknown header parameter", credential.CodeMalformed, "protected header", m{500: raw(inner)}),
		{"kbt-unprotected", "sd_claims in the header of the key binding", presentation, unprotected.bytes(), credential.CodeDisclosure, "sd_claims", nil},
		{"kbt-vc-signature", "the credential is signed with another key", presentation, bound(by(vc(nil), otherP256), nil).bytes(),
			credential.CodeSignature, "", nil},
		{"kbt-vc-swapped", "the credential of another key", presentation, bound(vc(m{8: m{1: laptopKey()}}).bytes(), nil).bytes(),
			credential.CodeAlgorithm, "key binding", nil},
	}
}

// public returns the public key of a signer, nil for none.
func public(key crypto.Signer) crypto.PublicKey {
	if key == nil {
		return nil
	}
	return key.Public()
}

// by returns a message that is signed with another key.
func by(s sign1, key crypto.Signer) []byte {
	s.key = key
	return s.bytes()
}

// flipped returns a message in which one bit of the signature is another one.
func flipped(data []byte) []byte {
	data = slices.Clone(data)
	data[len(data)-1] ^= 1
	return data
}

// indefinite returns a map of indefinite length, with sorted keys.
func indefinite(items m) raw {
	data := enc(items)
	return append(append(raw{0xbf}, data[1:]...), 0xff)
}

func simple(n uint8) cbor.SimpleValue { return cbor.SimpleValue(n) }

// many returns a map of n members, and array an array of n elements.
func many(n int) raw {
	data := raw{0xb9, byte(n >> 8), byte(n)}
	for i := range n {
		data = append(append(data, enc(i)...), 0)
	}
	return data
}

func array(n int) raw {
	return append(raw{0x99, byte(n >> 8), byte(n)}, make([]byte, n)...)
}

// longProtected returns a good token in which the length of the protected header takes two bytes more than it needs.
func longProtected(t testing.TB) []byte {
	data := access(t, nil).bytes()
	return append([]byte{0xd2, 0x84, 0x59, 0}, data[3:]...)
}

func sigStructure(context string, parts []any, more ...any) []byte {
	return enc(slices.Concat([]any{context, parts[0]}, more, []any{[]byte{}, parts[2]}))
}

// derSignature returns a good signature in DER.
func derSignature(parts []any) []byte {
	digest := sha256.Sum256(sigStructure("Signature1", parts))
	der, err := issuerP256.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		panic(err)
	}
	return der
}

// contextSignature returns a signature for COSE_Sign (RFC 9052 §4.4).
func contextSignature(parts []any) []byte {
	return sign1{key: issuerP256}.sign(sigStructure("Signature", parts, []byte{}))
}
