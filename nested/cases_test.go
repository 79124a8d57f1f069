package nested_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/nested"
)

// A testCase is a token with what its verifier knows and demands, and what comes of it: a tree, or an error by its path
// and code.
type testCase struct {
	name, comment string
	token         string
	verifier      func(o *nested.Options)
	revoked       []string // jti
	path          string
	code          nested.Code // "": the token is good
}

func along(tokens ...string) func(o *nested.Options) {
	return func(o *nested.Options) { o.Along = tokens }
}

// takes lets a verifier take a type outermost.
func takes(types ...string) func(o *nested.Options) {
	return func(o *nested.Options) { o.Types = types }
}

func expires(minutes int) change {
	return func(d *draft) { d.set.Expires, d.st.Expires = at(minutes), at(minutes) }
}

func from(minutes int) change {
	return func(d *draft) { d.set.IssuedAt, d.st.IssuedAt = at(minutes), at(minutes) }
}

func audience(names ...string) change {
	return func(d *draft) { d.set.Audience, d.st.Audience = names, names }
}

func jti(id string) change {
	return func(d *draft) { d.set.JTI, d.st.JTI = id, id }
}

func scope(words string) change {
	return func(d *draft) { d.set.Scope, d.st.Scope = words, words }
}

func party(uri string) change { return func(d *draft) { d.st.Party = uri } }

func issuedBy(s *signer) change {
	return func(d *draft) { d.by, d.set.Issuer, d.st.Issuer = s, s.issuer, s.issuer }
}

func limits(f func(l *nested.Limits)) change {
	return func(d *draft) {
		l := *d.st.Limits
		f(&l)
		d.st.Limits = &l
	}
}

// njwt makes a token of the older form.
func njwt(token string) change {
	return func(d *draft) {
		d.cty = "NJWT"
		d.edit = func(payload string) string {
			return strings.TrimSuffix(payload, "}") + fmt.Sprintf(`,"njwt":%q}`, token)
		}
	}
}

// element is an entry of `tokens` by hand.
func element(members ...string) string { return "[{" + strings.Join(members, ",") + "}]" }

const (
	jwtType    = `"type":"urn:ietf:params:oauth:token-type:jwt"`
	accessType = `"type":"urn:ietf:params:oauth:token-type:access_token"`
	actsFor    = `"rel":"acts_for"`
	zeros      = "0000000000000000000000000000000000000000000000000000000000000000"
)

func digestOf(alg, hash string) string {
	return fmt.Sprintf(`"digest":{"alg":%q,"hash":%q}`, alg, hash)
}

func tokenMember(token string) string { return fmt.Sprintf(`"token":%q`, token) }

// halves are the two of a link.
func halves(second ...change) change {
	return inside(value(nested.SameAs, half(signers[home], alice, aliceOld)),
		value(nested.SameAs, half(signers[old], aliceOld, alice, second...)))
}

// bomb is a token of n layers, none of which was ever signed.
func bomb(n int) string {
	encode := base64.RawURLEncoding.EncodeToString
	token := "x"
	for i := range n {
		header := encode([]byte(`{"typ":"im-rename+jwt","alg":"ES256","kid":"example.com-1"}`))
		payload := fmt.Sprintf(`{"iss":%q,"jti":"%d","tokens":[{`+jwtType+`,"rel":"renamed_from","token":%q}]}`, home, i, token)
		token = header + "." + encode([]byte(payload)) + "." + encode(make([]byte, 64))
	}
	return token
}

// renames returns n renames with ids of their own, each padded with a claim.
func renames(n, padding int) []nested.Entry {
	entries := make([]nested.Entry, n)
	for i := range entries {
		changes := []change{jti(fmt.Sprint("rename ", i))}
		if padding > 0 {
			changes = append(changes, edit(`{"iss"`, `{"pad":"`+strings.Repeat("x", padding)+`","iss"`))
		}
		entries[i] = value(nested.RenamedFrom, rename(changes...))
	}
	return entries
}

// padded returns the bot's token of n bytes, or of one more where base64url has no such length.
func padded(n int) string {
	pad := func(size int) string {
		return botToken(edit(`{"iss"`, `{"pad":"`+strings.Repeat("x", size)+`","iss"`))
	}
	for size := n*3/4 - 700; ; size++ {
		if token := pad(size); len(token) >= n {
			return token
		}
	}
}

// byReferences returns Alice's token with n padded renames by digest, and those.
func byReferences(n, padding int) (token string, along []string) {
	var list []string
	for i, e := range renames(n, padding) {
		along = append(along, e.Token)
		list = append(list, strings.Trim(element(jwtType, `"rel":"renamed_from"`, digestOf("sha-256", hexSum(e.Token)),
			fmt.Sprintf(`"jti":"rename %d"`, i)), "[]"))
	}
	return aliceToken(raw("[" + strings.Join(list, ",") + "]")), along
}

// cases are all vectors, in the order of the book.
func cases() []testCase {
	return slices.Concat(accepted(), formCases(), layerCases(), relationCases(), cascadeCases())
}

