package places_test

import (
	"crypto"
	"fmt"
	"strings"

	"github.com/imidentity/issuer/internal/jose"
	"github.com/imidentity/issuer/places"
)

// A profileCase is a profile, made from an accepted one.
type profileCase struct {
	name string
	// header and payload change the JSON of the accepted profile, text its compact serialization.
	header, payload, text func(string) string
	key, signer           crypto.Signer // nil: the Ed25519 master key, and the key
	code                  places.Code   // "" if it is accepted
	part                  string
}

func (c *profileCase) make() string {
	key := c.key
	if key == nil {
		key = master
	}
	h, p := header(key), payload
	if c.header != nil {
		h = c.header(h)
	}
	if c.payload != nil {
		p = c.payload(p)
	}
	signer := c.signer
	if signer == nil {
		signer = key
	}
	text := must(jose.Sign(signer, jose.AlgorithmFor(signer.Public()), []byte(h), []byte(p)))
	if c.text != nil {
		text = c.text(text)
	}
	return text
}

// claim replaces a place of the accepted profile.
func claim(with string) func(string) string { return put(`https://social.example/@alice`, with) }

// list replaces the claims of the accepted profile.
func list(with string) func(string) string {
	return func(text string) string { return text[:strings.Index(text, `["im:`)] + with + "}" }
}

func manyPlaces(n int) string {
	all := []string{`"` + user + `"`}
	for i := range n {
		all = append(all, fmt.Sprintf(`"dns:place%d.example"`, i))
	}
	return "[" + strings.Join(all, ",") + "]"
}

// doip is the profile of the tests of doipjs 1.2.9 (test/asp.test.js), without user.
const doip = "eyJ0eXAiOiJKV1QiLCJraWQiOiJRUFJHVlBKTldEWEg0RVNLMlJZRFRaSkxURSIsImp3ayI6eyJrdHkiOiJPS1AiLCJ1c2UiOiJzaWciLCJjcnYiOiJFZDI1NTE5IiwieCI6" +
	"Il9fcG9TUXdOZWRvcGZMS1AzWmdNNkZYejlMSUpzekRaaDV3S2NvUUY3MVUifSwiYWxnIjoiRWREU0EifQ.eyJodHRwOi8vYXJpYWRuZS5pZC92ZXJzaW9uIjowLCJodHRwOi8" +
	"vYXJpYWRuZS5pZC90eXBlIjoicHJvZmlsZSIsImh0dHA6Ly9hcmlhZG5lLmlkL25hbWUiOiJ0ZXN0IiwiaHR0cDovL2FyaWFkbmUuaWQvY2xhaW1zIjpbImh0dHBzOi8vZG9tYWlu" +
	"LnRsZC91c2VyL3Rlc3QiLCJodHRwczovL2Fub3RoZXIudGxkL3Rlc3QiXX0.yiBJbaB2oyprfRzYcmP-iz3C-5PGwV1Yc5iDSLW_2JFKVPKH3BKL2mUHE62VvyH1EiXDfWjpGae" +
	"7jT1bM8PSAQ"

