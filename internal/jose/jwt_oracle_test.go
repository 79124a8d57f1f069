package jose_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwt"

	"github.com/imidentity/issuer/internal/jose"
)

// registered are the claims of RFC 7519 §4.1.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// claimsRead is what a payload says in the registered claims.
type claimsRead struct {
	Issuer, Subject, JTI         string
	Audience                     []string
	Expires, NotBefore, IssuedAt time.Time
}

func readClaims(payload []byte) (c claimsRead, err error) {
	return c, jose.ReadMembers(payload,
		jose.Member{Name: "iss", Text: &c.Issuer}, jose.Member{Name: "sub", Text: &c.Subject},
		jose.Member{Name: "jti", Text: &c.JTI}, jose.Member{Name: "aud", List: &c.Audience},
		jose.Member{Name: "exp", Date: &c.Expires}, jose.Member{Name: "nbf", Date: &c.NotBefore},
		jose.Member{Name: "iat", Date: &c.IssuedAt},
	)
}

// isDate reports whether a claim is a number from 0 to the end of the year 9999, or absent.
func (d document) isDate(name string) bool {
	raw := bytes.TrimSpace(d.members[name])
	f, err := strconv.ParseFloat(string(raw), 64)
	return len(raw) == 0 || err == nil && raw[0] != '-' && f <= 253402300799
}

// isList reports whether a claim is a string, an array of strings, or absent.
func (d document) isList(name string) bool {
	raw := d.members[name]
	var one *string
	var list []*string
	if raw == nil || json.Unmarshal(raw, &one) == nil && one != nil {
		return true
	}
	return json.Unmarshal(raw, &list) == nil && list != nil && !slices.Contains(list, nil)
}

// Why this package refuses claims that jwx reads.
var stricterJWT = append([]rule[document]{
	{"iss, sub and jti are strings, not null",
		func(d document) bool { return !d.isString("iss") || !d.isString("sub") || !d.isString("jti") }},
	{"aud is a string or an array of strings, not null", func(d document) bool { return !d.isList("aud") }},
	{"a date is a number of seconds from 0 to the end of the year 9999, not a string", func(d document) bool {
		return !d.isDate("exp") || !d.isDate("nbf") || !d.isDate("iat")
	}},
}, strictJSON(registered...)...)

// Whatever the payload of a token says in the registered claims is read as jwx reads it.
func FuzzJWT(f *testing.F) {
	for _, seed := range []string{
		`{"iss":"https://issuer.example","sub":"a","aud":["b","c"],"exp":1767323645,"nbf":1767323045,"iat":1767323045,"jti":"d"}`,
		`{"aud":"a","exp":1.7673236459e9,"iat":1767323645.9,"nbf":0}`, `{"exp":"1767323645"}`, `{"exp":"2026-01-02T03:04:05Z"}`,
		`{"exp":-1}`, `{"exp":1e300}`, `{"exp":253402300800}`, `{"exp":1767323045000}`, `{"aud":[]}`, `{"aud":[null]}`, `{"aud":null}`,
		`{"iss":null}`, `{"sub":7}`, `{"sub":"a","sub":"b"}`, `{"SUB":"a"}`, `{"sub":"\ud83d\ude00"}`, `{"sub":"\ud83d"}`, `null`, `[]`,
		"{\"sub\":\"\xff\"}", `{} {}`, `{"x":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		d := readDocument(payload)
		ours, err := readClaims(payload)
		token := jwt.New()
		theirErr := json.Unmarshal(payload, token)
		switch {
		case err != nil && theirErr != nil:
			return
		case err != nil:
			explain(t, stricterJWT, d, "%q: refused (%v), and jwx accepts it", payload, err)
			return
		case theirErr != nil:
			explain(t, laxerJSON, d, "%q: accepted, and jwx refuses it (%v)", payload, theirErr)
			return
		}
		for _, c := range []struct {
			name         string
			ours, theirs any
		}{
			{"iss", ours.Issuer, token.Issuer()}, {"sub", ours.Subject, token.Subject()}, {"jti", ours.JTI, token.JwtID()},
			{"exp", ours.Expires, token.Expiration()}, {"nbf", ours.NotBefore, token.NotBefore()}, {"iat", ours.IssuedAt, token.IssuedAt()},
		} {
			if c.ours != c.theirs {
				t.Errorf("%q: %s is %v, and jwx reads %v", payload, c.name, c.ours, c.theirs)
			}
		}
		if !slices.Equal(ours.Audience, token.Audience()) {
			t.Errorf("%q: aud is %q, and jwx reads %q", payload, ours.Audience, token.Audience())
		}
	})
}