func accepted() []testCase {
	reference1 := grant()
	fourParts, fourAlong := byReferences(4, 1200)
	return []testCase{
		{name: "plain", comment: "a token that encloses none", token: aliceToken()},
		{name: "acts-for", comment: "a bot's own token, with the grant of the user's issuer",
			token: botToken(inside(value(nested.ActsFor, grant())))},
		{name: "acts-for-act", comment: "a token about the user, the actor in act (RFC 8693 section 4.1)",
			token: exchanged(inside(value(nested.ActsFor, grant(audience(home)))))},
		{name: "acts-for-act-history", comment: "a prior actor in act is ignored", token: exchanged(func(d *draft) {
			d.set.Actor.Actor = &claims.Actor{Subject: "somebody", Issuer: rogue}
		}, inside(value(nested.ActsFor, grant(audience(home)))))},
		{name: "acts-for-own-key", comment: "the grant is by the user's own key, under a delegation",
			token: botToken(expires(4), inside(value(nested.ActsFor, grant(by(aliceKey), func(d *draft) { d.st.Issuer, d.st.Handle = alice, "" },
				inside(value(nested.Cascade, delegation()))))))},
		{name: "acts-for-service", comment: "the actor is a service, named together with its issuer",
			token: botToken(func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = "relay", "relay", "" },
				inside(value(nested.ActsFor, grant(party("relay")))))},
		{name: "separate", comment: "the tokens of a device and of its user; scope is what both have, the end the earlier",
			token: aliceToken(inside(value(nested.Separate, userToken())))},
		{name: "cascade", comment: "a device statement by the user's own key, offline, under a delegation",
			token: deviceStatement(), verifier: takes(nested.TypeDevice)},
		{name: "cascade-countersigned", comment: "the issuer's token for the device, with the statement of the user's own key",
			token: aliceToken(inside(value(nested.AttestedBy, deviceStatement())))},
		{name: "cascade-twice", comment: "a key to which the user's key delegated", verifier: takes(nested.TypeDevice),
			token: deviceStatement(by(otherKey), inside(value(nested.Cascade, subdelegation(inside(value(nested.Cascade,
				delegation(limits(func(l *nested.Limits) { l.Depth = 2 }))))))))},
		{name: "member-of", comment: "a role in a team of another domain", token: aliceToken(inside(value(nested.MemberOf, member())))},
		{name: "guardian-of", comment: "the domain of the child names the guardian",
			token: aliceToken(inside(value(nested.GuardianOf, guardian())))},
		{name: "same-as", comment: "both halves", token: aliceToken(halves())},
		{name: "same-as-own-key", comment: "one half is by a user's own key",
			token: aliceToken(inside(value(nested.SameAs, half(signers[old], aliceOld, alice)),
				value(nested.SameAs, half(aliceKey, alice, aliceOld, inside(value(nested.Cascade, delegation()))))))},
		{name: "renamed-from", comment: "a former handle", token: aliceToken(inside(value(nested.RenamedFrom, rename())))},
		{name: "renamed-from-twice", comment: "two former handles, one statement in the other",
			token: aliceToken(inside(value(nested.RenamedFrom, rename(inside(value(nested.RenamedFrom, rename(jti("first"), func(d *draft) {
				d.st.Handle, d.st.OldHandle = "im:%40alex@example.com", "im:%40al@example.com"
			})))))))},
		{name: "moved-from", comment: "the former identity in another domain, by that domain",
			token: aliceToken(inside(value(nested.MovedFrom, move())))},
		{name: "attested-by", comment: "another issuer's token for the same key", token: aliceToken(inside(value(nested.AttestedBy, vouched())))},
		{name: "by-digest", comment: "the grant came along", token: botToken(inside(reference(nested.ActsFor, reference1))),
			verifier: along(reference1)},
		{name: "by-digest-plain-type", comment: "a digest under a type without :reference", verifier: along(reference1),
			token: botToken(raw(element(jwtType, actsFor, digestOf("sha-256", hexSum(reference1)), `"jti":"grant"`)))},
		{name: "njwt", comment: "one token in njwt, whose relation the verifier knows", token: botToken(njwt(grant())),
			verifier: func(o *nested.Options) { o.NJWT = nested.ActsFor }},
		{name: "audience-verifier", comment: "the inner token is for the verifier",
			token: botToken(inside(value(nested.ActsFor, grant(audience("im:else.example", verifier)))))},
		{name: "audience-domain", comment: "the inner token is for the domain of the embedder",
			token: botToken(inside(value(nested.ActsFor, grant(audience("im:bridge.example")))))},
		{name: "life-at-limit", comment: "a statement that is valid for 366 days",
			token: botToken(inside(value(nested.ActsFor, grant(func(d *draft) { d.st.Expires = d.st.IssuedAt.Add(nested.MaxLife) }))))},
		{name: "typ-application", comment: "typ as a whole media type (RFC 9068 section 4)",
			token: aliceToken(func(d *draft) { d.typ = "application/at+jwt" })},
		{name: "size-at-limit", comment: "8192 bytes", token: padded(nested.MaxToken)},
		{name: "count-at-limit", comment: "eight tokens", token: aliceToken(inside(renames(nested.MaxTokens-1, 0)...))},
		{name: "sum-below-limit", comment: "several tokens by digest", token: fourParts, verifier: along(fourAlong...)},
	}
}