var profileCases = []profileCase{
	{name: "accepted"},
	{name: "accepted: P-256", key: curve},
	{name: "accepted: mimi: user", payload: put(user, "mimi://example.com/u/3h3aNq0mWk2o1c8vXfYJrg")},
	{name: "accepted: with an end", payload: put(`"http://ariadne.id/type"`, `"exp":1796126400,"http://ariadne.id/type"`)},
	{name: "accepted: key for signatures", header: put(`{"crv"`, `{"use":"sig","crv"`)},
	{name: "accepted: no place", payload: list(`["` + user + `"]`)},
	{name: "accepted: 12 places", payload: list(manyPlaces(12))},
	{name: "accepted: each kind", payload: list(`["dns:_proof.alice.example","https://alice.example/.well-known/im-places",` +
		`"https://social.example/users/alice","https://git.example/alice/forgejo_proof","https://gist.github.com/alice/0123456789abcdef",` +
		`"https://gitlab.example.org/alice/gitlab_proof/","` + user + `"]`)},
	{name: "accepted: claims of other kinds", payload: claim(`https://news.example/user?id=alice","xmpp:alice@example.org","http://social.example:80/@alice`)},
	{name: "accepted: member that is not known", payload: put(`"http://ariadne.id/type"`, `"http://ariadne.id/color":"#fff","http://ariadne.id/type"`)},

	{name: "fingerprint of another key", header: put(fingerprint(master), fingerprint(forged)), code: places.CodeKey, part: "kid"},
	{name: "fingerprint in lower case", header: put(fingerprint(master), strings.ToLower(fingerprint(master))), code: places.CodeKey, part: "kid"},
	{name: "thumbprint in place of the fingerprint", header: put(fingerprint(master), thumbprint(master)), code: places.CodeKey, part: "kid"},
	{name: "no fingerprint", header: put(`"kid":"`+fingerprint(master)+`",`, ""), code: places.CodeKey, part: "kid"},
	{name: "no key", header: put(`,"jwk":`+jwk(master), ""), code: places.CodeKey, part: "jwk"},
	{name: "private key", header: put(`{"crv"`, `{"d":"AAAA","crv"`), code: places.CodeKey, part: "jwk"},
	{name: "key for encryption", header: put(`{"crv"`, `{"use":"enc","crv"`), code: places.CodeKey, part: "jwk"},
	{name: "P-384 key", header: put(jwk(master), jwk384), code: places.CodeKey, part: "jwk"},
	{name: "certificate", header: put(`"jwk"`, `"x5c":["AAAA"],"jwk"`), code: places.CodeKey, part: "x5c"},
	{name: "type of an access token", header: put(`"JWT"`, `"at+jwt"`), code: places.CodeType, part: "typ"},
	{name: "type of other keys", header: put(`"JWT"`, `"im-keys+jwt"`), code: places.CodeType, part: "typ"},
	{name: "no type", header: put(`"typ":"JWT",`, ""), code: places.CodeType, part: "typ"},
	{name: "type in lower case", header: put(`"JWT"`, `"jwt"`), code: places.CodeType, part: "typ"},
	{name: "ES256K", header: put(`"EdDSA"`, `"ES256K"`), code: places.CodeAlgorithm, part: "alg"},
	{name: "none", header: put(`"EdDSA"`, `"none"`), code: places.CodeAlgorithm, part: "alg"},
	{name: "HS256", header: put(`"EdDSA"`, `"HS256"`), code: places.CodeAlgorithm, part: "alg"},
	{name: "algorithm of another key", header: put(`"EdDSA"`, `"ES256"`), code: places.CodeSignature},
	{name: "signature of another key", signer: forged, code: places.CodeSignature},
	{name: "signature of another profile", text: func(text string) string {
		other := strings.Split(profile(master, "dns:other.example"), ".")
		return text[:strings.LastIndex(text, ".")+1] + other[2]
	}, code: places.CodeSignature},
	{name: "critical extension", header: put(`"kid"`, `"crit":["exp"],"kid"`), code: places.CodeMalformed, part: "crit"},
	{name: "two parts", text: func(text string) string { return text[:strings.LastIndex(text, ".")] }, code: places.CodeMalformed, part: "form"},
	{name: "line break", text: func(text string) string { return text + "\n" }, code: places.CodeMalformed, part: "signature"},
	{name: "more than 8 KiB", payload: put(`"Alice"`, `"`+strings.Repeat("A", places.MaxProfile)+`"`), code: places.CodeTooLarge},
	{name: "payload is no JSON", payload: put(`}`, ``), code: places.CodeMalformed, part: "payload"},
	{name: "member twice", payload: put(`"http://ariadne.id/type"`, `"http://ariadne.id/version":0,"http://ariadne.id/type"`), code: places.CodeMalformed, part: "payload"},
	{name: "member in another case", payload: put(`"http://ariadne.id/type"`, `"http://ariadne.id/Claims":[],"http://ariadne.id/type"`), code: places.CodeMalformed, part: "payload"},

	{name: "version 1", payload: put(`version":0`, `version":1`), code: places.CodeVersion, part: "version"},
	{name: "version as a string", payload: put(`version":0`, `version":"0"`), code: places.CodeVersion, part: "version"},
	{name: "version 0.0", payload: put(`version":0`, `version":0.0`), code: places.CodeVersion, part: "version"},
	{name: "no version", payload: put(`"http://ariadne.id/version":0,`, ``), code: places.CodeVersion, part: "version"},
	{name: "request", payload: put(`"profile"`, `"request"`), code: places.CodeType, part: "type"},
	{name: "neither profile nor request", payload: put(`"http://ariadne.id/type":"profile",`, ``), code: places.CodeType, part: "type"},
	{name: "no name", payload: put(`"http://ariadne.id/name":"Alice",`, ``), code: places.CodeClaim, part: "name"},
	{name: "long name", payload: put(`Alice`, strings.Repeat("A", 257)), code: places.CodeClaim, part: "name"},
	{name: "end as a string", payload: put(`"http://ariadne.id/type"`, `"exp":"1796126400","http://ariadne.id/type"`), code: places.CodeClaim, part: "exp"},
	{name: "no claims", payload: func(string) string {
		return `{"http://ariadne.id/version":0,"http://ariadne.id/type":"profile","http://ariadne.id/name":"Alice"}`
	}, code: places.CodeClaim, part: "claims"},
	{name: "claims as text", payload: list(`"[\"` + user + `\"]"`), code: places.CodeClaim, part: "claims"},
	{name: "claim that is no string", payload: list(`["` + user + `",7]`), code: places.CodeClaim, part: "claims"},
	{name: "long claim", payload: claim("https://social.example/" + strings.Repeat("a", 500)), code: places.CodeClaim, part: "claims[2]"},
	{name: "33 claims", payload: list(`["` + user + strings.Repeat(`","xmpp:alice@example.org`, 32) + `"]`), code: places.CodeTooMany, part: "claims"},
	{name: "13 places", payload: list(manyPlaces(13)), code: places.CodeTooMany, part: "claims"},

	{name: "no user", payload: list(`["dns:alice.example"]`), code: places.CodeUser, part: "claims"},
	{name: "two users", payload: claim("im:b0bb0bb0bb0bb0bb0bb0bg@example.com;id-type=user"), code: places.CodeUser, part: "claims[2]"},
	{name: "a user twice", payload: claim(user), code: places.CodeUser, part: "claims[2]"},
	{name: "a user in both forms", payload: claim("mimi://example.com/u/3h3aNq0mWk2o1c8vXfYJrg"), code: places.CodeUser, part: "claims[2]"},
	{name: "handle in place of the user", payload: put(user, "im:%40alice@example.com"), code: places.CodeUser, part: "claims[0]"},
	{name: "device in place of the user", payload: put(user, "im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com"), code: places.CodeUser, part: "claims[0]"},
	{name: "user that is not canonical", payload: put(user, strings.Replace(user, "example.com", "Example.com", 1)), code: places.CodeUser, part: "claims[0]"},
	{name: "user with another scheme in upper case", payload: put(user, strings.Replace(user, "im:", "IM:", 1)), code: places.CodeUser, part: "claims[0]"},
	{name: "profile of doipjs", text: func(string) string { return doip }, code: places.CodeUser, part: "claims"},

	{name: "place twice", payload: claim(`dns:alice.example?type=TXT`), code: places.CodeRepeated, part: "claims[2]"},
	{name: "record twice in two forms", payload: claim(`dns:alice.example`), code: places.CodeRepeated, part: "claims[2]"},
	{name: "place twice with a slash", payload: claim(`https://social.example/@alice","https://social.example/@alice/`), code: places.CodeRepeated, part: "claims[3]"},
	{name: "place twice in another case", payload: claim(`https://social.example/@alice","https://social.example/@Alice`), code: places.CodeRepeated, part: "claims[3]"},
	{name: "place with user information", payload: claim("https://alice@social.example/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with a password", payload: claim("https://alice:secret@social.example/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with a port", payload: claim("https://social.example:8443/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with the usual port", payload: claim("https://social.example:443/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with an empty port", payload: claim("https://social.example:/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with a fragment", payload: claim("https://social.example/@alice#me"), code: places.CodePlace, part: "claims[2]"},
	{name: "place with an empty fragment", payload: claim("https://social.example/@alice#"), code: places.CodePlace, part: "claims[2]"},
	{name: "place of another kind with a port", payload: claim("https://news.example:8443/user?id=alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place without a host", payload: claim("https:///@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place without slashes", payload: claim("https:social.example/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at an IPv4 address", payload: claim("https://192.0.2.1/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at an IPv6 address", payload: claim("https://[2001:db8::1]/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at a number", payload: claim("https://2130706433/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at localhost", payload: claim("https://localhost/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at a public suffix", payload: claim("https://co.uk/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at a host in upper case", payload: claim("https://Social.example/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at a host with a dot", payload: claim("https://social.example./@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "place at a host that is not ASCII", payload: claim("https://söcial.example/@alice"), code: places.CodePlace, part: "claims[2]"},
	{name: "record with a port", payload: claim("dns:alice.example:53"), code: places.CodePlace, part: "claims[2]"},
	{name: "record with a fragment", payload: claim("dns:alice.example#TXT"), code: places.CodePlace, part: "claims[2]"},
	{name: "record of another type", payload: claim("dns:alice.example?type=CNAME"), code: places.CodePlace, part: "claims[2]"},
	{name: "record with user information", payload: claim("dns:alice@alice.example"), code: places.CodePlace, part: "claims[2]"},
	{name: "record of a server", payload: claim("dns://192.0.2.53/alice.example"), code: places.CodePlace, part: "claims[2]"},
	{name: "record of a top-level domain", payload: claim("dns:example"), code: places.CodePlace, part: "claims[2]"},
}

const jwk384 = `{"crv":"P-384","kty":"EC","x":"qofKIr6LBTeOscce8yCtdG4dO2KLp5uYWfdB4IJUKjhVAvJdv1UpbDpUXjhydgq3","y":"NhfeSpYmLG9dnpi_kpLcKfj0Hb0omhR86doxE7XwuMAKYLHOHX6BnXpDHXyQ6g5f"}`

// An answerCase is what a place answers.
type answerCase struct {
	name  string
	place string
	body  string
	shows []string // fingerprints
	fault bool     // the answer does not count
}

var (
	own   = "aspe:" + host + ":" + fingerprint(master)
	other = "aspe:elsewhere.example:" + fingerprint(forged)
	one   = []string{fingerprint(master)}
	both  = []string{fingerprint(master), fingerprint(forged)}
)

const (
	wellKnown = "https://alice.example/.well-known/im-places"
	actor     = "https://social.example/@alice"
	forgejo   = "https://git.example/alice/forgejo_proof"
	gist      = "https://gist.github.com/alice/0123456789abcdef"
	gitlab    = "https://gitlab.example/alice/gitlab_proof"
	record    = "dns:alice.example?type=TXT"
)

func person(members string) string {
	return `{"@context":["https://www.w3.org/ns/activitystreams"],"type":"Person","id":"https://social.example/users/alice",` + members + `}`
}

var answerCases = []answerCase{
	{name: "list", place: wellKnown, body: `["` + own + `"]`, shows: one},
	{name: "list of two", place: wellKnown, body: ` [ "` + own + `", "` + other + `", "` + own + `" ] ` + "\n", shows: both},
	{name: "empty list", place: wellKnown, body: `[]`},
	{name: "list with another string", place: wellKnown, body: `["` + own + `","hello"]`, fault: true},
	{name: "list with a number", place: wellKnown, body: `["` + own + `",7]`, fault: true},
	{name: "object for a list", place: wellKnown, body: `{"places":["` + own + `"]}`, fault: true},
	{name: "HTML for a list", place: wellKnown, body: `<p>` + own + `</p>`, fault: true},
	{name: "list with text after it", place: wellKnown, body: `["` + own + `"] "` + own + `"`, fault: true},

	{name: "summary", place: actor, body: person(`"summary":"<p>Hello. ` + own + `</p>"`), shows: one},
	{name: "summary in upper case", place: actor, body: person(`"summary":"` + strings.ToUpper(own) + `"`), shows: one},
	{name: "end of a sentence", place: actor, body: person(`"summary":"I am ` + own + `."`), shows: one},
	{name: "entity", place: actor, body: person(`"summary":"<p>aspe&#58;` + own[5:] + `&nbsp;</p>"`), shows: one},
	{name: "attachment", place: actor, body: person(`"summary":null,"attachment":[{"type":"PropertyValue","name":"key","value":"<a href=\"https://example.org\">x</a>"},{"type":"PropertyValue","name":"Me","value":"` + own + `"}]`), shows: one},
	{name: "attachment that is one", place: actor, body: person(`"attachment":{"type":"PropertyValue","name":"Me","value":"` + own + `"}`), shows: one},
	{name: "attachments of other forms", place: actor, body: person(`"attachment":["` + own + `",{"type":"Image","url":"x"},{"value":7}]`)},
	{name: "another address alone", place: actor, body: person(`"summary":"` + other + `"`), shows: both[1:]},
	{name: "no address", place: actor, body: person(`"summary":""`)},
	{name: "address in another member", place: actor, body: person(`"summary":"","name":"` + own + `","featured":{"summary":"` + own + `"}`)},
	{name: "post", place: actor, body: `{"type":"Note","id":"https://social.example/users/alice/1","content":"` + own + `","summary":"` + own + `"}`, fault: true},
	{name: "actor of another host", place: actor, body: strings.Replace(person(`"summary":"`+own+`"`), "https://social.", "https://other.", 1), fault: true},
	{name: "actor without an id", place: actor, body: `{"type":"Person","summary":"` + own + `"}`, fault: true},
	{name: "actor with a member twice", place: actor, body: person(`"summary":"","summary":"` + own + `"`), fault: true},
	{name: "array for an actor", place: actor, body: `[` + person(`"summary":"`+own+`"`) + `]`, fault: true},

	{name: "look-alike: another scheme", place: actor, body: person(`"summary":"xaspe:` + own[5:] + `"`)},
	{name: "look-alike: Cyrillic", place: actor, body: person(`"summary":"` + strings.Replace(own, "a", "\u0430", 1) + `"`)},
	{name: "look-alike: full width", place: actor, body: person(`"summary":"` + strings.Replace(own, "aspe:", "\uff41spe:", 1) + `"`)},
	{name: "look-alike: zero width", place: actor, body: person(`"summary":"` + strings.Replace(own, "aspe:", "aspe:\u200b", 1) + `"`)},
	{name: "look-alike: longer", place: actor, body: person(`"summary":"` + own + `A"`)},
	{name: "look-alike: shorter", place: actor, body: person(`"summary":"` + own[:len(own)-1] + `"`)},
	{name: "look-alike: not base32", place: actor, body: person(`"summary":"` + own[:len(own)-1] + `1"`)},
	{name: "look-alike: bits after the end", place: actor, body: person(`"summary":"` + own[:len(own)-1] + string(own[len(own)-1]+1) + `"`)},
	{name: "look-alike: path", place: actor, body: person(`"summary":"https://evil.example/` + own + `/x"`)},
	{name: "look-alike: fingerprint alone", place: actor, body: person(`"summary":"` + fingerprint(master) + `"`)},
	{name: "look-alike: OpenPGP", place: actor, body: person(`"summary":"openpgp4fpr:` + fingerprint(master) + `"`)},
	{name: "hashed with bcrypt", place: actor, body: person(`"summary":"$2a$11$aaaaaaaaaaaaaaaaaaaaaeOeKJs3T1h7VTc2hE5l6Z0Wz0T0Q1qDC"`)},
	{name: "hashed with argon2", place: actor, body: person(`"summary":"$argon2id$v=19$m=64,t=512,p=2$Z1c0bGpMdGtQY2c4$bDLb1VqvfJPPW6LGzZrP9A"`)},

	{name: "Forgejo", place: forgejo, body: `{"full_name":"Alice/forgejo_proof","description":"` + own + `"}`, shows: one},
	{name: "Forgejo without a description", place: forgejo, body: `{"full_name":"alice/forgejo_proof","description":""}`},
	{name: "Forgejo: repository that has moved", place: forgejo, body: `{"full_name":"mallory/forgejo_proof","description":"` + own + `"}`, fault: true},
	{name: "Forgejo: in another member", place: forgejo, body: `{"full_name":"alice/forgejo_proof","description":"","website":"` + own + `"}`},
	{name: "GitLab", place: gitlab, body: `{"path_with_namespace":"alice/gitlab_proof","description":"` + own + `"}`, shows: one},
	{name: "GitLab: project without a description", place: gitlab, body: `{"path_with_namespace":"alice/gitlab_proof","description":null}`},
	{name: "GitLab: another project", place: gitlab, body: `{"path_with_namespace":"mallory/gitlab_proof","description":"` + own + `"}`, fault: true},
	{name: "gist", place: gist, body: `{"owner":{"login":"Alice"},"files":{"proof.md":{"content":"# Me\n[proof](` + own + `)\n"}}}`, shows: one},
	{name: "gist: of another user", place: gist, body: `{"owner":{"login":"mallory"},"files":{"proof.md":{"content":"` + own + `"}}}`, fault: true},
	{name: "gist: without a user", place: gist, body: `{"files":{"proof.md":{"content":"` + own + `"}}}`, fault: true},
	{name: "gist: another file", place: gist, body: `{"owner":{"login":"alice"},"files":{"readme.md":{"content":"` + own + `"}}}`},
	{name: "gist: comment of another user", place: gist, body: `{"owner":{"login":"alice"},"files":{},"comments":[{"user":{"login":"mallory"},"body":"` + own + `"}],"description":"` + own + `"}`},

	{name: "record", place: record, body: own, shows: one},
	{name: "records", place: record, body: "v=spf1 -all\n" + other + "\nproof " + own, shows: []string{both[1], both[0]}},
	{name: "no such record", place: record, body: "v=spf1 -all"},
	{name: "address over two records", place: record, body: own[:20] + "\n" + own[20:]},
}
