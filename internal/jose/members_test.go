package jose_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imidentity/issuer/internal/jose"
)

// claimSet is where the tests store what they read.
type claimSet struct {
	id       string
	issuer   string
	audience []string
	issued   time.Time
	extra    string
}

func (c *claimSet) read(text string) error {
	return jose.ReadMembers([]byte(text),
		jose.Member{Name: "jti", Text: &c.id, Required: true, Max: 8},
		jose.Member{Name: "iss", Text: &c.issuer},
		jose.Member{Name: "aud", List: &c.audience, Required: true},
		jose.Member{Name: "iat", Date: &c.issued, Required: true},
		jose.Member{Name: "extra", Read: func(raw []byte) error {
			if c.extra = string(raw); c.extra == "false" {
				return errors.New("is false")
			}
			return nil
		}},
	)
}

func TestReadMembers(t *testing.T) {
	for text, want := range map[string]claimSet{
		`{"jti":"j","aud":"a","iat":1}`: {id: "j", audience: []string{"a"}, issued: time.Unix(1, 0)},
		`{"iat":1,"aud":["a","b"],"iss":"i","jti":"12345678"}`: {id: "12345678", issuer: "i", audience: []string{"a", "b"},
			issued: time.Unix(1, 0)},
		`{"jti":"\u006a","aud":[],"iat":0,"iss":"","other":[]}`: {id: "j", audience: []string{}, issued: time.Unix(0, 0)},
		` { "jti" : "j" , "aud" : "" , "iat" : 1e1 , "extra" : { } } `: {
			id: "j", audience: []string{""}, issued: time.Unix(10, 0), extra: "{ }"},
	} {
		var got claimSet
		if err := got.read(text); err != nil {
			t.Errorf("ReadMembers(%s) = %v", text, err)
		}
		if got.id != want.id || got.issuer != want.issuer || !slices.Equal(got.audience, want.audience) ||
			!got.issued.Equal(want.issued) || got.extra != want.extra {
			t.Errorf("ReadMembers(%s) read %+v, want %+v", text, got, want)
		}
	}
}

// TestReadMembersRefuses checks which member an error names; "" stands for an error about the JSON itself.
func TestReadMembersRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{"aud":"a","iat":1}`:                                "jti",
		`{"jti":"","aud":"a","iat":1}`:                       "jti",
		`{"jti":"123456789","aud":"a","iat":1}`:              "jti",
		`{"jti":7,"aud":"a","iat":1}`:                        "jti",
		`{"jti":null,"aud":"a","iat":1}`:                     "jti",
		`{"jti":["j"],"aud":"a","iat":1}`:                    "jti",
		`{"jti":"j","iss":7,"aud":"a","iat":1}`:              "iss",
		`{"jti":"j","iat":1}`:                                "aud",
		`{"jti":"j","aud":7,"iat":1}`:                        "aud",
		`{"jti":"j","aud":{},"iat":1}`:                       "aud",
		`{"jti":"j","aud":["a",7],"iat":1}`:                  "aud",
		`{"jti":"j","aud":"a"}`:                              "iat",
		`{"jti":"j","aud":"a","iat":"1"}`:                    "iat",
		`{"jti":"j","aud":"a","iat":1767323045000}`:          "iat",
		`{"jti":"j","aud":"a","iat":-1}`:                     "iat",
		`{"jti":"j","aud":"a","iat":1,"extra":false}`:        "extra",
		`{"jti":"j","aud":"a","iat":1,"Iss":"i"}`:            "",
		`{"jti":"j","aud":"a","iat":1,"Extra":true}`:         "",
		`{"jti":"j","jti":"j","aud":"a","iat":1}`:            "",
		`{"jti":"j","aud":"a","iat":1,"other":{"a":1,"a":1}`: "",
		`{"jti":"j","aud":"a","iat":1} {}`:                   "",
		`[{"jti":"j","aud":"a","iat":1}]`:                    "",
		"":                                                   "",
		`{}`:                                                 "jti", // the first of several
		`{"jti":"123456789"}`:                                "jti",
		`{"iat":"1"}`:                                        "iat", // a wrong type comes before anything missing
	} {
		var got claimSet
		err := got.read(text)
		var e *jose.ParseError
		if err == nil || errors.As(err, &e) != (want != "") || want != "" && e.Part != want {
			t.Errorf("ReadMembers(%s) = %v, want an error about %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "123456789") {
			t.Errorf("ReadMembers(%s) = %v, which repeats the value", text, err)
		}
	}
}
