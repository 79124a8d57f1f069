package sdjwt_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/imidentity/issuer/credential"
	"github.com/imidentity/issuer/credential/sdjwt"
)

// A testCase is a text and what a verifier says of it.
type testCase struct {
	name, comment string
	change        func(p *parts)             // of [presented]; nil: none
	edit          func(text string) string   // of the text; nil: none
	verifier      func(o *vectorOptions)     // of [strict]; nil: none
	part          string                     // that is refused
	code          credential.Code            // "": not refused
	unknown       bool                       // it cannot be known
	want          func(c *vectorCredential)  // of what [presented] says; nil: that
	issued        func(v *sdjwt.VC) []string // made by VC.Sign and Token.Present, with these disclosures, instead
}

// good are texts that are accepted.
var good = []testCase{
	{name: "with-handle", comment: "a credential with its handle disclosed and a key binding by an Ed25519 key"},
	{name: "without-handle", comment: "the handle is not disclosed", change: hideHandle, want: withoutHandle},
	{name: "signed-with-handle", comment: "as VC.Sign and Token.Present make it", issued: func(*sdjwt.VC) []string { return []string{"handle"} }},
	{name: "signed-without-handle", comment: "the holder does not disclose the handle", issued: func(*sdjwt.VC) []string { return nil },
		want: withoutHandle},
	{name: "signed-no-handle", comment: "there is no handle: the digest is a decoy", issued: func(v *sdjwt.VC) []string {
		v.Handle = ""
		return nil
	}, want: withoutHandle},
	{name: "no-digests", comment: "without selective disclosure", change: func(p *parts) {
		hideHandle(p)
		p.payload.drop("_sd")
		p.payload.drop("_sd_alg")
	}, want: withoutHandle},
	{name: "empty-digests", comment: "_sd is an empty array (RFC 9901 §4.2.4.1)", change: func(p *parts) {
		hideHandle(p)
		p.payload.set("_sd", "[]")
	}, want: withoutHandle},
	{name: "clear-handle", comment: "the issuer did not hide the handle", change: func(p *parts) {
		hideHandle(p)
		p.payload.add("handle", quote(aliceHandle))
	}},
	{name: "decoys", comment: "with two decoy digests", change: func(p *parts) {
		p.digest(digest("decoy 1"))
		p.digest(digest("decoy 2"))
	}},
	{name: "no-sd-alg", comment: "_sd_alg is missing: SHA-256 is the default (RFC 9901 §4.1.1)", change: func(p *parts) { p.payload.drop("_sd_alg") }},
	{name: "key-p256", comment: "a P-256 key", change: func(p *parts) { p.to(laptop) }, want: keyOf(laptop)},
	{name: "key-p384", comment: "a P-384 key", change: func(p *parts) { p.to(p384) }, want: keyOf(p384)},
	{name: "key-p521", comment: "a P-521 key", change: func(p *parts) { p.to(p521) }, want: keyOf(p521)},
	{name: "alg-ed25519", comment: "the key binding names its algorithm Ed25519 (RFC 9864)", change: func(p *parts) { p.kbHeader.set("alg", `"Ed25519"`) }},
	{name: "issuer-eddsa", comment: "an issuer with an Ed25519 key", change: byBridge, want: func(c *vectorCredential) {
		c.Issuer, c.User, c.Device, c.Handle = bridge, "im:b0b@bridge.example;id-type=user", "im:b0b/1@bridge.example", "im:%40bob@bridge.example"
	}},
	{name: "xmpp", comment: "identifiers of XMPP", change: func(p *parts) {
		byBridge(p)
		p.payload.set("user", `"im:xmpp=juliet@xmpp.example"`)
		p.payload.set("sub", `"im:xmpp=juliet/balcony@xmpp.example"`)
		hideHandle(p)
	}, want: func(c *vectorCredential) {
		withoutHandle(c)
		c.Issuer, c.User, c.Device = bridge, "im:xmpp=juliet@xmpp.example", "im:xmpp=juliet/balcony@xmpp.example"
	}},
	{name: "no-status", comment: "without a status", change: func(p *parts) { p.payload.drop("status") }, want: func(c *vectorCredential) {
		c.Status, c.Checked = nil, false
	}},
	{name: "status-unchecked", comment: "the verifier does not look at the status, which is 1", change: status(1), verifier: func(o *vectorOptions) {
		o.Unchecked = true
	}, want: func(c *vectorCredential) { c.Status.Index, c.Checked = 1, false }},
	{name: "handle-ended", comment: "status 3: the handle that is disclosed has ended", change: status(3), want: func(c *vectorCredential) {
		c.Handle, c.FormerHandle, c.HandleEnded, c.Status.Index = "", aliceHandle, true, 3
	}},
	{name: "handle-ended-hidden", comment: "status 3, and the handle is not disclosed", change: func(p *parts) {
		hideHandle(p)
		status(3)(p)
	}, want: func(c *vectorCredential) { c.Handle, c.HandleEnded, c.Status.Index = "", true, 3 }},
	{name: "other-claims", comment: "claims that this type does not have, in the clear and disclosed, in objects and arrays: they are ignored",
		change: func(p *parts) {
			color := disclosure(`["c2FsdF9vZl9jb2xvcg","color","blue"]`)
			french := disclosure(`["c2FsdF9vZl9mcmVuY2g","fr"]`)
			p.payload.add("team", `{"_sd":["`+digest(color)+`"],"members":[1,{"...":"`+digest("decoy")+`"}]}`)
			p.payload.add("languages", `["de",{"...":"`+digest(french)+`"},{"a":{"b":[]}}]`)
			p.disclosures = append(p.disclosures, color, french)
			p.disclose(`["c2FsdA","name","Alice \"A\" \u00d6"]`)
		}},
	{name: "recursive", comment: "a disclosure inside another one (RFC 9901 §4.2.6)", change: func(p *parts) {
		inner := disclosure(`["aW5uZXI","city","Berlin"]`)
		p.disclosures = append(p.disclosures, inner)
		p.disclose(`["b3V0ZXI","address",{"_sd":["` + digest(inner) + `"]}]`)
	}},
	{name: "white-space", comment: "JSON with white space and escapes", change: func(p *parts) {
		p.payload.set("user", " "+strings.Replace(quote(alice), "im:", `\u0069m:`, 1)+"\n")
	}},
	{name: "not-before", comment: "nbf is later than iat and has passed", change: func(p *parts) {
		p.payload.add("nbf", fmt.Sprint(now.Add(-time.Hour).Unix()))
	}, want: func(c *vectorCredential) { c.From = now.Add(-time.Hour).Unix() }},
	{name: "binding-more-claims", comment: "the key binding has a claim and a header parameter that are not known", change: func(p *parts) {
		p.kb.add("room", `"r"`)
		p.kb.add("exp", fmt.Sprint(now.Add(time.Second).Unix()))
		p.kb.add("nbf", fmt.Sprint(now.Unix()))
		p.kbHeader.add("kid", `"phone"`)
	}},
	{name: "binding-a-minute-old", comment: "the key binding is 60 seconds old", change: boundAt(-time.Minute)},
	{name: "binding-of-a-fast-clock", comment: "the key binding is of 60 seconds in the future", change: boundAt(time.Minute)},
	{name: "binding-older", comment: "the verifier accepts an age of two hours", change: boundAt(-2 * time.Hour), verifier: func(o *vectorOptions) { o.MaxAge = 7200 }},
	{name: "binding-any-age", comment: "the verifier accepts any age", change: boundAt(-20 * time.Hour), verifier: func(o *vectorOptions) { o.AnyAge = true }},
	{name: "binding-at-another-time", comment: "the presentation was received two hours ago", change: boundAt(-2 * time.Hour), verifier: func(o *vectorOptions) {
		o.At = now.Add(-2 * time.Hour).Unix()
	}},
	{name: "leeway", comment: "valid from in a second, and the verifier allows one", change: func(p *parts) {
		p.payload.set("iat", fmt.Sprint(now.Unix()+1))
	}, verifier: func(o *vectorOptions) { o.Leeway = 1 }, want: func(c *vectorCredential) { c.From = now.Unix() + 1 }},
	{name: "without-binding", comment: "no key binding, and the verifier expects none", change: func(p *parts) { p.bound = false },
		verifier: withoutBinding},
}