func formCases() []testCase {
	g := grant()
	large, largeAlong := byReferences(4, 2500)
	actor := func(tokens string) string { return botToken(raw(tokens)) }
	return []testCase{
		{name: "depth", comment: "four tokens one in the other", path: "tokens[0].tokens[0].tokens[0]", code: nested.CodeTooDeep,
			token: bomb(4), verifier: takes(nested.TypeRename)},
		{name: "bomb", comment: "as many layers as 8 KiB hold", path: "tokens[0].tokens[0].tokens[0]", code: nested.CodeTooDeep, token: bomb(6),
			verifier: takes(nested.TypeRename)},
		{name: "bomb-large", comment: "twelve layers, which is more than 8 KiB", code: nested.CodeTooLarge, token: bomb(12),
			verifier: takes(nested.TypeRename)},
		{name: "count", comment: "nine tokens", path: "tokens[7]", code: nested.CodeTooMany, token: tooMany()},
		{name: "size", comment: "8193 bytes", code: nested.CodeTooLarge, token: oneMore(padded(nested.MaxToken))},
		{name: "sum", comment: "more than 16 KiB together", path: "tokens[3]", code: nested.CodeTooLarge, token: large,
			verifier: along(largeAlong...)},
		{name: "along-count", comment: "more tokens came along than can be enclosed", code: nested.CodeTooMany, token: aliceToken(),
			verifier: along(slices.Repeat([]string{"x"}, 8)...)},
		{name: "along-size", comment: "16385 bytes came along", code: nested.CodeTooLarge, token: aliceToken(),
			verifier: along(strings.Repeat("x", nested.MaxTotal+1))},
		{name: "no-token", comment: "not three parts", code: nested.CodeMalformed, token: "nothing"},
		{name: "inner-no-token", comment: "not three parts", path: "tokens[0]", code: nested.CodeMalformed,
			token: actor(element(jwtType, actsFor, `"token":"nothing"`))},
		{name: "tokens-object", comment: "tokens is not an array", code: nested.CodeMalformed, token: actor(`{}`)},
		{name: "tokens-string", comment: "tokens is not an array", code: nested.CodeMalformed, token: actor(`"` + g + `"`)},
		{name: "tokens-empty", comment: "tokens is empty", code: nested.CodeMalformed, token: actor(`[]`)},
		{name: "tokens-null", comment: "an element is no object", path: "tokens[0]", code: nested.CodeMalformed, token: actor(`[null]`)},
		{name: "tokens-case", comment: "Tokens", code: nested.CodeMalformed,
			token: botToken(inside(value(nested.ActsFor, g)), edit(`"tokens"`, `"Tokens"`))},
		{name: "both", comment: "both token and digest", path: "tokens[0]", code: nested.CodeMalformed,
			token: actor(element(jwtType, actsFor, tokenMember(g), digestOf("sha-256", hexSum(g)), `"jti":"grant"`)), verifier: along(g)},
		{name: "neither", comment: "neither token nor digest", path: "tokens[0]", code: nested.CodeMalformed,
			token: actor(element(jwtType, actsFor))},
		{name: "digest-type-object", comment: "a digest that is a string", path: "tokens[0]", code: nested.CodeMalformed,
			token: actor(element(jwtType, actsFor, `"digest":"`+hexSum(g)+`"`, `"jti":"grant"`)), verifier: along(g)},
		{name: "digest-depth", comment: "a digest one level too deep", path: "tokens[0].tokens[0].tokens[0]", code: nested.CodeTooDeep,
			token: aliceToken(inside(value(nested.RenamedFrom, rename(inside(value(nested.RenamedFrom, rename(jti("first"),
				raw(element(jwtType, `"rel":"renamed_from"`, digestOf("sha-256", zeros), `"jti":"zeroth"`)))))))))},
		{name: "relation-missing", comment: "the draft's entry, without a relation", path: "tokens[0]", code: nested.CodeRelation,
			token: actor(element(jwtType, tokenMember(g)))},
		{name: "relation-unknown", comment: "a relation that is not of the list", path: "tokens[0]", code: nested.CodeRelation,
			token: actor(element(jwtType, `"rel":"friend_of"`, tokenMember(g)))},
		{name: "relation-not-taken", comment: "a relation that this verifier does not take", path: "tokens[0]", code: nested.CodeRelation,
			token: botToken(inside(value(nested.ActsFor,
				g))), verifier: func(o *nested.Options) { o.Relations = []nested.Relation{nested.MemberOf} }},
		{name: "type-unknown", comment: "a token type of RFC 8693 that is none of ours", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(`"type":"urn:ietf:params:oauth:token-type:saml2"`, actsFor, tokenMember(g)))},
		{name: "type-reference-by-value", comment: "a reference that has the token", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(`"type":"urn:ietf:params:oauth:token-type:jwt:reference"`, actsFor, tokenMember(g)))},
		{name: "type-other", comment: "a statement called an access token", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(accessType, actsFor, tokenMember(g)))},
		{name: "typ-unknown", comment: "typ is JWT", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(jwtType, actsFor, tokenMember(grant(func(d *draft) { d.typ = "JWT" }))))},
		{name: "typ-of-the-outer", comment: "the grant has the type of the outer token", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(accessType, actsFor, tokenMember(grant(func(d *draft) { d.typ = nested.TypeAccessToken }))))},
		{name: "typ-of-another-relation", comment: "a membership as a grant", path: "tokens[0]", code: nested.CodeType,
			token: actor(element(jwtType, actsFor, tokenMember(member())))},
		{name: "typ-outermost", comment: "a statement where an access token belongs", code: nested.CodeType, token: deviceStatement()},
		{name: "relation-misplaced", comment: "acts_for in a statement", path: "tokens[0].tokens[0]", code: nested.CodeType,
			token: aliceToken(inside(value(nested.RenamedFrom, rename(inside(value(nested.ActsFor, g))))))},
		{name: "claim-of-another-type", comment: "a membership that says guardian as well", path: "tokens[0]", code: nested.CodeMalformed,
			token: aliceToken(raw(element(jwtType, `"rel":"member_of"`,
				tokenMember(member(edit(`"member"`, fmt.Sprintf(`"guardian":%q,"member"`, alice)))))))},
		{name: "claim-case", comment: "a claim in another case", path: "tokens[0]", code: nested.CodeMalformed,
			token: aliceToken(raw(element(jwtType, `"rel":"member_of"`,
				tokenMember(member(edit(`"member"`, fmt.Sprintf(`"Member":%q,"member"`, mallory)))))))},
		{name: "claim-twice", comment: "a claim twice", path: "tokens[0]", code: nested.CodeMalformed,
			token: aliceToken(raw(element(jwtType, `"rel":"member_of"`,
				tokenMember(member(edit(`"member"`, fmt.Sprintf(`"member":%q,"member"`, mallory)))))))},
		{name: "jti-repeated", comment: "two inner tokens with one jti", path: "tokens[1]", code: nested.CodeRepeated,
			token: aliceToken(raw(strings.TrimSuffix(element(jwtType, `"rel":"renamed_from"`, tokenMember(rename())), "]") + "," +
				strings.TrimPrefix(element(jwtType, `"rel":"moved_from"`, tokenMember(move(jti("rename")))), "[")))},
		{name: "jti-of-the-outer", comment: "the inner token has the jti of the outer", path: "tokens[0]", code: nested.CodeRepeated,
			token: aliceToken(inside(value(nested.RenamedFrom, rename(jti("alice")))))},
		{name: "jti-missing", comment: "a statement without jti", path: "tokens[0]", code: nested.CodeMalformed,
			token: aliceToken(raw(element(jwtType, `"rel":"renamed_from"`, tokenMember(rename(edit(`"jti"`, `"xjti"`))))))},
		{name: "cycle", comment: "a digest that names the token around it", path: "tokens[0]", code: nested.CodeCycle,
			token: actor(element(jwtType, actsFor, digestOf("sha-256", zeros), `"jti":"bot"`))},
		{name: "cycle-deeper", comment: "a digest that names the outermost token", path: "tokens[0].tokens[0]", code: nested.CodeCycle,
			token: aliceToken(inside(value(nested.RenamedFrom,
				rename(raw(element(jwtType, `"rel":"renamed_from"`, digestOf("sha-256", zeros), `"jti":"alice"`))))))},
		{name: "digest-absent", comment: "the token did not come along", path: "tokens[0]", code: nested.CodeAbsent,
			token: botToken(inside(reference(nested.ActsFor, g)))},
		{name: "digest-other-token", comment: "another token came along", path: "tokens[0]", code: nested.CodeAbsent,
			token: botToken(inside(reference(nested.ActsFor, g))), verifier: along(grant(jti("other")))},
		{name: "digest-algorithm", comment: "sha-512", path: "tokens[0]", code: nested.CodeDigest,
			token: actor(element(jwtType, actsFor, digestOf("sha-512", hexSum(g)), `"jti":"grant"`)), verifier: along(g)},
		{name: "digest-upper-case", comment: "upper-case hexadecimal", path: "tokens[0]", code: nested.CodeDigest,
			token: actor(element(jwtType, actsFor, digestOf("sha-256", strings.ToUpper(hexSum(g))), `"jti":"grant"`)), verifier: along(g)},
		{name: "digest-base64url", comment: "base64url, which the draft does not use", path: "tokens[0]", code: nested.CodeDigest,
			token: actor(element(jwtType, actsFor, digestOf("sha-256", base64Sum(g)), `"jti":"grant"`)), verifier: along(g)},
		{name: "digest-jti", comment: "the token has another jti", path: "tokens[0]", code: nested.CodeDigest,
			token: actor(element(jwtType, actsFor, digestOf("sha-256", hexSum(g)), `"jti":"other"`)), verifier: along(g)},
		{name: "digest-no-jti", comment: "a digest without jti", path: "tokens[0]", code: nested.CodeDigest,
			token: actor(element(jwtType, actsFor, digestOf("sha-256", hexSum(g)))), verifier: along(g)},
		{name: "bearer", comment: "an access token of another resource, bound to no key, by value", path: "tokens[0]", code: nested.CodeBearer,
			token: aliceToken(raw(element(accessType, `"rel":"separate"`,
				tokenMember(userToken(audience("https://mail.example"), func(d *draft) { d.set.JKT = "" })))))},
		{name: "njwt-no-policy", comment: "njwt, and the verifier has no relation for it", path: "njwt", code: nested.CodeRelation,
			token: botToken(njwt(g))},
		{name: "njwt-missing", comment: "cty says NJWT, and there is no njwt", code: nested.CodeMalformed,
			verifier: func(o *nested.Options) { o.NJWT = nested.ActsFor },
			token:    botToken(func(d *draft) { d.cty = "NJWT" })},
		{name: "njwt-array", comment: "njwt is an array", path: "njwt", code: nested.CodeMalformed,
			verifier: func(o *nested.Options) { o.NJWT = nested.ActsFor },
			token:    botToken(func(d *draft) { d.cty = "NJWT" }, edit(`{"iss"`, `{"njwt":["`+g+`"],"iss"`))},
		{name: "njwt-and-tokens", comment: "both njwt and tokens", code: nested.CodeMalformed,
			verifier: func(o *nested.Options) { o.NJWT = nested.ActsFor },
			token:    botToken(inside(value(nested.ActsFor, g)), njwt(grant(jti("second"))))},
		{name: "cty-jwt", comment: "cty says that the payload is itself a token (RFC 7519 section 5.2)", code: nested.CodeMalformed,
			token: botToken(func(d *draft) { d.cty = "JWT" })},
	}
}

