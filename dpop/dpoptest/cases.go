package dpoptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/imidentity/issuer/dpop"
	"github.com/imidentity/issuer/internal/jose"
)

// An attempt is one request with one proof, both as good as they can be until they are edited.
type attempt struct {
	header, claims map[string]any
	key            *ecdsa.PrivateKey
	text           func(good string) string // what becomes of the proof
	count          int                      // of headers
	field          string                   // their name, as it is written
	query          string                   // of the request
	scheme         string                   // of the Authorization header, if it is another
}

func (e *run) attempt(t *testing.T) *attempt {
	t.Helper()
	a := &attempt{
		header: map[string]any{"typ": "dpop+jwt", "alg": "ES256", "jwk": publicJWK(e.Key)},
		claims: map[string]any{"jti": rand.Text(), "htm": e.Method, "htu": e.URL, "iat": e.Now().Unix()},
		key:    e.Key,
		text:   func(good string) string { return good },
		count:  1,
		field:  "Dpop", // as net/http writes it
	}
	if e.AccessToken != "" {
		a.claims["ath"] = dpop.ATH(e.AccessToken)
	}
	if e.Nonces && e.nonce == "" { // any answer has one
		bare := *a
		bare.count = 0
		e.send(t, &bare)
	}
	if e.Nonces {
		a.claims["nonce"] = e.nonce
	}
	return a
}

// proofs returns the values of the headers.
func (a *attempt) proofs(t *testing.T) (values []string) {
	t.Helper()
	for range a.count {
		values = append(values, a.text(a.sign(t)))
	}
	return values
}