// refused are texts that are not accepted. Those of credentials that are otherwise good have a credential, too.
var refused = []testCase{
	// The form.
	{name: "empty", edit: func(string) string { return "" }, code: credential.CodeMalformed},
	{name: "only-tildes", edit: func(string) string { return "~~" }, code: credential.CodeMalformed},
	{name: "jwt", comment: "the issuer-signed JWT alone", edit: func(text string) string { return cut(text, "~")[0] }, code: credential.CodeMalformed},
	{name: "two-parts", comment: "the JWT has no signature part", edit: func(text string) string {
		return text[strings.Index(text, ".")+1:]
	}, code: credential.CodeMalformed},
	{name: "no-last-tilde", comment: "the disclosure takes the place of the key binding", edit: func(text string) string {
		return strings.Join(cut(text, "~")[:2], "~")
	}, part: "key binding", code: credential.CodeBinding},
	{name: "tilde-after-binding", comment: "the key binding takes the place of a disclosure", edit: func(text string) string { return text + "~" },
		part: "disclosure 2", code: credential.CodeMalformed},
	{name: "empty-disclosure", edit: func(text string) string { return strings.Replace(text, "~", "~~", 1) }, part: "disclosure 1", code: credential.CodeMalformed},
	{name: "padding", comment: "base64url with padding", edit: replacePart(1, func(d string) string { return d + "=" }), part: "disclosure 1", code: credential.CodeMalformed},
	{name: "line-break", edit: replacePart(1, func(d string) string { return d[:8] + "\n" + d[8:] }), part: "disclosure 1", code: credential.CodeMalformed},
	{name: "not-canonical", comment: "the last character has bits that are not used", change: func(p *parts) {
		d := p.disclosures[0]
		p.disclosures[0] = d[:len(d)-1] + string(d[len(d)-1]+1)
		p.payload.set("_sd", `["`+digest(p.disclosures[0])+`"]`)
	}, part: "disclosure 1", code: credential.CodeMalformed},
	{name: "too-long", edit: func(text string) string { return text + strings.Repeat("A", sdjwt.MaxSize) }, code: credential.CodeTooLarge},
	{name: "too-many-disclosures", edit: func(text string) string { return text + strings.Repeat("~WyIiLDFd", sdjwt.MaxDisclosures) },
		code: credential.CodeTooLarge},
	{name: "too-deep", comment: "nested 33 levels deep", change: func(p *parts) {
		p.payload.add("deep", strings.Repeat("[", 32)+strings.Repeat("]", 32))
	}, part: "payload", code: credential.CodeMalformed},
	{name: "too-deep-with-disclosures", comment: "each JSON text has less than 32 levels, but not the claims", change: func(p *parts) {
		inner := disclosure(`["c2FsdA","in",` + strings.Repeat("[", 20) + strings.Repeat("]", 20) + `]`)
		p.disclosures = append(p.disclosures, inner)
		p.disclose(`["c2FsdA","out",` + strings.Repeat("[", 20) + `{"_sd":["` + digest(inner) + `"]}` + strings.Repeat("]", 20) + `]`)
	}, part: "payload", code: credential.CodeTooLarge},
	{name: "header-twice", comment: "the header has a parameter twice", change: func(p *parts) { p.header.add("typ", `"dc+sd-jwt"`) }, code: credential.CodeMalformed},
	{name: "crit", comment: "the header has critical extensions", change: func(p *parts) { p.header.add("crit", `["b64"]`) }, code: credential.CodeMalformed},
	{name: "payload-array", change: func(p *parts) { p.payload = nil }, edit: func(text string) string { // "{}" to "[]"
		return strings.Replace(text, ".e30.", ".W10.", 1)
	}, part: "payload", code: credential.CodeMalformed},
	{name: "payload-twice", comment: "the payload has a claim twice", change: func(p *parts) { p.payload.add("sub", `"im:x/1@example.com"`) },
		part: "payload", code: credential.CodeMalformed},
	{name: "payload-twice-inside", comment: "an object in the payload has a member twice", change: func(p *parts) { p.payload.add("x", `[{"a":1,"a":1}]`) },
		part: "payload", code: credential.CodeMalformed},
	{name: "not-utf8", change: func(p *parts) { p.payload.add("x", "\"\xff\"") }, part: "payload", code: credential.CodeMalformed},

	// Disclosures.
	{name: "disclosure-object", change: func(p *parts) { p.disclose(`{"salt":1}`) }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "disclosure-of-one", change: func(p *parts) { p.disclose(`["c2FsdA"]`) }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "disclosure-of-four", change: func(p *parts) { p.disclose(`["c2FsdA","a",1,2]`) }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "salt-number", change: func(p *parts) { p.disclose(`[1,"a",1]`) }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "name-number", change: func(p *parts) { p.disclose(`["c2FsdA",1,1]`) }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "disclosure-twice-inside", comment: "an object in a disclosure has a member twice", change: func(p *parts) { p.disclose(`["c2FsdA","a",{"b":1,"b":2}]`) },
		part: "disclosure 2", code: credential.CodeMalformed},
	{name: "disclosure-not-utf8", change: func(p *parts) { p.disclose("[\"c2FsdA\",\"a\",\"\xff\"]") }, part: "disclosure 2", code: credential.CodeMalformed},
	{name: "disclosure-twice", comment: "the same disclosure twice", change: func(p *parts) { p.disclosures = append(p.disclosures, p.disclosures[0]) },
		part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "disclosure-without-digest", change: func(p *parts) { p.disclosures = append(p.disclosures, disclosure(`["c2FsdA","a",1]`)) },
		part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "disclosure-changed", comment: "the handle is another one than the issuer signed", change: func(p *parts) {
		p.disclosures[0] = disclosure(`["Rk5GNHg4bTRzUTJ2aEg0bA","handle","im:%40bob@example.com"]`)
	}, part: "disclosure 1", code: credential.CodeDisclosure},
	{name: "inner-without-outer", comment: "a disclosure without the one that has its digest", change: func(p *parts) {
		inner := disclosure(`["aW5uZXI","city","Berlin"]`)
		p.digest(digest(disclosure(`["b3V0ZXI","address",{"_sd":["` + digest(inner) + `"]}]`)))
		p.disclosures = append(p.disclosures, inner)
	}, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "digest-twice", comment: "the digest of the handle is there twice", change: func(p *parts) { p.digest(digest(p.disclosures[0])) },
		part: "_sd", code: credential.CodeDisclosure},
	{name: "decoy-twice", comment: "a digest without disclosure is there twice", change: func(p *parts) {
		p.payload.add("x", `{"_sd":["`+digest("decoy")+`"]}`)
		p.payload.add("y", `[{"...":"`+digest("decoy")+`"}]`)
	}, part: "_sd", code: credential.CodeDisclosure},
	{name: "digest-twice-recursive", comment: "a disclosure has a digest that is in the payload", change: func(p *parts) {
		p.disclose(`["c2FsdA","x",{"_sd":["` + digest(p.disclosures[0]) + `"]}]`)
	}, part: "_sd", code: credential.CodeDisclosure},
	{name: "digest-not-sha256", change: func(p *parts) { p.payload.set("_sd", `["`+digest(p.disclosures[0])+`","AAAA"]`) },
		part: "_sd", code: credential.CodeDisclosure},
	{name: "digests-not-array", change: func(p *parts) { p.payload.set("_sd", `"`+digest(p.disclosures[0])+`"`) }, part: "_sd", code: credential.CodeDisclosure},
	{name: "digest-number", change: func(p *parts) { p.payload.set("_sd", `["`+digest(p.disclosures[0])+`",1]`) }, part: "_sd", code: credential.CodeDisclosure},
	{name: "name-sd", comment: "a disclosed claim named _sd", change: func(p *parts) { p.disclose(`["c2FsdA","_sd",[]]`) }, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "name-dots", comment: "a disclosed claim named ...", change: func(p *parts) { p.disclose(`["c2FsdA","...","x"]`) }, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "name-sd-alg", comment: "a disclosed claim named _sd_alg", change: func(p *parts) {
		p.payload.drop("_sd_alg")
		p.disclose(`["c2FsdA","_sd_alg","sha-256"]`)
	}, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "clear-and-disclosed", comment: "the handle is there in the clear, too", change: func(p *parts) { p.payload.add("handle", `"im:%40bob@example.com"`) },
		part: "disclosure 1", code: credential.CodeDisclosure},
	{name: "two-handles", comment: "two disclosures of a handle", change: func(p *parts) { p.disclose(`["c2FsdA","handle","im:%40bob@example.com"]`) },
		part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "dots-in-object", comment: "the name ... outside an array", change: func(p *parts) { p.payload.add("x", `{"...":"`+digest("decoy")+`"}`) },
		part: "...", code: credential.CodeDisclosure},
	{name: "dots-at-top", change: func(p *parts) { p.payload.add("...", quote(digest("decoy"))) }, part: "...", code: credential.CodeDisclosure},
	{name: "dots-not-alone", comment: "an element of an array with ... and another member", change: func(p *parts) {
		p.payload.add("x", `[{"a":1,"...":"`+digest("decoy")+`"}]`)
	}, part: "...", code: credential.CodeDisclosure},
	{name: "dots-number", change: func(p *parts) { p.payload.add("x", `[{"...":1}]`) }, part: "...", code: credential.CodeDisclosure},
	{name: "dots-disclosed", comment: "the value of a disclosed element is a digest", change: func(p *parts) {
		d := disclosure(`["c2FsdA",{"...":"` + digest("decoy") + `"}]`)
		p.payload.add("x", `[{"...":"`+digest(d)+`"}]`)
		p.disclosures = append(p.disclosures, d)
	}, part: "...", code: credential.CodeDisclosure},
	{name: "element-in-object", comment: "the disclosure of an element, and its digest is in an object", change: func(p *parts) { p.disclose(`["c2FsdA","x"]`) },
		part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "member-in-array", comment: "the disclosure of a member, and its digest is in an array", change: func(p *parts) {
		d := disclosure(`["c2FsdA","a",1]`)
		p.payload.add("x", `[{"...":"`+digest(d)+`"}]`)
		p.disclosures = append(p.disclosures, d)
	}, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "sha-512", change: func(p *parts) { p.payload.set("_sd_alg", `"sha-512"`) }, part: "_sd_alg", code: credential.CodeAlgorithm},
	{name: "sd-alg-number", change: func(p *parts) { p.payload.set("_sd_alg", `256`) }, part: "_sd_alg", code: credential.CodeMalformed},
	{name: "sd-alg-inside", comment: "_sd_alg is not at the top level", change: func(p *parts) { p.payload.add("x", `{"_sd_alg":"sha-256"}`) },
		part: "_sd_alg", code: credential.CodeDisclosure},

	// Claims that must not be hidden.
	hidden("iss"), hidden("exp"), hidden("iat"), hidden("cnf"), hidden("vct"), hidden("status"), hidden("sub"), hidden("user"), hidden("jti"),
	{name: "hidden-nbf", change: func(p *parts) { p.disclose(`["c2FsdA","nbf",1]`) }, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "hidden-aka_vcts", change: func(p *parts) { p.disclose(`["c2FsdA","aka_vcts",["a:b"]]`) }, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "hidden-vct-integrity", change: func(p *parts) { p.disclose(`["c2FsdA","vct#integrity","sha256-x"]`) }, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "hidden-other-case", comment: "a disclosed claim that some readers take for iss", change: func(p *parts) { p.disclose(`["c2FsdA","ISS","` + rogue + `"]`) },
		part: "payload", code: credential.CodeClaim},
	{name: "handle-other-case", comment: "a disclosed claim that some readers take for the handle", change: func(p *parts) {
		p.disclose(`["c2FsdA","Handle","im:%40bob@example.com"]`)
	}, part: "payload", code: credential.CodeClaim},
	{name: "cnf-other-case", comment: "a second key that some readers take for the key", change: func(p *parts) {
		p.payload.set("cnf", `{"jwk":`+phone.jwk()+`,"JWK":`+laptop.jwk()+`}`)
	}, part: "cnf", code: credential.CodeClaim},
	{name: "escaped-sd", comment: "_sd is written with an escape, in an object that has nothing else to hide", change: func(p *parts) {
		p.payload.add("x", `{"a":{"\u005fsd":["`+digest(p.disclosures[0])+`"]}}`)
	}, part: "_sd", code: credential.CodeDisclosure},
	{name: "escaped-dots", comment: "... is written with an escape", change: func(p *parts) {
		p.payload.add("x", `{"a":[{"b":1,"\u002e..":"`+digest("decoy")+`"}]}`)
	}, part: "...", code: credential.CodeDisclosure},
	{name: "hidden-in-cnf", comment: "a part of the key is disclosed", change: func(p *parts) {
		d := disclosure(`["c2FsdA","jwk",` + phone.jwk() + `]`)
		p.payload.set("cnf", `{"_sd":["`+digest(d)+`"]}`)
		p.disclosures = append(p.disclosures, d)
	}, part: "disclosure 2", code: credential.CodeDisclosure},
	{name: "digest-in-cnf", comment: "a part of the key is hidden", change: func(p *parts) {
		p.payload.set("cnf", `{"_sd":["`+digest("decoy")+`"],"jwk":`+phone.jwk()+`}`)
	}, part: "cnf", code: credential.CodeDisclosure},
	{name: "digest-in-status", change: func(p *parts) {
		p.payload.set("status", `{"_sd":["`+digest("decoy")+`"],"status_list":{"idx":0,"uri":"`+home+`/status/7"}}`)
	}, part: "status", code: credential.CodeDisclosure},

	// Type and header.
	{name: "vc-sd-jwt", comment: "the former typ of SD-JWT VCs", change: typ("vc+sd-jwt"), part: "typ", code: credential.CodeType},
	{name: "at-jwt", comment: "an access token with a tilde", change: typ("at+jwt"), part: "typ", code: credential.CodeType},
	{name: "example-sd-jwt", change: typ("example+sd-jwt"), part: "typ", code: credential.CodeType},
	{name: "kb-jwt", comment: "a key binding in the place of the credential", change: typ("kb+jwt"), part: "typ", code: credential.CodeType},
	{name: "typ-missing", change: func(p *parts) { p.header.drop("typ") }, part: "typ", code: credential.CodeType},
	{name: "kid-missing", change: func(p *parts) { p.header.drop("kid") }, part: "kid", code: credential.CodeMalformed},
	{name: "alg-none", change: func(p *parts) { p.header.set("alg", `"none"`) }, edit: replacePart(0, func(jwt string) string {
		return jwt[:strings.LastIndex(jwt, ".")+1]
	}), part: "alg", code: credential.CodeAlgorithm},
	{name: "alg-hs256", change: func(p *parts) { p.header.set("alg", `"HS256"`) }, part: "alg", code: credential.CodeAlgorithm},
	{name: "alg-other", comment: "another algorithm than that of the issuer's key", change: func(p *parts) { p.header.set("alg", `"ES384"`) }, code: credential.CodeSignature},
	{name: "vct-other", change: func(p *parts) { p.payload.set("vct", `"urn:eudi:pid:de:1"`) }, part: "vct", code: credential.CodeType},
	{name: "vct-aka", comment: "of another type, and also of this one", change: func(p *parts) {
		p.payload.set("vct", `"urn:eudi:pid:de:1"`)
		p.payload.set("aka_vcts", `["`+credential.VCT+`"]`)
	}, part: "vct", code: credential.CodeType},

	// Claims.
	missing("vct"), missing("iss"), missing("sub"), missing("user"), missing("jti"), missing("iat"), missing("exp"), missing("cnf"),
	{name: "exp-text", change: func(p *parts) { p.payload.set("exp", `"1800000000"`) }, part: "exp", code: credential.CodeClaim},
	{name: "exp-before-iat", change: func(p *parts) { p.payload.set("exp", p.payload.get("iat")) }, part: "exp", code: credential.CodeClaim},
	{name: "life-too-long", comment: "367 days", change: func(p *parts) { p.payload.set("exp", fmt.Sprint(now.Add(366*24*time.Hour).Unix())) },
		part: "exp", code: credential.CodeClaim},
	{name: "aud", comment: "a credential for some verifiers only", change: func(p *parts) { p.payload.add("aud", quote(room)) }, part: "aud", code: credential.CodeClaim},
	{name: "jti-too-long", change: func(p *parts) { p.payload.set("jti", quote(strings.Repeat("j", 257))) }, part: "jti", code: credential.CodeClaim},
	{name: "handle-number", change: handle(`1`), part: "handle", code: credential.CodeClaim},
	{name: "handle-empty", change: handle(`""`), part: "handle", code: credential.CodeClaim},
	{name: "handle-of-another-domain", change: handle(`"im:%40alice@example.org"`), part: "handle", code: credential.CodeClaim},
	{name: "handle-is-a-user", change: handle(quote(alice)), part: "handle", code: credential.CodeClaim},
	{name: "handle-malformed", change: handle(`"@alice"`), part: "handle", code: credential.CodeClaim},
	{name: "device-of-another", comment: "the device of another user", change: func(p *parts) { p.payload.set("sub", `"im:ma110ry/072b@example.com"`) },
		part: "sub", code: credential.CodeClaim},
	{name: "device-of-another-domain", change: func(p *parts) { p.payload.set("sub", `"im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.org"`) },
		part: "sub", code: credential.CodeClaim},
	{name: "device-is-a-user", change: func(p *parts) { p.payload.set("sub", quote(alice)) }, part: "sub", code: credential.CodeClaim},
	{name: "device-list", change: func(p *parts) { p.payload.set("sub", `["`+alicePhone+`"]`) }, part: "sub", code: credential.CodeClaim},
	{name: "user-is-a-device", change: func(p *parts) { p.payload.set("user", quote(alicePhone)) }, part: "user", code: credential.CodeClaim},
	{name: "user-not-canonical", comment: "the domain is in upper case", change: func(p *parts) {
		p.payload.set("user", quote(strings.Replace(alice, "example.com", "EXAMPLE.com", 1)))
	}, part: "user", code: credential.CodeClaim},
	{name: "reserved-domain", comment: "the verifier does not accept domains for examples", verifier: func(o *vectorOptions) { o.Strict = true },
		part: "user", code: credential.CodeClaim},
	{name: "status-without-list", change: func(p *parts) { p.payload.set("status", `{}`) }, part: "status", code: credential.CodeClaim},
	{name: "status-negative", change: func(p *parts) { p.payload.set("status", `{"status_list":{"idx":-1,"uri":"https://a.example/1"}}`) },
		part: "status", code: credential.CodeClaim},

	// The key.
	{name: "cnf-jkt", comment: "a thumbprint, as in an access token", change: func(p *parts) { p.payload.set("cnf", `{"jkt":"`+digest("x")+`"}`) },
		part: "cnf", code: credential.CodeClaim},
	{name: "cnf-two-methods", change: func(p *parts) { p.payload.set("cnf", `{"jwk":`+phone.jwk()+`,"kid":"1"}`) }, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-empty", change: func(p *parts) { p.payload.set("cnf", `{}`) }, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-private", change: func(p *parts) { p.payload.set("cnf", `{"jwk":`+strings.Replace(phone.jwk(), "{", `{"d":"AA",`, 1)+`}`) },
		part: "cnf", code: credential.CodeClaim},
	{name: "cnf-symmetric", change: func(p *parts) { p.payload.set("cnf", `{"jwk":{"kty":"oct","k":"AA"}}`) }, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-off-curve", change: func(p *parts) {
		p.payload.set("cnf", `{"jwk":{"crv":"P-256","kty":"EC","x":"`+digest("x")+`","y":"`+digest("y")+`"}}`)
	}, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-small-order", comment: "an Ed25519 key of small order", change: func(p *parts) {
		p.payload.set("cnf", `{"jwk":{"crv":"Ed25519","kty":"OKP","x":"`+base64.RawURLEncoding.EncodeToString(make([]byte, 32))+`"}}`)
	}, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-for-encryption", change: func(p *parts) {
		p.payload.set("cnf", `{"jwk":`+strings.Replace(phone.jwk(), "{", `{"use":"enc",`, 1)+`}`)
	}, part: "cnf", code: credential.CodeClaim},
	{name: "cnf-rsa", change: func(p *parts) { p.payload.set("cnf", `{"jwk":`+rsaKey()+`}`) }, part: "cnf", code: credential.CodeAlgorithm},

	// The issuer.
	{name: "issuer-unknown", change: func(p *parts) {
		p.issuer = issuers[rogue]
		p.header.set("kid", quote(p.issuer.kid))
		p.payload.set("iss", quote(rogue))
	}, part: "iss", code: credential.CodeIssuer},
	{name: "issuer-of-another-case", change: func(p *parts) { p.payload.set("iss", quote(strings.ToUpper(home))) }, part: "iss", code: credential.CodeIssuer},
	{name: "kid-unknown", change: func(p *parts) { p.header.set("kid", `"im-id-2"`) }, part: "iss", code: credential.CodeIssuer},
	{name: "signed-by-another", comment: "signed with a key that is not the issuer's", change: func(p *parts) { p.issuer = issuers[rogue] }, code: credential.CodeSignature},
	{name: "header-with-jwk", comment: "signed with the key that the header has", change: func(p *parts) {
		p.issuer = issuers[rogue]
		p.header.add("jwk", p.issuer.jwk())
	}, code: credential.CodeSignature},
	{name: "payload-changed", comment: "the payload was changed after it was signed, and the holder bound that", change: func(p *parts) {
		p.tamper = func(jwt string) string {
			changed := presented()
			changed.payload.set("jti", `"another"`)
			return strings.Join([]string{cut(jwt, ".")[0], disclosure(changed.payload.String()), cut(jwt, ".")[2]}, ".")
		}
	}, code: credential.CodeSignature},
	{name: "foreign-domain", comment: "the issuer does not speak for the domain", change: func(p *parts) {
		p.issuer = issuers[bridge]
		p.header.set("alg", quote(p.issuer.alg))
		p.header.set("kid", quote(p.issuer.kid))
		p.payload.set("iss", quote(bridge))
	}, part: "iss", code: credential.CodeDomain},

	// Time and status. A credential that has ended is returned.
	{name: "not-yet-valid", change: func(p *parts) { p.payload.set("iat", fmt.Sprint(now.Unix()+1)) }, code: credential.CodeNotYetValid},
	{name: "not-before-future", change: func(p *parts) { p.payload.add("nbf", fmt.Sprint(now.Unix()+1)) }, code: credential.CodeNotYetValid},
	{name: "expired", change: func(p *parts) { p.payload.set("exp", fmt.Sprint(now.Unix())) }, code: credential.CodeExpired, want: func(c *vectorCredential) {
		c.Until, c.Checked = now.Unix(), false
	}},
	{name: "ended", comment: "status 1", change: status(1), code: credential.CodeEnded, want: func(c *vectorCredential) { c.Status.Index = 1 }},
	{name: "status-unused", comment: "status 2, which no credential has", change: status(2), part: "status", code: credential.CodeStatus},
	{name: "status-not-looked-up", comment: "the verifier has no source of statuses", verifier: func(o *vectorOptions) { o.NoStatus = true },
		part: "status", code: credential.CodeUnchecked},
	{name: "status-unknown", comment: "the status cannot be known now: this is no refusal", change: status(4), unknown: true},

	// The key binding.
	{name: "no-binding", change: func(p *parts) { p.bound = false }, part: "key binding", code: credential.CodeNoBinding},
	{name: "binding-unexpected", comment: "the verifier expects none", verifier: withoutBinding, part: "key binding", code: credential.CodeBinding},
	{name: "binding-typ", change: func(p *parts) { p.kbHeader.set("typ", `"JWT"`) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-is-dpop", comment: "a DPoP proof", change: func(p *parts) { p.kbHeader.set("typ", `"dpop+jwt"`) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-is-a-credential", change: func(p *parts) { p.kbHeader.set("typ", `"dc+sd-jwt"`) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-malformed", edit: func(text string) string { return text + "." }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-too-long", change: func(p *parts) { p.kb.add("x", quote(strings.Repeat("x", 8<<10))) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-alg-none", change: func(p *parts) { p.kbHeader.set("alg", `"none"`) }, part: "key binding", code: credential.CodeAlgorithm},
	{name: "binding-alg-unfit", comment: "an algorithm that does not fit the key", change: func(p *parts) { p.kbHeader.set("alg", `"ES256"`) },
		part: "key binding", code: credential.CodeAlgorithm},
	{name: "binding-alg-rsa", change: func(p *parts) { p.kbHeader.set("alg", `"RS256"`) }, part: "key binding", code: credential.CodeAlgorithm},
	bindingMissing("aud"), bindingMissing("nonce"), bindingMissing("iat"),
	{name: "binding-hash-missing", change: func(p *parts) { p.kb.add("sd_hash", `""`) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-aud-list", comment: "aud must be one string (RFC 9901 §4.3)", change: func(p *parts) { p.kb.set("aud", `["`+room+`"]`) },
		part: "key binding", code: credential.CodeBinding},
	{name: "binding-nonce-number", change: func(p *parts) { p.kb.set("nonce", `1`) }, part: "key binding", code: credential.CodeBinding},
	{name: "binding-twice", comment: "nonce is there twice", change: func(p *parts) { p.kb.add("nonce", quote(nonce)) }, part: "key binding", code: credential.CodeBinding},
	{name: "wrong-audience", change: func(p *parts) { p.kb.set("aud", `"mimi://mimi.example.com/r/other"`) }, part: "key binding", code: credential.CodeAudience},
	{name: "wrong-nonce", change: func(p *parts) { p.kb.set("nonce", `"n-0S6_WzA2Mk"`) }, part: "key binding", code: credential.CodeNonce},
	{name: "longer-nonce", change: func(p *parts) { p.kb.set("nonce", `"n-0S6_WzA2Mj "`) }, part: "key binding", code: credential.CodeNonce},
	{name: "wrong-hash", change: func(p *parts) { p.kb.add("sd_hash", quote(digest("another"))) }, part: "key binding", code: credential.CodeHash},
	{name: "disclosure-removed", comment: "the handle is not disclosed any more", edit: replaceParts(1, 2), part: "key binding", code: credential.CodeHash},
	{name: "disclosure-added", comment: "somebody else adds a disclosure", change: func(p *parts) {
		p.disclose(`["c2FsdA","name","Alice"]`)
		p.kb.add("sd_hash", quote(digest(p.issuer.jws(p.header.String(), p.payload.String())+"~"+p.disclosures[0]+"~")))
	}, part: "key binding", code: credential.CodeHash},
	{name: "disclosures-reordered", change: func(p *parts) {
		p.disclose(`["c2FsdA","name","Alice"]`)
		p.kb.add("sd_hash", quote(digest(p.issuer.jws(p.header.String(), p.payload.String())+"~"+p.disclosures[1]+"~"+p.disclosures[0]+"~")))
	}, part: "key binding", code: credential.CodeHash},
	{name: "binding-of-another-credential", comment: "the binding of another credential of the same key", change: func(p *parts) {
		other := presented()
		other.payload.set("jti", `"another"`)
		p.kb.add("sd_hash", quote(digest(other.issuer.jws(other.header.String(), other.payload.String())+"~"+p.disclosures[0]+"~")))
	}, part: "key binding", code: credential.CodeHash},
	{name: "binding-old", comment: "61 seconds", change: boundAt(-61 * time.Second), part: "key binding", code: credential.CodeAge},
	{name: "binding-future", comment: "61 seconds", change: boundAt(61 * time.Second), part: "key binding", code: credential.CodeAge},
	{name: "binding-future-any-age", comment: "any age is accepted, but not one of the future", change: boundAt(61 * time.Second), verifier: func(o *vectorOptions) {
		o.AnyAge = true
	}, part: "key binding", code: credential.CodeAge},
	{name: "binding-expired", change: func(p *parts) { p.kb.add("exp", fmt.Sprint(now.Unix())) }, part: "key binding", code: credential.CodeAge},
	{name: "binding-not-before", change: func(p *parts) { p.kb.add("nbf", fmt.Sprint(now.Unix()+1)) }, part: "key binding", code: credential.CodeAge},
	{name: "binding-by-another-key", change: func(p *parts) { p.holder = ed25519Author("mallory") }, part: "key binding", code: credential.CodeKey},
	{name: "binding-with-jwk", comment: "by the key that its header has", change: func(p *parts) {
		p.holder = ed25519Author("mallory")
		p.kbHeader.add("jwk", p.holder.jwk())
	}, part: "key binding", code: credential.CodeKey},
	{name: "binding-signature-changed", edit: func(text string) string {
		at := len(text) - 44
		c := "A"
		if text[at] == 'A' {
			c = "B"
		}
		return text[:at] + c + text[at+1:]
	}, part: "key binding", code: credential.CodeKey},
	{name: "binding-unsigned", edit: func(text string) string { return text[:strings.LastIndex(text, ".")+1] }, part: "key binding", code: credential.CodeKey},
	{name: "wrong-key-and-expired", comment: "what has expired is returned only if everything else is right", change: func(p *parts) {
		p.payload.set("exp", fmt.Sprint(now.Unix()))
		p.holder = ed25519Author("mallory")
	}, part: "key binding", code: credential.CodeKey},
}

func cut(text, sep string) []string { return strings.Split(text, sep) }

// replacePart changes one part between tildes.
func replacePart(i int, change func(string) string) func(string) string {
	return func(text string) string {
		list := cut(text, "~")
		list[i] = change(list[i])
		return strings.Join(list, "~")
	}
}

// replaceParts removes the parts from one index to another.
func replaceParts(from, to int) func(string) string {
	return func(text string) string {
		list := cut(text, "~")
		return strings.Join(append(list[:from:from], list[to:]...), "~")
	}
}

func hideHandle(p *parts) { p.disclosures = nil }

func withoutHandle(c *vectorCredential) { c.Handle = "" }

func withoutBinding(o *vectorOptions) { o.Audience, o.Nonce, o.WithoutBinding = "", "", true }

func keyOf(a *author) func(*vectorCredential) {
	return func(c *vectorCredential) { c.Key = []byte(a.jwk()) }
}

func byBridge(p *parts) {
	p.issuer = issuers[bridge]
	p.header.set("alg", quote(p.issuer.alg))
	p.header.set("kid", quote(p.issuer.kid))
	for name, value := range map[string]string{"iss": bridge, "user": "im:b0b@bridge.example;id-type=user", "sub": "im:b0b/1@bridge.example"} {
		p.payload.set(name, quote(value))
	}
	handle(`"im:%40bob@bridge.example"`)(p)
}

// handle discloses another handle.
func handle(value string) func(*parts) {
	return func(p *parts) {
		p.disclosures, p.payload = nil, append(object(nil), p.payload...)
		p.payload.set("_sd", "[")
		d := disclosure(`["Rk5GNHg4bTRzUTJ2aEg0bA","handle",` + value + `]`)
		p.disclosures = []string{d}
		p.payload.set("_sd", `["`+digest(d)+`"]`)
	}
}

func status(index int) func(*parts) {
	return func(p *parts) {
		p.payload.set("status", fmt.Sprintf(`{"status_list":{"idx":%d,"uri":"%s/status/7"}}`, index, home))
	}
}

func boundAt(d time.Duration) func(*parts) {
	return func(p *parts) { p.kb.set("iat", fmt.Sprint(now.Add(d).Unix())) }
}

func typ(typ string) func(*parts) {
	return func(p *parts) { p.header.set("typ", quote(typ)) }
}

func hidden(claim string) testCase {
	return testCase{
		name: "hidden-" + claim, comment: claim + " is disclosed", change: func(p *parts) { p.hide(claim) }, part: "disclosure 2",
		code: credential.CodeDisclosure,
	}
}

func missing(claim string) testCase {
	return testCase{name: "no-" + claim, change: func(p *parts) { p.payload.drop(claim) }, part: claim, code: credential.CodeClaim}
}

func bindingMissing(claim string) testCase {
	return testCase{
		name: "binding-no-" + claim, change: func(p *parts) { p.kb.drop(claim) }, part: "key binding", code: credential.CodeBinding,
	}
}