func layerCases() []testCase {
	acting := func(changes ...change) string { return botToken(inside(value(nested.ActsFor, grant(changes...)))) }
	return []testCase{
		{name: "outer-signature", comment: "signed by another key", code: nested.CodeSignature,
			token: aliceToken(func(d *draft) { d.by = &signer{home, signers[home].kid, signers[old].alg, signers[old].key} })},
		{name: "inner-signature", comment: "signed by another key", path: "tokens[0]", code: nested.CodeSignature,
			token: acting(func(d *draft) { d.by = &signer{home, signers[home].kid, signers[old].alg, signers[old].key} })},
		{name: "outside-in", comment: "both are signed by other keys: the outer one is named", code: nested.CodeSignature,
			token: botToken(func(d *draft) { d.by = &signer{bridge, signers[bridge].kid, botKey.alg, botKey.key} },
				inside(value(nested.ActsFor, grant(func(d *draft) { d.by = &signer{home, signers[home].kid, signers[old].alg, signers[old].key} }))))},
		{name: "inner-untrusted-issuer", comment: "an untrusted issuer", path: "tokens[0]", code: nested.CodeIssuer,
			token: acting(issuedBy(signers[rogue]))},
		{name: "inner-unknown-key", comment: "a kid that its issuer does not publish", path: "tokens[0]", code: nested.CodeIssuer,
			token: acting(func(d *draft) { d.by = &signer{home, "another", signers[home].alg, signers[home].key} })},
		{name: "inner-foreign-domain", comment: "an issuer for another's domain", path: "tokens[0]", code: nested.CodeDomain,
			token: acting(issuedBy(signers[bridge]))},
		{name: "outer-foreign-domain", comment: "an issuer for another's domain", code: nested.CodeDomain,
			token: aliceToken(issuedBy(signers[bridge]))},
		{name: "inner-carries-key", comment: "an issuer's statement with a key in its header", path: "tokens[0]", code: nested.CodeMalformed,
			token: acting(by(aliceKey))},
		{name: "inner-expired", comment: "expired", path: "tokens[0]", code: nested.CodeExpired, token: acting(expires(0))},
		{name: "inner-not-yet-valid", comment: "nbf lies ahead", path: "tokens[0]", code: nested.CodeNotYetValid,
			token: acting(func(d *draft) { d.st.NotBefore = at(1) })},
		{name: "inner-issued-ahead", comment: "iat lies ahead", path: "tokens[0]", code: nested.CodeNotYetValid, token: acting(from(1))},
		{name: "outer-expired", comment: "expired", code: nested.CodeExpired, token: aliceToken(expires(0))},
		{name: "inner-milliseconds", comment: "times in milliseconds", path: "tokens[0]", code: nested.CodeMalformed,
			token: botToken(raw(element(jwtType, actsFor, tokenMember(grant(edit(fmt.Sprint(at(10).Unix()), fmt.Sprint(at(10).UnixMilli())))))))},
		{name: "inner-revoked", comment: "the grant was withdrawn", path: "tokens[0]", code: nested.CodeRevoked, token: acting(),
			revoked: []string{"grant"}},
		{name: "outer-revoked", comment: "the outer token was revoked", code: nested.CodeRevoked, token: acting(), revoked: []string{"bot"}},
		{name: "innermost-revoked", comment: "the delegation was withdrawn, and with it the device", path: "tokens[0].tokens[0]",
			code:  nested.CodeRevoked,
			token: aliceToken(inside(value(nested.AttestedBy, deviceStatement()))), revoked: []string{"delegation"}},
		{name: "inner-audience", comment: "for neither the embedder nor the verifier", path: "tokens[0]", code: nested.CodeAudience,
			token: acting(audience("https://else.example"))},
		{name: "outer-audience", comment: "for another audience", code: nested.CodeAudience, token: aliceToken(audience("im:else.example"))},
		{name: "inner-jti-long", comment: "a jti of more than 255 bytes", path: "tokens[0]", code: nested.CodeMalformed,
			token: botToken(raw(element(jwtType, actsFor,
				tokenMember(grant(edit(`"jti":"grant"`, `"jti":"`+strings.Repeat("j", nested.MaxJTI+1)+`"`))))))},
		{name: "actor-control", comment: "an actor whose client id has a control character (RFC 6749 appendix A.1)", path: "tokens[0]",
			code:  nested.CodeClaim,
			token: acting(edit(fmt.Sprintf(`"sub":%q,"iss"`, bot), `"sub":"relay\u001b[2J","iss"`))},
		{name: "inner-life", comment: "valid for more than 366 days", path: "tokens[0]", code: nested.CodeClaim,
			token: acting(edit(fmt.Sprint(at(10).Unix()), fmt.Sprint(at(-60).Add(nested.MaxLife).Unix()+1)))},
		{name: "inner-access-life", comment: "an access token that is valid for more than 366 days", path: "tokens[0]", code: nested.CodeClaim,
			token: aliceToken(inside(value(nested.AttestedBy,
				vouched(func(d *draft) { d.set.Expires = at(-1).Add(nested.MaxLife + time.Second) }))))},
		{name: "inner-status", comment: "a statement with a place in a status list, which is not checked", path: "tokens[0]",
			code:  nested.CodeStatus,
			token: acting(edit(`"jti"`, `"status":{"status_list":{"idx":7,"uri":"https://issuer.example.com/status/1"}},"jti"`))},
		{name: "inner-access-status", comment: "an access token with a place in a status list", path: "tokens[0]", code: nested.CodeStatus,
			token: aliceToken(inside(value(nested.AttestedBy,
				vouched(func(d *draft) { d.set.Status = &claims.Status{Index: 7, URI: vouch + "/status/1"} }))))},
		{name: "outer-status", comment: "the outermost token has a place in a status list", code: nested.CodeStatus,
			token: aliceToken(func(d *draft) { d.set.Status = &claims.Status{Index: 7, URI: home + "/status/1"} })},
		{name: "inner-two-domains", comment: "a handle of another domain", path: "tokens[0]", code: nested.CodeClaim,
			token: botToken(inside(value(nested.ActsFor, grant(edit(aliceHandle, botHandle)))))},
		{name: "inner-not-canonical", comment: "a subject that is not canonical", path: "tokens[0]", code: nested.CodeClaim,
			token: botToken(inside(value(nested.ActsFor, grant(edit(alice, strings.Replace(alice, "example.com", "EXAMPLE.com", 1))))))},
		{name: "inner-claim-missing", comment: "a grant without scope", path: "tokens[0]", code: nested.CodeClaim,
			token: acting(edit(`"scope"`, `"xscope"`))},
		{name: "inner-audience-missing", comment: "a statement without aud", path: "tokens[0]", code: nested.CodeClaim,
			token: acting(edit(`"aud"`, `"xaud"`))},
		{name: "handle-by-own-key", comment: "a user's key states a handle, which only the issuer may do", path: "tokens[0]",
			code: nested.CodeClaim,
			token: botToken(expires(4), inside(value(nested.ActsFor, grant(by(aliceKey), func(d *draft) { d.st.Issuer, d.st.Handle = alice, "" },
				inside(value(nested.Cascade, delegation())), edit(`"aud"`, `"handle":"im:%40ceo@example.com","aud"`)))))},
	}
}