// sign signs header and claims, whatever they say.
func (a *attempt) sign(t *testing.T) string {
	t.Helper()
	header, err := json.Marshal(a.header)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(a.claims)
	if err != nil {
		t.Fatal(err)
	}
	text, err := jose.Sign(a.key, jose.ES256, header, claims)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// publicJWK returns the members of the public key. Panics are mistakes of this package: every P-256 key can be written.
func publicJWK(key *ecdsa.PrivateKey) map[string]any {
	raw, err := jose.MarshalJWK(key.Public())
	if err != nil {
		panic(err)
	}
	var jwk map[string]any
	if err := json.Unmarshal(raw, &jwk); err != nil {
		panic(err)
	}
	return jwk
}

// A testCase changes one thing. The answer is accepted, or an error code.
type testCase struct {
	name string
	edit func(a *attempt)
	want string
}

func (e *run) cases() []testCase {
	without := badProof
	if e.Optional {
		without = accepted
	}
	cases := []testCase{
		{"as it should be", func(a *attempt) {}, accepted},
		{"header name in capitals", func(a *attempt) { a.field = "DPOP" }, accepted},
		{"no header", func(a *attempt) { a.count = 0 }, without},
		{"two headers", func(a *attempt) { a.count = 2 }, badProof},
		{"empty header", func(a *attempt) { a.text = func(string) string { return "" } }, badProof},
		{"two parts", func(a *attempt) { a.text = twoParts }, badProof},
		{"JSON form", func(a *attempt) { a.text = jsonForm }, badProof},
		{"bad signature", func(a *attempt) { a.text = badSignature }, badProof},

		{"no typ", func(a *attempt) { delete(a.header, "typ") }, badProof},
		{"typ JWT", func(a *attempt) { a.header["typ"] = "JWT" }, badProof},
		{"no alg", func(a *attempt) { delete(a.header, "alg") }, badProof},
		{"alg none", func(a *attempt) { a.header["alg"] = "none" }, badProof},
		{"alg none and no signature", func(a *attempt) {
			a.header["alg"] = "none"
			a.text = func(good string) string { return good[:strings.LastIndexByte(good, '.')+1] }
		}, badProof},
		{"alg HS256", func(a *attempt) { a.header["alg"] = "HS256" }, badProof},
		{"alg of another curve", func(a *attempt) { a.header["alg"] = "ES384" }, badProof},
		{"no jwk", func(a *attempt) { delete(a.header, "jwk") }, badProof},
		{"private key in jwk", func(a *attempt) {
			a.header["jwk"].(map[string]any)["d"] = strings.Repeat("A", 43)
		}, badProof},
		{"unknown header parameter", func(a *attempt) { a.header["kid"], a.header["x"] = "k", 1 }, accepted},
		{"crit", func(a *attempt) { a.header["crit"], a.header["x"] = []string{"x"}, 1 }, badProof},

		{"no jti", func(a *attempt) { delete(a.claims, "jti") }, badProof},
		{"no htm", func(a *attempt) { delete(a.claims, "htm") }, badProof},
		{"no htu", func(a *attempt) { delete(a.claims, "htu") }, badProof},
		{"no iat", func(a *attempt) { delete(a.claims, "iat") }, badProof},
		{"unknown claim", func(a *attempt) { a.claims["x"] = map[string]any{"y": 1} }, accepted},
		{"nbf and exp", func(a *attempt) { a.claims["nbf"], a.claims["exp"] = 1<<40, 1 }, accepted},
		{"jti of 255 bytes", func(a *attempt) { a.claims["jti"] = rand.Text() + strings.Repeat("j", 229) }, accepted},
		{"jti of 256 bytes", func(a *attempt) { a.claims["jti"] = strings.Repeat("j", 256) }, badProof},
		{"nonce of 256 bytes", func(a *attempt) { a.claims["nonce"] = strings.Repeat("n", 256) }, badProof},

		{"another method", func(a *attempt) { a.claims["htm"] = "PATCH" }, badProof},
		{"method in small letters", func(a *attempt) {
			a.claims["htm"] = strings.ToLower(a.claims["htm"].(string))
		}, badProof},
		{"htu with query and fragment", func(a *attempt) { a.claims["htu"] = e.URL + "?a=b#c" }, accepted},
		{"htu of another path", func(a *attempt) { a.claims["htu"] = e.URL + "/other" }, badProof},
		{"htu of another host", func(a *attempt) { a.claims["htu"] = changeHost(e.URL, "other.example") }, badProof},
		{"htu of another port", func(a *attempt) {
			a.claims["htu"] = changeHost(e.URL, hostname(e.URL)+":1")
		}, badProof},
		{"htu with scheme and host in capitals", func(a *attempt) { a.claims["htu"] = capitals(e.URL) }, accepted},

		{"iat 10 s ago", func(a *attempt) { a.claims["iat"] = e.Now().Unix() - 10 }, accepted},
		{"iat 10 s ahead", func(a *attempt) { a.claims["iat"] = e.Now().Unix() + 10 }, accepted},
		{"iat in milliseconds", func(a *attempt) { a.claims["iat"] = e.Now().UnixMilli() }, badProof},
	}
	hourOff := badProof
	if e.Nonces {
		hourOff = accepted
		cases = append(cases, e.nonceCases()...)
	}
	cases = append(cases,
		testCase{"iat an hour ago", func(a *attempt) { a.claims["iat"] = e.Now().Unix() - 3600 }, hourOff},
		testCase{"iat in an hour", func(a *attempt) { a.claims["iat"] = e.Now().Unix() + 3600 }, hourOff})
	if u, err := url.Parse(e.URL); err == nil && u.Port() == "" {
		port := map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
		cases = append(cases, testCase{"htu with the default port", func(a *attempt) {
			a.claims["htu"] = changeHost(e.URL, u.Host+port)
		}, accepted})
	}
	if e.OtherKey != "" {
		cases = append(cases, testCase{"another key", e.otherKey, e.OtherKey})
	}
	if e.AccessToken != "" {
		cases = append(cases, e.tokenCases()...)
	}
	return cases
}

// nonceCases: the nonce is looked at before iat, so that a client with a wrong clock learns what cures it.
func (e *run) nonceCases() (cases []testCase) {
	for when, offset := range map[string]int64{
		"now": 0, "an hour ago": -3600, "in an hour": 3600, "two days ago": -172800,
	} {
		cases = append(cases,
			testCase{"no nonce and iat " + when, func(a *attempt) {
				delete(a.claims, "nonce")
				a.claims["iat"] = e.Now().Unix() + offset
			}, needsNonce},
			testCase{"unknown nonce and iat " + when, func(a *attempt) {
				a.claims["nonce"], a.claims["iat"] = "eyJ7S_zG.eyJH0-Z.HX4w-7v", e.Now().Unix()+offset
			}, needsNonce})
	}
	return cases
}

// tokenCases are those of a resource.
func (e *run) tokenCases() []testCase {
	return []testCase{
		{"query in the request only", func(a *attempt) { a.query = "a=b" }, accepted},
		{"no ath", func(a *attempt) { delete(a.claims, "ath") }, badProof},
		{"ath of another token", func(a *attempt) { a.claims["ath"] = dpop.ATH(e.AccessToken + "x") }, badProof},
		{"scheme in small letters", func(a *attempt) { a.scheme = "dpop" }, accepted},
		{"as bearer token", func(a *attempt) { a.scheme = "Bearer" }, badToken},
		{"as bearer token without proof", func(a *attempt) { a.scheme, a.count = "Bearer", 0 }, badToken},
	}
}

// otherKey signs with a key that has nothing to do with the request.
func (e *run) otherKey(a *attempt) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	a.key, a.header["jwk"] = key, publicJWK(key)
}

func twoParts(good string) string { return good[:strings.LastIndexByte(good, '.')] }

func badSignature(good string) string {
	i := strings.LastIndexByte(good, '.') + 1
	return good[:i] + strings.Repeat("A", len(good)-i)
}

func jsonForm(good string) string {
	parts := strings.Split(good, ".")
	return `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
}

func hostname(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func changeHost(text, host string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	path := ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		path = rest[i:]
	}
	return scheme + "://" + host + path
}

// capitals writes scheme and host in capitals.
func capitals(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	host, path, found := strings.Cut(rest, "/")
	if found {
		path = "/" + path
	}
	return strings.ToUpper(scheme) + "://" + strings.ToUpper(host) + path
}