func relationCases() []testCase {
	malloryToken := func(changes ...change) string {
		d := access(signers[home], "mallory", mallory, "im:%40mallory@example.com", deviceKey, verifier)
		return d.sign(changes)
	}
	wrap := func(name, comment string, rel nested.Relation, token string) testCase {
		return testCase{name: "stolen-" + name, comment: comment, path: "tokens[0]", code: nested.CodeBinding,
			token: malloryToken(inside(value(rel, token)))}
	}
	return []testCase{
		wrap("grant", "a grant in a token of a user that it does not name", nested.ActsFor, grant(audience(home))),
		wrap("member", "a membership in a token of a user that it does not name", nested.MemberOf, member()),
		wrap("guardian", "a guardianship in a token of a user that it does not name", nested.GuardianOf, guardian()),
		wrap("rename", "a rename in a token of a user that it does not name", nested.RenamedFrom, rename()),
		wrap("move", "a move in a token of a user that it does not name", nested.MovedFrom, move()),
		wrap("link", "one half in a token of a user that it does not name", nested.SameAs, half(signers[home], alice, aliceOld)),
		wrap("user-token", "a user's token in the token of another user", nested.Separate, userToken()),
		wrap("device", "a device statement in the token of another user with the same key", nested.AttestedBy, deviceStatement()),
		{name: "actor-not-named", comment: "another bot of the same bridge", path: "tokens[0]", code: nested.CodeBinding,
			token: botToken(func(d *draft) { d.set.Subject, d.set.Handle = "im:e1se@bridge.example;id-type=user", "" },
				inside(value(nested.ActsFor, grant())))},
		{name: "actor-without-act", comment: "a token about the user that does not say who acts", path: "tokens[0]", code: nested.CodeBinding,
			token: exchanged(func(d *draft) { d.set.Actor = nil }, inside(value(nested.ActsFor, grant(audience(home)))))},
		{name: "actor-other-issuer", comment: "act names the actor by another issuer", path: "tokens[0]", code: nested.CodeBinding,
			token: exchanged(func(d *draft) { d.set.Actor = &claims.Actor{Subject: bot, Issuer: rogue} },
				inside(value(nested.ActsFor, grant(audience(home)))))},
		{name: "actor-prior", comment: "the grant names a prior actor, not the current one", path: "tokens[0]", code: nested.CodeBinding,
			token: exchanged(func(d *draft) {
				d.set.Actor = &claims.Actor{Subject: mallory, Actor: &claims.Actor{Subject: bot, Issuer: bridge}}
			},
				inside(value(nested.ActsFor, grant(audience(home)))))},
		{name: "actor-client-of-nobody", comment: "a client id without its issuer", path: "tokens[0]", code: nested.CodeBinding,
			token: botToken(func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = "relay", "relay", "" },
				inside(value(nested.ActsFor, grant(party("relay"), func(d *draft) { d.st.PartyIssuer = "" }))))},
		{name: "user-token-as-grant", comment: "the user's own access token in place of a grant", path: "tokens[0]", code: nested.CodeType,
			token: botToken(raw(element(accessType, actsFor, tokenMember(userToken(audience(bridge))))))},
		{name: "wider-scope", comment: "the outer token has more scope than the grant", path: "tokens[0]", code: nested.CodeWider,
			token: botToken(scope("im:handle account"), inside(value(nested.ActsFor, grant())))},
		{name: "wider-time", comment: "the outer token lives longer than the grant", path: "tokens[0]", code: nested.CodeWider,
			token: botToken(inside(value(nested.ActsFor, grant(expires(8)))))},
		{name: "member-client", comment: "a membership that names a client id", path: "tokens[0]", code: nested.CodeBinding,
			token: botToken(func(d *draft) { d.set.Subject, d.set.ClientID, d.set.Handle = "relay", "relay", "" },
				inside(value(nested.MemberOf, member(party("relay"), audience(bridge)))))},
		{name: "guardian-of-self", comment: "guardian and child are the same user", path: "tokens[0]", code: nested.CodeClaim,
			token: aliceToken(inside(value(nested.GuardianOf,
				guardian(edit(fmt.Sprintf(`"guardian":%q`, alice), fmt.Sprintf(`"guardian":%q`, child))))))},
		{name: "rename-other-handle", comment: "the rename gave another handle than the token has", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.RenamedFrom, rename(func(d *draft) { d.st.Handle = "im:%40ally@example.com" }))))},
		{name: "rename-gap", comment: "two renames that do not meet", path: "tokens[0].tokens[0]", code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.RenamedFrom, rename(inside(value(nested.RenamedFrom, rename(jti("first"), func(d *draft) {
				d.st.Handle, d.st.OldHandle = "im:%40else@example.com", "im:%40al@example.com"
			})))))))},
		{name: "move-by-the-new", comment: "the new domain's issuer speaks for the old one", path: "tokens[0]", code: nested.CodeDomain,
			token: aliceToken(inside(value(nested.MovedFrom, move(issuedBy(signers[home])))))},
		{name: "member-by-the-member", comment: "the member's issuer speaks for the organisation", path: "tokens[0]", code: nested.CodeDomain,
			token: aliceToken(inside(value(nested.MemberOf, member(issuedBy(signers[home])))))},
		{name: "guardian-by-the-guardian", comment: "the guardian's issuer speaks for the child", path: "tokens[0]", code: nested.CodeDomain,
			token: aliceToken(inside(value(nested.GuardianOf, guardian(issuedBy(signers[home])))))},
		{name: "same-as-own-half", comment: "one half alone", path: "tokens[0]", code: nested.CodeHalf,
			token: aliceToken(inside(value(nested.SameAs, half(signers[home], alice, aliceOld))))},
		{name: "same-as-other-half", comment: "one half: the other says so alone", path: "tokens[0]", code: nested.CodeHalf,
			token: aliceToken(inside(value(nested.SameAs, half(signers[old], aliceOld, alice))))},
		{name: "same-as-third", comment: "the other half names a third user", path: "tokens[1]", code: nested.CodeBinding,
			token: aliceToken(halves(party(child)))},
		{name: "same-as-forged-half", comment: "both halves by one issuer", path: "tokens[1]", code: nested.CodeDomain,
			token: aliceToken(halves(issuedBy(signers[home])))},
		{name: "separate-other-issuer", comment: "the user's token is by another issuer of the domain", path: "tokens[0]",
			code:     nested.CodeBinding,
			token:    aliceToken(inside(value(nested.Separate, userToken(issuedBy(signers[vouch]))))),
			verifier: func(o *nested.Options) { o.Keys = extended(vouch, "example.com") }},
		{name: "separate-no-device", comment: "no device outside", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(func(d *draft) { d.set.Device = "" }, inside(value(nested.Separate, userToken())))},
		{name: "separate-two-devices", comment: "a device inside as well", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.Separate, userToken(func(d *draft) { d.set.Device = aliceDevice }))))},
		{name: "attested-other-key", comment: "another key", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.AttestedBy, vouched(func(d *draft) { d.set.JKT = botKey.jkt() }))))},
		{name: "attested-acting", comment: "the inner token has an actor: its subject does not hold the key", path: "tokens[0]",
			code:  nested.CodeBinding,
			token: aliceToken(inside(value(nested.AttestedBy, vouched(acting))))},
		{name: "attested-by-acting", comment: "the outer token has an actor", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(acting, inside(value(nested.AttestedBy, vouched())))},
		{name: "separate-acting", comment: "the inner token has an actor", path: "tokens[0]", code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.Separate, userToken(acting))))},
		{name: "attested-other-device", comment: "the user's key speaks of another device with the same key", path: "tokens[0]",
			code: nested.CodeBinding,
			token: aliceToken(inside(value(nested.AttestedBy,
				deviceStatement(func(d *draft) { d.st.Device = strings.Replace(aliceDevice, "072b", "0777", 1) }))))},
	}
}

// acting makes a token one by which the bot acts.
func acting(d *draft) { d.set.Actor = &claims.Actor{Subject: bot, Issuer: bridge} }

func cascadeCases() []testCase {
	refused := func(name, comment string, code nested.Code, token string) testCase {
		return testCase{name: "cascade-" + name, comment: comment, path: "tokens[0]", code: code, token: token,
			verifier: takes(nested.TypeDevice)}
	}
	device := func(changes ...change) string { return deviceStatement(changes...) }
	under := func(changes ...change) change { return inside(value(nested.Cascade, delegation(changes...))) }
	whole := func(d *draft) { d.st.Tokens = nil }
	cases := []testCase{
		refused("pattern", "a device outside the pattern", nested.CodeDelegation,
			device(func(d *draft) { d.st.Device = strings.Replace(aliceDevice, "072b", "172b", 1) })),
		refused("exact-pattern", "another device than the one allowed", nested.CodeDelegation,
			device(under(limits(func(l *nested.Limits) { l.Devices = "072" })))),
		refused("count", "the fourth of three devices", nested.CodeDelegation, device(func(d *draft) { d.st.Number = 4 })),
		refused("lifetime", "longer than allowed", nested.CodeDelegation,
			device(under(limits(func(l *nested.Limits) { l.Lifetime = 90*time.Minute - time.Second })))),
		refused("older", "older than the delegation", nested.CodeDelegation, device(from(-121))),
		refused("wider", "valid longer than the delegation", nested.CodeWider, device(expires(61))),
		refused("other-key", "signed by a key that the delegation does not name", nested.CodeBinding, device(by(otherKey))),
		refused("other-user", "a delegation of another user", nested.CodeBinding,
			device(under(func(d *draft) { d.st.Subject, d.st.Handle = mallory, "" }))),
		refused("expired", "the delegation has expired", nested.CodeExpired, device(under(expires(0)))),
		refused("unknown-limit", "a limit that is not known", nested.CodeMalformed,
			device(raw(element(jwtType, `"rel":"cascade"`, tokenMember(delegation(edit(`"depth"`, `"rooms":"*","depth"`))))))),
		refused("no-count", "a count of nothing", nested.CodeMalformed, device(under(edit(`"count":3`, `"count":0`)))),
		refused("no-lifetime", "a delegation without lifetime", nested.CodeClaim, device(under(edit(`"lifetime":10800,`, ``)))),
		refused("bad-statement", "a delegation of what no user's key can sign", nested.CodeClaim,
			device(under(edit(nested.TypeActor, nested.TypeMember)))),
		refused("bad-pattern", "a star in the middle", nested.CodeClaim, device(under(edit(`"07*"`, `"0*7"`)))),
		{name: "cascade-none", comment: "signed by a user's key, under no delegation", code: nested.CodeBinding, token: device(whole),
			verifier: takes(nested.TypeDevice)},
		{name: "cascade-two", comment: "under two delegations", code: nested.CodeBinding, verifier: takes(nested.TypeDevice),
			token: device(inside(value(nested.Cascade, delegation()), value(nested.Cascade, delegation(jti("second")))))},
		{name: "cascade-deeper", comment: "deeper than the delegation allows", path: "tokens[0].tokens[0]", code: nested.CodeDelegation,
			verifier: takes(nested.TypeDevice),
			token:    device(by(otherKey), inside(value(nested.Cascade, subdelegation(inside(value(nested.Cascade, delegation()))))))},
		{name: "cascade-looser", comment: "a delegation of the user's key does not loosen that of the issuer", path: "tokens[0].tokens[0]",
			code:     nested.CodeDelegation,
			verifier: takes(nested.TypeDevice),
			token: device(by(otherKey), func(d *draft) { d.st.Number = 4 }, inside(value(nested.Cascade, subdelegation(inside(value(nested.Cascade,
				delegation(limits(func(l *nested.Limits) { l.Depth = 2 }))))))))},
		{name: "cascade-statement", comment: "a grant by a key that may sign device statements alone", path: "tokens[0].tokens[0]",
			code: nested.CodeDelegation,
			token: botToken(expires(4), inside(value(nested.ActsFor, grant(by(aliceKey), func(d *draft) { d.st.Issuer, d.st.Handle = alice, "" },
				under(limits(func(l *nested.Limits) { l.Statements = nil }))))))},
		{name: "cascade-by-issuer", comment: "a delegation in what an issuer signed", path: "tokens[0].tokens[0]", code: nested.CodeBinding,
			token: botToken(inside(value(nested.ActsFor, grant(under()))))},
		{name: "own-key-membership", comment: "a user's key says what only an organisation may", path: "tokens[0]", code: nested.CodeClaim,
			token: aliceToken(inside(value(nested.MemberOf,
				member(by(aliceKey), edit(fmt.Sprintf(`"iss":%q`, school), fmt.Sprintf(`"iss":%q`, team))))))},
		{name: "device-by-issuer", comment: "a device statement that an issuer signed", path: "tokens[0]", code: nested.CodeClaim,
			token: aliceToken(inside(value(nested.AttestedBy,
				deviceStatement(by(signers[home]), edit(fmt.Sprintf(`"iss":%q`, alice), fmt.Sprintf(`"iss":%q`, home))))))},
		{name: "own-key-no-key", comment: "a user's key that does not come along", code: nested.CodeMalformed, verifier: takes(nested.TypeDevice),
			token: deviceStatement(by(&signer{home, "kid", aliceKey.alg, aliceKey.key}))},
	}
	return cases
}

func sum(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

func hexSum(token string) string { return fmt.Sprintf("%x", sum(token)) }

func base64Sum(token string) string {
	s := sum(token)
	return base64.RawURLEncoding.EncodeToString(s[:])
}

// tooMany is a token with eight others inside, which [nested.Build] would not make.
func tooMany() string {
	var list []string
	for _, e := range renames(nested.MaxTokens, 0) {
		list = append(list, strings.Trim(element(jwtType, `"rel":"renamed_from"`, tokenMember(e.Token)), "[]"))
	}
	return aliceToken(raw("[" + strings.Join(list, ",") + "]"))
}

// oneMore is a token with one byte more.
func oneMore(token string) string { return token + "A" }

// extended are the peers, where an issuer speaks for one more domain.
func extended(issuer, domain string) directory {
	d := maps.Clone(peers)
	d[issuer] = append(slices.Clone(d[issuer]), domain)
	return d
}
